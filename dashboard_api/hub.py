"""Who is told of which change?

The hub knows every client's wish. It says what of a transaction is worth reading at all, and hands each value, read
and serialised once, to those who show it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from dashboard_api.conflation import NewEvent
from dashboard_api.live_cases import LiveCase
from dashboard_api.messages import DatabaseState
from dashboard_api.position import Position
from dashboard_api.session import LiveSession, SnapshotReason
from dashboard_api.subscription import Series
from dashboard_api.touched import Point, Wanted, oldest_shown_s
from schemas.event import AreaId
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


class Hub:
    """The live clients of one process. Everything here runs between two awaits of one event loop."""

    def __init__(self) -> None:
        self.position: Position | None = None
        self._sessions: set[LiveSession] = set()
        self._by_series: dict[Series, set[LiveSession]] = {}
        self._joined: dict[LiveSession, tuple[Series, ...]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, session: LiveSession) -> None:
        """A client is there; it wants nothing yet."""
        self._sessions.add(session)

    def join(self, session: LiveSession) -> None:
        """The client's present subscription holds from now on, and no earlier one."""
        self._leave(session)
        series = tuple(session.subscription.series) if session.subscription else ()
        self._joined[session] = series
        for one in series:
            self._by_series.setdefault(one, set()).add(session)

    def remove(self, session: LiveSession) -> None:
        """The client is gone."""
        self._leave(session)
        self._sessions.discard(session)

    def wanted(self, now_s: float) -> Wanted:
        """All wishes together."""
        series: dict[str, dict[AreaId, set[Tier]]] = {}
        for kpi, area, tier in self._by_series:
            series.setdefault(kpi, {}).setdefault(area, set()).add(tier)
        subscriptions = [s.subscription for s in self._sessions if s.subscription is not None]
        points = {tier: max((s.points for s in subscriptions if s.tier is tier), default=0) for tier in TIERS}
        return Wanted(
            series,
            {tier: oldest_shown_s(now_s, tier, points[tier]) for tier in TIERS},
            any(s.events for s in subscriptions),
            any(s.sources for s in subscriptions),
            any(s.cases is not None for s in subscriptions),
            any(s.units for s in subscriptions),
            frozenset(
                session.rights.source
                for session in self._sessions
                if session.subscription is not None and session.subscription.commands
            ),
        )

    def publish(self, batch: Batch, now_s: float) -> None:
        """Offers each client its part of what changed."""
        xid = batch.position.xid
        told: set[LiveSession] = set()
        for point, text in batch.values.items():
            for session in self._by_series.get(point.series, ()):
                if session.offer_value(point, xid, text, now_s):
                    told.add(session)
        if batch.events or batch.events_skipped or batch.sources:
            for session in self._joined:
                session.skip_events(batch.events_skipped)
                took = [session.offer_event(event) for event in batch.events]
                took += [session.offer_source(source, xid, text) for source, text in batch.sources.items()]
                if any(took):
                    told.add(session)
        if batch.cases or batch.units or batch.outcomes:
            for session in self._joined:
                took = [session.offer_case(case, xid) for case in batch.cases]
                took += [session.offer_unit(unit, xid, text) for unit, text in batch.units.items()]
                took += [session.offer_outcome(source, at, text) for source, at, text in batch.outcomes]
                if any(took):
                    told.add(session)
        self.position = batch.position
        for session in told:
            session.offered(xid, batch.committed_at)

    def reset(self, position: Position, reason: SnapshotReason) -> None:
        """The feed goes on at `position`, and cannot say what changed before: every client needs a snapshot."""
        self.position = position
        for session in self._joined:
            session.reset(reason)

    def tell_status(self, database: DatabaseState) -> None:
        """Tells every client that the database went away or came back."""
        for session in self._sessions:
            session.tell_status(database)

    def wake(self) -> None:
        """Lets every client look whether it has to be told something."""
        for session in self._sessions:
            session.wake()

    def _leave(self, session: LiveSession) -> None:
        for one in self._joined.pop(session, ()):
            sessions = self._by_series[one]
            sessions.discard(session)
            if not sessions:
                del self._by_series[one]
