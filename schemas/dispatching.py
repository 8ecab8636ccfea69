"""Which unit should go, and why that one?"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from schemas.case import Case, Refusal
from schemas.site import Site
from schemas.unit import UnitState


class Suggestion(NamedTuple):
    """A unit for a case. `score` is in [0, 1], best 1; `reasons` are words as `skill:road`, `near_m:420`, `busy`."""

    unit: str
    score: float
    distance_m: float | None
    capable: bool
    reasons: tuple[str, ...]


def suggest(site: Site, case: Case, states: Mapping[str, UnitState], now: datetime) -> list[Suggestion]:
    """All units for a case, the best first: capable before not capable, then by score, then by id."""
    raise NotImplementedError


def check_unit(site: Site, case: Case, unit: str, state: UnitState | None, now: datetime) -> Refusal | None:
    """Why a unit cannot be sent now, or None. UNIT_BUSY is what no force overrides."""
    raise NotImplementedError
