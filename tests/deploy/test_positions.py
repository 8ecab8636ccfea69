"""After a restore, a new topic or lost records: does `ioc positions` say what is wrong, and do workers count on?"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from deploy.local.child import Child
from deploy.migrate import ensure_topics, migrate_schema
from deploy.positions import BEATING_S, GROUP, Fault, Lane, acceptance, explained, fault_of, read_lanes, run
from deploy.settings import PACKAGED_SITE, Settings
from deploy.site import load_site
from schemas import codec
from schemas.errors import OperatorError
from schemas.topics import CASES, DETECTIONS, INPUTS
from streams.agents import EXIT_HALTED, StreamsConfig

ROOT = Path(__file__).parents[2]
SITE = load_site(PACKAGED_SITE)
WAIT_S = 90.0
PARTITION = 3
OLD, NEW = UUID(int=1), UUID(int=2)
AT = datetime(2026, 3, 29, 5, 30, tzinfo=UTC)


def lane(**given: Any) -> Lane:
    """A lane that is well, but for what is given."""
    well: dict[str, Any] = {"next_offset": 50, "counted_id": OLD, "counted_at": AT, "topic_id": OLD}
    return Lane(group="g", topic="ioc.cases.v1", partition=0, **well | {"end": 80, "committed": 50} | given)


@pytest.mark.parametrize(
    ("seen", "fault", "remedy"),
    [
        pytest.param(lane(), None, "", id="well"),
        pytest.param(lane(committed=None), None, "", id="the group has read nothing"),
        pytest.param(lane(next_offset=80, begin=80, committed=80), None, "", id="all is counted and gone"),
        pytest.param(lane(next_offset=0, counted_id=None, committed=None), None, "", id="never counted"),
        pytest.param(lane(topic_id=None), Fault.MISSING, "ioc migrate", id="no topic"),
        pytest.param(lane(topic_id=NEW), Fault.REPLACED, "--accept ioc.cases.v1", id="another topic"),
        pytest.param(lane(end=49), Fault.TRUNCATED, "--accept ioc.cases.v1", id="cut"),
        pytest.param(lane(begin=51), Fault.LOST, "1 records are gone", id="retention"),
        pytest.param(lane(committed=51), Fault.AHEAD, "--reset", id="restored"),
        pytest.param(lane(begin=51, committed=60), Fault.LOST, "--accept", id="restored too late"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(seen: Lane, fault: Fault | None, remedy: str) -> None:
    assert fault_of(seen) is fault
    if fault is not None:
        assert remedy in explained(seen, fault)


@pytest.mark.parametrize(
    ("seen", "fault", "next_offset"),
    [
        pytest.param(lane(topic_id=NEW, begin=2, end=9), Fault.REPLACED, 2, id="a new topic from its start"),
        pytest.param(lane(begin=60), Fault.LOST, 60, id="lost records are passed over"),
        pytest.param(lane(end=40), Fault.TRUNCATED, 33, id="a cut log from what came after the last count"),
    ],
)
def test_where_an_accepted_lane_goes_on(seen: Lane, fault: Fault, next_offset: int) -> None:
    assert acceptance(seen, fault, since_counted=33).next_offset == next_offset


class World:
    """Topics, a database and a worker of one test."""

    def __init__(self, kafka: str, database_url: str, prefix: str, folder: Path) -> None:
        self.kafka = kafka
        self.topic = prefix + CASES.name
        self.prefix = prefix
        self.folder = folder
        self.environ = {
            "IOC_KAFKA": kafka,
            "IOC_DATABASE_URL": database_url,
            "IOC_TOPIC_PREFIX": prefix,
            "IOC_DATA": str(folder / "data"),
        }
        self.children: list[Child] = []
        self.connection: asyncpg.Connection[asyncpg.Record]
        self.producer: Any = None

    def start_worker(self) -> Child:
        """A worker as the supervisor starts one."""
        child = Child(
            "worker",
            [sys.executable, "-m", "tests.faults.worker_process"],
            environ={"PATH": os.defpath, "HOME": str(self.folder), "PYTHONPATH": str(ROOT), **self.environ},
            cwd=ROOT,
            log=self.folder / f"worker-{len(self.children)}.log",
        )
        self.children.append(child)
        return child

    async def send(self, *ids: int) -> None:
        """Reports with these ids, on one partition, in order."""
        for number in ids:
            attributes = {
                "specversion": "1.0",
                "id": str(number),
                "source": "s",
                "type": "ioc.feedback.received.v1",
                "time": "2026-03-01T08:00:00Z",
                "area": SITE.areas.root.code,
                "data": {"category": "road"},
            }
            value = codec.seal(msgspec.json.encode(attributes), AT, SITE.areas.list_id)
            await self.producer.send_and_wait(self.topic, value, partition=PARTITION)

    async def until_counted(self, count: int) -> None:
        """Waits until the event table holds so many."""

        async def counted() -> bool:
            return await self.connection.fetchval("SELECT count(*) FROM event") == count

        await self.until(counted, f"{count} events are counted")

    async def until_halted(self, worker: Child) -> str:
        """Waits until the worker has stopped rather than count wrongly, and returns what it said of itself."""

        async def ended() -> bool:
            return worker.exit_code() is not None

        await self.until(ended, "the worker halts")
        assert worker.exit_code() == EXIT_HALTED, worker.tail()
        return await self.connection.fetchval("SELECT detail FROM worker WHERE state = 'halted'")

    async def stop(self, worker: Child) -> None:
        """Kills a worker; for the database it is silent at once."""
        worker.kill()
        await self.connection.execute("UPDATE worker SET beat_at = beat_at - make_interval(secs => $1)", BEATING_S)

    async def positions(self, **asked: Any) -> bool:
        """`ioc positions` with these options."""
        wish: dict[str, Any] = {"reset": False, "accept": None, "yes": False, "new_epoch": False} | asked
        return await asyncio.to_thread(run, Settings.from_env(self.environ), **wish)

    async def lane(self) -> Lane:
        """The lane that this test sends to."""
        lanes = await read_lanes(self.kafka, self.connection, self.prefix)
        return next(one for one in lanes if (one.topic, one.partition) == (self.topic, PARTITION))

    async def until(self, condition: Any, what: str) -> None:
        try:
            async with asyncio.timeout(WAIT_S):
                while not await condition():  # noqa: ASYNC110  # another process
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"not in time: {what}; the worker said {self.children[-1].tail()[-8:]}") from None


@pytest.fixture
async def world(kafka: str, database_url: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[World]:
    """Topics and tables without anything in them; workers are killed at the end."""
    await migrate_schema(database_url)
    await ensure_topics(kafka, topic_prefix)
    made = World(kafka, database_url, topic_prefix, tmp_path)
    made.connection = await asyncpg.connect(database_url)
    made.producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    await made.producer.start()
    try:
        yield made
    finally:
        for child in made.children:
            child.kill()
        await made.producer.stop()
        made.connection.terminate()


def test_the_group_is_the_workers_own() -> None:
    assert {field.name: field.default for field in msgspec.structs.fields(StreamsConfig)}["group"] == GROUP


async def test_a_centre_that_is_well_is_shown_lane_by_lane(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    await world.send(*range(5))
    assert await world.positions()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + sum(topic.partitions for topic in INPUTS)
    [line] = [line for line in lines if f"{world.topic}/{PARTITION} " in line]
    assert line.split() == [
        GROUP,
        f"{world.topic}/{PARTITION}",
        *("0", "0", "5", "-", "5", "new", "ok"),
    ]


async def test_a_replaced_topic_is_counted_after_it_was_accepted(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = world.start_worker()
    await world.send(*range(20))
    await world.until_counted(20)
    await world.stop(worker)
    admin = AIOKafkaAdminClient(bootstrap_servers=world.kafka)
    await admin.start()
    try:
        await admin.delete_topics([world.topic])
        async with asyncio.timeout(WAIT_S):
            while world.topic in await admin.list_topics():  # noqa: ASYNC110  # Kafka
                await asyncio.sleep(0.1)
    finally:
        await admin.close()
    await ensure_topics(world.kafka, world.prefix)
    # Ten new events, and five that were counted already.
    await world.send(*range(100, 110), *range(5))
    said = await world.until_halted(world.start_worker())
    assert f"TopicReplaced: {world.topic}/" in said
    assert f"`ioc positions --accept {world.topic}`" in said

    assert not await world.positions()
    assert "replaced" in capsys.readouterr().out
    with pytest.raises(OperatorError, match=r"Nothing was changed\. Add --yes"):
        await world.positions(accept=CASES.name)
    told = capsys.readouterr().err
    assert f"{world.topic}/{PARTITION}: the 20 records counted of the topic before stay counted" in told
    assert "counted from 0: 15 records so far" in told
    assert "do not count twice" in told
    assert fault_of(await world.lane()) is Fault.REPLACED
    assert await world.positions(accept=world.topic, yes=True)
    assert fault_of(await world.lane()) is None

    world.start_worker()
    await world.until_counted(30)
    assert (await world.lane()).next_offset == 15


@pytest.mark.parametrize("by_hand", [True, False], ids=["by hand", "by itself"])
async def test_after_a_restore_the_tail_is_counted_again(
    world: World, capsys: pytest.CaptureFixture[str], by_hand: bool
) -> None:
    worker = world.start_worker()
    await world.send(*range(8))
    await world.until_counted(8)
    await world.send(*range(8, 20))
    await world.until_counted(20)

    async def acknowledged() -> bool:
        return (await world.lane()).committed == 20

    await world.until(acknowledged, "the group's offset follows")
    with pytest.raises(OperatorError, match=r"/0 runs\. Stop all workers"):
        await world.positions(reset=True)
    await world.stop(worker)
    # The database as a backup had it after the first eight.
    await world.connection.execute("DELETE FROM event WHERE id::integer >= 8")
    await world.connection.execute("UPDATE position SET next_offset = 8 WHERE next_offset = 20")
    await world.send(20)
    assert not await world.positions()
    assert "Stop the workers, then `ioc positions --reset`" in capsys.readouterr().out
    if by_hand:
        # A worker that has ended stays in the group for a while: that is waited for.
        assert await world.positions(reset=True, new_epoch=True)
        assert "13 records from 8 on are counted again" in capsys.readouterr().err
        assert (await world.lane()).committed == 8
    # A worker reads what lies between the two from the log, as long as that has it.
    world.start_worker()
    await world.until_counted(21)


async def test_the_broker_itself_refuses_while_a_worker_is_in_the_group(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = world.start_worker()
    await world.send(*range(3))
    await world.until_counted(3)
    monkeypatch.setattr("deploy.positions.BEATING_S", -60.0)  # as if the database did not know of it
    monkeypatch.setattr("deploy.positions.GROUP_EMPTY_WAIT_S", 1.0)
    await world.connection.execute("UPDATE position SET next_offset = 2 WHERE next_offset = 3")
    with pytest.raises(OperatorError, match=r"has members\. Stop all workers"):
        await world.positions(reset=True)
    assert worker.exit_code() is None


async def test_records_that_retention_took_are_passed_over_when_accepted(world: World) -> None:
    await world.send(*range(10))
    admin = AIOKafkaAdminClient(bootstrap_servers=world.kafka)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(world.topic, PARTITION): RecordsToDelete(before_offset=6)})
    finally:
        await admin.close()
    said = await world.until_halted(world.start_worker())
    assert "PositionGap" in said
    assert await world.positions(accept=CASES.name, yes=True)
    world.start_worker()
    await world.until_counted(4)


async def test_a_cut_log_goes_on_with_what_came_after_the_last_count(world: World) -> None:
    await world.send(*range(6))
    await asyncio.sleep(0.05)
    seen = await world.lane()
    assert seen.topic_id is not None
    await world.connection.execute(
        """INSERT INTO position (consumer_group, topic, partition, topic_id, next_offset)
        VALUES ($1, $2, $3, $4, 40)""",
        seen.group,
        seen.topic,
        seen.partition,
        seen.topic_id,
    )
    await asyncio.sleep(0.05)
    await world.send(6, 7)
    assert "LogTruncated" in await world.until_halted(world.start_worker())
    assert await world.positions(accept=CASES.name, yes=True)
    assert (await world.lane()).next_offset == 6
    world.start_worker()
    await world.until_counted(2)


async def test_a_new_epoch_is_never_one_that_was_there_and_shows_a_loaded_dump(world: World) -> None:
    foreign = "1000000000000"
    await world.connection.execute("INSERT INTO change (xid, touched) VALUES ($1::text::xid8, '{}')", foreign)
    await world.connection.execute(
        """INSERT INTO event (source, id, type, time, window_time, received_at, area, area_list, body, xid)
        VALUES ('s', '1', 't', now(), now(), now(), 'a', 'l', '{}', $1::text::xid8)""",
        foreign,
    )
    assert await world.positions(new_epoch=True)
    first = await world.connection.fetchval("SELECT epoch FROM feed")
    # The same backup once more.
    await world.connection.execute("UPDATE feed SET epoch = 1")
    await asyncio.sleep(1.1)
    assert await world.positions(new_epoch=True)
    assert await world.connection.fetchval("SELECT epoch FROM feed") > first > 1
    assert await world.connection.fetchval("SELECT count(*) FROM change") == 0
    shown = "SELECT count(*) FROM event WHERE xid < pg_snapshot_xmin(pg_current_snapshot())"
    assert await world.connection.fetchval(shown) == 1


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        pytest.param({"accept": "dead.v1"}, "No topic 'dead.v1' is counted", id="another topic"),
        pytest.param({"yes": True}, "--yes says yes to --accept", id="yes to nothing"),
    ],
)
async def test_a_mistaken_wish_changes_nothing(world: World, asked: dict[str, Any], reason: str) -> None:
    with pytest.raises(OperatorError, match=reason):
        await world.positions(**asked)
    assert await world.positions(accept=DETECTIONS.name, yes=True)
