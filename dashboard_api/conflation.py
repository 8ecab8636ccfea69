"""What has a client still to be told, when it cannot be told at once?

The newest value of each bucket, the newest events of its list, and the newest word on each source, case and unit: as
much as its board shows and no more, however long it keeps us waiting.
"""

from collections import deque
from datetime import datetime

from msgspec import Struct

from dashboard_api.touched import Point
from schemas.command import Actor
from schemas.event import AreaId
from schemas.identity import Seen, may_see, may_see_around

OUTCOMES_MAX = 200
"""Outcomes that wait for one client. `GET /v1/commands/{id}` has every one."""


class NewEvent(Struct, frozen=True):
    """An event on the feed, serialised. `path` is its area and all that it lies or may lie in.

    `seen`        what decides who may see its case, and so the event; None where it has none: then `path` does
    `is_bound`    it is for nobody who may not see its case, also where that is not known: a command, say
    """

    xid: int
    path: tuple[AreaId, ...]
    text: str
    received_at: datetime
    is_bound: bool = False
    seen: Seen | None = None

    def is_for(self, actor: Actor) -> bool:
        """Whether somebody may see it."""
        if self.seen is not None:
            return may_see(actor, self.seen)
        return not self.is_bound and may_see_around(actor, self.path)


class Flush(Struct, frozen=True, kw_only=True):
    """What goes out together. `committed_at` is the commit of the oldest change in it."""

    values: list[str]
    events: list[NewEvent]
    events_skipped: int
    sources: list[str]
    committed_at: datetime | None
    cases: list[str] = []
    cases_gone: list[str] = []
    has_more_cases: bool = False
    units: list[str] = []
    outcomes: list[str] = []


class Pending:
    """A latest-value map for one client. Of two entries under one key the later put stays."""

    def __init__(self, events_max: int) -> None:
        self.replaced = 0
        self._values: dict[Point, tuple[int, str]] = {}
        self._sources: dict[str, tuple[int, str]] = {}
        self._events: deque[NewEvent] = deque(maxlen=events_max)
        self._skipped = 0
        self._commits: dict[int, datetime] = {}
        # Of a case that is no longer shown there is no text.
        self._cases: dict[str, tuple[int, str | None]] = {}
        self._has_more_cases = False
        self._units: dict[str, tuple[int, str]] = {}
        self._outcomes: deque[tuple[int, str]] = deque(maxlen=OUTCOMES_MAX)

    def __bool__(self) -> bool:
        return bool(len(self) or self._has_more_cases)

    def __len__(self) -> int:
        return sum(map(len, (self._values, self._events, self._sources, self._cases, self._units, self._outcomes)))

    def put_value(self, point: Point, xid: int, text: str) -> None:
        """A bucket's new value, as of `xid`."""
        self.replaced += point in self._values
        self._values[point] = (xid, text)

    def put_source(self, source: str, xid: int, text: str) -> None:
        """The new word on a source, as of `xid`."""
        self._sources[source] = (xid, text)

    def put_case(self, id_: str, xid: int, text: str | None) -> None:
        """A case's new state, as of `xid`; None: it is no longer among those that the client shows."""
        self.replaced += id_ in self._cases
        self._cases[id_] = (xid, text)

    def note_more_cases(self) -> None:
        """There is a case for which the client's list has no room."""
        self._has_more_cases = True

    def put_unit(self, unit: str, xid: int, text: str) -> None:
        """A unit's new state, as of `xid`."""
        self._units[unit] = (xid, text)

    def put_outcome(self, xid: int, text: str) -> None:
        """What became of a command of the client's own. Of more than OUTCOMES_MAX the newest stay."""
        self._outcomes.append((xid, text))

    def put_event(self, event: NewEvent) -> None:
        """A new event. Beyond the list's length the oldest waiting one makes room, and is counted."""
        self._skipped += len(self._events) == self._events.maxlen
        self._events.append(event)

    def skip_events(self, count: int) -> None:
        """Counts new events that are older than those that were put."""
        self._skipped += count

    def put_commit(self, xid: int, committed_at: datetime) -> None:
        """Notes when the oldest change of what is put as of `xid` was committed."""
        # Only the oldest is ever asked for; more than one is kept just until `drop_through` may take it away.
        if len(self._commits) < 2:
            self._commits[xid] = committed_at

    def drop_through(self, xid: int) -> None:
        """Forgets what a snapshot as of `xid` holds already."""
        self._values = {point: entry for point, entry in self._values.items() if entry[0] > xid}
        self._sources = {source: entry for source, entry in self._sources.items() if entry[0] > xid}
        self._cases = {id_: entry for id_, entry in self._cases.items() if entry[0] > xid}
        self._units = {unit: entry for unit, entry in self._units.items() if entry[0] > xid}
        self._outcomes = deque((entry for entry in self._outcomes if entry[0] > xid), maxlen=OUTCOMES_MAX)
        self._commits = {at: committed_at for at, committed_at in self._commits.items() if at > xid}
        kept = [event for event in self._events if event.xid > xid]
        if len(kept) < len(self._events):
            # Events are in order, so all that made room were older than one that the snapshot holds.
            self._skipped = 0
        self._events = deque(kept, maxlen=self._events.maxlen)

    def take(self) -> Flush:
        """All of it, and nothing is left."""
        flush = Flush(
            values=[text for _, text in self._values.values()],
            events=list(self._events),
            events_skipped=self._skipped,
            sources=[text for _, text in self._sources.values()],
            committed_at=min(self._commits.values(), default=None),
            cases=[text for _, text in self._cases.values() if text is not None],
            cases_gone=[id_ for id_, (_, text) in self._cases.items() if text is None],
            has_more_cases=self._has_more_cases,
            units=[text for _, text in self._units.values()],
            outcomes=[text for _, text in self._outcomes],
        )
        self._values.clear()
        self._sources.clear()
        self._events.clear()
        self._commits.clear()
        self._cases.clear()
        self._has_more_cases = False
        self._units.clear()
        self._outcomes.clear()
        self._skipped = 0
        self.replaced = 0
        return flush
