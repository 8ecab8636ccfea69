"""One process of a fold benchmark: which counter, from which topic, until how many events?

    python -m tests.benchmarks.counters raw|stock|quix KAFKA TOPIC EVENTS
    python -m tests.benchmarks.counters ours KAFKA TOPIC_PREFIX DATABASE_URL GROUP WORKER

The rivals print one line of JSON: events, seconds from the first event to the last, peak RSS in bytes.
"""

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import uvloop

from schemas.codec import decode
from schemas.window import MINUTE_S
from tests.benchmarks.workload import PARTITIONS, site

Totals = dict[tuple[str, str, int], list[float]]


def add(totals: Totals, value: bytes) -> None:
    """The same fold for every rival: count and sum by area, kind and minute, the city included."""
    event = decode(value)
    minute_s = int(event.time.timestamp() // MINUTE_S) * MINUTE_S
    kind, count = event.data.kind, event.data.count  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
    cell = totals.setdefault((event.area, kind, minute_s), [0, 0])
    cell[0] += 1
    cell[1] += count


class Meter:
    """Counts events and reports when the last has come."""

    def __init__(self, events: int) -> None:
        self.events = events
        self.seen = 0
        self.first = 0
        self.started_s = 0.0

    def add(self, n: int) -> bool:
        """Notes n more events; true at the last. The clock starts when the first have been folded."""
        self.seen += n
        if not self.started_s:
            self.started_s, self.first = time.perf_counter(), self.seen
        return self.seen >= self.events

    def report(self) -> None:
        """Prints the figures and ends the process: some of these libraries take their time to stop."""
        seconds = time.perf_counter() - self.started_s
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"events": self.seen - self.first, "seconds": seconds, "rss": peak}), flush=True)
        os._exit(0)


async def raw(bootstrap: str, topic: str, meter: Meter) -> None:
    """A bare aiokafka loop: getmany, decode, fold into a dict. No database, no commits."""
    from aiokafka import AIOKafkaConsumer, TopicPartition

    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, max_partition_fetch_bytes=4 * 1024 * 1024, fetch_max_wait_ms=20
    )
    await consumer.start()
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    totals: Totals = {}
    while True:
        for records in (await consumer.getmany(timeout_ms=1000)).values():
            for record in records:
                add(totals, record.value)
            if meter.add(len(records)):
                meter.report()


def stock(bootstrap: str, topic: str, meter: Meter) -> None:
    """An ordinary Faust agent that takes one event at a time. No database."""
    import faust

    app = faust.App(
        f"stock-{topic}",
        broker=f"kafka://{bootstrap}",
        store="memory://",
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 * 1024 * 1024,
        datadir=tempfile.mkdtemp(),
    )
    totals: Totals = {}

    @app.agent(app.topic(topic, value_type=bytes, value_serializer="raw"))
    async def count(stream: Any) -> None:
        async for value in stream:
            add(totals, value)
            if meter.add(1):
                meter.report()

    faust.Worker(app, loglevel="ERROR", redirect_stdouts=False).execute_from_commandline()


def quix(bootstrap: str, topic: str, meter: Meter) -> None:
    """Quix Streams: a one-minute tumbling count by key."""
    from quixstreams import Application
    from quixstreams.models import Deserializer

    class Decoded(Deserializer):
        def __call__(self, value: bytes, ctx: Any) -> Any:
            return decode(value)

    app = Application(
        broker_address=bootstrap,
        consumer_group=f"quix-{topic}",
        auto_offset_reset="earliest",
        state_dir=tempfile.mkdtemp(),
        loglevel="ERROR",
    )
    source = app.topic(
        topic,
        value_deserializer=Decoded(),
        timestamp_extractor=lambda value, *_: int(value.time.timestamp() * 1000),
    )

    def done(_: Any) -> None:
        if meter.add(1):
            meter.report()

    app.dataframe(source).tumbling_window(60_000).count().current().update(done)
    app.run()


def ours(bootstrap: str, prefix: str, database_url: str, group: str, worker: str) -> None:
    """The centre's own worker, as `ioc run streams` runs it, on the benchmark's site."""
    from deploy.worker import run_worker
    from streams.agents import StreamsConfig

    run_worker(
        StreamsConfig(
            kafka=bootstrap, database_url=database_url, site=site(), worker=worker, topic_prefix=prefix, group=group
        )
    )


def main(argv: list[str]) -> None:
    """Runs the counter that the first argument names."""
    kind, *rest = argv
    if kind == "ours":
        ours(*rest)
        return
    bootstrap, topic, events = rest
    meter = Meter(int(events))
    if kind == "raw":
        uvloop.run(raw(bootstrap, topic, meter))
        return
    rivals: dict[str, Callable[[str, str, Meter], None]] = {"stock": stock, "quix": quix}
    rivals[kind](bootstrap, topic, meter)


if __name__ == "__main__":
    main(sys.argv[1:])
