"""What has a client still to be told, when it cannot be told at once?

What one batch of changes says to many clients is a `Part`, put together once for all of them. For a client that could
not be told of one before the next came, `Pending` keeps the newest value of each bucket, the newest events of its
list, and the newest word on each source, case and unit: as much as its board shows and no more, however long it keeps
us waiting.
"""

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property

from msgspec import Struct

from dashboard_api import messages
from dashboard_api.outgoing import Message
from dashboard_api.position import Position
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
    `exercise`    it is one of a drill
    """

    xid: int
    path: tuple[AreaId, ...]
    text: str
    received_at: datetime
    is_bound: bool = False
    seen: Seen | None = None
    exercise: bool = False

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


def change_message(position: Position, time: datetime, flush: Flush) -> Message:
    """What a client is told of all this."""
    return Message(
        messages.change_text(
            position,
            time,
            flush.values,
            [event.text for event in flush.events],
            flush.events_skipped,
            flush.sources,
            handling=messages.handling_text(
                flush.cases or None,
                flush.cases_gone,
                flush.units or None,
                flush.outcomes,
                has_more=flush.has_more_cases,
            ),
        )
    )


class Part(Struct, frozen=True, kw_only=True, dict=True):
    """What one batch of changes, up to `position`, says to clients that show the same of it.

    Of `events` at most `events_max` fit the clients' list. A case without a text is no longer shown. `outcomes` come
    with the transaction that decided them.
    """

    position: Position
    time: datetime
    committed_at: datetime | None
    events_max: int
    values: Sequence[tuple[Point, str]] = ()
    events: Sequence[NewEvent] = ()
    events_skipped: int = 0
    sources: Sequence[tuple[str, str]] = ()
    cases: Sequence[tuple[str, str | None]] = ()
    has_more_cases: bool = False
    units: Sequence[tuple[str, str]] = ()
    outcomes: Sequence[tuple[int, str]] = ()

    def __len__(self) -> int:
        return sum(map(len, (self.values, self.events, self.sources, self.cases, self.units, self.outcomes)))

    @cached_property
    def says_something(self) -> bool:
        """Whether there is anything to be told now. What was skipped is told with the next that there is."""
        return bool(len(self) or self.has_more_cases)

    @cached_property
    def flush(self) -> Flush:
        """All of it, as it goes out to a client that waits for nothing else."""
        left_out = max(0, len(self.events) - self.events_max)
        return Flush(
            values=[text for _, text in self.values],
            events=list(self.events[left_out:]),
            events_skipped=self.events_skipped + left_out,
            sources=[text for _, text in self.sources],
            committed_at=self.committed_at,
            cases=[text for _, text in self.cases if text is not None],
            cases_gone=[id_ for id_, text in self.cases if text is None],
            has_more_cases=self.has_more_cases,
            units=[text for _, text in self.units],
            outcomes=[text for _, text in self.outcomes[-OUTCOMES_MAX:]],
        )

    @cached_property
    def message(self) -> Message:
        """The one message for all of these clients."""
        return change_message(self.position, self.time, self.flush)


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

    def put(self, part: Part, covered_xid: int) -> None:
        """All of a part, but for what the client has: its answer held everything up to `covered_xid`."""
        xid = part.position.xid
        for point, text in part.values:
            self.put_value(point, xid, text)
        self.skip_events(part.events_skipped)
        for event in part.events:
            if event.xid > covered_xid:
                self.put_event(event)
        for source, text in part.sources:
            self.put_source(source, xid, text)
        for id_, text in part.cases:
            self.put_case(id_, xid, text)
        if part.has_more_cases:
            self.note_more_cases()
        for unit, text in part.units:
            self.put_unit(unit, xid, text)
        for decided_xid, text in part.outcomes:
            if decided_xid > covered_xid:
                self.put_outcome(decided_xid, text)
        if part.committed_at is not None and part.says_something:
            self.put_commit(xid, part.committed_at)

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
