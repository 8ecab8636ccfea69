"""What happened, when, where, and who says so?

An event is a CloudEvents 1.0 envelope with this project's extension attributes. One struct per event type:
the `type` attribute is the tag that picks it, so one pass over the bytes gives a typed value. A type name ends
in its version (`….v1`); a change that an old reader would misread gets a new type and a new struct.

Source: CloudEvents 1.0 §2 (context attributes), RFC 5870 (`geo:` URI of `place`).
"""

from datetime import datetime
from typing import Annotated, Literal, NewType

import msgspec
from msgspec import Meta, Struct, field

AreaCode = NewType("AreaCode", str)
"""A code in an area code list. Codes are strings with leading zeros; a code means nothing without its list."""

Instant = Annotated[datetime, Meta(tz=True)]
"""A point in time with a zone. A naive time is refused: nobody can say when it was."""

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Label = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=4000)]
GeoUri = Annotated[str, Meta(pattern=r"^geo:-?\d{1,2}(\.\d+)?,-?\d{1,3}(\.\d+)?(;u=\d+(\.\d+)?)?$", max_length=96)]

TIME_END_S = 7_258_118_400
"""Events lie in [1970, 2200), here in seconds since the epoch. Every zone and table can hold that, with room."""

SEAL_BYTES_MAX = 1024
"""What the centre may add to an event: one on the log is at most so much larger than one at the door."""

EVENT_BYTES_MAX = 64 * 1024
"""An event's size on the wire. A larger one is refused: CloudEvents 1.0 §3.2.2 promises no more to anyone."""


# Events hold no cycles, and a worker holds many: the garbage collector need not look at them (`gc=False`).
class Event(Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True, gc=False):
    """The envelope. `source` + `id` is the identity: two events with the same pair are the same event.

    `subject`      what the event is about: the case reference, the camera, the service
    `time`         when it happened; windows follow it, never the arrival
    `received_at`  when the centre took it in; set by `ingest`
    `area`         where, as a code of the list named by `area_list`
    `place`        where, as a `geo:lat,lon[;u=metres]` URI
    `exercise`     true in a drill: kept apart from real figures
    `supersedes`   id of an earlier event of the same source that this one corrects
    `withdraws`    id of an earlier event of the same source that this one takes back
    """

    specversion: Literal["1.0"]
    id: Name
    source: Name
    time: Instant
    area: AreaCode
    subject: Name | None = None
    datacontenttype: Literal["application/json"] = "application/json"
    dataschema: Name | None = None
    area_list: Label | None = field(default=None, name="arealist")
    place: GeoUri | None = None
    received_at: Instant | None = field(default=None, name="receivedat")
    exercise: bool = False
    supersedes: Name | None = None
    withdraws: Name | None = None


class Feedback(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A citizen's report. `due_at` is the target that the handling agency has been given."""

    category: Label
    agency: Label | None = None
    channel: Label | None = None
    title: Annotated[str, Meta(max_length=512)] | None = None
    text: Text | None = None
    due_at: Instant | None = None


class FeedbackOutcome(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The end of a report's handling. It was in time when the event's `time` is not after `due_at`."""

    category: Label
    agency: Label | None = None
    channel: Label | None = None
    opened_at: Instant | None = None
    due_at: Instant | None = None
    result: Text | None = None


class Detection(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a camera saw at one moment: `count` objects of one `kind`, with the detector's `score` in [0, 1]."""

    camera: Label
    kind: Label
    count: Annotated[int, Meta(ge=1, le=100_000)] = 1
    score: Annotated[float, Meta(ge=0, le=1)] | None = None


class Incident(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Something at a camera that needs a person. The event's `time` is its start."""

    camera: Label
    kind: Label
    severity: Literal["info", "minor", "major", "critical"]
    ended_at: Instant | None = None
    text: Text | None = None


class Measurement(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One sample of a service's metric, in `unit` (UCUM where it has one)."""

    service: Label
    metric: Label
    value: Annotated[float, Meta(ge=-1e15, le=1e15)]
    unit: Annotated[str, Meta(max_length=32)] | None = None


class FeedbackReceived(Event, frozen=True, kw_only=True, gc=False, tag="ioc.feedback.received.v1"):
    """A citizen's report came in. `subject` is the case reference that later events repeat."""

    data: Feedback


class FeedbackClosed(Event, frozen=True, kw_only=True, gc=False, tag="ioc.feedback.closed.v1"):
    """A citizen's report was closed."""

    data: FeedbackOutcome


class CameraDetection(Event, frozen=True, kw_only=True, gc=False, tag="ioc.camera.detection.v1"):
    """A camera counted objects."""

    data: Detection


class CameraIncident(Event, frozen=True, kw_only=True, gc=False, tag="ioc.camera.incident.v1"):
    """A camera system raised an incident."""

    data: Incident


class ServiceMetric(Event, frozen=True, kw_only=True, gc=False, tag="ioc.service.metric.v1"):
    """A service was measured."""

    data: Measurement


AnyEvent = FeedbackReceived | FeedbackClosed | CameraDetection | CameraIncident | ServiceMetric

EVENT_TYPES: dict[str, type[Event]] = {
    str(msgspec.inspect.type_info(cls).tag): cls  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
    for cls in (FeedbackReceived, FeedbackClosed, CameraDetection, CameraIncident, ServiceMetric)
}
"""Every event type by its CloudEvents `type`."""


def type_of(event: Event) -> str:
    """The CloudEvents `type` of an event."""
    return str(event.__struct_config__.tag)
