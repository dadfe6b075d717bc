"""The embedded servers of a benchmark: in a folder that is gone afterwards, with an object store that counts its requests."""

from __future__ import annotations

import re
import shutil
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lakehouse.settings import Part, Settings, external_parts
from lakehouse.stack import supervisor
from lakehouse.stack.ports import LOOPBACK
from lakehouse.stack.s3 import S3
from lakehouse.stack.server import Server
from lakehouse.stack.state import StackState
from lakehouse.storage.objects import Objects
from lakehouse.workspace import Workspace

from .errors import BenchError

_REQUESTS = re.compile(r"^SeaweedFS_s3_request_total\{(?P<labels>.*)\} (?P<count>\S+)$")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class CountingS3(S3):
    """SeaweedFS with its Prometheus endpoint open, on the loopback address like all of it."""

    port_names = (*S3.port_names, "metrics")

    def argv(self) -> list[str]:
        """Return the command line."""
        return [*super().argv(), f"-metricsPort={self.site.ports['metrics']}"]


@contextmanager
def servers(
    template: Path, say: Callable[[str], None], instead: Mapping[Part, type[Server]] | None = None
) -> Iterator[Workspace]:
    """Start Kafka, S3, PostgreSQL and Valkey for a copy of a workspace; stop and erase them afterwards.

    Args:
        template: The workspace.
        say: Told what is being done.
        instead: Servers to start in place of the usual ones; an object store that counts when left out.

    Raises:
        BenchError: A server's address is set from outside.
    """
    root = Path(tempfile.mkdtemp(prefix="tidemill-bench-"))
    shutil.copytree(template, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", ".tidemill"))
    workspace = Workspace.load(root)
    before = dict(supervisor.SERVERS)
    try:
        if external := external_parts(workspace):
            raise BenchError(f"A benchmark measures the embedded servers: unset the addresses of {', '.join(sorted(external))}.")
        supervisor.SERVERS.update(instead or {"s3": CountingS3})
        say("starting the servers")
        supervisor.up(workspace)
        yield workspace
    finally:
        supervisor.down(workspace, wipe=True)
        supervisor.SERVERS.update(before)
        shutil.rmtree(root, ignore_errors=True)


class Bucket:
    """A bucket of one run's own, so that its files and requests can be told from others'."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        settings = Settings.load(workspace)
        self.settings = settings.model_copy(update={"s3": settings.s3.model_copy(update={"bucket": name})})
        self.environment = {"TIDEMILL_S3__BUCKET": name}
        self._name = name
        self._metrics = f"http://{LOOPBACK}:{StackState.load(workspace).ports['s3']['metrics']}/metrics"

    @contextmanager
    def made(self) -> Iterator[None]:
        """Make the bucket; drop it with all that is in it afterwards, which frees its disk at once."""
        objects = Objects(self.settings)
        objects.ensure_bucket()
        try:
            yield
        finally:
            objects.fs.rm(self._name, recursive=True)

    def requests(self) -> Counter[str]:
        """Return how many requests the store answered for this bucket, by kind, as its own metrics count them."""
        with urllib.request.urlopen(self._metrics, timeout=10) as answer:
            text = answer.read().decode()
        found: Counter[str] = Counter()
        for line in text.splitlines():
            if match := _REQUESTS.match(line):
                labels = dict(_LABEL.findall(match["labels"]))
                if labels.get("bucket") == self._name:
                    found[labels["type"]] += int(float(match["count"]))
        return found

    def files(self) -> tuple[int, int]:
        """Return how many objects lie in the bucket, and their bytes."""
        found = Objects(self.settings).fs.find(self._name, detail=True)
        sizes = [entry["size"] for entry in found.values() if entry["type"] == "file"]
        return len(sizes), sum(sizes)
