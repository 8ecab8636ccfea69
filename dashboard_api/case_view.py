"""What does a case look like to somebody who works on it?

Whether they may see it at all is decided before. What is masked stays masked here; nothing says which secrets follow
a case, or who reported it. What citizens wrote is for those who handle it.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from schemas.case import (
    Case,
    CaseId,
    Clock,
    ClockName,
    Entry,
    Evidence,
    Kind,
    Offer,
    Review,
    Severity,
    State,
    Taken,
)
from schemas.command import Actor
from schemas.identity import Role
from schemas.site import Site
from schemas.working_time import forecast, remaining_s, worked_s

SHOWN_PLATES = frozenset({Role.OPERATOR, Role.DISPATCHER, Role.AUDITOR})
"""Who is shown a violation's plate, masked as it is; `reveal` asks for the whole of it."""


NAMING = ("other", "into")
"""What of a line's detail names another case."""

ABOUT_ANOTHER = frozenset({*NAMING, "members"})
"""What of it is about that one."""


class Words(NamedTuple):
    """What a citizen wrote. `erased`: the words were destroyed with the key of whoever wrote them."""

    text: str | None
    title: str | None = None
    erased: bool = False


class CaseItem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A case in a list. The same for everyone who may see it, but for the excerpt.

    `due_at` is when the next of its clocks runs out, `members` how many signals it has. `excerpt` is how a citizen's
    report begins: where the case has no title, and for those who handle it.
    """

    id: CaseId
    version: int
    kind: Kind
    state: State
    open: bool
    category: str
    severity: Severity
    area: str
    title: str
    opened_at: datetime
    changed_at: datetime
    members: int
    excerpt: str | None = None
    units: tuple[str, ...] = ()
    names: dict[str, str] = {}
    place: str | None = None
    agency: str | None = None
    due_at: datetime | None = None
    answered_at: datetime | None = None
    resolved_at: datetime | None = None
    closed_at: datetime | None = None
    acknowledged_by: str | None = None
    rating: int | None = None
    disputes: int = 0
    reopened: int = 0
    escalations: int = 0
    published: bool = False
    exercise: bool = False


class ClockView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A clock, as of the answer's moment. Seconds are of working time, by the calendar that it names.

    `remaining_s` is negative when it ran out so long ago; `late_chance`, from 0 to 1, is how often such are late.
    """

    name: ClockName
    calendar: str
    state: Literal["running", "paused", "stopped"]
    allowed_s: float
    worked_s: float
    remaining_s: float
    started_at: datetime
    due_at: datetime | None = None
    stopped_at: datetime | None = None
    breached_at: datetime | None = None
    warned_at: datetime | None = None
    late_chance: float | None = None


class MemberView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A signal of the case. `followed`: whoever sent it is told of changes.

    `text` is what a citizen wrote, for those who handle the case, and so is the title of a citizen's report;
    `erased`: it was there, and nobody can read it any more.
    """

    source: str
    id: str
    type: str
    at: datetime
    case: CaseId | None = None
    channel: str | None = None
    category: str | None = None
    place: str | None = None
    title: str | None = None
    text: str | None = None
    erased: bool = False
    followed: bool = False


class ProposalView(Struct, frozen=True, kw_only=True):
    """Two cases that may be one, with a score from 0 to 1 and its reasons."""

    case: CaseId
    other: CaseId
    score: float
    reasons: list[str]
    state: str
    made_at: datetime


class NextAction(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A command that may be given now. `choice` is what it is told apart by: whom to wait for, a unit's step.

    `needs` is what the case, or the command, still has to have.
    """

    action: str
    choice: str | None = None
    needs: tuple[str, ...] = ()


NextActions = Callable[[Site, Case, Actor], Sequence[NextAction]]
"""What somebody may ask for next. The life cycle is decided elsewhere; whoever runs this room passes it in."""


class CaseDetail(CaseItem, frozen=True, kw_only=True, omit_defaults=True):
    """A case with all that is known of it.

    `actions` are what this person may ask for next, `taken` the law's steps so far; `absorbed` are the cases merged
    into it that the person may see.
    """

    position: str
    as_of: datetime
    clocks: list[ClockView] = []
    signals: list[MemberView] = []
    offers: tuple[Offer, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    reviews: tuple[Review, ...] = ()
    taken: tuple[Taken, ...] = ()
    accepted_at: datetime | None = None
    arrived_at: datetime | None = None
    proposals: list[ProposalView] = []
    actions: list[NextAction] = []
    merged_into: CaseId | None = None
    absorbed: list[CaseId] = []
    accused_agency: str | None = None
    plate: str | None = None
    result: str | None = None
    reason: str | None = None


class EntryView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of the timeline, numbered within the case. `public`: the citizen reads it, too.

    What a citizen wrote is in `text` for those who handle the case; `erased`: nobody can read it any more.
    """

    number: int
    at: datetime
    recorded_at: datetime
    action: str
    actor: str = ""
    role: str = ""
    text: str = ""
    erased: bool = False
    public: bool = False
    detail: dict[str, str | int | float | bool | None] = {}


def names_of(site: Site, category: str) -> dict[str, str]:
    """A category's names in the site's languages; none where it is not declared."""
    declared = () if site.cases is None else site.cases.category
    unknown: dict[str, str] = {}
    return next((one.names for one in declared if one.id == category), unknown)


def item_of(site: Site, case: Case, excerpt: str | None = None) -> CaseItem:
    """A case as lists show it."""
    return CaseItem(**_item_fields(site, case, excerpt))


def _item_fields(site: Site, case: Case, excerpt: str | None) -> dict[str, Any]:
    return {
        "excerpt": excerpt,
        "id": case.id,
        "version": case.version,
        "kind": case.kind,
        "state": case.state,
        "open": case.is_open,
        "category": case.category,
        "names": names_of(site, case.category),
        "severity": case.severity,
        "area": case.area,
        "title": case.title,
        "place": case.place,
        "agency": case.agency,
        "units": case.units,
        "members": len(case.members),
        "opened_at": case.opened_at,
        "changed_at": case.changed_at,
        "due_at": case.due_at,
        "answered_at": case.answered_at,
        "resolved_at": case.resolved_at,
        "closed_at": case.closed_at,
        "acknowledged_by": case.acknowledged_by,
        "rating": case.rating,
        "disputes": case.disputes,
        "reopened": case.reopened,
        "escalations": case.escalations,
        "published": case.published,
        "exercise": case.exercise,
    }


def named_cases(case: Case) -> set[CaseId]:
    """The other cases that a case names: they are shown only to who may see them."""
    others = {*case.absorbed, *(member.case for member in case.members)}
    if case.merged_into is not None:
        others.add(case.merged_into)
    return others - {case.id}


def detail_of(
    site: Site,
    case: Case,
    actor: Actor,
    *,
    seen: Collection[CaseId],
    words: Mapping[tuple[str, str], Words],
    excerpt: str | None,
    proposals: Sequence[ProposalView],
    actions: Sequence[NextAction],
    usual: Mapping[ClockName, Sequence[float]],
    position: str,
    as_of: datetime,
) -> CaseDetail:
    """A case with all that is known of it, to somebody who may see it and of the cases it names those in `seen`.

    `words` are what its reports say, as far as this person reads that.
    """
    shown = {case.id, *seen}
    nothing = Words(None)
    return CaseDetail(
        **_item_fields(site, case, excerpt),
        position=position,
        as_of=as_of,
        clocks=[clock_view(site, clock, usual.get(clock.name, ()), as_of) for clock in case.clocks],
        signals=[
            MemberView(
                source=member.source,
                id=member.id,
                type=member.type,
                at=member.at,
                case=member.case if member.case in shown else None,
                channel=member.channel,
                category=member.category,
                place=member.place,
                title=member.title or words.get((member.source, member.id), nothing).title,
                text=words.get((member.source, member.id), nothing).text,
                erased=words.get((member.source, member.id), nothing).erased,
                followed=member.subscriber is not None,
            )
            for member in case.members
        ],
        offers=case.offers,
        evidence=case.evidence,
        reviews=case.reviews,
        taken=case.taken,
        accepted_at=case.accepted_at,
        arrived_at=case.arrived_at,
        proposals=list(proposals),
        actions=list(actions),
        merged_into=case.merged_into if case.merged_into in shown else None,
        absorbed=[id_ for id_ in case.absorbed if id_ in shown],
        accused_agency=case.accused_agency,
        plate=None if SHOWN_PLATES.isdisjoint(actor.roles) else case.plate,
        result=case.result,
        reason=case.reason,
    )


def clock_view(site: Site, clock: Clock, usual_s: Sequence[float], now: datetime) -> ClockView:
    """A clock as of now."""
    running: Literal["running", "paused"] = "paused" if clock.since is None else "running"
    return ClockView(
        name=clock.name,
        calendar=clock.calendar,
        state=running if clock.stopped_at is None else "stopped",
        allowed_s=clock.allowed_s,
        worked_s=worked_s(site, clock, now),
        remaining_s=remaining_s(site, clock, now),
        started_at=clock.started_at,
        due_at=clock.due_at,
        stopped_at=clock.stopped_at,
        breached_at=clock.breached_at,
        warned_at=clock.warned_at,
        late_chance=forecast(site, clock, now, usual_s),
    )


def cases_in(entries: Iterable[Entry]) -> set[CaseId]:
    """The other cases that lines of a timeline name: they are named only to who may see them."""
    return {CaseId(str(entry.detail[name])) for entry in entries for name in NAMING if name in entry.detail}


def entry_view(entry: Entry, seen: Collection[CaseId], said: Mapping[tuple[str, str], Words]) -> EntryView:
    """A line of the timeline as staff read it who may see, of the other cases that it names, those in `seen`.

    `said` is what citizens wrote, as far as this person reads that.
    """
    words = None if entry.sealed is None else said.get(entry.sealed)
    is_hidden = any(entry.detail[name] not in seen for name in NAMING if name in entry.detail)
    detail = (
        {name: word for name, word in entry.detail.items() if name not in ABOUT_ANOTHER}
        if is_hidden
        else entry.detail
    )
    return EntryView(
        number=entry.number,
        at=entry.at,
        recorded_at=entry.recorded_at,
        action=entry.action,
        actor=entry.actor,
        role=entry.role,
        text=entry.text or (words.text if words is not None else None) or "",
        erased=words is not None and words.erased,
        public=entry.public,
        detail=detail,
    )
