"""Does `ioc backtest` say what the rule would have said, and change nothing?"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from rich.console import Console
from typer.testing import CliRunner

from deploy.backtest import from_file, read_points, reading, rule_of, stored, summary, table
from deploy.cli import app
from schemas.errors import OperatorError
from streams.core.alert import Verdict
from tests.alerts.hall import BEGIN_S, MINUTE_S, Hall, metric, rule, version_of
from tests.alerts.rules import ABOVE_5, MANY
from tests.streams.world import PACK

NOW = datetime.fromtimestamp(BEGIN_S + 30 * MINUTE_S, UTC)
BEGIN = datetime.fromtimestamp(BEGIN_S, UTC)
VALUES = (1, 6, 6, 4.5, 3, 3, 7, 3)
WHOLE = rule(ABOVE_5, "hold_s = 60", subject='kpi = "response"')


def csv_file(folder: Path, values: tuple[float, ...] = VALUES) -> Path:
    """One value a minute from BEGIN on, in Hanoi's time, under a line of names."""
    file = folder / "points.csv"
    local = datetime(2025, 6, 23, 7, 0, 30)
    lines = [f"{(local + timedelta(minutes=at)).isoformat(sep=' ')},{value}" for at, value in enumerate(values)]
    file.write_text("timestamp,value\n" + "\n".join(lines) + "\n")
    return file


async def test_history_says_what_looking_has_said(hall: Hall) -> None:
    version = version_of(MANY)
    await hall.begin(version)
    some = [metric(BEGIN_S + MINUTE_S * at + 30, value) for at, value in enumerate(VALUES)]
    await hall.count(version, some, BEGIN_S + len(VALUES) * MINUTE_S)
    await hall.look(version, BEGIN_S + len(VALUES) * MINUTE_S)
    for one in version.site.alerts:
        if one.rule.kpi != "response":
            continue
        done = await stored(hall.connection, version.site, one, BEGIN, None, NOW)
        fired = [said.step_s for said in done.said if said.judged.is_begun]
        rows = await hall.connection.fetch(
            "SELECT extract(epoch FROM started_at)::bigint AS at_s FROM alert_firing WHERE rule = $1 ORDER BY 1",
            one.id,
        )
        assert fired == [row["at_s"] for row in rows]
        assert done.steps == len(VALUES)


async def test_it_can_change_nothing(hall: Hall) -> None:
    async with reading(hall.url) as connection:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute("INSERT INTO alert_rule (rule, looked_until) VALUES ('r', now())")


async def test_what_is_not_kept_any_more_is_refused(hall: Hall) -> None:
    version = version_of(rule(ABOVE_5))
    since = NOW - timedelta(days=36_501)
    with pytest.raises(OperatorError, match=r"looks at minutes, and those are kept since 1925-"):
        await stored(hall.connection, version.site, version.site.alerts[0], since, None, NOW)


async def test_a_file_says_the_same_as_what_is_stored(hall: Hall, tmp_path: Path) -> None:
    version = version_of(WHOLE)
    one = version.site.alerts[0]
    some = [metric(BEGIN_S + MINUTE_S * at + 30, value) for at, value in enumerate(VALUES)]
    await hall.count(version, some, BEGIN_S + len(VALUES) * MINUTE_S)
    of_file = from_file(version.site, one, csv_file(tmp_path), None, None)
    assert of_file == await stored(hall.connection, version.site, one, BEGIN, None, NOW)
    assert [said.judged.verdict for said in of_file.said] == [
        Verdict.QUIET,
        Verdict.HOLD_PENDING,
        Verdict.FIRE,
        Verdict.HOLD_BAND,
        Verdict.RESOLVE,
        Verdict.QUIET,
        Verdict.HOLD_PENDING,
        Verdict.QUIET,
    ]
    assert summary(of_file).startswith("8 steps, 1 series: it would have fired 1 times (fire 1, hold_band 1,")


def shown(console: Console, *, every: bool, folder: Path) -> list[str]:
    """The table's rows as they are printed."""
    site = version_of(WHOLE).site
    done = from_file(site, site.alerts[0], csv_file(folder), None, None)
    with console.capture() as captured:
        console.print(table(site, site.alerts[0], done, every=every))
    return [line for line in captured.get().splitlines() if "2025-06-23" in line]


def test_only_what_is_told_is_shown_unless_all_is_asked_for(tmp_path: Path) -> None:
    console = Console(width=140)
    fired, over = shown(console, every=False, folder=tmp_path)
    assert "2025-06-23T07:03+07:00" in fired
    assert "Test province" in fired
    assert "fire" in fired
    assert "resolve" in over
    assert len(shown(console, every=True, folder=tmp_path)) == len(VALUES)


def test_a_part_of_a_file(tmp_path: Path) -> None:
    site = version_of(WHOLE).site
    since, until = BEGIN + timedelta(minutes=2), BEGIN + timedelta(minutes=5)
    done = from_file(site, site.alerts[0], csv_file(tmp_path), since, until)
    assert [said.step_s for said in done.said] == [BEGIN_S + at * MINUTE_S for at in (3, 4, 5)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "holds no points", id="empty"),
        pytest.param("time,value\n2025-06-23,x\n", "line 2: '2025-06-23,x' is no time and value", id="no number"),
        pytest.param("2025-06-23,1\nnever,1\n", "line 2: 'never,1' is no time and value", id="no time"),
        pytest.param("time,value\n2025-06-23\n", "line 2", id="no value"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "points.csv"
    file.write_text(text)
    with pytest.raises(OperatorError, match=reason):
        read_points(file, version_of(WHOLE).site.alerts[0].grid.zone)


def test_a_rule_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"'slaw'.*'slow'"):
        rule_of(version_of(WHOLE).site, "slaw")
    with pytest.raises(OperatorError, match=r"no alerts\.toml"):
        rule_of(version_of("").site, "slow")


def test_the_command(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    for name, text in {**PACK, "alerts.toml": WHOLE}.items():
        (site / name).write_text(text)
    done = CliRunner().invoke(
        app,
        ["backtest", "slow", "--csv", str(csv_file(tmp_path)), "--from", "2025-06-23T07:00"],
        env={**os.environ, "IOC_SITE": str(site), "COLUMNS": "140"},
    )
    assert done.exit_code == 0, done.output
    assert "2025-06-23T07:03+07:00" in done.output
    assert "it would have fired 1 times" in done.output
