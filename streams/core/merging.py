"""How do two cases become one, and one two again?

Nothing is lost either way: each signal keeps the case that it came for, and a case that was merged keeps all that it
was. So whoever reported stays subscribed, wherever the report has gone.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from schemas.case import (
    EVIDENCE_MAX,
    MEMBERS_MAX,
    OPEN,
    Case,
    CaseId,
    Evidence,
    Kind,
    Member,
    Refusal,
    State,
)
from streams.core.draft import Refused

_Key = tuple[str, str]


def next_case(case: Case, origin: CaseId) -> CaseId | None:
    """The case that deals with what came for `origin`, where this one passes it on: it was merged or split."""
    if case.state is State.MERGED:
        return case.merged_into
    return case.parted.get(origin)


def leads_to(cases: Mapping[CaseId, Case], origin: CaseId) -> Case | None:
    """The case that deals with what comes for `origin`; None where that is not there."""
    at = cases.get(origin)
    seen: set[CaseId] = set()
    while at is not None and at.id not in seen:
        seen.add(at.id)
        onward = next_case(at, origin)
        if onward is None:
            return at
        at = cases.get(onward, at)
    return at


def cannot_merge(case: Case, other: Case) -> Refused | None:
    """Why two cases must not become one, or None. `case` would take `other` in."""
    if case.id == other.id:
        return Refused(Refusal.IMPOSSIBLE, "a case cannot be merged with itself")
    if other.state not in OPEN:
        return Refused(Refusal.IMPOSSIBLE, f"the other case is {other.state}")
    if case.exercise != other.exercise:
        return Refused(Refusal.IMPOSSIBLE, "one of them is a drill")
    is_mixed = case.kind is not other.kind and Kind.VIOLATION in (case.kind, other.kind)
    if case.accused_agency != other.accused_agency or is_mixed:
        return Refused(Refusal.IMPOSSIBLE, "who may see one of them may not see the other: keep them apart")
    if other.units:
        detail = (
            f"units are on the other case ({', '.join(other.units)}): withdraw their offers, or merge this into it"
        )
        return Refused(Refusal.IMPOSSIBLE, detail)
    if len(case.members) + len(other.members) > MEMBERS_MAX:
        return Refused(Refusal.TOO_MANY, f"a case has at most {MEMBERS_MAX} signals")
    return None


def merge(case: Case, other: Case) -> tuple[Case, Case]:
    """Both, after `case` has taken `other` in."""
    held = {_key(member) for member in case.members}
    members = (*case.members, *(member for member in other.members if _key(member) not in held))
    whole = replace(
        case,
        members=members,
        absorbed={**case.absorbed, other.id: other.state},
        parted={origin: to for origin, to in case.parted.items() if to != other.id},
        tracking=tracking_of(members),
    )
    return whole, replace(other, state=State.MERGED, merged_into=case.id)


def unmerge(case: Case, other: Case) -> tuple[Case, Case] | Refused:
    """Both, after `other` has left `case` again, with what has come for it meanwhile."""
    if other.id not in case.absorbed or other.merged_into != case.id:
        return Refused(Refusal.IMPOSSIBLE, f"case {other.id} was not merged into this one")
    keys = {_key(member) for member in other.members}
    leaving = {
        _key(member): member
        for member in case.members
        if _key(member) in keys or member.case == other.id or member.case in other.absorbed
    }
    staying = tuple(member for member in case.members if _key(member) not in leaving)
    if not leaving or not staying:
        return Refused(Refusal.IMPOSSIBLE, "the signals of one of them have been split off: merge those back first")
    old = tuple(leaving.pop(key) for key in map(_key, other.members) if key in leaving)
    members = (*old, *leaving.values())
    evidence, theirs = _evidence_of(case, staying, members)
    rest = replace(
        case,
        members=staying,
        evidence=evidence,
        absorbed={id_: state for id_, state in case.absorbed.items() if id_ != other.id},
        parted=_parted(case, staying, members, other.id),
        tracking=tracking_of(staying),
    )
    return rest, replace(
        other,
        state=case.absorbed[other.id],
        merged_into=None,
        members=members,
        evidence=(*other.evidence, *theirs)[:EVIDENCE_MAX],
        tracking=tracking_of(members),
    )


def leaving_by(case: Case, ids: Collection[str]) -> tuple[Member, ...] | Refused:
    """The signals with these ids, which may leave the case."""
    leaving = tuple(member for member in case.members if member.id in ids)
    unknown = sorted(set(ids) - {member.id for member in leaving})
    if unknown:
        return Refused(Refusal.INCOMPLETE, f"members: the case has no signal {unknown[0]!r}")
    if len(leaving) == len(case.members):
        return Refused(Refusal.IMPOSSIBLE, "members: all of them: at least one has to stay")
    return leaving


def part_of(case: Case, leaving: Collection[Member], new: CaseId, now: datetime) -> tuple[Case, Case]:
    """Both, after some of its signals have become a case of their own, with what they brought. At least one stays."""
    members = tuple(member for member in case.members if member in leaving)
    staying = tuple(member for member in case.members if member not in leaving)
    first = members[0]
    evidence, theirs = _evidence_of(case, staying, members)
    # That signals are two cases says nothing of what each of them is.
    state = State.NEW if case.state is State.NEW else State.TRIAGED if case.agency is None else State.ASSIGNED
    rest = replace(
        case,
        members=staying,
        parted=_parted(case, staying, members, new),
        tracking=tracking_of(staying),
        title=_title_of(case, staying, members),
        evidence=evidence,
    )
    return rest, Case(
        id=new,
        version=1,
        kind=case.kind,
        state=state,
        category=case.category,
        severity=case.severity,
        area=case.area,
        areas=case.areas,
        opened_at=min(member.at for member in members),
        recorded_at=now,
        changed_at=now,
        title=first.title or case.title,
        place=first.place or case.place,
        agency=case.agency,
        accused_agency=case.accused_agency,
        members=members,
        clocks=case.clocks,
        evidence=theirs,
        answered_at=case.answered_at,
        accepted_at=case.accepted_at,
        tracking=tracking_of(members),
        published=case.published,
        exercise=case.exercise,
    )


def newly_of(before: Case | None, after: Case) -> tuple[Member, ...]:
    """The signals that are a case's own from now on: it is new, or has left the one that it was merged into.

    What came for cases that were merged into it stays theirs, so that it is still there when these go.
    """
    is_free = before is None or (before.state is State.MERGED and after.state is not State.MERGED)
    return tuple(member for member in after.members if is_free and member.case not in after.absorbed)


def tracking_of(members: Iterable[Member]) -> tuple[str, ...]:
    """The hashes by which those who sent these signals follow them."""
    return tuple(dict.fromkeys(member.tracking for member in members if member.tracking is not None))


def _evidence_of(
    case: Case, staying: Iterable[Member], leaving: Iterable[Member]
) -> tuple[tuple[Evidence, ...], tuple[Evidence, ...]]:
    """The evidence that stays with a case when signals leave it, and what came with these and goes with them."""
    theirs = {signal_ref(*_key(member)) for member in leaving} - {signal_ref(*_key(member)) for member in staying}
    kept = tuple(one for one in case.evidence if one.signal not in theirs)
    return kept, tuple(one for one in case.evidence if one.signal in theirs)


def signal_ref(source: str, id_: str) -> str:
    """How evidence names a signal."""
    return f"event:{source}/{id_}"


def _title_of(case: Case, staying: Sequence[Member], leaving: Iterable[Member]) -> str:
    """The title without the words of a signal that has left."""
    if case.title in {member.title for member in staying} or case.title not in {member.title for member in leaving}:
        return case.title
    return staying[0].title or ""


def _parted(case: Case, staying: Iterable[Member], leaving: Iterable[Member], to: CaseId) -> dict[CaseId, CaseId]:
    """Where what comes for merged cases goes, once all that came for one of them has left for another case."""
    still = {member.case for member in staying}
    gone = {member.case for member in leaving} - still - {case.id, to}
    kept = {origin: there for origin, there in case.parted.items() if origin != to}
    return kept | {origin: to for origin in sorted(gone) if origin in case.absorbed}


def _key(member: Member) -> _Key:
    return member.source, member.id
