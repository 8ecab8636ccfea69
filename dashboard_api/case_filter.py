"""Which cases does a list show?"""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct

from schemas.case import Case, Kind, Severity, State
from schemas.event import AreaId


class Box(NamedTuple):
    """A rectangle of degrees, its edges included. It does not cross the 180th meridian."""

    south: float
    west: float
    north: float
    east: float


class CaseFilter(Struct, frozen=True, kw_only=True):
    """Which cases a list shows; None takes all. `areas` are exact ids, descendants included by whoever asks.

    `since_xid`      only what transactions after this one changed
    `changed_after`  only what changed after this moment
    """

    states: tuple[State, ...] | None = None
    open: bool | None = None
    kinds: tuple[Kind, ...] | None = None
    categories: tuple[str, ...] | None = None
    severities: tuple[Severity, ...] | None = None
    areas: frozenset[AreaId] | None = None
    agency: str | None = None
    unit: str | None = None
    due_before: datetime | None = None
    words: str | None = None
    box: Box | None = None
    since_xid: int | None = None
    changed_after: datetime | None = None
    exercise: bool = False

    def takes(self, case: Case) -> bool:
        """Whether the case is one of them, as far as that does not need the database."""
        if case.exercise is not self.exercise:
            return False
        if self.open is not None and case.is_open is not self.open:
            return False
        chosen = (
            (self.states, case.state),
            (self.kinds, case.kind),
            (self.categories, case.category),
            (self.severities, case.severity),
            (self.areas, case.area),
        )
        if any(some is not None and one not in some for some, one in chosen):
            return False
        if self.agency is not None and case.agency != self.agency:
            return False
        return self.unit is None or self.unit in case.units

    def stored(self) -> tuple[object, ...]:
        """What it asks of a row, as SQL takes it, up to the unit: the first parameters of every list of cases."""

        def listed(some: Collection[str] | None) -> list[str] | None:
            return None if some is None else [str(one) for one in some]

        return (
            listed(self.states),
            self.open,
            listed(self.kinds),
            listed(self.categories),
            listed(self.severities),
            listed(self.areas),
            self.agency,
            self.unit,
        )
