"""The chain of the audit log, on the real database and the real object store, after everything that somebody could do to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest

from lakehouse.control import Control
from lakehouse.errors import AuditError
from lakehouse.security.audit import Audit, verify
from lakehouse.settings import Settings
from lakehouse.storage.objects import Objects
from lakehouse.workspace import Workspace

pytestmark = pytest.mark.integration


@pytest.fixture
def parts(stack: tuple[Workspace, Settings]) -> Iterator[tuple[Control, Objects]]:
    settings = stack[1]
    objects = Objects(settings)
    objects.ensure_bucket()

    def clear() -> None:
        control.run("DROP TABLE IF EXISTS tidemill.audit")
        objects.delete("audit")

    with closing(Control(settings.require("postgres"))) as control:
        clear()  # what others wrote on these servers
        yield control, objects
        clear()


def write(parts: tuple[Control, Objects], entries: int) -> None:
    audit = Audit(*parts)
    for number in range(entries):
        audit.record({"kind": "query", "user": "ada", "n": number, "text": "é✈"})
    audit.close()


def test_a_chain_holds_whoever_writes_at_once(parts: tuple[Control, Objects]) -> None:
    assert verify(*parts) == (0, [])
    audit = Audit(*parts)
    threads = [threading.Thread(target=lambda: [audit.record({"n": n}) for n in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    audit.close()
    write(parts, 3)
    assert verify(*parts) == (83, [])


def test_entries_that_come_meanwhile_are_committed_together(
    parts: tuple[Control, Objects], monkeypatch: pytest.MonkeyPatch
) -> None:
    control, _ = parts
    run: Callable[..., list[dict[str, object]]] = control.run
    came, sizes = threading.Event(), []

    def slowly(sql: str, parameters: tuple[object, ...] = ()) -> object:
        if "INSERT" in sql:
            came.wait(10)
            sizes.append(len(run(sql, parameters)))
            return [{}] * sizes[-1]
        return run(sql, parameters)

    with closing(Audit(*parts)) as audit, monkeypatch.context() as patch, ThreadPoolExecutor(11) as pool:
        patch.setattr(control, "run", slowly)
        recorded = [pool.submit(audit.record, {"n": n}) for n in range(11)]
        while len(audit._queue) < 10:  # one is on its way
            time.sleep(0.001)
        came.set()
        assert [x.result() for x in recorded] == [None] * 11
    assert sizes == [1, 10]
    assert verify(*parts) == (11, [])


CHANGES: dict[str, tuple[str, str]] = {
    "an edit": ("UPDATE tidemill.audit SET entry = replace(entry, 'ada', 'bob') WHERE number = 3", "3 was changed"),
    "an edit of the hash": ("UPDATE tidemill.audit SET hash = repeat('0', 64) WHERE number = 3", "3 was changed"),
    "a deletion": ("DELETE FROM tidemill.audit WHERE number = 3", "3 is missing"),
    "a deletion that is closed": (
        "WITH gone AS (DELETE FROM tidemill.audit WHERE number = 5 RETURNING 1) SELECT 1 FROM gone; "
        "DELETE FROM tidemill.audit WHERE number = 3; UPDATE tidemill.audit SET number = 3 WHERE number = 4",
        "3 was changed",
    ),
    "a reordering": (
        "UPDATE tidemill.audit SET number = 99 WHERE number = 2; UPDATE tidemill.audit SET number = 2 WHERE number = 3; "
        "UPDATE tidemill.audit SET number = 3 WHERE number = 99",
        "2 was changed",
    ),
    "a cut tail": ("DELETE FROM tidemill.audit WHERE number >= 4", "4 is missing, and so are all up to 5"),
    "all of it": ("DELETE FROM tidemill.audit", "1 is missing, and so are all up to 5"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_somebody_does_to_it_is_found(
    change: str, parts: tuple[Control, Objects], stack: tuple[Workspace, Settings]
) -> None:
    write(parts, 5)
    statements, message = CHANGES[change]
    with psycopg.connect(stack[1].require("postgres"), autocommit=True) as connection:
        connection.execute(statements.encode())
    _, breaks = verify(*parts)
    assert [f"{x.number} {x.what}" for x in breaks if f"{x.number} {x.what}".startswith(message)] != []


def test_a_chain_that_was_made_anew_is_not_that_of_its_head(parts: tuple[Control, Objects]) -> None:
    control, objects = parts
    write(parts, 3)
    (row,) = control.run("SELECT DISTINCT writer FROM tidemill.audit")
    objects.write_json(f"audit/{row['writer']}.json", {"number": 3, "hash": "f" * 64})
    assert [x.what for x in verify(*parts)[1]] == ["is another one than its head in the object store says"]
    objects.delete("audit")
    assert [x.what for x in verify(*parts)[1]] == ["has no head in the object store"]


def test_what_cannot_be_written_down_is_an_error(parts: tuple[Control, Objects], monkeypatch: pytest.MonkeyPatch) -> None:
    control, _ = parts
    audit = Audit(*parts)
    audit.record({"n": 1})
    run: Callable[..., object] = control.run

    def lost(sql: str, parameters: object = ()) -> object:
        run(sql, parameters)
        raise psycopg.OperationalError("the answer was lost")

    monkeypatch.setattr(control, "run", lost)
    with pytest.raises(AuditError, match="nothing is answered"):
        audit.record({"n": 2})
    monkeypatch.undo()
    audit.record({"n": 3})
    audit.close()
    assert verify(*parts) == (3, [])  # the second is there although its answer was lost
    control.run(
        "INSERT INTO tidemill.audit (writer, number, entry, hash) SELECT writer, 4, entry, hash FROM tidemill.audit WHERE number = 3"
    )
    with pytest.raises(AuditError, match="Somebody else"):
        audit.record({"n": 4})
