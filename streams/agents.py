"""How do batches get from Faust's agents into the lanes?

The Faust app is built in a function, so a process holds one that belongs to its own event loop.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import faust
import uvloop
from faust.types import TP
from msgspec import Struct

from schemas.errors import BrokenInvariant, DependencyUnavailable, OperatorError, SiteError, TopicReplaced
from schemas.personal import KeyRing
from schemas.site import Pack, parse_site
from schemas.topics import DEAD, INPUTS, Topic
from streams import metrics
from streams.alerts.watch import watch_alerts
from streams.core.batch import Batch
from streams.health import Health, State, beat, serve
from streams.lane import Counting
from streams.lanes import Lanes
from streams.log import KafkaLog
from streams.maintenance.caretaker import look_after
from streams.store import sites
from streams.store.group import GroupCommit
from streams.store.timescale import TimescaleWriter
from streams.store.writer import Lane
from streams.topic_id import topic_ids
from streams.versions import RegisteredPack, Version, Versions, compiled

EXIT_HALTED = 70
"""The exit code of a worker that stopped rather than count wrongly."""

FETCH_BYTES_MAX = 2 * 1024 * 1024
"""A partition's share of one fetch, and so the size of a batch."""

BATCHES_QUEUED_MAX = 4
"""Batches that wait for an agent. At the bound Faust stops fetching the partition."""

SESSION_TIMEOUT_S = 10.0
"""After so long a silence a worker's partitions go to the others."""

POLL_INTERVAL_MAX_S = 24 * 60 * 60.0
"""A database that is away for hours must not cost the worker its place in the group."""

GC_ALLOCATIONS = 50_000
"""Allocations between two runs of the garbage collector; Python's own 700 cost a tenth of the throughput."""

TOPIC_CHECK_S = 5.0

KAFKA_CHECK_S = 1.0
"""Between two looks for Kafka and its topics before the start."""

STOP_GRACE_S = 5.0
"""A worker that has to end is gone after this, whatever it still waits for; what it has not committed comes again."""

_log = logging.getLogger("ioc.streams")


class StreamsConfig(Struct, frozen=True, kw_only=True):
    """What a worker needs to know. `kafka` is host:port, several with commas between.

    `current_pack` gives the site pack as it stands now, checked; a worker counts by the newest one that any of them
    has registered. A worker that is silent for longer than `session_timeout_s` loses its partitions to the others.
    `ring` opens what is personal.
    """

    kafka: str
    database_url: str
    current_pack: Callable[[], Pack]
    worker: str
    topic_prefix: str = "ioc."
    group: str = "ioc-streams"
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0
    session_timeout_s: float = SESSION_TIMEOUT_S
    ring: KeyRing | None = None


class Worker:
    """One process that counts."""

    def __init__(self, config: StreamsConfig) -> None:
        """Builds the app; nothing connects before `run`."""
        self.config = config
        self.health = Health(config.worker, datetime.now(UTC))
        self._topics = {config.topic_prefix + topic.name: topic for topic in INPUTS}
        self._pack = config.current_pack()
        self._versions = Versions(compiled(0, parse_site(self._pack)))
        self._writer = TimescaleWriter(config.database_url, config.group, self._versions, config.ring)
        self._commits = GroupCommit(self._writer)
        self._kafka = KafkaLog(config.kafka, config.topic_prefix + DEAD.name)
        self._lanes = Lanes(self._open_lane, self.halt)
        self._behind: dict[Lane, int] = {}
        self._background: list[asyncio.Task[None]] = []
        self._exiting: asyncio.Task[None] | None = None
        self._following = asyncio.Lock()
        self._unreadable = 0
        self.app = self._create_app()

    def run(self) -> None:
        """Counts until a signal comes. Does not return: Faust's worker ends the process."""
        if self.config.metrics_port:
            serve(self.health, self.config.metrics_host, self.config.metrics_port)
        # The consumer's thread makes a loop of its own, so the policy has to be set, not only this loop.
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        # A batch is tens of thousands of objects that all end with it: collecting among them finds nothing.
        gc.freeze()
        gc.set_threshold(GC_ALLOCATIONS, 20, 20)
        asyncio.run(self._wait_for_services())
        worker = _FaustWorker(
            self.app, quiet=True, loglevel="WARNING", redirect_stdouts=False, loop=asyncio.new_event_loop()
        )
        try:
            worker.execute_from_commandline()
        finally:
            if worker.asked_to_stop:
                # How Faust takes leave of a Kafka that is away says nothing about this worker.
                logging.shutdown()
                os._exit(0)

    async def _wait_for_services(self) -> None:
        """Returns when all topics are there and it is known what to count. Faust itself would end in a traceback."""
        said = ""
        while True:
            try:
                found = await topic_ids(self.config.kafka, list(self._topics))
                missing = [name for name in self._topics if name not in found]
                if not missing:
                    registered = await sites.begin(self.config.database_url, self._pack)
                    # Nearly always that is this worker's own pack, which is compiled already.
                    own = self._versions.newest._replace(number=registered.version)
                    self._versions.add(own if registered.pack == self._pack else _version(registered))
                    return
                why = f"topics are missing: {', '.join(missing)}; `ioc migrate` makes them"
            except DependencyUnavailable as error:
                why = str(error)
            if why != said:
                _log.warning("waiting to start: %s", why)
                said = why
            await asyncio.sleep(KAFKA_CHECK_S)

    def halt(self, error: BaseException) -> None:
        """Ends the process at once: nothing may be acknowledged after an error that was not foreseen."""
        reason = type(error).__name__ if isinstance(error, BrokenInvariant) else "UnexpectedError"
        metrics.HALTED.labels(reason).set(1)
        self.health.halt(f"{reason}: {error}")
        _log.critical("HALTED %s: %s", reason, error, exc_info=None if isinstance(error, BrokenInvariant) else error)
        self._exiting = asyncio.create_task(self._say_and_exit())

    async def _say_and_exit(self) -> None:
        try:
            async with asyncio.timeout(2):
                await self._writer.beat(
                    self.health.worker, self.health.state, self.health.detail, self.health.started_at
                )
        except (DependencyUnavailable, TimeoutError):
            _log.warning("the database could not be told of the halt")
        finally:
            logging.shutdown()
            sys.stderr.flush()
            os._exit(EXIT_HALTED)

    def _create_app(self) -> faust.App:
        app = _App(
            self.config.group,
            broker="iocbatch://" + self.config.kafka.replace(",", ";"),
            store="memory://",
            autodiscover=False,
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=FETCH_BYTES_MAX,
            stream_buffer_maxsize=BATCHES_QUEUED_MAX,
            stream_wait_empty=False,
            broker_session_timeout=self.config.session_timeout_s,
            broker_heartbeat_interval=self.config.session_timeout_s / 4,
            broker_max_poll_interval=POLL_INTERVAL_MAX_S,
        )
        for name, topic in self._topics.items():
            channel = app.topic(name, schema=_Whole(), acks=True)
            app.agent(channel, name=topic.name, concurrency=1)(self._submit)
        app.on_partitions_assigned.connect(self._on_assigned)
        app.on_before_shutdown.connect(self._on_shutdown)
        app.task(self._on_start)
        return app

    async def _submit(self, stream: faust.StreamT[Batch]) -> None:
        """The agent of every topic: hands batches on, and acknowledges what its lane has committed."""
        async for event in stream.noack().events():
            await self._lanes.submit(event.value, lambda message=event.message: self.app.consumer.ack(message))

    async def _on_start(self) -> None:
        self._background = [
            asyncio.create_task(beat(self.health, self._writer)),
            asyncio.create_task(self._watch()),
            asyncio.create_task(look_after(self._writer, self._versions, time.time)),
            asyncio.create_task(watch_alerts(self._writer, self._versions, time.time)),
        ]
        for task in self._background:
            task.add_done_callback(self._background_ended)

    def _background_ended(self, task: asyncio.Task[None]) -> None:
        """Without its beat or its watch a worker would count on while nobody hears that it is in trouble."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.halt(error)

    async def _on_assigned(self, _app: faust.App, assigned: set[TP], **_: object) -> None:
        self._lanes.assign(Lane(tp.topic, tp.partition) for tp in assigned)
        self.health.state = State.COUNTING

    async def _on_shutdown(self, _app: faust.App, **_: object) -> None:
        for task in self._background:
            task.cancel()
        await self._lanes.close()
        await self._writer.close()
        await self._kafka.close()

    def _open_lane(self, lane: Lane) -> Counting:
        topic: Topic = self._topics[lane.topic]
        return Counting(
            lane,
            dedupe=topic.dedupe,
            types=topic.types,
            versions=self._versions,
            writer=self._commits,
            log=self._kafka,
            wall_clock_s=time.time,
            follow_site=self._follow_site,
        )

    async def _watch(self) -> None:
        """Notices a topic that is made anew even while nothing comes in, and whether the broker answers at all."""
        known: dict[str, UUID] = {}
        while True:
            busy_s = self._lanes.busy_s()
            metrics.BUSY_S.set(busy_s)
            self.health.note_busy(busy_s)
            try:
                for name in self._topics:
                    topic_id = await self._kafka.topic_id(name)
                    if topic_id is not None and known.setdefault(name, topic_id) != topic_id:
                        self.halt(TopicReplaced(f"{name} was deleted and made anew while it was being counted."))
            except DependencyUnavailable:
                metrics.KAFKA_UP.set(0)
            else:
                metrics.KAFKA_UP.set(1)
            try:
                await self._follow_site()
                await self._look_at_idle()
            except DependencyUnavailable as error:
                _log.warning("looked in vain for a new site pack and for idle lanes: %s", error)
            await asyncio.sleep(TOPIC_CHECK_S)

    async def _follow_site(self) -> None:
        """Registers this worker's site pack when it has changed, and takes up the newest that anybody registered.

        While a newer release takes over, that may be one which this release cannot read. Lanes that have not taken it
        up are counted as before; one that has is not for this worker, which halts when it is given it.
        """
        async with self._following:
            # A whole country's map takes its time to read and to compile, and counting goes on meanwhile.
            pack = await asyncio.to_thread(self.config.current_pack)
            if pack != self._pack:
                try:
                    await self._writer.register_site(pack)
                except SiteError as error:
                    # What is in force stays so, and this is said once for each pack.
                    _log.error("the site pack is not taken up: %s", error)
                self._pack = pack
            newest = await self._writer.newest_site()
            if newest is None or newest.version <= max(self._versions.newest.number, self._unreadable):
                return
            try:
                self._versions.add(await asyncio.to_thread(_version, newest))
            except OperatorError as error:
                self._unreadable = newest.version
                metrics.SITE_UNREADABLE.set(1)
                _log.error("%s Version %d counts on here.", error, self._versions.newest.number)
            else:
                metrics.SITE_UNREADABLE.set(0)
                _log.info("site pack version %d counts from here on", newest.version)

    async def _look_at_idle(self) -> None:
        """Says of lanes that are idle that they are counted to their end: their silence need not be waited for.

        A lane that is idle twice in a row at one place, though the log goes on, was left behind: partitions that
        change hands before anything was acknowledged are read on from where they were read last. It is given what it
        lacks.
        """
        looked_at = datetime.now(UTC)
        standing = self._lanes.idle()
        ends = await self._kafka.ends(standing) if standing else {}
        behind = {lane: offset for lane, offset in standing.items() if offset < ends[lane]}
        left = {lane: offset for lane, offset in behind.items() if self._behind.get(lane) == offset}
        self._behind = behind
        for lane, offset in left.items():
            metrics.CAUGHT_UP.inc()
            _log.warning("%s/%d was left at %d: reading on from the log", *lane, offset)
            async for records in self._kafka.between(lane, offset, ends[lane]):
                if lane not in self._lanes:
                    break
                await self._lanes.submit(Batch(*lane, records, ends[lane]), lambda: None)
        caught_up = {lane: offset for lane, offset in standing.items() if ends[lane] == offset}
        if caught_up:
            await self._writer.note_caught_up(caught_up, looked_at)


def _version(registered: RegisteredPack) -> Version:
    try:
        return compiled(registered.version, parse_site(registered.pack))
    except SiteError as error:
        raise OperatorError(
            f"Site pack version {registered.version} in the database cannot be read by this release: {error}",
            "Upgrade ioc here, or run `ioc migrate` with a pack that all releases read.",
        ) from error


class _App(faust.App):
    """Keeps nothing on the disk: there are no tables."""

    def _create_directories(self) -> None:
        """Faust would leave empty folders where the process was started."""


class _FaustWorker(faust.Worker):
    """Ends within a bound. Faust's own stop waits for Kafka, also for one that is away."""

    asked_to_stop = False

    def _schedule_shutdown(self, signal: signal.Signals) -> None:
        self.asked_to_stop = True
        _end_after(STOP_GRACE_S, 0)
        super()._schedule_shutdown(signal)

    def on_worker_shutdown(self) -> None:
        # Reached also when Faust itself has failed, and then nobody has set the bound yet.
        if not self.asked_to_stop:
            _end_after(STOP_GRACE_S, 1)
        super().on_worker_shutdown()


def _end_after(grace_s: float, code: int) -> None:
    """Ends the process from a thread of its own, since the event loop may be what is stuck."""

    def end() -> None:
        _log.warning("not stopped within %.0f s: ending at once", grace_s)
        sys.stderr.flush()
        os._exit(code)

    timer = threading.Timer(grace_s, end)
    timer.daemon = True
    timer.start()


class _Whole(faust.Schema):
    """Passes a batch through: its records are decoded where they are counted."""

    def loads_key(self, app, message, *, loads=None, serializer=None):  # noqa: ANN001, ANN202
        return None

    def loads_value(self, app, message, *, loads=None, serializer=None):  # noqa: ANN001, ANN202
        return message.value
