"""Open a workspace for writing: the session, the control database, and the lease."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from lakehouse.catalog import Catalog
from lakehouse.clients import postgres_dsn
from lakehouse.control import Control
from lakehouse.lanes.context import Context
from lakehouse.lanes.epoch import Epochs
from lakehouse.lease import Lease
from lakehouse.quality.suites import import_gx
from lakehouse.session import build_session
from lakehouse.settings import Settings
from lakehouse.storage.objects import Objects
from lakehouse.workspace import Workspace


@contextmanager
def owning(
    workspace: Workspace,
    holder: str,
    *,
    set_aside: Iterable[str] = (),
    accept_loss: Iterable[str] = (),
    extra: dict[str, str] | None = None,
) -> Iterator[Context]:
    """Take the lease, start the driver, and give both back.

    Args:
        workspace: Whose tables are written.
        holder: What this process is, for the sentence that a second one gets.
        set_aside: See :class:`~lakehouse.lanes.context.Context`.
        accept_loss: See :class:`~lakehouse.lanes.context.Context`.
        extra: Spark options that win over Tidemill's own.

    Raises:
        LeaseHeldError: Another process writes the tables.
    """
    settings = Settings.load(workspace)
    catalog = Catalog.load(workspace)
    for name in set_aside:
        catalog[name]
    for feed in accept_loss:
        catalog.ingest(feed)
    control = Control(postgres_dsn(settings))
    lease = Lease(control, seconds=settings.lake.lease_seconds)
    lease.acquire(holder)
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="driver") as pool:
            # The driver takes seconds to start, and so does Great Expectations to import: side by side.
            starting = pool.submit(
                build_session, settings, f"tidemill {workspace.name}", scratch=workspace.state / "spark", extra=extra
            )
            import_gx()
            objects = Objects(settings)
            objects.ensure_bucket()
            spark = starting.result()
        try:
            yield Context(
                workspace=workspace,
                settings=settings,
                catalog=catalog,
                spark=spark,
                control=control,
                lease=lease,
                objects=objects,
                epochs=Epochs(objects),
                set_aside=set(set_aside),
                accept_loss=set(accept_loss),
            )
        finally:
            spark.stop()
    finally:
        lease.release()
        control.close()
