"""What follows from an event that concerns a case?

Signals open cases and add to them, commands ask for steps, deadlines that have passed set off what was
declared. Every event in every state has an outcome: a change, or a refusal with its reason. `received_at` is now.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from schemas.case import Case, CaseId, Refusal
from schemas.command import (
    Actor,
    AnyAction,
    DeadlinePassed,
    Dismiss,
    Dispatch,
    ErasePerson,
    Merge,
    OfferStepped,
    Open,
    SetAvailability,
    Silence,
    Triage,
    Unmerge,
    WithdrawOffer,
    name_of,
)
from schemas.event import AnyEvent, AreaCode, AreaId, CameraIncident, CaseCommand, FeedbackReceived
from schemas.identity import Role
from schemas.site import Site
from schemas.topics import about, case_of, own_case_of
from streams.core.case_commands import HANDLERS, open_case
from streams.core.case_signals import Signal, opens, receive
from streams.core.consequence import SYSTEM
from streams.core.draft import Draft, Refused
from streams.core.due import deadlines_of as deadlines_of
from streams.core.due import pass_deadline
from streams.core.field_work import call_back, pass_hour, report, send, set_availability
from streams.core.life_cycle import PASSED_ON, PERMITS, TABLE, Rule, move_of
from streams.core.merging import leads_to
from streams.core.merging import next_case as next_case
from streams.core.scene import NOTHING, Scene
from streams.core.scene import Decided as Decided
from streams.core.scene import Following as Following
from streams.core.scene import Judged as Judged
from streams.core.scene import Proposal as Proposal
from streams.core.scene import Silenced as Silenced
from streams.core.scene import Step as Step

SILENCE_MAX = timedelta(days=366)
"""The longest that one command silences a rule. What is never to be heard again is taken out of the site pack."""


def decide(event: AnyEvent, area: AreaId, received_at: datetime, scene: Scene) -> Decided:
    """What one fresh event brings about. Never raises."""
    if isinstance(event, CaseCommand):
        return _decide_command(event, event.data.do, area, received_at, scene)
    if not isinstance(event, Signal) or scene.site.cases is None:
        return NOTHING
    source = Actor(id=event.source, roles=(Role.SYSTEM,))
    draft = Draft(scene, event, received_at, source, "source")
    return draft.finish(receive(draft, event, area))


def home_needed(event: AnyEvent) -> tuple[str, str] | None:
    """The signal, by source and id, that another one corrects: whose case that is now, only the store can tell."""
    corrects = event.supersedes or event.withdraws
    if corrects is None or not isinstance(event, FeedbackReceived | CameraIncident):
        return None
    return event.source, corrects


def cases_needed(event: AnyEvent, homes: Mapping[tuple[str, str], CaseId]) -> tuple[CaseId, ...]:
    """The cases that a decision looks at, as far as the event says and its home; from each, go on by `next_case`."""
    if isinstance(event, Signal):
        own = () if not isinstance(event, FeedbackReceived | CameraIncident) else (own_case_of(event),)
        corrects = home_needed(event)
        home = None if corrects is None else homes.get(corrects)
        return tuple(dict.fromkeys((CaseId(case_of(event)), *own, *(() if home is None else (home,)))))
    if not isinstance(event, CaseCommand) or isinstance(event.data.do, SetAvailability | Silence | ErasePerson):
        return ()
    action = event.data.do
    if _is_of_unit(event, action):
        return ()
    own = CaseId(about(event))
    return (own, action.other) if isinstance(action, Merge | Unmerge | Dismiss) else (own,)


def units_needed(
    event: AnyEvent, cases: Mapping[CaseId, Case], homes: Mapping[tuple[str, str], CaseId]
) -> frozenset[str] | None:
    """The units whose state a decision looks at or changes; None: of every unit, because another one may be sent."""
    involved = [case for id_ in cases_needed(event, homes) for case in (cases.get(id_), leads_to(cases, id_)) if case]
    found = {unit for case in involved for unit in case.units}
    if not isinstance(event, CaseCommand):
        return frozenset(found)
    action = event.data.do
    if isinstance(action, DeadlinePassed) and action.name.startswith("offer:"):
        return None
    if isinstance(action, OfferStepped) and action.step == "declined":
        return None
    if isinstance(action, Dispatch):
        found.add(action.unit)
    if isinstance(action, SetAvailability) or _is_of_unit(event, action):
        found.add(about(event).removeprefix("unit:"))
    return frozenset(found)


def signals_needed(
    event: AnyEvent, cases: Mapping[CaseId, Case], homes: Mapping[tuple[str, str], CaseId]
) -> tuple[tuple[str, str], ...]:
    """Stored events, by (source, id), that a decision may have to correct."""
    found: list[Case | None] = []
    if isinstance(event, FeedbackReceived) and event.supersedes is not None:
        found += (leads_to(cases, origin) for origin in cases_needed(event, homes))
    elif isinstance(event, CaseCommand) and isinstance(event.data.do, Triage):
        judges = event.data.do.category is not None or event.data.do.accused_agency is not None
        found.append(cases.get(CaseId(about(event))) if judges else None)
    return tuple(identity for case in found if case is not None for identity in _told_of(case))


def _told_of(case: Case) -> Iterator[tuple[str, str]]:
    """The events that were counted for a case: its reports as they are by now, and what it remembers."""
    for member in case.members:
        if member.type == "ioc.feedback.received.v1":
            yield member.source, member.corrected_by or member.id
    yield from case.counted


def wants_near(event: AnyEvent, site: Site) -> bool:
    """Whether the open cases near the event matter: it may open one that is another's."""
    if site.cases is None or event.place is None:
        return False
    match event:
        case CaseCommand():
            return isinstance(event.data.do, Open)
        case FeedbackReceived():
            return opens(event) and site.cases.of(event.data.category).opens
        case CameraIncident():
            return opens(event) and site.cases.of(event.data.kind).opens
        case _:
            return opens(event)


def _decide_command(
    event: CaseCommand, action: AnyAction, area: AreaId, received_at: datetime, scene: Scene
) -> Decided:
    actor = event.data.actor
    if event.time > received_at + timedelta(seconds=scene.site.header.future_max_s):
        detail = f"time: {event.time.isoformat()} is still to come; set the clock of the device right"
        return Decided(refusal=Refusal.FROM_THE_FUTURE, detail=detail)
    if Role.SYSTEM in actor.roles and event.source != SYSTEM:
        return Decided(refusal=Refusal.FORBIDDEN, detail="only the centre itself speaks for the centre")
    draft = Draft(scene, event, received_at, actor, actor.roles[0] if actor.roles else "")
    if isinstance(action, SetAvailability | Silence | ErasePerson | Open) or _is_of_unit(event, action):
        return _elsewhere(draft, event, action, area)
    move = move_of(action)
    origin = CaseId(about(event))
    case = leads_to(scene.cases, origin) if move in PASSED_ON else scene.cases.get(origin)
    own = {offer.unit for offer in case.offers} if case is not None and isinstance(action, OfferStepped) else ()
    if case is None or not draft.sees(case, own):
        return Decided(refusal=Refusal.UNKNOWN_CASE, detail=f"there is no case {origin!r}")
    if event.exercise is not case.exercise:
        # Also the other way round: whoever means a real case and names a drill's has to hear of it.
        what = (
            "the case is real, and a drill acts on its own" if event.exercise else "the case is a drill's; say true"
        )
        return _refused(Refused(Refusal.IMPOSSIBLE, f"exercise: {what}"), case)
    if (role := _role(actor, move)) is None:
        return _refused(Refused(Refusal.FORBIDDEN, f"{name_of(action)} is for {_named(move)}"), case)
    draft.role = role
    rule = TABLE.get((case.state, move))
    if not PERMITS[move].is_fact and case.id == origin and (outdated := _outdated(event, action, role, case)):
        return _refused(Refused(Refusal.STALE, outdated), case)
    refused = _impossible(case, move, action) if rule is None else _carry_out(draft, case, action, rule)
    return draft.finish(case.id) if refused is None else _refused(refused, case)


def _is_of_unit(event: CaseCommand, action: AnyAction) -> bool:
    """Whether a deadline is a unit's, and no case's."""
    return isinstance(action, DeadlinePassed) and about(event).startswith("unit:")


def _carry_out(draft: Draft, case: Case, action: AnyAction, rule: Rule) -> Refused | None:
    match action:
        case DeadlinePassed():
            return pass_deadline(draft, case, action)
        case Dispatch():
            return send(draft, case, action, rule)
        case WithdrawOffer():
            return call_back(draft, case, action, rule)
        case OfferStepped():
            return report(draft, case, action, rule)
        case _:
            return HANDLERS[type(action)](draft, case, action, rule)


def _elsewhere(draft: Draft, event: CaseCommand, action: AnyAction, area: AreaId) -> Decided:
    """What is about no case that is there: a new one, a unit, an alert rule, a person."""
    role = _role(draft.actor, name_of(action))
    if role is None:
        return Decided(refusal=Refusal.FORBIDDEN, detail=f"{name_of(action)} is for {_named(name_of(action))}")
    draft.role = role
    kind, _, name = about(event).partition(":")
    match action:
        case Open():
            case = open_case(draft, event, action, area)
            if isinstance(case, Refused):
                return Decided(refusal=case.reason, detail=case.detail)
            return draft.finish(case.id)
        case SetAvailability():
            subject, refused = "unit", set_availability(draft, name, action)
        case DeadlinePassed():
            subject, refused = "unit", pass_hour(draft, name, action)
        case Silence():
            subject, refused = "alert", _silence(draft, name, action)
        case _:
            subject, refused = "person", None
            draft.erased.append(name)
    if kind != subject or not name:
        return Decided(refusal=Refusal.IMPOSSIBLE, detail=f"the subject has to be {subject}:<id>")
    if refused is not None:
        return Decided(refusal=refused.reason, detail=refused.detail)
    return draft.finish(about(event))


def _silence(draft: Draft, rule: str, action: Silence) -> Refused | None:
    areas = draft.site.areas
    if all(one.id != rule for one in draft.site.alerts):
        return Refused(Refusal.IMPOSSIBLE, f"there is no alert rule {rule!r} in alerts.toml")
    if action.until <= draft.now:
        return Refused(Refusal.TOO_LATE, "until: that moment has passed")
    if action.until > draft.now + SILENCE_MAX:
        return Refused(Refusal.IMPOSSIBLE, f"until: name a moment within {SILENCE_MAX.days} days, and ask again then")
    area = areas.root if action.area is None else areas.by_code(areas.list_id, AreaCode(action.area))
    if area is None or not any(one in draft.actor.areas for one in areas.path(area.id)):
        return Refused(Refusal.FORBIDDEN, "area: it is none of yours; name one below yours by its code")
    if draft.event.exercise:
        return None
    draft.silenced.append(
        Silenced(
            rule=rule,
            until=action.until,
            area=None if action.area is None else area.id,
            by=draft.actor.id,
            reason=action.reason,
        )
    )
    return None


def _outdated(event: CaseCommand, action: AnyAction, role: str, case: Case) -> str:
    """Why a decision was taken on a case that is no longer so; nothing where it is.

    Who says no version has seen the case as it was when the command was given. The centre itself and citizens, who
    are shown no versions, mean the case as it is.
    """
    if action.version is not None:
        if action.version == case.version:
            return ""
        return f"version: the case is at {case.version}, and {action.version} was seen"
    if role in (Role.SYSTEM, Role.CITIZEN) or event.time >= case.changed_at:
        return ""
    given = event.time.isoformat()
    return f"version: the case has changed since {given}, and is at {case.version}; say which one was seen"


def _impossible(case: Case, move: str, action: AnyAction) -> Refused:
    if any(rule.to is case.state for (_, name), rule in TABLE.items() if name == move):
        return Refused(Refusal.ALREADY, f"the case is {case.state}")
    return Refused(Refusal.IMPOSSIBLE, f"{name_of(action)} cannot be done while the case is {case.state}")


def _refused(refused: Refused, case: Case) -> Decided:
    return Decided(refusal=refused.reason, detail=refused.detail, subject=case.id)


def _role(actor: Actor, move: str) -> str | None:
    """The role in which somebody may do this; None where there is none. A citizen is who has a tracking secret."""
    held = (role for role in actor.roles if role != Role.CITIZEN or actor.tracking is not None)
    return next((role for role in held if role in PERMITS[move].roles), None)


def _named(move: str) -> str:
    return ", ".join(sorted(PERMITS[move].roles))
