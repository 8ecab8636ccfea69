"""One process of a fold benchmark: which counter, from which topic, until how many events?

    python -m tests.benchmarks.counters raw|stock|stock_catalogue|quix KAFKA TOPIC_PREFIX EVENTS
    python -m tests.benchmarks.counters ours KAFKA TOPIC_PREFIX DATABASE_URL GROUP WORKER WORKLOAD
    python -m tests.benchmarks.counters dedupe IDS

The rivals print one line of JSON: events, seconds from the first event to the last, peak RSS in bytes.
"""

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from schemas.codec import decode
from schemas.event import type_of
from schemas.filter import compile_filter
from schemas.kpi import Base, Measure
from schemas.sketch import bin_of
from schemas.topics import CASES, DETECTIONS, METRICS
from schemas.window import MINUTE_S, day_start, hour_start
from tests.benchmarks.workload import PARTITIONS, START_S, pack, site

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


async def raw(bootstrap: str, prefix: str, meter: Meter) -> None:
    """A bare aiokafka loop: getmany, decode, fold into a dict. No database, no commits."""
    from aiokafka import AIOKafkaConsumer, TopicPartition

    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, max_partition_fetch_bytes=4 * 1024 * 1024, fetch_max_wait_ms=20
    )
    await consumer.start()
    partitions = [TopicPartition(prefix + DETECTIONS.name, number) for number in range(PARTITIONS)]
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    totals: Totals = {}
    while True:
        for records in (await consumer.getmany(timeout_ms=1000)).values():
            for record in records:
                add(totals, record.value)
            if meter.add(len(records)):
                meter.report()


def stock(bootstrap: str, prefix: str, meter: Meter) -> None:
    """An ordinary Faust agent that takes one event at a time. No database."""
    totals: Totals = {}
    _stock(bootstrap, [prefix + DETECTIONS.name], meter, lambda value: add(totals, value))


def stock_catalogue(bootstrap: str, prefix: str, meter: Meter) -> None:
    """The same with the whole catalogue: every indicator, for four levels of areas, by minute, hour and day."""
    counted = _Catalogue()
    _stock(bootstrap, [prefix + topic.name for topic in (DETECTIONS, METRICS, CASES)], meter, counted.add)


def _stock(bootstrap: str, topics: list[str], meter: Meter, handle: Callable[[bytes], None]) -> None:
    import faust

    app = faust.App(
        f"stock-{topics[0]}-{len(topics)}",
        broker=f"kafka://{bootstrap}",
        store="memory://",
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 * 1024 * 1024,
        datadir=tempfile.mkdtemp(),
    )

    async def count(stream: Any) -> None:
        async for value in stream:
            handle(value)
            if meter.add(1):
                meter.report()

    for topic in topics:
        app.agent(app.topic(topic, value_type=bytes, value_serializer="raw"), name=topic)(count)
    faust.Worker(app, loglevel="ERROR", redirect_stdouts=False).execute_from_commandline()


class _Catalogue:
    """The reference catalogue as an ordinary handler counts it: event by event, into dictionaries."""

    def __init__(self) -> None:
        self._site = site("reference")
        self._cells: dict[tuple[str, str, str, int], list[Any]] = {}
        self._bases = {
            base.event: [(one, compile_filter(one.where)) for one in self._site.kpis.fed_by(base.event)]
            for base in self._site.kpis.bases
        }

    def add(self, value: bytes) -> None:
        """Counts one event."""
        event = decode(value)
        areas, moment_s = self._site.areas, event.time.timestamp()
        minute_s = int(moment_s // MINUTE_S) * MINUTE_S
        for base, accepted in self._bases.get(type_of(event), ()):
            if not accepted.accepts([getattr(event.data, name) for name in accepted.fields]):
                continue
            measured = _measured(base, event)
            if measured is None:
                continue
            dim = "\x1f".join(str(getattr(event.data, name)) for name in base.dimensions)
            for area in areas.path(event.area):  # pyright: ignore[reportArgumentType]
                zone = areas.zone(area)
                for start_s in (minute_s, hour_start(minute_s, zone), day_start(minute_s, zone)):
                    cell = self._cells.setdefault((base.id, area, dim, start_s), [0, 0.0, {}])
                    cell[0] += 1
                    if base.measure in (Measure.DISTINCT, Measure.PERCENTILE):
                        cell[2][measured] = cell[2].get(measured, 0) + 1
                    else:
                        cell[1] += measured


def _measured(base: Base, event: Any) -> Any:
    data = event.data
    if base.measure is Measure.COUNT:
        return 0
    if base.measure is Measure.DISTINCT:
        return getattr(data, base.of or "")
    if base.due is not None:
        due = getattr(data, base.due)
        return None if due is None else event.time <= due
    if base.since is not None:
        since = getattr(data, base.since)
        value = None if since is None else (event.time - since).total_seconds()
    else:
        value = getattr(data, base.value or "")
    return bin_of(value) if base.measure is Measure.PERCENTILE and value is not None else value


def quix(bootstrap: str, prefix: str, meter: Meter) -> None:
    """Quix Streams: a one-minute tumbling count by key."""
    from quixstreams import Application
    from quixstreams.models import Deserializer

    class Decoded(Deserializer):
        def __call__(self, value: bytes, ctx: Any) -> Any:
            return decode(value)

    app = Application(
        broker_address=bootstrap,
        consumer_group=f"quix-{prefix}",
        auto_offset_reset="earliest",
        state_dir=tempfile.mkdtemp(),
        loglevel="ERROR",
    )
    source = app.topic(
        prefix + DETECTIONS.name,
        value_deserializer=Decoded(),
        timestamp_extractor=lambda value, *_: int(value.time.timestamp() * 1000),
    )

    def done(_: Any) -> None:
        if meter.add(1):
            meter.report()

    app.dataframe(source).tumbling_window(60_000).count().current().update(done)
    app.run()


def ours(bootstrap: str, prefix: str, database_url: str, group: str, worker: str, workload: str) -> None:
    """The centre's own worker, as `ioc run streams` runs it, on the benchmark's site."""
    from deploy.worker import run_worker
    from streams.agents import StreamsConfig

    run_worker(
        StreamsConfig(
            kafka=bootstrap,
            database_url=database_url,
            current_pack=lambda: pack(workload),
            worker=worker,
            topic_prefix=prefix,
            group=group,
        )
    )


def dedupe(ids: int) -> None:
    """Remembers ids as a lane does, over the horizon, and prints what that costs."""
    from streams.core.dedupe import HORIZON_MS, SeenIds

    before = _rss_bytes()
    lanes = [SeenIds() for _ in range(PARTITIONS)]
    step = 10_000
    for start in range(0, ids, step):
        logged_ms = START_S * 1000 + start * HORIZON_MS // ids
        lanes[start // step % PARTITIONS].remember(
            [_Remembered(hash(("//cameras/1", f"{number:012}")), logged_ms) for number in range(start, start + step)]  # pyright: ignore[reportArgumentType]
        )
    assert sum(map(len, lanes)) == ids
    print(json.dumps({"rss": _rss_bytes() - before}), flush=True)


class _Remembered(NamedTuple):
    """As much of an arrival as dedupe looks at."""

    identity: int
    logged_ms: int


def _rss_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main(argv: list[str]) -> None:
    """Runs the counter that the first argument names."""
    kind, *rest = argv
    if kind == "dedupe":
        dedupe(int(rest[0]))
        return
    if kind == "ours":
        ours(*rest)
        return
    bootstrap, prefix, events = rest
    meter = Meter(int(events))
    if kind == "raw":
        uvloop.run(raw(bootstrap, prefix, meter))
        return
    rivals: dict[str, Callable[[str, str, Meter], None]] = {
        "stock": stock,
        "stock_catalogue": stock_catalogue,
        "quix": quix,
    }
    rivals[kind](bootstrap, prefix, meter)


if __name__ == "__main__":
    main(sys.argv[1:])
