"""Is what a rebuild puts in place what live counting would have, whatever comes, or ends it, meanwhile?"""

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from schemas import codec
from schemas.errors import OperatorError
from schemas.topics import DETECTIONS
from streams.repair.rebuild import Rebuilt, Wanted, rebuild
from streams.store.timescale import FENCE
from tests.repair.hall import Hall, opened
from tests.streams.world import PACK, raw, some_events

WAIT_S = 60.0

# A bucket stays open for half a day, so that of events of three days some come in time and some late.
SLOW = dict(PACK) | {"site.toml": PACK["site.toml"] + "\nclosing = { grace_s = 43200, idle_s = 8640000 }"}


UNCORRECTED = {"objects", "scores", "cameras", "response", "slowest", "fastest", "load"}
"""What detections and metrics feed."""


def begin() -> datetime:
    """Three days before events are sent, so that none is from the future."""
    return datetime.now(UTC) - timedelta(days=3, minutes=5)


@pytest.fixture
async def hall(kafka: str, database_url: str, topic_prefix: str) -> AsyncIterator[Hall]:
    """A centre that has counted events of all types, some twice."""
    async with opened(kafka, database_url, topic_prefix, SLOW) as hall:
        raws = some_events(300, 1, begin())
        in_order = sorted(raws[:150], key=lambda raw: codec.decode(raw).time)
        await hall.send([*in_order, *in_order[-20:]])
        await hall.count()
        await hall.send(raws[150:])
        await hall.count()
        yield hall


async def again(hall: Hall, days: float = 5, *kpi_ids: str) -> Rebuilt:
    """Counts the last days again."""
    wanted = Wanted(kpi_ids=kpi_ids, from_s=time.time() - days * 86_400)
    return await rebuild(hall.places, wanted, lambda _done, _total: None, time.time())


async def test_the_same_log_gives_the_same_values(hall: Hall) -> None:
    before = (await hall.values(), await hall.values(first=True), await hall.corrected())
    assert before[0] != before[1], "some were corrected after they closed"
    # Some rows were merged since, as those of closed buckets are.
    for tier in ("minute", "hour", "day"):
        await hall.connection.execute(f"UPDATE kpi_{tier} SET shard = -1 WHERE shard = 5")
    rebuilt = await again(hall)
    assert rebuilt.events > 150
    assert (await hall.values(), await hall.values(first=True), await hall.corrected()) == before
    # And what is corrected later is taken away once.
    await hall.send(some_events(100, 2, begin()))
    await hall.count()
    live = await hall.values()
    await again(hall)
    assert await hall.values() == live


async def test_what_was_reported_first_is_kept_where_a_rebuild_corrects(hall: Hall) -> None:
    right = await hall.values()
    reported = await hall.values(first=True)
    for tier in ("minute", "hour", "day"):
        await hall.connection.execute(f"UPDATE kpi_{tier} SET n = n + 5 WHERE kpi = 'received' AND first_n IS NULL")
    wrong = await hall.values(first=True)
    await again(hall)
    assert await hall.values() == right
    found = await hall.values(first=True)
    # Of what had closed the wrong value is what was reported; what is open has not been reported yet.
    kept = {key for key in found if found.get(key) == wrong.get(key) != reported.get(key)}
    assert kept
    assert all(key[1] == "received" for key in kept)
    assert {key: value for key, value in found.items() if key not in kept} == {
        key: value for key, value in reported.items() if key not in kept
    }


async def test_buckets_before_the_first_day_are_left_alone(hall: Hall) -> None:
    before = await hall.values()
    await hall.connection.execute("UPDATE kpi_hour SET n = n + 5 WHERE kpi = 'received' AND n > 0")
    await again(hall, 1, "received")
    root = hall.site.areas.root.id
    zone = hall.site.areas.zone(root)
    day = datetime.fromtimestamp(time.time() - 86_400, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    found = await hall.values()
    hours = {key: value for key, value in found.items() if key[:3] == ("hour", "received", root) and key in before}
    assert {key[3] < day.timestamp() for key in hours} == {True, False}
    for key, value in hours.items():
        assert (value == before[key]) == (key[3] >= day.timestamp())


async def test_events_keep_coming(hall: Hall, other_database_url: str) -> None:
    more = some_events(200, 3, begin())

    async def send() -> None:
        for first in range(0, len(more), 20):
            await hall.send(more[first : first + 20])
            await asyncio.sleep(0.03)

    async with hall.counting():
        sending = asyncio.create_task(send())
        while not sending.done():
            assert (await again(hall)).fence_s < 10
        await sending
    await hall.count()
    async with opened(hall.kafka, other_database_url, hall.prefix, SLOW) as right:
        await right.count()
        assert await hall.values() == await right.values()
        # What corrections found when they came is a matter of which lane was faster; elsewhere the log alone decides.
        firsts = [await one.values(first=True) for one in (hall, right)]
        kept, expected = ({key: held for key, held in one.items() if key[1] in UNCORRECTED} for one in firsts)
        assert kept == expected


async def test_killed_before_the_swap_nothing_has_changed(hall: Hall, tmp_path: Path) -> None:
    before = await hall.values()
    guard = await asyncpg.connect(hall.database_url)
    command = hall.command(tmp_path, "rebuild", "--from", begin().isoformat())
    process = subprocess.Popen(  # noqa: ASYNC220 (the test looks at the database meanwhile)
        **command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        await _until(guard, "SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'judged_kpi_day')")
        await guard.execute("SELECT pg_advisory_lock_shared($1)", FENCE)
        await _until(guard, "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")
        process.send_signal(signal.SIGKILL)
        process.wait()
        # The server notices by itself, although the statement still waits.
        await _until(guard, "SELECT NOT EXISTS (SELECT FROM pg_class WHERE relname = 'judged_kpi_day')")
    finally:
        process.kill()
        process.communicate()
        await guard.close()
    assert await hall.values() == before
    command = hall.command(tmp_path, "rebuild", "--from", begin().isoformat())
    run = await asyncio.create_subprocess_exec(*command.pop("args"), **command, stdout=asyncio.subprocess.PIPE)
    said, _ = await run.communicate()
    assert said.startswith(b"Rebuilt from the days of 20")
    assert await hall.values() == before


async def test_what_cannot_be_is_refused_and_named(hall: Hall) -> None:
    topic = hall.prefix + DETECTIONS.name
    admin = AIOKafkaAdminClient(bootstrap_servers=hall.kafka)
    await admin.start()
    try:
        ends = await hall._consumer.end_offsets([TopicPartition(topic, n) for n in range(DETECTIONS.partitions)])
        at = next(at for at, end in ends.items() if end > 2)
        await admin.delete_records({at: RecordsToDelete(before_offset=2)})
    finally:
        await admin.close()
    before = await hall.values()
    with pytest.raises(OperatorError, match="holds nothing before 20"):
        await again(hall)
    await again(hall, 5, "received", "satisfied", "agencies", "staff")
    assert await hall.values() == before
    with pytest.raises(OperatorError, match="Did you mean 'received'"):
        await again(hall, 5, "recieved")


WIDE = dict(PACK) | {"areas.csv": PACK["areas.csv"] + "\n,0103,01,commune,Xã Mới,New,"}
MOVED = dict(PACK) | {"areas.csv": PACK["areas.csv"].replace(",0102,01,commune", ",0102,02,commune")}


def report(id_: str, area: str, **more: str) -> bytes:
    """A citizen's report by phone, or what corrects one."""
    data = {"category": "road", "channel": "phone", "agency": "A"}
    at = datetime.now(UTC) - timedelta(hours=1)
    return raw("ioc.feedback.received.v1", id=id_, area=area, time=at.isoformat(), data=data, received_at=at, **more)


async def by_phone(hall: Hall) -> dict[str, int]:
    """What every area that still has something received by phone."""
    rows = await hall.connection.fetch("SELECT area, n FROM kpi_day WHERE kpi = 'received_by_phone'")
    found: dict[str, int] = {}
    for row in rows:
        found[row["area"]] = found.get(row["area"], 0) + row["n"]
    return {area: n for area, n in found.items() if n}


async def test_an_event_that_is_left_out_is_not_taken_away(kafka: str, database_url: str, topic_prefix: str) -> None:
    async with opened(kafka, database_url, topic_prefix, WIDE) as hall:
        await hall.send([report("1", "0103"), report("2", "0101")])
        await hall.count()
        assert (await by_phone(hall))["00"] == 2
        await hall.take_up(PACK)
        assert (await again(hall)).left_out == 1
        assert (await by_phone(hall))["00"] == 1
        await hall.send([report("3", "0101", withdraws="1")])
        await hall.count()
        assert (await by_phone(hall))["00"] == 1
        await hall.send([report("4", "0101", withdraws="2")])
        await hall.count()
        assert "00" not in await by_phone(hall)


async def test_one_indicator_alone_does_not_follow_a_mended_map(
    kafka: str, database_url: str, topic_prefix: str
) -> None:
    async with opened(kafka, database_url, topic_prefix, PACK) as hall:
        await hall.send([report("1", "0102"), report("2", "0102")])
        await hall.count()
        await hall.take_up(MOVED)
        with pytest.raises(OperatorError, match="Since events in 0102 were counted the map has changed"):
            await again(hall, 5, "received_by_phone")
        assert await by_phone(hall) == {"0102": 2, "01": 2, "00": 2}
        await again(hall)
        await again(hall, 5, "received_by_phone")
        await hall.send([report("3", "0102", withdraws="1")])
        await hall.count()
        assert await by_phone(hall) == {"0102": 1, "02": 1, "00": 1}


async def _until(connection: "asyncpg.Connection[asyncpg.Record]", query: str) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not await connection.fetchval(query):
        assert time.monotonic() < deadline_s, query
        await asyncio.sleep(0.02)
