"""What becomes of events when Kafka or the database dies, or is away for a while?"""

import asyncio
import os
import time

import pytest

from tests.faults.centre import HurtCentre, start, until
from tests.faults.test_worker import more_is_counted
from tests.faults.traffic import through_ingest, traffic

ACKNOWLEDGED_EVERY_S = 3.0
"""A worker tells Kafka its place every 2.8 s; what it had to tell it has told after two of these."""


async def away(centre: HurtCentre, seconds: float) -> None:
    """The database is killed and comes back; in between nothing is acknowledged."""
    centre.start_worker(0)
    centre.start_worker(1)
    async with traffic(centre) as sending, sending.flowing():
        await more_is_counted(centre, 0)
        centre.postgres.kill()
        begun_s = time.monotonic()
        await asyncio.sleep(2 * ACKNOWLEDGED_EVERY_S)
        acknowledged = await centre.acknowledged()
        sent = sending.sent
        # Partitions change hands while batches wait in full queues.
        centre.start_worker(2)
        await asyncio.sleep(max(0.0, begun_s + seconds - time.monotonic()))
        assert sending.sent > sent
        assert await centre.acknowledged() == acknowledged
        await start(centre.postgres)
        async with centre.connected() as connection:
            positions = {
                (row["topic"], row["partition"]): row["next_offset"]
                for row in await connection.fetch("SELECT * FROM position")
            }
        # What Kafka was told may never lead what the database holds.
        assert all(positions[tuple(at)] >= offset for at, offset in acknowledged.items())
    await centre.settle()
    # They went on by themselves.
    centre.check_runs(3)


async def test_the_database_is_away_for_12_s(centre: HurtCentre) -> None:
    await away(centre, 12)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seconds", [60, 300])
async def test_the_database_is_away_for_long(centre: HurtCentre, seconds: int) -> None:
    await away(centre, seconds)


async def kill_postgres(centre: HurtCentre, kills: int) -> None:
    """Kills the database server in the midst of transactions, and starts it at once."""
    centre.start_worker(0)
    centre.start_worker(1)
    async with traffic(centre) as sending, sending.flowing():
        counted = await more_is_counted(centre, 0)
        for _ in range(kills):
            counted = await more_is_counted(centre, counted)
            centre.postgres.kill()
            await start(centre.postgres)
            await centre.truth.check_first(centre.database_url)
    await centre.settle()
    centre.check_runs(2)


async def test_the_database_is_killed(centre: HurtCentre) -> None:
    await kill_postgres(centre, kills=3)


async def kill_kafka(centre: HurtCentre, kills: int) -> None:
    """Kills the broker in the midst of requests and fetches; senders go through the real gateway."""
    centre.start_worker(0)
    centre.start_worker(1)
    async with through_ingest(centre) as (sender, sending):
        async with sending.flowing():
            counted = await more_is_counted(centre, 0)
            for _ in range(kills):
                counted = await more_is_counted(centre, counted)
                refusals = sender.refusals
                centre.kafka.kill()

                async def refused(before: int = refusals) -> bool:
                    return sender.refusals > before

                await until(refused, "a sender is told to come again", centre)
                await start(centre.kafka)
            await more_is_counted(centre, counted)
        # A refused request may have reached the log in part, and counts once with its resend.
        await centre.settle()
        centre.check_runs(3)


async def test_kafka_is_killed(centre: HurtCentre) -> None:
    await kill_kafka(centre, kills=1)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_kafka_is_killed_again_and_again(centre: HurtCentre) -> None:
    await kill_kafka(centre, kills=8)


@pytest.mark.soak
async def test_everything_is_killed_at_once(centre: HurtCentre) -> None:
    workers = [centre.start_worker(0), centre.start_worker(1)]
    async with through_ingest(centre) as (_, sending):
        async with sending.flowing():
            counted = await more_is_counted(centre, 0)
            for worker in workers:
                worker.kill()
            centre.kafka.kill()
            centre.postgres.kill()
            centre.start_worker(0)
            centre.start_worker(1)
            await asyncio.gather(start(centre.kafka), start(centre.postgres))
            await more_is_counted(centre, counted)
        await centre.settle()
        centre.check_runs(3)


@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_whatever_is_killed_for_as_long_as_it_takes(centre: HurtCentre) -> None:
    """MINUTES of traffic, in which a worker, the broker or the database dies every few seconds."""
    minutes = float(os.environ.get("MINUTES", "60"))
    workers = [centre.start_worker(0), centre.start_worker(1)]
    # The naive count of all of it has to fit into memory.
    async with through_ingest(centre, pause_s=1.0) as (_, sending):
        async with sending.flowing():
            counted = await more_is_counted(centre, 0)
            over_s = time.monotonic() + minutes * 60
            turn = 0
            while time.monotonic() < over_s:
                match turn % 6:
                    case 2:
                        centre.kafka.kill()
                        await start(centre.kafka)
                    case 5:
                        centre.postgres.kill()
                        await start(centre.postgres)
                    case _:
                        workers[turn % 2].kill()
                        workers[turn % 2] = centre.start_worker(turn % 2)
                turn += 1
                counted = await more_is_counted(centre, counted)
                await centre.truth.check_first(centre.database_url)
        await centre.settle()
