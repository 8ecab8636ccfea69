"""Do spreadsheets and notebooks read the same figures as everybody else?"""

import csv
import io
import zipfile
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import httpx
import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard_api.export import Column, Format, Kind, Sheet, format_of, to_csv, to_parquet, to_xlsx
from tests.dashboard.centre import Report, Running, Sample, dashboard, writer

HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
NOW = datetime(2026, 4, 15, 12, tzinfo=HANOI)
MARCH_S = int(datetime(2026, 3, 29, 12, tzinfo=HANOI).timestamp())

COLUMNS = (
    Column("text"),
    Column("number", Kind.NUMBER),
    Column("whole", Kind.WHOLE),
    Column("flag", Kind.FLAG),
    Column("at", Kind.INSTANT),
)
NOON = datetime(2026, 3, 29, 12, 0, 0, 250_000, tzinfo=HANOI)
SHEET = Sheet("sheet", COLUMNS, [("Xã Ba Động", -0.5, 3, True, NOON), (None, None, None, None, None)])


def rows_of(body: bytes) -> list[list[str]]:
    """What a reader of CSV sees."""
    assert body.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline="")))


def test_csv_is_rfc_4180_with_a_byte_order_mark() -> None:
    body = to_csv(SHEET)
    assert body.decode("utf-8-sig") == (
        "text,number,whole,flag,at\r\nXã Ba Động,-0.5,3,true,2026-03-29T12:00:00.250000+07:00\r\n,,,,\r\n"
    )
    assert body.startswith(b"\xef\xbb\xbf")


@pytest.mark.parametrize("text", ["=1+1", "+84", "-x", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"])
def test_no_text_is_taken_for_a_formula(text: str) -> None:
    assert rows_of(to_csv(Sheet("sheet", COLUMNS[:1], [(text,)])))[1] == [f"'{text}"]


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20), min_size=1)
)
def test_every_text_comes_back_from_csv(texts: list[str]) -> None:
    sheet = Sheet("sheet", (Column("a"), Column("b")), [(text, "x") for text in texts])
    _, *rows = rows_of(to_csv(sheet))
    assert [row[1] for row in rows] == ["x"] * len(texts)
    assert [
        row[0] if row[0] == text else row[0].removeprefix("'") for row, text in zip(rows, texts, strict=True)
    ] == (texts)


def test_parquet_has_types_and_times_in_utc() -> None:
    frame = polars.read_parquet(io.BytesIO(to_parquet(SHEET)))
    assert frame.schema == {
        "text": polars.String(),
        "number": polars.Float64(),
        "whole": polars.Int64(),
        "flag": polars.Boolean(),
        "at": polars.Datetime("us", "UTC"),
    }
    assert frame.rows() == [("Xã Ba Động", -0.5, 3, True, NOON.astimezone(UTC)), (None,) * 5]
    nothing = polars.read_parquet(io.BytesIO(to_parquet(Sheet("sheet", COLUMNS, []))))
    assert (nothing.schema, nothing.height) == (frame.schema, 0)


def cells_of(book: bytes) -> list[dict[str, str]]:
    """What stands in the rows of a workbook's first sheet, by cell; of an empty row there is nothing."""
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    with zipfile.ZipFile(io.BytesIO(book)) as parts:
        texts = ["".join(found.itertext()) for found in ElementTree.fromstring(parts.read("xl/sharedStrings.xml"))]
        sheet = ElementTree.fromstring(parts.read("xl/worksheets/sheet1.xml"))
    assert not list(sheet.iter(f"{space}f")), "a formula"
    rows: list[dict[str, str]] = []
    for row in sheet.iter(f"{space}row"):
        found = {str(cell.get("r")): cell for cell in row if cell.find(f"{space}v") is not None}
        written = {at: (cell.get("t"), cell.findtext(f"{space}v") or "") for at, cell in found.items()}
        rows.append({at: texts[int(value)] if kind == "s" else value for at, (kind, value) in written.items()})
    return rows


def test_a_workbook_has_numbers_times_and_truths_and_no_formula() -> None:
    head, full = cells_of(to_xlsx(Sheet("sheet", COLUMNS, [("=1+1", -0.5, 3, True, NOON), (None,) * 5])))
    assert list(head.values()) == ["text", "number", "whole", "flag", "at"]
    # A spreadsheet counts days since 1900; 5 o'clock in London.
    assert (full["A2"], full["B2"], full["C2"], full["D2"]) == ("=1+1", "-0.5", "3", "1")
    assert float(full["E2"]) == pytest.approx(46110 + 5 / 24, abs=1e-5)


@pytest.mark.parametrize(
    ("asked", "accept", "form"),
    [
        pytest.param(None, "", Format.JSON, id="nothing said"),
        pytest.param(None, "*/*", Format.JSON, id="anything"),
        pytest.param(None, "text/html,application/xhtml+xml,*/*;q=0.8", Format.JSON, id="a browser"),
        pytest.param(None, "text/csv", Format.CSV, id="csv"),
        pytest.param(None, "Text/CSV; header=present, */*;q=0.1", Format.CSV, id="csv with parameters"),
        pytest.param(None, "text/csv;q=0.5, application/json", Format.JSON, id="rather JSON"),
        pytest.param(None, "application/vnd.apache.parquet", Format.PARQUET, id="parquet"),
        pytest.param(None, "text/csv;q=x", Format.JSON, id="no quality"),
        pytest.param(Format.PARQUET, "text/csv", Format.PARQUET, id="the address wins"),
    ],
)
def test_the_form_is_the_one_asked_for(asked: Format | None, accept: str, form: Format) -> None:
    assert format_of(asked, accept) is form


@pytest.fixture
async def running(tables: str) -> AsyncGenerator[Running]:
    """A dashboard with two reports of March."""
    async with dashboard(tables, now=lambda: NOW) as one, writer(tables) as stream:
        await stream.commit(
            [Sample(kpi="feedback_received", area="01", time_s=MARCH_S, dim="=cmd\x1fapp")] * 2,
            [Report(id="=1", area="01")],
        )
        await stream.connection.execute("UPDATE event SET window_time = to_timestamp($1)", MARCH_S)
        yield one


QUESTIONS: dict[str, tuple[str, dict[str, Any], int]] = {
    "series": (
        "kpis/feedback_received/series",
        {"step": "day", "from": "2026-03-28T00:00:00+07:00", "to": "2026-03-30T00:00:00+07:00", "by": "category"},
        2,
    ),
    "table": ("kpis/feedback_received/table", {"period": "2026-03"}, 3),
    "attainment": ("kpis/feedback_received/attainment", {"period": "2026-03"}, 4),
    "compare": ("kpis/feedback_received/compare", {"periods": "2026-02,2026-03", "areas": "01,02"}, 4),
    "events": ("kpis/feedback_received/events", {"period": "2026-03"}, 1),
    "latest": ("latest", {"kpis": "feedback_received,load"}, 2),
    "overview": ("overview", {"kpis": "feedback_received,load", "period": "2026-03"}, 2),
}


async def test_files_hold_what_the_answers_hold(running: Running) -> None:
    async with httpx.AsyncClient(base_url=running.http, trust_env=False, timeout=20) as client:
        for case, (path, params, count) in QUESTIONS.items():
            answer = await client.get(f"/v1/{path}", params=params)
            assert answer.headers["content-type"] == "application/json", case
            assert "content-disposition" not in answer.headers
            text = await client.get(f"/v1/{path}", params=params, headers={"Accept": "text/csv"})
            assert text.headers["content-type"] == "text/csv; charset=utf-8", case
            assert text.headers["content-disposition"].endswith('.csv"')
            assert text.headers["ioc-position"] == answer.json()["position"]
            assert datetime.fromisoformat(text.headers["ioc-as-of"]) == NOW
            header, *rows = rows_of(text.content)
            assert len(rows) == count, case
            binary = await client.get(f"/v1/{path}", params={**params, "format": "parquet"})
            assert binary.headers["content-type"] == "application/vnd.apache.parquet"
            frame = polars.read_parquet(io.BytesIO(binary.content))
            assert (frame.columns, frame.height) == (header, count), case
            book = await client.get(f"/v1/{path}", params={**params, "format": "xlsx"})
            assert book.headers["content-disposition"].endswith('.xlsx"')
            assert [len(cells) > 0 for cells in cells_of(book.content)] == [True] * (count + 1), case
            if "value" in header:
                shown = [float(row[header.index("value")]) if row[header.index("value")] else None for row in rows]
                assert frame["value"].to_list() == shown
        series = await client.get("/v1/" + QUESTIONS["series"][0], params={**QUESTIONS["series"][1], "format": "csv"})
        assert [row[2] for row in rows_of(series.content)[1:]] == ["'=cmd", "'=cmd"]
        events = await client.get("/v1/" + QUESTIONS["events"][0], params={**QUESTIONS["events"][1], "format": "csv"})
        assert rows_of(events.content)[1][3] == "'=1"


async def test_pages_of_a_file_go_on_where_a_header_says(running: Running, tables: str) -> None:
    async with writer(tables) as stream:
        await stream.commit(reports=[Report(id=f"a{n}", area="01") for n in range(3)])
        await stream.connection.execute("UPDATE event SET window_time = to_timestamp($1)", MARCH_S)
    seen: list[str] = []
    params: dict[str, Any] = {"period": "2026-03", "limit": 2, "format": "csv"}
    async with httpx.AsyncClient(base_url=running.http, trust_env=False, timeout=20) as client:
        for _ in range(3):
            page = await client.get("/v1/kpis/feedback_received/events", params=params)
            seen += [row[3] for row in rows_of(page.content)[1:]]
            if "ioc-next" not in page.headers:
                break
            params["before"] = page.headers["ioc-next"]
    assert sorted(seen) == ["'=1", "a0", "a1", "a2"]
