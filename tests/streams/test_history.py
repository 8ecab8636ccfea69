"""Is the past kept as it was: every version of cases and units, for every moment, as the tables held them then?"""

import random
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

import pytest

from deploy.migrate import migrate_schema
from schemas.case import CaseId
from schemas.command import Accept, AddNote, Assign, Dispatch, Merge, OfferStepped, SetAvailability, Triage, Unmerge
from schemas.event import AnyEvent, Position, UnitPositioned
from tests.streams.case_store import Store, at, command, connect, envelope, opened_by, opening, report
from tests.streams.case_world import AT_ROADS, DISPATCHER, UNIT

STEPS = 90

HELD = {
    "cases": """SELECT id, version, kind, state, is_open, category, severity, area, agency, units, lat, lon,
                opened_at, due_at, body FROM cases""",
    "units": "SELECT unit, version, lat, lon, position_at, body FROM unit_state",
}
KEPT = {
    "cases": """SELECT case_id, version, kind, state, is_open, category, severity, area, agency, units, lat, lon,
                opened_at, due_at, body FROM case_version WHERE at <= $1 AND until_at > $1""",
    "units": """SELECT unit, version, lat, lon, position_at, body FROM unit_version
                WHERE at <= $1 AND until_at > $1""",
}


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """A writer on a database with all tables."""
    await migrate_schema(database_url)
    connection = await connect(database_url)
    made = Store(database_url, connection)
    yield made
    await made.writer.close()
    await connection.close()


async def held(connection: Any, concept: str) -> set[tuple[Any, ...]]:
    """What a table holds now."""
    return {_row(row) for row in await connection.fetch(HELD[concept])}


async def kept(connection: Any, concept: str, moment: datetime) -> set[tuple[Any, ...]]:
    """What it held then, as far as its versions say."""
    rows = [_row(row) for row in await connection.fetch(KEPT[concept], moment)]
    assert len(rows) == len({row[0] for row in rows}), "two versions hold at once"
    return set(rows)


def _row(row: Any) -> tuple[Any, ...]:
    values: list[Any] = list(row)
    return tuple(" ".join(one) if isinstance(one, list) else one for one in values)  # pyright: ignore[reportUnknownArgumentType]


def positioned(id_: str, unit: str, second: int) -> UnitPositioned:
    """Where a unit is, a little further each second."""
    attributes = envelope(
        id_, f"unit:{unit}", unit, time=at(seconds=second), place=f"geo:{21 + second / 10_000},105.0"
    )
    return UnitPositioned(**attributes, data=Position(unit=unit))


class Chance:
    """Comes up with what happens next, sensible or not."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._cases: list[CaseId] = []
        self._drills: set[CaseId] = set()

    def step(self, number: int) -> AnyEvent:
        """Something that somebody does or sends."""
        rng, name = self._rng, f"e{number}"
        if len(self._cases) < 2 or rng.random() < 0.15:
            place = f"geo:{21 + rng.random() / 1000},105.0"
            event = opening(name, place=place, exercise=rng.random() < 0.2)
            self._cases.append(opened_by(event))
            if event.exercise:
                self._drills.add(self._cases[-1])
            return event
        case, unit = rng.choice(self._cases), rng.choice("ab")
        # Mostly as the case is; a slip now and then is refused.
        played: dict[str, Any] = {"exercise": True} if (case in self._drills) is not (rng.random() < 0.1) else {}
        made: list[Callable[[], AnyEvent]] = [
            lambda: command(name, case, Triage(title=name), **played),
            lambda: command(name, case, AddNote(text="seen"), **played),
            lambda: command(name, case, Assign(agency=rng.choice(["power", "roads"])), **played),
            lambda: command(name, case, Accept(), AT_ROADS, **played),
            lambda: command(name, case, Merge(other=rng.choice(self._cases)), **played),
            lambda: command(name, case, Unmerge(other=rng.choice(self._cases)), **played),
            lambda: command(name, case, Dispatch(unit=unit), DISPATCHER, **played),
            lambda: command(name, case, OfferStepped(offer=1, step="accepted"), UNIT[unit], **played),
            lambda: command(
                name, f"unit:{unit}", SetAvailability(status=rng.choice(["available", "off"])), UNIT[unit]
            ),
            lambda: positioned(name, unit, 15 * number),
            lambda: report(name, name),
        ]
        return rng.choice(made)()


async def test_at_every_moment_the_past_is_what_the_tables_held_then(store: Store) -> None:
    chance, connection = Chance(7), store.connection
    seen: list[tuple[datetime, dict[str, set[tuple[Any, ...]]]]] = []
    number = 0
    while number < STEPS:
        some = [chance.step(number + i) for i in range(1 + number % 3)]
        number += len(some)
        await store.take(*some)
        moment = await connection.fetchval("SELECT clock_timestamp()")
        seen.append((moment, {concept: await held(connection, concept) for concept in HELD}))
    outcomes = list((await store.outcomes()).values())
    assert outcomes.count("applied") > STEPS / 4
    assert set(outcomes) > {"applied"}
    assert await connection.fetchval("SELECT max(version) FROM case_version") > 2
    for moment, then in seen:
        for concept, rows in then.items():
            assert await kept(connection, concept, moment) == rows
    before = await connection.fetchval("SELECT min(at) - INTERVAL '1 microsecond' FROM case_version")
    assert await kept(connection, "cases", before) == set()


async def test_of_places_that_follow_each_other_closely_some_are_left_out(store: Store) -> None:
    for number, second in enumerate((0, 4, 9, 11, 12, 30)):
        await store.take(positioned(f"p{number}", "a", second))
    rows = await store.connection.fetch("SELECT position_at, at, until_at FROM unit_version ORDER BY at")
    assert [row["position_at"] for row in rows] == [at(seconds=second) for second in (0, 11, 30)]
    assert [row["until_at"] for row in rows[:-1]] == [row["at"] for row in rows[1:]]


async def test_two_changes_in_one_transaction_leave_one_version_that_holds(store: Store) -> None:
    event = opening("c1")
    id_ = opened_by(event)
    await store.take(event, command("c2", id_, Triage(title="A")))
    # A clock that was set back.
    await store.connection.execute("UPDATE case_version SET at = at + INTERVAL '1 hour'")
    await store.take(command("c3", id_, Triage(title="B")))
    rows = await store.connection.fetch("SELECT at, until_at, version FROM case_version ORDER BY version")
    assert [row["version"] for row in rows] == [2, 3]
    assert rows[0]["until_at"] == rows[0]["at"] == rows[1]["at"]
    assert await store.connection.fetchval("SELECT count(*) FROM case_version WHERE until_at = 'infinity'") == 1
