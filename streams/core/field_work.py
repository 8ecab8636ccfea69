"""What becomes of a case when units are sent to it, and when they say how far they are?"""

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from schemas.case import OFFER_OVER, OFFERS_MAX, Case, Kind, Offer, OfferStep, Refusal
from schemas.command import DeadlinePassed, Dispatch, OfferStepped, SetAvailability, WithdrawOffer
from schemas.dispatching import check_unit
from schemas.identity import Role, may_see_unit
from schemas.unit import UnitStatus
from streams.core import dispatch
from streams.core.draft import Draft, Refused
from streams.core.duty import told_anew, told_up_to
from streams.core.handling import in_the_field, resolve, with_evidence
from streams.core.life_cycle import TABLE, UNDONE, Rule, lacking, led_to
from streams.core.notice import Why, to_unit

_WHY_NOT = {
    Refusal.UNKNOWN_UNIT: "is not declared in units.toml, or is none of yours",
    Refusal.UNIT_BUSY: "has as many cases as it can",
    Refusal.NOT_CAPABLE: "lacks a skill or is off duty; `force` with a reason sends it all the same",
}


def send(draft: Draft, case: Case, action: Dispatch, rule: Rule) -> Refused | None:
    """Offers the case to a unit."""
    if case.kind is Kind.CONDUCT:
        return Refused(Refusal.IMPOSSIBLE, "nobody is sent out for a complaint about an official")
    unit = draft.site.units.get(action.unit)
    if unit is None or not may_see_unit(draft.site, draft.actor, unit):
        # Only a declared chain of escalation sends what is another's.
        return _refused(Refusal.UNKNOWN_UNIT, action.unit)
    if action.unit in case.units:
        return Refused(Refusal.ALREADY, f"unit: {action.unit!r} has been offered it, or is at it")
    if len(case.offers) >= OFFERS_MAX:
        return Refused(Refusal.TOO_MANY, f"a case has at most {OFFERS_MAX} offers")
    why_not = check_unit(draft.site, case, action.unit, draft.unit(action.unit), draft.now)
    if why_not is not None and (why_not is not Refusal.NOT_CAPABLE or not action.force):
        return _refused(why_not, action.unit)
    if action.force and not action.reason:
        return Refused(Refusal.INCOMPLETE, "reason: say why this unit is to go")
    case = draft.move(case, led_to(case, rule), draft.now)
    case = draft.put(dispatch.offer(draft.site, case, action.unit, draft.now, draft.actor.id))
    offered(draft, case, case.offers[-1], action.reason)
    return None


def offered(draft: Draft, case: Case, offer: Offer, reason: str = "") -> None:
    """Lets everyone know of a new offer."""
    draft.tell(case, "dispatch", draft.now, reason, offer=offer.number, unit=offer.unit)
    draft.count(case, "offered", draft.now, unit=offer.unit)
    draft.notify(
        case, [to_unit(offer.unit)], Why.OFFERED, offer=offer.number, category=case.category, severity=case.severity
    )


def call_back(draft: Draft, case: Case, action: WithdrawOffer, _: Rule) -> Refused | None:
    """Ends an offer: the unit need not come."""
    offer = dispatch.offer_of(case, action.offer)
    if offer is None:
        return Refused(Refusal.INCOMPLETE, f"offer: the case has no offer {action.offer}")
    if offer.step in OFFER_OVER:
        return Refused(Refusal.TOO_LATE, f"offer: {action.offer} is {offer.step}")
    case = draft.withdrawn(case, [action.offer], action.reason or "withdrawn")
    draft.put(in_the_field(draft, case, draft.now))
    return None


def escalated(draft: Draft, case: Case, escalations: Sequence[dispatch.Escalation]) -> Case:
    """Puts down what was done about a step that a unit missed or declined, and tells whoever is to know."""
    case = replace(case, escalations=case.escalations + len(escalations))
    for one in escalations:
        draft.tell(
            case,
            "escalate",
            draft.now,
            offer=one.offer,
            unit=one.unit,
            step=one.missed,
            rung=one.rung,
            to=" ".join(one.tell),
        )
        draft.count(case, "escalated", draft.now, unit=one.unit)
        if one.next is not None:
            made = dispatch.offer_of(case, one.next)
            assert made is not None, "an escalation to the next unit made an offer"
            offered(draft, case, made)
        else:
            draft.notify(
                case, one.tell, Why.ESCALATED, offer=one.offer, unit=one.unit, step=one.missed, channel=one.channel
            )
    return case


def report(draft: Draft, case: Case, action: OfferStepped, rule: Rule) -> Refused | None:
    """Takes down how far a unit is."""
    offer = dispatch.offer_of(case, action.offer)
    if offer is None:
        return Refused(Refusal.INCOMPLETE, f"offer: the case has no offer {action.offer}")
    speaks_for_others = {Role.DISPATCHER, Role.SYSTEM} & set(draft.actor.roles)
    if offer.unit != draft.actor.unit and not speaks_for_others:
        return Refused(Refusal.NOT_YOURS, f"offer: {action.offer} is another unit's")
    step, at = OfferStep(action.step), draft.at
    stepped = dispatch.step_offer(draft.site, case, action.offer, step, at)
    if isinstance(stepped, Refusal):
        return Refused(stepped, f"offer: {action.offer} of {offer.unit!r} is {offer.step}")
    added = with_evidence(stepped, action.evidence, draft)
    if isinstance(added, Refused):
        return added
    case = replace(added, result=action.result or added.result)
    if step in (OfferStep.ACCEPTED, OfferStep.EN_ROUTE, OfferStep.ON_SCENE):
        case = draft.accepted(case, at, offer.unit)
    if step is OfferStep.ON_SCENE:
        case = draft.arrived(case, at, offer.unit, offer.at.get(OfferStep.OFFERED, at))
    case = in_the_field(draft, case, at)
    if step is OfferStep.DECLINED:
        draft.count(case, "declined", at, unit=offer.unit)
        draft.notify_agency(case, Why.DECLINED, offer=offer.number, unit=offer.unit)
        if case.state in UNDONE:
            states = {**draft.scene.units, **draft.units}
            case = escalated(draft, *dispatch.pass_on(draft.site, case, offer.number, draft.now, states))
    ends = False
    if step is OfferStep.DONE:
        draft.count(case, "unit_done", at, since=_began(case, offer.number), unit=offer.unit)
        done = TABLE.get((case.state, "resolve"))
        ends = (
            done is not None
            and bool(action.result)
            and not case.units
            and lacking(draft.site.cases, case, done.needs) is None
        )
        if ends:
            case = resolve(draft, case, at)
    draft.put(case)
    said = action.reason or action.result
    draft.tell(
        case, f"unit_{step}", at, said, offer=offer.number, unit=offer.unit, by_unit=draft.actor.unit is not None
    )
    if ends:
        # What a unit says is for those at work; that it is done, and how, is for whoever reported it.
        draft.tell(case, "resolve", at, action.result, public=True)
    return None


def set_availability(draft: Draft, unit: str, action: SetAvailability) -> Refused | None:
    """Takes down whether a unit can be sent. A later word stands, whenever it arrives."""
    declared = draft.site.units.get(unit)
    roles = set(draft.actor.roles)
    own = draft.actor.unit == unit and Role.UNIT in roles
    if not own and Role.DISPATCHER not in roles:
        if Role.UNIT in roles:
            return Refused(Refusal.NOT_YOURS, f"unit {unit!r} is not yours")
        return Refused(Refusal.FORBIDDEN, "a unit speaks for itself, or its dispatcher does")
    if declared is None:
        return _refused(Refusal.UNKNOWN_UNIT, unit)
    if not own and not may_see_unit(draft.site, draft.actor, declared):
        return _refused(Refusal.UNKNOWN_UNIT, unit)
    state = draft.unit(unit)
    if state.status_at is not None and state.status_at > draft.at:
        return Refused(Refusal.STALE, f"it said something newer at {state.status_at.isoformat()}")
    if action.until is not None and action.until <= draft.at:
        return Refused(Refusal.TOO_LATE, "until: that moment has passed")
    if draft.event.exercise:
        # Said and decided, but a unit that plays is as it was.
        return None
    state, told = told_up_to(draft.site, declared, state, draft.at)
    after = replace(state, status=UnitStatus(action.status), status_at=draft.at, until=action.until, note=action.note)
    draft.duties += (*told, *told_anew(draft.site, declared, state, after, draft.at))
    draft.change_unit(after)
    return None


def pass_hour(draft: Draft, unit: str, action: DeadlinePassed) -> Refused | None:
    """Tells the figures how long a unit was on duty, up to the end of an hour."""
    declared = draft.site.units.get(unit)
    if declared is None:
        return _refused(Refusal.UNKNOWN_UNIT, unit)
    if action.due_at > draft.now:
        return Refused(Refusal.FROM_THE_FUTURE, "due_at: that moment is still to come")
    state = draft.unit(unit)
    after, told = told_up_to(draft.site, declared, state, action.due_at)
    if after == state:
        return Refused(Refusal.TOO_LATE, f"its time on duty is known up to {state.duty_at}")
    draft.duties += told
    draft.change_unit(after)
    return None


def _began(case: Case, number: int) -> datetime | None:
    """When a unit began with a case: it need not have said that it accepts."""
    offer = dispatch.offer_of(case, number)
    moments = {} if offer is None else offer.at
    taken = (moments.get(step) for step in (OfferStep.ACCEPTED, OfferStep.EN_ROUTE, OfferStep.ON_SCENE))
    return min((moment for moment in taken if moment is not None), default=None)


def _refused(reason: Refusal, unit: str) -> Refused:
    return Refused(reason, f"unit: {unit!r} {_WHY_NOT.get(reason, 'cannot be sent')}")
