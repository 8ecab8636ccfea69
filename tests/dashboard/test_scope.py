"""Can anybody see more than they may, whichever way they ask?"""

import asyncio
import hashlib
import random
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime

import asyncpg
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from dashboard_api.cases import CaseFilter, visible
from dashboard_api.cases import count as count_cases
from dashboard_api.events import EventFilter, read_recent
from schemas.area_id import AreaId
from schemas.case import Case, Entry, Kind, Offer, OfferStep
from schemas.command import Actor, AddNote, ErasePerson
from schemas.identity import Seen, may_see, may_see_around
from schemas.site import parse_site
from schemas.unit import UnitState
from tests.dashboard.case_centre import PACK, SITE, Centre, Issuer, actor, case_centre
from tests.dashboard.case_rows import (
    OPENED_AT,
    case,
    put_audit,
    put_cases,
    put_command,
    put_entries,
    put_event,
    put_proposal,
    put_units,
    tell,
)
from tests.dashboard.centre import WAIT_S, hear, say, utc_now

AREAS = ("00", "01", "02", "03")
AGENCIES = (None, "city", "police", "road", "power")
UNITS = (None, "u1", "u2")
HASHES = ("a" * 64, "b" * 64)


def _some(source: random.Random, words: Sequence[str | None]) -> tuple[str, ...]:
    known = [word for word in words if word is not None]
    return tuple(source.sample(known, source.randint(0, len(known))))


def random_case(source: random.Random, number: int) -> Case:
    """Any case: of any area and agency, at any units, followed or not, a complaint about an official or not."""
    accused = source.choice((None, None, *AGENCIES))
    offers = tuple(
        Offer(number=at, unit=unit, step=source.choice(tuple(OfferStep)), at={OfferStep.OFFERED: OPENED_AT})
        for at, unit in enumerate(_some(source, UNITS), 1)
    )
    return case(
        f"case{number:012}",
        area=source.choice(AREAS),
        agency=source.choice(AGENCIES),
        accused_agency=accused,
        kind=Kind.CONDUCT if accused else Kind.SERVICE,
        offers=offers,
        tracking=_some(source, HASHES),
    )


def random_actor(source: random.Random) -> Actor:
    """Anybody: of any agency, with any rights, also such as no site pack would give."""
    roles = ("operator", "unit", "leader", "auditor", "citizen", "system")
    weights = (8, 4, 4, 2, 1, 1)
    return Actor(
        id="somebody",
        roles=tuple(set(source.choices(roles, weights, k=source.randint(0, 2)))),
        agency=source.choice(AGENCIES),
        agencies=_some(source, AGENCIES) if source.random() < 0.5 else (),
        under=_some(source, AGENCIES) if source.random() < 0.3 else (),
        sees_all=source.random() < 0.2,
        areas=_some(source, AREAS),
        unit=source.choice(UNITS),
        tracking=source.choice((None, None, None, *HASHES)),
    )


def seen(one: Case) -> Seen:
    """What of a case decides."""
    return Seen(
        areas=one.areas,
        agency=one.agency,
        accused_agency=one.accused_agency,
        units=one.units,
        tracking=one.tracking,
    )


async def test_they_agree_on_what_belongs_to_no_case(tables: str) -> None:
    source = random.Random(8)
    tree = SITE.areas
    connection = await asyncpg.connect(tables)
    try:
        async with connection.transaction():
            for area in AREAS:
                await put_event(connection, None, "a report", id_=area, area=area)
        shown = 0
        for _ in range(100):
            actor = random_actor(source)
            listed = await read_recent(connection, actor, tree, 1, EventFilter(), None, 10)
            expected = {area for area in AREAS if may_see_around(actor, tree.touched_by(AreaId(area)))}
            assert {one.cursor.id for one in listed} == expected, actor
            shown += len(expected)
        assert 0.05 < shown / (100 * len(AREAS)) < 0.9
    finally:
        await connection.close()


async def test_the_database_and_python_agree_on_every_pair(tables: str) -> None:
    source = random.Random(7)
    cases = [random_case(source, number) for number in range(200)]
    connection = await asyncpg.connect(tables)
    try:
        async with connection.transaction():
            await put_cases(connection, *cases)
        shown = 0
        for _ in range(150):
            actor = random_actor(source)
            expected = {one.id for one in cases if may_see(actor, seen(one))}
            assert await visible(connection, actor, [one.id for one in cases]) == expected, actor
            assert await count_cases(connection, actor, CaseFilter()) == len(expected)
            shown += len(expected)
        # Neither all nor nothing is shown: the comparison would mean little.
        assert 0.05 < shown / (150 * len(cases)) < 0.6
    finally:
        await connection.close()


HIDDEN = "hidden0000000000"
"""A complaint about an official of the police, which the city handles."""

SHOWN = "shown00000000000"
"""A hole in the road that the police handle."""

SECRET = "only-the-citizen-knows"


COMPLAINTS = "complaints"
SHARE = "complaint_share"

SUPERVISED = parse_site(
    {
        **PACK,
        "kpis.toml": PACK["kpis.toml"]
        + f"""
[[kpi]]
id = "{COMPLAINTS}"
names = {{ vi = "Tố cáo", en = "Complaints" }}
unit = "1"
event = "ioc.feedback.received.v1"
measure = "count"
audience = "supervision"

[[kpi]]
id = "{SHARE}"
names = {{ vi = "Tỷ lệ tố cáo", en = "Share of complaints" }}
unit = "1"
measure = "ratio"
numerator = "{COMPLAINTS}"
denominator = "feedback_received"
audience = "supervision"
""",
    }
)
"""The same with indicators that only a supervising agency may see."""


@pytest.fixture
async def hall(tables: str) -> AsyncGenerator[Centre]:
    """A centre that knows of a complaint about the police."""
    async with case_centre(tables) as centre:
        await fill(centre)
        yield centre


async def fill(centre: Centre) -> None:
    """What the police may see, and what they must not."""
    hidden = case(
        HIDDEN,
        kind=Kind.CONDUCT,
        category="conduct",
        agency="city",
        accused_agency="police",
        title="Officer took money",
        place="geo:21.01,105.81",
        published=True,
        clocks=(),
        tracking=(hashlib.sha256(SECRET.encode()).hexdigest(),),
    )
    shown = case(SHOWN, agency="police", place="geo:21.01,105.81", title="Hole", published=True)
    async with centre.connection.transaction():
        await put_cases(centre.connection, hidden, shown)
        await put_entries(
            centre.connection,
            Entry(case=hidden.id, number=1, at=OPENED_AT, recorded_at=OPENED_AT, action="note", text="Officer"),
            Entry(case=shown.id, number=1, at=OPENED_AT, recorded_at=OPENED_AT, action="note", text="Hole"),
        )
        await put_proposal(centre.connection, hidden.id, shown.id)
        await put_units(centre.connection, UnitState(unit="u2", version=1, cases=(hidden.id, shown.id)))
        for one in (hidden, shown):
            await put_event(centre.connection, one.id, f"report of {one.id}")
            await put_audit(centre.connection, one.id)
        await put_command(centre.connection, actor("olga"), "note-1", hidden.id, AddNote(text="Officer interviewed"))
        await put_command(centre.connection, actor("ada"), "erase-1", "person:someone", ErasePerson(reason="asked"))
        await tell(centre.connection, [hidden.id, shown.id], ["u2"], commands=True)


QUESTIONS: tuple[tuple[str, dict[str, object]], ...] = (
    ("/v1/cases", {}),
    ("/v1/cases", {"count": True}),
    ("/v1/cases", {"kind": "conduct", "count": True}),
    ("/v1/cases", {"agency": "city", "count": True}),
    ("/v1/cases", {"text": "officer", "count": True}),
    ("/v1/cases", {"box": "21,105,22,106"}),
    ("/v1/cases", {"changed_since": "1-1"}),
    ("/v1/cases", {"order": "due"}),
    ("/v1/cases", {"order": "severity"}),
    ("/v1/cases", {"format": "csv"}),
    ("/v1/cases", {"format": "parquet"}),
    ("/v1/cases", {"format": "geojson"}),
    (f"/v1/cases/{HIDDEN}", {}),
    (f"/v1/cases/{HIDDEN}/timeline", {}),
    (f"/v1/cases/{HIDDEN}/suggestions", {}),
    # Others that name it.
    (f"/v1/cases/{SHOWN}", {}),
    (f"/v1/cases/{SHOWN}/suggestions", {}),
    ("/v1/proposals", {}),
    ("/v1/proposals", {"case": HIDDEN}),
    ("/v1/units", {}),
    ("/v1/events", {}),
    ("/v1/events", {"subject": HIDDEN}),
    ("/v1/events", {"type": "ioc.case.command.v1"}),
    ("/v1/events", {"source": "person:olga"}),
    ("/v1/kpis/feedback_received/events", {"period": "YEAR"}),
    ("/v1/kpis/feedback_received/events", {"period": "YEAR", "format": "csv"}),
    # Somebody else's command about it.
    ("/v1/commands/note-1", {}),
    ("/v1/public/cases", {}),
    ("/v1/public/cases.csv", {}),
    ("/v1/public/cases.geojson", {}),
    ("/v1/audit", {"subject": HIDDEN}),
    ("/v1/audit", {"chain": 0}),
)
"""Every way to ask for more than one may see."""


def asked(params: dict[str, object]) -> dict[str, object]:
    """The parameters, with the year of now where a year is meant: what the tests write happened just now."""
    return {name: datetime.now(UTC).year if value == "YEAR" else value for name, value in params.items()}


@pytest.mark.parametrize("person", ["paul", "paula"])
async def test_the_accused_agency_sees_nothing_of_a_complaint(hall: Centre, person: str) -> None:
    for path, params in QUESTIONS:
        answer = await hall.ask(path, person, **asked(params))
        assert answer.status_code in (200, 202, 403, 404), answer.text
        for word in (HIDDEN, "Officer", "conduct", "erase-1", "someone"):
            assert word.encode() not in answer.content, (path, params, answer.text)
        if params.get("count"):
            expected = 0 if {"kind", "agency", "text"} & params.keys() else 1
            assert answer.json()["total"] == expected, (path, params)


async def test_the_supervising_agency_sees_it(hall: Centre) -> None:
    for path, params, is_there in (
        ("/v1/cases", {}, True),
        (f"/v1/cases/{HIDDEN}", {}, True),
        (f"/v1/cases/{HIDDEN}/timeline", {}, True),
        # A pair is shown to who may see both, and nothing of a complaint to the public.
        ("/v1/proposals", {}, False),
        ("/v1/events", {}, True),
        ("/v1/kpis/feedback_received/events", {"period": "YEAR"}, True),
        ("/v1/public/cases", {}, False),
    ):
        answer = await hall.ask(path, "cleo", **asked(dict(params)))
        assert answer.status_code == 200, answer.text
        assert (HIDDEN in answer.text) is is_there, path


async def test_nobody_gets_anything_that_is_not_public(hall: Centre) -> None:
    for path in (
        *("/v1/cases", f"/v1/cases/{SHOWN}", f"/v1/cases/{SHOWN}/timeline", f"/v1/cases/{SHOWN}/suggestions"),
        *(
            "/v1/units",
            "/v1/proposals",
            "/v1/commands/note-1",
            "/v1/events",
            "/v1/audit",
            "/v1/sources",
            "/v1/workers",
        ),
        "/v1/kpis/feedback_received/events",
    ):
        answer = await hall.ask(path)
        assert (answer.status_code, answer.json()["reason"]) == (401, "not_signed_in"), path


async def test_a_unit_sees_what_it_was_offered_and_nothing_else(hall: Centre) -> None:
    offer = Offer(number=1, unit="u1", step=OfferStep.OFFERED, at={OfferStep.OFFERED: OPENED_AT})
    await put_cases(hall.connection, case("offered000000000", agency="works", area="03", offers=(offer,)))
    await put_cases(hall.connection, case("other00000000000", agency="works", area="01"))
    listed = (await hall.ask("/v1/cases", "uma")).json()
    assert [item["id"] for item in listed["items"]] == ["offered000000000"]
    assert (await hall.ask("/v1/cases/other00000000000", "uma")).status_code == 404
    for path in ("/v1/proposals", "/v1/audit", "/v1/cases/offered000000000/suggestions"):
        assert (await hall.ask(path, "uma")).status_code == 403


async def test_areas_and_agencies_bound_what_is_seen(hall: Centre) -> None:
    await put_cases(
        hall.connection,
        case("mine000000000000", area="01", agency="works"),
        case("nobodys000000000", area="01"),
        case("elsewhere0000000", area="02", agency="works"),
        case("anothers00000000", area="01", agency="city"),
    )
    found = {item["id"] for item in (await hall.ask("/v1/cases", "wim")).json()["items"]}
    assert found == {"mine000000000000", "nobodys000000000"}


async def test_an_auditor_follows_the_chain_past_what_is_withheld(hall: Centre) -> None:
    rows = (await hall.ask("/v1/audit", "paula")).json()["items"]
    assert [row.get("withheld", False) for row in rows] == [True, False]
    assert all(len(row["hash"]) == 64 for row in rows)
    assert "record" not in rows[0]
    whole = (await hall.ask("/v1/audit", "ada")).json()
    assert [row["record"]["subject"] for row in whole["items"]] == [HIDDEN, SHOWN]
    assert whole["heads"] == [{"chain": 0, "number": 2, "hash": "02" * 32}]
    only = (await hall.ask("/v1/audit", "ada", subject=SHOWN)).json()["items"]
    assert [row["number"] for row in only] == [2]


async def test_the_live_feed_tells_nobody_of_what_they_may_not_see(hall: Centre) -> None:
    async with hall.live("paul") as police, hall.live("cleo") as city:
        for client in (police, city):
            await say(client, op="subscribe", kpis=["feedback_received"], cases={}, units=True, commands=True)
        of_police, of_city = await hear(police, "snapshot"), await hear(city, "snapshot")
        assert [one["id"] for one in of_police["cases"]] == [SHOWN]
        assert [one["id"] for one in of_city["cases"]] == [HIDDEN]
        assert HIDDEN not in str(of_police)
        assert "Officer" not in str(of_police)
        assert HIDDEN in str(of_city["events"])
        async with hall.connection.transaction():
            await put_cases(
                hall.connection,
                case(HIDDEN, version=2, kind=Kind.CONDUCT, agency="city", accused_agency="police", title="Officer 2"),
                case(SHOWN, version=2, agency="police", title="Hole 2"),
            )
            await put_event(hall.connection, HIDDEN, "another Officer", id_="second")
            await put_event(hall.connection, SHOWN, "another hole", id_="third")
            await put_command(hall.connection, actor("olga"), "note-2", HIDDEN, AddNote(text="Officer again"))
            await tell(hall.connection, [HIDDEN, SHOWN], ["u2"], events=3, commands=True)
        told, of_city = await hear(police, "change"), await hear(city, "change")
        assert [(one["id"], one["version"]) for one in told["cases"]] == [(SHOWN, 2)]
        assert [one["event"]["id"] for one in told["events"]] == ["third"]
        assert [unit["id"] for unit in told["units"]] == ["u2"]
        assert HIDDEN not in str(told)
        assert "Officer" not in str(told)
        assert "outcomes" not in told
        assert [(one["id"], one["version"]) for one in of_city["cases"]] == [(HIDDEN, 2)]


async def test_a_complaint_that_stands_under_another_case_is_in_no_list(hall: Centre) -> None:
    # Split off from a case that the police see, and found to be about them: the report itself still names that case.
    async with hall.live("paul") as police:
        await say(police, op="subscribe", kpis=[])
        await hear(police, "snapshot")
        async with hall.connection.transaction():
            await put_event(hall.connection, SHOWN, "Officer again", id_="split", accused="police")
            await put_event(hall.connection, SHOWN, "a hole", id_="hole")
            await tell(hall.connection, events=2)
        assert [one["event"]["id"] for one in (await hear(police, "change"))["events"]] == ["hole"]
    year = str(utc_now().year)
    for path, params in (("/v1/events", {}), ("/v1/kpis/feedback_received/events", {"period": year})):
        listed = (await hall.ask(path, "paul", **params)).text
        assert ('"hole"' in listed, '"split"' in listed) == (True, False)


@pytest.mark.parametrize(
    ("person", "seen_ids"),
    [
        pytest.param("olga", {"in-one", "in-two"}, id="everywhere"),
        pytest.param("wim", {"in-one"}, id="in one ward"),
        pytest.param("lena", {"in-one", "in-two"}, id="a leader of another agency"),
        pytest.param("uma", set[str](), id="a unit"),
    ],
)
async def test_what_belongs_to_no_case_is_seen_where_it_happened(
    hall: Centre, person: str, seen_ids: set[str]
) -> None:
    async with hall.live(person) as client:
        await say(client, op="subscribe", kpis=[])
        await hear(client, "snapshot")
        async with hall.connection.transaction():
            await put_event(hall.connection, None, "a dossier", id_="in-one", area="01")
            await put_event(hall.connection, None, "a dossier", id_="in-two", area="02")
            await tell(hall.connection, [SHOWN], events=2)
        both = {"in-one", "in-two"}
        listed = {one["event"]["id"] for one in (await hall.ask("/v1/events", person)).json()["items"]}
        assert listed & both == seen_ids
        year = str(utc_now().year)
        behind = await hall.ask("/v1/kpis/feedback_received/events", person, period=year)
        assert {one["id"] for one in behind.json()["items"]} & both == seen_ids
        if seen_ids:
            assert {one["event"]["id"] for one in (await hear(client, "change"))["events"]} == seen_ids
        await say(client, op="subscribe", kpis=[], events=20)
        assert {one["event"]["id"] for one in (await hear(client, "snapshot"))["events"]} & both == seen_ids


async def test_lists_of_events_lead_to_no_person(hall: Centre) -> None:
    private = {"tracking": "a" * 64, "person": "b" * 64, "plate": "30*-***.45"}
    citizen = Actor(id="citizen", roles=("citizen",), tracking="a" * 64)
    async with hall.live("olga") as client:
        await say(client, op="subscribe", kpis=[])
        await hear(client, "snapshot")
        async with hall.connection.transaction():
            await put_event(hall.connection, SHOWN, "a hole", id_="private", data=private | {"actor": "x"})
            await put_command(hall.connection, citizen, "reply-1", SHOWN, AddNote(text="here"))
            await tell(hall.connection, events=2)
        told = (await hear(client, "change"))["events"]
    listed = (await hall.ask("/v1/events", "olga")).json()["items"]
    for items in (told, listed):
        found = {one["event"]["id"]: one["event"]["data"] for one in items}
        assert found["private"] == {"category": "road", "text": "a hole", "actor": "x"}
        assert found["reply-1"]["actor"] == {"id": "citizen", "roles": ["citizen"]}
        assert found["reply-1"]["do"]["text"] == "here"


async def test_a_case_that_leaves_the_scope_is_gone(hall: Centre) -> None:
    async with hall.live("paul") as police:
        await say(police, op="subscribe", kpis=[], cases={"open": True})
        assert [one["id"] for one in (await hear(police, "snapshot"))["cases"]] == [SHOWN]
        async with hall.connection.transaction():
            # The report turns out to be about the police themselves.
            await put_cases(
                hall.connection,
                case(SHOWN, version=2, kind=Kind.CONDUCT, agency="city", accused_agency="police", title="Officer"),
            )
            await tell(hall.connection, [SHOWN])
        told = await hear(police, "change")
        assert told["cases_gone"] == [SHOWN]
        assert "cases" not in told
        assert "Officer" not in str(told)
        async with hall.connection.transaction():
            await put_cases(
                hall.connection,
                case(SHOWN, version=3, kind=Kind.CONDUCT, agency="city", accused_agency="police", title="Officer"),
                case("new0000000000000", agency="police"),
            )
            await tell(hall.connection, [SHOWN, "new0000000000000"])
        # It is told of no more, not even as gone.
        told = await hear(police, "change")
        assert ([one["id"] for one in told["cases"]], "cases_gone" in told) == (["new0000000000000"], False)


async def listen(client: ClientConnection) -> None:
    """Takes what comes until the connection ends."""
    async with asyncio.timeout(WAIT_S):
        while True:
            await client.recv()


async def test_who_has_not_signed_in_subscribes_to_figures_alone(hall: Centre) -> None:
    async with hall.live(None) as client:
        await say(client, op="subscribe", cases={})
        assert (await hear(client, "error"))["reason"] == "not_signed_in"
        await say(client, op="subscribe", kpis=["feedback_received"], events=20)
        snapshot = await hear(client, "snapshot")
        assert (snapshot["events"], snapshot["sources"]) == ([], [])
        assert "cases" not in snapshot


async def test_a_forged_token_opens_no_live_feed(hall: Centre) -> None:
    forged = Issuer().token("olga")
    with pytest.raises(InvalidStatus) as refused:
        async with hall.running.live(additional_headers={"Authorization": f"Bearer {forged}"}):
            pass
    assert refused.value.response.status_code == 403


async def test_rights_that_are_taken_away_are_gone_from_an_open_feed(tables: str) -> None:
    current = [SITE]
    async with case_centre(tables, current_site=lambda: current[0], heartbeat_s=0.05) as centre:
        await fill(centre)
        async with centre.live("paul") as police:
            await say(police, op="subscribe", kpis=["feedback_received"], cases={})
            assert [one["id"] for one in (await hear(police, "snapshot"))["cases"]] == [SHOWN]
            moved = PACK["people.toml"].replace('id = "paul"\nname = "Police"', 'id = "paul"\nname = "Paul"')
            moved = moved.replace('areas = ["00"]\nagency = "police"\n\n', 'areas = ["02"]\nagency = "police"\n\n', 1)
            current[0] = parse_site({**PACK, "people.toml": moved})
            again = await hear(police, "snapshot")
            assert (again["reason"], again["cases"]) == ("reload", [])
            current[0] = parse_site({**PACK, "people.toml": moved.replace('id = "paul"', 'id = "pauline"')})
            with pytest.raises(ConnectionClosed) as closed:
                await listen(police)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4401


async def test_figures_on_supervision_are_for_those_who_supervise(tables: str) -> None:
    async with case_centre(tables, current_site=lambda: SUPERVISED) as centre:
        for person, allowed in (("olga", True), ("paula", False), ("lena", False), (None, False)):
            listed = [kpi["id"] for kpi in (await centre.ask("/v1/kpis", person)).json()["items"]]
            assert (COMPLAINTS in listed, SHARE in listed) == (allowed, allowed), person
            latest = (await centre.ask("/v1/latest", person)).json()
            assert (COMPLAINTS in str(latest)) is allowed
            for id_ in (COMPLAINTS, SHARE):
                for path in ("series", "table", "attainment", "compare?periods=2026", "events"):
                    answer = await centre.ask(f"/v1/kpis/{id_}/{path}", person)
                    if person is None and path == "events":
                        assert answer.status_code == 401
                    else:
                        assert (answer.status_code != 404) is allowed, (person, path, answer.text)
                        assert allowed or answer.json()["reason"] == "unknown_kpi"
                assert (await centre.ask("/v1/latest", person, kpis=id_)).status_code == (200 if allowed else 422)
            async with centre.live(person) as client:
                await say(client, op="subscribe", kpis=[COMPLAINTS])
                answer = await hear(client, "snapshot", "error")
                assert (answer["op"] == "snapshot") is allowed
                await say(client, op="subscribe")
                assert (COMPLAINTS in str(await hear(client, "snapshot"))) is allowed
