"""Does somebody who works on cases find them, read them, and get them as a file?"""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from dashboard_api.case_routes import parse_box
from dashboard_api.cases import CaseCursor, Order, cursor_text, parse_cursor
from dashboard_api.refusal import Refused
from schemas.case import Clock, ClockName, Entry, Evidence, Kind, Member, Offer, OfferStep, Severity, State
from schemas.unit import UnitState, UnitStatus
from tests.dashboard.case_centre import case_centre
from tests.dashboard.case_rows import OPENED_AT, case, put_cases, put_entries, put_proposal, put_units

RECEIVED = "ioc.feedback.received.v1"
SOON = OPENED_AT + timedelta(hours=4)


def clock(**fields: Any) -> Clock:
    """A running clock without a calendar."""
    known: dict[str, Any] = {
        "name": ClockName.RESOLUTION,
        "calendar": "always",
        "allowed_s": 14_400.0,
        "started_at": OPENED_AT,
        "since": OPENED_AT,
        "due_at": SOON,
    }
    return Clock(**(known | fields))


async def test_a_list_is_filtered_ordered_and_counted(tables: str) -> None:
    async with case_centre(tables) as centre:
        async with centre.connection.transaction():
            await put_cases(
                centre.connection,
                case("a", severity=Severity.MAJOR, clocks=(clock(),), place="geo:21.01,105.81", title="Ổ gà lớn"),
                case("b", state=State.CLOSED, closed_at=SOON, opened_at=OPENED_AT + timedelta(minutes=1)),
                case("c", area="02", agency="works", category="other", opened_at=OPENED_AT + timedelta(minutes=2)),
                case("d", exercise=True),
                case(
                    "e",
                    severity=Severity.CRITICAL,
                    clocks=(clock(due_at=SOON + timedelta(hours=1)),),
                    opened_at=OPENED_AT - timedelta(days=1),
                    offers=(Offer(number=1, unit="u1", step=OfferStep.SEEN, at={OfferStep.SEEN: SOON}),),
                ),
            )

        async def ids(**params: Any) -> list[str]:
            answer = await centre.ask("/v1/cases", "olga", **params)
            assert answer.status_code == 200, answer.text
            return [item["id"] for item in answer.json()["items"]]

        assert await ids() == ["c", "b", "a", "e"]
        assert await ids(order="due") == ["a", "e", "b", "c"]
        assert await ids(order="severity") == ["e", "a", "b", "c"]
        assert await ids(open=True) == ["c", "a", "e"]
        assert await ids(state=["closed", "reopened"]) == ["b"]
        assert await ids(severity="major") == ["a"]
        assert await ids(kind="alert") == []
        assert await ids(category=["other", "alert"]) == ["c"]
        assert await ids(area="02") == ["c"]
        assert await ids(area="00") == ["c", "b", "a", "e"]
        assert await ids(agency="works") == ["c"]
        assert await ids(unit="u1") == ["e"]
        assert await ids(due_before=(SOON + timedelta(minutes=1)).isoformat()) == ["a"]
        assert await ids(text="Ổ gà") == ["a"]
        assert await ids(text="CASE") == ["c", "b", "e"]
        assert await ids(box="21,105.8,21.02,105.82") == ["a"]
        assert await ids(box="21.02,105.8,21.03,105.82") == []
        assert await ids(exercise=True) == ["d"]
        assert await ids(changed_since=OPENED_AT.isoformat()) == []
        assert len(await ids(changed_since=(OPENED_AT - timedelta(seconds=1)).isoformat())) == 4
        counted = (await centre.ask("/v1/cases", "olga", count=True, limit=1, open=True)).json()
        assert (len(counted["items"]), counted["total"]) == (1, 3)


async def test_pages_hold_every_case_once_in_every_order(tables: str) -> None:
    async with case_centre(tables) as centre:
        severities = tuple(Severity)
        rows = [
            case(
                f"case{n:03}",
                severity=severities[n % 4],
                clocks=(clock(due_at=OPENED_AT + timedelta(hours=n % 5)),) if n % 3 else (),
                opened_at=OPENED_AT + timedelta(minutes=n // 4),
            )
            for n in range(37)
        ]
        async with centre.connection.transaction():
            await put_cases(centre.connection, *rows)
        for order in ("due", "opened", "severity"):
            found: list[str] = []
            after = None
            while True:
                page = await centre.ask(
                    "/v1/cases", "olga", order=order, limit=5, **({"after": after} if after else {})
                )
                assert page.status_code == 200, page.text
                found += [item["id"] for item in page.json()["items"]]
                after = page.json().get("next")
                if after is None:
                    break
            whole = (await centre.ask("/v1/cases", "olga", order=order, limit=100)).json()["items"]
            assert found == [item["id"] for item in whole]
            assert len(set(found)) == 37


async def test_what_changed_since_a_position_is_exactly_what_was_committed_after_it(tables: str) -> None:
    async with case_centre(tables) as centre:
        await put_cases(centre.connection, case("a"), case("b"))
        position = (await centre.ask("/v1/cases", "olga")).json()["position"]
        assert (await centre.ask("/v1/cases", "olga", changed_since=position)).json()["items"] == []
        await put_cases(centre.connection, case("b", version=2, state=State.TRIAGED))
        changed = (await centre.ask("/v1/cases", "olga", changed_since=position)).json()["items"]
        assert [(item["id"], item["version"]) for item in changed] == [("b", 2)]


async def test_a_case_is_read_whole(tables: str) -> None:
    now = OPENED_AT + timedelta(hours=1)
    finished = [
        case(
            f"old{hours}",
            state=State.CLOSED,
            closed_at=OPENED_AT,
            clocks=(clock(since=None, due_at=None, ran_s=hours * 3600.0, stopped_at=OPENED_AT),),
        )
        for hours in (1, 2, 3, 5)
    ]
    one = case(
        "a",
        version=7,
        state=State.ASSIGNED,
        agency="works",
        clocks=(clock(),),
        members=(
            Member(
                source="hotline", id="r1", type="ioc.feedback.received.v1", at=OPENED_AT, case="a", subscriber="x"
            ),
            Member(source="hotline", id="r2", type="ioc.feedback.received.v1", at=OPENED_AT, case="b"),
        ),
        absorbed={"b": State.NEW},
        evidence=(Evidence(ref="photo.jpg"),),
        tracking=("f" * 64,),
    )
    async with case_centre(tables, now=lambda: now) as centre:
        await put_cases(centre.connection, one, case("b", state=State.MERGED, merged_into="a"), case("n"), *finished)
        await put_proposal(centre.connection, "a", "n")
        answer = await centre.ask("/v1/cases/a", "olga")
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert (found["version"], found["state"], found["open"], found["agency"]) == (7, "assigned", True, "works")
        assert found["names"] == {"vi": "Đường sá", "en": "Roads"}
        [running] = found["clocks"]
        assert (running["worked_s"], running["remaining_s"], running["state"]) == (3600, 10_800, "running")
        # Of four such cases one has taken longer than the four hours; three went on for more than the first.
        assert 0 < running["late_chance"] < 1
        assert [signal.get("followed", False) for signal in found["signals"]] == [True, False]
        assert found["absorbed"] == ["b"]
        assert [(p["case"], p["other"], p["reasons"]) for p in found["proposals"]] == [("a", "n", ["near_m:12"])]
        assert found["evidence"][0]["ref"] == "photo.jpg"
        actions = {action["action"]: action for action in found["actions"]}
        assert {"triage", "assign", "accept", "resolve", "reject", "dispatch"} <= set(actions)
        assert actions["resolve"]["needs"] == ["result"]
        assert "close" not in actions
        assert "confirm" not in actions
        assert "f" * 64 not in answer.text
        assert '"x"' not in answer.text
        unknown = await centre.ask("/v1/cases/nowhere", "olga")
        assert (unknown.status_code, unknown.json()["reason"]) == (404, "unknown_case")


async def test_actions_are_those_of_the_role(tables: str) -> None:
    async with case_centre(tables) as centre:
        offers = (Offer(number=1, unit="u1", step=OfferStep.OFFERED, at={OfferStep.OFFERED: OPENED_AT}),)
        await put_cases(centre.connection, case("a", state=State.TRIAGED, agency="works", offers=offers))

        async def actions(person: str) -> set[str]:
            found = (await centre.ask("/v1/cases/a", person)).json().get("actions", [])
            return {action["action"] for action in found}

        assert "offer" in await actions("uma")
        assert "triage" not in await actions("uma")
        assert "triage" in await actions("wim")
        assert await actions("lena") == {"note", "acknowledge"}
        assert await actions("ada") == set()


async def test_a_timeline_is_read_page_by_page(tables: str) -> None:
    async with case_centre(tables) as centre:
        await put_cases(centre.connection, case("a"))
        await put_entries(
            centre.connection,
            *(
                Entry(case="a", number=n, at=OPENED_AT, recorded_at=OPENED_AT, action="note", text=f"line {n}")
                for n in range(1, 8)
            ),
        )
        first = (await centre.ask("/v1/cases/a/timeline", "olga", limit=5)).json()
        assert ([line["number"] for line in first["items"]], first["next"]) == ([1, 2, 3, 4, 5], 5)
        second = (await centre.ask("/v1/cases/a/timeline", "olga", limit=5, after=5)).json()
        assert [line["text"] for line in second["items"]] == ["line 6", "line 7"]
        assert "next" not in second


async def test_a_timeline_names_other_cases_to_who_may_see_them(tables: str) -> None:
    def entry(number: int, action: str, **detail: str | int) -> Entry:
        return Entry(
            case="a",
            number=number,
            at=OPENED_AT,
            recorded_at=OPENED_AT,
            action=action,
            text="said",
            detail={**detail},
        )

    entries = (
        entry(1, "split", other="hidden", members=1),
        entry(2, "be_merged", into="hidden"),
        entry(3, "merge", other="shown", why="near"),
        entry(4, "triage", category="road"),
    )
    async with case_centre(tables) as centre:
        complaint = case("hidden", kind=Kind.CONDUCT, agency="city", accused_agency="police")
        await put_cases(centre.connection, case("a", agency="police"), case("shown", agency="police"), complaint)
        await put_entries(centre.connection, *entries)
        for person, sees in (("paul", False), ("olga", True)):
            lines = (await centre.ask("/v1/cases/a/timeline", person)).json()["items"]
            assert [line["action"] for line in lines] == ["split", "be_merged", "merge", "triage"]
            about = [line.get("detail", {}) for line in lines]
            assert about[2:] == [{"other": "shown", "why": "near"}, {"category": "road"}]
            assert about[:2] == ([{"other": "hidden", "members": 1}, {"into": "hidden"}] if sees else [{}, {}]), (
                person
            )


async def test_a_place_that_is_none_is_on_no_map(tables: str) -> None:
    async with case_centre(tables) as centre:
        await put_cases(centre.connection, case("a"), case("b", place="geo:21.0,105.8"))
        # As it was let in before places were looked at.
        odd = msgspec.json.encode(case("a", place="geo:99,200"))
        await centre.connection.execute("UPDATE cases SET body = $1 WHERE id = 'a'", odd)
        features = (await centre.ask("/v1/cases", "olga", format="geojson")).json()["features"]
        assert [one["properties"]["id"] for one in features] == ["b"]
        assert (await centre.ask("/v1/cases", "olga", format="csv")).status_code == 200


async def test_units_and_the_nearest_capable_ones_are_shown(tables: str) -> None:
    now = datetime.now(UTC)
    async with case_centre(tables) as centre:
        await put_cases(centre.connection, case("a", place="geo:21.0,105.8", agency="works"))
        await put_units(
            centre.connection,
            UnitState(
                unit="u2", version=3, status=UnitStatus.BUSY, lat=21.0, lon=105.8, position_at=now, cases=("a",)
            ),
        )
        units = (await centre.ask("/v1/units", "olga")).json()["items"]
        assert [(unit["id"], unit["status"], unit["area"]) for unit in units] == [
            ("u1", "available", "01"),
            ("u2", "busy", "00"),
        ]
        assert units[1]["cases"] == ["a"]
        assert [unit["id"] for unit in (await centre.ask("/v1/units", "olga", skill="road")).json()["items"]] == [
            "u1"
        ]
        assert [unit["id"] for unit in (await centre.ask("/v1/units", "wim")).json()["items"]] == ["u1"]
        # Whoever works for the police may not see the case that its own unit is at.
        assert [unit.get("cases") for unit in (await centre.ask("/v1/units", "paul")).json()["items"]] == [None]
        best = (await centre.ask("/v1/cases/a/suggestions", "olga")).json()["items"]
        assert [(one["unit"]["id"], one["capable"]) for one in best] == [("u1", True), ("u2", False)]
        assert best[0]["reasons"]


async def test_cases_are_had_as_csv_and_geojson(tables: str) -> None:
    async with case_centre(tables) as centre:
        await put_cases(centre.connection, case("a", title="=1+1", place="geo:21.01,105.81"), case("b"))
        sheet = await centre.ask("/v1/cases", "olga", format="csv")
        assert sheet.headers["content-type"].startswith("text/csv")
        lines = sheet.content.decode("utf-8-sig").split("\r\n")
        assert lines[0].startswith("id,version,kind,state,open,category,name_vi,name_en")
        assert any("'=1+1" in line and "21.01,105.81" in line for line in lines)
        chart = await centre.ask("/v1/cases", "olga", format="geojson")
        assert chart.headers["content-type"] == "application/geo+json"
        [feature] = chart.json()["features"]
        assert feature["geometry"] == {"type": "Point", "coordinates": [105.81, 21.01]}
        assert feature["properties"]["id"] == "a"


@pytest.mark.parametrize(
    "params",
    [
        pytest.param({"limit": 501}, id="too many"),
        pytest.param({"after": "bm9uc2Vuc2U"}, id="a cursor of nothing"),
        pytest.param({"area": "nowhere"}, id="no such area"),
        pytest.param({"box": "1,2,3"}, id="three edges"),
        pytest.param({"box": "nan,nan,nan,nan"}, id="no numbers"),
        pytest.param({"changed_since": "yesterday"}, id="no time"),
        pytest.param({"changed_since": "2026-01-01T00:00:00"}, id="a time without a zone"),
        pytest.param({"state": "lost"}, id="no such state"),
        pytest.param({"due_before": "2026-01-01T00:00:00"}, id="a deadline without a zone"),
        pytest.param({"text": "a\x00b"}, id="NUL"),
        pytest.param({"colour": "red"}, id="no such parameter"),
    ],
)
async def test_a_wrong_question_is_refused_with_its_field(tables: str, params: dict[str, Any]) -> None:
    async with case_centre(tables) as centre:
        answer = await centre.ask("/v1/cases", "olga", **params)
        assert answer.status_code == 422, answer.text
        assert answer.json()["fix"]


def test_a_cursor_of_one_order_is_no_cursor_of_another() -> None:
    cursor = CaseCursor(Order.DUE, None, "a", 3)
    assert parse_cursor(cursor_text(cursor), Order.DUE) == cursor
    with pytest.raises(Refused):
        parse_cursor(cursor_text(cursor), Order.OPENED)


def test_a_box_lies_on_earth() -> None:
    assert parse_box("-1,-2,3,4") == (-1, -2, 3, 4)
    for text in ("91,0,92,0", "2,0,1,0", "0,0,0,181", "inf,0,inf,0"):
        with pytest.raises(Refused):
            parse_box(text)
