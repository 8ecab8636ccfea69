"""Does the whole centre come to the figures that follow from Boston's own records, and to the city's verdicts?

Reports go the whole way: `ioc replay` through a recording mapping → ingest → Kafka → a stream worker → TimescaleDB →
what the dashboard reads. What they must come to is worked out in `boston_figures`. One centre counts two recordings:
half a year of cases with targets (clocks go back within it), and of two years of Open311 records the two months in
which clocks change, or all of them under the `soak` mark.
"""

import asyncio
import csv
import gzip
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import msgspec
import polars as pl
import pytest

from dashboard_api.closing import NOTHING_CLOSED
from dashboard_api.reported import Reported
from dashboard_api.spans import Span
from dashboard_api.values import read_values
from deploy.replay.recorded_file import load_mappings
from deploy.settings import PACKAGED_SITE
from deploy.site import load_site
from ingest.decode.recording import AreaLookup
from schemas.event import AreaId
from schemas.window import Tier
from tests.acceptance.boston_figures import (
    CITY,
    OPEN311_FILE,
    SLA_FILE,
    ZONE,
    Figure,
    Reports,
    Row,
    balances,
    figures,
    open311_reports,
    open311_rows,
    sla_reports,
    together,
)
from tests.conftest import ROOT, unavailable
from tests.faults.centre import Centre, ready, until

ROWS = 58_251
LABELLED = 43_664
UNLABELLED = 157
OPEN311_MONTHS = ("2017-03", "2017-11")
OPEN311_ROWS = 11_793
OPEN311_ROWS_ALL = 141_179

REPLAY_WITHIN_S = 1500
RESENT = 10_000

HISTOGRAM_ERROR = 0.01

TIMED = ("feedback.resolution_median", "feedback.resolution_p90")

FURTHER_KPIS = """
[[kpi]]
id = "feedback.agencies"
names = { vi = "Cơ quan nhận phản ánh", en = "Agencies that reports went to" }
unit = "1"
measure = "distinct"
event = "ioc.feedback.received.v1"
of = "agency"
dimensions = ["category", "channel", "agency"]

[[kpi]]
id = "feedback.categories"
names = { vi = "Lĩnh vực có phản ánh", en = "Categories that were reported" }
unit = "1"
measure = "distinct"
event = "ioc.feedback.received.v1"
of = "category"
dimensions = ["channel", "category"]

[[kpi]]
id = "feedback.agency_share"
names = { vi = "Cơ cấu phản ánh theo cơ quan", en = "Share of reports that went to each agency" }
unit = "1"
measure = "ratio"
numerator = { measure = "count", event = "ioc.feedback.received.v1", dimensions = ["agency"] }
denominator = { measure = "count", event = "ioc.feedback.received.v1" }

[[kpi]]
id = "feedback.category_share"
names = { vi = "Cơ cấu phản ánh theo lĩnh vực", en = "Share of reports in each category" }
unit = "1"
measure = "ratio"
numerator = { measure = "count", event = "ioc.feedback.received.v1", dimensions = ["category"] }
denominator = { measure = "count", event = "ioc.feedback.received.v1" }
"""

WHOLE = (
    "feedback.received",
    "feedback.closed",
    "feedback.closed_on_time",
    "feedback.resolution_median",
    "feedback.resolution_p90",
    "feedback.agencies",
    "feedback.categories",
)
SPLIT: dict[str, dict[str, str]] = {
    "agency": {
        "feedback.closed_on_time": "feedback.closed_on_time",
        "feedback.resolution_median": "feedback.resolution_median",
        "feedback.resolution_p90": "feedback.resolution_p90",
        "feedback.agency_share": "feedback.channel_share",
        "feedback.agencies": "feedback.agencies",
    },
    "category": {
        "feedback.received": "feedback.received",
        "feedback.closed": "feedback.closed",
        "feedback.category_share": "feedback.channel_share",
        "feedback.categories": "feedback.categories",
    },
    "channel": {"feedback.channel_share": "feedback.channel_share", "feedback.agencies": "feedback.agencies"},
}
"""By what is split: the KPI, and the figure under which `figures` has it. All shares are worked out alike."""

Verdicts = Counter[tuple[str, bool]]
"""Cases by department, in time or not."""


@pytest.fixture(scope="module")
def cases() -> dict[str, dict[str, str]]:
    """The city's rows by case id."""
    for file in (SLA_FILE, OPEN311_FILE):
        if not file.exists():
            unavailable(f"The recording {file} is not on this machine.")
    with gzip.open(SLA_FILE, "rt", newline="") as text:
        rows = {row["case_enquiry_id"]: row for row in csv.DictReader(text)}
    assert len(rows) == ROWS
    return rows


@pytest.fixture
async def centre(
    cases: dict[str, dict[str, str]], kafka: str, database_url: str, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[Centre]:
    """A centre with the demo city's pack, and what the second recording needs besides."""
    del cases  # without them there is nothing to start for
    pack = tmp_path / "site"
    shutil.copytree(PACKAGED_SITE, pack, ignore=shutil.ignore_patterns("demo"))
    shutil.copy(Path(__file__).with_name("boston_open311.toml"), pack / "recordings")
    with (pack / "kpis.toml").open("a") as file:
        file.write(FURTHER_KPIS)
    centre = Centre(kafka, database_url, topic_prefix, tmp_path, pack)
    try:
        await centre.create()
        yield centre
    finally:
        centre.end()


async def test_half_a_year_and_two_months(centre: Centre, cases: dict[str, dict[str, str]]) -> None:
    await both_recordings(centre, cases, OPEN311_MONTHS, OPEN311_ROWS)


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_half_a_year_and_two_years(centre: Centre, cases: dict[str, dict[str, str]]) -> None:
    await both_recordings(centre, cases, (), OPEN311_ROWS_ALL)


async def both_recordings(
    centre: Centre, cases: dict[str, dict[str, str]], months: Sequence[str], open311_count: int
) -> None:
    """Sends both recordings, compares every figure, and sends a part once more."""
    codes, open311_codes = (area_codes(centre, name) for name in ("boston_311_sla", "boston_open311"))
    rows = open311_rows(months, list(open311_codes))
    assert rows.height == open311_count
    rows.write_csv(centre.folder / "open311.csv")
    reports = together([sla_reports(codes), open311_reports(rows, open311_codes)])
    closed = sum(bool(row["closed_dt"]) for row in cases.values())
    open311_closed = rows["closed_datetime"].count()

    with centre.web() as address:
        worker = centre.start_worker(0)
        await ready(centre, address)
        said = await replay(centre, address, SLA_FILE)
        assert f"{ROWS + closed} events taken, 0 rejected" in said
        said = await replay(centre, address, centre.folder / "open311.csv")
        assert f"{open311_count + open311_closed} events taken, 0 rejected" in said
        await until(centre.caught_up, "everything is counted", centre)
        state = await tables(centre)
        assert state["events"] == ROWS + closed + open311_count + open311_closed

        await every_case_as_the_city_judged_it(centre, cases)
        await every_indicator_as_polars_counts_it(centre, reports)
        await departments_as_the_city_counted_them(address, cases)

        # A part of the same file once more: known for ever, so nothing moves.
        await replay(centre, address, SLA_FILE, "--limit", str(RESENT))
        await until(centre.caught_up, "everything is passed", centre)
        assert await tables(centre) == state
        assert worker.exit_code() is None


def area_codes(centre: Centre, recording: str) -> dict[str, str]:
    """The area codes of neighbourhoods by name, as a recording's mapping has them."""
    mapping = load_mappings(centre.site_folder, load_site(centre.site_folder))[recording]
    assert isinstance(mapping.area, AreaLookup)
    return dict(mapping.area.codes)


async def replay(centre: Centre, address: str, recording: Path, *options: str) -> str:
    """`ioc replay FILE --keep --speed max`, as a person would. Returns what it says."""

    def run() -> "subprocess.CompletedProcess[str]":
        environ = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "IOC_SITE": str(centre.site_folder),
            "IOC_DATA": str(centre.folder / "replay"),
            "LC_ALL": "C.UTF-8",
        }
        return subprocess.run(
            [
                *(sys.executable, "-m", "deploy.cli", "replay", str(recording)),
                *("--keep", "--speed", "max", "--url", address, "--restart", *options),
            ],
            env=environ,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=REPLAY_WITHIN_S,
            check=False,
        )

    done = await asyncio.to_thread(run)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


async def every_indicator_as_polars_counts_it(centre: Centre, reports: Reports) -> None:
    """By day and by month, in the city and each neighbourhood, and by agency, category and channel."""
    areas = sorted(set(reports.received["area"].unique()) | set(reports.closed["area"].unique()))
    days, months = (spans_of(reports, every) for every in ("day", "month"))
    by_day, by_month = (figures(reports, every, None) for every in ("day", "month"))
    # The day of 25 hours is among them, and so is that of 23.
    lengths_h = {day: (span.end_s - span.start_s) // 3600 for day, span in days.items()}
    assert (lengths_h[date(2011, 11, 6)], lengths_h[date(2017, 3, 12)], lengths_h[date(2017, 11, 5)]) == (25, 23, 25)

    same(await read(centre, WHOLE, areas, days), {kpi: by_day[kpi] for kpi in WHOLE}, days, areas)
    same(await read(centre, WHOLE, areas, months), {kpi: by_month[kpi] for kpi in WHOLE}, months, areas)
    in_city = Reports(reports.received.filter(area=CITY), reports.closed.filter(area=CITY))
    for by, kpis in SPLIT.items():
        split = figures(in_city, "month", by)
        same(await read(centre, list(kpis), [CITY], months, by), {kpi: split[of] for kpi, of in kpis.items()})
    await what_is_in_handling(centre, reports, areas, days)


def spans_of(reports: Reports, every: str) -> dict[date, Span]:
    """All local days, or months, on which a report came or was closed."""
    happened: list[date] = pl.concat([reports.received["day"], reports.closed["day"]]).unique().sort().to_list()
    starts = happened if every == "day" else sorted({day.replace(day=1) for day in happened})
    return {
        start: Span(midnight(start), midnight(start + timedelta(1) if every == "day" else next_month(start)))
        for start in starts
    }


def next_month(start: date) -> date:
    """The first day of the month after."""
    return (start + timedelta(31)).replace(day=1)


def midnight(day: date) -> int:
    """When the city's day begins, in epoch seconds."""
    return int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(ZONE)).timestamp())


Answers = dict[str, dict[Row, Reported]]


async def read(
    centre: Centre, kpis: Sequence[str], areas: Sequence[str], spans: dict[date, Span], by: str | None = None
) -> Answers:
    """What the dashboard reads, by KPI, area, dimension value and span."""
    starts = list(spans)
    async with centre.connected() as connection:
        found = await read_values(
            connection,
            centre.truth.site,
            kpis,
            [AreaId(area) for area in areas],
            list(spans.values()),
            by=by,
            closed=NOTHING_CLOSED,
        )
    answers: Answers = {kpi: {} for kpi in kpis}
    for (kpi, area, dim, at), reported in found.items():
        answers[kpi][area, dim or "", starts[at]] = reported
    return answers


def same(
    answers: Answers,
    expected: dict[str, dict[Row, Figure]],
    spans: Iterable[date] = (),
    areas: Iterable[str] = (),
) -> None:
    """Compares all values. Where nothing happened a value is 0 or None; without `by` every span has an answer."""
    for kpi, given in answers.items():
        wanted = expected[kpi]
        assert wanted
        assert wanted.keys() <= given.keys()
        assert given.keys() >= {(area, "", start) for start in spans for area in areas}
        for row, reported in given.items():
            figure, value = wanted.get(row), reported.now
            if figure is None:
                assert not value.value, (kpi, row, value)
            elif kpi in TIMED:
                assert value.value == pytest.approx(figure.value, rel=HISTOGRAM_ERROR + 1e-9), (kpi, row, value)
            else:
                assert value.value == figure.value, (kpi, row, value)
            if figure is not None and figure.denominator is not None:
                assert (value.numerator, value.denominator) == (figure.numerator, figure.denominator), (kpi, row)


async def what_is_in_handling(centre: Centre, reports: Reports, areas: Sequence[str], days: dict[date, Span]) -> None:
    """At the end of every day, in every area, also where nothing happened on that day."""
    answers = (await read(centre, ["feedback.in_handling"], areas, days))["feedback.in_handling"]
    known = {(area, day): balance for area, day, balance in balances(reports).select("area", "day", "balance").rows()}
    for area in areas:
        balance = 0
        for day in days:
            balance = known.get((area, day), balance)
            assert answers[area, "", day].now.value == balance, (area, day)
        assert balance == reports.received.filter(area=area).height - reports.closed.filter(area=area).height


def city_verdicts(cases: dict[str, dict[str, str]]) -> tuple[Verdicts, Verdicts]:
    """The city's own labels of closed cases that had a target; and for those that it left blank, closed > target."""
    labelled: Verdicts = Counter()
    blank: Verdicts = Counter()
    for row in cases.values():
        if not row["closed_dt"] or not row["target_dt"]:
            continue
        if row["ontime"]:
            labelled[row["department"], row["ontime"] == "ONTIME"] += 1
        else:
            # Both are local times, an hour of a changed clock apart at the worst, and none of these is that near.
            blank[row["department"], row["closed_dt"] <= row["target_dt"]] += 1
    assert (labelled.total(), blank.total()) == (LABELLED, UNLABELLED)
    return labelled, blank


async def every_case_as_the_city_judged_it(centre: Centre, cases: dict[str, dict[str, str]]) -> None:
    """Case by case, from the bodies that the event table keeps."""
    async with centre.connected() as connection:
        rows = await connection.fetch(
            """SELECT subject, time, body FROM event
               WHERE type = 'ioc.feedback.closed.v1' AND source = 'boston-311' ORDER BY subject"""
        )
    judged: Verdicts = Counter()
    wrong: list[str] = []
    for row in rows:
        data: dict[str, Any] = msgspec.json.decode(row["body"])["data"]
        label = cases[row["subject"]]["ontime"]
        if "due_at" not in data or not label:
            continue
        in_time = row["time"] <= datetime.fromisoformat(data["due_at"])
        judged[data["agency"], in_time] += 1
        if in_time != (label == "ONTIME"):
            wrong.append(row["subject"])
    assert wrong == []
    assert judged == city_verdicts(cases)[0]


async def departments_as_the_city_counted_them(address: str, cases: dict[str, dict[str, str]]) -> None:
    """The KPI by department, as the REST API answers."""
    labelled, blank = city_verdicts(cases)
    shown: Verdicts = Counter()
    last_year = max(int(row["closed_dt"][:4]) for row in cases.values() if row["closed_dt"])
    async with httpx.AsyncClient(base_url=address, timeout=30) as client:
        answer = await client.get(
            "/v1/kpis/feedback.closed_on_time/series",
            params={
                "area": CITY,
                "step": "month",
                "by": "agency",
                "from": "2011-01-01T05:00:00Z",  # New York's midnight
                "to": f"{last_year + 1}-01-01T05:00:00Z",
            },
        )
    assert answer.status_code == 200, answer.text
    for one in answer.json()["series"]:
        for bucket in one["buckets"]:
            kept = round(bucket.get("numerator", 0))
            shown[one["dim"], True] += kept
            shown[one["dim"], False] += bucket["n"] - kept
    assert +shown == labelled + blank


async def tables(centre: Centre) -> dict[str, int]:
    """What a second replay must not change: rows that are merged meanwhile hold the same."""
    async with centre.connected() as connection:
        counts = {"events": await connection.fetchval("SELECT count(*) FROM event")}
        for tier in Tier:
            counts[tier.value] = await connection.fetchval(
                f"""SELECT sum(hashtextextended((kpi, area, dim, bucket, bin, n, total)::text, 0)) FROM (
                        SELECT kpi, area, dim, bucket, bin, sum(n) AS n, sum(total) AS total
                        FROM kpi_{tier.value} GROUP BY 1, 2, 3, 4, 5
                    ) AS k"""
            )
    return counts
