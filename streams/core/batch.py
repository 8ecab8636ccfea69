"""What did one fetch bring of one partition, and what in it can be read?"""

from collections.abc import Collection, Container, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import msgspec
from msgspec import Struct

from schemas.admission import TIMED, check_event
from schemas.codec import SEALED_BYTES_MAX, check_time, decode, decode_plain, explain, is_plain
from schemas.errors import InvalidEvent, Reason
from schemas.event import EVENT_TYPES, AnyEvent, AreaId, Event, IndicatorObserved, type_of
from schemas.location import How, Locator
from schemas.period import period_start_s
from schemas.site import Site
from schemas.window import MINUTE_S

DAY_S = 24 * 60 * 60

CORRECTIONS_MAX = 30
"""Corrections that one part may hold. Each may make all kept events of a day be read again while nobody else may
count, whatever day that is; beyond it a part is cut, and between parts others count."""


DECISIONS_MAX = 500
"""Events of one part where they are decided about. A transaction that holds many cases for long would keep others
waiting, and hold the change feed back; beyond it a part is cut."""


class Record(Protocol):
    """A record as the Kafka client hands it over. `timestamp` is the log's, in milliseconds since the epoch."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class Batch:
    """Consecutive records of one partition.

    Frozen but for `committed`: only when the database holds what came of the records may they be acknowledged.
    """

    __slots__ = ("committed", "log_end", "partition", "records", "topic")

    def __init__(self, topic: str, partition: int, records: Sequence[Record], log_end: int) -> None:
        """Takes records in offset order, at least one; `log_end` is the offset after the last one on the log."""
        self.topic = topic
        self.partition = partition
        self.records = records
        self.log_end = log_end
        self.committed = False

    @property
    def first_offset(self) -> int:
        """The offset of the first record."""
        return self.records[0].offset

    @property
    def next_offset(self) -> int:
        """The offset after the last record."""
        return self.records[-1].offset + 1

    def from_offset(self, offset: int) -> Sequence[Record]:
        """The records at or beyond an offset."""
        if self.first_offset >= offset:
            return self.records
        return [record for record in self.records if record.offset >= offset]


class Arrival(Struct, frozen=True, gc=False):
    """An event as it stood on the log.

    `raw`          the bytes it came in
    `logged_ms`    the log's time of arrival, in milliseconds since the epoch
    `time_s`       the moment whose bucket it belongs to: its own time, or the start of the period that it is about
    `identity`     a 64-bit hash of source and id, the same within one process
    `offset`       where it stands on its partition
    `area`, `how`  where it happened, and how that is known
    `watermark_s`  the partition's watermark before it came: what closed a grace before that was closed
    """

    event: AnyEvent
    raw: bytes
    logged_ms: int
    time_s: float
    identity: int
    offset: int
    area: AreaId
    how: How
    watermark_s: float

    @property
    def received_at(self) -> datetime:
        """When the centre took it in. A record that did not come through `ingest` has only the log's time."""
        return self.event.received_at or datetime.fromtimestamp(self.logged_ms / 1000, UTC)

    @property
    def heard_s(self) -> float:
        """When its source said it, in seconds since the epoch."""
        return self.time_s if self.event.__class__ is not IndicatorObserved else self.event.time.timestamp()


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A record that cannot be counted, with where it stood and why."""

    topic: str
    partition: int
    offset: int
    reason: Reason
    detail: str
    key: bytes | None
    value: bytes | None


class Reading(NamedTuple):
    """What the records of a batch say: arrivals in log order, those that say nothing, the watermark after them."""

    arrivals: list[Arrival]
    dead: list[DeadLetter]
    watermark_s: float


class Reader:
    """Reads records by one version of the site pack. Stateless."""

    def __init__(self, site: Site) -> None:
        """Compiles what locates events."""
        self._areas = site.areas
        self._locate = Locator(site.areas)
        self._future_max_s = site.header.future_max_s
        self._idle_s = site.header.closing.idle_s

    def read(
        self,
        topic: str,
        partition: int,
        records: Sequence[Record],
        types: Container[type[Event]] = frozenset(EVENT_TYPES.values()),
        watermark_s: float = 0.0,
    ) -> Reading:
        """Decodes every record. One that cannot be read, is not of the topic's `types`, names an area that is not
        there, or claims to come from the future is dead; the rest count.

        The watermark is the largest event time so far, as far as the log's own clock had come; a partition that was
        silent for long is behind that clock by the idle time at most. So it is a function of the log, wherever a
        batch begins and ends.
        """
        arrivals: list[Arrival] = []
        dead: list[DeadLetter] = []
        locate, by_code, future_max_s = self._locate, self._locate.by_code, self._future_max_s
        minute_end_ms = 0
        # What looks at every byte is checked once for the batch; when that fails, every record gets its own check.
        plain = is_plain([record.value or b"" for record in records])
        for record in records:
            value = record.value or b""
            logged_ms = record.timestamp
            if logged_ms >= minute_end_ms:
                # By whole minutes, so that records of one minute meet one watermark.
                idle_end_s = (logged_ms // 1000 - self._idle_s) // MINUTE_S * MINUTE_S
                minute_end_ms = (idle_end_s + MINUTE_S + self._idle_s) * 1000
                watermark_s = max(watermark_s, float(idle_end_s))
            try:
                event = decode_plain(value) if plain else decode(value, SEALED_BYTES_MAX)
                check_time(event)
                cls = event.__class__
                if cls not in types:
                    detail = f"{type_of(event)} does not travel on {topic}"
                    raise InvalidEvent("type", Reason.WRONG_TOPIC, detail, "Send it on its own topic.")
                time_s = event.time.timestamp()
                logged_s = logged_ms / 1000
                if (
                    time_s > logged_s + future_max_s
                    or event.supersedes is not None
                    or event.withdraws is not None
                    or event.place is not None
                    or cls is IndicatorObserved
                    or cls in TIMED
                ):
                    check_event(event, logged_s, future_max_s)
                located = by_code.get((event.area_list, event.area)) or locate(event)  # pyright: ignore[reportArgumentType, reportCallIssue]
            except InvalidEvent as error:
                dead.append(_dead_letter(topic, partition, record, error))
                continue
            except (msgspec.DecodeError, RecursionError) as error:
                dead.append(_dead_letter(topic, partition, record, explain(error)))
                continue
            counted_s = time_s
            if cls is IndicatorObserved:
                assert isinstance(event, IndicatorObserved)
                counted_s = float(period_start_s(event.data.period, self._areas.zone(located.area)))
            arrivals.append(
                Arrival(
                    event,
                    value,
                    logged_ms,
                    counted_s,
                    hash((event.source, event.id)),
                    record.offset,
                    located.area,
                    located.how,
                    watermark_s,
                )
            )
            reached_s = time_s if time_s < logged_s else logged_s
            if reached_s > watermark_s:
                watermark_s = reached_s
        return Reading(arrivals, dead, watermark_s)


def parts(
    arrivals: Sequence[Arrival], days_max: int, apart: Collection[int] = (), corrections_max: int = CORRECTIONS_MAX
) -> Iterator[tuple[Sequence[Arrival], Arrival | None]]:
    """Cuts arrivals where they would touch more than `days_max` days or hold more than `corrections_max` corrections,
    and before those whose index is in `apart`.

    Each part comes with the next part's first arrival, None after the last; without arrivals there is one part
    without any.
    """
    begin = 0
    days: set[int] = set()
    corrections = 0
    for index, arrival in enumerate(arrivals):
        day = int(arrival.time_s // DAY_S)
        corrects = is_correction(arrival.event)
        is_full = (day not in days and len(days) == days_max) or (corrects and corrections == corrections_max)
        if index > begin and (is_full or index in apart):
            yield arrivals[begin:index], arrival
            begin, corrections = index, 0
            days.clear()
        days.add(day)
        corrections += corrects
    yield arrivals[begin:] if begin else arrivals, None


def closing_cuts(arrivals: Sequence[Arrival], grace_s: int) -> set[int]:
    """Before which arrivals a new part has to begin, so that what buckets held when they closed depends on the log
    alone and not on where batches end.

    A part is settled as a whole: what one of its events takes back from another was never there. So where there are
    corrections no bucket closes within a part; what came late has corrected a closed bucket, so what corrects that
    again is in another part; and since a report of a period closes its bucket, what may correct it or is for the same
    period and area is in another part. Watermarks follow the log's clock, so parts are few.
    """
    cuts: set[int] = set()
    corrects = any(is_correction(arrival.event) for arrival in arrivals)
    closed: float | None = None
    reported: set[tuple[str, AreaId, float]] = set()
    late: set[tuple[str, str | None]] = set()
    for index, arrival in enumerate(arrivals):
        event = arrival.event
        if corrects:
            # Buckets begin and end with whole minutes.
            now_closed = (arrival.watermark_s - grace_s) // MINUTE_S
            target = event.supersedes or event.withdraws
            if now_closed != closed or (target and not event.exercise and (event.source, target) in late):
                cuts.add(index)
                late.clear()
            closed = now_closed
            if arrival.time_s < now_closed * MINUTE_S and event.withdraws is None:
                # What replaces the same event as this one takes it back, too.
                late |= {(event.source, event.id), (event.source, event.supersedes)}
        report = None
        if isinstance(event, IndicatorObserved):
            report = (event.data.indicator, arrival.area, arrival.time_s)
        if report in reported or (reported and is_correction(event)):
            cuts.add(index)
            reported.clear()
        if report is not None:
            reported.add(report)
    return cuts


def decision_cuts(arrivals: Sequence[Arrival], decisions_max: int = DECISIONS_MAX) -> set[int]:
    """Before which arrivals a new part begins, so that no part holds more than `decisions_max` of those given."""
    return set(range(decisions_max, len(arrivals), decisions_max))


def is_correction(event: Event) -> bool:
    """Whether it replaces or takes back another. A drill does not."""
    return (event.supersedes is not None or event.withdraws is not None) and not event.exercise


def _dead_letter(topic: str, partition: int, record: Record, refusal: InvalidEvent) -> DeadLetter:
    return DeadLetter(
        topic=topic,
        partition=partition,
        offset=record.offset,
        reason=refusal.reason,
        detail=f"{refusal.field}: {refusal.detail}",
        key=record.key,
        value=record.value,
    )
