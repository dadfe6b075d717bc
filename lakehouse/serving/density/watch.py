"""Follows a live table in a thread, and has the picture of all its events so far: one of them for all who look."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakehouse.clients import postgres_dsn
from lakehouse.declarations import load_declaration
from lakehouse.errors import TidemillError
from lakehouse.livetables import LiveSpec, live_files
from lakehouse.serving.client import subscribe
from lakehouse.serving.push.endpoint import OLDEST, Endpoint
from lakehouse.settings import Settings
from lakehouse.workspace import Workspace

if TYPE_CHECKING:  # they take seconds to import, which nobody but the thread waits for
    from lakehouse.serving.density.aggregate import Aggregate, View
    from lakehouse.serving.density.events import Columns, Events, Kind
    from lakehouse.serving.density.seen import Seen

log = logging.getLogger(__name__)

_FRAME_MS = 500
_DRAW_SECONDS = 1.0  # at most one picture in so much time
_RETRY_SECONDS = 2.0
_SEED_SECONDS = 10.0  # before the hot store is asked again for what it did not give; twice that the next time, and so on
_AWAY = "The push service does not answer; what happens meanwhile is added when it does."
_NONE = "No events yet."
_GAP = "There was a gap: events may be missing."


@dataclass(frozen=True)
class Picture:
    """All events so far.

    Attributes:
        version: Another one for each picture; 0: there is none yet.
        column: What is drawn over time.
        low: Where the axis of its values begins.
        high: Where it ends.
        events: How many events there are.
        unknown: Those without a moment or a value, which are not drawn.
        beyond: Those drawn at the edge, because their value is beyond the axis.
        since: The first moment, microseconds since 1970.
        views: ``moment`` and ``hour`` → how it looks.
        trouble: Why there is none, or why it stands still; else empty.
        warning: What is missing in it; else empty.
    """

    version: int = 0
    column: str = ""
    low: float = 0.0
    high: float = 0.0
    events: int = 0
    unknown: int = 0
    beyond: int = 0
    since: float = 0.0
    views: Mapping[str, View] = field(default_factory=dict)
    trouble: str = ""
    warning: str = ""


class Watch:
    """Follows one live table until it is closed.

    It begins with the rows that the hot store and the push service have kept, and counts each row once, by the record that it
    came from, however often it is read.
    """

    def __init__(self, workspace: Workspace, feed: str) -> None:
        """Begin."""
        self._workspace = workspace
        self._feed = feed
        self._closed = threading.Event()
        self._hush = threading.Event()  # ends the subscription of now
        self._lock = threading.Lock()  # for the counts
        self._drawing = threading.Lock()
        self._aggregate: Aggregate | None = None
        self._seen: Seen | None = None
        self._columns: Columns | None = None
        self._trouble = self._warning = ""
        self._seeded, self._seed_at, self._seed_pause = False, 0.0, _SEED_SECONDS
        self._picture = Picture()
        self._drawn_at = 0.0
        self._thread = threading.Thread(target=self._run, name=f"density-{feed}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, within a second or so; nobody waits for it."""
        self._closed.set()
        self._hush.set()

    @property
    def ended(self) -> bool:
        """Whether it is closed, and its thread is gone."""
        return self._closed.is_set() and not self._thread.is_alive()

    def picture(self) -> Picture:
        """Return the picture, drawn anew when there is more than in the last one and that is a second old; the same one else."""
        with self._drawing:
            last, now = self._picture, time.monotonic()
            with self._lock:
                aggregate, trouble, warning = self._aggregate, self._trouble, self._warning
                same = aggregate is None or aggregate.events == last.events
            if same and (trouble, warning) == (last.trouble, last.warning):
                return last
            if not same and last.version and now - self._drawn_at < _DRAW_SECONDS:
                return last
            self._picture = self._draw(last.version + 1, trouble, warning)
            self._drawn_at = now
            return self._picture

    def _draw(self, version: int, trouble: str, warning: str) -> Picture:
        with self._lock:
            of, columns = self._aggregate, self._columns
            if of is None or columns is None or of.value is None:
                unknown = f"None of the {of.events:,} events so far has a {columns.value}." if of and columns else ""
                return Picture(version, events=of.events if of else 0, trouble=trouble or unknown, warning=warning)
            return Picture(
                version,
                columns.value,
                of.value.low,
                of.value.high,
                of.events,
                of.unknown,
                of.beyond,
                of.since,
                of.views(),
                trouble,
                warning,
            )

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._follow()
            except TidemillError as error:
                self._trouble = str(error)
                self._closed.wait(_RETRY_SECONDS)
            except Exception:  # of one row or one answer; the next try may do better, and counts nothing twice
                log.exception("The picture of live.%s is behind", self._feed)
                self._trouble = "Something went wrong with this picture; the log says what. It is tried again."
                self._closed.wait(_RETRY_SECONDS)

    def _follow(self) -> None:
        """Read what is kept, then what comes, until there is a gap or the service is elsewhere."""
        spec = load_declaration(live_files(self._workspace)[self._feed], "live", LiveSpec)
        self._seed(spec)
        endpoint = Endpoint.of(self._workspace)
        self._hush = hush = threading.Event()

        def tell(answers: bool) -> None:
            self._trouble = _AWAY if not answers else "" if self._aggregate else _NONE
            if not answers and Endpoint.last(self._workspace) not in (endpoint, None):
                hush.set()  # it was started anew, and listens elsewhere

        if self._closed.is_set():
            return
        changes = subscribe(endpoint, self._feed, position=OLDEST, every=True, frame_ms=_FRAME_MS, stop=hush, tell=tell)
        with closing(changes):
            for change in changes:
                if change.kind == "gap":
                    self._warning = _GAP
                    self._seeded, self._seed_at = False, 0.0
                    return
                self._take(spec, change.rows)
                self._seed(spec)

    def _seed(self, spec: LiveSpec) -> None:
        """Count the rows that the hot store has kept; once, but when it does not answer."""
        from lakehouse.serving.density.events import kinds_of_types, of_batch
        from lakehouse.serving.hot import HotSource

        if self._seeded or time.monotonic() < self._seed_at:
            return
        self._seed_at, self._seed_pause = time.monotonic() + self._seed_pause, self._seed_pause * 2
        try:
            source = HotSource(postgres_dsn(Settings.load(self._workspace)), self._feed)
            columns = self._choose(spec, kinds_of_types(source.types))
            first = not self._seen
            for batch in source.batches(columns.all) if columns else ():
                assert columns is not None
                self._count(of_batch(batch, columns), distinct=first)
        except TidemillError as error:
            log.info("live.%s: the kept rows cannot be read now", self._feed, exc_info=error)
            return
        self._seeded, self._seed_pause = True, _SEED_SECONDS

    def _take(self, spec: LiveSpec, rows: Sequence[Mapping[str, Any]]) -> None:
        """Count rows as they are pushed."""
        from lakehouse.serving.density.events import kinds_of_rows, of_rows

        if rows and (columns := self._columns or self._choose(spec, kinds_of_rows(rows))):
            self._count(of_rows(rows, columns))

    def _choose(self, spec: LiveSpec, kinds: Mapping[str, Kind]) -> Columns | None:
        """Say what to draw; that stays, once it is said."""
        from lakehouse.serving.density.events import choose

        self._columns = self._columns or choose(kinds, spec.sequence_by, spec.keys)
        self._trouble = "" if self._columns else f"{spec.full_name} has no number to draw over time."
        return self._columns

    def _count(self, events: Events, *, distinct: bool = False) -> None:
        from lakehouse.serving.density.aggregate import Aggregate
        from lakehouse.serving.density.seen import Seen

        assert self._columns is not None
        with self._lock:
            self._seen = self._seen or Seen()
            self._aggregate = self._aggregate or Aggregate(self._columns.value)
            self._aggregate.add(events.only(self._seen.fresh(events, distinct=distinct)))


_watches: dict[tuple[Path, str], Watch] = {}
_sharing = threading.Lock()


def watch(workspace: Workspace, feed: str) -> Watch:
    """Return the one that follows a live table in this process; the first who asks makes it."""
    with _sharing:
        key = (workspace.root, feed)
        if key not in _watches:
            _watches[key] = Watch(workspace, feed)
        return _watches[key]


def unwatch(workspace: Workspace) -> None:
    """Close those of a workspace."""
    with _sharing:
        for key in [key for key in _watches if key[0] == workspace.root]:
            _watches.pop(key).close()
