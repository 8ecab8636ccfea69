"""Does what the centre itself causes come onto the log, once whoever writes and at least once whatever ends?"""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.migrate import ensure_topics
from schemas.topics import CASES
from streams.outbound.log_channel import ROWS_MAX, WAKE, LogChannel
from streams.store.outbox import LOG_CHANNEL, Outbox, enqueue
from tests.outbound.messages import Connection, message
from tests.outbound.running import running

ROOT = Path(__file__).parent.parent.parent
WAIT_S = 60.0
SLOW_LOOK_S = 3600.0


@pytest.fixture
async def topic(kafka: str, topic_prefix: str) -> str:
    """The topic of cases, of this test's own."""
    await ensure_topics(kafka, topic_prefix)
    return topic_prefix + CASES.name


async def put(connection: Connection, ids: Sequence[str], body: bytes = b"{}") -> None:
    """Has these wait for the log, each under a key of its own, and wakes whoever writes."""
    async with connection.transaction():
        for id_ in ids:
            target = f"{CASES.name}/case-{id_}"
            await enqueue(connection, message(id_, channel=LOG_CHANNEL, target=target, body=body or id_.encode()))
        await connection.execute(f"NOTIFY {WAKE}")


async def until_left(connection: Connection, left: int) -> None:
    """Waits until so many wait for the log."""
    async with asyncio.timeout(WAIT_S):
        while await connection.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL") != left:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def logged(kafka: str, topic: str) -> list[tuple[bytes, bytes]]:
    """Keys and values of all that is on the log."""
    consumer: Any = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        at = [TopicPartition(topic, number) for number in range(CASES.partitions)]
        consumer.assign(at)
        ends = await consumer.end_offsets(at)
        found: list[tuple[bytes, bytes]] = []
        async with asyncio.timeout(WAIT_S):
            while len(found) < sum(ends.values()):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += [(record.key, record.value) for record in records]
        return found
    finally:
        await consumer.stop()


async def test_what_waits_is_written_once_by_its_key_and_forgotten(
    connection: Connection, url: str, kafka: str, topic_prefix: str, topic: str
) -> None:
    ids = [f"e{number}" for number in range(2 * ROWS_MAX + 3)]
    await put(connection, ids, b"")
    first, second = (LogChannel(url, kafka, topic_prefix, idle_s=0.05) for _ in range(2))
    async with running(first, second):
        await until_left(connection, 0)
    found = await logged(kafka, topic)
    assert sorted(found) == sorted((f"case-{id_}".encode(), id_.encode()) for id_ in ids)
    assert await connection.fetchval("SELECT count(*) FROM outbox") == 0


async def test_who_puts_something_in_wakes_it(
    connection: Connection, url: str, kafka: str, topic_prefix: str, topic: str
) -> None:
    async with running(LogChannel(url, kafka, topic_prefix, idle_s=SLOW_LOOK_S)):
        await put(connection, ["first"])
        await until_left(connection, 0)
        await put(connection, ["second"])
        await until_left(connection, 0)
    assert sorted(key for key, _ in await logged(kafka, topic)) == [b"case-first", b"case-second"]


async def test_another_one_goes_on_when_the_writing_process_is_killed(
    connection: Connection, url: str, kafka: str, topic_prefix: str, topic: str
) -> None:
    command = [sys.executable, str(ROOT / "tests/outbound/log_process.py"), url, kafka, topic_prefix]
    await put(connection, ["before"])
    with subprocess.Popen(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}) as process:  # noqa: ASYNC220
        try:
            # It ends as soon as the broker has it, before that is noted.
            while process.poll() is None:  # noqa: ASYNC110 (it happens outside)
                await asyncio.sleep(0.02)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGKILL
    assert await connection.fetchval("SELECT count(*) FROM outbox") == 1
    async with running(LogChannel(url, kafka, topic_prefix, idle_s=0.05)):
        await until_left(connection, 0)
    assert [key for key, _ in await logged(kafka, topic)] == [b"case-before"] * 2


async def test_what_the_log_will_never_take_is_given_up_and_holds_nothing_up(
    connection: Connection, outbox: Outbox, url: str, kafka: str, topic_prefix: str, topic: str
) -> None:
    await put(connection, ["large"], b"x" * (3 * 1024 * 1024))
    await put(connection, ["small"])
    async with running(LogChannel(url, kafka, topic_prefix, idle_s=0.05)):
        await until_left(connection, 1)
    assert [key for key, _ in await logged(kafka, topic)] == [b"case-small"]
    (left,) = await outbox.unsent(10)
    assert (left.id, left.failed) == ("large", True)
    assert left.last_error


async def test_a_broker_that_is_away_loses_nothing_and_does_not_keep_it_from_stopping(
    connection: Connection, url: str
) -> None:
    await put(connection, ["kept"])
    started_s = time.monotonic()
    async with running(LogChannel(url, "127.0.0.1:1", "t.", idle_s=0.05)):
        await asyncio.sleep(0.5)
    assert time.monotonic() - started_s < WAIT_S
    assert await connection.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL") == 1


async def test_the_senders_of_messages_leave_it_alone(connection: Connection, outbox: Outbox) -> None:
    await put(connection, ["for-the-log"])
    assert await outbox.claim() is None
