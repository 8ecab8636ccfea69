"""What does a person's command do to a case?

Each handler is given a case that the actor may see, with a row of the life cycle that allows the move; it says what
else stands against it, or puts down what follows.
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from schemas.agency import is_below
from schemas.area_id import AreaId
from schemas.case import (
    BROUGHT_BY_REPORT,
    CONFIRMATION,
    REVIEWS_NEEDED,
    Case,
    CaseId,
    Evidence,
    Kind,
    Member,
    Refusal,
    Review,
    State,
    Taken,
    case_id,
)
from schemas.command import (
    Accept,
    Acknowledge,
    Action,
    AddNote,
    Answer,
    Assign,
    Close,
    Confirm,
    Dismiss,
    Dispute,
    Merge,
    Open,
    Rate,
    Reject,
    Reopen,
    Reply,
    Resolve,
    Resume,
    Reveal,
    ReviewViolation,
    Split,
    TakeStep,
    Triage,
    Unmerge,
    Wait,
)
from schemas.event import CaseCommand, type_of
from schemas.identity import Role
from streams.core import clock
from streams.core.case_signals import announce, build
from streams.core.draft import Draft, Refused
from streams.core.handling import (
    asked_until,
    close,
    correct_all,
    part_off,
    recategorise,
    reject,
    resolve,
    with_evidence,
)
from streams.core.life_cycle import TABLE, UNDONE, Need, Rule, lacking, led_to, steps_left
from streams.core.merging import cannot_merge, leaving_by, merge, unmerge
from streams.core.notice import SUBSCRIBERS, TO_UNITS, Why, to_agency, to_unit
from streams.core.scene import Judged

Handler = Callable[[Draft, Case, Any, Rule], Refused | None]


def open_case(draft: Draft, event: CaseCommand, action: Open, area: AreaId) -> Case | Refused:
    """A case by an operator's own entry."""
    rules = draft.site.cases
    if rules is None:
        return Refused(Refusal.IMPOSSIBLE, "this site keeps no cases: it has no cases.toml")
    id_ = case_id(event.source, event.id)
    if event.subject != id_:
        return Refused(Refusal.IMPOSSIBLE, f"the subject has to be {id_}, which follows from source and id")
    if id_ in draft.scene.cases:
        return Refused(Refusal.ALREADY, "the case is there")
    category = rules.of(action.category)
    if category.id != action.category:
        return Refused(Refusal.UNKNOWN_CATEGORY, f"category: {action.category!r} is not declared in cases.toml")
    if (refused := _check_accused(draft, category.kind, action.accused_agency)) is not None:
        return refused
    member = Member(
        source=event.source,
        id=event.id,
        type=type_of(event),
        at=draft.at,
        case=id_,
        channel="operator",
        category=category.id,
        place=event.place,
        title=action.title,
    )
    case = build(
        draft,
        id_,
        category,
        area,
        kind=category.kind,
        severity=action.severity or category.severity,
        member=member,
        accused=action.accused_agency,
    )
    if not any(one in draft.actor.areas for one in case.areas):
        return Refused(Refusal.FORBIDDEN, "area: it is none of yours")
    announce(draft, case)
    if action.text:
        draft.tell(case, "note", draft.at, action.text)
    return case


def _triage(draft: Draft, case: Case, action: Triage, rule: Rule) -> Refused | None:
    rules = draft.site.cases
    assert rules is not None
    category = rules.of(case.category if action.category is None else action.category)
    if action.category is None:
        # What nobody has judged anew stays as it is, also where the site pack no longer knows the category.
        category = replace(category, id=case.category, kind=case.kind)
    elif category.id != action.category:
        return Refused(Refusal.UNKNOWN_CATEGORY, f"category: {action.category!r} is not declared in cases.toml")
    is_complaint = category.kind is Kind.CONDUCT
    if (refused := _check_accused(draft, category.kind, action.accused_agency)) is not None:
        return refused
    accused = action.accused_agency or case.accused_agency
    if is_complaint and accused is None:
        return Refused(Refusal.INCOMPLETE, "accused_agency: say whose official the complaint is about")
    if category.kind is not case.kind and (need := lacking(rules, case, [Need.DROPPED])) is not None:
        # Else one person could let a violation go, by calling it something else first.
        return _incomplete(need)
    if not is_complaint:
        accused = None
    changes_sight = accused != case.accused_agency
    if changes_sight and (case.absorbed or case.parted):
        return Refused(Refusal.IMPOSSIBLE, "other cases were merged into it, and others may see those: unmerge them")
    if action.publish and (is_complaint or category.kind is Kind.VIOLATION):
        return Refused(Refusal.FORBIDDEN, f"publish: a case of kind {category.kind} is never published")
    had = case
    case = draft.move(case, led_to(case, rule), draft.now)
    case = replace(
        case,
        severity=action.severity or case.severity,
        title=case.title if action.title is None else action.title,
    )
    if category.id != case.category or changes_sight:
        case = recategorise(draft, case, category, accused)
    elif case.severity is not had.severity and case.state in UNDONE:
        case = replace(case, clocks=clock.replan(draft.site, case, draft.now))
    if action.publish is not None:
        case = replace(case, published=action.publish)
    if changes_sight:
        case = correct_all(draft, case)
    draft.put(case)
    draft.tell(case, "triage", draft.now, category=case.category, severity=case.severity)
    return None


def _check_accused(draft: Draft, kind: Kind, accused: str | None) -> Refused | None:
    if accused is None:
        return None
    if kind is not Kind.CONDUCT:
        return Refused(Refusal.IMPOSSIBLE, "accused_agency: only a complaint about an official has one")
    if accused not in draft.site.agencies:
        return Refused(Refusal.UNKNOWN_AGENCY, f"accused_agency: {accused!r} is not declared in agencies.toml")
    return None


def _assign(draft: Draft, case: Case, action: Assign, rule: Rule) -> Refused | None:
    if (refused := _check_agency(draft, case, action.agency)) is not None:
        return refused
    if case.agency == action.agency and case.state in (
        State.ASSIGNED,
        State.ACCEPTED,
        State.EN_ROUTE,
        State.ON_SCENE,
    ):
        return Refused(Refusal.ALREADY, f"agency: {action.agency!r} has it")
    had = case.agency
    case = replace(draft.move(case, led_to(case, rule), draft.now), agency=action.agency)
    if case.state in UNDONE:
        # An agency may have an allowance of its own; what has run stays.
        case = replace(case, clocks=clock.replan(draft.site, case, draft.now))
    draft.put(case)
    draft.tell(case, "assign", draft.now, action.note, agency=action.agency, before=had)
    draft.notify_agency(case, Why.ASSIGNED, category=case.category, severity=case.severity)
    return None


def _check_agency(draft: Draft, case: Case, agency: str) -> Refused | None:
    """Whether an agency may be told of the case."""
    agencies = draft.site.agencies
    if agency not in agencies:
        return Refused(Refusal.UNKNOWN_AGENCY, f"agency: {agency!r} is not declared in agencies.toml")
    if case.accused_agency is not None and is_below(agencies, agency, case.accused_agency):
        return Refused(Refusal.FORBIDDEN, f"agency: {agency!r} is the accused one, or below it")
    return None


def _accept(draft: Draft, case: Case, _: Accept, rule: Rule) -> Refused | None:
    if lacking(draft.site.cases, case, rule.needs) is not None:
        return _incomplete(Need.AGENCY)
    case = draft.put(draft.accepted(draft.move(case, led_to(case, rule), draft.now), draft.now))
    draft.tell(case, "accept", draft.now)
    return None


def _merge(draft: Draft, case: Case, action: Merge, _: Rule) -> Refused | None:
    other = _other(draft, action.other)
    if isinstance(other, Refused):
        return other
    if action.other_version is not None and action.other_version != other.version:
        return Refused(Refusal.STALE, f"other_version: the other case is at version {other.version}")
    if (refused := cannot_merge(case, other)) is not None:
        return refused
    if (other.state, "be_merged") not in TABLE:
        return Refused(Refusal.IMPOSSIBLE, f"the other case is {other.state}")
    whole, part = merge(case, other)
    draft.put(whole)
    draft.put(part)
    draft.judged.append(Judged(case=case.id, other=other.id, state="merged"))
    draft.tell(whole, "merge", draft.now, other=other.id)
    draft.tell(part, "be_merged", draft.now, into=case.id)
    draft.notify(part, [SUBSCRIBERS], Why.MERGED, into=case.id)
    return None


def _unmerge(draft: Draft, case: Case, action: Unmerge, _: Rule) -> Refused | None:
    other = _other(draft, action.other)
    if isinstance(other, Refused):
        return other
    parts = unmerge(case, other)
    if isinstance(parts, Refused):
        return parts
    rest, part = map(draft.put, parts)
    draft.judged.append(Judged(case=case.id, other=other.id, state="dismissed"))
    draft.tell(rest, "unmerge", draft.now, other=other.id)
    draft.tell(part, "be_unmerged", draft.now, other=case.id)
    draft.notify(part, [SUBSCRIBERS], Why.UNMERGED)
    return None


def _split(draft: Draft, case: Case, action: Split, _: Rule) -> Refused | None:
    id_ = case_id(draft.event.source, draft.event.id)
    leaving = leaving_by(case, action.members)
    if isinstance(leaving, Refused):
        return leaving
    part = part_off(draft, case, leaving, id_)[1]
    draft.count(part, "opened", part.opened_at)
    return None


def _dismiss(draft: Draft, case: Case, action: Dismiss, _: Rule) -> Refused | None:
    other = _other(draft, action.other)
    if isinstance(other, Refused):
        return other
    draft.judged.append(Judged(case=case.id, other=other.id, state="dismissed"))
    draft.tell(case, "dismiss", draft.now, other=other.id)
    return None


def _other(draft: Draft, id_: CaseId) -> Case | Refused:
    """The other case that a command names, if the actor may see it."""
    other = draft.scene.cases.get(id_)
    if other is None or not draft.sees(other):
        return Refused(Refusal.UNKNOWN_CASE, f"other: there is no case {id_!r}")
    return other


def _wait(draft: Draft, case: Case, action: Wait, rule: Rule) -> Refused | None:
    if action.agency is not None and (refused := _check_agency(draft, case, action.agency)) is not None:
        return refused
    case = draft.put(draft.move(case, led_to(case, rule), draft.now))
    asks = action.until == "citizen"
    draft.tell(case, "wait", draft.now, action.text, public=asks, until=action.until, agency=action.agency)
    if asks:
        draft.notify(case, [SUBSCRIBERS], Why.WAITING)
    elif action.agency is not None:
        draft.notify(case, [to_agency(action.agency)], Why.WAITING)
    return None


def _resume(draft: Draft, case: Case, action: Resume, rule: Rule) -> Refused | None:
    case = draft.put(draft.move(case, led_to(case, rule), draft.now))
    draft.tell(case, "resume", draft.now, action.text)
    return None


def _answer(draft: Draft, case: Case, action: Answer, _: Rule) -> Refused | None:
    case = draft.put(draft.answered(case, draft.now))
    draft.tell(case, "answer", draft.now, action.text, public=True)
    draft.notify(case, [SUBSCRIBERS], Why.ANSWERED)
    return None


def _note(draft: Draft, case: Case, action: AddNote, _: Rule) -> Refused | None:
    if not action.text and not action.evidence:
        return Refused(Refusal.INCOMPLETE, "text: a note says something, or brings evidence")
    added = with_evidence(case, action.evidence, draft)
    if isinstance(added, Refused):
        return added
    if action.to_units and not case.units:
        return Refused(Refusal.INCOMPLETE, "to_units: no unit is on the case")
    draft.put(added)
    to = TO_UNITS if action.to_units else None
    draft.tell(case, "note", draft.at, action.text, evidence=len(action.evidence) or None, to=to)
    if action.to_units:
        draft.notify(case, [to_unit(unit) for unit in case.units], Why.MESSAGE)
    return None


def _resolve(draft: Draft, case: Case, action: Resolve, rule: Rule) -> Refused | None:
    added = with_evidence(case, action.evidence, draft)
    if isinstance(added, Refused):
        return added
    added = replace(added, result=action.result)
    if (need := lacking(draft.site.cases, added, rule.needs)) is not None:
        return _incomplete(need)
    draft.put(resolve(draft, added, draft.now))
    draft.tell(case, "resolve", draft.now, action.result, public=True)
    return None


def _close(draft: Draft, case: Case, action: Close, rule: Rule) -> Refused | None:
    added = with_evidence(case, action.evidence, draft)
    if isinstance(added, Refused):
        return added
    added = replace(added, result=action.result or case.result)
    if (need := lacking(draft.site.cases, added, rule.needs)) is not None:
        return _incomplete(need)
    until = asked_until(draft.site, case)
    if case.state is State.RESOLVED and until is not None and draft.now < until:
        detail = f"the citizen was asked whether it is fixed, and may answer until {until.isoformat()}"
        return Refused(Refusal.AWAITS_CITIZEN, detail)
    draft.put(close(draft, added, draft.now))
    draft.tell(case, "close", draft.now, action.result, public=True)
    return None


def _reject(draft: Draft, case: Case, action: Reject, rule: Rule) -> Refused | None:
    if (need := lacking(draft.site.cases, case, rule.needs, action.reason)) is not None:
        return _incomplete(need)
    draft.put(reject(draft, case, draft.now, action.reason))
    draft.tell(case, "reject", draft.now, action.reason, public=True)
    return None


def _reopen(draft: Draft, case: Case, action: Reopen, _: Rule) -> Refused | None:
    draft.put(draft.reopened(case, draft.now))
    draft.tell(case, "reopen", draft.now, action.reason, public=True)
    draft.notify(case, [SUBSCRIBERS], Why.REOPENED)
    return None


def _acknowledge(draft: Draft, case: Case, _: Acknowledge, __: Rule) -> Refused | None:
    if case.acknowledged_by is not None:
        return Refused(Refusal.ALREADY, f"{case.acknowledged_by} has seen it")
    draft.put(replace(case, acknowledged_by=draft.actor.id))
    draft.tell(case, "acknowledge", draft.at)
    return None


def _review(draft: Draft, case: Case, action: ReviewViolation, _: Rule) -> Refused | None:
    if case.kind is not Kind.VIOLATION:
        return Refused(Refusal.IMPOSSIBLE, "only what a camera saw as a violation is reviewed")
    if any(review.by == draft.actor.id for review in case.reviews):
        return Refused(Refusal.SAME_REVIEWER, "you have reviewed it: the other verdict has to be somebody else's")
    review = Review(by=draft.actor.id, at=draft.at, upheld=action.upheld, note=action.note)
    draft.put(replace(case, reviews=(*case.reviews, review)))
    draft.tell(case, "review", draft.at, action.note, upheld=action.upheld)
    return None


def _law_step(draft: Draft, case: Case, action: TakeStep, rule: Rule) -> Refused | None:
    if any(one.step == action.step for one in case.taken):
        return Refused(Refusal.ALREADY, f"step: {action.step!r} was taken")
    left = steps_left(draft.site.cases, case)
    if not left or left[0].id != action.step:
        expected = repr(left[0].id) if left else "none: all have been taken"
        return Refused(Refusal.IMPOSSIBLE, f"step: the next one that the law gives is {expected}")
    added = with_evidence(case, action.evidence, draft)
    if isinstance(added, Refused):
        return added
    if (need := lacking(draft.site.cases, added, rule.needs)) is not None:
        return _incomplete(need)
    step = Taken(step=action.step, at=draft.now, by=draft.actor.id, note=action.note)
    draft.put(replace(added, taken=(*added.taken, step)))
    draft.tell(case, "law_step", draft.now, action.note, step=action.step, evidence=len(action.evidence) or None)
    return None


def _reveal(draft: Draft, case: Case, action: Reveal, _: Rule) -> Refused | None:
    if action.what == "reporter" and Role.OPERATOR not in draft.actor.roles:
        return Refused(Refusal.FORBIDDEN, "what: who reported it is for operators")
    if action.what == "plate" and case.plate is None:
        return Refused(Refusal.IMPOSSIBLE, "what: the case has no number plate")
    draft.tell(case, "reveal", draft.now, action.reason, what=action.what)
    return None


def _confirm(draft: Draft, case: Case, _: Confirm, rule: Rule) -> Refused | None:
    own = draft.actor.tracking
    if own is None or own in case.confirmed:
        return Refused(Refusal.ALREADY, "you have confirmed it")
    case = replace(case, confirmed=(*case.confirmed, own))
    if set(case.tracking) <= set(case.confirmed):
        # Of several reports that are one case nobody confirms what the others are about.
        proof = Evidence(
            ref=f"command:{draft.event.source}/{draft.event.id}", kind=CONFIRMATION, at=draft.at, by=draft.actor.id
        )
        kept = (one for one in case.evidence if (one.kind, one.by) != (proof.kind, proof.by))
        case = draft.move(replace(case, evidence=(*kept, proof)), led_to(case, rule), draft.now)
    draft.put(case)
    draft.tell(case, "confirm", draft.at, public=True)
    return None


def _dispute(draft: Draft, case: Case, _: Dispute, __: Rule) -> Refused | None:
    case = replace(draft.reopened(case, draft.now), disputes=case.disputes + 1)
    draft.put(case)
    draft.count(case, "disputed", draft.now, since=case.opened_at)
    draft.tell_said(case, "dispute", draft.at, public=True)
    draft.notify_agency(case, Why.DISPUTED)
    return None


def _rate(draft: Draft, case: Case, action: Rate, _: Rule) -> Refused | None:
    if case.rating is not None:
        return Refused(Refusal.ALREADY, f"it was rated {case.rating}")
    case = draft.put(replace(case, rating=action.score))
    draft.count(case, "rated", draft.at, score=action.score)
    draft.tell_said(case, "rate", draft.at, score=action.score)
    return None


def _reply(draft: Draft, case: Case, action: Reply, rule: Rule) -> Refused | None:
    # What a citizen sends in shows what is to be done, not that it was.
    added = with_evidence(case, action.evidence, draft, BROUGHT_BY_REPORT)
    if isinstance(added, Refused):
        return added
    draft.put(draft.move(added, led_to(case, rule), draft.now))
    draft.tell_said(case, "reply", draft.at, public=True, evidence=len(action.evidence) or None)
    draft.notify_agency(case, Why.REPLIED)
    return None


HANDLERS: Mapping[type[Action], Handler] = {
    Triage: _triage,
    Assign: _assign,
    Accept: _accept,
    Merge: _merge,
    Unmerge: _unmerge,
    Split: _split,
    Dismiss: _dismiss,
    Wait: _wait,
    Resume: _resume,
    Answer: _answer,
    AddNote: _note,
    Resolve: _resolve,
    Close: _close,
    Reject: _reject,
    Reopen: _reopen,
    Acknowledge: _acknowledge,
    ReviewViolation: _review,
    TakeStep: _law_step,
    Reveal: _reveal,
    Confirm: _confirm,
    Dispute: _dispute,
    Rate: _rate,
    Reply: _reply,
}
"""What each action does."""

_LACKS = {
    Need.AGENCY: "agency: nobody has it yet; assign it first",
    Need.RESULT: "result: say what was done",
    Need.EVIDENCE: "evidence: show that it was done; what a report came with shows only what was wrong",
    Need.REASON: "reason: say why",
    Need.UPHELD: f"review: {REVIEWS_NEEDED} persons have to find that it is a violation",
    Need.STEPS: "law_step: not all steps that the law gives have been taken",
    Need.DROPPED: f"review: {REVIEWS_NEEDED} persons have to find that it is none",
}


def _incomplete(need: Need) -> Refused:
    return Refused(Refusal.INCOMPLETE, _LACKS[need])
