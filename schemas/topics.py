"""Which events travel on which topic, in what order, and for how long?"""

from enum import StrEnum

from msgspec import Struct

from schemas.event import (
    CameraDetection,
    CameraIncident,
    DossierClosed,
    DossierRated,
    DossierReceived,
    Event,
    FeedbackAnswered,
    FeedbackClosed,
    FeedbackRated,
    FeedbackReceived,
    FeedbackReopened,
    IndicatorObserved,
    ServiceMetric,
)

DAY_MS = 24 * 60 * 60 * 1000


class Dedupe(StrEnum):
    """How an event that was sent twice is counted once."""

    FOREVER = "forever"  # a unique key in the database, in the same transaction
    HORIZON = "horizon"  # a bounded set of hashes over the last half hour of the log


class Topic(Struct, frozen=True, kw_only=True):
    """A Kafka topic. Events with one key keep their order.

    `partitions`    a multiple of the most workers that a site will run
    `retention_ms`  how long the log can be replayed
    `flush_each`    in the one-broker profile every record is on disk before it is acknowledged
    """

    name: str
    partitions: int
    retention_ms: int
    dedupe: Dedupe
    flush_each: bool
    types: tuple[type[Event], ...]


CASES = Topic(
    name="cases.v1",
    partitions=8,
    retention_ms=30 * DAY_MS,
    dedupe=Dedupe.FOREVER,
    flush_each=True,
    types=(FeedbackReceived, FeedbackAnswered, FeedbackReopened, FeedbackRated, FeedbackClosed, CameraIncident),
)
RECORDS = Topic(
    name="records.v1",
    partitions=8,
    retention_ms=30 * DAY_MS,
    dedupe=Dedupe.FOREVER,
    flush_each=True,
    types=(DossierReceived, DossierClosed, DossierRated, IndicatorObserved),
)
DETECTIONS = Topic(
    name="detections.v1",
    partitions=8,
    retention_ms=7 * DAY_MS,
    dedupe=Dedupe.HORIZON,
    flush_each=False,
    types=(CameraDetection,),
)
METRICS = Topic(
    name="metrics.v1",
    partitions=8,
    retention_ms=7 * DAY_MS,
    dedupe=Dedupe.HORIZON,
    flush_each=False,
    types=(ServiceMetric,),
)
INPUTS: tuple[Topic, ...] = (CASES, RECORDS, DETECTIONS, METRICS)

DEAD = Topic(
    name="dead.v1",
    partitions=1,
    retention_ms=90 * DAY_MS,
    dedupe=Dedupe.FOREVER,
    flush_each=True,
    types=(),
)
"""Records that could not be read: key `topic/partition/offset`, original value, headers `reason` and `detail`."""

ALL: tuple[Topic, ...] = (*INPUTS, DEAD)

_by_type: dict[type[Event], Topic] = {cls: topic for topic in INPUTS for cls in topic.types}


def topic_of(event: Event) -> Topic:
    """The topic that carries this event."""
    return _by_type[type(event)]


def key_of(event: Event) -> bytes:
    """What orders this event. The same for a resend.

    On the low-rate topics its case or dossier, or what it corrects, and for observations the indicator, so that
    reports of one indicator follow each other; else its source.
    """
    if type(event) is IndicatorObserved:
        assert isinstance(event, IndicatorObserved)
        return f"{event.source}#{event.data.indicator}".encode()
    if _by_type[type(event)].dedupe is Dedupe.FOREVER:
        about = event.subject or event.supersedes or event.withdraws or event.id
        return f"{event.source}#{about}".encode()
    return event.source.encode()
