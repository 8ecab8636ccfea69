"""Is the time that units were on duty told whole, once, and in the hour where it was?"""

from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from asyncpg import connect
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.migrate import migrate_schema
from schemas.case import Refusal
from schemas.command import SetAvailability
from schemas.unit import UnitState, UnitStatus
from schemas.working_time import calendar_of, is_working
from streams.core.consequence import Cause, hour_passed, told_of_duty
from streams.core.duty import HOUR, HOURS_MAX, WITHIN, told_up_to
from streams.core.scene import Decided
from streams.maintenance.hours import pass_hour
from tests.streams.case_store import Store, command
from tests.streams.case_world import SITE, UNIT, World

MONDAY = datetime.fromisoformat("2026-03-02T00:00:00+00:00")
MINUTE = timedelta(minutes=1)


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


def at(hours: float) -> datetime:
    """So many hours after the beginning of a Monday, which is seven o'clock where the units are."""
    return MONDAY + timedelta(hours=hours)


def world_at(now: datetime) -> World:
    """A world in which it is so late."""
    world = World()
    world.now = now
    return world


def passes(world: World, hour: datetime, unit: str = "b") -> Decided:
    """An hour has passed for a unit."""
    world.now = max(world.now, hour)
    return world.take(hour_passed(SITE.areas, SITE.units[unit], hour, world.now))


def says(world: World, status: Any, unit: str = "b", **given: Any) -> Decided:
    """A unit says whether it can be sent."""
    until = given.pop("until", None)
    return world.ask(f"unit:{unit}", SetAvailability(status=status, until=until), UNIT[unit], **given)


def told(world: World) -> dict[datetime, float]:
    """What figures hold of the time on duty, by hour."""
    found: dict[datetime, float] = defaultdict(float)
    for duty in world.duties:
        found[(duty.until - WITHIN).replace(minute=0, second=0, microsecond=0)] += duty.seconds
    return {hour: seconds for hour, seconds in found.items() if seconds}


def test_hours_are_those_of_the_units_calendar() -> None:
    world = world_at(at(0))
    for hour in range(11):
        passes(world, at(hour))
    # 7:30 to 11:30 and 13:30 to 17:00 in Hanoi.
    expected = {0: 1800, 1: 3600, 2: 3600, 3: 3600, 4: 1800, 6: 1800, 7: 3600, 8: 3600, 9: 3600}
    assert told(world) == {at(hour): seconds for hour, seconds in expected.items()}


def test_a_unit_that_is_off_is_not_on_duty_and_one_that_is_busy_is() -> None:
    world = world_at(at(1))
    passes(world, at(1), "a")
    world.now = at(1.25)
    says(world, "off", "a", until=at(2.5))
    passes(world, at(2), "a")
    world.now = at(2.75)
    says(world, "busy", "a")
    passes(world, at(3), "a")
    assert told(world) == {at(1): 900, at(2): 1800}


def test_a_word_that_comes_late_takes_back_what_was_told() -> None:
    world = world_at(at(1))
    for hour in (1, 2, 3):
        passes(world, at(hour), "a")
    world.now = at(3.25)
    assert says(world, "off", "a", time=at(1.5)).refusal is None
    assert told(world) == {at(1): 1800}
    assert [duty.seconds for duty in world.duties] == [3600, 3600, -1800, -3600]
    # It had come back on duty before the centre heard of either.
    assert says(world, "available", "a", time=at(2.75)).refusal is None
    assert told(world) == {at(1): 1800, at(2): 900}
    passes(world, at(4), "a")
    assert told(world) == {at(1): 1800, at(2): 900, at(3): 3600}


def test_nothing_is_told_of_the_time_before_counting_began() -> None:
    world = world_at(at(5))
    passes(world, at(5), "a")
    says(world, "off", "a", time=at(1))
    assert world.duties == []


def test_the_same_hour_is_told_once() -> None:
    world = world_at(at(1))
    passes(world, at(1), "a")
    first = passes(world, at(2), "a")
    assert [duty.seconds for duty in first.duties] == [3600]
    assert passes(world, at(2), "a") == Decided(), "the command has one identity"
    world.stored.clear()
    assert passes(world, at(2), "a").refusal is Refusal.TOO_LATE
    assert passes(world, at(1), "a").refusal is Refusal.TOO_LATE


def test_an_hour_to_come_is_not_told() -> None:
    world = world_at(at(1))
    early = hour_passed(SITE.areas, SITE.units["a"], at(2), at(1))
    assert world.take(early).refusal is Refusal.FROM_THE_FUTURE


def test_after_a_long_outage_it_goes_on_where_it_stood() -> None:
    unit, state = SITE.units["a"], UnitState(unit="a", duty_since=MONDAY, duty_at=MONDAY)
    far = MONDAY + (HOURS_MAX + 5) * HOUR
    state, duties = told_up_to(SITE, unit, state, far)
    assert len(duties) == HOURS_MAX
    state, rest = told_up_to(SITE, unit, state, far)
    assert sum(duty.seconds for duty in (*duties, *rest)) == (far - MONDAY).total_seconds()
    assert state.duty_at == far


def test_a_drill_tells_nothing() -> None:
    world = world_at(at(1))
    passes(world, at(1), "a")
    world.now = at(1.5)
    says(world, "off", "a", exercise=True)
    assert world.duties == []
    passes(world, at(2), "a")
    assert told(world) == {at(1): 3600}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 240),
            st.sampled_from([None, None, "off", "available", "busy"]),
            st.integers(0, 400),
            st.none() | st.integers(1, 300),
        ),
        max_size=12,
    ),
    st.sampled_from(["a", "b"]),
)
def test_what_is_told_is_what_was(steps: list[tuple[int, str | None, int, int | None]], unit: str) -> None:
    """Words come at any time and late, hours pass: minute by minute it was as the words say that were taken."""
    world = world_at(at(0))
    words: list[tuple[datetime, str, datetime | None]] = []
    passes(world, at(0), unit)
    for waits, status, late, until in steps:
        for _ in range(waits):
            world.now += MINUTE
            if world.now.minute == 0:
                passes(world, world.now, unit)
        if status is not None:
            said = world.now - late * MINUTE
            ends = None if until is None else said + until * MINUTE
            if says(world, status, unit, time=said, until=ends).refusal is None:
                words.append((said, status, ends))
    state = world.units[unit]
    assert state.duty_at is not None
    expected: dict[datetime, float] = defaultdict(float)
    minute, calendar = at(0), calendar_of(SITE, SITE.units[unit].calendar)
    while minute < state.duty_at:
        _, status, ends = next((word for word in reversed(words) if word[0] <= minute), (None, "available", None))
        is_off = status == UnitStatus.OFF and (ends is None or minute < ends)
        if is_working(calendar, minute) and not is_off:
            expected[minute.replace(minute=0)] += 60
        minute += MINUTE
    assert told(world) == expected


@pytest.mark.parametrize("at_once", [True, False])
async def test_the_log_has_it_once_under_resends(store: Store, at_once: bool) -> None:
    unit = SITE.units["a"]
    hours = [hour_passed(SITE.areas, unit, at(hour), at(3)) for hour in (1, 2, 3)]
    off = command("off", "unit:a", SetAvailability(status="off"), UNIT["a"], time=at(2.5), received_at=at(3))
    if at_once:
        await store.take(*hours, off, *hours)
    else:
        for event in (*hours, off, *hours, off):
            await store.take(event)
    told_by = [event for event in await store.outgoing() if event.source == "ioc.streams" and "duty" in event.id]
    assert [(event.time, event.data.seconds) for event in told_by] == [
        (at(2) - WITHIN, 3600),
        (at(3) - WITHIN, 3600),
        (at(3) - WITHIN, -1800),
    ]
    (event, *_) = told_of_duty(
        SITE.areas, Cause(hours[1].source, hours[1].id, at(3)), [*world_duties(at(2))], exercise=False
    )
    assert event.id == told_by[0].id


def world_duties(hour: datetime) -> list[Any]:
    """What is told of one hour of unit a."""
    state = UnitState(unit="a", duty_since=hour - HOUR, duty_at=hour - HOUR)
    return told_up_to(SITE, SITE.units["a"], state, hour)[1]


async def test_an_hour_is_one_command_to_each_unit_whoever_notices_it(store: Store) -> None:
    now = at(3.5)

    async def look(told_hour: datetime | None = None) -> datetime:
        async with store.writer.connection() as connection:
            return await pass_hour(connection, SITE, told_hour, now)

    hour, again = await look(), await look()
    assert hour == again == await look(hour) == at(3)
    events = await store.outgoing()
    assert sorted((event.subject, event.time) for event in events) == [(f"unit:{name}", at(3)) for name in "abc"]
    await store.take(*events)
    assert {name: state.duty_at for name, state in (await units_of(store)).items()} == dict.fromkeys("abc", at(3))


async def units_of(store: Store) -> dict[str, UnitState]:
    """What the table holds of units."""
    rows = await store.connection.fetch("SELECT unit, body FROM unit_state")
    return {row["unit"]: msgspec.json.decode(row["body"], type=UnitState) for row in rows}
