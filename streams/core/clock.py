"""When has a case's clock run out, by the law's working time?

Clocks are values of the case: they start with it, pause while somebody else is waited for, and stop with what they
measure. `at` is when it was so. A calendar is looked up by its name in the site pack.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from msgspec.structs import replace

from schemas.area_id import AreaCode
from schemas.calendar import Calendar
from schemas.case import WAITING, Case, Clock, ClockName, Deadline, State
from schemas.clock_plan import ClockPlan
from schemas.site import Site
from schemas.working_time import (
    after_working_s,
    calendar_of,
    next_midnight,
    worked_between_s,
    worked_s,
    working_days_s,
)

_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def start_clocks(site: Site, case: Case, at: datetime) -> tuple[Clock, ...]:
    """The clocks whose plans apply to the case's category, kind, severity, area and agency, started."""
    found = (_started(site, case, name, at) for name in ClockName)
    return tuple(_run_from(site, clock, clock.started_at) for clock in found if clock is not None)


def replan(site: Site, case: Case, at: datetime) -> tuple[Clock, ...]:
    """The case's clocks after its category, severity, area or agency changed: new allowances, what has run stays.

    So one that has run for longer than it is allowed now was due in the past. A clock that was stopped stays as it
    is; one that no plan asks for any more is gone. One that is asked for only now, and whose end has not come yet,
    has run as long as the case's others.
    """
    clocks: list[Clock] = []
    for name in ClockName:
        held = next((clock for clock in case.clocks if clock.name is name), None)
        if held is not None and held.stopped_at is not None:
            clocks.append(held)
        elif held is not None:
            clocks.extend(_changed(site, case, held, at))
        elif case.is_open and case.state is not State.RESOLVED and not _measured(case, name):
            clocks.extend(_added(site, case, name, at))
    return tuple(clocks)


def pause(site: Site, clocks: Sequence[Clock], at: datetime) -> tuple[Clock, ...]:
    """Lets all running clocks stand still."""
    return tuple(_still(site, clock, at) for clock in clocks)


def resume(site: Site, clocks: Sequence[Clock], at: datetime) -> tuple[Clock, ...]:
    """Lets all clocks that stand still, and were not stopped, run on."""
    return tuple(
        clock
        if clock.since is not None or clock.stopped_at is not None
        else _run_from(site, clock, max(at, clock.started_at))
        for clock in clocks
    )


def stop(site: Site, clocks: Sequence[Clock], name: ClockName, at: datetime) -> tuple[Clock, ...]:
    """Ends one clock: what it measures was done at this moment. A clock that is not there or was stopped stays so.

    The moment decides whether it was in time, also where a breach was noted before this was known.
    """
    return tuple(
        _stopped(site, clock, at) if clock.name is name and clock.stopped_at is None else clock for clock in clocks
    )


def run_on(site: Site, clocks: Sequence[Clock], name: ClockName, at: datetime) -> tuple[Clock, ...]:
    """Lets a clock that was stopped run on from what had run: what it measures was not done after all."""
    return tuple(
        _run_from(site, replace(clock, stopped_at=None), max(at, clock.started_at))
        if clock.name is name and clock.stopped_at is not None
        else clock
        for clock in clocks
    )


def passed(site: Site, clocks: Sequence[Clock], deadline_name: str, at: datetime) -> tuple[Clock, ...]:
    """The clocks with the warning or the breach noted that a deadline's name tells of.

    What was not due by `at` is not noted.
    """
    return tuple(_noted(clock, deadline_name, at) for clock in clocks)


def clock_deadlines(case: Case) -> list[Deadline]:
    """What the case's running clocks will bring: `clock:<name>:warn` and `clock:<name>:due`."""
    deadlines: list[Deadline] = []
    for clock in case.clocks:
        if clock.warn_at is not None and clock.warned_at is None and clock.breached_at is None:
            deadlines.append(Deadline(case=case.id, name=_warn_name(clock), due_at=clock.warn_at))
        if clock.due_at is not None and clock.breached_at is None:
            deadlines.append(Deadline(case=case.id, name=_due_name(clock), due_at=clock.due_at))
    return deadlines


def plan_of(site: Site, case: Case, name: ClockName) -> ClockPlan | None:
    """The plan that holds for a clock of the case: the most specific one, of equals the first in the file.

    A plan that names categories is more specific than one that does not; then agencies, the deeper area, severities
    and kinds decide, in this order.
    """
    found: ClockPlan | None = None
    best: tuple[int, ...] = ()
    for plan in site.clocks:
        if plan.clock is not name:
            continue
        weight = _weight(site, case, plan)
        if weight is not None and weight > best:
            found, best = plan, weight
    return found


def _weight(site: Site, case: Case, plan: ClockPlan) -> tuple[int, ...] | None:
    """How specific a plan is that applies to the case; None where it does not."""
    if plan.categories and case.category not in plan.categories:
        return None
    if plan.agencies and case.agency not in plan.agencies:
        return None
    if plan.severities and case.severity not in plan.severities:
        return None
    if plan.kinds and case.kind not in plan.kinds:
        return None
    depth = 0
    if plan.areas:
        tree = site.areas
        named = {area.id for code in plan.areas if (area := tree.by_code(tree.list_id, AreaCode(code))) is not None}
        depth = max((level for level, area in enumerate(case.areas, 1) if area in named), default=0)
        if depth == 0:
            return None
    return (bool(plan.categories), bool(plan.agencies), depth, bool(plan.severities), bool(plan.kinds))


def _started(site: Site, case: Case, name: ClockName, at: datetime) -> Clock | None:
    """A clock that stands still at its beginning, or None where no plan asks for it."""
    plan = plan_of(site, case, name)
    if plan is None or plan.allowed == "none":
        return None
    calendar = calendar_of(site, plan.calendar)
    started_at = next_midnight(calendar, at) if plan.starts == "next_day" and calendar is not None else at
    return Clock(
        name=name,
        calendar=plan.calendar,
        allowed_s=_allowed_s(plan, calendar, started_at),
        started_at=started_at,
        warn_share=plan.warn_share,
    )


def _changed(site: Site, case: Case, held: Clock, at: datetime) -> Iterator[Clock]:
    """A clock that was not stopped, by the plan that holds now. Nothing where there is none."""
    planned = _started(site, case, held.name, held.started_at)
    if planned is None:
        return
    if held.calendar != planned.calendar or (held.since is not None and held.since < planned.started_at):
        # What has run is kept as so many seconds; what comes is measured as the new plan says.
        still = _still(site, held, at)
        since = None if held.since is None else max(at, planned.started_at)
        held = replace(still, since=since)
    ran_s = worked_s(site, held, at)
    # What was noted of a shorter allowance does not hold for a longer one.
    warned = planned.warn_share is not None and ran_s >= planned.allowed_s * planned.warn_share
    changed = replace(
        planned,
        ran_s=held.ran_s,
        warned_at=held.warned_at if warned else None,
        breached_at=held.breached_at if ran_s >= planned.allowed_s else None,
    )
    yield changed if held.since is None else _run_from(site, changed, held.since)


def _added(site: Site, case: Case, name: ClockName, at: datetime) -> Iterator[Clock]:
    """A clock asked for only now. It has run as long as another by the same calendar, else since the start."""
    planned = _started(site, case, name, min((one.started_at for one in case.clocks), default=case.opened_at))
    if planned is None:
        return
    others = [one for one in case.clocks if one.calendar == planned.calendar and one.stopped_at is None]
    if others:
        ran_s = max(worked_s(site, one, at) for one in others)
    else:
        ran_s = worked_between_s(calendar_of(site, planned.calendar), planned.started_at, at)
    added = replace(planned, ran_s=ran_s)
    yield added if case.state in WAITING else _run_from(site, added, max(at, planned.started_at))


def _allowed_s(plan: ClockPlan, calendar: Calendar | None, started_at: datetime) -> float:
    number, unit = int(plan.allowed[:-1]), plan.allowed[-1]
    if unit != "d" or calendar is None:
        return float(number * _UNIT_S[unit])
    if plan.starts == "next_day":
        return working_days_s(calendar, started_at, number)
    return float(number * calendar.day_s)


def _run_from(site: Site, clock: Clock, since: datetime) -> Clock:
    """A clock that runs from a moment on, with what had run before."""
    calendar = calendar_of(site, clock.calendar)
    warn_at = None
    if clock.warn_share is not None:
        warn_at = after_working_s(calendar, since, clock.allowed_s * clock.warn_share - clock.ran_s)
    due_at = after_working_s(calendar, since, clock.allowed_s - clock.ran_s)
    return replace(clock, since=since, warn_at=warn_at, due_at=due_at)


def _still(site: Site, clock: Clock, at: datetime) -> Clock:
    if clock.since is None:
        return clock
    return replace(clock, ran_s=worked_s(site, clock, at), since=None, warn_at=None, due_at=None)


def _stopped(site: Site, clock: Clock, at: datetime) -> Clock:
    late = clock.due_at is not None and at > clock.due_at
    breached_at = clock.due_at if late else None
    still = _still(site, clock, at)
    if not late and still.ran_s > still.allowed_s:
        breached_at = clock.breached_at or at
    return replace(still, stopped_at=at, breached_at=breached_at)


def _noted(clock: Clock, deadline_name: str, at: datetime) -> Clock:
    if clock.due_at is not None and clock.breached_at is None and deadline_name == _due_name(clock):
        return replace(clock, breached_at=clock.due_at) if clock.due_at <= at else clock
    if clock.warn_at is not None and clock.warned_at is None and deadline_name == _warn_name(clock):
        return replace(clock, warned_at=clock.warn_at) if clock.warn_at <= at else clock
    return clock


def _warn_name(clock: Clock) -> str:
    return f"clock:{clock.name}:warn"


def _due_name(clock: Clock) -> str:
    return f"clock:{clock.name}:due"


def _measured(case: Case, name: ClockName) -> bool:
    """Whether what a clock measures has been done already."""
    match name:
        case ClockName.FIRST_ANSWER:
            return case.answered_at is not None
        case ClockName.ACCEPTANCE:
            return case.accepted_at is not None
        case ClockName.ARRIVAL:
            return case.arrived_at is not None
        case ClockName.RESOLUTION:
            return case.resolved_at is not None
