"""What was a KPI, in these areas, over these spans?

This is the one way to read. What is stored are partials of bases, by area version and bucket; here they are found,
however the spans lie and whatever became of the areas, and put together to what people read: now, and as it was first
reported. `read_values` asks the database, everything else is pure.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct

from dashboard_api.closing import Closing
from dashboard_api.database import Reader
from dashboard_api.spans import BEGINNING_S, Piece, Span, back, pieces
from dashboard_api.statements import load_statements
from schemas.area import AreaTree
from schemas.distinct import merge
from schemas.event import AreaId
from schemas.kpi import (
    ALL_DIM,
    DERIVED,
    LATEST_BIN,
    Base,
    Catalogue,
    Kpi,
    Measure,
    Partial,
    Value,
)
from schemas.site import Site
from schemas.statements import for_tier
from schemas.window import Tier

_SQL = load_statements("values")


class Reported(Struct, frozen=True, kw_only=True):
    """A value as it is `now`, and what it was when its span closed.

    `first` is None as long as the span is not `closed`. Of a span of several buckets it is what each of them closed
    with. `corrected_at` is when something in a closed bucket last changed; None: it never did, and `first` is `now`.
    """

    now: Value
    first: Value | None = None
    corrected_at: datetime | None = None
    closed: bool = False


async def read_values(
    reader: Reader,
    site: Site,
    kpis: Collection[str],
    areas: Collection[AreaId],
    spans: Sequence[Span],
    *,
    by: str | None = None,
    where: Mapping[str, str] = {},
    closed: Closing,
) -> dict[tuple[str, AreaId, str | None, int], Reported]:
    """The values by KPI, area, dimension value and index of the span; the spans may overlap, in any order.

    Without `by` the dimension value is None, and every KPI, area and span has an entry. With `by`, the name of a
    dimension, a KPI that has it has entries for each value of it that occurs in the area; one that has not is read
    whole, under None. `where` gives the values that dimensions must have. A denominator is taken whole in what it
    cannot be split by, so that the shares of a whole come out.
    """
    raise NotImplementedError


def dimensions_of(catalogue: Catalogue, kpi_id: str) -> tuple[str, ...]:
    """What a KPI can be split by: of a ratio what its numerator can, of a balance what both of its parts can."""
    if kpi_id not in catalogue:
        return catalogue.base(kpi_id).dimensions
    kpi, parts = catalogue[kpi_id], catalogue.parts_of(kpi_id)
    if kpi.measure not in DERIVED:
        return catalogue.base(kpi_id).dimensions
    if kpi.measure is Measure.RATIO:
        return dimensions_of(catalogue, parts[0])
    split = [dimensions_of(catalogue, part) for part in parts]
    return tuple(name for name in split[0] if all(name in names for names in split))
