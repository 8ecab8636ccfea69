"""What is due to happen to a case by itself, and what happens then?

Deadlines follow from the case as it is. One that has passed comes back as an event; by then the case may have
changed, so it only counts if the case still has it.
"""

from datetime import datetime

from msgspec.structs import replace

from schemas.case import OFFER_OVER, Case, Deadline, OfferStep, Refusal, State
from schemas.command import DeadlinePassed
from schemas.site import Site
from streams.core import clock, dispatch
from streams.core.draft import Draft, Refused
from streams.core.field_work import escalated
from streams.core.handling import close, in_the_field, unattended_at
from streams.core.life_cycle import TABLE, UNDONE, lacking
from streams.core.notice import Why

UNATTENDED = {State.RESOLVED: "unattended", State.CONFIRMED: "unattended:confirmed"}
"""The deadline after which a case that is done, and of which nobody says anything, is closed.

What was confirmed late has one of its own: the other may have passed when nothing showed yet that it was done.
"""


def deadlines_of(case: Case, site: Site) -> list[Deadline]:
    """All that is due to happen to a case as it is; each name once. They follow from the case alone."""
    if case.state in UNDONE:
        return [*clock.clock_deadlines(case), *dispatch.offer_deadlines(case)]
    at = unattended_at(site, case)
    return [] if at is None else [Deadline(case=case.id, name=UNATTENDED[case.state], due_at=at)]


def pass_deadline(draft: Draft, case: Case, action: DeadlinePassed) -> Refused | None:
    """Does what was to be done when this deadline passed."""
    due = next((one for one in deadlines_of(case, draft.site) if one.name == action.name), None)
    if due is None or due.due_at != action.due_at:
        return Refused(Refusal.TOO_LATE, f"name: {action.name!r} is no longer due then")
    if draft.now < due.due_at:
        return Refused(Refusal.FROM_THE_FUTURE, f"due_at: {action.name!r} is not due yet")
    kind, _, rest = action.name.partition(":")
    if kind == "clock":
        _run_out(draft, case, action)
    elif kind == "offer":
        _missed(draft, case, int(rest.partition(":")[0]), due.due_at)
    else:
        _unattended(draft, case)
    return None


def _run_out(draft: Draft, case: Case, action: DeadlinePassed) -> None:
    _, name, what = action.name.split(":")
    case = replace(case, clocks=clock.passed(draft.site, case.clocks, action.name, draft.now))
    if what == "warn":
        draft.put(case)
        draft.tell(case, "warn", action.due_at, clock=name)
        draft.notify_agency(case, Why.WARNED, clock=name)
        return
    case = draft.put(replace(case, escalations=case.escalations + 1))
    draft.tell(case, "breach", action.due_at, clock=name)
    draft.count(case, "escalated", draft.now)
    draft.notify_agency(case, Why.BREACHED, clock=name)
    draft.notify_supervisor(case, Why.BREACHED, clock=name)


def _missed(draft: Draft, case: Case, number: int, due_at: datetime) -> None:
    before = dispatch.offer_of(case, number)
    assert before is not None
    assert before.step not in OFFER_OVER, "only an open offer waits for something"
    step = before.awaits or OfferStep.OFFERED
    draft.tell(case, "miss", due_at, offer=number, unit=before.unit, step=step)
    draft.count(case, "missed", draft.now, unit=before.unit)
    case, escalations = dispatch.missed(draft.site, case, number, draft.now, {**draft.scene.units, **draft.units})
    case = escalated(draft, case, escalations)
    draft.put(in_the_field(draft, case, draft.now))


def _unattended(draft: Draft, case: Case) -> None:
    rule = TABLE[case.state, "unattended"]
    need = lacking(draft.site.cases, case, rule.needs)
    if need is None:
        draft.put(close(draft, case, draft.now))
        draft.tell(case, "unattended", draft.now, public=True)
        return
    # Silence is no proof: whoever resolved it has to show that it was done.
    draft.tell(case, "unattended", draft.now, lacks=need)
    draft.notify_agency(case, Why.EVIDENCE_MISSING, lacks=need)
