"""How long may it take until a case is answered, accepted, reached and resolved?

`clocks.toml` in the site pack. Every mistake is a SiteError with the line, the reason and the fix.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.calendar import ALWAYS
from schemas.case import ClockName, Kind, Severity

CLOCKS_FILE = "clocks.toml"

Allowance = Annotated[str, Meta(pattern=r"^(none|[1-9]\d{0,4}[smhd])\Z")]
"""Working time: `90s`, `15m`, `4h`, `3d` (working days), or `none`: no such clock runs."""

Share = Annotated[float, Meta(gt=0, lt=1)]


class ClockPlan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a clock is allowed for the cases that it applies to. Of several the most specific one holds.

    `starts`      `at_once`, or `next_day`: it begins with the next working day, and days end with their last hour
    `warn_share`  what part of the allowance may have run before it is warned of
    `areas`       codes of the present list: the plan applies there and below
    """

    clock: ClockName
    allowed: Allowance
    calendar: str = ALWAYS
    starts: Literal["at_once", "next_day"] = "at_once"
    warn_share: Share | None = None
    categories: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ()
    severities: tuple[Severity, ...] = ()
    areas: tuple[str, ...] = ()
    agencies: tuple[str, ...] = ()
