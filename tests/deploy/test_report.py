"""Does a report say what the database holds, in every format, and go out once when it is due?

The golden files lie in `reports/`; their `generated_at` is the clock that the test passes in.
"""

import asyncio
import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from deploy.migrate import migrate_schema
from deploy.outbound import make
from deploy.report import areas_of, choose, encode_report, make_table, messages
from deploy.report_schedule import CLOSE_WAIT_S, RETRY_S, Made, ReportSchedule
from deploy.report_table import COLUMNS, Table
from schemas.errors import OperatorError
from schemas.event import AreaId
from schemas.period import Period, parse_period
from schemas.report import Report, last_due
from schemas.site import Site, parse_site
from streams.store.outbox import BODY_BYTES_MAX, Connection, Outbox
from tests.dashboard.centre import AREAS_CSV, KPIS_TOML, SITE_TOML, Sample, Writer, writer

ROOT = Path(__file__).parent.parent.parent
GOLDEN = Path(__file__).with_name("reports")
MONTH = parse_period("2026-09")
NOW = datetime(2026, 11, 5, 3, tzinfo=UTC)
WAIT_S = 30.0

REPORTS_TOML = """
[[report]]
id = "monthly"
names = { vi = "Báo cáo tháng", en = "Monthly report" }
period = "month"
kpis = ["feedback_received", "closed_in_time", "response_ms", "in_handling", "closed_share"]
formats = ["json", "csv", "xlsx"]
schedule = { day = 5, hour = 8 }
send = [{ channel = "folder", target = "tinh" }]
"""
PACK = {"site.toml": SITE_TOML, "areas.csv": AREAS_CSV, "kpis.toml": KPIS_TOML, "reports.toml": REPORTS_TOML}
SITE = parse_site(PACK)
REPORT = SITE.reports[0]


def at(text: str) -> int:
    """Seconds since the epoch of a local time in Viet Nam."""
    return int(datetime.fromisoformat(f"{text}+07:00").timestamp())


@pytest.fixture
async def url(database_url: str) -> str:
    """A database with all tables."""
    await migrate_schema(database_url)
    return database_url


@pytest.fixture
async def centre(url: str) -> AsyncIterator[Writer]:
    """A province with a September of its own, and a report that came in after it had closed."""
    async with writer(url) as made:
        # A sample has one dimension value for each of the indicator's dimensions.
        received = {"kpi": "feedback_received", "dim": "road\x1fphone"}
        closed = {"kpi": "closed_in_time"}
        await made.commit(
            [
                Sample(area="01", time_s=at("2026-08-31T23:59"), **received),
                Sample(area="01", time_s=at("2026-09-01T00:00"), **received),
                Sample(area="01", time_s=at("2026-09-15T12:00"), **received),
                Sample(area="02", time_s=at("2026-09-30T23:59"), **received),
                Sample(area="02", time_s=at("2026-10-01T00:00"), **received),
                Sample(area="01", time_s=at("2026-09-16T12:00"), value=1.0, **closed),
                Sample(area="01", time_s=at("2026-09-17T12:00"), value=0.0, **closed),
                Sample(area="02", time_s=at("2026-09-18T12:00"), value=1.0, **closed),
                Sample(kpi="feedback_closed", area="01", time_s=at("2026-09-16T12:00")),
                *(Sample(kpi="response_ms", area="01", time_s=at("2026-09-20T12:00"), value=v) for v in (10, 20, 30)),
            ]
        )
        await made.close_until(at("2026-10-02T00:00"))
        await made.commit([Sample(area="02", time_s=at("2026-09-10T09:00"), **received)], late=True)
        await made.connection.execute(
            "UPDATE kpi_day SET corrected_at = '2026-10-03Z' WHERE corrected_at IS NOT NULL"
        )
        yield made


async def table_of(centre: Writer, period: Period = MONTH, report: Report = REPORT, now: datetime = NOW) -> Table:
    """The report as it stands."""
    return await make_table(centre.connection, SITE, report, areas_of(report, SITE, period), period, now)


async def test_the_figures_are_those_of_the_month(centre: Writer) -> None:
    table = await table_of(centre)
    found = {(row.area, row.kpi): row for row in table.rows}
    assert [row.area for row in table.rows[::5]] == ["00", "01", "02", "03"]
    assert [row.kpi for row in table.rows[:5]] == REPORT.kpis

    root = found["00", "feedback_received"]
    assert (root.value, root.first, root.complete, root.exact) == (4, 3, True, True)
    assert root.corrected_at == datetime(2026, 10, 3, tzinfo=UTC)
    first_ward = found["01", "feedback_received"]
    assert (first_ward.value, first_ward.first, first_ward.corrected_at) == (2, 2, None)
    assert (first_ward.target, first_ward.status) == (90, "good")
    in_time = found["00", "closed_in_time"]
    assert (in_time.value, in_time.numerator, in_time.denominator, in_time.n) == (0.666666666667, 2, 3, 3)
    assert found["03", "closed_in_time"].value is None
    assert found["00", "in_handling"].value == 4  # five came in until its end, and one was closed
    assert found["00", "closed_share"].value == 0.25
    assert found["01", "response_ms"].value == pytest.approx(20, rel=0.01)
    assert table.complete
    assert table.documents == ["Quyết định 1"]


async def test_a_month_that_has_not_closed_says_so(centre: Writer) -> None:
    table = await table_of(centre, parse_period("2026-10"))
    root = table.rows[0]
    assert (root.value, root.first, root.complete, table.complete) == (1, None, False, False)


async def test_a_quarter_and_a_year_are_made_of_the_same_days(centre: Writer) -> None:
    for period, received in (("2026-Q3", 5), ("2026", 6), ("2026-09-30", 1), ("2025", 0)):
        assert (await table_of(centre, parse_period(period))).rows[0].value == received


@pytest.mark.parametrize("format_", ["json", "csv"])
async def test_golden(centre: Writer, format_: Any) -> None:
    made = encode_report(SITE, await table_of(centre), format_)
    golden = GOLDEN / f"monthly.2026-09.{format_}"
    if os.environ.get("IOC_WRITE_GOLDEN"):
        golden.write_bytes(made)
    assert made == golden.read_bytes()


async def test_no_name_is_a_formula_for_a_spreadsheet(url: str) -> None:
    named = parse_site(PACK | {"areas.csv": AREAS_CSV.replace("Phường Một", "=HYPERLINK(A1)")})
    assert named.areas[AreaId("01")].names["vi"] == "=HYPERLINK(A1)"
    async with writer(url) as made:
        table = await make_table(made.connection, named, REPORT, areas_of(REPORT, named, MONTH), MONTH, NOW)
    rows = list(csv.reader(io.StringIO(encode_report(named, table, "csv").decode("utf-8-sig"))))
    cells = [row[3] for row in rows if row[1] == "01"]
    assert set(cells) == {"'=HYPERLINK(A1)"}


async def test_made_twice_it_is_the_same_but_for_the_time_of_making(centre: Writer) -> None:
    one, two = await table_of(centre), await table_of(centre)
    later = await table_of(centre, now=NOW + timedelta(days=1))
    for format_ in REPORT.formats:
        assert encode_report(SITE, one, format_) == encode_report(SITE, two, format_)
    assert encode_report(SITE, one, "csv") == encode_report(SITE, later, "csv")
    first, second = (json.loads(encode_report(SITE, table, "json")) for table in (one, later))
    assert first.pop("generated_at") != second.pop("generated_at")
    assert first == second
    assert [m.id for m in messages(SITE, REPORT, one)] == [m.id for m in messages(SITE, REPORT, later)]


def sheet_of(book: bytes, number: int) -> list[dict[str, tuple[str, str]]]:
    """The rows of a sheet: by column letter the cell's type and what stands in it."""
    space = {"m": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}
    with zipfile.ZipFile(io.BytesIO(book)) as parts:
        strings = ElementTree.fromstring(parts.read("xl/sharedStrings.xml"))
        texts = ["".join(one.itertext()) for one in strings.findall("m:si", space)]
        sheet = ElementTree.fromstring(parts.read(f"xl/worksheets/sheet{number}.xml"))
    rows: list[dict[str, tuple[str, str]]] = []
    for row in sheet.iterfind(".//m:row", space):
        cells: dict[str, tuple[str, str]] = {}
        for cell in row:
            kind, value = cell.get("t", "n"), cell.findtext("m:v", "", space)
            cells[str(cell.get("r")).rstrip("0123456789")] = (kind, texts[int(value)] if kind == "s" else value)
        rows.append(cells)
    return rows


def letter(key: str) -> str:
    """The letter of a column."""
    return chr(ord("A") + [column.key for column in COLUMNS].index(key))


async def test_the_workbook_has_typed_cells_and_names_in_both_languages(centre: Writer) -> None:
    book = encode_report(SITE, await table_of(centre), "xlsx")
    vi, en, received, in_time, *rest = sheet_of(book, 1)
    assert (vi[letter("value")], en[letter("value")]) == (("s", "Giá trị"), ("s", "Value"))
    assert received[letter("area")] == ("s", "00")  # a code keeps its zeros
    assert received[letter("name_vi")] == ("s", "Phản ánh đã nhận")
    assert received[letter("name_en")] == ("s", "Reports received")
    assert received[letter("value")] == ("n", "4")
    assert received[letter("complete")] == ("b", "1")
    assert received[letter("corrected_at")] == ("n", "46298")  # 3 October 2026, as spreadsheets count days
    assert in_time[letter("value")] == ("n", "0.666666666667")
    assert len(rest) == 4 * 5 - 2
    with zipfile.ZipFile(io.BytesIO(book)) as parts:
        assert 'formatCode="0.0%"' in parts.read("xl/styles.xml").decode()
    about = [[text for _, text in row.values()] for row in sheet_of(book, 2)]
    assert ["Kỳ báo cáo", "Period", "2026-09"] in about
    assert ["Văn bản quy định", "Document", "Quyết định 1"] in about


async def test_names_are_never_formulas(centre: Writer) -> None:
    kpis = KPIS_TOML.replace("Phản ánh đã nhận", "=1+1").replace("Reports received", "https://a.example")
    site = parse_site(PACK | {"kpis.toml": kpis})
    table = await make_table(centre.connection, site, REPORT, [site.areas.root], MONTH, NOW)
    row = sheet_of(encode_report(site, table, "xlsx"), 1)[2]
    assert (row[letter("name_vi")], row[letter("name_en")]) == (("s", "=1+1"), ("s", "https://a.example"))


class Clock:
    """The time that a schedule goes by."""

    def __init__(self, local: str) -> None:
        self.set(local)

    def set(self, local: str) -> None:
        """A local time in Viet Nam."""
        self.now = datetime.fromisoformat(f"{local}+07:00")

    def __call__(self) -> datetime:
        return self.now


async def sent_ids(centre: Writer) -> list[str]:
    """The ids in the outbox."""
    return [row["id"] for row in await centre.connection.fetch("SELECT id FROM outbox ORDER BY made_at, id")]


async def timers(centre: Writer) -> dict[str, str | None]:
    """What became of each timer; None: it waits."""
    rows = await centre.connection.fetch("SELECT name, ran_at, outcome FROM timer WHERE name LIKE 'report:%'")
    return {row["name"].removeprefix("report:"): None if row["ran_at"] is None else row["outcome"] for row in rows}


@pytest.fixture
async def outbox(url: str) -> AsyncIterator[Outbox]:
    """The outbox of that database."""
    made = Outbox(url)
    yield made
    await made.close()


def scheduled(outbox: Outbox, clock: Clock, site: Site = SITE) -> ReportSchedule:
    """A schedule as a process has it that has just started."""
    return ReportSchedule(outbox, lambda: site, make, clock)


async def test_a_report_goes_out_once_when_it_is_due(centre: Writer, outbox: Outbox) -> None:
    clock = Clock("2026-09-20T00:00")
    schedule = scheduled(outbox, clock)
    await schedule.look()
    # A report that is new begins with the first period that comes due, not with those of the past.
    assert await timers(centre) == {"monthly:2026-09": None}
    clock.set("2026-10-05T07:59")
    await schedule.look()
    assert await sent_ids(centre) == []

    clock.set("2026-10-05T08:00")
    await schedule.look()
    ids = await sent_ids(centre)
    assert [id_.split(".")[0::3] for id_ in ids] == [["monthly", name] for name in ("json", "csv", "xlsx")]
    assert await timers(centre) == {"monthly:2026-09": "made", "monthly:2026-10": None}
    # Neither this process nor one that starts later makes it again.
    await schedule.look()
    await scheduled(outbox, clock).look()
    assert await sent_ids(centre) == ids

    body = await centre.connection.fetchval("SELECT body FROM outbox WHERE id LIKE '%.csv'")
    assert body == (GOLDEN / "monthly.2026-09.csv").read_bytes()


async def test_of_reports_that_were_missed_the_last_one_is_made(centre: Writer, outbox: Outbox) -> None:
    clock = Clock("2026-09-20T00:00")
    await scheduled(outbox, clock).look()
    await centre.close_until(at("2027-01-01T00:00"))
    clock.set("2027-01-10T00:00")
    await scheduled(outbox, clock).look()
    assert {id_.split(".")[1] for id_ in await sent_ids(centre)} == {"2026-12"}
    found = await timers(centre)
    assert found.pop("monthly:2027-01") is None
    assert found == {"monthly:2026-09": "missed: only the last one, 2026-12, was made"}


async def test_two_processes_at_once_make_it_once(centre: Writer, outbox: Outbox) -> None:
    clock = Clock("2026-09-20T00:00")
    schedules = [scheduled(outbox, clock) for _ in range(4)]
    await asyncio.gather(*(schedule.look() for schedule in schedules))
    clock.set("2026-10-05T08:00")
    await asyncio.gather(*(schedule.look() for schedule in schedules))
    assert len(await sent_ids(centre)) == 3
    assert await timers(centre) == {"monthly:2026-09": "made", "monthly:2026-10": None}


async def test_a_report_waits_for_its_period_to_close_but_not_for_ever(centre: Writer, outbox: Outbox) -> None:
    clock = Clock("2026-10-20T00:00")
    schedule = scheduled(outbox, clock)
    await schedule.look()
    clock.set("2026-11-05T08:00")
    await schedule.look()
    clock.now += timedelta(seconds=RETRY_S)
    await schedule.look()
    assert await sent_ids(centre) == []
    clock.now += timedelta(seconds=CLOSE_WAIT_S)
    await schedule.look()
    assert len(await sent_ids(centre)) == 3
    assert (await timers(centre))["monthly:2026-10"] == "made, before its period closed"
    body = await centre.connection.fetchval("SELECT body FROM outbox WHERE id LIKE '%.json'")
    assert json.loads(body)["complete"] is False


async def test_what_cannot_be_put_in_whole_leaves_nothing_behind(centre: Writer, outbox: Outbox) -> None:
    clock = Clock("2026-09-20T00:00")

    async def too_large(connection: Connection, site: Site, report: Report, period: Period, now: datetime) -> Made:
        made = await make(connection, site, report, period, now)
        last = msgspec.structs.replace(made.messages[-1], body=bytes(BODY_BYTES_MAX + 1))
        return Made([*made.messages[:-1], last], made.complete)

    schedule = ReportSchedule(outbox, lambda: SITE, too_large, clock)
    await schedule.look()
    clock.set("2026-10-05T08:00")
    await schedule.look()
    assert await sent_ids(centre) == []
    assert await timers(centre) == {"monthly:2026-09": None}
    # Somebody has mended it.
    await scheduled(outbox, clock).look()
    assert len(await sent_ids(centre)) == 3


async def test_a_schedule_that_changes_in_the_site_pack_is_followed(centre: Writer, outbox: Outbox) -> None:
    clock = Clock("2026-09-20T00:00")
    await scheduled(outbox, clock).look()
    due = "SELECT due_at FROM timer WHERE ran_at IS NULL AND name LIKE 'report:%'"
    assert await centre.connection.fetchval(due) == datetime(2026, 10, 5, 1, tzinfo=UTC)
    later = parse_site(PACK | {"reports.toml": REPORTS_TOML.replace("day = 5, hour = 8", "day = 9, hour = 0")})
    await scheduled(outbox, clock, later).look()
    assert await centre.connection.fetchval(due) == datetime(2026, 10, 8, 17, tzinfo=UTC)
    quarterly = parse_site(PACK | {"reports.toml": REPORTS_TOML.replace('"month"', '"quarter"')})
    await scheduled(outbox, clock, quarterly).look()
    found = await timers(centre)
    assert found.pop("monthly:2026-Q3") is None
    assert str(found.pop("monthly:2026-09")).startswith("dropped")
    assert found == {}


def test_without_an_id_all_indicators_are_meant() -> None:
    assert len(choose(SITE, None).kpis) == len(SITE.kpis.kpis)
    with pytest.raises(OperatorError, match="Name one of monthly"):
        choose(SITE, "weekly")


def ioc(pack: Path, database_url: str, data_dir: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """One command of the real `ioc`, in another process."""
    return subprocess.Popen(
        [sys.executable, "-m", "deploy.cli", *arguments],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "IOC_SITE": str(pack),
            "IOC_DATABASE_URL": database_url,
            "IOC_KAFKA": "127.0.0.1:1",  # a report needs none
            "IOC_DATA": str(data_dir),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """The site pack in a folder."""
    folder = tmp_path / "pack"
    folder.mkdir()
    for name, text in PACK.items():
        (folder / name).write_text(text)
    return folder


async def done(process: subprocess.Popen[bytes]) -> tuple[int, bytes, str]:
    """Waits for a command: its code, and what it said."""
    out, err = await asyncio.to_thread(process.communicate, timeout=WAIT_S)
    return process.returncode, out, err.decode()


async def test_the_command_writes_what_is_asked_for(centre: Writer, url: str, pack: Path, tmp_path: Path) -> None:
    asked = ("report", "2026-09", "--report", "monthly")
    to_stdout, to_file, one_area = await asyncio.gather(
        done(ioc(pack, url, tmp_path, *asked, "--format", "csv", "--output", "-")),
        done(ioc(pack, url, tmp_path, *asked, "--format", "xlsx", "--output", str(tmp_path / "a.xlsx"))),
        done(ioc(pack, url, tmp_path, "report", "2026-10", "--format", "json", "--output", "-", "--area", "01")),
    )
    assert to_stdout == (0, (GOLDEN / "monthly.2026-09.csv").read_bytes(), "")
    assert to_file[0] == 0
    assert b"20 figures for 2026-09." in to_file[1]
    assert zipfile.is_zipfile(tmp_path / "a.xlsx")
    table = json.loads(one_area[1])
    assert {row["area"] for row in table["rows"]} == {"01"}
    assert len(table["rows"]) == len(SITE.kpis.kpis)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["September"], "Write a year, a quarter, a month or a day", id="no period"),
        pytest.param(["2026", "--report", "x"], "Name one of monthly", id="no report"),
        pytest.param(["2026", "--area", "99"], "No area '99'", id="no area"),
        pytest.param(["2026", "--format", "pdf"], "Use one of json, csv, xlsx", id="no format"),
        pytest.param(["2026", "--output", "/nowhere/a.csv"], "cannot be written", id="no folder"),
    ],
)
async def test_a_mistake_is_one_line_with_the_fix(
    url: str, pack: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    code, _, err = await done(ioc(pack, url, tmp_path, "report", *arguments))
    assert (code, len(err.splitlines())) == (1, 1)
    assert says in err


async def until_exists(file: Path) -> None:
    """Waits for a file."""
    async with asyncio.timeout(WAIT_S):
        while not file.exists():  # noqa: ASYNC110, ASYNC240 (another process makes it)
            await asyncio.sleep(0.05)


async def test_the_process_makes_sends_and_stops(centre: Writer, url: str, pack: Path, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    zone = SITE.areas.zone(SITE.areas.root.id)
    assert REPORT.schedule is not None
    period = last_due(REPORT, REPORT.schedule, now, zone)
    await centre.close_until(now.timestamp())
    missed = f"report:monthly:{period.before()}"
    await centre.connection.execute("INSERT INTO timer (name, due_at) VALUES ($1, $2)", missed, now)
    process = ioc(pack, url, tmp_path / "data", "run", "outbound")
    try:
        async with asyncio.timeout(WAIT_S):
            while not (ids := await sent_ids(centre)):  # noqa: ASYNC110 (another process makes them)
                await asyncio.sleep(0.05)
        for id_ in ids:
            await until_exists(tmp_path / "data/reports/tinh" / id_)
        assert {id_.split(".")[1] for id_ in ids} == {str(period)}
        asked_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code, _, err = await done(process)
        assert (code, "Traceback" in err) == (0, False), err
        assert time.monotonic() - asked_s < 5
    finally:
        process.kill()
        process.communicate()
    code, out, _ = await done(ioc(pack, url, tmp_path / "data", "outbox"))
    assert (code, out.decode()) == (0, "Nothing waits to be sent.\n")


async def test_the_process_waits_for_a_database_that_is_away(pack: Path, tmp_path: Path) -> None:
    process = ioc(pack, "postgresql://ioc:secret@127.0.0.1:1/ioc", tmp_path / "data", "run", "outbound")
    try:
        # Longer than the first attempts to reach it take.
        with pytest.raises(subprocess.TimeoutExpired):
            await asyncio.to_thread(process.wait, 4)
        process.send_signal(signal.SIGTERM)
        code, _, err = await done(process)
    finally:
        process.kill()
        process.communicate()
    assert (code, "secret" in err, "Traceback" in err) == (0, False, False)
    assert err.count("waiting: database is away") == err.count("no look at reports: database is away") == 1
