"""Who is told of which change?

Clients with the same wish and the same rights are one audience. The hub says what of a transaction is worth reading
at all, and puts together once what an audience is told of it; audiences that show the same share the message.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from msgspec import Struct

from dashboard_api.conflation import NewEvent, Part
from dashboard_api.live_cases import LiveCase, wordless_unit
from dashboard_api.messages import DatabaseState
from dashboard_api.position import Position
from dashboard_api.session import LiveSession, News, Rights, SnapshotReason
from dashboard_api.subscription import Series, Subscription
from dashboard_api.touched import Point, Wanted, oldest_shown_s
from schemas.display import is_display
from schemas.event import AreaId
from schemas.identity import may_see
from schemas.window import TIERS, Tier


class Batch(Struct, frozen=True, kw_only=True):
    """What the transactions up to `position` changed, read and serialised. `committed_at` is the oldest's commit.

    `outcomes` are a command's source, the transaction that decided it, and the text.
    """

    position: Position
    values: Mapping[Point, str]
    events: Sequence[NewEvent]
    events_skipped: int
    sources: Mapping[str, str]
    committed_at: datetime | None
    cases: Sequence[LiveCase] = ()
    units: Mapping[str, str] = {}
    outcomes: Sequence[tuple[str, int, str]] = ()


class _Window(NamedTuple):
    """Which values somebody shows."""

    kpis: tuple[str, ...]
    areas: tuple[AreaId, ...]
    tier: Tier
    points: int


class _Audience:
    """The clients that want and may see the same. `wish` is without a position, which is each client's own."""

    __slots__ = ("areas", "rights", "sessions", "window", "wish")

    def __init__(self, wish: Subscription, rights: Rights) -> None:
        self.wish = wish
        self.rights = rights
        self.areas = frozenset(wish.areas)
        self.window = _Window(wish.kpis, wish.areas, wish.tier, wish.points)
        self.sessions: set[LiveSession] = set()


class Hub:
    """The live clients of one process. Everything here runs between two awaits of one event loop.

    Everything up to `position` was told. What is being read now, up to `reading`, is what somebody wanted when the
    reading began: whoever joins since is not told of it, and needs an answer that holds it.
    """

    def __init__(self) -> None:
        self.position: Position | None = None
        self.reading: Position | None = None
        self._sessions: set[LiveSession] = set()
        self._audiences: dict[tuple[Subscription, Rights], _Audience] = {}
        self._joined: dict[LiveSession, tuple[Subscription, Rights]] = {}
        # How many audiences show each window; and the windows that show each series.
        self._windows: dict[_Window, int] = {}
        self._by_series: dict[Series, list[_Window]] = {}
        self._wanted: Wanted | None = None

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def audiences(self) -> int:
        """How many different things are told."""
        return len(self._audiences)

    def add(self, session: LiveSession) -> None:
        """A client is there; it wants nothing yet."""
        self._sessions.add(session)

    def join(self, session: LiveSession) -> None:
        """The client's present subscription holds from now on, and no earlier one."""
        self._leave(session)
        if session.subscription is None:
            return
        key = (msgspec.structs.replace(session.subscription, position=None), session.rights)
        audience = self._audiences.get(key)
        if audience is None:
            audience = self._audiences[key] = _Audience(*key)
            self._open(audience.window)
        audience.sessions.add(session)
        self._joined[session] = key

    def remove(self, session: LiveSession) -> None:
        """The client is gone."""
        self._leave(session)
        self._sessions.discard(session)

    def begin_reading(self, through: Position, now_s: float) -> Wanted:
        """The feed reads what was changed up to here, for those who are there now. Returns what they want."""
        self.reading = through
        return self.wanted(now_s)

    @property
    def spoken_for(self) -> Position | None:
        """How far an answer to who joins now has to reach: what is being read comes without what they want."""
        told = (self.position, self.reading)
        return max((position for position in told if position is not None), default=None)

    def wanted(self, now_s: float) -> Wanted:
        """All wishes together."""
        if self._wanted is None:
            self._wanted = self._wishes()
        points = {tier: max((w.points for w in self._windows if w.tier is tier), default=0) for tier in TIERS}
        oldest_s = {tier: oldest_shown_s(now_s, tier, points[tier]) for tier in TIERS}
        return msgspec.structs.replace(self._wanted, oldest_s=oldest_s)

    def publish(self, batch: Batch, now_s: float) -> Collection[Part]:
        """Tells each client its part of what changed, or lets it wait for the client. Returns the different parts."""
        after_xid = -1 if self.position is None else self.position.xid
        self.position = batch.position
        time = datetime.fromtimestamp(now_s, UTC)
        values = self._values(batch, now_s)
        shared: dict[tuple[object, ...], Part] = {}
        for audience in self._audiences.values():
            cases = [*_cases(audience, batch)]
            part = _part(audience, batch, time, values.get(audience.window, ()), shared)
            if part.says_something or part.events_skipped or cases:
                news = News(part, cases, after_xid)
                # A session may leave while it is told, when its socket turns out to be gone.
                for session in tuple(audience.sessions):
                    session.offer(news)
        return shared.values()

    def reset(self, position: Position, reason: SnapshotReason) -> None:
        """The feed goes on at `position`, and cannot say what changed before: every client needs a snapshot."""
        self.position, self.reading = position, None
        for session in tuple(self._joined):
            session.reset(reason)

    def tell_status(self, database: DatabaseState) -> None:
        """Tells every client that the database went away or came back."""
        for session in tuple(self._sessions):
            session.tell_status(database)

    def wake(self) -> None:
        """Lets every client look whether it has to be told something."""
        for session in tuple(self._sessions):
            session.wake()

    def _values(self, batch: Batch, now_s: float) -> dict[_Window, list[tuple[Point, str]]]:
        """What each window shows of the values."""
        oldest_s = {window: oldest_shown_s(now_s, window.tier, window.points) for window in self._windows}
        found: dict[_Window, list[tuple[Point, str]]] = {}
        for value in batch.values.items():
            point = value[0]
            for window in self._by_series.get(point.series, ()):
                if point.bucket_s >= oldest_s[window]:
                    found.setdefault(window, []).append(value)
        return found

    def _wishes(self) -> Wanted:
        series: dict[str, dict[AreaId, set[Tier]]] = {}
        for kpi, area, tier in self._by_series:
            series.setdefault(kpi, {}).setdefault(area, set()).add(tier)
        wishes = [audience.wish for audience in self._audiences.values()]
        return Wanted(
            series,
            {},
            any(wish.events for wish in wishes),
            any(wish.sources for wish in wishes),
            any(wish.cases is not None for wish in wishes),
            any(wish.units for wish in wishes),
            frozenset(a.rights.source for a in self._audiences.values() if a.wish.commands),
        )

    def _open(self, window: _Window) -> None:
        self._wanted = None
        self._windows[window] = self._windows.get(window, 0) + 1
        if self._windows[window] == 1:
            for one in _series(window):
                self._by_series.setdefault(one, []).append(window)

    def _close(self, window: _Window) -> None:
        self._wanted = None
        self._windows[window] -= 1
        if self._windows[window] == 0:
            del self._windows[window]
            for one in _series(window):
                self._by_series[one].remove(window)
                if not self._by_series[one]:
                    del self._by_series[one]

    def _leave(self, session: LiveSession) -> None:
        key = self._joined.pop(session, None)
        if key is None:
            return
        audience = self._audiences[key]
        audience.sessions.discard(session)
        if not audience.sessions:
            del self._audiences[key]
            self._close(audience.window)


def _series(window: _Window) -> Iterator[Series]:
    # A client may name a KPI or an area twice.
    for kpi in dict.fromkeys(window.kpis):
        for area in dict.fromkeys(window.areas):
            yield Series(kpi, area, window.tier)


def _cases(audience: _Audience, batch: Batch) -> Iterator[tuple[str, str | None]]:
    """The cases as the audience is told of them: without a text where it does not want or may not see one."""
    wanted = audience.wish.cases
    if wanted is not None:
        for one in batch.cases:
            takes = wanted.takes(one.case) and may_see(audience.rights.actor, one.seen)
            yield one.case.id, one.text_for(audience.rights.actor) if takes else None


def _part(
    audience: _Audience,
    batch: Batch,
    time: datetime,
    values: Sequence[tuple[Point, str]],
    shared: dict[tuple[object, ...], Part],
) -> Part:
    """What the audience is told, cases apart. One that shows the same as another gets the same part."""
    wish, rights = audience.wish, audience.rights
    events = [
        event
        for event in (batch.events if wish.events else ())
        if event.exercise is wish.exercise
        and not audience.areas.isdisjoint(event.path)
        and event.is_for(rights.actor)
    ]
    units = [unit for unit in batch.units if unit in rights.units] if wish.units else []
    is_wordless = is_display(rights.actor)
    outcomes = [(xid, text) for source, xid, text in batch.outcomes if wish.commands and source == rights.source]
    key = (
        audience.window if values else None,
        wish.events,
        tuple(map(id, events)),
        wish.sources,
        tuple(units),
        is_wordless,
        tuple(outcomes),
    )
    part = shared.get(key)
    if part is None:
        part = shared[key] = Part(
            position=batch.position,
            time=time,
            committed_at=batch.committed_at,
            events_max=wish.events,
            values=values,
            events=events,
            events_skipped=batch.events_skipped if wish.events else 0,
            sources=tuple(batch.sources.items()) if wish.sources else (),
            units=[(unit, wordless_unit(batch.units[unit]) if is_wordless else batch.units[unit]) for unit in units],
            outcomes=outcomes,
        )
    return part
