"""How does one partition get counted, in order, exactly once, whatever goes away in between?"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Container, Sequence
from time import monotonic
from typing import TypeVar

from schemas.errors import (
    DependencyUnavailable,
    LogTruncated,
    PositionGap,
    Reason,
    TopicReplaced,
)
from schemas.event import Event
from schemas.topics import INPUTS, Dedupe
from streams import metrics
from streams.core.batch import Arrival, Batch, Reading, Record, closing_cuts, decision_cuts, parts
from streams.core.dedupe import GENERATION_MS, HORIZON_MS, IDS_MAX, SeenIds
from streams.log import Log
from streams.store.writer import Lane, LaneBatch, Outcome, Position, PositionMoved, Writer
from streams.versions import Version, Versions

DAYS_MAX = 30
"""Days that one batch may touch in a transaction. Each day is a chunk of its own, and a new chunk takes locks by the
dozen: events of thousands of days in one request would exhaust the server's. Beyond it the batch goes in parts."""

REMEMBERED_MAX = IDS_MAX // sum(topic.partitions for topic in INPUTS if topic.dedupe is Dedupe.HORIZON)
"""Ids that taking over one lane may remember, so that taking over all of them stays within the worker's bound."""

_OF_THE_MAP = frozenset({Reason.UNKNOWN_AREA, Reason.WRONG_AREA_LIST, Reason.UNKNOWN_PLACE})
"""Why a record cannot be counted that another version of the map may know."""

RETRY_FIRST_S = 0.1
RETRY_MAX_S = 5.0

_T = TypeVar("_T")
_log = logging.getLogger("ioc.streams")


class Counting:
    """The shell around one lane: it alone counts the lane's batches, one after the other.

    Everything that it remembers can be read again from the database and the log.
    """

    def __init__(
        self,
        lane: Lane,
        *,
        dedupe: Dedupe,
        types: Container[type[Event]],
        versions: Versions,
        writer: Writer,
        log: Log,
        wall_clock_s: Callable[[], float],
        follow_site: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Reads nothing yet; `prepare` or the first batch does.

        `follow_site` takes up the site pack as it stands now, where it may change.
        """
        self._lane = lane
        self._dedupe = dedupe
        self._types = types
        self._versions = versions
        self._writer = writer
        self._log = log
        self._wall_clock_s = wall_clock_s
        self._follow_site = follow_site
        self._position: Position | None = None
        self.seen = SeenIds()

    async def prepare(self) -> None:
        """Reads where the lane stands, and checks that the log is the one that was counted."""
        if self._position is None:
            await self._take_over()

    async def count(self, batch: Batch) -> None:
        """Returns when the batch is in the database; until then it is tried again, for as long as it takes.

        Raises BrokenInvariant when counting on would lose or double-count.
        """
        while True:
            try:
                await self._count(batch)
            except PositionMoved:
                metrics.POSITION_MOVED.inc()
                self._position = None
            else:
                return

    async def _count(self, batch: Batch) -> None:
        position = self._position or await self._take_over()
        if batch.first_offset < position.next_offset:
            # Delivered again after a rebalance or a restart, or the topic was made anew and begins at 0.
            await self._check_log(position)
        if batch.first_offset > position.next_offset:
            # Another worker may have had the lane in between, while this one was frozen.
            position = await self._take_over()
        if batch.first_offset > position.next_offset:
            await self._insist(lambda: self._catch_up(batch))
            position = self._position or await self._take_over()
        records = batch.from_offset(position.next_offset)
        metrics.SKIPPED.labels(self._lane.topic).inc(len(batch.records) - len(records))
        if not records:
            return
        version = self._versions.newest
        reading = self._read(version, records, position.watermark_s)
        if self._follow_site is not None and any(letter.reason in _OF_THE_MAP for letter in reading.dead):
            # When a map is redrawn, the door may know it before this worker does.
            await self._insist(self._follow_site)
            if self._versions.newest is not version:
                version = self._versions.newest
                reading = self._read(version, records, position.watermark_s)
        if reading.dead:
            await self._bury(reading)
        counted = 0
        # Only what is kept can be corrected, and is reported for periods.
        is_kept = self._dedupe is Dedupe.FOREVER
        apart = closing_cuts(reading.arrivals, version.site.header.closing.grace_s) if is_kept else set[int]()
        if is_kept and version.site.cases is not None:
            apart |= decision_cuts(reading.arrivals)
        for arrivals, following in parts(reading.arrivals, DAYS_MAX, apart):
            next_offset, watermark_s = (
                (batch.next_offset, reading.watermark_s)
                if following is None
                else (following.offset, following.watermark_s)
            )
            fresh = self.seen.fresh(arrivals) if self._dedupe is Dedupe.HORIZON else arrivals
            reached = Position(position.topic_id, next_offset, watermark_s, version.number)
            counted += (await self._commit(position, reached, fresh, version)).counted
            position = self._position = reached
            if self._dedupe is Dedupe.HORIZON:
                self.seen.remember(arrivals)
        self._observe(batch, len(records), len(reading.arrivals), counted)

    @property
    def standing(self) -> int | None:
        """The offset that the lane stands at; None while that is not known."""
        return self._position.next_offset if self._position else None

    async def _catch_up(self, batch: Batch) -> None:
        """Counts what lies between the position and a batch that begins beyond it.

        A partition that is handed over twice within moments may be read on from where it was read last, and not from
        what was counted. Raises PositionGap when the log does not have those records any more.
        """
        position = self._position or await self._take_over()
        async for records in self._log.between(self._lane, position.next_offset, batch.first_offset):
            if not self._position or records[0].offset != self._position.next_offset:
                break
            await self._count(Batch(batch.topic, batch.partition, records, batch.log_end))
        position = self._position or await self._take_over()
        if position.next_offset < batch.first_offset:
            raise PositionGap(
                f"{self._name}: reading begins at {batch.first_offset}, but only records below "
                f"{position.next_offset} are counted: {batch.first_offset - position.next_offset} are missing. "
                "`ioc positions` says whether the log still has them, and what to do."
            )
        metrics.CAUGHT_UP.inc()

    async def _take_over(self) -> Position:
        """Reads where the lane stands, and rebuilds what dedupe has to remember."""

        async def locate() -> Position:
            topic_id = await self._log.topic_id(self._lane.topic)
            if topic_id is None:
                raise DependencyUnavailable("kafka", f"topic {self._lane.topic} is not there")
            return await self._writer.position(self._lane, topic_id)

        position = await self._insist(locate)
        await self._check_log(position)
        # A worker that has not heard of a version yet must not count by an older one than the lane did.
        await self._insist(lambda: self._versions.get(position.site_version, self._writer.site))
        if self._dedupe is Dedupe.HORIZON:
            self.seen = await self._insist(lambda: self._remember_tail(position))
        self._position = position
        return position

    async def _check_log(self, position: Position) -> None:
        """Raises TopicReplaced or LogTruncated when the log is not the one that was counted."""
        topic_id = await self._insist(lambda: self._log.topic_id(self._lane.topic))
        if topic_id != position.topic_id:
            raise TopicReplaced(
                f"{self._name}: the topic was deleted and made anew (its id is {topic_id}, counted was "
                f"{position.topic_id}). To count the new one from its start: "
                f"`ioc positions --accept {self._lane.topic}`."
            )
        end = await self._insist(lambda: self._log.end(self._lane))
        if end < position.next_offset:
            raise LogTruncated(
                f"{self._name}: the log ends at {end}, but {position.next_offset} records are counted. "
                "Restore the broker's data, or go on with what the log holds: "
                f"`ioc positions --accept {self._lane.topic}`."
            )

    async def _remember_tail(self, position: Position) -> SeenIds:
        seen = SeenIds()
        async for records in self._log.tail(self._lane, position.next_offset, HORIZON_MS + GENERATION_MS):
            seen.remember(self._read(self._versions.newest, records, position.watermark_s).arrivals)
            while len(seen) > REMEMBERED_MAX:
                metrics.FORGOTTEN.inc(seen.forget_oldest())
        return seen

    def _read(self, version: Version, records: Sequence[Record], watermark_s: float) -> Reading:
        return version.reader.read(self._lane.topic, self._lane.partition, records, self._types, watermark_s)

    async def _bury(self, reading: Reading) -> None:
        """Writes dead letters before the commit: a crash in between writes one twice, under the same key."""
        await self._insist(lambda: self._log.bury(reading.dead))
        for letter in reading.dead:
            metrics.DEAD.labels(letter.topic, letter.reason).inc()
            _log.warning("dead letter %s@%d: %s: %s", self._name, letter.offset, letter.reason, letter.detail)

    async def _commit(
        self, expected: Position, reached: Position, arrivals: Sequence[Arrival], version: Version
    ) -> Outcome:
        started_s = monotonic()
        batch = LaneBatch(
            lane=self._lane,
            expected=expected,
            reached=reached,
            arrivals=arrivals,
            version=version,
            unique=self._dedupe is Dedupe.FOREVER,
        )
        outcome = await self._insist(lambda: self._writer.commit(batch))
        metrics.COMMIT_S.observe(monotonic() - started_s)
        metrics.DATABASE_UP.set(1)
        return outcome

    async def _insist(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Tries until it works. A dependency that is away costs time, never an event.

        An attempt to commit whose answer was lost may have committed; the next attempt then finds the position moved.
        """
        delay_s = RETRY_FIRST_S
        while True:
            try:
                result = await attempt()
            except DependencyUnavailable as error:
                metrics.RETRIES.labels(error.dependency).inc()
                if error.dependency == "database":
                    metrics.DATABASE_UP.set(0)
                _log.warning("%s: %s; trying again in %.1f s", self._name, error, delay_s)
                # Jitter, so that lanes do not all come back in the same instant.
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311
                delay_s = min(delay_s * 2, RETRY_MAX_S)
            else:
                return result

    def _observe(self, batch: Batch, records: int, arrivals: int, counted: int) -> None:
        topic, partition = self._lane.topic, str(self._lane.partition)
        age_s = max(0.0, self._wall_clock_s() - batch.records[-1].timestamp / 1000)
        metrics.RECORDS.labels(topic).inc(records)
        metrics.COUNTED.labels(topic).inc(counted)
        metrics.DUPLICATES.labels(topic).inc(arrivals - counted)
        metrics.BATCH.labels(topic).observe(records)
        metrics.EVENT_TO_COMMIT_S.labels(topic).observe(age_s)
        metrics.LAG_S.labels(topic, partition).set(age_s)
        metrics.LAG_RECORDS.labels(topic, partition).set(max(0, batch.log_end - batch.next_offset))

    @property
    def _name(self) -> str:
        return f"{self._lane.topic}/{self._lane.partition}"
