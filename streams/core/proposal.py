"""Which open cases may be one and the same, and why?

Each open case near a new one is scored by how near it is in place, time and category. The score comes with its
reasons, since a person is to confirm it.
"""

from collections.abc import Iterable

from schemas.case import MEMBERS_MAX, Case, Kind, State
from schemas.category import CaseRules
from schemas.location import distance_m, place_of
from streams.core.merging import cannot_merge
from streams.core.scene import Proposal

PLACE_SHARE, TIME_SHARE, CATEGORY_SHARE = 0.5, 0.2, 0.3
"""What place, time and category make of a score: where it is says the most, and two reports come hours apart."""

GROUP_SCORE = 0.5
"""How near two categories of one group are."""

PROPOSALS_MAX = 5
"""Proposals of one new case: the best ones."""


def propose(rules: CaseRules, case: Case, near: Iterable[Case]) -> list[Proposal]:
    """The cases that a new one may be, the best first."""
    found = (_scored(rules, case, other) for other in near)
    best = sorted((one for one in found if one is not None), key=lambda one: (-one.score, one.other))
    return best[:PROPOSALS_MAX]


def confirmed(rules: CaseRules, proposals: Iterable[Proposal]) -> Proposal | None:
    """The proposal that the site pack has confirmed without asking: the best one that scores high enough."""
    least = rules.proposals.confirm_score
    return None if least is None else next((one for one in proposals if one.score >= least), None)


def _scored(rules: CaseRules, case: Case, other: Case) -> Proposal | None:
    wanted = rules.proposals
    kinds = {case.kind, other.kind}
    # A complaint about an official is nobody's to join with anything.
    if not kinds <= set(wanted.kinds) or Kind.CONDUCT in kinds or other.state in (State.RESOLVED, State.MERGED):
        return None
    if cannot_merge(other, case) is not None or len(other.members) >= MEMBERS_MAX:
        return None
    apart_m = _apart_m(case, other)
    apart_s = abs((case.opened_at - other.opened_at).total_seconds())
    if apart_m is None or apart_m > wanted.radius_m or apart_s > wanted.within_s:
        return None
    alike, why = _alike(rules, case, other)
    if alike == 0:
        return None
    score = PLACE_SHARE * (1 - apart_m / wanted.radius_m) + TIME_SHARE * (1 - apart_s / wanted.within_s)
    score = round(score + CATEGORY_SHARE * alike, 4)
    if score < wanted.least_score:
        return None
    reasons = (f"near_m:{round(apart_m)}", f"apart_s:{round(apart_s)}", why)
    return Proposal(case=case.id, other=other.id, score=score, reasons=reasons)


def _apart_m(case: Case, other: Case) -> float | None:
    place, other_place = place_of(case.place), place_of(other.place)
    return None if place is None or other_place is None else distance_m(place, other_place)


def _alike(rules: CaseRules, case: Case, other: Case) -> tuple[float, str]:
    if case.category == other.category:
        return 1.0, f"same_category:{case.category}"
    group = rules.of(case.category).group
    if group is not None and group == rules.of(other.category).group:
        return GROUP_SCORE, f"same_group:{group}"
    return 0.0, ""
