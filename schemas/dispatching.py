"""Which unit should go, and why that one?"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from schemas.area import Point
from schemas.case import OFFER_OVER, Case, OfferStep, Refusal
from schemas.location import distance_m, parse_geo, place_of
from schemas.site import Site
from schemas.unit import Unit, UnitState, UnitStatus
from schemas.working_time import calendar_of, is_working

_HALF_S = 600.0
"""A unit so far away in time scores half of what it would score on the spot."""

_OTHER_AGENCY = 0.6
_FULL_LOAD = 0.5
_TURNED_IT_DOWN = 0.3
"""What is left of a score: for a unit of another agency, for one that is full, for one that has had it already."""


class Suggestion(NamedTuple):
    """A unit for a case. `score` is in [0, 1], best 1; `capable`: it could be sent now.

    `reasons` are words, some with a value after a colon: `distance_m:420`, `position:fresh`, `position:base`,
    `skill:road`, `lacks:road`, `load:1/2`, `agency:own`, `agency:other`, `outside_area`, `off_shift`, `off`, `busy`,
    `full`, `has_it`, `declined`, `missed`, `place_unknown`.
    """

    unit: str
    score: float
    distance_m: float | None
    capable: bool
    reasons: tuple[str, ...]


def suggest(site: Site, case: Case, states: Mapping[str, UnitState], now: datetime) -> list[Suggestion]:
    """All units for a case, the best first: those that could be sent before the others, then by score, then by id.

    A unit that nothing is known of counts as available at its base. Units of the agency that a complaint accuses
    are left out.
    """
    place = _place_of(site, case)
    found = [
        _judged(site, case, unit, states.get(unit.id) or UnitState(unit=unit.id), place, now)
        for unit in site.units.values()
        if case.accused_agency is None or unit.agency != case.accused_agency
    ]
    return sorted(found, key=lambda one: (not one.capable, -one.score, one.unit))


def check_unit(site: Site, case: Case, unit: str, state: UnitState | None, now: datetime) -> Refusal | None:
    """Why a unit cannot be sent now, or None. NOT_CAPABLE is what an operator may override, and nothing else.

    So what cannot be overridden is asked first.
    """
    known = site.units.get(unit)
    if known is None:
        return Refusal.UNKNOWN_UNIT
    if case.accused_agency is not None and known.agency == case.accused_agency:
        return Refusal.FORBIDDEN
    if unit in case.units:
        return Refusal.ALREADY
    state = state or UnitState(unit=unit)
    if state.status_by(now) is UnitStatus.BUSY or _load(case, state) >= known.capacity:
        return Refusal.UNIT_BUSY
    off = state.status_by(now) is UnitStatus.OFF or not is_working(calendar_of(site, known.calendar), now)
    if off or _lacking(site, case, known) or not _within(site, case, known):
        return Refusal.NOT_CAPABLE
    return None


def had_it(case: Case, unit: str) -> OfferStep | None:
    """How the last offer of the case to a unit ended, if it was declined or missed."""
    ends = [offer.step for offer in case.offers if offer.unit == unit and offer.step in OFFER_OVER]
    return ends[-1] if ends and ends[-1] in (OfferStep.DECLINED, OfferStep.MISSED) else None


def _judged(site: Site, case: Case, unit: Unit, state: UnitState, place: Point | None, now: datetime) -> Suggestion:
    reasons: list[str] = []
    score = 1.0
    away_m = None
    fresh = _fresh_position(site, state, now)
    if place is None:
        reasons.append("place_unknown")
        score *= 0.5
    else:
        away_m = distance_m(place, fresh or parse_geo(unit.base))
        score *= _HALF_S / (_HALF_S + away_m / site.dispatch.speed_mps)
        reasons.append(f"distance_m:{away_m:.0f}")
    reasons.append("position:base" if fresh is None else "position:fresh")
    lacking = _lacking(site, case, unit)
    reasons += [f"{'lacks' if skill in lacking else 'skill'}:{skill}" for skill in _skills(site, case)]
    load = _load(case, state)
    reasons.append(f"load:{load}/{unit.capacity}")
    score *= 1 - (1 - _FULL_LOAD) * min(1.0, load / unit.capacity)
    if case.agency is not None:
        own = unit.agency == case.agency
        reasons.append("agency:own" if own else "agency:other")
        score *= 1.0 if own else _OTHER_AGENCY
    if ended := had_it(case, unit.id):
        reasons.append(str(ended))
        score *= _TURNED_IT_DOWN
    status = state.status_by(now)
    against = {
        "has_it": unit.id in case.units,
        "full": load >= unit.capacity,
        "busy": status is UnitStatus.BUSY,
        "off": status is UnitStatus.OFF,
        "off_shift": not is_working(calendar_of(site, unit.calendar), now),
        "outside_area": not _within(site, case, unit),
    }
    reasons += [word for word, holds in against.items() if holds]
    capable = check_unit(site, case, unit.id, state, now) is None
    return Suggestion(unit.id, round(score, 4), away_m, capable, tuple(reasons))


def _place_of(site: Site, case: Case) -> Point | None:
    """Where the case is: its place, else the middle of its area, where it is known."""
    place = place_of(case.place)
    if place is not None:
        return place
    return site.areas[case.area].point if case.area in site.areas else None


def _fresh_position(site: Site, state: UnitState, now: datetime) -> Point | None:
    """Where the unit is, if it said so lately."""
    if state.lat is None or state.lon is None or state.position_at is None:
        return None
    fresh = now - state.position_at <= timedelta(seconds=site.dispatch.position_fresh_s)
    return Point(state.lat, state.lon) if fresh else None


def _skills(site: Site, case: Case) -> list[str]:
    return site.cases.of(case.category).skills if site.cases is not None else []


def _lacking(site: Site, case: Case, unit: Unit) -> set[str]:
    return set(_skills(site, case)) - set(unit.skills)


def _within(site: Site, case: Case, unit: Unit) -> bool:
    """Whether the case lies in the unit's area, also where the case's area is one of an earlier map."""
    tree = site.areas
    area = tree.present.get(unit.area)
    if area is None or case.area not in tree:
        return False
    return area.id in tree.touched_by(case.area)


def _load(case: Case, state: UnitState) -> int:
    """How many other cases the unit has."""
    return sum(held != case.id for held in state.cases)
