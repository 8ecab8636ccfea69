"""What happened, when, where, and who says so?

An event is a CloudEvents 1.0 envelope with this project's extension attributes. One struct per event type:
the `type` attribute is the tag that picks it, so one pass over the bytes gives a typed value. A type name ends
in its version (`….v1`); a change that an old reader would misread gets a new type and a new struct.

Source: CloudEvents 1.0 §2 (context attributes), RFC 5870 (`geo:` URI of `place`).
"""

from datetime import datetime
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta, Struct, field

from schemas.area_id import AreaCode as AreaCode
from schemas.area_id import AreaId as AreaId
from schemas.command import Command
from schemas.personal import Reporter

Instant = Annotated[datetime, Meta(tz=True)]
"""A point in time with a zone. A naive time is refused: nobody can say when it was."""

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Label = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=4000)]
GeoUri = Annotated[str, Meta(pattern=r"^geo:-?\d{1,2}(\.\d+)?,-?\d{1,3}(\.\d+)?(;u=\d+(\.\d+)?)?$", max_length=96)]

Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""A SHA-256 in hexadecimal digits."""

Sealed = Annotated[str, Meta(min_length=1, max_length=32_768)]
"""Encrypted text in base64, which only the centre can open. The longest report has room in it, in any script."""

Attachments = Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=512)], ...], Meta(max_length=20)]
"""Addresses of photos and files, or names of stored blobs."""

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
    `area`         where, as a code of the list named by `area_list`; may be left out where `place` is given
    `place`        where, as a `geo:lat,lon[;u=metres]` URI
    `exercise`     true in a drill: kept apart from real figures
    `supersedes`   id of an earlier event of the same source that this one corrects
    `withdraws`    id of an earlier event of the same source that this one takes back
    """

    specversion: Literal["1.0"]
    id: Name
    source: Name
    time: Instant
    area: Annotated[AreaCode, Meta(min_length=1, max_length=128)] | None = None
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
    """A citizen's report. `due_at` is the target that the handling agency has been given.

    `accused_agency`  of a complaint about an official's conduct: whose official
    `tracking`        the hash of the secret by which the citizen follows it
    `reporter`        who reports: given by the sender, and never on the log. Also an empty one says that a citizen
                      wrote the title
    `personal`        the reporter, the text and a citizen's title, sealed by `ingest` (see `schemas.personal`)
    `person`          the reporter's pseudonym, set with it
    `author`          the pseudonym of who says nothing of themselves: of this report alone
    """

    category: Label
    agency: Label | None = None
    channel: Label | None = None
    title: Annotated[str, Meta(max_length=512)] | None = None
    text: Text | None = None
    due_at: Instant | None = None
    accused_agency: Label | None = None
    tracking: Digest | None = None
    attachments: Attachments = ()
    reporter: Reporter | None = None
    personal: Sealed | None = None
    person: Digest | None = None
    author: Digest | None = None


class FeedbackAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The first answer that a citizen got. It was in time when the event's `time` is not after `due_at`."""

    category: Label
    agency: Label | None = None
    channel: Label | None = None
    opened_at: Instant | None = None
    due_at: Instant | None = None


class FeedbackReopening(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A closed report came back: the citizen disputes the result."""

    category: Label
    agency: Label | None = None
    channel: Label | None = None
    reason: Text | None = None


class Rating(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """How satisfied a citizen is, from 1 (not at all) to 5 (fully)."""

    score: Annotated[int, Meta(ge=1, le=5)]
    agency: Label | None = None
    category: Label | None = None
    channel: Label | None = None


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
    """Something at a camera that needs a person. The event's `time` is its start.

    `plate`     a number plate; on the log it is masked
    `personal`  the whole plate, sealed by `ingest` (see `schemas.personal`)
    `person`    the pseudonym of whoever drives under this plate, set with it
    """

    camera: Label
    kind: Label
    severity: Literal["info", "minor", "major", "critical"]
    ended_at: Instant | None = None
    text: Text | None = None
    plate: Label | None = None
    attachments: Attachments = ()
    personal: Sealed | None = None
    person: Digest | None = None


class Dossier(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A citizen or a business handed in a dossier for a public service (`procedure`).

    `complete`   nothing was missing at the first submission
    `assisted`   a volunteer helped at the desk
    `digitised`  the papers were turned into data at the intake
    """

    procedure: Label
    agency: Label | None = None
    channel: Literal["online", "desk", "post"]
    complete: bool = True
    assisted: bool = False
    digitised: bool = False
    due_at: Instant | None = None


class DossierOutcome(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The end of a dossier's handling. It was in time when the event's `time` is not after `due_at`.

    `payment`           how the fee was paid; `none` where there was nothing to pay
    `result_digitised`  the result was handed over as data
    """

    procedure: Label
    agency: Label | None = None
    channel: Literal["online", "desk", "post"]
    submitted_at: Instant | None = None
    due_at: Instant | None = None
    payment: Literal["none", "cash", "cashless"] = "none"
    result_digitised: bool = False
    result: Literal["granted", "refused", "withdrawn"] = "granted"


Period = Annotated[str, Meta(pattern=r"^\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?|-Q[1-4])?$", max_length=10)]
"""A year, a quarter, a month or a day: `2026`, `2026-Q3`, `2026-09`, `2026-09-30`. By the area's own clock."""

Quantity = Annotated[float, Meta(ge=-1e15, le=1e15)]


class Observation(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What an authority reports of an `indicator` for a `period`: `value`, and for shares what it is a share `of`.

    The event's `time` is when it was reported: of several reports for one period the last holds.
    """

    indicator: Label
    period: Period
    value: Quantity
    of: Quantity | None = None
    agency: Label | None = None
    category: Label | None = None


class Measurement(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One sample of a service's metric, in `unit` (UCUM where it has one)."""

    service: Label
    metric: Label
    value: Quantity
    unit: Annotated[str, Meta(max_length=32)] | None = None


class CaseStep(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A step in a case's handling, for the indicators. The event's `time` is when it was taken.

    `step`       what happened: `opened`, `answered`, `accepted`, `arrived`, `resolved`, `closed`, `rejected`,
                 `reopened`, `disputed`, `rated`, `escalated`, `offered`, `declined`, `missed`, `unit_done`
    `since`      when what this step ends began: for `resolved` when it was opened, for `arrived` when it was offered,
                 for `unit_done` when the unit accepted
    `due_at`     when the step had to be taken, by the law's clock
    `worked_s`   how long the step's clock has run, in working time
    `on_time`    the step's clock had not run out
    `score`      of `rated`
    """

    case: Label
    step: Label
    kind: Label
    category: Label
    severity: Label
    agency: Label | None = None
    channel: Label | None = None
    unit: Label | None = None
    since: Instant | None = None
    due_at: Instant | None = None
    worked_s: Annotated[float, Meta(ge=0, le=1e10)] | None = None
    on_time: bool | None = None
    score: Annotated[int, Meta(ge=1, le=5)] | None = None


class OnDuty(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """How many seconds a unit was on duty in the hour that the event's `time` lies in, up to that time.

    Below zero it takes back what had been told: the unit's word that it was off came late.
    """

    unit: Label
    seconds: Annotated[float, Meta(ge=-3600, le=3600)]
    agency: Label | None = None


class Position(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Where a unit is. The envelope's `place` says where, `subject` is the unit."""

    unit: Label
    speed_mps: Annotated[float, Meta(ge=0, le=400)] | None = None
    battery: Annotated[float, Meta(ge=0, le=1)] | None = None


class Alert(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An alert rule's verdict on one group changed. `subject` names the group; `value` is what was seen last."""

    rule: Label
    state: Literal["firing", "resolved"]
    category: Label
    severity: Literal["info", "minor", "major", "critical"]
    title: Annotated[str, Meta(max_length=512)]
    agency: Label | None = None
    kpi: Label | None = None
    value: Quantity | None = None
    limit: Quantity | None = None
    text: Text | None = None


class FeedbackReceived(Event, frozen=True, kw_only=True, gc=False, tag="ioc.feedback.received.v1"):
    """A citizen's report came in. `subject` is the case reference that later events repeat."""

    data: Feedback


class FeedbackAnswered(Event, frozen=True, kw_only=True, gc=False, tag="ioc.feedback.answered.v1"):
    """A citizen got the first answer to a report."""

    data: FeedbackAnswer


class FeedbackReopened(Event, frozen=True, kw_only=True, gc=False, tag="ioc.feedback.reopened.v1"):
    """A closed report was opened again."""

    data: FeedbackReopening


class FeedbackRated(Event, frozen=True, kw_only=True, gc=False, tag="ioc.feedback.rated.v1"):
    """A citizen rated the handling of a report."""

    data: Rating


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


class DossierReceived(Event, frozen=True, kw_only=True, gc=False, tag="ioc.dossier.received.v1"):
    """A dossier was handed in at the one-stop desk or online. `subject` is its number."""

    data: Dossier


class DossierClosed(Event, frozen=True, kw_only=True, gc=False, tag="ioc.dossier.closed.v1"):
    """A dossier was decided."""

    data: DossierOutcome


class DossierRated(Event, frozen=True, kw_only=True, gc=False, tag="ioc.dossier.rated.v1"):
    """A citizen rated the handling of a dossier."""

    data: Rating


class IndicatorObserved(Event, frozen=True, kw_only=True, gc=False, tag="ioc.indicator.observed.v1"):
    """An authority reported an indicator for a period."""

    data: Observation


class CaseCommand(Event, frozen=True, kw_only=True, gc=False, tag="ioc.case.command.v1"):
    """Somebody asks for something about a case, or a deadline of it has passed. Only the centre makes these.

    `subject` is the case, or `unit:<id>`, `alert:<rule>`, `person:<id>`; `source` says who, `id` is the command's.
    """

    data: Command


class CaseStepped(Event, frozen=True, kw_only=True, gc=False, tag="ioc.case.step.v1"):
    """A case went a step further. Made by `streams`, counted like every other event."""

    data: CaseStep


class UnitOnDuty(Event, frozen=True, kw_only=True, gc=False, tag="ioc.unit.duty.v1"):
    """A unit was on duty. Made by `streams`; `subject` is `unit:<id>`."""

    data: OnDuty


class UnitPositioned(Event, frozen=True, kw_only=True, gc=False, tag="ioc.unit.position.v1"):
    """A unit said where it is."""

    data: Position


class AlertChanged(Event, frozen=True, kw_only=True, gc=False, tag="ioc.alert.changed.v1"):
    """An alert rule fires for a group, or no longer does. Made by `streams`."""

    data: Alert


AnyEvent = (
    FeedbackReceived
    | FeedbackAnswered
    | FeedbackReopened
    | FeedbackRated
    | FeedbackClosed
    | CameraDetection
    | CameraIncident
    | ServiceMetric
    | DossierReceived
    | DossierClosed
    | DossierRated
    | IndicatorObserved
    | CaseCommand
    | CaseStepped
    | UnitOnDuty
    | UnitPositioned
    | AlertChanged
)

INTERNAL = (CaseCommand, CaseStepped, UnitOnDuty, AlertChanged)
"""What only the centre itself makes: a sender's event of such a type is refused."""

OWN_SOURCES = ("ioc.", "person:", "citizen:")
"""What the sources of the centre's own events begin with. Their ids can be guessed, and an event with the identity of
another one keeps that from being counted: so a sender's event of such a source is refused."""

EVENT_TYPES: dict[str, type[Event]] = {
    str(msgspec.inspect.type_info(cls).tag): cls  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
    for cls in get_args(AnyEvent)
}
"""Every event type by its CloudEvents `type`."""

SENT_TYPES = {name: cls for name, cls in EVENT_TYPES.items() if cls not in INTERNAL}
"""Those that a sender may send."""


def type_of(event: Event) -> str:
    """The CloudEvents `type` of an event."""
    return str(event.__struct_config__.tag)
