"""What does a worker do when the log is not the one that it counted, or holds what nobody can read?"""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from deploy.local.child import Child
from deploy.local.kafka import LocalKafka
from schemas import codec
from schemas.topics import CASES, DETECTIONS
from streams.agents import EXIT_HALTED
from tests.faults.centre import HurtCentre, Services, ended, start, until
from tests.faults.test_worker import more_is_counted
from tests.faults.traffic import events, traffic


async def halted(centre: HurtCentre, worker: Child, reason: str) -> None:
    """Waits until a worker has stopped, and has said why: in its log, with its code and to the boards."""
    assert await ended(worker, centre) == EXIT_HALTED
    assert any(f"HALTED {reason}" in line for line in worker.log.read_text().splitlines())
    async with centre.connected() as connection:
        name = f"%/{worker.name.removeprefix('worker-')}"
        row = await connection.fetchrow("SELECT state, detail FROM worker WHERE id LIKE $1", name)
    assert row is not None
    assert row["state"] == "halted"
    assert row["detail"].startswith(f"{reason}: ")


async def counted_some(centre: HurtCentre) -> Child:
    """A worker that has counted everything there is."""
    worker = centre.start_worker(0)
    async with traffic(centre) as sending:
        await sending.send(10)
    await centre.settle()
    return worker


@pytest.mark.parametrize("filled", [pytest.param("empty", marks=pytest.mark.soak), "refilled beyond the position"])
async def test_a_topic_is_made_anew_under_a_running_worker(centre: HurtCentre, filled: str) -> None:
    worker = await counted_some(centre)
    name = centre.prefix + DETECTIONS.name
    await centre.recreate_topic(name)
    if filled != "empty":
        await refill(centre, chunks=30)
    await halted(centre, worker, "TopicReplaced")
    # Nothing of the new topic was counted for the old one.
    await centre.truth.check(centre.database_url)


@pytest.mark.parametrize(
    "chunks", [pytest.param(1, id="refilled below", marks=pytest.mark.soak), pytest.param(40, id="refilled beyond")]
)
async def test_a_topic_is_made_anew_while_no_worker_runs(centre: HurtCentre, chunks: int) -> None:
    worker = await counted_some(centre)
    worker.stop(10)
    await centre.recreate_topic(centre.prefix + DETECTIONS.name)
    await refill(centre, chunks)
    await halted(centre, centre.start_worker(0), "TopicReplaced")
    await centre.truth.check(centre.database_url)


async def refill(centre: HurtCentre, chunks: int) -> None:
    """Puts other detections on the topic, which are no part of the truth."""
    rng = random.Random(99)
    async with centre.producer() as producer:
        for chunk in range(chunks):
            raws = [raw for raw in events(200, f"new-{chunk}", rng) if b"camera.detection" in raw]
            await asyncio.gather(
                *[
                    await producer.send(centre.prefix + DETECTIONS.name, raw, key=codec.decode(raw).source.encode())
                    for raw in raws
                ]
            )


async def test_retention_takes_what_was_not_counted(centre: HurtCentre) -> None:
    worker = await counted_some(centre)
    worker.stop(10)
    async with traffic(centre, seed=2) as sending:
        await sending.send(10)
    ends = await centre.log_ends()
    partition = max(ends, key=lambda at: ends[at] if at.topic.endswith(CASES.name) else -1)
    admin = AIOKafkaAdminClient(bootstrap_servers=centre.kafka.address)
    await admin.start()
    try:
        await admin.delete_records({partition: RecordsToDelete(before_offset=ends[partition] - 1)})
    finally:
        await admin.close()
    await halted(centre, centre.start_worker(0), "PositionGap")


@pytest.fixture
async def own_kafka(hurt_services: Services, cache_dir: Path, tmp_path: Path) -> AsyncIterator[HurtCentre]:
    """A centre with a broker whose folder the test may replace."""
    hurt_services.heal()
    kafka = LocalKafka(tmp_path / "kafka", cache_dir)
    await start(kafka)
    centre = HurtCentre(Services(kafka, hurt_services.postgres), f"own{random.randrange(10**9)}", tmp_path)
    try:
        await centre.create()
        yield centre
    finally:
        centre.end()
        kafka.kill()


async def test_the_log_is_cut_by_a_broker_that_lost_its_disk(own_kafka: HurtCentre, tmp_path: Path) -> None:
    centre = own_kafka
    worker = await counted_some(centre)
    worker.stop(10)
    centre.kafka.stop()
    saved = tmp_path / "saved"
    await asyncio.to_thread(shutil.copytree, centre.kafka.data_dir, saved)
    await start(centre.kafka)
    worker = centre.start_worker(0)
    async with traffic(centre, seed=2) as sending:
        await sending.send(10)
    await centre.settle()
    worker.stop(10)
    centre.kafka.kill()
    await asyncio.to_thread(shutil.rmtree, centre.kafka.data_dir)
    await asyncio.to_thread(shutil.move, saved, centre.kafka.data_dir)
    await start(centre.kafka)
    await halted(centre, centre.start_worker(0), "LogTruncated")
    await centre.truth.check(centre.database_url)


async def test_what_cannot_be_read_is_buried_and_the_rest_counts(centre: HurtCentre) -> None:
    good = events(60, "good", random.Random(3))
    cases = [raw for raw in good if b"feedback" in raw]
    bad: list[tuple[bytes | None, str]] = [
        (b"\xff\xfe{", "invalid_utf8"),
        (b"", "malformed_json"),
        (None, "malformed_json"),
        (b"{}", "missing_field"),
        (cases[0].replace(b"subject-", b"\\u0000-"), "nul_character"),
        (cases[0].replace(b'"specversion":"1.0"', b'"specversion":"9"'), "invalid_field"),
        (msgspec.json.encode(msgspec.json.decode(cases[0]) | {"area": "XX-99", "id": "x"}), "unknown_area"),
        (
            cases[0].replace(b'"specversion"', b'"x":' + b"[" * 9_000 + b"]" * 9_000 + b',"specversion"'),
            "nested_too_deep",
        ),
    ]
    partition = TopicPartition(centre.prefix + CASES.name, 5)
    async with centre.producer() as producer:
        offsets: dict[int, tuple[bytes | None, str]] = {}
        for number, raw in enumerate(cases):
            await producer.send_and_wait(partition.topic, raw, partition=partition.partition)
            if number < len(bad):
                value, reason = bad[number]
                sent = await producer.send_and_wait(
                    partition.topic, value, key=b"key-%d" % number, partition=partition.partition
                )
                offsets[sent.offset] = (value, reason)
    centre.truth.accept(map(codec.decode, cases))
    centre.start_worker(0)
    await until(centre.caught_up, "everything on the log is passed", centre)
    await centre.truth.check(centre.database_url)
    letters = await centre.dead_letters()
    assert len(letters) == len(bad)
    for letter, (offset, (value, reason)) in zip(letters, sorted(offsets.items()), strict=True):
        assert letter.key == f"{partition.topic}/{partition.partition}/{offset}".encode()
        assert letter.value == value
        headers = dict(letter.headers)
        assert headers["reason"].decode() == reason
        assert headers["detail"]
        assert headers["key"].startswith(b"key-")


async def test_resends_across_restarts_count_once(centre: HurtCentre) -> None:
    """Cases are known for ever by the database; detections and metrics by the log's tail, read at every take-over."""
    async with traffic(centre) as sending:
        worker = centre.start_worker(0)
        await sending.send(5)
        await more_is_counted(centre, 0)
        # On the log while nobody counts, then while somebody does; after a stop, and after a crash.
        assert worker.stop(10)
        await sending.again()
        worker = centre.start_worker(0)
        await centre.settle()
        await sending.again()
        await centre.settle()
        worker.kill()
        await sending.send(5)
        await sending.again()
        centre.start_worker(1)
        await centre.settle()
    assert sending.resent > sending.sent
