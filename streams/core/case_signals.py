"""What does a signal do to cases?

A report, a camera's incident or an alert opens a case, once; what comes for it later is a step of it. What its source
says was done is a fact, whatever state the case is in.
"""

from typing import TypeAlias

from msgspec.structs import replace

from schemas.agency import is_below
from schemas.area_id import AreaId
from schemas.case import (
    BROUGHT_BY_CAMERA,
    BROUGHT_BY_REPORT,
    EVIDENCE_MAX,
    MEMBERS_MAX,
    Case,
    CaseId,
    Evidence,
    Kind,
    Member,
    Severity,
    State,
)
from schemas.category import CaseRules, Category, supervising_agency
from schemas.command import Merge
from schemas.event import (
    AlertChanged,
    AnyEvent,
    CameraIncident,
    FeedbackAnswered,
    FeedbackClosed,
    FeedbackRated,
    FeedbackReceived,
    FeedbackReopened,
    type_of,
)
from schemas.site import Site
from schemas.topics import case_of, own_case_of
from streams.core import clock
from streams.core.draft import Draft
from streams.core.handling import (
    CORRECTED,
    UNSTATED_AGENCY,
    close,
    correct_all,
    part_off,
    recategorise,
    resolve,
    room_for_reported,
    take_back,
)
from streams.core.life_cycle import TABLE, lacking, led_to
from streams.core.merging import leads_to, part_of, signal_ref
from streams.core.notice import SUBSCRIBERS, Why
from streams.core.proposal import confirmed, propose

Signal: TypeAlias = (
    FeedbackReceived
    | FeedbackAnswered
    | FeedbackReopened
    | FeedbackRated
    | FeedbackClosed
    | CameraIncident
    | AlertChanged
)


def opens(event: AnyEvent) -> bool:
    """Whether an event is of a sort that opens a case."""
    if isinstance(event, AlertChanged):
        return event.data.state == "firing"
    return isinstance(event, FeedbackReceived | CameraIncident) and event.withdraws is None


def receive(draft: Draft, event: Signal, area: AreaId) -> CaseId | None:
    """Takes a signal in. Returns the case that it came to; None where it concerns none."""
    rules = draft.site.cases
    assert rules is not None
    origin = CaseId(case_of(event))
    case = _holder(draft, event, origin)
    if case is None:
        return _open(draft, rules, event, area, origin) if opens(event) else None
    if case.exercise != event.exercise:
        # A drill touches nothing real, and nothing real ends in a drill.
        return None
    match event:
        case FeedbackReceived():
            return _reported(draft, rules, event, area, case, origin)
        case CameraIncident():
            return _seen_again(draft, rules, event, area, case, origin)
        case FeedbackAnswered():
            case = draft.put(draft.answered(case, draft.at))
            draft.tell(case, "source_answered", draft.at, public=True)
            draft.notify(case, [SUBSCRIBERS], Why.ANSWERED)
        case FeedbackClosed():
            _source_closed(draft, event, case, origin)
        case FeedbackReopened():
            _source_reopened(draft, event, case)
        case FeedbackRated():
            draft.put(replace(case, rating=event.data.score))
            draft.tell(case, "source_rated", draft.at, score=event.data.score)
            draft.count(case, "rated", draft.at, score=event.data.score)
        case AlertChanged():
            _alert_changed(draft, event, case)
            return case.id
    draft.remember(case, event.source, event.id)
    return case.id


def _holder(draft: Draft, event: Signal, origin: CaseId) -> Case | None:
    """The case that deals with a signal: its subject's, or the one where what it corrects is now."""
    cases, corrects = draft.scene.cases, event.supersedes or event.withdraws
    if corrects is not None:
        for id_ in (draft.scene.homes.get((event.source, corrects)), own_case_of(event)):
            found = None if id_ is None else leads_to(cases, id_)
            if found is not None and _corrected_by(draft, event, found) is not None:
                return found
    return leads_to(cases, origin)


def _corrected_by(draft: Draft, event: Signal, case: Case) -> Member | None:
    """The signal of a case that an event corrects, be it by way of other corrections; None where it is none of it."""
    corrects = event.supersedes or event.withdraws
    if corrects is None:
        return None
    way = draft.scene.ways.get((event.source, corrects)) or (corrects,)
    return next((one for id_ in way for one in case.members if (one.source, one.id) == (event.source, id_)), None)


def build(
    draft: Draft,
    id_: CaseId,
    category: Category,
    area: AreaId,
    *,
    kind: Kind,
    severity: Severity,
    member: Member,
    agency: str | None = None,
    accused: str | None = None,
) -> Case:
    """A case as it opens, with whoever gets it without being asked, and with its clocks running."""
    site = draft.site
    if kind is Kind.CONDUCT:
        accused = _accused_of(site, agency, accused)
        assert site.cases is not None
        agency = supervising_agency(site.cases, site.agencies, category.id, accused)
    else:
        accused, agency = None, agency if agency in site.agencies else category.agency
    found = Case(
        id=id_,
        version=1,
        kind=kind,
        state=State.NEW if agency is None else State.ASSIGNED,
        category=category.id,
        severity=severity,
        area=area,
        areas=areas_of(site, area),
        opened_at=draft.at,
        recorded_at=draft.now,
        changed_at=draft.now,
        title=member.title or "",
        place=draft.event.place,
        agency=agency,
        accused_agency=accused,
        members=(member,),
        tracking=() if member.tracking is None else (member.tracking,),
        published=category.publish and kind not in (Kind.CONDUCT, Kind.VIOLATION),
        exercise=draft.event.exercise,
    )
    return replace(found, clocks=clock.start_clocks(site, found, found.opened_at))


def announce(draft: Draft, case: Case) -> None:
    """Puts a new case down: its first line, who is told, what is counted, and which others it may be."""
    draft.put(case)
    draft.tell(case, "open", case.opened_at, case.title, public=True, category=case.category)
    draft.count(case, "opened", case.opened_at)
    if case.agency is not None:
        draft.tell(case, "assign", draft.now, agency=case.agency)
        draft.notify_agency(case, Why.ASSIGNED, category=case.category, severity=case.severity)
    assert draft.site.cases is not None
    draft.proposals += propose(draft.site.cases, case, draft.scene.near)
    if (sure := confirmed(draft.site.cases, draft.proposals)) is not None:
        # The older one takes the newer in: it is the one that somebody may be at already.
        draft.follow(sure.other, case.area, Merge(other=case.id))


def areas_of(site: Site, area: AreaId) -> tuple[AreaId, ...]:
    """An area with all ancestors, the root first; of an earlier map, also the areas of today that it touches."""
    path = tuple(reversed(site.areas.path(area)))
    if site.areas[area].list_id == site.areas.list_id:
        return path
    today = (one for one in site.areas.touched_by(area) if site.areas[one].list_id == site.areas.list_id)
    return tuple(dict.fromkeys((*path, *today)))


def _open(draft: Draft, rules: CaseRules, event: Signal, area: AreaId, id_: CaseId) -> CaseId | None:
    agency = accused = plate = None
    if isinstance(event, FeedbackReceived):
        category = _category_of(rules, event)
        kind = Kind.SERVICE if category.kind is Kind.ALERT else category.kind
        severity, agency, accused = category.severity, event.data.agency, event.data.accused_agency
    elif isinstance(event, CameraIncident):
        category = rules.of(event.data.kind)
        kind = Kind.VIOLATION if category.kind is Kind.VIOLATION else Kind.INCIDENT
        severity, plate = Severity(event.data.severity), event.data.plate
    else:
        assert isinstance(event, AlertChanged)
        category, kind = rules.of(event.data.category), Kind.ALERT
        severity, agency = Severity(event.data.severity), event.data.agency
    if not category.opens:
        return None
    member = _member(event, id_)
    case = build(
        draft, id_, category, area, kind=kind, severity=severity, member=member, agency=agency, accused=accused
    )
    case = replace(case, plate=plate, evidence=_attached(event))
    if case.kind is Kind.CONDUCT and isinstance(event, FeedbackReceived) and event.data.category != case.category:
        # Whatever it was sent as, figures are to know it for a complaint.
        case = correct_all(draft, case)
    announce(draft, case)
    return case.id


def _category_of(rules: CaseRules, event: FeedbackReceived) -> Category:
    """The category of a report. Whoever names an accused agency complains, whatever the category says."""
    of = rules.of if event.data.accused_agency is None else rules.of_complaint
    return of(event.data.category)


def _accused_by(draft: Draft, rules: CaseRules, event: FeedbackReceived) -> str | None:
    """Whose official a report complains about; None where it is no complaint."""
    if _category_of(rules, event).kind is not Kind.CONDUCT:
        return None
    return _accused_of(draft.site, event.data.agency, event.data.accused_agency)


def _accused_of(site: Site, agency: str | None, accused: str | None) -> str:
    """Whose official a complaint is about: who names no accused agency means the one that it was sent to."""
    return accused or (agency if agency in site.agencies else None) or UNSTATED_AGENCY


def _reported(
    draft: Draft, rules: CaseRules, event: FeedbackReceived, area: AreaId, case: Case, origin: CaseId
) -> CaseId | None:
    corrects = event.supersedes or event.withdraws
    if corrects is None:
        return _joined(draft, rules, event, area, case, origin)
    known = _corrected_by(draft, event, case)
    if known is None:
        # What it corrects is no signal of this case, so it says nothing of it.
        return None
    if event.withdraws is not None:
        if event.id.startswith(CORRECTED) and event.withdraws.startswith(CORRECTED):
            # The centre has taken back its own correction, because the report was taken back.
            return None
        _withdrawn(draft, case, known)
        if known.corrected_by is not None and known.corrected_by != event.withdraws:
            take_back(draft, event, known.corrected_by)
        return case.id
    is_echo = event.id.startswith(CORRECTED) and case.corrected_at is not None and draft.now <= case.corrected_at
    members = tuple(replace(one, corrected_by=event.id) if one is known else one for one in case.members)
    corrected_at = draft.now if case.corrected_at is None else max(draft.now, case.corrected_at)
    case = draft.put(replace(case, members=members, corrected_at=corrected_at))
    if not is_echo:
        # What the centre has corrected itself comes back from the log, maybe after somebody has judged anew.
        case = _judged_by_source(draft, rules, event, case, known.id)
    draft.tell(case, "corrected", draft.at, category=case.category)
    return case.id


def _judged_by_source(draft: Draft, rules: CaseRules, event: FeedbackReceived, case: Case, member: str) -> Case:
    """The case as a correction of one of its signals says that it is, as far as nobody has judged otherwise.

    That it is a complaint holds in any case, and so does that it is one about whoever has it now.
    """
    category, accused = _category_of(rules, event), _accused_by(draft, rules, event)
    if accused is not None and event.data.accused_agency is None:
        accused = case.accused_agency or event.data.agency or case.agency or UNSTATED_AGENCY
    if (category.id, accused) == (case.category, case.accused_agency):
        return case
    holds = case.state in (State.NEW, State.ASSIGNED) and case.accepted_at is None
    if accused is not None and accused != case.accused_agency:
        handled_by = case.agency or UNSTATED_AGENCY
        holds = holds or case.accused_agency is None or is_below(draft.site.agencies, handled_by, accused)
    had = case.accused_agency
    if not holds or (accused is None and case.absorbed):
        return case
    if accused != had and case.absorbed and len(case.members) > 1:
        # Others may go on seeing the cases that were merged into it.
        leaving = [one for one in case.members if (one.source, one.id) == (event.source, member)]
        own = own_case_of(event)
        if own in draft.scene.cases:
            own = own_case_of(replace(event, supersedes=None))
        _, case = part_off(draft, case, leaving, own)
        case = recategorise(draft, case, category, accused)
        draft.count(case, "opened", case.opened_at)
        _shells_follow(draft, case)
    else:
        case = recategorise(draft, case, category, accused)
    if accused != had:
        case = correct_all(draft, case)
    return draft.put(case)


def _shells_follow(draft: Draft, part: Case) -> None:
    """Takes from the cases that were merged what has left for a complaint: who still sees them may be the accused.

    Where nothing else came for one of them, it is the complaint's, as all that comes for it is from now on.
    """
    gone = {(one.source, one.id) for one in part.members}
    for shell in draft.scene.cases.values():
        leaving = tuple(one for one in shell.members if (one.source, one.id) in gone)
        if shell.state is not State.MERGED or not leaving:
            continue
        if len(leaving) == len(shell.members):
            seen_as = {"kind": part.kind, "agency": part.agency, "accused_agency": part.accused_agency}
            draft.put(replace(shell, **seen_as, category=part.category, published=False))
        else:
            rest, _ = part_of(shell, leaving, part.id, draft.now)
            draft.put(replace(rest, parted=shell.parted))


def _withdrawn(draft: Draft, case: Case, member: Member) -> None:
    rule = TABLE.get((case.state, "source_withdrew"))
    if rule is not None and len(case.members) == 1:
        reason = "withdrawn by its source"
        case = replace(draft.ended(case, led_to(case, rule), draft.at, "withdrawn"), reason=reason)
        draft.count(case, "rejected", draft.at, since=case.opened_at)
    case = replace(
        case, members=tuple(replace(one, subscriber=None) if one is member else one for one in case.members)
    )
    draft.put(case)
    draft.tell(case, "source_withdrew", draft.at, public=len(case.members) == 1)


def _seen_again(
    draft: Draft, rules: CaseRules, event: CameraIncident, area: AreaId, case: Case, origin: CaseId
) -> CaseId | None:
    if event.withdraws is not None or event.supersedes is not None:
        known = _corrected_by(draft, event, case)
        if known is not None and event.withdraws is not None:
            _withdrawn(draft, case, known)
        return None if known is None else case.id
    rule = TABLE.get((case.state, "seen_again"))
    if rule is not None and len(case.members) < MEMBERS_MAX:
        case = draft.put(draft.reopened(case, draft.at))
    return _joined(draft, rules, event, area, case, origin)


def _joined(draft: Draft, rules: CaseRules, event: Signal, area: AreaId, case: Case, origin: CaseId) -> CaseId | None:
    """Adds a further signal to a case. One too many opens a case of its own, and so does a complaint.

    For whoever sees the case sees all its signals: only a complaint about the same agency joins one.
    """
    accused = _accused_by(draft, rules, event) if isinstance(event, FeedbackReceived) else None
    if len(case.members) >= MEMBERS_MAX or accused not in (None, case.accused_agency):
        return _open(draft, rules, event, area, own_case_of(event))
    member = _member(event, origin)
    # Whoever knows how a source calls a report could follow it, answer in its reporter's place, and be told of it.
    if member.tracking not in case.tracking:
        member = replace(member, tracking=None)
    if all(member.subscriber != one.subscriber for one in case.members):
        member = replace(member, subscriber=None)
    evidence = (*case.evidence, *_attached(event)[: room_for_reported(case)])
    case = draft.put(replace(case, members=(*case.members, member), evidence=evidence))
    # Its title is with the case's signals, and leaves with it; a timeline stays as it was written.
    draft.tell(case, "signal", draft.at, type=type_of(event), source=event.source, id=event.id)
    return case.id


def _source_closed(draft: Draft, event: FeedbackClosed, case: Case, origin: CaseId) -> None:
    rule = TABLE.get((case.state, "source_closed"))
    result = event.data.result or "closed by its source"
    ended = _proven(draft, event, replace(case, result=case.result or result))
    # One of several reports that are one case does not end what the others are about.
    others = any(one.case != origin and one.type == "ioc.feedback.received.v1" for one in case.members)
    if rule is None or others or lacking(draft.site.cases, ended, rule.needs) is not None:
        draft.tell(case, "source_closed", draft.at, result, public=True)
        return
    if ended.state is not State.RESOLVED and ended.resolved_at is None:
        ended = resolve(draft, ended, draft.at)
    ended = close(draft, ended, draft.at)
    draft.put(ended)
    draft.tell(ended, "source_closed", draft.at, result, public=True)


def _source_reopened(draft: Draft, event: FeedbackReopened, case: Case) -> None:
    if (case.state, "source_reopened") in TABLE:
        case = draft.put(draft.reopened(case, draft.at))
    draft.tell(case, "source_reopened", draft.at, event.data.reason or "")


def _alert_changed(draft: Draft, event: AlertChanged, case: Case) -> None:
    data = event.data
    if data.state == "resolved":
        rule = TABLE.get((case.state, "over"))
        if rule is not None and case.kind is Kind.ALERT:
            case = _proven(draft, event, replace(case, result="the figure is back where it should be"))
            case = draft.put(resolve(draft, case, draft.at))
            draft.tell(case, "resolve", draft.at, case.result or "", public=True)
        draft.tell(case, "alert_resolved", draft.at, data.text or "", value=data.value, limit=data.limit)
        return
    if (case.state, "seen_again") in TABLE:
        case = draft.put(draft.reopened(case, draft.at))
    worse = list(Severity).index(Severity(data.severity)) > list(Severity).index(case.severity)
    if worse and case.is_open:
        case = replace(case, severity=Severity(data.severity))
        case = draft.put(replace(case, clocks=clock.replan(draft.site, case, draft.now)))
    draft.tell(case, "alert_firing", draft.at, data.text or "", value=data.value, limit=data.limit)


def _proven(draft: Draft, event: Signal, case: Case) -> Case:
    """The case with what its source says for evidence."""
    proof = Evidence(ref=_ref(event), kind="event", at=draft.at, by=event.source)
    return replace(case, evidence=(*case.evidence, proof)[-EVIDENCE_MAX:])


def _member(event: Signal, origin: CaseId) -> Member:
    found = Member(
        source=event.source, id=event.id, type=type_of(event), at=event.time, case=origin, place=event.place
    )
    if isinstance(event, FeedbackReceived):
        return replace(
            found,
            channel=event.data.channel,
            category=event.data.category,
            title=event.data.title,
            subscriber=event.data.person,
            tracking=event.data.tracking,
        )
    if isinstance(event, CameraIncident):
        return replace(found, channel="camera", category=event.data.kind, title=event.data.text)
    assert isinstance(event, AlertChanged)
    return replace(found, channel="alert", category=event.data.category, title=event.data.title)


def _attached(event: Signal) -> tuple[Evidence, ...]:
    """A camera's snapshots are evidence of what it saw; a citizen's photos show what is to be mended."""
    if not isinstance(event, FeedbackReceived | CameraIncident):
        return ()
    kind = BROUGHT_BY_CAMERA if isinstance(event, CameraIncident) else BROUGHT_BY_REPORT
    return tuple(
        Evidence(ref=ref, kind=kind, at=event.time, by=event.source, signal=_ref(event))
        for ref in event.data.attachments
    )


def _ref(event: AnyEvent) -> str:
    return signal_ref(event.source, event.id)
