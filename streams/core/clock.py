"""When has a case's clock run out, by the law's working time?

Clocks are values of the case: they start with it, pause while somebody else is waited for, and stop with what they
measure. `at` is when it was so. A calendar is looked up by its name in the site pack.
"""

from collections.abc import Sequence
from datetime import datetime

from schemas.case import Case, Clock, ClockName, Deadline
from schemas.site import Site
from schemas.working_time import forecast as forecast
from schemas.working_time import remaining_s as remaining_s
from schemas.working_time import worked_s as worked_s


def start_clocks(site: Site, case: Case, at: datetime) -> tuple[Clock, ...]:
    """The clocks whose plans apply to the case's category, kind, severity, area and agency, started."""
    raise NotImplementedError


def replan(site: Site, case: Case, at: datetime) -> tuple[Clock, ...]:
    """The case's clocks after its category, severity, area or agency changed: new allowances, what has run stays."""
    raise NotImplementedError


def pause(site: Site, clocks: Sequence[Clock], at: datetime) -> tuple[Clock, ...]:
    """Lets all running clocks stand still."""
    raise NotImplementedError


def resume(site: Site, clocks: Sequence[Clock], at: datetime) -> tuple[Clock, ...]:
    """Lets all clocks that stand still, and were not stopped, run on."""
    raise NotImplementedError


def stop(site: Site, clocks: Sequence[Clock], name: ClockName, at: datetime) -> tuple[Clock, ...]:
    """Ends one clock: what it measures was done at this moment. A clock that is not there or was stopped stays so."""
    raise NotImplementedError


def passed(site: Site, clocks: Sequence[Clock], deadline_name: str, at: datetime) -> tuple[Clock, ...]:
    """The clocks with the warning or the breach noted that a deadline's name tells of."""
    raise NotImplementedError


def clock_deadlines(case: Case) -> list[Deadline]:
    """What the case's running clocks will bring: `clock:<name>:warn` and `clock:<name>:due`."""
    raise NotImplementedError
