"""What has to happen when a case is judged anew, resolved, rejected or closed, whoever does it?"""

from collections.abc import Collection
from datetime import datetime, timedelta

from msgspec.structs import replace

from schemas.case import (
    BROUGHT_BY_CAMERA,
    BROUGHT_BY_REPORT,
    EVIDENCE_MAX,
    EVIDENCE_REPORTED_MAX,
    Case,
    CaseId,
    ClockName,
    Evidence,
    Kind,
    Member,
    Refusal,
    State,
)
from schemas.category import Category, supervising_agency
from schemas.event import CaseStep, CaseStepped, FeedbackReceived
from schemas.site import Site
from streams.core import clock
from streams.core.consequence import SYSTEM, Cause, stepped
from streams.core.draft import Draft, Refused
from streams.core.life_cycle import BEFORE_FIELD, FIELD, RUNNING, STOPPED, UNDONE
from streams.core.merging import part_of, signal_ref
from streams.core.notice import SUBSCRIBERS, Why
from streams.core.scene import Corrected, Judged

_NEXT = timedelta(microseconds=1)

CORRECTED = "corrected:"
"""What the ids of the centre's own corrections begin with. They have the sources of what they correct."""

UNSTATED_AGENCY = "-"
"""The accused agency of a complaint that names none. Nobody belongs to it, and no ordinary rule shows the case."""


def resolve(draft: Draft, case: Case, at: datetime) -> Case:
    """The case done: whoever reported it is told the result, which it has."""
    case = draft.ended(draft.answered(case, at), State.RESOLVED, at, "resolved")
    case = replace(case, resolved_at=at)
    draft.count(case, "resolved", at, since=case.opened_at, by=ClockName.RESOLUTION)
    draft.notify(case, [SUBSCRIBERS], Why.RESOLVED)
    return case


def reject(draft: Draft, case: Case, at: datetime, reason: str) -> Case:
    """The case with nothing to be done about it: whoever reported it is told why."""
    case = draft.ended(draft.answered(case, at), State.REJECTED, at, "rejected")
    case = replace(case, reason=reason)
    draft.count(case, "rejected", at, since=case.opened_at, by=ClockName.RESOLUTION)
    draft.notify(case, [SUBSCRIBERS], Why.REJECTED)
    return case


def close(draft: Draft, case: Case, at: datetime) -> Case:
    """The case ended."""
    case = replace(draft.ended(case, State.CLOSED, at, "closed"), closed_at=at)
    draft.count(case, "closed", at, since=case.opened_at)
    draft.notify(case, [SUBSCRIBERS], Why.CLOSED)
    return case


def unattended_at(site: Site, case: Case) -> datetime | None:
    """When a case that is done is closed although nobody says so; None where that is not to come."""
    if site.cases is None or case.resolved_at is None or case.state not in (State.RESOLVED, State.CONFIRMED):
        return None
    return case.resolved_at + timedelta(days=site.cases.confirmation.close_after_days)


def asked_until(site: Site, case: Case) -> datetime | None:
    """Until when a citizen may say whether it is fixed before it is closed; None where no citizen is asked."""
    is_left = not set(case.tracking) <= set(case.confirmed)
    asks = site.cases is not None and site.cases.confirmation.ask == "citizen" and is_left
    return unattended_at(site, case) if asks else None


def recategorise(draft: Draft, case: Case, category: Category, accused: str | None) -> Case:
    """The case in another category, with whoever has to handle that; its clocks keep what has run.

    A complaint about an official leaves everyone who was at it and goes to who supervises the `accused` agency.
    """
    site, had = draft.site, case.agency
    was_complaint = case.kind is Kind.CONDUCT
    kind = category.kind if category.kind is not Kind.ALERT else case.kind
    if case.kind is Kind.ALERT and kind is not Kind.CONDUCT:
        kind = Kind.ALERT
    publish = category.publish and kind not in (Kind.CONDUCT, Kind.VIOLATION)
    case = replace(case, category=category.id, kind=kind, published=publish)
    if kind is Kind.CONDUCT:
        assert accused is not None
        assert site.cases is not None
        case = draft.withdrawn(case, [offer.number for offer in case.offers], "handled elsewhere")
        agency = supervising_agency(site.cases, site.agencies, category.id, accused)
        case = _handed_over(draft, replace(case, accused_agency=accused, agency=agency))
    elif was_complaint:
        case = replace(case, accused_agency=None, agency=category.agency or case.agency)
    elif case.agency is None and category.agency is not None:
        case = _handed_over(draft, replace(case, agency=category.agency))
    if case.state in UNDONE:
        case = replace(case, clocks=clock.replan(site, case, draft.now))
    if case.agency != had:
        draft.notify_agency(case, Why.ASSIGNED, category=case.category, severity=case.severity)
    return case


def part_off(draft: Draft, case: Case, leaving: Collection[Member], new: CaseId) -> tuple[Case, Case]:
    """Makes some of a case's signals a case of their own, with the clocks that ran for them. Returns both."""
    rest, part = part_of(case, leaving, new, draft.now)
    if case.state in STOPPED:
        part = replace(part, clocks=clock.run_on(draft.site, part.clocks, ClockName.RESOLUTION, draft.now))
    elif case.state not in RUNNING:
        part = replace(part, clocks=clock.resume(draft.site, part.clocks, draft.now))
    draft.put(rest)
    draft.put(part)
    draft.tell(rest, "split", draft.now, other=part.id, members=len(part.members))
    draft.tell(part, "open", draft.now, part.title, public=True, other=case.id)
    draft.judged.append(Judged(case=case.id, other=part.id, state="dismissed"))
    return rest, part


def correct_all(draft: Draft, case: Case) -> Case:
    """Has all that was counted for the case told once more, as what it turned out to be.

    Figures follow by the rule of corrections: of several the one that arrived last holds, so each arrives after those
    before it. A step that has not come back from the log yet cannot be told again, and is taken back.
    """
    at = draft.now if case.corrected_at is None else max(draft.now, case.corrected_at + _NEXT)
    cause = Cause(draft.event.source, draft.event.id, at)
    members = [(member.source, member.corrected_by or member.id) for member in case.members]
    for number, identity in enumerate((*members, *case.counted)):
        known = draft.scene.signals.get(identity)
        if identity == (draft.event.source, draft.event.id):
            known = draft.event
        id_ = f"{CORRECTED}{cause.name}:{number}"
        if isinstance(known, Corrected):
            again = _corrected(known, case, id_, at)
            if known is not draft.event or again.data != known.data:
                draft.signals.append(again)
        elif identity[0] == SYSTEM:
            step = CaseStep(
                case=case.id, step="withdrawn", kind=case.kind, category=case.category, severity=case.severity
            )
            for taken_back in stepped(draft.site.areas, cause, [(case, draft.now, step)]):
                draft.signals.append(replace(taken_back, id=id_, withdraws=identity[1]))
    return replace(case, corrected_at=at)


def take_back(draft: Draft, event: FeedbackReceived, correction: str) -> None:
    """Has a correction taken back if it is the centre's own: who withdraws the report knows nothing of that."""
    if correction.startswith(CORRECTED):
        cause = Cause(event.source, event.id, draft.now)
        id_ = f"{CORRECTED}{cause.name}:0"
        draft.signals.append(replace(event, id=id_, withdraws=correction, received_at=draft.now))


def _corrected(known: Corrected, case: Case, id_: str, at: datetime) -> Corrected:
    supersedes = known.supersedes or known.id
    match known:
        case FeedbackReceived():
            data = replace(known.data, category=case.category, agency=case.agency, accused_agency=case.accused_agency)
        case CaseStepped():
            data = replace(known.data, category=case.category, agency=case.agency, kind=case.kind)
        case _:
            data = replace(known.data, category=case.category, agency=case.agency)
    return replace(known, id=id_, supersedes=supersedes, received_at=at, data=data)


def with_evidence(case: Case, brought: list[Evidence], draft: Draft, kind: str | None = None) -> Case | Refused:
    """The case with more evidence, each piece with who brought it and when it came."""
    if kind is not None and len(brought) > room_for_reported(case):
        detail = f"evidence: citizens bring at most {EVIDENCE_REPORTED_MAX} attachments to a case; say it in words"
        return Refused(Refusal.TOO_MANY, detail)
    if brought and len(case.evidence) + len(brought) > EVIDENCE_MAX:
        return Refused(Refusal.TOO_MANY, f"evidence: a case has at most {EVIDENCE_MAX} attachments")
    # What a citizen brings goes where the citizen's report goes.
    own = (one for one in case.members if one.tracking is not None and one.tracking == draft.actor.tracking)
    signal = next((signal_ref(one.source, one.id) for one in own), None)
    added = (
        replace(one, by=draft.actor.id, at=one.at or draft.at, kind=kind or one.kind, signal=signal)
        for one in brought
    )
    return replace(case, evidence=(*case.evidence, *added))


def room_for_reported(case: Case) -> int:
    """How many more attachments signals, and those who sent them, may bring to a case."""
    reported = sum(one.kind in (BROUGHT_BY_REPORT, BROUGHT_BY_CAMERA) for one in case.evidence)
    return max(0, min(EVIDENCE_REPORTED_MAX - reported, EVIDENCE_MAX - len(case.evidence)))


def in_the_field(draft: Draft, case: Case, at: datetime) -> Case:
    """The case in the state that its units are in, as far as it is up to them."""
    if case.state not in RUNNING:
        if case.before_waiting in (*BEFORE_FIELD, *FIELD.values()):
            furthest = _furthest(case)
            if furthest is not None:
                case = replace(case, before_waiting=furthest)
        return case
    furthest = _furthest(case)
    if furthest is not None and (case.state in BEFORE_FIELD or case.state in FIELD.values()):
        return draft.move(case, furthest, at)
    if case.state in (State.EN_ROUTE, State.ON_SCENE):
        return draft.move(case, State.ACCEPTED, at)
    return case


def _furthest(case: Case) -> State | None:
    """How far the unit has come that has come the furthest; None where none has accepted."""
    steps = {offer.step for offer in case.offers}
    return next((state for step, state in FIELD.items() if step in steps), None)


def _handed_over(draft: Draft, case: Case) -> Case:
    """The case with an owner that has yet to take it on, or with none that could have it."""
    if case.agency is None and case.state is State.NEW:
        return case
    state = State.TRIAGED if case.agency is None else State.ASSIGNED
    if case.before_waiting is not None:
        return replace(case, before_waiting=state)
    return draft.move(case, state, draft.now) if case.state in RUNNING else case
