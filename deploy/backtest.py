"""What would an alert rule have said of the stored history, or of a file? Reads only."""

import asyncio
import csv
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import asyncpg
from rich.console import Console
from rich.table import Table

from deploy.local.addresses import reachable
from deploy.settings import Settings
from deploy.site import load_site
from schemas.alert import AlertRule, Every, Series
from schemas.errors import DependencyUnavailable, OperatorError
from schemas.site import Site
from schemas.site_file import suggestion
from streams.alerts.values import EVENTS_MAX, read_samples, read_settled_s
from streams.core.alert import NOTHING_HELD, RESOLVED, Held, Mutes, Verdict
from streams.core.alert_replay import Said, replayed, samples_of

DAYS = 7
"""So far back it looks unless it is told otherwise."""

STEPS_MAX = 500
"""Steps that are read at once."""

QUERY_TIMEOUT_S = 120.0

_TOLD = frozenset({Verdict.FIRE}) | RESOLVED


class Backtested(NamedTuple):
    """What a rule said, step by step, of how many steps."""

    said: Sequence[Said]
    steps: int


def run(
    settings: Settings,
    rule_id: str,
    *,
    since: datetime | None,
    until: datetime | None,
    file: Path | None,
    every: bool,
) -> None:
    """Prints what the rule would have said; with `every` also where nothing came of a series. Raises IocError."""
    site = load_site(settings.site)
    rule = rule_of(site, rule_id)
    if file is not None:
        done = from_file(site, rule, file, since, until)
    else:
        with reachable(settings) as (_, database_url):
            done = asyncio.run(_stored(database_url, site, rule, since, until))
    Console(soft_wrap=True).print(table(site, rule, done, every=every))
    print(summary(done))


def rule_of(site: Site, rule_id: str) -> AlertRule:
    """The rule of this id. Raises OperatorError."""
    found = next((rule for rule in site.alerts if rule.id == rule_id), None)
    if found is None:
        known = [rule.id for rule in site.alerts]
        fix = suggestion(rule_id, known) if known else "The site pack has no alerts.toml."
        raise OperatorError(f"There is no alert rule {rule_id!r}.", fix)
    return found


def from_file(site: Site, rule: AlertRule, file: Path, since: datetime | None, until: datetime | None) -> Backtested:
    """What the rule says of a CSV file of times and values, as of one series. What lies in one step is averaged."""
    points = read_points(file, rule.grid.zone)
    samples = samples_of(rule, points)
    steps = [
        step_s
        for step_s in sorted(samples)
        if (since is None or step_s > since.timestamp()) and (until is None or step_s <= until.timestamp())
    ]
    said, _ = replayed(rule, steps, {Series(rule.top, ""): samples}, NOTHING_HELD, Mutes(site.areas))
    return Backtested(said, len(steps))


def read_points(file: Path, zone: ZoneInfo) -> list[tuple[float, float]]:
    """The points of a CSV file: a time, in this zone where it names none, and a value. A first line of names is left
    out. Raises OperatorError.
    """
    try:
        with file.open(newline="") as lines:
            rows = [row for row in csv.reader(lines) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OperatorError(f"{file} cannot be read ({error}).", "Give a CSV file of times and values.") from error
    points: list[tuple[float, float]] = []
    for number, row in enumerate(rows, 1):
        try:
            moment, value = datetime.fromisoformat(row[0].strip()), float(row[1])
        except (ValueError, IndexError):
            if number == 1:
                continue
            fix = "Write lines such as 2026-03-01T08:00:00,12.5."
            raise OperatorError(f"{file}, line {number}: {','.join(row)!r} is no time and value.", fix) from None
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
        points.append((moment.timestamp(), value))
    if not points:
        raise OperatorError(f"{file} holds no points.", "Write lines such as 2026-03-01T08:00:00,12.5.")
    return points


async def stored(
    connection: "asyncpg.Connection[asyncpg.Record]",
    site: Site,
    rule: AlertRule,
    since: datetime | None,
    until: datetime | None,
    now: datetime,
) -> Backtested:
    """What the rule says of what is stored. Raises OperatorError for what is not kept any more."""
    settled_s = await read_settled_s(connection, site, rule)
    end_s = now.timestamp() if until is None else until.timestamp()
    if settled_s is not None:
        end_s = min(end_s, settled_s)
    begin_s = end_s - timedelta(days=DAYS).total_seconds() if since is None else since.timestamp()
    _check_floor(site, rule, begin_s, now)
    said: list[Said] = []
    held: Held = NOTHING_HELD
    count = 0
    while steps := rule.grid.steps(begin_s, end_s, STEPS_MAX):
        read = await read_samples(connection, site, rule, steps, held.series)
        if not read.is_whole:
            fix = "Look at a shorter time, or have an indicator count them."
            raise OperatorError(f"There are more than {EVENTS_MAX} events in {len(steps)} steps.", fix)
        some, held = replayed(rule, steps, read.samples, held, Mutes(site.areas))
        said += some
        begin_s = steps[-1]
        count += len(steps)
    return Backtested(said, count)


def _check_floor(site: Site, rule: AlertRule, begin_s: float, now: datetime) -> None:
    if rule.rule.event is not None or rule.rule.every is Every.DAY:
        return
    retention = site.header.retention
    what, days = (
        ("hours", retention.hour_days) if rule.rule.every is Every.HOUR else ("minutes", retention.minute_days)
    )
    floor = now - timedelta(days=days)
    if begin_s < floor.timestamp():
        shown = floor.astimezone(rule.grid.zone).isoformat(timespec="minutes")
        raise OperatorError(f"The rule looks at {what}, and those are kept since {shown}.", "Give a later --from.")


async def _stored(
    database_url: str, site: Site, rule: AlertRule, since: datetime | None, until: datetime | None
) -> Backtested:
    async with reading(database_url) as connection:
        return await stored(connection, site, rule, since, until, datetime.now(UTC))


@asynccontextmanager
async def reading(database_url: str) -> "AsyncGenerator[asyncpg.Connection[asyncpg.Record]]":
    """A connection that can change nothing. Raises DependencyUnavailable."""
    try:
        connection = await asyncpg.connect(
            database_url,
            command_timeout=QUERY_TIMEOUT_S,
            server_settings={"default_transaction_read_only": "on", "jit": "off"},
        )
        try:
            yield connection
        finally:
            await connection.close()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DependencyUnavailable("database", f"{type(error).__name__}: {error}") from error


def table(site: Site, rule: AlertRule, done: Backtested, *, every: bool) -> Table:
    """When the rule would have fired and when that would have been over; with `every` all steps."""
    language = site.header.languages[0]
    shown = Table(title=f"{rule.id}: {rule.rule.names.get(language, '')}")
    for column in ("until", "area", rule.rule.by or "", "verdict", "value", "limit"):
        shown.add_column(column, justify="right" if column in {"value", "limit"} else "left")
    for step_s, judged in done.said:
        if every or judged.verdict in _TOLD:
            area = site.areas[judged.series.area].names.get(language, judged.series.area)
            moment = datetime.fromtimestamp(step_s, rule.grid.zone).isoformat(timespec="minutes")
            numbers = (_number(judged.reading.value), _number(judged.reading.limit))
            shown.add_row(moment, area, judged.series.by, judged.verdict.value, *numbers)
    return shown


def summary(done: Backtested) -> str:
    """What came of it, in a line."""
    counts = Counter(one.judged.verdict for one in done.said)
    series = len({one.judged.series for one in done.said})
    verdicts = ", ".join(f"{verdict.value} {n}" for verdict, n in sorted(counts.items()))
    return (
        f"{done.steps} steps, {series} series: it would have fired {counts[Verdict.FIRE]} times ({verdicts or '–'}). "
        "Silences and rules that inhibit it are left out."
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.6g}"
