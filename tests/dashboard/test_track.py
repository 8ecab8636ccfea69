"""Does a citizen read how a report stands, and everybody what may be published, and no more than that?"""

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from dashboard_api.plain_words import WORDS, Stage, stage_of
from schemas.cap import NAMESPACE
from schemas.case import Clock, ClockName, Entry, Kind, Severity, State
from schemas.channel import CHANNELS_FILE
from schemas.site import parse_site
from tests.dashboard.case_centre import PACK, Centre, case_centre
from tests.dashboard.case_rows import OPENED_AT, case, put_cases, put_entries

SECRET = "b3JhbmdlLWFwcGxlLXBlYXI"
HASH = hashlib.sha256(SECRET.encode()).hexdigest()
CAP_TOML = '[cap]\nsender = "ioc@example.vn"\nexpires_hours = 12\n'
NOW = OPENED_AT + timedelta(hours=1)


def line(case_id: str, number: int, text: str, *, public: bool) -> Any:
    """A line of a timeline."""
    at = OPENED_AT + timedelta(minutes=number)
    return Entry(
        case=case_id, number=number, at=at, recorded_at=at, action="answer", actor="olga", text=text, public=public
    )


def due(hours: float, **fields: Any) -> Clock:
    """A clock for the whole of it."""
    return Clock(
        name=ClockName.RESOLUTION,
        calendar="always",
        allowed_s=3600 * hours,
        started_at=OPENED_AT,
        since=OPENED_AT,
        due_at=OPENED_AT + timedelta(hours=hours),
        **fields,
    )


async def test_a_citizen_follows_a_report_in_plain_words(tables: str) -> None:
    async with case_centre(tables, now=lambda: NOW) as centre:
        first = Clock(
            name=ClockName.FIRST_ANSWER,
            calendar="always",
            allowed_s=1800,
            started_at=OPENED_AT,
            since=OPENED_AT,
            due_at=OPENED_AT + timedelta(minutes=30),
        )
        report = case(
            "a", state=State.ACCEPTED, agency="works", clocks=(first, due(24)), tracking=(HASH,), title="Hole"
        )
        await put_cases(centre.connection, report)
        await put_entries(
            centre.connection,
            line("a", 1, "We send somebody.", public=True),
            line("a", 2, "Caller is known to us.", public=False),
        )
        answer = await centre.ask("/v1/track", secret=SECRET)
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        found = answer.json()
        assert (found["case"], found["stage"], found["title"]) == ("a", "in_work", "Hole")
        assert found["words"] == dict(WORDS[Stage.IN_WORK])
        assert found["agency"] == {"vi": "Công trình", "en": "Works"}
        assert found["expected_at"] == "2026-09-02T08:00:00Z"
        assert [one["text"] for one in found["timeline"]] == ["We send somebody."]
        assert [one["action"] for one in found["may"]] == ["reply"]
        for word in ("known to us", "olga", HASH, SECRET):
            assert word not in answer.text


@pytest.mark.parametrize(
    ("state", "may"),
    [
        pytest.param(State.NEW, {"reply"}, id="new"),
        pytest.param(State.WAITING_CITIZEN, {"reply"}, id="asked"),
        pytest.param(State.RESOLVED, {"confirm", "dispute", "rate", "reply"}, id="done"),
        pytest.param(State.CLOSED, {"dispute", "rate", "reply"}, id="closed"),
    ],
)
async def test_the_citizen_may_do_what_the_life_cycle_has(tables: str, state: State, may: set[str]) -> None:
    async with case_centre(tables) as centre:
        await put_cases(centre.connection, case("a", state=state, tracking=(HASH,)))
        found = (await centre.ask("/v1/track", secret=SECRET)).json()
        assert {one["action"] for one in found["may"]} == may


async def test_a_merged_report_tells_how_the_whole_stands(tables: str) -> None:
    async with case_centre(tables) as centre:
        await put_cases(
            centre.connection,
            case("own", state=State.MERGED, merged_into="whole", tracking=(HASH,), title="My hole"),
            case("whole", state=State.RESOLVED, tracking=("e" * 64, HASH), result="Filled", title="Their hole"),
        )
        await put_entries(
            centre.connection,
            line("own", 1, "Received.", public=True),
            line("whole", 1, "Filled.", public=True),
            line("whole", 2, "Do not tell.", public=False),
        )
        found = (await centre.ask("/v1/track", secret=SECRET)).json()
        assert (found["case"], found["stage"], found["title"], found["result"]) == (
            "own",
            "done",
            "My hole",
            "Filled",
        )
        assert sorted(one["text"] for one in found["timeline"]) == ["Filled.", "Received."]
        # Where the whole is not open to this secret, only that it was joined is said.
        await put_cases(centre.connection, case("whole", version=2, state=State.RESOLVED, result="Filled"))
        closed = await centre.ask("/v1/track", secret=SECRET)
        assert (closed.json()["stage"], closed.json().get("result"), closed.json().get("may")) == (
            "joined",
            None,
            None,
        )
        assert "Filled" not in closed.text


async def test_a_wrong_secret_opens_nothing(tables: str) -> None:
    async with case_centre(tables) as centre:
        await put_cases(centre.connection, case("a", tracking=(HASH,)))
        for secret in (SECRET[:-1], HASH, "x", SECRET + "x", "ü"):
            answer = await centre.ask("/v1/track", secret=secret.encode("latin-1"))
            assert (answer.status_code, answer.json()["reason"]) == (404, "unknown_secret")
        assert (await centre.ask("/v1/track")).status_code == 422
        assert (await centre.ask("/v1/track", secret="y" * 129)).status_code == 422
        # In an address it would be in every log.
        assert (await centre.ask(f"/v1/track/{SECRET}")).status_code == 404
        assert (await centre.ask("/v1/track", secret=SECRET, secret_=SECRET)).status_code == 422


async def test_every_state_has_words_in_both_languages() -> None:
    for state in State:
        assert set(WORDS[stage_of(state)]) == {"vi", "en"}


async def fill(centre: Centre) -> None:
    """What is published, and what only looks so."""
    place = "geo:21.012345,105.812345"
    await put_cases(
        centre.connection,
        case("road", published=True, place=place, title="Mr Minh's gate", members=(), tracking=(HASH,)),
        case("home", published=True, place=place, category="violence", opened_at=OPENED_AT + timedelta(hours=3)),
        case("gone", published=True, category="undeclared", place=place, opened_at=OPENED_AT - timedelta(days=1)),
        case("kept", published=False, place=place),
        case("conduct", published=True, kind=Kind.CONDUCT, accused_agency="police", agency="city"),
        case("nobody", published=True, kind=Kind.CONDUCT, agency="city"),
        case("light", published=True, kind=Kind.VIOLATION, category="red_light", plate="30*-***.45"),
        case("drill", published=True, exercise=True),
        case("merged", published=True, state=State.MERGED, merged_into="road"),
        case("refused", published=True, state=State.REJECTED),
    )


async def test_only_what_is_published_is_public_and_places_are_rounded(tables: str) -> None:
    async with case_centre(tables) as centre:
        await fill(centre)
        answer = await centre.ask("/v1/public/cases")
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"].startswith("public")
        found = {one["id"]: one for one in answer.json()["items"]}
        assert list(found) == ["road", "home", "gone"]
        assert (found["road"]["lat"], found["road"]["lon"], found["road"]["rounded"]) == (
            21.012345,
            105.812345,
            False,
        )
        for id_ in ("home", "gone"):
            assert (found[id_]["lat"], found[id_]["lon"], found[id_]["rounded"]) == (21.01, 105.81, True)
        assert found["road"]["names"] == {"vi": "Đường sá", "en": "Roads"}
        assert found["road"]["opened_on"] == "2026-09-01"
        assert found["road"]["stage"] == "received"
        for word in ("Minh", HASH, "police", "30*", "08:00"):
            assert word not in answer.text
        sheet = (await centre.ask("/v1/public/cases.csv")).text
        assert sheet.count("\r\n") == 4
        chart = (await centre.ask("/v1/public/cases.geojson")).json()
        assert [one["geometry"]["coordinates"] for one in chart["features"]] == [
            [105.812345, 21.012345],
            [105.81, 21.01],
            [105.81, 21.01],
        ]


async def test_open_and_severe_cases_are_alerts_for_everybody(tables: str) -> None:
    now = datetime.now(UTC)
    severe: dict[str, Any] = {"severity": Severity.CRITICAL, "published": True, "opened_at": now}
    cases = (
        case("hole", title="Told by Minh", **severe),
        case("older", **severe | {"opened_at": now - timedelta(hours=13)}),
        case("minor", **severe | {"severity": Severity.MINOR}),
        case("hidden", **severe | {"published": False}),
        case("done", state=State.CLOSED, **severe),
        case("drill", exercise=True, **severe),
        case("conduct", kind=Kind.CONDUCT, accused_agency="police", agency="city", **severe),
        case("light", kind=Kind.VIOLATION, category="red_light", plate="30*-***.45", **severe),
    )
    site = parse_site({**PACK, CHANNELS_FILE: CAP_TOML})
    async with case_centre(tables, lambda: site) as centre:
        await put_cases(centre.connection, *cases)
        answer = await centre.ask("/v1/public/cap.atom")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/atom+xml")
    feed = ElementTree.fromstring(answer.text)
    alerts = feed.findall(f".//{{{NAMESPACE}}}alert")
    assert [one.findtext(f"{{{NAMESPACE}}}identifier", "").partition("-")[0] for one in alerts] == ["hole"]
    assert alerts[0].findtext(f".//{{{NAMESPACE}}}severity") == "Extreme"
    assert "Minh" not in answer.text


async def test_a_site_without_cap_has_no_alerts(tables: str) -> None:
    async with case_centre(tables) as centre:
        assert (await centre.ask("/v1/public/cap.atom")).status_code == 404


async def test_no_filter_and_no_cursor_tells_what_the_rounding_hides(tables: str) -> None:
    async with case_centre(tables) as centre:
        await fill(centre)

        async def ids(**params: Any) -> list[str]:
            found = await centre.ask("/v1/public/cases", **params)
            assert found.status_code == 200, found.text
            return [one["id"] for one in found.json()["items"]]

        # A narrow box finds the exact place of a road, and of what is sensitive only the rounded one.
        assert await ids(box="21.0123,105.8123,21.0124,105.8124") == ["road"]
        assert await ids(box="21.0099,105.8099,21.0101,105.8101") == ["home", "gone"]
        assert await ids(category="violence") == ["home"]
        assert await ids(open=False) == []
        assert await ids(area="02") == []
        first = (await centre.ask("/v1/public/cases", limit=1)).json()
        assert [one["id"] for one in first["items"]] == ["road"]
        following = first["next"]
        told = msgspec.json.decode(base64.urlsafe_b64decode(following + "=" * (-len(following) % 4)))
        # The cursor names the day's beginning in the site's zone, not the moment.
        assert (told[0] // 1_000_000 + 7 * 3600) % 86_400 == 0
        second = (await centre.ask("/v1/public/cases", limit=1, after=following)).json()
        assert [one["id"] for one in second["items"]] == ["home"]
        for wrong in ("bm9uc2Vuc2U", "WzFd", "WzEsIlx1MDAwMCJd"):
            assert (await centre.ask("/v1/public/cases", after=wrong)).status_code in (404, 422)
