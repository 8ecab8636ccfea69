"""Which open cases lie near a place and a time?

Those in the database are asked for at once for all places of a transaction; those that the transaction itself has
opened or changed are found in a grid, so that thousands that come together are not compared one with each other.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from schemas.area import Point
from schemas.case import Case, CaseId
from schemas.location import distance_m, place_of
from streams.core.scene import NEAR_MAX
from streams.store.cells import Connection

_METRES_PER_DEGREE = 111_195.0
_COS_LEAST = 1e-6

_decode = msgspec.json.Decoder(Case).decode


class Spot(NamedTuple):
    """Where and when: `within_s` before and after `at`, `radius_m` around `place`. Drills are near drills alone."""

    place: Point
    at: datetime
    is_exercise: bool
    radius_m: float
    within_s: float

    @property
    def lat_slack(self) -> float:
        """How many degrees of latitude the radius is."""
        return self.radius_m / _METRES_PER_DEGREE

    @property
    def stretch(self) -> float:
        """How much longer a degree of latitude is here than one of longitude."""
        return 1 / max(math.cos(math.radians(self.place.lat)), _COS_LEAST)

    def holds(self, case: Case, place: Point) -> bool:
        """Whether a case at a place is near."""
        return (
            case.is_open
            and case.exercise == self.is_exercise
            and abs((case.opened_at - self.at).total_seconds()) <= self.within_s
            and distance_m(place, self.place) <= self.radius_m
        )


class NearCases:
    """Open cases near the spots of one transaction."""

    def __init__(self) -> None:
        """Knows none."""
        self._stored: dict[Spot, list[Case]] = {}
        self._cell_deg = 0.0
        self._cells: dict[tuple[int, int], dict[CaseId, Point]] = {}

    async def read(self, connection: Connection, statement: str, spots: Sequence[Spot]) -> None:
        """Asks the database for the cases near these spots."""
        unique = list(dict.fromkeys(spots))
        self._cell_deg = max(self._cell_deg, *(spot.lat_slack for spot in unique))
        columns = zip(
            *(
                (
                    *(one.place.lat, one.place.lon, one.lat_slack, one.lat_slack * one.stretch, one.stretch),
                    *(one.at, one.within_s, one.is_exercise),
                )
                for one in unique
            ),
            strict=True,
        )
        self._stored |= {spot: [] for spot in unique}
        known: dict[str, Case] = {}
        for row in await connection.fetch(statement, *columns, NEAR_MAX):
            case = known.get(row["id"])
            if case is None:
                case = known[row["id"]] = _decode(row["body"])
            self._stored[unique[row["ordinal"] - 1]].append(case)

    def note(self, case: Case) -> None:
        """A case that the transaction has opened or changed."""
        place = place_of(case.place)
        if place is None or not self._cell_deg:
            return
        self._cells.setdefault(self._cell(place.lat, place.lon), {})[case.id] = place

    def of(self, spot: Spot, cases: Mapping[CaseId, Case]) -> list[Case]:
        """Those near a spot, the nearest first, at most NEAR_MAX. `cases` are what the transaction knows better."""
        found: dict[CaseId, tuple[float, Case]] = {}
        for stored in self._stored.get(spot, ()):
            case = cases.get(stored.id, stored)
            if (place := place_of(case.place)) is not None and spot.holds(case, place):
                found[case.id] = distance_m(place, spot.place), case
        if not self._cells:
            return _nearest(found)
        lat, lon, lon_slack = spot.place.lat, spot.place.lon, spot.lat_slack * spot.stretch
        south, west = self._cell(lat - spot.lat_slack, lon - lon_slack)
        north, east = self._cell(lat + spot.lat_slack, lon + lon_slack)
        if (north - south + 1) * (east - west + 1) < len(self._cells):
            cells = [(row, column) for row in range(south, north + 1) for column in range(west, east + 1)]
        else:
            # Near a pole the slack in longitude has no end, and few cases lie in fewer cells.
            cells = list(self._cells)
        for cell in cells:
            for id_, place in self._cells.get(cell, {}).items():
                case = cases.get(id_)
                if case is not None and spot.holds(case, place):
                    found[id_] = distance_m(place, spot.place), case
        return _nearest(found)

    def _cell(self, lat: float, lon: float) -> tuple[int, int]:
        return math.floor(lat / self._cell_deg), math.floor(lon / self._cell_deg)


def _nearest(found: Mapping[CaseId, tuple[float, Case]]) -> list[Case]:
    ordered = sorted(found.items(), key=lambda item: (item[1][0], item[0]))
    return [case for _, (_, case) in ordered[:NEAR_MAX]]
