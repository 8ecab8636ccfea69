"""What is a case, and what is known of it at one moment?

A case is whatever needs handling: a citizen's report, a camera's incident, an alert, an operator's own entry. It is
the state that follows from the signals and commands on its log, in order; `streams` keeps it, everyone else reads it.
"""

import base64
import hashlib
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import NewType

from msgspec import Struct

from schemas.area_id import AreaId

CaseId = NewType("CaseId", str)
"""The centre's own name of a case. Made of what opened it, so that a resend finds the same one."""

MEMBERS_MAX = 500
"""Signals of one case. A further one opens a case of its own, which is proposed for merging like any other."""

EVIDENCE_MAX = 200
"""Attachments of one case; a command that brings more is rejected."""

EVIDENCE_REPORTED_MAX = 100
"""Of these, what reports and their senders bring: further ones stay with the report, a reply that brings more is
rejected. The rest is kept for those who show what was done."""

OFFERS_MAX = 200
"""Offers of one case, with those that are over; a further one is rejected."""

COUNTED_MAX = 300
"""Events that a case remembers to have been counted for it: the newest. Older ones are not corrected with it."""

REVIEWS_NEEDED = 2
"""Persons who have to say the same of a camera violation before anything comes of it."""

BROUGHT_BY_REPORT, BROUGHT_BY_CAMERA = "report", "snapshot"
"""Kinds of evidence that came with a signal: what is to be mended, and what a camera saw."""

CONFIRMATION = "confirmation"
"""The kind of evidence that it is when everyone who was asked has confirmed. A case has one, beyond all bounds."""


CASE_IDS_MAX = 16_384
"""Ids of cases that are remembered: an event's is asked for at each station of its way. The oldest is forgotten."""


_ESCAPED = str.maketrans({"\x1e": "\x1e0", "\x1f": "\x1e1"})
# What parts two names, where one of them holds it. A name without these characters stays as it is.


class Kind(StrEnum):
    """What sort of case it is. Two of them need care: see `conduct` and `violation`."""

    SERVICE = "service"  # a citizen wants something mended or answered
    INCIDENT = "incident"  # somebody has to go there
    ALERT = "alert"  # a figure went where it must not
    CONDUCT = "conduct"  # a complaint about an official; the accused person's own agency never sees it
    VIOLATION = "violation"  # seen by a camera, reviewed by two people, plates masked


class State(StrEnum):
    """Where a case stands."""

    NEW = "new"
    TRIAGED = "triaged"
    MERGED = "merged"
    ASSIGNED = "assigned"
    ACCEPTED = "accepted"
    EN_ROUTE = "en_route"
    ON_SCENE = "on_scene"
    WAITING_CITIZEN = "waiting_citizen"
    WAITING_AGENCY = "waiting_agency"
    RESOLVED = "resolved"
    CONFIRMED = "confirmed"
    CLOSED = "closed"
    REJECTED = "rejected"
    REOPENED = "reopened"


OPEN = frozenset(State) - {State.MERGED, State.CONFIRMED, State.CLOSED, State.REJECTED}
"""States in which somebody still has to do something."""

WAITING = frozenset({State.WAITING_CITIZEN, State.WAITING_AGENCY})


class Severity(StrEnum):
    """How bad it is, the least first."""

    INFO = "info"
    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"


class Refusal(StrEnum):
    """Why a command was rejected. Used as it is in outcomes, on the audit log and as a metric label."""

    UNKNOWN_CASE = "unknown_case"  # no such case (yet)
    UNKNOWN_UNIT = "unknown_unit"
    UNKNOWN_CATEGORY = "unknown_category"
    UNKNOWN_AGENCY = "unknown_agency"
    IMPOSSIBLE = "impossible"  # the life cycle has no such step from here
    STALE = "stale"  # decided on a version of the case that is no longer the current one
    FORBIDDEN = "forbidden"  # the role, the area or the agency may not do this
    NOT_YOURS = "not_yours"  # a unit's step on an offer of another unit
    INCOMPLETE = "incomplete"  # a field that this step needs is missing
    TOO_MANY = "too_many"  # a bound of the case is reached
    UNIT_BUSY = "unit_busy"
    NOT_CAPABLE = "not_capable"  # the unit lacks a skill or is off duty, and nobody forced it
    ALREADY = "already"  # it is so already
    TOO_LATE = "too_late"  # the deadline, offer or proposal is no longer in force
    FROM_THE_FUTURE = "from_the_future"
    SAME_REVIEWER = "same_reviewer"  # the second review has to be another person's
    AWAITS_CITIZEN = "awaits_citizen"  # the citizen was asked whether it is fixed, and may still answer


class ClockName(StrEnum):
    """What runs against a deadline."""

    FIRST_ANSWER = "first_answer"
    ACCEPTANCE = "acceptance"
    ARRIVAL = "arrival"
    RESOLUTION = "resolution"


class Clock(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One running, paused or stopped clock. Seconds are of working time, by the calendar that it names.

    `allowed_s`  how long it may run
    `ran_s`      what had run when it was last started or paused
    `since`      from when it runs; None while it is paused or stopped
    `due_at`     when it will have run out if nothing pauses it; None while it is paused or stopped
    `warn_at`    when the share `warn_share` of it will have run, likewise; None also where nobody is warned
    """

    name: ClockName
    calendar: str
    allowed_s: float
    started_at: datetime
    ran_s: float = 0.0
    since: datetime | None = None
    due_at: datetime | None = None
    stopped_at: datetime | None = None
    breached_at: datetime | None = None
    warn_share: float | None = None
    warn_at: datetime | None = None
    warned_at: datetime | None = None


class OfferStep(StrEnum):
    """How far an offer to a unit has come, in this order; the last four end it."""

    OFFERED = "offered"
    DELIVERED = "delivered"
    SEEN = "seen"
    ACCEPTED = "accepted"
    EN_ROUTE = "en_route"
    ON_SCENE = "on_scene"
    DONE = "done"
    DECLINED = "declined"
    MISSED = "missed"
    WITHDRAWN = "withdrawn"


OFFER_OVER = frozenset({OfferStep.DONE, OfferStep.DECLINED, OfferStep.MISSED, OfferStep.WITHDRAWN})


class Offer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A case offered to a unit. `at` has the moment of each step so far; `level` is how far it has been escalated.

    `awaits` is the step that has to come by `due_at`; None when nobody waits.
    """

    number: int
    unit: str
    step: OfferStep
    at: dict[OfferStep, datetime]
    awaits: OfferStep | None = None
    due_at: datetime | None = None
    level: int = 0
    reason: str | None = None
    by: str | None = None


class Member(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A signal of the case. `case` is the one that it opened or came for.

    `subscriber`    whom to tell: the reporter's pseudonym
    `tracking`      the hash of the secret by which that reporter follows the case
    `corrected_by`  the id of the newest event that replaces it
    """

    source: str
    id: str
    type: str
    at: datetime
    case: CaseId
    channel: str | None = None
    category: str | None = None
    place: str | None = None
    title: str | None = None
    subscriber: str | None = None
    tracking: str | None = None
    corrected_by: str | None = None


class Evidence(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An attachment. `ref` is an address or the name of a stored blob, `sha256` of its bytes.

    `signal`  the signal that it came with, as `event:<source>/<id>`: it goes where that goes
    """

    ref: str
    kind: str = "photo"
    sha256: str | None = None
    at: datetime | None = None
    by: str | None = None
    note: str | None = None
    signal: str | None = None


class Review(Struct, frozen=True, kw_only=True):
    """One person's verdict on a camera violation."""

    by: str
    at: datetime
    upheld: bool
    note: str = ""


class Taken(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A step that the law gives (`schemas.category.LawStep`) was taken."""

    step: str
    at: datetime
    by: str
    note: str = ""


class Case(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A case. `version` grows by one with each change; `areas` is its area with all ancestors, the root first.

    `recorded_at`     when the centre took in what opened it; `opened_at` is when that happened
    `accused_agency`  of a complaint about conduct: whose official; that agency sees nothing of it
    `agency`          who owns it now; for a complaint about conduct the supervising one
    `absorbed`        cases that were merged into this one, with the state each of them had
    `parted`          where what comes for a case merged into this one goes on to, as it was split off again
    `before_waiting`  where to go on when what is waited for has come
    `accepted_at`, `arrived_at`  when that happened first
    `taken`           the law's steps that were taken, in their order
    `counted`         source and id of the events, beside its signals, that were counted for it
    `corrected_at`    the arrival that the newest correction of any of these has: of two the later one holds
    `tracking`        hashes of the secrets by which citizens follow it
    `confirmed`       those of them whose holders agree that it is fixed; all of them have to
    `published`       may be shown to everyone: no personal data, the place rounded where the category is sensitive
    """

    id: CaseId
    version: int
    kind: Kind
    state: State
    category: str
    severity: Severity
    area: AreaId
    areas: tuple[AreaId, ...]
    opened_at: datetime
    recorded_at: datetime
    changed_at: datetime
    title: str = ""
    place: str | None = None
    agency: str | None = None
    accused_agency: str | None = None
    members: tuple[Member, ...] = ()
    merged_into: CaseId | None = None
    absorbed: dict[CaseId, State] = {}
    parted: dict[CaseId, CaseId] = {}
    before_waiting: State | None = None
    offers: tuple[Offer, ...] = ()
    clocks: tuple[Clock, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    reviews: tuple[Review, ...] = ()
    taken: tuple[Taken, ...] = ()
    counted: tuple[tuple[str, str], ...] = ()
    corrected_at: datetime | None = None
    plate: str | None = None
    result: str | None = None
    reason: str | None = None
    answered_at: datetime | None = None
    accepted_at: datetime | None = None
    arrived_at: datetime | None = None
    resolved_at: datetime | None = None
    closed_at: datetime | None = None
    rating: int | None = None
    disputes: int = 0
    reopened: int = 0
    escalations: int = 0
    acknowledged_by: str | None = None
    tracking: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    published: bool = False
    exercise: bool = False

    @property
    def is_open(self) -> bool:
        """Whether somebody still has to do something."""
        return self.state in OPEN

    @property
    def due_at(self) -> datetime | None:
        """When the next of its running clocks has run out."""
        return min((clock.due_at for clock in self.clocks if clock.due_at is not None), default=None)

    @property
    def units(self) -> tuple[str, ...]:
        """The units that it is offered to or that are at it."""
        return tuple(offer.unit for offer in self.offers if offer.step not in OFFER_OVER)


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a case's timeline. `at` is when it was so, `recorded_at` when the centre learned of it.

    `number` counts from 1 within the case. `public`: the citizen reads it too. `detail` holds words and numbers only.
    `sealed` is the source and id of the citizen's command whose words are kept apart, under that person's key.
    """

    case: CaseId
    number: int
    at: datetime
    recorded_at: datetime
    action: str
    actor: str = ""
    role: str = ""
    text: str = ""
    public: bool = False
    detail: dict[str, str | int | float | bool | None] = {}
    sealed: tuple[str, str] | None = None


class Deadline(Struct, frozen=True, kw_only=True):
    """Something that has to happen to a case at a time, unless it changes before. The name is unique in the case."""

    case: CaseId
    name: str
    due_at: datetime


@lru_cache(maxsize=CASE_IDS_MAX)
def case_id(source: str, about: str) -> CaseId:
    """The case of what a source calls `about`: 80 bits of a hash in lower-case base 32."""
    digest = hashlib.blake2b(pair_of(source, about).encode(), digest_size=10).digest()
    return CaseId(base64.b32encode(digest).decode().lower())


def pair_of(source: str, name: str) -> str:
    """Two names in one text that no other two have: senders may use every character."""
    return f"{source.translate(_ESCAPED)}\x1f{name.translate(_ESCAPED)}"
