"""What can people ask for, about a case or a unit?

A command travels as an event (`ioc.case.command.v1`) whose subject is the case (`unit:<id>` for a unit's own state).
One struct per action; the `action` field picks it. `version` is the case version that the actor saw: who decides on
an older one is rejected, while a fact (a unit was on the scene at 14:02) holds whatever came in between. Without a
version, what was seen is the case as it was at the command's time.
"""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from schemas.case import CaseId, Evidence, Severity

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Note = Annotated[str, Meta(max_length=4000)]
Words = Annotated[str, Meta(min_length=1, max_length=4000)]
Title = Annotated[str, Meta(max_length=512)]

Attached = Annotated[list[Evidence], Meta(max_length=20)]
"""What one command brings; one that brings more is refused at the door."""


class Actor(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who asks, as `ingest` found it: never what the sender claims.

    `areas` are area ids under whose trees the person works, `agencies` those whose cases the person handles beside
    `agency`, the person's own; `under` are those that supervise any of these; `sees_all`: cases of every agency.
    """

    id: str
    roles: tuple[str, ...]
    agency: str | None = None
    agencies: tuple[str, ...] = ()
    under: tuple[str, ...] = ()
    sees_all: bool = False
    areas: tuple[str, ...] = ()
    unit: str | None = None
    tracking: str | None = None


class Action(Struct, frozen=True, kw_only=True, tag_field="action", omit_defaults=True, gc=False):
    """What all of them have."""

    version: Annotated[int, Meta(ge=1)] | None = None


class Open(Action, tag="open", frozen=True, kw_only=True, gc=False):
    """An operator's own entry. The case's area and place are the event's."""

    category: Id
    title: Title
    severity: Severity | None = None
    text: Note = ""
    accused_agency: Id | None = None


class Triage(Action, tag="triage", frozen=True, kw_only=True, gc=False):
    """Says what it is. What is left out stays as it is; clocks keep what has run."""

    category: Id | None = None
    severity: Severity | None = None
    title: Title | None = None
    accused_agency: Id | None = None
    publish: bool | None = None


class Assign(Action, tag="assign", frozen=True, kw_only=True, gc=False):
    """Gives it to an agency; one that has it already transfers it (between levels or agencies) with one clock."""

    agency: Id
    note: Note = ""


class Accept(Action, tag="accept", frozen=True, kw_only=True, gc=False):
    """The agency takes it on."""


class Merge(Action, tag="merge", frozen=True, kw_only=True, gc=False):
    """Takes another case into this one. `other_version` is what was seen of it."""

    other: CaseId
    other_version: Annotated[int, Meta(ge=1)] | None = None


class Unmerge(Action, tag="unmerge", frozen=True, kw_only=True, gc=False):
    """Lets a case that was merged into this one go on by itself, in the state that it had."""

    other: CaseId


class Split(Action, tag="split", frozen=True, kw_only=True, gc=False):
    """Puts some signals into a case of their own; merging that one again undoes it."""

    members: Annotated[list[Id], Meta(min_length=1, max_length=500)]


class Dismiss(Action, tag="dismiss", frozen=True, kw_only=True, gc=False):
    """The proposal to merge with another case is wrong."""

    other: CaseId


class Dispatch(Action, tag="dispatch", frozen=True, kw_only=True, gc=False):
    """Offers it to a unit. `force`: even one that is not known to be capable, for a reason."""

    unit: Id
    force: bool = False
    reason: Note = ""


class WithdrawOffer(Action, tag="withdraw_offer", frozen=True, kw_only=True, gc=False):
    """The unit need not come."""

    offer: Annotated[int, Meta(ge=1)]
    reason: Note = ""


class OfferStepped(Action, tag="offer", frozen=True, kw_only=True, gc=False):
    """A unit's own step on an offer; the event's time is when it was so."""

    offer: Annotated[int, Meta(ge=1)]
    step: Literal["delivered", "seen", "accepted", "declined", "en_route", "on_scene", "done"]
    reason: Note = ""
    result: Note = ""
    evidence: Attached = []


class Wait(Action, tag="wait", frozen=True, kw_only=True, gc=False):
    """Nothing can be done until the citizen answers or another agency does its part. The clocks pause."""

    until: Literal["citizen", "agency"]
    text: Words
    agency: Id | None = None


class Resume(Action, tag="resume", frozen=True, kw_only=True, gc=False):
    """What was waited for has come."""

    text: Note = ""


class Answer(Action, tag="answer", frozen=True, kw_only=True, gc=False):
    """Tells the citizen something."""

    text: Words


class AddNote(Action, tag="note", frozen=True, kw_only=True, gc=False):
    """Adds to the timeline, for those who handle it. With `to_units` the units that are on the case are told."""

    text: Note = ""
    evidence: Attached = []
    to_units: bool = False


class Resolve(Action, tag="resolve", frozen=True, kw_only=True, gc=False):
    """It is done. The citizen is asked to confirm."""

    result: Words
    evidence: Attached = []


class Close(Action, tag="close", frozen=True, kw_only=True, gc=False):
    """Ends it. Needs a result and evidence, here or from before."""

    result: Note = ""
    evidence: Attached = []


class Reject(Action, tag="reject", frozen=True, kw_only=True, gc=False):
    """Nothing will be done, for this reason."""

    reason: Words


class Reopen(Action, tag="reopen", frozen=True, kw_only=True, gc=False):
    """It was not done after all; the clocks run on."""

    reason: Words


class Acknowledge(Action, tag="acknowledge", frozen=True, kw_only=True, gc=False):
    """Somebody has seen it: boards fall silent for all."""


class ReviewViolation(Action, tag="review", frozen=True, kw_only=True, gc=False):
    """One of the two verdicts that a camera violation needs, each by another person."""

    upheld: bool
    note: Note = ""


class TakeStep(Action, tag="law_step", frozen=True, kw_only=True, gc=False):
    """The next step that the law gives for such a case was taken; `cases.toml` names them."""

    step: Id
    note: Note = ""
    evidence: Attached = []


class Reveal(Action, tag="reveal", frozen=True, kw_only=True, gc=False):
    """Wants to see what is masked, for a reason: one command is one look. Who was shown what is on the audit log
    because of this.
    """

    what: Literal["plate", "reporter"]
    reason: Words


class Confirm(Action, tag="confirm", frozen=True, kw_only=True, gc=False):
    """The citizen agrees that it is fixed. Of a case that several follow, all of them have to."""


class Dispute(Action, tag="dispute", frozen=True, kw_only=True, gc=False):
    """The citizen does not agree, for a `reason`: it has to be given, and is sealed on the log."""

    reason: Words | None = None


class Rate(Action, tag="rate", frozen=True, kw_only=True, gc=False):
    """How satisfied the citizen is. The comment is sealed on the log."""

    score: Annotated[int, Meta(ge=1, le=5)]
    comment: Note | None = None


class Reply(Action, tag="reply", frozen=True, kw_only=True, gc=False):
    """The citizen answers what was asked, or adds something. The text has to be given, and is sealed on the log."""

    text: Words | None = None
    evidence: Attached = []


class DeadlinePassed(Action, tag="deadline", frozen=True, kw_only=True, gc=False):
    """A deadline of the case was due at this moment. Sent by the centre itself."""

    name: Annotated[str, Meta(max_length=128)]
    due_at: Annotated[datetime, Meta(tz=True)]


class SetAvailability(Action, tag="availability", frozen=True, kw_only=True, gc=False):
    """A unit says whether it can be sent. The subject is `unit:<id>`."""

    status: Literal["available", "busy", "off"]
    until: Annotated[datetime, Meta(tz=True)] | None = None
    note: Note = ""


class Silence(Action, tag="silence", frozen=True, kw_only=True, gc=False):
    """An alert rule (the subject is `alert:<rule>`) opens nothing for a year at most, in `area` or everywhere."""

    until: Annotated[datetime, Meta(tz=True)]
    area: Id | None = None
    reason: Words


class ErasePerson(Action, tag="erase", frozen=True, kw_only=True, gc=False):
    """Destroys a person's key (the subject is `person:<id>`): what was kept under it can never be read again."""

    reason: Words


AnyAction = (
    Open
    | Triage
    | Assign
    | Accept
    | Merge
    | Unmerge
    | Split
    | Dismiss
    | Dispatch
    | WithdrawOffer
    | OfferStepped
    | Wait
    | Resume
    | Answer
    | AddNote
    | Resolve
    | Close
    | Reject
    | Reopen
    | Acknowledge
    | ReviewViolation
    | TakeStep
    | Reveal
    | Confirm
    | Dispute
    | Rate
    | Reply
    | DeadlinePassed
    | SetAvailability
    | Silence
    | ErasePerson
)


class Command(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What an event of type `ioc.case.command.v1` holds.

    `words`     how many characters a citizen wrote
    `personal`  the words themselves, sealed by `ingest` (see `schemas.personal`); kept apart by `streams`
    """

    do: AnyAction
    actor: Actor
    words: Annotated[int, Meta(ge=0)] = 0
    personal: Annotated[str, Meta(min_length=1, max_length=32_768)] | None = None


CITIZENS = (Confirm, Dispute, Rate, Reply)
"""What a citizen may ask for, by the secret of a report. The life cycle permits nothing else."""

_WORDS_IN: dict[type[Action], str] = {Dispute: "reason", Rate: "comment", Reply: "text"}


def words_field(action: Action) -> str | None:
    """The field of an action in which a citizen's own words stand; None where it has none."""
    return _WORDS_IN.get(type(action))


def words_in(action: Action) -> str | None:
    """A citizen's own words in an action; None where there are none."""
    name = _WORDS_IN.get(type(action))
    return None if name is None else getattr(action, name) or None


def without_words(action: AnyAction) -> AnyAction:
    """An action without the citizen's own words."""
    name = _WORDS_IN.get(type(action))
    return action if name is None else replace(action, **{name: None})


def name_of(action: Action) -> str:
    """An action's name, as it is on the wire."""
    return str(action.__struct_config__.tag)
