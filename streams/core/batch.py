"""What did one fetch bring of one partition, and what in it can be read?"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from msgspec import Struct

from schemas.area import AreaTree
from schemas.codec import decode
from schemas.errors import InvalidEvent, Reason
from schemas.event import AnyEvent


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


class Arrival(NamedTuple):
    """An event with the bytes it came in and the log's time of arrival in milliseconds."""

    event: AnyEvent
    raw: bytes
    logged_ms: int

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


def read(topic: str, partition: int, records: Sequence[Record], areas: AreaTree) -> Reading:
    """Decodes every record. One that cannot be read, or names an area that is not there, is dead; the rest count."""
    arrivals: list[Arrival] = []
    dead: list[DeadLetter] = []
    for record in records:
        value = record.value
        try:
            if value is None:
                raise InvalidEvent("$", Reason.MALFORMED_JSON, "the record has no value", "Send an event.")
            event = decode(value)
            if event.area not in areas:
                raise InvalidEvent("area", Reason.UNKNOWN_AREA, f"area {event.area!r} is not known", "Correct it.")
        except InvalidEvent as error:
            letter = DeadLetter(
                topic=topic,
                partition=partition,
                offset=record.offset,
                reason=error.reason,
                detail=f"{error.field}: {error.detail}",
                key=record.key,
                value=value,
            )
            dead.append(letter)
        else:
            arrivals.append(Arrival(event, value, record.timestamp))
    return Reading(arrivals, dead)
