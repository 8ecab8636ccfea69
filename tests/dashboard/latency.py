"""How long after its commit is a change on a client's socket?

Four writers in a process of their own commit 100 transactions a second in all, and live clients note when they hear
of each. Run it as `python -m tests.dashboard.latency DATABASE_URL [clients] [transactions a second]`.
"""

import asyncio
import multiprocessing
import random
import statistics
import sys
import time
from datetime import datetime

import msgspec

from deploy.migrate import migrate_schema
from tests.dashboard.centre import Report, Running, Sample, dashboard, say, writer

SECONDS = 15
WORKERS = 4


async def _write(url: str, shard: int, rate_hz: float) -> None:
    async with writer(url, shard) as stream:
        number = 0
        due_s = time.monotonic() + random.random() / rate_hz
        while True:
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            due_s += 1 / rate_hz
            number += 1
            area = random.choice(["01", "02", "03"])
            samples = [
                Sample(kpi=kpi, area=area, time_s=int(time.time()), value=random.random())
                for kpi in ("feedback_received", "closed_in_time", "response_ms")
            ]
            await stream.commit(samples, [Report(id=f"{shard}-{time.time_ns()}-{number}", area=area)])


def _writers(url: str, rate_hz: float) -> None:
    async def run() -> None:
        await asyncio.gather(*(_write(url, shard, rate_hz / WORKERS) for shard in range(WORKERS)))

    asyncio.run(run())


async def _listen(running: Running, until_s: float, waits_s: list[float]) -> int:
    seen = 0
    async with running.live() as client:
        await say(client, op="subscribe", tier="minute", areas=["00", "01", "02", "03"], events=500)
        while time.monotonic() < until_s:
            message = msgspec.json.decode(await client.recv())
            now_s = time.time()
            if message["op"] != "change":
                continue
            commits = [msgspec.convert(event["committed_at"], datetime) for event in message["events"]]
            waits_s += [now_s - commit.timestamp() for commit in commits]
            seen += len(message["events"]) + message["events_skipped"]
    return seen


async def _clients(address: str, clients: int) -> None:
    waits_s: list[float] = []
    running = Running(address, None, None)  # type: ignore[arg-type]
    seen = await asyncio.gather(*(_listen(running, time.monotonic() + SECONDS, waits_s) for _ in range(clients)))
    cuts = statistics.quantiles(waits_s, n=100)
    print(
        f"{clients} clients, {max(seen) / SECONDS:.0f} events/s each: commit to client "
        f"p50 {cuts[49] * 1000:.1f} ms, p95 {cuts[94] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms"
    )


def _client_process(address: str, clients: int) -> None:
    asyncio.run(_clients(address, clients))


async def main(url: str, clients: int, rate_hz: float) -> None:
    """Prints one line."""
    await migrate_schema(url)
    writers = multiprocessing.get_context("spawn").Process(target=_writers, args=(url, rate_hz), daemon=True)
    writers.start()
    async with dashboard(url) as running:
        listeners = multiprocessing.get_context("spawn").Process(
            target=_client_process, args=(running.address, clients), daemon=True
        )
        await asyncio.sleep(2)
        before = time.process_time()
        listeners.start()
        await asyncio.to_thread(listeners.join)
        print(f"the server used {(time.process_time() - before) / SECONDS:.0%} of a core")
    writers.kill()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int((sys.argv[2:3] or ["5"])[0]), float((sys.argv[3:4] or ["100"])[0])))
