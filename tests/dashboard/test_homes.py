"""Do a report's words follow the report, when it turns out to be a complaint about who has read them so far?"""

import hashlib
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import pytest
from msgspec.structs import replace

from schemas.case import Case, CaseId, Entry, Evidence, Kind, Member, State
from schemas.command import Reveal
from schemas.personal import Personal, Reporter
from tests.dashboard.case_centre import Centre, actor, case_centre
from tests.dashboard.case_rows import OPENED_AT, case, put_cases, put_command, put_entries, put_event
from tests.dashboard.test_commands import RING, put_personal

SECRET = "the complainant's"
TRACKING = hashlib.sha256(SECRET.encode()).hexdigest()
ACCUSED, SUPERVISING = "wim", "cleo"


def member(id_: str, home: str, **given: Any) -> Member:
    return Member(source="hotline", id=id_, type="ioc.feedback.received.v1", at=OPENED_AT, case=CaseId(home), **given)


STAYS, LEAVES = member("r1", "a"), member("r2", "b", tracking=TRACKING)
PHOTO = Evidence(ref="blob:1", signal="event:hotline/r2")
SAID = Entry(
    case=CaseId("a"),
    number=1,
    at=OPENED_AT,
    recorded_at=OPENED_AT,
    action="reply",
    sealed=(f"citizen:{TRACKING[:16]}", "said"),
    detail={"words": 3},
)


class Parted(NamedTuple):
    """A centre where a report has left a case, and a moment when it was still there."""

    centre: Centre
    then: datetime

    async def read(self, path: str, person: str, **params: Any) -> dict[str, Any]:
        answer = await self.centre.ask(path, person, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def signals(self, case_: str, person: str, at: str = "/v1/cases", **params: Any) -> dict[str, str | None]:
        found = await self.read(f"{at}/{case_}", person, **params)
        return {one["id"]: one.get("text") for one in found.get("signals", [])}


@pytest.fixture
async def parted(tables: str) -> AsyncIterator[Parted]:
    """Reports r1 and r2, of cases a and b, were one case; then r2 was corrected to a complaint about who had it."""
    async with case_centre(tables, config={"key_ring": RING}) as centre:
        connection = centre.connection
        one = case("a", title="", agency="works", members=(STAYS, LEAVES), evidence=(PHOTO,), tracking=(TRACKING,))
        shell = case("b", title="", agency="works", state=State.MERGED, merged_into="a", members=(LEAVES,))
        await put_cases(connection, one, replace(shell, tracking=(TRACKING,), evidence=(PHOTO,)))
        await put_entries(connection, SAID, replace(SAID, case=shell.id, sealed=(SAID.sealed or ("", ""))))
        for id_, home, text in (("r1", "a", "a hole"), ("r2", "b", "nobody came")):
            await put_event(connection, home, "", id_=id_)
            await put_personal(centre, "hotline", id_, Personal(reporter=Reporter(name=f"Mai {id_}"), text=text))
        assert SAID.sealed is not None
        await put_personal(centre, *SAID.sealed, Personal(text="he asked me for money"))
        then = await connection.fetchval("SELECT clock_timestamp()")
        await put_event(connection, "c", "", id_="k")
        await put_personal(centre, "hotline", "k", Personal(reporter=Reporter(name="Mai k"), text="for money"))
        await connection.execute("UPDATE event SET corrects = 'r2' WHERE id = 'k'")
        await connection.execute("UPDATE event SET case_id = 'c' WHERE id = 'r2'")
        await connection.execute("UPDATE personal SET received_at = received_at + interval '1 hour' WHERE id = 'k'")
        complaint = case(
            "c", kind=Kind.CONDUCT, title="", agency="city", accused_agency="works", tracking=(TRACKING,)
        )
        left = replace(one, version=2, members=(STAYS,), evidence=(), tracking=())
        await put_cases(connection, left, replace(complaint, members=(replace(LEAVES, corrected_by="k"),)))
        yield Parted(centre, then)


async def test_what_a_report_says_leaves_with_it_for_a_complaint(parted: Parted) -> None:
    await _a_merged_case_shows_nothing_of_a_signal_that_has_left(parted)
    await _a_reveal_shows_no_signal_that_has_left(parted)
    await _the_past_shows_nothing_of_a_signal_that_has_left(parted)
    await _what_a_complainant_replied_leaves_with_the_report(parted)
    await _the_past_has_no_words_of_a_later_correction(parted)


async def _a_merged_case_shows_nothing_of_a_signal_that_has_left(parted: Parted) -> None:
    found = await parted.read("/v1/cases/b", ACCUSED)
    assert {"signals", "evidence", "excerpt"}.isdisjoint(found)
    listed = (await parted.read("/v1/cases", ACCUSED))["items"]
    assert {item["id"]: item.get("excerpt") for item in listed} == {"a": "a hole", "b": None}
    # Who has the complaint reads it, also where it came from.
    assert await parted.signals("c", SUPERVISING) == {"r2": "for money"}
    assert await parted.signals("a", ACCUSED) == {"r1": "a hole"}


async def _a_reveal_shows_no_signal_that_has_left(parted: Parted) -> None:
    connection = parted.centre.connection
    # Also where the command was decided before the correction: what is shown is what may be seen now.
    reveal = Reveal(what="reporter", reason="to call back")
    for name, shown in (("a", ["Mai r1"]), ("b", [])):
        await put_command(connection, actor(ACCUSED), f"look{name}", name, reveal, version=1)
        found = (await parted.read(f"/v1/cases/{name}/revealed", ACCUSED, showing=f"look{name}"))["items"]
        assert [one["who"] for one in found] == shown


async def _the_past_shows_nothing_of_a_signal_that_has_left(parted: Parted) -> None:
    then = {"as_of": parted.then.isoformat()}
    past = await parted.read("/v1/past/cases/a", ACCUSED, **then)
    assert [(one["id"], one["text"]) for one in past["signals"]] == [("r1", "a hole")]
    assert past.get("evidence", []) == []
    wish = msgspec.json.encode({"cases": {}, "kpis": [], "events": 0}).decode()
    for path, key, more in (("/v1/past/cases", "items", {}), ("/v1/past/snapshot", "cases", {"wish": wish})):
        listed = (await parted.read(path, ACCUSED, **then, **more))[key]
        assert {item["id"]: item.get("excerpt") for item in listed} == {"a": "a hole", "b": None}, path


async def _the_past_has_no_words_of_a_later_correction(parted: Parted) -> None:
    await parted.centre.connection.execute("UPDATE event SET corrects = 'r1', case_id = 'a' WHERE id = 'k'")
    then = {"as_of": parted.then.isoformat()}
    assert await parted.signals("a", ACCUSED) == {"r1": "for money"}
    assert await parted.signals("a", ACCUSED, "/v1/past/cases", **then) == {"r1": "a hole"}
    items = (await parted.read("/v1/past/cases", ACCUSED, **then))["items"]
    assert {item["id"]: item.get("excerpt") for item in items}["a"] == "a hole"


async def _what_a_complainant_replied_leaves_with_the_report(parted: Parted) -> None:
    then = {"as_of": parted.then.isoformat()}
    for path, more in (("/v1/cases", {}), ("/v1/past/cases", then)):
        for name in ("a", "b"):
            lines = (await parted.read(f"{path}/{name}/timeline", ACCUSED, **more))["items"]
            assert [(one.get("text"), one["detail"]) for one in lines] == ([(None, {"words": 3})]), (path, name)


async def test_whoever_sees_where_a_merged_signal_is_reads_it(parted: Parted) -> None:
    """The agency of a case that was merged into another one's still reads its own, and theirs reads it, too."""
    connection = parted.centre.connection
    await connection.execute("UPDATE event SET case_id = 'b' WHERE id = 'r2'")
    await put_cases(connection, _merged("police"))
    assert await parted.signals("b", "paul") == {"r2": "for money"}
    assert await parted.signals("b", "olga") == {"r2": "for money"}
    past = {"as_of": parted.then.isoformat()}
    assert await parted.signals("a", ACCUSED, "/v1/past/cases", **past) == {"r1": "a hole", "r2": "nobody came"}
    # What it was merged into has become a complaint about that agency: what is left of it tells them nothing.
    await put_cases(connection, case("a", version=3, kind=Kind.CONDUCT, agency="city", accused_agency="police"))
    assert await parted.signals("b", "paul") == {}


def _merged(agency: str) -> Case:
    return case("b", version=2, title="", agency=agency, state=State.MERGED, merged_into="a", members=(LEAVES,))
