"""Commits to one table from several drivers: the object store lets one of them win, and none is lost."""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from pyspark.sql import SparkSession
from s3fs import S3FileSystem

from lakehouse.settings import Settings
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.integration

STORE = "io.tidemill.ConditionalPutLogStore"


@pytest.fixture(scope="module")
def settings(stack: tuple[Workspace, Settings]) -> Settings:
    return stack[1]


@pytest.fixture(scope="module")
def objects(settings: Settings) -> S3FileSystem:
    secret = settings.s3.secret_key
    assert secret
    return S3FileSystem(
        key=settings.s3.access_key,
        secret=secret.get_secret_value(),
        endpoint_url=settings.require("s3"),
        skip_instance_cache=True,
        use_listings_cache=False,
    )


@pytest.fixture(scope="module")
def bucket(objects: S3FileSystem) -> str:
    """A bucket of its own: Hadoop keeps one client a bucket, and other tests have other endpoints."""
    name = f"commits-{uuid.uuid4().hex[:8]}"
    objects.mkdir(name)
    return name


@pytest.fixture
def table(bucket: str) -> str:
    return f"{bucket}/{uuid.uuid4().hex[:8]}"


def options(settings: Settings, endpoint: str | None = None) -> dict[str, str]:
    secret = settings.s3.secret_key
    assert secret
    return {
        "fs.s3a.endpoint": endpoint or settings.require("s3"),
        "fs.s3a.endpoint.region": settings.s3.region,
        "fs.s3a.access.key": settings.s3.access_key or "",
        "fs.s3a.secret.key": secret.get_secret_value(),
        "fs.s3a.path.style.access": "true",
        "fs.s3a.connection.ssl.enabled": "false",
        **({"fs.s3a.impl.disable.cache": "true"} if endpoint else {}),
    }


def driver(spark: SparkSession, settings: Settings, endpoint: str | None = None) -> SparkSession:
    """A session that sees the store as another driver would, through ``endpoint`` if given: it shares no lock or cache."""
    session = spark.newSession()
    for key, value in options(settings, endpoint).items():
        session.conf.set(key, value)
    return session


class LogStore:
    """The Java class, as Delta calls it."""

    def __init__(self, spark: SparkSession, settings: Settings, **more: str) -> None:
        self.jvm: Any = spark._jvm
        self.conf = self.jvm.org.apache.hadoop.conf.Configuration(False)
        self.conf.addResource("core-default.xml")
        for key, value in {**options(settings, settings.require("s3")), **more}.items():
            self.conf.set(key, value)
        store = self.jvm.org.apache.spark.util.Utils.classForName(STORE, True, False)
        gateway: Any = spark.sparkContext._gateway
        types = gateway.new_array(self.jvm.java.lang.Class, 1)
        types[0] = self.conf.getClass()
        arguments = gateway.new_array(self.jvm.java.lang.Object, 1)
        arguments[0] = self.conf
        self.store = store.getConstructor(types).newInstance(arguments)

    def write(self, path: str, lines: list[object], overwrite: bool = False) -> str:
        """Return ``written``, or the class name of the exception."""
        rows = self.jvm.java.util.ArrayList()
        for line in lines:
            rows.add(line)
        try:
            self.store.write(self.path(path), rows.iterator(), overwrite, self.conf)
        except Exception as error:
            return str(error.java_exception.getClass().getName())  # type: ignore[attr-defined]
        return "written"

    def path(self, path: str) -> Any:
        return self.jvm.org.apache.hadoop.fs.Path(f"s3a://{path}")

    def list_from(self, path: str) -> list[str]:
        found = self.store.listFrom(self.path(path), self.conf)
        names = []
        while found.hasNext():
            names.append(found.next().getPath().getName())
        return names


def commit(version: int) -> str:
    return f"{version:020d}.json"


def is_commit(method: str, path: str) -> bool:
    return method == "PUT" and "/_delta_log/" in path and path.split("?")[0].endswith(".json")


@contextmanager
def proxy(target: str, on_request: Callable[[str, str, Callable[[], Any]], Any]) -> Iterator[str]:
    """A network between a driver and the store. ``on_request`` passes a request on, and may lose the answer (``None``)."""
    host = urlsplit(target).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))

            def send() -> tuple[http.client.HTTPResponse, bytes]:
                upstream = http.client.HTTPConnection(host, timeout=60)
                upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for key, value in self.headers.items():
                    if key.lower() != "expect":
                        upstream.putheader(key, value)
                upstream.endheaders(body)
                response = upstream.getresponse()
                content = response.read()
                upstream.close()
                return response, content

            answer = on_request(self.command, self.path, send)
            if answer is None:
                self.close_connection = True
                return
            response, content = answer
            self.send_response_only(response.status, response.reason)
            for key, value in response.getheaders():
                if key.lower() not in {"transfer-encoding", "connection"}:
                    self.send_header(key, value)
            if response.getheader("Content-Length") is None:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = forward  # noqa: N815  # names that http.server looks for

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_of_racing_writers_just_one_wins(spark: SparkSession, settings: Settings, objects: S3FileSystem, table: str) -> None:
    stores = [LogStore(spark, settings) for _ in range(3)]
    together = threading.Barrier(len(stores))

    def write(index: int, version: int) -> str:
        together.wait(30)
        return stores[index].write(f"{table}/_delta_log/{commit(version)}", [f"by {index}", "é✈"])

    with ThreadPoolExecutor(len(stores)) as pool:
        for version in range(15):
            outcomes = list(pool.map(write, range(len(stores)), [version] * len(stores)))
            assert sorted(outcomes) == ["java.nio.file.FileAlreadyExistsException"] * 2 + ["written"]
            content = objects.cat(f"{table}/_delta_log/{commit(version)}").decode()
            assert content == f"by {outcomes.index('written')}\né✈\n"
    assert stores[0].list_from(f"{table}/_delta_log/{commit(12)}") == [commit(12), commit(13), commit(14)]


def test_only_an_asked_for_overwrite_overwrites(
    spark: SparkSession, settings: Settings, objects: S3FileSystem, table: str
) -> None:
    store, file = LogStore(spark, settings), f"{table}/_delta_log/{commit(0)}"
    assert store.write(file, ["first"]) == "written"
    assert store.write(file, ["first"]) == "java.nio.file.FileAlreadyExistsException"  # also for the same content
    assert objects.cat(file) == b"first\n"
    assert store.write(file, ["second"], overwrite=True) == "written"
    assert objects.cat(file) == b"second\n"
    assert store.store.isPartialWriteVisible(store.path(file), store.conf) is False


def test_a_commit_that_breaks_off_leaves_nothing(
    spark: SparkSession, settings: Settings, objects: S3FileSystem, table: str
) -> None:
    store, file = LogStore(spark, settings), f"{table}/_delta_log/{commit(0)}"
    assert store.write(file, ["first", 2]) == "java.lang.ClassCastException"  # as late as in the second line
    assert not objects.exists(file)
    assert store.write(file, ["first"]) == "written"


def test_a_store_without_conditional_put_is_refused(
    spark: SparkSession, settings: Settings, objects: S3FileSystem, table: str
) -> None:
    store = LogStore(spark, settings, **{"fs.s3a.create.conditional.enabled": "false"})
    file = f"{table}/_delta_log/{commit(0)}"
    assert store.write(file, ["first"]) == "java.io.IOException"
    assert not objects.exists(file)


SECOND_DRIVER = """
import sys
from pathlib import Path
from lakehouse.session import build_session
from lakehouse.settings import Settings
endpoint, key, secret = sys.stdin.readline().split()
settings = Settings.model_validate({"s3": {"endpoint_url": endpoint, "access_key": key, "secret_key": secret},
                                    "lake": {"driver_memory": "512m", "cores": 1}})
spark = build_session(settings, "second", scratch=Path(sys.argv[2]))
spark.read.format("delta").load(sys.argv[1]).count()
print("ready", flush=True)
sys.stdin.readline()
for i in range(int(sys.argv[3])):
    spark.range(1).selectExpr("'second' AS driver", f"{i}L AS i").write.format("delta").mode("append").save(sys.argv[1])
spark.stop()
"""


def test_two_drivers_that_append_at_once_lose_no_commit(
    spark: SparkSession, settings: Settings, objects: S3FileSystem, table: str, tmp_path: Path
) -> None:
    first, uri, commits = driver(spark, settings), f"s3a://{table}", 8

    def append(i: int) -> None:
        first.range(1).selectExpr("'first' AS driver", f"{i}L AS i").write.format("delta").mode("append").save(uri)

    append(-1)
    secret = settings.s3.secret_key
    assert secret
    with subprocess.Popen(
        [sys.executable, "-c", SECOND_DRIVER, uri, str(tmp_path / "second"), str(commits)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as second:
        assert second.stdin and second.stdout and second.stderr
        second.stdin.write(f"{settings.require('s3')} {settings.s3.access_key} {secret.get_secret_value()}\n")
        second.stdin.flush()
        assert second.stdout.readline() == "ready\n", second.stderr.read()
        arguments = [argument for child in psutil.Process(second.pid).children() for argument in child.cmdline()]
        assert any("spark.driver.memory=512m" in argument for argument in arguments)
        assert not any(secret.get_secret_value() in argument for argument in arguments)
        second.stdin.write("go\n")
        second.stdin.flush()
        for i in range(commits):
            append(i)
        _, err = second.communicate(timeout=240)
    assert (second.returncode, err) == (0, "")  # and nothing of Spark's noise on the terminal
    found = {(row.driver, row.i) for row in first.read.format("delta").load(uri).collect()}
    assert found == {(name, i) for name in ("first", "second") for i in range(commits)} | {("first", -1)}
    log = sorted(Path(x).name for x in objects.ls(f"{table}/_delta_log") if x.endswith(".json"))
    assert log == [commit(version) for version in range(2 * commits + 1)]


class Held:
    """A proxy's rule: the first commit waits on the wire until it is let go."""

    def __init__(self) -> None:
        self.waiting, self.go, self._lock, self._held = threading.Event(), threading.Event(), threading.Lock(), False

    def __call__(self, method: str, path: str, send: Callable[[], Any]) -> Any:
        with self._lock:
            hold = is_commit(method, path) and not self._held
            self._held = self._held or hold
        if hold:
            self.waiting.set()
            assert self.go.wait(60)
        return send()


@pytest.mark.parametrize("same_batch", [True, False])
def test_a_driver_that_was_taken_over_cannot_commit_its_batch_again(
    spark: SparkSession, settings: Settings, objects: S3FileSystem, table: str, same_batch: bool
) -> None:
    uri, held = f"s3a://{table}", Held()
    successor = driver(spark, settings)

    def write(session: SparkSession, who: str, version: int) -> None:
        writer = session.range(1).selectExpr(f"'{who}' AS driver").write.format("delta").mode("append")
        writer.option("txnAppId", "ingest").option("txnVersion", version).save(uri)

    write(successor, "before", 1)
    with proxy(settings.require("s3"), held) as endpoint, ThreadPoolExecutor(1) as pool:
        zombie = driver(spark, settings, endpoint)
        late = pool.submit(write, zombie, "zombie", 2)
        assert held.waiting.wait(60)  # all is written but the commit
        write(successor, "successor", 2 if same_batch else 3)
        held.go.set()
        error = late.exception(timeout=120)
    rows = sorted(row.driver for row in successor.read.format("delta").load(uri).collect())
    assert rows == ["before", "successor"]
    assert "ConcurrentTransaction" in f"{type(error).__name__} {error}"
    log = [x for x in objects.ls(f"{table}/_delta_log") if x.endswith(".json")]
    assert len(log) == 2


def test_a_commit_whose_answer_is_lost_counts_once(
    spark: SparkSession, settings: Settings, objects: S3FileSystem, table: str
) -> None:
    uri, lost = f"s3a://{table}", []

    def lose_first(method: str, path: str, send: Callable[[], Any]) -> Any:
        answer = send()
        if is_commit(method, path):
            lost.append(answer[0].status)
            if len(lost) == 1:
                return None
        return answer

    driver(spark, settings).range(1).write.format("delta").save(uri)
    with proxy(settings.require("s3"), lose_first) as endpoint:
        driver(spark, settings, endpoint).range(1).write.format("delta").mode("append").save(uri)
    assert lost[:2] == [200, 412]  # stored, and then refused to the same driver
    assert driver(spark, settings).read.format("delta").load(uri).count() == 2
    assert len([x for x in objects.ls(f"{table}/_delta_log") if x.endswith(".json")]) == 2
