"""What becomes of events when workers are killed, frozen, added and stopped?"""

import asyncio
import signal
import time

import psutil
import pytest

from deploy.local.child import Child
from tests.faults.centre import HurtCentre, ended, freeze, thaw, until
from tests.faults.traffic import traffic

STOP_WITHIN_S = 10.0
"""What a supervisor grants, and no more."""


async def more_is_counted(centre: HurtCentre, than: int) -> int:
    """Waits until the positions have passed more records, and returns how many."""

    async def counted() -> int:
        now = await centre.counted()
        return now if now > than else 0

    return await until(counted, f"more than {than} records are counted", centre)


async def everybody_counts(centre: HurtCentre, workers: list[Child]) -> None:
    """Waits until each of the workers has partitions and has counted."""
    names = [f"%/{worker.name.removeprefix('worker-')}" for worker in workers]

    async def counting() -> bool:
        async with centre.connected() as connection:
            states = [await connection.fetchval("SELECT state FROM worker WHERE id LIKE $1", name) for name in names]
        return all(state == "counting" for state in states)

    await until(counting, "all workers are counting", centre)


async def kill_workers(centre: HurtCentre, kills: int) -> None:
    """Kills one of two workers in turn, each time in the midst of counting, and starts it again."""
    workers = [centre.start_worker(0), centre.start_worker(1)]
    async with traffic(centre) as sending, sending.flowing():
        counted = await more_is_counted(centre, 0)
        for kill in range(kills):
            counted = await more_is_counted(centre, counted)
            workers[kill % 2].kill()
            workers[kill % 2] = centre.start_worker(kill % 2)
            await centre.truth.check_first(centre.database_url)
    await centre.settle()
    assert sending.resent > 0
    assert centre.truth.first


async def test_workers_are_killed(centre: HurtCentre) -> None:
    await kill_workers(centre, kills=8)


async def test_a_third_worker_joins_and_leaves(centre: HurtCentre) -> None:
    workers = [centre.start_worker(0), centre.start_worker(1)]
    async with traffic(centre) as sending, sending.flowing():
        await more_is_counted(centre, 0)
        workers.append(centre.start_worker(2))
        await everybody_counts(centre, workers)
        counted = await more_is_counted(centre, await centre.counted())
        assert workers[2].stop(STOP_WITHIN_S)
        await more_is_counted(centre, counted)
    await centre.settle()
    assert all(worker.exit_code() is None for worker in workers[:2])


async def test_a_frozen_worker_comes_back_and_counts_nothing_twice(centre: HurtCentre) -> None:
    zombie = centre.start_worker(0)
    async with traffic(centre) as sending:
        await sending.send(20)
        await more_is_counted(centre, 0)
        other = centre.start_worker(1)
        await everybody_counts(centre, [zombie, other])
        async with sending.flowing():
            await freeze_in_transaction(centre, zombie)
            await asyncio.sleep(1)
        # Nothing new comes: the log's end is reached only when the other has all partitions.
        await centre.settle()
        thaw(zombie)
        await sending.send(20)
        await centre.settle()
        assert zombie.exit_code() is None
        other.kill()
        await sending.send(20)
        await centre.settle()


async def freeze_in_transaction(centre: HurtCentre, worker: Child) -> None:
    """Freezes a worker while it holds a position's row: what it began must not keep the others waiting for ever."""
    process = psutil.Process(worker.pid)
    async with centre.connected() as connection:
        for _ in range(400):
            freeze(worker)
            # What is under way in the server ends by itself; a transaction that waits for its client stays.
            await asyncio.sleep(0.05)
            open_ = await connection.fetchval(
                """SELECT count(*) FROM pg_stat_activity JOIN pg_locks USING (pid)
                   WHERE client_port = ANY($1::integer[]) AND state = 'idle in transaction'
                   AND relation = 'position'::regclass AND mode = 'RowExclusiveLock'""",
                [found.laddr.port for found in process.net_connections("tcp")],
            )
            if open_:
                return
            thaw(worker)
            await asyncio.sleep(0.01)
    raise AssertionError("the worker was never caught in a transaction")


@pytest.mark.parametrize(
    "away",
    [
        "nothing",
        "kafka",
        "postgres",
        pytest.param("both", marks=pytest.mark.soak),
        pytest.param("kafka frozen", marks=pytest.mark.soak),
        pytest.param("postgres frozen", marks=pytest.mark.soak),
    ],
)
async def test_a_worker_stops_in_time(centre: HurtCentre, away: str) -> None:
    worker = centre.start_worker(0)
    async with traffic(centre) as sending:
        await sending.send(10)
        await more_is_counted(centre, 0)
        match away:
            case "postgres":
                centre.postgres.kill()
            case "postgres frozen":
                centre.postgres.pause()
            case _:
                pass
        # Where the database is away, these wait in the lanes.
        await sending.send(10)
    match away:
        case "kafka":
            centre.kafka.kill()
        case "kafka frozen":
            centre.kafka.pause()
        case "both":
            centre.kafka.kill()
            centre.postgres.kill()
        case _:
            pass
    await asyncio.sleep(2)
    begun_s = time.monotonic()
    psutil.Process(worker.pid).send_signal(signal.SIGTERM)
    assert await ended(worker, centre, STOP_WITHIN_S) == 0, worker.tail()
    assert time.monotonic() - begun_s < STOP_WITHIN_S
    centre.services.heal()
    if away != "kafka":
        # What was under way is counted by the next.
        centre.start_worker(0)
        await centre.settle()


async def test_a_worker_that_waits_for_kafka_at_its_start_stops_in_time(centre: HurtCentre) -> None:
    centre.kafka.kill()
    worker = centre.start_worker(0)
    await asyncio.sleep(4)
    assert worker.exit_code() is None, worker.tail()
    psutil.Process(worker.pid).send_signal(signal.SIGTERM)
    # It has not begun anything, so it leaves the signal to the system.
    assert await ended(worker, centre, STOP_WITHIN_S) == -signal.SIGTERM
