"""`make bench`: what does the centre do on this machine, beside what others do in the same run?

Prints a table and writes `.bench/latest.json`: flat names, each figure's median under its name, its extremes under
`<name>_min` and `<name>_max`, and the ratios that the goals are about.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from msgspec import Struct
from rich.console import Console
from rich.table import Table

from deploy.settings import Settings
from streams.core.dedupe import IDS_MAX
from tests.benchmarks import commands, fold, ingest, latency, live, pages, query, start_up
from tests.benchmarks.services import Services, services

EVENTS, EVENTS_QUICK = 2_000_000, 500_000
STOCK_EVENTS, STOCK_EVENTS_QUICK = 200_000, 50_000
GROWTH_EVENTS = 500_000
KPIS, COMMUNES = (1, 10, 40), (200, 1000, 3321)
DEDUPE_IDS, DEDUPE_IDS_QUICK = (1_000_000, 2_500_000, IDS_MAX), (IDS_MAX,)
REPETITIONS = 3
NOT_QUICK = {"up", "growth"}
RESULTS = Path(".bench/latest.json")

Figures = dict[str, list[float]]


class Ratio(Struct, frozen=True, kw_only=True):
    """A goal that holds on any machine: one figure against another of the same run."""

    name: str
    of: str
    to: str
    goal: float


RATIOS = (
    Ratio(name="fold_x_stock", of="fold_events_s", to="faust_stock_events_s", goal=10),
    Ratio(name="fold_x_raw", of="fold_events_s", to="aiokafka_raw_events_s", goal=0.5),
    Ratio(name="fold_catalogue_x_stock", of="fold_catalogue_events_s", to="faust_stock_catalogue_events_s", goal=8),
    Ratio(name="fold_x_quix", of="fold_events_s", to="quix_window_events_s", goal=0),
    Ratio(name="ingest_x_bare", of="ingest_events_s", to="ingest_bare_events_s", goal=0.6),
    Ratio(name="ingest_single_x_bare", of="ingest_requests_s", to="ingest_bare_requests_s", goal=0),
    Ratio(name="live_p99_x_bare", of="live_p99_s", to="live_bare_p99_s", goal=0),
    Ratio(name="commands_x_bare", of="commands_s", to="commands_bare_s", goal=0),
)
LIMITS = {
    "query_p95_s": 0.1,
    "latency_board_p50_s": 0.06,
    "latency_board_p99_s": 0.25,
    "live_p99_s": 0.15,
    "live_client_kb": 60.0,
    "live_cpu_ratio": 2.0,
    "command_outcome_p99_s": 0.3,
    "clocks_core_share": 0.05,
    "up_warm_s": 15.0,
}


async def folds(place: Services, *, quick: bool) -> Figures:
    """The fold beside its rivals, in turns, so that what else the machine does falls on all alike."""
    full = await fold.prepare(place, EVENTS_QUICK if quick else EVENTS)
    short = await fold.prepare(place, STOCK_EVENTS_QUICK if quick else STOCK_EVENTS)
    mixed = await fold.prepare(place, EVENTS_QUICK if quick else EVENTS, "reference")
    short_mixed = await fold.prepare(place, STOCK_EVENTS_QUICK, "reference")
    figures: Figures = {}

    def note(name: str, run: fold.Run) -> None:
        figures.setdefault(name, []).append(run.events_s)

    for _ in range(1 if quick else REPETITIONS):
        note("aiokafka_raw_events_s", await asyncio.to_thread(fold.rival, "raw", place, full))
        run = await fold.ours(place, full, 1)
        note("fold_events_s", run)
        figures.setdefault("fold_rss_mb", []).append(run.rss_bytes / 2**20)
        note("faust_stock_events_s", await asyncio.to_thread(fold.rival, "stock", place, short))
        run = await fold.ours(place, mixed, 1)
        note("fold_catalogue_events_s", run)
        figures.setdefault("fold_catalogue_rss_mb", []).append(run.rss_bytes / 2**20)
        stock = await asyncio.to_thread(fold.rival, "stock_catalogue", place, short_mixed)
        note("faust_stock_catalogue_events_s", stock)
        if not quick:
            note("quix_window_events_s", await asyncio.to_thread(fold.rival, "quix", place, short))
            note("fold_2_workers_events_s", await fold.ours(place, full, 2))
            note("fold_4_workers_events_s", await fold.ours(place, full, 4))
    for ids in DEDUPE_IDS_QUICK if quick else DEDUPE_IDS:
        name = "fold_dedupe_rss_mb" if ids == IDS_MAX else f"fold_dedupe_rss_mb_{ids // 1000}k_ids"
        figures[name] = [await asyncio.to_thread(fold.dedupe_rss_bytes, place, ids) / 2**20]
    return figures


async def growth(place: Services) -> Figures:
    """How the fold's speed falls with the number of KPIs, and with that of areas."""
    figures: Figures = {}
    for kpis in KPIS:
        log = await fold.prepare(place, GROWTH_EVENTS, str(kpis))
        figures[f"fold_{kpis}_kpis_events_s"] = [(await fold.ours(place, log, 1)).events_s]
    for communes in COMMUNES:
        log = await fold.prepare(place, GROWTH_EVENTS, f"one@{communes}")
        figures[f"fold_{communes}_communes_events_s"] = [(await fold.ours(place, log, 1)).events_s]
    return figures


async def measure(place: Services, *, quick: bool, only: set[str], say: Callable[[str], None]) -> Figures:
    """All figures, or those of the named groups."""
    groups = {
        "fold": lambda: folds(place, quick=quick),
        "growth": lambda: growth(place),
        "ingest": lambda: ingest.measure(place, quick=quick),
        "latency": lambda: latency.measure(place, quick=quick),
        "live": lambda: live.measure(place, quick=quick),
        "pages": lambda: pages.measure(place, quick=quick),
        "commands": lambda: commands.measure(place, quick=quick),
        "query": lambda: query.measure(place, quick=quick),
        "up": lambda: start_up.measure(place),
    }
    figures: Figures = {}
    for name, group in groups.items():
        if (only and name not in only) or (quick and name in NOT_QUICK and name not in only):
            continue
        started_s = time.monotonic()
        figures |= await group()
        say(f"{name}: measured in {time.monotonic() - started_s:.0f} s")
    return figures


def flat(figures: Figures) -> dict[str, float]:
    """Medians, extremes and ratios under flat names."""
    result: dict[str, float] = {}
    for name, values in figures.items():
        result |= {name: median(values), f"{name}_min": min(values), f"{name}_max": max(values)}
    for ratio in RATIOS:
        if ratio.of in figures and ratio.to in figures:
            result[ratio.name] = median(figures[ratio.of]) / median(figures[ratio.to])
    return result


def table(figures: Figures, result: dict[str, float]) -> Table:
    """What was measured, for a person."""
    shown = Table(title=f"{os.cpu_count()} cores, everything on one machine, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    for column in ("figure", "median", "least", "most", "runs", "goal"):
        shown.add_column(column, justify="left" if column == "figure" else "right")
    for name, values in figures.items():
        goal = f"≤ {LIMITS[name]:g}" if name in LIMITS else ""
        shown.add_row(name, *map(_number, (median(values), min(values), max(values))), str(len(values)), goal)
    shown.add_section()
    for ratio in RATIOS:
        if ratio.name in result:
            goal = f"≥ {ratio.goal:g}" if ratio.goal else ""
            shown.add_row(f"{ratio.name} ({ratio.of} / {ratio.to})", f"{result[ratio.name]:.2f}", "", "", "", goal)
    return shown


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    """Runs the benchmarks."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs and events, in some minutes")
    groups = ["fold", "growth", "ingest", "latency", "live", "pages", "commands", "query", "up"]
    parser.add_argument("--only", action="append", default=[], choices=groups)
    arguments = parser.parse_args()
    say = Console(stderr=True).print
    with services(Settings.from_env(os.environ)) as place:
        figures = asyncio.run(measure(place, quick=arguments.quick, only=set(arguments.only), say=say))
    result = flat(figures)
    Console().print(table(figures, result))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    sys.stdout.write(f"Written to {RESULTS}.\n")


if __name__ == "__main__":
    main()
