"""Does a live board keep up with cases and units, within its bounds and across what happens while it is answered?"""

from typing import Any

import msgspec

from dashboard_api.case_filter import CaseFilter
from dashboard_api.cases import Order, read_list
from dashboard_api.hub import Batch, Hub
from dashboard_api.live_cases import LiveCase
from dashboard_api.position import Position
from dashboard_api.session import EARLY_MAX, Handling, LiveSession, Phase, Rights, Snapshot
from dashboard_api.subscription import Subscription
from schemas.case import Case, Kind, Offer, OfferStep, Severity, State
from schemas.event import AreaId
from schemas.identity import Seen
from schemas.unit import UnitState, UnitStatus
from schemas.window import Tier
from tests.dashboard.case_centre import actor, case_centre
from tests.dashboard.case_rows import OPENED_AT, case, put_cases, put_units, tell
from tests.dashboard.centre import hear, say, utc_now

OLGA = Rights(actor("olga"), frozenset({"u1"}), "person:olga")


def live(one: Case) -> LiveCase:
    """A case as the feed hands it out."""
    seen = Seen(
        areas=one.areas,
        agency=one.agency,
        accused_agency=one.accused_agency,
        units=one.units,
        tracking=one.tracking,
    )
    return LiveCase(one, seen, f'{{"id":"{one.id}","version":{one.version}}}')


class Board:
    """A session, and what it has been told of cases."""

    def __init__(self, cases_max: int = 3, wanted: CaseFilter | None = None) -> None:
        self.session = LiveSession(lambda: None, cases_max)
        self.session.subscribe(
            Subscription(
                kpis=(),
                areas=(),
                tier=Tier.MINUTE,
                points=1,
                events=0,
                sources=False,
                cases=wanted or CaseFilter(open=True),
                units=True,
                commands=True,
            ),
            OLGA,
        )
        self.hub = Hub()
        self.hub.join(self.session)
        self.request = self.session.begin_read()
        self.shown: dict[str, int] = {}
        self.has_more = False

    def answer(self, xid: int, *cases: Case, has_more: bool = False) -> None:
        """The database answers."""
        assert self.request is not None
        self.session.answered(
            self.request.token,
            Snapshot(
                position=Position(1, xid),
                reason=None,
                series=(),
                events=(),
                sources=(),
                handling=Handling(
                    cases=[(one.id, live(one).text) for one in cases], has_more=has_more, units=(), outcomes=()
                ),
            ),
        )
        self.take()

    def offer(self, xid: int, *cases: Case) -> None:
        """The feed brings cases."""
        self.hub.publish(
            Batch(
                position=Position(1, xid),
                values={},
                events=(),
                events_skipped=0,
                sources={},
                committed_at=None,
                cases=[live(one) for one in cases],
            ),
            0.0,
        )

    def take(self) -> list[dict[str, Any]]:
        """The client's messages reach it."""
        told = [msgspec.json.decode(text) for text in self.session.take(Position(1, 0), utc_now()).texts]
        for message in told:
            if message["op"] == "snapshot":
                self.shown = {}
            for one in message.get("cases", ()):
                self.shown[one["id"]] = max(one["version"], self.shown.get(one["id"], 0))
            for id_ in message.get("cases_gone", ()):
                assert id_ in self.shown, "nothing is gone that was never there"
                del self.shown[id_]
            self.has_more |= message.get("cases_more", False)
        return told


def test_what_changes_while_the_answer_is_read_is_told_after_it() -> None:
    board = Board()
    board.offer(5, case("old", version=2), case("shut", version=2, state=State.CLOSED))
    board.offer(9, case("new"), case("ends", version=2, state=State.CLOSED), case("never", state=State.CLOSED))
    assert board.take() == []
    board.answer(7, case("old", version=2), case("ends"))
    board.take()
    # What the answer held is not repeated; what came after it is told; what was never shown is not called gone.
    assert board.shown == {"old": 2, "new": 1}


def test_a_full_list_says_that_there_is_more_and_takes_the_next_when_it_has_room() -> None:
    board = Board(cases_max=2)
    board.answer(1, case("a"), case("b"))
    board.offer(2, case("c"))
    board.take()
    assert (board.shown, board.has_more) == ({"a": 1, "b": 1}, True)
    board.offer(3, case("a", version=2, state=State.CLOSED), case("c", version=2))
    board.take()
    assert board.shown == {"b": 1, "c": 2}


def test_of_many_changes_the_newest_waits() -> None:
    board = Board()
    board.answer(1, case("a"))
    for version in range(2, 500):
        board.offer(version, case("a", version=version))
    assert board.session.waiting == 1
    [message] = board.take()
    assert [one["version"] for one in message["cases"]] == [499]


def test_too_much_while_the_answer_is_read_asks_again() -> None:
    board = Board()
    for number in range(EARLY_MAX):
        board.offer(5, case(f"c{number}"))
    assert board.session.phase is Phase.READING
    board.offer(5, case("one more"))
    assert board.session.phase is Phase.ASKED
    stale = board.request
    board.request = board.session.begin_read()
    assert board.request is not None
    assert stale is not None
    assert board.request.token != stale.token
    board.answer(6, case("a"))
    assert board.shown == {"a": 1}


OFFER = Offer(number=1, unit="u1", step=OfferStep.SEEN, at={OfferStep.SEEN: OPENED_AT})
CASES = (
    case("a", severity=Severity.MAJOR, agency="works"),
    case("b", state=State.CLOSED, area="02"),
    case("c", category="other", offers=(OFFER,), state=State.ASSIGNED),
    case("d", exercise=True),
)
FILTERS = (
    CaseFilter(),
    CaseFilter(open=True),
    CaseFilter(open=False),
    CaseFilter(states=(State.NEW, State.CLOSED)),
    CaseFilter(severities=(Severity.MAJOR,)),
    CaseFilter(categories=("road",)),
    CaseFilter(kinds=(Kind.SERVICE,)),
    CaseFilter(areas=frozenset({AreaId("01")})),
    CaseFilter(agency="works"),
    CaseFilter(unit="u1"),
    CaseFilter(exercise=True),
)


async def test_the_feed_and_the_list_take_the_same(tables: str) -> None:
    async with case_centre(tables) as centre:
        await put_cases(centre.connection, *CASES)
        for wanted in FILTERS:
            listed = await read_list(centre.connection, actor("olga"), wanted, Order.OPENED, None, 10)
            assert {one.id for one in listed} == {one.id for one in CASES if wanted.takes(one)}, wanted
            assert listed


async def test_a_board_follows_cases_and_units(tables: str) -> None:
    async with case_centre(tables, cases_max=2) as centre:
        await put_cases(centre.connection, case("a"), case("b"), case("c"))
        async with centre.live("olga") as client:
            await say(client, op="subscribe", kpis=[], cases={"open": True, "area": "01"}, units=True)
            snapshot = await hear(client, "snapshot")
            assert ([one["id"] for one in snapshot["cases"]], snapshot["cases_more"]) == (["a", "b"], True)
            assert [unit["id"] for unit in snapshot["units"]] == ["u1", "u2"]
            async with centre.connection.transaction():
                await put_cases(centre.connection, case("a", version=2, state=State.CLOSED))
                await put_units(
                    centre.connection, UnitState(unit="u1", version=1, status=UnitStatus.BUSY, lat=21.5, lon=105.5)
                )
                await tell(centre.connection, ["a"], ["u1"])
            change = await hear(client, "change")
            assert change["cases_gone"] == ["a"]
            assert [(unit["id"], unit["status"], unit["lat"]) for unit in change["units"]] == [("u1", "busy", 21.5)]
            assert "cases" not in change
            await say(client, op="subscribe", cases={"colour": "red"})
            assert (await hear(client, "error"))["reason"] == "unknown_field"
            await say(client, op="subscribe", cases={"area": "99"})
            assert (await hear(client, "error"))["field"] == "cases.area"
