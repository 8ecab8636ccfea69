"""Does every event about a case change the state once, whole, and as decided?"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from deploy.migrate import migrate_schema
from schemas.case import CaseId, Entry, Kind, State, case_id
from schemas.command import (
    Accept,
    AddNote,
    Assign,
    DeadlinePassed,
    Dispatch,
    ErasePerson,
    Merge,
    OfferStepped,
    Reveal,
    SetAvailability,
    Silence,
    Split,
    Triage,
    Unmerge,
)
from schemas.event import CaseCommand, CaseStepped, Position, UnitPositioned
from schemas.topics import case_of, own_case_of
from schemas.unit import UnitState
from streams.core.audit import read_body
from streams.core.notice import Notice, Why
from streams.maintenance.deadlines import pass_deadlines
from streams.store.outbox import NOTICE_CHANNEL
from streams.versions import compiled
from tests.schemas.case_pack import AT, site
from tests.streams.case_store import (
    TOPIC_ID,
    Store,
    at,
    command,
    connect,
    envelope,
    lane_of,
    opened_by,
    opening,
    report,
)
from tests.streams.case_world import ADMINISTRATOR, AT_ROADS, DISPATCHER, LEADER, OPERATOR, PACK, SITE, UNIT

MANY = 10_000

RULE = """
[[rule]]
id = "rule"
names = { vi = "Nhiều", en = "Many" }
category = "other"
kpi = "k"
every = "minute"
threshold = { above = 5 }
"""


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """A writer on a database with all tables."""
    await migrate_schema(database_url)
    connection = await connect(database_url)
    made = Store(database_url, connection)
    yield made
    await made.check()
    await made.writer.close()
    await connection.close()


async def test_a_command_opens_a_case_with_everything_that_belongs_to_it(store: Store) -> None:
    first = opening("c1")
    case_id = opened_by(first)
    await store.take(first)
    case = await store.case(case_id)
    assert (case.version, case.category, case.agency) == (1, "pothole", "roads")
    assert await store.outcomes() == {"c1": "applied"}
    assert await store.timeline(case_id)
    row = await store.connection.fetchrow("SELECT * FROM command")
    assert (row["subject"], row["action"], row["state"], row["version"]) == (case_id, "open", case.state, 1)
    assert await store.connection.fetchval("SELECT case_id FROM event") == case_id
    due = {row["name"]: row["due_at"] for row in await store.connection.fetch("SELECT name, due_at FROM deadline")}
    assert due
    assert min(at_ for name, at_ in due.items() if name.endswith(":due")) == case.due_at
    (step,) = [event for event in await store.outgoing() if isinstance(event, CaseStepped)]
    assert (step.data.step, step.data.case, step.subject) == ("opened", case_id, case_id)
    touched = msgspec.json.decode(await store.connection.fetchval("SELECT touched FROM change"))
    assert (touched["cases"], touched["commands"]) == ([case_id], True)
    assert "units" not in touched


async def test_the_same_command_twice_is_applied_once(store: Store) -> None:
    first = opening("c1")
    note = command("c2", opened_by(first), AddNote(text="seen"))
    await store.take(first, note, note)
    before = await store.case(opened_by(first))
    await store.take(note, first)
    assert await store.case(opened_by(first)) == before
    assert Counter(action for _, action in await store.timeline(before.id))["note"] == 1
    assert await store.connection.fetchval("SELECT count(*) FROM audit") == 2


async def test_a_notice_names_the_line_that_its_own_command_wrote(store: Store) -> None:
    first = opening("c1")
    id_ = opened_by(first)
    await store.take(first, command("c2", id_, Dispatch(unit="a"), DISPATCHER))
    # Both were received at the same moment, as commands of one request are.
    await store.take(
        command("c3", id_, AddNote(text="mind the dog", to_units=True)), command("c4", id_, AddNote(text="inside"))
    )
    bodies = await store.connection.fetch("SELECT body FROM outbox WHERE channel = $1", NOTICE_CHANNEL)
    notices = [msgspec.json.decode(row["body"], type=Notice) for row in bodies]
    (told,) = [one for one in notices if one.why is Why.MESSAGE]
    line = await store.connection.fetchval("SELECT body FROM case_entry WHERE number = $1", told.line)
    assert msgspec.json.decode(line, type=Entry).text == "mind the dog"


async def test_each_command_meets_what_those_before_it_have_left(store: Store) -> None:
    first = opening("c1")
    id_ = opened_by(first)
    await store.take(
        first,
        command("c2", id_, Triage(version=1, severity=None, title="A")),
        command("c3", id_, Triage(version=1, title="B")),
        command("c4", id_, Assign(version=2, agency="power")),
        command("c5", "nobody", Accept()),
    )
    assert await store.outcomes() == {
        "c1": "applied",
        "c2": "applied",
        "c3": "stale",
        "c4": "applied",
        "c5": "unknown_case",
    }
    case = await store.case(id_)
    assert (case.version, case.title, case.agency) == (3, "A", "power")
    rows = {row["id"]: row for row in await store.connection.fetch("SELECT id, version, state, detail FROM command")}
    # A refusal says how things were then, not how they are after all of it.
    assert (rows["c3"]["version"], rows["c5"]["version"]) == (2, None)
    assert rows["c3"]["detail"]


async def test_a_report_opens_a_case_that_those_near_it_are_proposed_for(store: Store) -> None:
    await store.take(report("e1", "r1"), report("e2", "r2", time=at(minutes=1)))
    await store.take(report("e3", "r3", time=at(minutes=2)), report("e4", "r4", place="geo:21.9,105.9"))
    rows = await store.connection.fetch("SELECT case_id, other_id, score, state FROM proposal")
    ids = {row["id"]: row["case_id"] for row in await store.connection.fetch("SELECT id, case_id FROM event")}
    pairs = {frozenset((row["case_id"], row["other_id"])) for row in rows}
    assert pairs == {
        frozenset((ids["e1"], ids["e2"])),
        frozenset((ids["e1"], ids["e3"])),
        frozenset((ids["e2"], ids["e3"])),
    }
    assert {row["state"] for row in rows} == {"proposed"}


async def test_drills_are_near_drills_alone(store: Store) -> None:
    await store.take(report("e1", "r1"), report("e2", "r2", exercise=True))
    await store.take(report("e3", "r3", exercise=True))
    ids = {row["id"]: row["case_id"] for row in await store.connection.fetch("SELECT id, case_id FROM event")}
    rows = await store.connection.fetch("SELECT case_id, other_id FROM proposal")
    assert {frozenset(row) for row in rows} == {frozenset((ids["e2"], ids["e3"]))}
    exercises = {row["id"]: row["is_exercise"] for row in await store.connection.fetch("SELECT * FROM cases")}
    assert exercises == {ids["e1"]: False, ids["e2"]: True, ids["e3"]: True}


async def test_cases_of_different_partitions_are_merged_and_parted_again(store: Store) -> None:
    one, other = _apart()
    keeper, guest = opened_by(one), opened_by(other)
    await store.take(one, other)
    await store.take(
        command("m", keeper, Merge(other=guest, version=1, other_version=1)),
        command("n", guest, AddNote(text="what comes for the guest")),
    )
    assert (await store.case(guest)).state is State.MERGED
    await store.take(command("u", keeper, Unmerge(other=guest)))
    assert await store.outcomes() == {
        "one": "applied",
        other.id: "applied",
        "m": "applied",
        "n": "applied",
        "u": "applied",
    }
    parted = await store.case(guest)
    assert (parted.merged_into, (await store.case(keeper)).absorbed) == (None, {})


def _apart() -> tuple[CaseCommand, CaseCommand]:
    """Two openings whose cases are on different partitions."""
    one = opening("one")
    for number in range(100):
        other = opening(f"other{number}", place="geo:21.3,105.3")
        if lane_of(other) != lane_of(one):
            return one, other
    raise AssertionError("all keys lie on one partition")


async def test_two_workers_that_merge_crosswise_leave_one_of_the_cases(store: Store, database_url: str) -> None:
    one, other = _apart()
    a, b = opened_by(one), opened_by(other)
    await store.take(one, other)
    first = store.batches([command("ab", a, Merge(other=b))])
    second = store.batches([command("ba", b, Merge(other=a))])
    rival = Store(database_url, store.connection)
    await asyncio.gather(store.writer.commit_all(first), rival.writer.commit_all(second))
    await rival.writer.close()
    outcomes = await store.outcomes()
    assert sorted([outcomes["ab"] == "applied", outcomes["ba"] == "applied"]) == [False, True]
    states = [(await store.case(id_)).state for id_ in (a, b)]
    assert states.count(State.MERGED) == 1


async def test_a_unit_is_sent_once_though_two_workers_find_it_free(store: Store, database_url: str) -> None:
    one, other = _apart()
    a, b = opened_by(one), opened_by(other)
    await store.take(one, other)
    batches = [store.batches([command(f"send-{id_}", id_, Dispatch(unit="a"), DISPATCHER)]) for id_ in (a, b)]
    rival = Store(database_url, store.connection)
    await asyncio.gather(store.writer.commit_all(batches[0]), rival.writer.commit_all(batches[1]))
    await rival.writer.close()
    outcomes = await store.outcomes()
    assert sorted([outcomes[f"send-{a}"], outcomes[f"send-{b}"]]) == ["applied", "unit_busy"]
    row = await store.connection.fetchrow("SELECT version, cases, body FROM unit_state WHERE unit = 'a'")
    assert (row["version"], len(row["cases"])) == (1, 1)


async def test_where_a_unit_is_does_not_disturb_what_it_does(store: Store) -> None:
    def positioned(id_: str, second: int, lat: float, unit: str = "a", **given: Any) -> UnitPositioned:
        place = f"geo:{lat},105.0"
        attributes = envelope(id_, f"unit:{unit}", unit, time=at(seconds=second), place=place, **given)
        return UnitPositioned(**attributes, data=Position(unit=unit))

    first = opening("c1")
    await store.take(first, positioned("p1", 10, 21.5), positioned("p2", 5, 21.6), positioned("p3", 20, 9, "forged"))
    await store.take(
        command("c2", opened_by(first), Dispatch(unit="a"), DISPATCHER), positioned("p4", 30, 21.7, exercise=True)
    )
    await store.take(positioned("p5", 8, 21.8))
    rows = await store.connection.fetch("SELECT unit, version, status, lat, position_at, cases, body FROM unit_state")
    (row,) = rows
    assert (row["unit"], row["version"], row["lat"], row["position_at"]) == ("a", 1, 21.5, at(seconds=10))
    assert row["cases"] == [opened_by(first)]
    assert msgspec.json.decode(row["body"], type=UnitState).cases == (opened_by(first),)
    await store.take(command("c3", "unit:a", SetAvailability(status="off"), UNIT["a"]), positioned("p6", 40, 21.9))
    row = await store.connection.fetchrow("SELECT version, status, lat FROM unit_state")
    assert tuple(row) == (2, "off", 21.9)
    assert (await store.outcomes())["c3"] == "applied"


async def test_a_deadline_that_passes_is_one_command_whoever_finds_it(store: Store) -> None:
    first = opening("c1")
    id_ = opened_by(first)
    await store.take(first)
    # All of them were due months ago.
    names = [row["name"] for row in await store.connection.fetch("SELECT name FROM deadline ORDER BY name")]
    assert len(names) > 1

    async def look() -> bool:
        async with store.writer.connection() as connection:
            return await pass_deadlines(connection, SITE)

    await asyncio.gather(*(look() for _ in range(4)))
    assert not await look()
    events = [event for event in await store.outgoing() if isinstance(event, CaseCommand)]
    assert sorted(event.data.do.name for event in events if isinstance(event.data.do, DeadlinePassed)) == names
    assert await store.connection.fetchval("SELECT count(*) FROM deadline WHERE fired_at IS NULL") == 0
    before = await store.case(id_)
    await store.take(*events)
    await store.take(*events)
    after = await store.case(id_)
    assert after.version > before.version
    assert after.escalations > 0
    assert set((await store.outcomes()).values()) <= {"applied", "too_late"}


async def test_a_deadline_that_passed_while_its_case_was_merged_passes_again(store: Store) -> None:
    one, other = _apart()
    keeper, guest = opened_by(one), opened_by(other)
    await store.take(one, other)

    async def fired() -> list[CaseCommand]:
        async with store.writer.connection() as connection:
            await pass_deadlines(connection, SITE)
        waiting = [event for event in await store.outgoing() if isinstance(event, CaseCommand)]
        return [event for event in waiting if event.subject == guest and isinstance(event.data.do, DeadlinePassed)]

    first = await fired()
    await store.take(command("m", keeper, Merge(other=guest)))
    await store.take(*first)
    outcomes = await store.outcomes()
    assert {outcomes[event.id] for event in first} == {"too_late"}
    await store.take(command("u", keeper, Unmerge(other=guest)))
    again = [event for event in await fired() if event.id not in outcomes]
    assert {event.data.do for event in again} == {event.data.do for event in first}
    await store.take(*again)
    assert (await store.case(guest)).escalations > 0


async def test_what_is_no_longer_due_is_taken_away(store: Store) -> None:
    first = opening("c1")
    id_ = opened_by(first)
    await store.take(first)

    async def names() -> set[str]:
        return {row["name"] for row in await store.connection.fetch("SELECT name FROM deadline")}

    assert "clock:acceptance:due" in await names()
    await store.take(command("c2", id_, Accept(), AT_ROADS))
    assert (await store.outcomes())["c2"] == "applied"
    assert "clock:acceptance:due" not in await names()
    await store.take(command("c3", id_, Dispatch(unit="a"), DISPATCHER))
    assert "offer:1:delivered" in await names()
    await store.take(command("c4", id_, OfferStepped(offer=1, step="accepted"), UNIT["a"]))
    assert {name for name in await names() if name.startswith("offer:")} == {"offer:1:en_route"}


async def test_a_place_that_is_none_stops_nothing(store: Store) -> None:
    """Such events may lie on a log since before the door looked at places."""
    odd, places = "geo:99,200", ("geo:21.5,105.0", "geo:21.6,105.0")
    strange, usual = report("r1", "r1"), report("r2", "r2")
    units = [
        UnitPositioned(**envelope(f"p-{unit}", f"unit:{unit}", unit, place=place), data=Position(unit=unit))
        for unit, place in zip("ab", places, strict=True)
    ]
    # The reader would refuse them now, so they become strange behind it.
    batches = [
        msgspec.structs.replace(
            batch,
            arrivals=[
                msgspec.structs.replace(one, event=msgspec.structs.replace(one.event, place=odd))
                if one.event.id in ("r1", "p-a")
                else one
                for one in batch.arrivals
            ],
        )
        for batch in store.batches([strange, usual, *units])
    ]
    for batch in batches:
        await store.writer.position(batch.lane, TOPIC_ID)
    assert None not in await store.writer.commit_all(batches)
    store.passed(batches)
    rows = await store.connection.fetch("SELECT lat, lon FROM cases ORDER BY lat NULLS FIRST")
    assert [(row["lat"], row["lon"]) for row in rows] == [(None, None), (21.1, 105.1)]
    assert await store.connection.fetchval("SELECT array_agg(unit) FROM unit_state WHERE lat IS NOT NULL") == ["b"]


async def test_the_record_says_what_was_revealed_and_why(store: Store) -> None:
    first = opening("c1")
    await store.take(first, command("c2", opened_by(first), Reveal(what="reporter", reason="to call back")))
    rows = await store.connection.fetch("SELECT body FROM audit ORDER BY number")
    assert [read_body(row["body"]).detail for row in rows] == [{}, {"what": "reporter", "reason": "to call back"}]


async def test_a_silence_is_kept_where_alert_rules_look(store: Store) -> None:
    store.version = compiled(1, site({**PACK, "alerts.toml": RULE}))
    action = Silence(until=at(hours=1), reason="works")
    asked = [command(f"s-{who.id}", "alert:rule", action, who) for who in (LEADER, UNIT["a"])]
    for_ever = command("s-ever", "alert:rule", Silence(until=at(days=367), reason="works"), LEADER)
    played = command("s-drill", "alert:rule", action, OPERATOR, exercise=True)
    await store.take(*asked, for_ever, played)
    rows = await store.connection.fetch("SELECT rule, until, by FROM alert_silence")
    assert [tuple(row) for row in rows] == [("rule", at(hours=1), "boss")]
    assert await store.outcomes() == {
        "s-boss": "applied",
        "s-unit-a": "forbidden",
        "s-drill": "applied",
        "s-ever": "impossible",
    }


async def test_a_person_is_erased_by_who_may(store: Store) -> None:
    action = ErasePerson(reason="asked for")
    person = "p" * 64
    asked = [command(f"e-{who.id}", f"person:{person}", action, who) for who in (OPERATOR, ADMINISTRATOR)]
    await store.take(*asked)
    assert await store.outcomes() == {"e-op": "forbidden", "e-admin": "applied"}
    rows = await store.connection.fetch("SELECT person, wrapped, erased_at FROM person_key")
    assert [tuple(row) for row in rows] == [(person, None, AT)]


async def test_ten_thousand_commands_at_once_have_one_outcome_each(store: Store) -> None:
    openings = [
        opening(f"o{number}", place=f"geo:{20 + number % 100 / 50:.2f},105.1") for number in range(MANY // 10)
    ]
    ids = [opened_by(one) for one in openings]
    notes = [
        command(f"n{number}", ids[number % len(ids)], AddNote(text="more"), OPERATOR)
        for number in range(MANY - len(openings))
    ]
    await store.take(*openings)
    await store.take(*notes)
    outcomes = await store.outcomes()
    assert len(outcomes) == MANY
    assert set(outcomes.values()) == {"applied"}
    cases = await store.connection.fetchrow("SELECT count(*), sum(entries) FROM cases")
    assert cases[0] == len(openings)
    assert await store.connection.fetchval("SELECT count(*) FROM audit") == MANY


async def _stand_under(store: Store) -> dict[str, str]:
    """The case of each report that is kept, by the report's id."""
    rows = await store.connection.fetch("SELECT id, case_id FROM event WHERE type = 'ioc.feedback.received.v1'")
    return {row["id"]: row["case_id"] for row in rows}


async def test_events_go_with_their_signals(store: Store) -> None:
    """Who may see them follows from their case: also of what corrects them, before they leave and afterwards."""
    apart = {"place": "geo:21.9,105.9"}
    first, other = report("r1", "r1"), report("r2", "r2", **apart)
    keeper, guest = CaseId(case_of(first)), CaseId(case_of(other))
    await store.take(first, report("r3", "r1"), other)
    await store.take(report("c3", "r1", supersedes="r3"))
    assert await _stand_under(store) == {"r1": keeper, "r3": keeper, "c3": keeper, "r2": guest}
    await store.take(command("s", keeper, Split(members=["r3"], version=3)))
    part = case_id("person:op", "s")
    await store.take(report("c4", "r1", supersedes="r3"))
    assert [one.corrected_by for one in (await store.case(part)).members] == ["c4"]
    await store.take(command("t", part, Triage(category="conduct", accused_agency="roads", version=2)))
    assert (await store.case(part)).accused_agency == "roads"
    await store.take(*await store.outgoing())
    found = await _stand_under(store)
    (echo,) = found.keys() - {"r1", "r2", "r3", "c3", "c4"}
    assert found == {"r1": keeper, "r3": part, "c3": part, "c4": part, echo: part, "r2": guest}


async def test_corrections_of_corrections_go_with_their_signals(store: Store) -> None:
    """Also where they name another subject, and come in the transaction that keeps what they correct."""
    first = report("r1", "r1")
    keeper = CaseId(case_of(first))
    await store.take(first, report("r3", "r1"), report("c3", "r1", supersedes="r3"))
    await store.take(report("c4", "elsewhere", supersedes="c3"), report("c5", "elsewhere", supersedes="c4"))
    assert set((await _stand_under(store)).values()) == {keeper}
    assert [one.corrected_by for one in (await store.case(keeper)).members] == [None, "c5"]
    await store.take(command("s", keeper, Split(members=["r3"], version=5)))
    part = case_id("person:op", "s")
    corrections = dict.fromkeys(("r3", "c3", "c4", "c5"), part)
    assert await _stand_under(store) == {"r1": keeper} | corrections
    await store.take(report("c6", "r1", supersedes="c4"))
    assert [one.corrected_by for one in (await store.case(part)).members] == ["c6"]
    assert await _stand_under(store) == {"r1": keeper, "c6": part} | corrections
    rows = await store.connection.fetch("SELECT id FROM countable_event WHERE type = 'ioc.feedback.received.v1'")
    assert sorted(row["id"] for row in rows) == ["c6", "r1"]


async def test_a_signal_that_was_split_off_is_found_in_the_same_transaction(store: Store) -> None:
    first, second = report("r1", "r1"), report("r2", "r1")
    keeper = CaseId(case_of(first))
    # All of one subject have one lane, and so one order.
    await store.take(
        first, second, command("s", keeper, Split(members=["r2"], version=2)), report("c", "r1", supersedes="r2")
    )
    part = await store.case(case_id("person:op", "s"))
    assert [(one.id, one.corrected_by) for one in part.members] == [("r2", "c")]


async def test_a_complaint_stands_under_no_case_that_others_see(store: Store) -> None:
    ordinary, joins = report("r1", "r1"), report("r2", "r1", category="conduct")
    await store.take(ordinary, joins)
    found = await _stand_under(store)
    assert (found["r1"], found["r2"]) == (case_of(ordinary), own_case_of(joins))
    assert (await store.case(found["r2"])).kind is Kind.CONDUCT
