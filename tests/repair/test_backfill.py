"""Does an indicator that was filled back say what one says that counted from the beginning?"""

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from schemas.errors import OperatorError
from schemas.kpi import Base, Measure
from schemas.site import Pack
from schemas.topics import DETECTIONS
from streams.repair.backfill import Backfilled, backfill
from streams.repair.rebuild import Wanted, rebuild
from streams.repair.standing import Filled, Span, Standing, Stands, spans_of, stands
from tests.repair.hall import Hall, opened
from tests.streams.world import PACK, raw, some_events

WAIT_S = 60.0
NEW = (
    "received_elsewhere",
    "agencies",
    "handling",
    "longest",
    "satisfied",
    "last_score",
    "staff",
    "scores",
    "cameras",
    "slowest",
)
FIRST: Pack = dict(PACK) | {
    "kpis.toml": "[[kpi]]".join(
        part for part in PACK["kpis.toml"].split("[[kpi]]") if not any(f'id = "{id_}"' in part for id_ in NEW)
    )
}


def begin() -> datetime:
    """Three days before events are sent, so that none is from the future."""
    return datetime.now(UTC) - timedelta(days=3, minutes=5)


@pytest.fixture
async def hall(kafka: str, database_url: str, topic_prefix: str) -> AsyncIterator[Hall]:
    """A centre whose indicators became more while it ran. Some lanes have brought nothing since."""
    async with opened(kafka, database_url, topic_prefix, FIRST) as hall:
        raws = some_events(300, 1, begin())
        await hall.send([*raws[:200], *raws[:30]])
        await hall.count()
        await hall.take_up(PACK)
        await hall.send([*raws[200:230], *raws[190:210]])
        await hall.count()
        yield hall


async def fill(hall: Hall, kpi_id: str, since: datetime | None = None) -> Backfilled:
    """Fills one indicator back."""
    return await backfill(hall.places, kpi_id, since, lambda _done, _total: None, time.time())


async def check(hall: Hall, other_database_url: str) -> None:
    """Counts everything on the log from its beginning by the present pack, and compares."""
    async with opened(hall.kafka, other_database_url, hall.prefix, PACK) as right:
        await right.count()
        found, expected = await hall.values(), await right.values()
        wrong = {
            key: (found.get(key), expected.get(key))
            for key in found | expected
            if found.get(key) != expected.get(key)
        }
        assert not wrong, (len(wrong), sorted(wrong.items())[:5])


async def test_it_says_what_one_says_that_counted_from_the_beginning(hall: Hall, other_database_url: str) -> None:
    # What is corrected is on both sides of where live counting began, and of where the back-fill stands.
    more = some_events(300, 1, begin())[230:]
    async with hall.counting():
        for number, kpi_id in enumerate(NEW):
            await hall.send(more[number * 7 : number * 7 + 7])
            done = await fill(hall, kpi_id)
            assert done.offsets
            assert done.complete_from is None
    await hall.count()
    assert all([not (await fill(hall, kpi_id)).offsets for kpi_id in (*NEW, "received")])
    await check(hall, other_database_url)


async def test_killed_in_the_middle_it_goes_on(hall: Hall, other_database_url: str, tmp_path: Path) -> None:
    await hall.connection.execute(
        """CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(30); RETURN NEW; END';
           CREATE TRIGGER dawdle BEFORE UPDATE ON backfill FOR EACH ROW WHEN (OLD.partition = 4)
           EXECUTE FUNCTION dawdle()"""
    )
    process = subprocess.Popen(  # noqa: ASYNC220 (the test looks at the database meanwhile)
        **hall.command(tmp_path, "backfill", "longest"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        await _until(
            hall.connection,
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            " AND datname = current_database())",
        )
        process.send_signal(signal.SIGKILL)
        process.wait()
        await _until(
            hall.connection,
            "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'ioc repair'"
            " AND datname = current_database())",
        )
    finally:
        process.kill()
        process.communicate()
    await hall.connection.execute("DROP TRIGGER dawdle ON backfill")
    done = await hall.connection.fetch("SELECT next_offset >= stop_offset AS is_done FROM backfill")
    assert {row["is_done"] for row in done} == {True, False}
    # Corrections meet lanes that are filled and lanes that are not.
    await hall.send(some_events(300, 1, begin())[230:])
    await hall.count()
    with pytest.raises(OperatorError, match="`ioc backfill`"):
        await rebuild(hall.places, Wanted(kpi_ids=["longest"], from_s=time.time()), lambda _d, _t: None, time.time())
    command = hall.command(tmp_path, "backfill", "longest")
    run = await asyncio.create_subprocess_exec(*command.pop("args"), **command, stdout=asyncio.subprocess.PIPE)
    said, _ = await run.communicate()
    assert said.startswith(b"longest: complete from the beginning (")
    for kpi_id in NEW:
        await fill(hall, kpi_id)
    await check(hall, other_database_url)


async def test_what_had_closed_keeps_what_it_closed_with(kafka: str, database_url: str, topic_prefix: str) -> None:
    day = datetime.now(UTC).replace(hour=6, minute=0, second=0, microsecond=0) - timedelta(days=3)

    def closed(id_: str, at: datetime, took_s: int) -> bytes:
        data = {"category": "road", "agency": "A", "opened_at": (at - timedelta(seconds=took_s)).isoformat()}
        return raw(
            "ioc.feedback.closed.v1", id=id_, subject="1", area="0101", time=at.isoformat(), data=data, received_at=at
        )

    async def held(day: datetime) -> dict[str, tuple[Any, ...]]:
        """Of the province's day: count and maximum now, both as first reported, and whether it was corrected."""
        rows = await hall.connection.fetch(
            """SELECT kpi, sum(n), max(high), sum(CASE WHEN first_n IS NULL THEN n ELSE first_n END),
                      max(CASE WHEN first_n IS NULL THEN high ELSE first_high END), bool_or(corrected_at IS NOT NULL)
               FROM kpi_day WHERE area = '00' AND kpi = ANY('{handling,longest}') AND bucket <= $1
                   AND bucket > $1 - interval '1 day' GROUP BY kpi""",
            day,
        )
        return {kpi: tuple(some) for kpi, *some in rows}

    # The log's own clock closes nothing here, only what comes.
    slow = "\nclosing = { grace_s = 900, idle_s = 8640000 }"
    first, second = (dict(pack) | {"site.toml": PACK["site.toml"] + slow} for pack in (FIRST, PACK))
    async with opened(kafka, database_url, topic_prefix, first) as hall:
        await hall.send([closed("1", day, 900), closed("2", day, 60)])
        await hall.count()
        await hall.take_up(second)
        # One more is counted live, then the day closes; the day after it does not.
        later = day + timedelta(days=1)
        await hall.send([closed("3", day, 300), closed("4", later, 30)])
        await hall.count()
        alone = {"handling": (1, None, 1, None, False), "longest": (1, 300.0, 1, 300.0, False)}
        assert await held(day) == alone
        for kpi_id in alone:
            await fill(hall, kpi_id)
        assert await held(day) == {"handling": (3, None, 1, None, True), "longest": (3, 900.0, 1, 300.0, True)}
        assert not any(some[-1] for some in (await held(later)).values())


async def test_another_definition_is_counted_again_entirely(hall: Hall, other_database_url: str) -> None:
    changed = dict(PACK) | {"kpis.toml": PACK["kpis.toml"].replace('where = { channel = "phone" }', "")}
    await hall.take_up(changed)
    await hall.send(some_events(20, 5, begin()))
    await hall.count()
    with pytest.raises(OperatorError, match="`--again`"):
        await fill(hall, "received_by_phone")
    done = await rebuild(hall.places, Wanted(kpi_ids=["received_by_phone"]), lambda _d, _t: None, time.time())
    assert done.events
    # Corrections of what was counted by the first, the second and the third pack.
    await hall.send(some_events(300, 1, begin())[230:])
    await hall.count()
    assert not (await fill(hall, "received_by_phone")).offsets
    async with opened(hall.kafka, other_database_url, hall.prefix, changed) as right:
        await right.count()
        found, expected = await hall.values(), await right.values()
    assert {key: held for key, held in found.items() if key[1] == "received_by_phone"} == {
        key: held for key, held in expected.items() if key[1] == "received_by_phone"
    }


async def test_a_gap_is_filled_and_nothing_is_counted_twice(hall: Hall, other_database_url: str) -> None:
    # As after a half-saved catalogue: gone with one pack, and there again with the next.
    raws = some_events(60, 5, begin())
    kpis = {"received_by_phone", "received"}
    gone = dict(PACK) | {
        "kpis.toml": "[[kpi]]".join(
            part for part in FIRST["kpis.toml"].split("[[kpi]]") if not any(f'id = "{id_}"' in part for id_ in kpis)
        )
    }
    await hall.take_up(gone)
    await hall.send(raws[:40])
    await hall.count()
    await hall.take_up(PACK)
    await hall.send(raws[40:])
    await hall.count()
    for kpi_id in kpis:
        assert (await fill(hall, kpi_id)).offsets
        assert not (await fill(hall, kpi_id)).offsets
    # Corrections of what was counted before the gap, in it and after it.
    await hall.send([*some_events(300, 1, begin())[230:], *some_events(90, 5, begin())[60:]])
    await hall.count()
    async with opened(hall.kafka, other_database_url, hall.prefix, PACK) as right:
        await right.count()
        found, expected = await hall.values(), await right.values()
    assert {key: held for key, held in found.items() if key[1] in kpis} == {
        key: held for key, held in expected.items() if key[1] in kpis
    }


async def test_what_the_log_holds_no_more_is_named(hall: Hall) -> None:
    topic = hall.prefix + DETECTIONS.name
    admin = AIOKafkaAdminClient(bootstrap_servers=hall.kafka)
    await admin.start()
    try:
        ends = await hall._consumer.end_offsets([TopicPartition(topic, n) for n in range(DETECTIONS.partitions)])
        at = next(at for at, end in ends.items() if end > 2)
        await admin.delete_records({at: RecordsToDelete(before_offset=2)})
    finally:
        await admin.close()
    with pytest.raises(OperatorError, match="The log holds nothing before 20"):
        await fill(hall, "scores", datetime.now(UTC) - timedelta(days=9))
    with pytest.raises(OperatorError, match="kept for ever"):
        await fill(hall, "handling", datetime.now(UTC))
    done = await fill(hall, "scores")
    assert done.complete_from is not None
    assert datetime.now(UTC) - done.complete_from < timedelta(minutes=5)


def base(id_: str = "k", measure: Measure = Measure.COUNT) -> Base:
    """A base of this id."""
    return Base(id=id_, event="ioc.feedback.received.v1", measure=measure)


OTHER = base(measure=Measure.DISTINCT)
MEANINGS: dict[int, dict[str, Base]] = {1: {}, 2: {"k": base()}, 3: {"k": base()}, 4: {"k": OTHER}, 5: {}}


@pytest.mark.parametrize(
    ("spans", "filled", "expected"),
    [
        pytest.param([(2, 0)], None, (Standing.COMPLETE, 0), id="from the beginning"),
        pytest.param([(2, 0), (3, 9)], None, (Standing.COMPLETE, 0), id="in every version"),
        pytest.param([(1, 0), (2, 9)], None, (Standing.MISSING, 9), id="introduced"),
        pytest.param([(1, 0), (2, 5), (3, 9)], None, (Standing.MISSING, 5), id="introduced a version ago"),
        pytest.param([(1, 0), (2, 9)], Filled(base(), 4, 9), (Standing.UNFINISHED, 9), id="begun"),
        pytest.param([(1, 0), (2, 9)], Filled(base(), 9, 9), (Standing.COMPLETE, 9), id="filled"),
        pytest.param([(4, 0), (2, 9)], None, (Standing.CHANGED, 9), id="another meaning"),
        pytest.param([(2, 0), (1, 5), (3, 9)], None, (Standing.MISSING, 9, 5), id="was away in between"),
        pytest.param(
            [(2, 0), (3, 2), (1, 5), (5, 7), (3, 9)], None, (Standing.MISSING, 9, 5), id="away for two packs"
        ),
        pytest.param([(2, 0), (1, 5), (3, 9)], Filled(base(), 9, 9), (Standing.COMPLETE, 9), id="away, and filled"),
        pytest.param([(2, 0), (1, 5), (3, 9)], Filled(base(), 6, 9), (Standing.UNFINISHED, 9), id="away, and begun"),
        pytest.param([(2, 0), (1, 3), (3, 5), (1, 7), (2, 9)], None, (Standing.CHANGED, 9), id="away twice"),
        pytest.param([(1, 0), (2, 3), (1, 5), (2, 9)], None, (Standing.CHANGED, 9), id="introduced, and then away"),
        pytest.param([(4, 0), (1, 5), (2, 9)], None, (Standing.CHANGED, 9), id="away, and back otherwise"),
        pytest.param(
            [(2, 0), (1, 5), (3, 9)], Filled(base(), 4, 4), (Standing.CHANGED, 9), id="filled before it was away"
        ),
        pytest.param([(1, 0), (4, 5), (2, 9)], Filled(OTHER, 5, 5), (Standing.CHANGED, 9), id="filled as it was"),
        pytest.param([(4, 0), (2, 9)], Filled(base(), 12, 12), (Standing.COMPLETE, 12), id="all counted again"),
        pytest.param([(1, 0), (4, 3), (2, 9)], Filled(base(), 5, 5), (Standing.CHANGED, 9), id="changed and back"),
    ],
)
def test_where_an_indicator_stands(spans: list[Any], filled: Filled | None, expected: tuple[Standing, int]) -> None:
    assert stands(base(), [Span(*span) for span in spans], MEANINGS, filled) == Stands(*expected)


@pytest.mark.parametrize(
    ("switches", "present", "expected"),
    [
        pytest.param([], (2, 7), [(2, 0)], id="no switch is known"),
        pytest.param([(1, 3)], (1, 7), [(1, 0)], id="one version"),
        pytest.param([(1, 0), (2, 7)], (3, 7), [(1, 0), (3, 7)], id="one that has counted nothing"),
        pytest.param([(1, 0), (2, 5)], (3, 7), [(1, 0), (2, 5), (3, 7)], id="a version to come"),
    ],
)
def test_which_version_counted_what(switches: list[Any], present: Any, expected: list[Any]) -> None:
    found = spans_of([Span(*one) for one in switches], Span(*present))
    assert found == [Span(*one) for one in expected]


async def _until(connection: "asyncpg.Connection[asyncpg.Record]", query: str) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not await connection.fetchval(query):
        assert time.monotonic() < deadline_s, query
        await asyncio.sleep(0.02)
