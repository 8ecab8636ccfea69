"""Which buckets are counted again?

Whole local days from a moment on, and none that are older than what is kept: an event that comes late has no minute
there either.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from schemas.area import AreaTree
from schemas.event import AreaId
from schemas.site import Retention
from schemas.window import TIERS, Tier, day_start
from streams.core.fold import DAY_S, Cells, Folded, Key

OPEN_S = 0.0
"""No event is older: times begin in 1970."""


class Extent(NamedTuple):
    """The first moment of the buckets of each area, in epoch seconds by tier, and the earliest of all of them."""

    starts: Mapping[Tier, Mapping[AreaId, float]]
    start_s: float

    def keys(self, tier: Tier, keys: Iterable[Key]) -> set[Key]:
        """Those of the keys whose buckets are in it."""
        starts = self.starts[tier]
        return {key for key in keys if key[4] >= starts[key[1]]}

    def __call__(self, folded: Folded) -> Folded:
        """A fold less what lies outside."""

        def inside(part: Mapping[Tier, Cells]) -> dict[Tier, Cells]:
            return {
                tier: {key: cell for key, cell in part[tier].items() if key[4] >= self.starts[tier][key[1]]}
                for tier in TIERS
            }

        return Folded(
            cells=inside(folded.cells),
            late=inside(folded.late),
            reported=inside(folded.reported),
            touched=folded.touched,
        )


def extent_of(areas: AreaTree, from_s: float | None, retention: Retention, now_s: float) -> Extent:
    """The buckets from the local day on in which `from_s` lies (None: all) that are kept now."""
    days = {
        area.id: OPEN_S if from_s is None else float(day_start(int(from_s), areas.zone(area.id))) for area in areas
    }
    kept_s = {
        Tier.MINUTE: now_s - retention.minute_days * DAY_S,
        Tier.HOUR: now_s - retention.hour_days * DAY_S,
        Tier.DAY: OPEN_S,
    }
    starts = {tier: {area: max(day, kept_s[tier]) for area, day in days.items()} for tier in TIERS}
    return Extent(starts, min(days.values()))
