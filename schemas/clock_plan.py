"""How long may it take until a case is answered, accepted, reached and resolved?

`clocks.toml` in the site pack. Every mistake is a SiteError with the line, the reason and the fix.
"""

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.area import AreaTree
from schemas.calendar import ALWAYS, Calendar, check_calendar
from schemas.case import ClockName, Kind, Severity
from schemas.site_file import check_declared, convert_file, mistake_at

CLOCKS_FILE = "clocks.toml"

Allowance = Annotated[str, Meta(pattern=r"^(none|[1-9]\d{0,4}[smhd])\Z")]
"""Working time: `90s`, `15m`, `4h`, `3d` (working days), or `none`: no such clock runs."""

DAYS_MAX = 1000
"""A longer allowance is a slip of the hand."""

Share = Annotated[float, Meta(gt=0, lt=1)]


class ClockPlan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a clock is allowed for the cases that it applies to. Of several the most specific one holds.

    `starts`      `at_once`, or `next_day`: the day on which it happened does not count, and days are whole ones
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


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    clock: list[ClockPlan] = []


def parse_clocks(text: str) -> tuple[ClockPlan, ...]:
    """The plans, in the file's order. Raises SiteError."""
    plans = convert_file(text, _File, CLOCKS_FILE).clock
    wrong = partial(mistake_at, CLOCKS_FILE, text)
    for number, plan in enumerate(plans):
        path = ("clock", number)
        if plan.allowed.endswith("d") and int(plan.allowed[:-1]) > DAYS_MAX:
            raise wrong((*path, "allowed"), f"{plan.allowed} is too long", f"Allow at most {DAYS_MAX}d.")
        if plan.starts == "next_day" and plan.calendar == ALWAYS:
            reason = f"the calendar {ALWAYS!r} has no days that a clock could start with"
            raise wrong((*path, "starts"), reason, "Name a calendar with working days.")
    return tuple(plans)


def check_clocks(
    text: str,
    plans: Iterable[ClockPlan],
    *,
    calendars: Mapping[str, Calendar],
    categories: Collection[str],
    agencies: Collection[str],
    areas: AreaTree,
) -> None:
    """Raises SiteError where a plan names what the rest of the pack does not declare."""
    for number, plan in enumerate(plans):
        path = ("clock", number)
        check_calendar(calendars, plan.calendar, CLOCKS_FILE, text, (*path, "calendar"))
        check_declared(plan.categories, categories, "category", CLOCKS_FILE, text, (*path, "categories"))
        check_declared(plan.agencies, agencies, "agency", CLOCKS_FILE, text, (*path, "agencies"))
        check_declared(plan.areas, areas.present, "area", CLOCKS_FILE, text, (*path, "areas"))
