"""What did one fetch bring of one partition, and what in it can be read?"""

from collections.abc import Container, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import msgspec
from msgspec import Struct

from schemas.area import AreaTree
from schemas.codec import SEALED_BYTES_MAX, check_time, decode, decode_plain, explain, is_plain
from schemas.errors import InvalidEvent, Reason
from schemas.event import EVENT_TYPES, AnyEvent, Event, type_of

DAY_S = 24 * 60 * 60


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

    `raw`        the bytes it came in
    `logged_ms`  the log's time of arrival, in milliseconds since the epoch
    `time_s`     the event's own time, in seconds since the epoch
    `identity`   a 64-bit hash of source and id, the same within one process
    `offset`     where it stands on its partition
    """

    event: AnyEvent
    raw: bytes
    logged_ms: int
    time_s: float
    identity: int
    offset: int

    @property
    def received_at(self) -> datetime:
        """When the centre took it in. A record that did not come through `ingest` has only the log's time."""
        return self.event.received_at or datetime.fromtimestamp(self.logged_ms / 1000, UTC)


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
    """What the records of a batch say: arrivals in log order, and those that say nothing."""

    arrivals: list[Arrival]
    dead: list[DeadLetter]


def read(
    topic: str,
    partition: int,
    records: Sequence[Record],
    areas: AreaTree,
    types: Container[type[Event]] = frozenset(EVENT_TYPES.values()),
) -> Reading:
    """Decodes every record. One that cannot be read, is not of the topic's types, or names an area that is not there,
    is dead; the rest count.
    """
    arrivals: list[Arrival] = []
    dead: list[DeadLetter] = []
    codes = areas.codes
    # What looks at every byte is checked once for the batch; when that fails, every record gets its own check.
    plain = is_plain([record.value or b"" for record in records])
    for record in records:
        value = record.value or b""
        try:
            event = decode_plain(value) if plain else decode(value, SEALED_BYTES_MAX)
            check_time(event)
            if event.__class__ not in types:
                detail = f"{type_of(event)} does not travel on {topic}"
                raise InvalidEvent("type", Reason.WRONG_TOPIC, detail, "Send it on its own topic.")
            if event.area not in codes:
                raise InvalidEvent("area", Reason.UNKNOWN_AREA, f"area {event.area!r} is not known", "Correct it.")
        except InvalidEvent as error:
            dead.append(_dead_letter(topic, partition, record, error))
        except (msgspec.DecodeError, RecursionError) as error:
            dead.append(_dead_letter(topic, partition, record, explain(error)))
        else:
            identity = hash((event.source, event.id))
            arrivals.append(Arrival(event, value, record.timestamp, event.time.timestamp(), identity, record.offset))
    return Reading(arrivals, dead)


def parts(arrivals: Sequence[Arrival], days_max: int) -> Iterator[tuple[Sequence[Arrival], int | None]]:
    """Cuts arrivals where they would touch more than `days_max` days. Each part comes with the offset of the next
    part's first arrival, None after the last; without arrivals there is one part without any.
    """
    begin = 0
    days: set[int] = set()
    for index, arrival in enumerate(arrivals):
        day = int(arrival.time_s // DAY_S)
        if day not in days and len(days) == days_max:
            yield arrivals[begin:index], arrival.offset
            begin = index
            days.clear()
        days.add(day)
    yield arrivals[begin:] if begin else arrivals, None


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
