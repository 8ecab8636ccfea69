"""What do clocks cost, in processor time?

`python -m tests.benchmarks.working_time`. Clocks of the shipped Vietnamese pack, whose moments lie all over a year.
"""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from deploy.site import load_site
from schemas.area_id import AreaId
from schemas.case import Case, CaseId, Kind, Severity, State
from schemas.working_time import after_working_s, remaining_s, worked_between_s
from streams.core.clock import pause, resume, start_clocks

CASES = 10_000
REPETITIONS = 5
SEED = 7
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def took_s(act: Callable[[], object]) -> float:
    """The median of some runs, in seconds of a core."""
    found: list[float] = []
    for _ in range(REPETITIONS):
        begin = time.process_time()
        act()
        found.append(time.process_time() - begin)
    return median(found)


def main() -> None:
    """Prints each figure on a line."""
    site = load_site(Path(__file__).parents[2] / "deploy" / "sites" / "vietnam")
    office = site.calendars["hanh-chinh"]
    begin = time.process_time()
    office.year(2026)
    print(f"first look at a year        {(time.process_time() - begin) * 1e3:8.1f} ms")
    rng = random.Random(SEED)
    moments = [BEGIN + timedelta(seconds=rng.randrange(360 * 86_400)) for _ in range(CASES)]
    later = [moment + timedelta(seconds=rng.randrange(40 * 86_400)) for moment in moments]
    due_s = took_s(lambda: [after_working_s(office, moment, 8 * 3600) for moment in moments])
    print(f"a due time                  {due_s / CASES * 1e6:8.1f} µs")
    between_s = took_s(lambda: [worked_between_s(office, a, b) for a, b in zip(moments, later, strict=True)])
    print(f"time worked between two     {between_s / CASES * 1e6:8.1f} µs")
    cases = [
        Case(
            id=CaseId(str(number)),
            version=1,
            kind=Kind.SERVICE,
            state=State.NEW,
            category="road",
            severity=Severity.MINOR,
            area=AreaId("19"),
            areas=(AreaId("vn"), AreaId("19")),
            opened_at=moment,
            recorded_at=moment,
            changed_at=moment,
        )
        for number, moment in enumerate(moments)
    ]
    start_s = took_s(lambda: [start_clocks(site, case, case.opened_at) for case in cases])
    print(f"the clocks of a new case    {start_s / CASES * 1e6:8.1f} µs")
    clocks = [start_clocks(site, case, case.opened_at) for case in cases]
    wait_s = took_s(
        lambda: [resume(site, pause(site, one, at), at) for one, at in zip(clocks, later, strict=True)],
    )
    print(f"a pause and its end         {wait_s / CASES * 1e6:8.1f} µs")
    board_s = took_s(
        lambda: [remaining_s(site, clock, at) for one, at in zip(clocks, later, strict=True) for clock in one]
    )
    print(f"what is left, {CASES:,} cases {board_s * 1e3:8.1f} ms")
    print(f"clocks                      {sum(map(len, clocks)):8,}")


if __name__ == "__main__":
    main()
