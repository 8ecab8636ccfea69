"""`python -m tests.benchmarks.alerts`: what do alert rules find of what people have labelled as anomalies?

The files are those of the Numenta Anomaly Benchmark, with its own windows (tests/benchmarks/nab). Each kind of rule
has one set of parameters for all files; what a rule says in the first 15 % of a file, which the benchmark gives for
learning, does not count. Beside them stands what is done without rules: three standard deviations about the mean of
those 15 %. Prints Markdown.
"""

import argparse
import json
import lzma
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from statistics import mean, median, pstdev
from typing import Any, NamedTuple

from schemas.alert import AlertRule, Series
from schemas.area_id import AreaId
from schemas.site import parse_site
from streams.core.alert import NOTHING_HELD, Mutes, Verdict
from streams.core.alert_replay import replayed, samples_of

FILE = Path(__file__).parent / "nab" / "series.json.xz"
LEARNING_SHARE = 0.15
SIGMAS = 3.0
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S

SITE = {
    "site.toml": 'id = "nab"\nnames = { en = "NAB" }\nzone = "UTC"\narea_list = "nab"\nlanguages = ["en"]\n',
    "areas.csv": "code,parent,kind,name_vi,name_en\nnab,,set,NAB,NAB\n",
    "kpis.toml": """
[[kpi]]
id = "value"
names = { en = "Value" }
unit = "1"
measure = "mean"
event = "ioc.service.metric.v1"
value = "value"
""",
}
ONE = Series(AreaId("nab"), "")

RULES: Mapping[str, str] = {
    "threshold, 3 sigma": """
every = "5m"
clear_s = 7200
threshold = {{ above = {sigma_above}, below = {sigma_below} }}""",
    "threshold": """
every = "5m"
hold_s = 900
clear_s = 7200
threshold = {{ above = {above}, below = {below}, margin = {margin} }}""",
    "absence": """
every = "hour"
absence = {{}}""",
    "change": """
every = "15m"
clear_s = 7200
change = {{ above = 1.0, below = -0.6, steps = 4, relative = true }}""",
    "deviation, recent": """
every = "5m"
clear_s = 7200
[rule.deviation]
above = 4
below = -4
margin = 1
past = "recent"
count = 288
values_min = 72
spread = "quantiles"
spread_share = 0.1""",
    "deviation, days": """
every = "15m"
clear_s = 14400
[rule.deviation]
above = 4
below = -4
margin = 1
past = "days"
count = 7
neighbours = 4
spread = "quantiles"
spread_share = 0.1""",
    "deviation, weeks": """
every = "15m"
clear_s = 14400
[rule.deviation]
above = 4
below = -4
margin = 1
past = "weeks"
count = 4
neighbours = 8
spread = "quantiles"
spread_share = 0.1""",
}
"""By kind. The first is the baseline as a rule, which is over only after two hours. A threshold has to be of the
figure itself, so it lies beyond what the first 15 % of a file held, by a tenth of the range: one formula for all."""

BASELINE = f"{SIGMAS:g} sigma (baseline)"


COLUMNS = ("recall", "windows found", "precision", "alerts in windows", "false a day", "delay, h", "of window")


class Labelled(NamedTuple):
    """One file: points of (epoch seconds, value), windows, and up to when it is for learning."""

    points: Sequence[tuple[float, float]]
    windows: Sequence[tuple[float, float]]
    learn_until_s: float


class Judged(NamedTuple):
    """How alerts meet windows. `delays` are from a window's start to its first alert, in s and as a share of it."""

    windows: int
    found: int
    alerts: int
    right: int
    delays: Sequence[tuple[float, float]]
    days: float

    @property
    def recall(self) -> float | None:
        """The share of windows in which there was an alert."""
        return self.found / self.windows if self.windows else None

    @property
    def precision(self) -> float | None:
        """The share of alerts that were in a window."""
        return self.right / self.alerts if self.alerts else None


@cache
def files() -> Mapping[str, Labelled]:
    """All files by name."""
    raw: dict[str, dict[str, Any]] = json.loads(lzma.decompress(FILE.read_bytes()))
    found: dict[str, Labelled] = {}
    for name, file in raw.items():
        time_s = _epoch_s(file["begin"])
        points: list[tuple[float, float]] = []
        for gap_s, value in zip([0, *file["gaps_s"]], file["values"], strict=True):
            time_s += gap_s
            points.append((time_s, value))
        windows = [(_epoch_s(start), _epoch_s(end)) for start, end in file["windows"]]
        found[name] = Labelled(points, windows, points[int(len(points) * LEARNING_SHARE)][0])
    return found


def _epoch_s(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def rule_of(kind: str, file: Labelled) -> AlertRule:
    """The rule of a kind. Of the file it knows what a threshold is set by, the part for learning."""
    learnt = [value for time_s, value in file.points if time_s <= file.learn_until_s]
    tenth = (max(learnt) - min(learnt)) / 10
    limits = {"above": max(learnt) + tenth, "below": min(learnt) - tenth, "margin": tenth}
    middle, spread = mean(learnt), pstdev(learnt)
    limits |= {"sigma_above": middle + SIGMAS * spread, "sigma_below": middle - SIGMAS * spread}
    head = f'[[rule]]\nid = "nab"\nnames = {{ en = "{kind}" }}\ncategory = "nab"\nkpi = "value"\n'
    return parse_site({**SITE, "alerts.toml": head + RULES[kind].format(**limits)}).alerts[0]


def alerts_of(kind: str, file: Labelled) -> list[float]:
    """When a rule of this kind fires."""
    rule = rule_of(kind, file)
    samples = samples_of(rule, file.points)
    mutes = Mutes(parse_site(SITE).areas)
    said, _ = replayed(rule, sorted(samples), {ONE: samples}, NOTHING_HELD, mutes)
    return [one.step_s for one in said if one.judged.verdict is Verdict.FIRE]


def baseline_of(file: Labelled) -> list[float]:
    """When the value goes beyond so many standard deviations of what was learnt."""
    learnt = [value for time_s, value in file.points if time_s <= file.learn_until_s]
    middle, spread = mean(learnt), pstdev(learnt)
    beyond = [abs(value - middle) > SIGMAS * spread for _, value in file.points]
    return [
        file.points[at][0] for at, is_beyond in enumerate(beyond) if is_beyond and not (at > 0 and beyond[at - 1])
    ]


def judge(alerts: Sequence[float], file: Labelled) -> Judged:
    """How alerts meet the windows of a file."""
    counted = [at for at in alerts if at > file.learn_until_s]
    within = [[at for at in counted if start <= at <= end] for start, end in file.windows]
    return Judged(
        windows=len(file.windows),
        found=sum(bool(some) for some in within),
        alerts=len(counted),
        right=sum(any(start <= at <= end for start, end in file.windows) for at in counted),
        delays=[
            (min(some) - start, (min(some) - start) / (end - start))
            for some, (start, end) in zip(within, file.windows, strict=True)
            if some
        ],
        days=(file.points[-1][0] - file.learn_until_s) / DAY_S,
    )


def together(judged: Sequence[Judged]) -> Judged:
    """Several files as one."""
    return Judged(
        windows=sum(one.windows for one in judged),
        found=sum(one.found for one in judged),
        alerts=sum(one.alerts for one in judged),
        right=sum(one.right for one in judged),
        delays=[delay for one in judged for delay in one.delays],
        days=sum(one.days for one in judged),
    )


def _row(name: str, one: Judged) -> str:
    false_day = (one.alerts - one.right) / one.days
    delay_s, share = (median(some) for some in zip(*one.delays, strict=True)) if one.delays else (None, None)
    cells = (
        name,
        _share(one.recall),
        f"{one.found} of {one.windows}",
        _share(one.precision),
        f"{one.right} of {one.alerts}",
        f"{false_day:.2f}",
        "–" if delay_s is None else f"{delay_s / HOUR_S:.1f}",
        _share(share),
    )
    return "| " + " | ".join(cells) + " |"


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.2f}"


def _table(title: str, rows: Mapping[str, Judged]) -> None:
    columns = (title, *COLUMNS)
    print("| " + " | ".join(columns) + " |")
    print("| --- |" + " ---: |" * (len(columns) - 1))
    for name, one in rows.items():
        print(_row(name, one))
    print()


def _by_file(judged: Mapping[str, Mapping[str, Judged]]) -> None:
    """Each file a row: windows found, alerts that are right, and the median delay in hours."""
    print("| windows found, alerts in windows, delay in h | " + " | ".join(judged) + " |")
    print("| --- |" + " --- |" * len(judged))
    for name in files():
        cells = [name.rsplit("/", 1)[-1].removesuffix(".csv")]
        for by_file in judged.values():
            one = by_file[name]
            delay = f", {median(delay for delay, _ in one.delays) / HOUR_S:.1f}" if one.delays else ""
            cells.append(f"{one.found}/{one.windows}, {one.right}/{one.alerts}{delay}")
        print("| " + " | ".join(cells) + " |")


def main() -> None:
    """Runs all kinds over all files."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.alerts", description=__doc__)
    parser.add_argument("--kind", action="append", choices=[*RULES, BASELINE], default=[])
    parser.add_argument("--files", action="store_true", help="a table by file, too")
    arguments = parser.parse_args()
    kinds: dict[str, Callable[[Labelled], list[float]]] = {BASELINE: baseline_of}
    kinds |= {kind: lambda file, kind=kind: alerts_of(kind, file) for kind in RULES}
    chosen = {kind: find for kind, find in kinds.items() if not arguments.kind or kind in arguments.kind}
    judged = {
        kind: {name: judge(find(file), file) for name, file in files().items()} for kind, find in chosen.items()
    }
    within_s = sum(end - start for file in files().values() for start, end in file.windows)
    days = sum(one.days for one in next(iter(judged.values())).values())
    print(f"{len(files())} files, {days:.0f} days; {within_s / DAY_S / days:.0%} of the time lies in windows.\n")
    _table("kind of rule", {kind: together([*by_file.values()]) for kind, by_file in judged.items()})
    if arguments.files:
        _by_file(judged)


if __name__ == "__main__":
    main()
