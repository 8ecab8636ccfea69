"""Which events travel on which topic, in what order, and for how long?"""

from enum import StrEnum

from msgspec import Struct

from schemas.case import CaseId, case_id
from schemas.event import (
    AlertChanged,
    CameraDetection,
    CameraIncident,
    CaseCommand,
    CaseStepped,
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
    UnitOnDuty,
    UnitPositioned,
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
    types=(
        FeedbackReceived,
        FeedbackAnswered,
        FeedbackReopened,
        FeedbackRated,
        FeedbackClosed,
        CameraIncident,
        AlertChanged,
        CaseCommand,
        CaseStepped,
        UnitOnDuty,
    ),
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
UNITS = Topic(
    name="units.v1",
    partitions=8,
    retention_ms=7 * DAY_MS,
    dedupe=Dedupe.HORIZON,
    flush_each=False,
    types=(UnitPositioned,),
)
INPUTS: tuple[Topic, ...] = (CASES, RECORDS, DETECTIONS, METRICS, UNITS)

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

_DRILL, _ALONE, _ALONE_IN_DRILL = "ioc.drill", "ioc.alone", "ioc.drill.alone"
# In place of a source where cases are named. Senders cannot use sources of the centre's own, so no subject of theirs
# names such a case.

_by_type: dict[type[Event], Topic] = {cls: topic for topic in INPUTS for cls in topic.types}


def topic_of(event: Event) -> Topic:
    """The topic that carries this event."""
    return _by_type[type(event)]


def about(event: Event) -> str:
    """What an event is about, in its source's own words: its subject, or what it corrects, or itself."""
    return event.subject or event.supersedes or event.withdraws or event.id


def case_of(event: Event) -> str:
    """The case that an event on the topic of cases belongs to. What the centre makes names it; signals open it.

    What a drill says of a subject is about another case than what is said of it in earnest.
    """
    if isinstance(event, CaseCommand | CaseStepped | UnitOnDuty):
        return about(event)
    return _named(_DRILL, event, about(event)) if event.exercise else case_id(event.source, about(event))


def own_case_of(event: Event) -> CaseId:
    """The case of a signal that cannot stay in the one of its subject, or of the signal that the event corrects."""
    signal = event.supersedes or event.withdraws or event.id
    return _named(_ALONE_IN_DRILL if event.exercise else _ALONE, event, signal)


def _named(sort: str, event: Event, name: str) -> CaseId:
    # With the length no two of source and name are the same text.
    return case_id(sort, f"{len(event.source)}:{event.source}{name}")


def key_of(event: Event) -> bytes:
    """What orders this event. The same for a resend.

    Its case, or on the topic of records its dossier and for observations the indicator, so that reports of one
    indicator follow each other; else its source, and for positions the unit.
    """
    topic = _by_type[type(event)]
    if topic is CASES:
        return case_of(event).encode()
    if isinstance(event, IndicatorObserved):
        return f"{event.source}#{event.data.indicator}".encode()
    if topic.dedupe is Dedupe.FOREVER:
        return f"{event.source}#{about(event)}".encode()
    if isinstance(event, UnitPositioned):
        return event.data.unit.encode()
    return event.source.encode()
