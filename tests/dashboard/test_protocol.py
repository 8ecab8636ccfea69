"""Does a client end with what the database holds, whatever happens in between and in whatever order?

A fake database hands out transaction ids and commits in any order; the feed and a client's snapshot are read at any
moment between, and messages are lost with their connection. Laws: what a client shows when all is quiet is what the
database holds; no event comes twice or out of commit order; none is missed that the messages do not count as skipped.
"""

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard_api.conflation import NewEvent
from dashboard_api.hub import Batch, Hub
from dashboard_api.messages import FeedState, StreamsState, series_text, value_text
from dashboard_api.position import Position, parse_position
from dashboard_api.reported import Reported
from dashboard_api.session import LiveSession, ReadRequest, Resumption, Rights, Snapshot
from dashboard_api.subscription import Series, Subscription
from dashboard_api.touched import Change, Point, Touched, Wanted, touched_points
from schemas.event import AreaId
from schemas.identity import actor_without_token
from schemas.kpi import Value
from schemas.window import Tier, bucket_start
from tests.dashboard.centre import site

NOW = datetime(2026, 3, 29, 12, 30, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
SITE = site()
EVERYBODY = Rights(actor_without_token(SITE))
ROOT, WARD = AreaId("00"), AreaId("01")
KPI = "feedback_received"
EVENTS_MAX = 8


class FakeDatabase:
    """Counts per minute, in transactions that end in any order."""

    def __init__(self) -> None:
        self.last_xid = 100
        self.running: dict[int, tuple[int, AreaId]] = {}
        self.changes: dict[int, Change] = {}
        self.minutes: dict[tuple[AreaId, int], int] = defaultdict(int)
        self.events: list[NewEvent] = []

    def begin(self, minutes_back: int, area: AreaId) -> None:
        """A transaction takes its id; nothing of it can be seen yet."""
        self.last_xid += 1
        self.running[self.last_xid] = (NOW_S // 60 * 60 - minutes_back * 60, area)

    def end(self, choice: int, *, commit: bool) -> None:
        """One of the running transactions ends."""
        if not self.running:
            return
        xid = sorted(self.running)[choice % len(self.running)]
        minute_s, area = self.running.pop(xid)
        if commit:
            path = list(SITE.areas.path(area))
            for one in path:
                self.minutes[one, minute_s] += 1
            self.events.append(NewEvent(xid, tuple(path), f'{{"event":{{"id":{xid}}}}}', NOW))
            self.changes[xid] = Change(xid, NOW, Touched([(KPI, minute_s, path)], 1, []))

    @property
    def horizon(self) -> Position:
        """Below every running transaction."""
        return Position(1, min(self.running, default=self.last_xid + 1) - 1)

    def value(self, point: Point) -> Reported:
        """What a bucket holds now."""
        zone = SITE.areas.zone(point.area)
        n = sum(
            count
            for (area, minute_s), count in self.minutes.items()
            if area == point.area and bucket_start(minute_s, point.tier, zone) == point.bucket_s
        )
        return Reported(now=Value(value=float(n), n=n))

    def points(self, series: Series) -> dict[int, float | None]:
        """All buckets of a series that hold something."""
        zone = SITE.areas.zone(series.area)
        starts = {bucket_start(m, series.tier, zone) for (area, m), n in self.minutes.items() if area == series.area}
        return {start: self.value(Point(*series, start)).now.value for start in sorted(starts)}

    def since(self, after: Position) -> list[Change]:
        """The change rows in (after, horizon]."""
        return [self.changes[xid] for xid in sorted(self.changes) if after.xid < xid <= self.horizon.xid]

    def new_events(self, after: Position, through: Position) -> list[NewEvent]:
        """The events of the transactions in (after, through], in order."""
        return sorted((e for e in self.events if after.xid < e.xid <= through.xid), key=lambda e: e.xid)


class Board:
    """A client: the protocol's reader, as docs/live-protocol.md asks for it."""

    def __init__(self) -> None:
        self.position: str | None = None
        self.values: dict[Series, dict[int, tuple[int, float]]] = {}
        self.event_ids: list[int] = []
        self.skipped = 0

    def read(self, text: str) -> None:
        """Takes one message."""
        message: dict[str, Any] = msgspec.json.decode(text)
        if message["op"] not in {"snapshot", "change"}:
            return
        ids = [event["event"]["id"] for event in message["events"]]
        if message["op"] == "snapshot":
            self.event_ids, self.skipped = ids, 0
            self.values = {
                Series(s["kpi"], s["area"], Tier(s["tier"])): {p["bucket"]: (0, p["value"]) for p in s["points"]}
                for s in message["series"]
            }
        else:
            self.event_ids += ids
            self.skipped += message["events_skipped"]
            for v in message["values"]:
                points = self.values[Series(v["kpi"], v["area"], Tier(v["tier"]))]
                if points.get(v["bucket"], (0, 0.0))[0] <= v["version"]:
                    points[v["bucket"]] = (v["version"], v["value"])
        if self.position is not None and message["op"] == "change":
            before, after = parse_position(self.position), parse_position(message["position"])
            assert before is not None
            assert after is not None
            assert before <= after
        self.position = message["position"]
        assert self.event_ids == sorted(set(self.event_ids)), "an event came twice or out of order"


class World:
    """The database, the feed's two halves, and one client with its session."""

    def __init__(self, tier: Tier) -> None:
        self.database, self.hub, self.board = FakeDatabase(), Hub(), Board()
        self.tier = tier
        self.hub.position = self.database.horizon
        self.caught: tuple[list[Change], Position, Position, Wanted] | None = None
        self.connect()

    def connect(self) -> None:
        """The client's connection is new; what was on the way over the old one is lost."""
        if hasattr(self, "session"):
            self.hub.remove(self.session)
        self.session = LiveSession(lambda: None)
        self.hub.add(self.session)
        self.asked: ReadRequest | None = None
        self.subscribe(resume=True)

    def subscribe(self, *, resume: bool) -> None:
        """The client says what it wants, with its last position or without."""
        position = parse_position(self.board.position) if resume and self.board.position else None
        self.session.subscribe(
            Subscription(
                kpis=(KPI,),
                areas=(ROOT, WARD),
                tier=self.tier,
                points=60,
                events=EVENTS_MAX,
                sources=False,
                position=position,
            ),
            EVERYBODY,
        )
        self.hub.join(self.session)

    def catch(self) -> None:
        """The feed reads change rows and asks who wants what."""
        if self.caught is None:
            assert self.hub.position is not None
            changes, through = self.database.since(self.hub.position), self.database.horizon
            self.caught = (changes, self.hub.position, through, self.hub.begin_reading(through, NOW_S))

    def publish(self) -> None:
        """The feed reads values, later than it read the change rows, and hands them out."""
        if self.caught is None:
            return
        changes, after, through, wanted = self.caught
        self.caught = None
        if not changes:
            self.hub.position = through
            return
        minutes = touched_points(changes, wanted, SITE, NOW_S)
        self.hub.publish(
            Batch(
                position=through,
                values={p: value_text(p, through.xid, m, self.database.value(p)) for p, m in minutes.items()},
                events=self.database.new_events(after, through),
                events_skipped=0,
                sources={},
                committed_at=NOW,
            ),
            NOW_S,
        )

    def ask(self) -> None:
        """The session's question goes out."""
        self.asked = self.session.begin_read() or self.asked

    def answer(self) -> None:
        """The database answers, as of now."""
        if self.asked is None:
            return
        request, self.asked = self.asked, None
        horizon, after = self.database.horizon, request.subscription.position
        if after is None:
            seen = self.database.new_events(Position(1, 0), horizon)
            self.session.answered(
                request.token,
                Snapshot(
                    position=horizon,
                    reason=request.reason,
                    series=[
                        series_text(
                            s,
                            "UTC",
                            None,
                            [(b, self.database.value(Point(*s, b))) for b in self.database.points(s)],
                        )
                        for s in request.subscription.series
                    ],
                    events=[event.text for event in seen],
                    sources=[],
                ),
            )
            return
        series: dict[str, dict[AreaId, set[Tier]]] = {KPI: {ROOT: {self.tier}, WARD: {self.tier}}}
        wanted = Wanted(series, dict.fromkeys(Tier, 0), True, False)
        minutes = touched_points(self.database.since(after), wanted, SITE, NOW_S)
        self.session.answered(
            request.token,
            Resumption(
                position=horizon,
                values=[value_text(p, horizon.xid, m, self.database.value(p)) for p, m in minutes.items()],
                events=[event.text for event in self.database.new_events(after, horizon)],
                events_skipped=0,
                sources=[],
            ),
        )

    def take(self) -> None:
        """The client's messages reach it."""
        for text in self.session.take(self.hub.position, NOW).texts:
            self.board.read(text)
        live, counting = FeedState(state="live", lag_s=0), StreamsState(state="up", since=NOW)
        beat = msgspec.json.decode(self.session.heartbeat(NOW, live, counting))
        self.board.position = beat["position"] or self.board.position

    def settle(self) -> None:
        """All is committed, read and told."""
        while self.database.running:
            self.database.end(0, commit=True)
        for _ in range(2):
            self.catch()
            self.publish()
        self.ask()
        self.answer()
        self.take()


# Whole moves make it likely that a client gets somewhere, and their halves that something comes in between.
STEPS = st.tuples(
    st.one_of(
        st.sampled_from(["write", "tick", "read", "take"]),
        st.sampled_from(["begin", "begin", "commit", "commit", "abort", "catch", "publish", "ask", "answer"]),
        st.sampled_from(["write", "tick", "read", "take", "connect", "resume", "afresh"]),
    ),
    st.integers(0, 50),
)


@settings(max_examples=500, deadline=None)
@given(steps=st.lists(STEPS, min_size=5, max_size=60), tier=st.sampled_from(list(Tier)))
def test_a_client_ends_with_what_the_database_holds(steps: list[tuple[str, int]], tier: Tier) -> None:
    world = World(tier)
    for step, number in steps:
        match step:
            case "begin":
                world.database.begin(number, WARD if number % 2 else ROOT)
            case "write":
                world.database.begin(number, WARD if number % 2 else ROOT)
                world.database.end(-1, commit=True)
            case "tick":
                world.catch()
                world.publish()
            case "read":
                world.ask()
                world.answer()
            case "commit" | "abort":
                world.database.end(number, commit=step == "commit")
            case "resume" | "afresh":
                world.subscribe(resume=step == "resume")
            case _:
                getattr(world, step)()
    world.settle()
    shown = {
        series: {bucket: value for bucket, (_, value) in points.items()}
        for series, points in world.board.values.items()
    }
    assert shown == {series: world.database.points(series) for series in shown}
    assert len(shown) == 2
    assert len(world.board.event_ids) + world.board.skipped == len(world.database.events)


@settings(max_examples=50, deadline=None)
@given(rounds=st.integers(1, 40))
def test_what_waits_for_a_silent_client_is_bounded_by_what_it_shows(rounds: int) -> None:
    world = World(Tier.MINUTE)
    world.ask()
    world.answer()
    world.take()
    for number in range(rounds * 10):
        world.database.begin(number % 60, WARD)
        world.database.end(0, commit=True)
        world.catch()
        world.publish()
    buckets_max, areas = 62, 2
    assert world.session.waiting <= areas * buckets_max + EVENTS_MAX
    world.settle()
    assert world.board.skipped == max(0, rounds * 10 - EVENTS_MAX)


def test_an_answer_to_an_overtaken_question_is_ignored() -> None:
    world = World(Tier.HOUR)
    world.ask()
    world.subscribe(resume=False)
    world.answer()
    assert world.session.take(world.hub.position, NOW).texts == []
    world.settle()
    assert world.board.position is not None
