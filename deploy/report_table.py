"""How does a set of indicators look as JSON, as CSV and as a workbook?

One table, three encodings. The same table gives the same bytes.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec
import xlsxwriter  # pyright: ignore[reportMissingTypeStubs]
from msgspec import Struct

from dashboard_api.export import Cell, csv_cell
from schemas.kpi import Kpi, Measure
from schemas.report import Format
from schemas.target import Status

CONTENT_TYPES: Mapping[Format, str] = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}

DIGITS = 12
"""Significant digits of a value: what a sum of fractions has beyond them is rounding, and differs with its order."""

Kind = Literal["share", "percent", "whole", "number"]
"""`share` is of 1 and shown times 100; `percent` is of 100 already."""


class Row(Struct, frozen=True, kw_only=True):
    """One indicator in one area.

    `value` None: there was nothing to divide by, or nobody has reported. `first` is what it was when the period
    closed, None as long as it has not (`complete`); `corrected_at` is when it last changed after that. Where `exact`
    is false `value` is what is certain, and the truth lies in [`lower`, `upper`].
    """

    area: str
    area_code: str
    area_names: dict[str, str]
    kpi: str
    names: dict[str, str]
    unit: str
    value: float | None
    numerator: float | None
    denominator: float | None
    n: int
    target: float | None
    status: Status
    first: float | None
    corrected_at: datetime | None
    exact: bool
    lower: float | None
    upper: float | None
    complete: bool
    document: str | None


class Table(Struct, frozen=True, kw_only=True):
    """A report on one period. `start` and `end` are by the root area's clock; an area elsewhere goes by its own.

    `complete`: every row's period has closed, so that nothing is still on its way.
    """

    report: str
    names: dict[str, str]
    site: str
    site_names: dict[str, str]
    period: str
    start: datetime
    end: datetime
    generated_at: datetime
    complete: bool
    documents: list[str]
    rows: list[Row]


def kind_of(kpi: Kpi) -> Kind:
    """How the indicator's values are shown."""
    if kpi.unit == "%":
        return "percent"
    if kpi.measure in {Measure.IN_TIME, Measure.WITHIN}:
        return "share"
    if kpi.measure is Measure.RATIO:
        return "share" if kpi.unit == "1" and kpi.per == 1 else "number"
    whole = {Measure.COUNT, Measure.DISTINCT, Measure.SILENT, Measure.BALANCE}
    return "whole" if kpi.measure in whole else "number"


def rounded(value: float | None) -> float | None:
    """The value to DIGITS."""
    return None if value is None else float(f"{value:.{DIGITS}g}")


def encode(table: Table, format_: Format, kinds: Mapping[str, Kind]) -> bytes:
    """The table as a file. `kinds` by KPI."""
    match format_:
        case "json":
            return msgspec.json.format(msgspec.json.encode(table), indent=2) + b"\n"
        case "csv":
            return _csv(table)
        case "xlsx":
            return _xlsx(table, kinds)


class Column(NamedTuple):
    """One column. Its numbers are shown in the indicator's own kind (`is_value`), or plain."""

    key: str
    vi: str
    en: str
    width: int
    is_value: bool = False


COLUMNS: Sequence[Column] = (
    Column("period", "Kỳ báo cáo", "Period", 11),
    Column("area", "Mã phiên bản địa bàn", "Area version", 14),
    Column("area_code", "Mã địa bàn", "Area code", 10),
    Column("area_name_vi", "Địa bàn", "Area (Vietnamese)", 26),
    Column("area_name_en", "Địa bàn (tiếng Anh)", "Area (English)", 26),
    Column("kpi", "Mã chỉ tiêu", "Indicator id", 26),
    Column("name_vi", "Chỉ tiêu", "Indicator (Vietnamese)", 44),
    Column("name_en", "Chỉ tiêu (tiếng Anh)", "Indicator (English)", 44),
    Column("unit", "Đơn vị tính", "Unit", 9),
    Column("value", "Giá trị", "Value", 13, is_value=True),
    Column("numerator", "Tử số", "Numerator", 12),
    Column("denominator", "Mẫu số", "Denominator", 12),
    Column("n", "Số lượt ghi nhận", "Events counted", 12),
    Column("target", "Mục tiêu", "Target", 12, is_value=True),
    Column("status", "Đánh giá", "Status", 18),
    Column("first", "Giá trị lần đầu", "First reported", 13, is_value=True),
    Column("corrected_at", "Điều chỉnh lúc (UTC)", "Corrected at (UTC)", 19),
    Column("exact", "Chính xác", "Exact", 9),
    Column("lower", "Cận dưới", "Lower bound", 12, is_value=True),
    Column("upper", "Cận trên", "Upper bound", 12, is_value=True),
    Column("complete", "Đã khóa kỳ", "Complete", 10),
    Column("document", "Văn bản quy định", "Document", 40),
)


def _cells(table: Table, row: Row) -> tuple[Cell, ...]:
    """What stands in a row, in the order of COLUMNS."""
    return (
        table.period,
        *(row.area, row.area_code, _name(row.area_names, "vi"), _name(row.area_names, "en")),
        *(row.kpi, _name(row.names, "vi") or row.kpi, _name(row.names, "en") or row.kpi, row.unit),
        *(row.value, row.numerator, row.denominator, row.n, row.target, row.status.value),
        *(row.first, row.corrected_at, row.exact, row.lower, row.upper, row.complete, row.document),
    )


_STATUS_SHOWN = {
    Status.GOOD: "Đạt · good",
    Status.WARNING: "Cảnh báo · warning",
    Status.BAD: "Không đạt · bad",
    Status.NONE: "",
}

_NUMBER_FORMATS: Mapping[Kind, str] = {"share": "0.0%", "percent": '0.0"%"', "whole": "#,##0", "number": "#,##0.00"}


def _name(names: Mapping[str, str], language: str) -> str:
    return names.get(language, "")


def _csv(table: Table) -> bytes:
    """RFC 4180: commas, points in numbers, CRLF. A byte order mark tells spreadsheets that it is UTF-8,
    and no name is taken for a formula.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([column.key for column in COLUMNS])
    for row in table.rows:
        writer.writerow([csv_cell(cell) for cell in _cells(table, row)])
    return ("\ufeff" + text.getvalue()).encode()


def _xlsx(table: Table, kinds: Mapping[str, Kind]) -> bytes:
    """A sheet with the figures, and one that says what they are. Numbers, times and truths are cells as such."""
    file = io.BytesIO()
    # Nothing that stands in a name is taken for a formula or an address.
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    book: Any = xlsxwriter.Workbook(file, options)
    # The time of making would otherwise be the clock's, and two files of one table would differ.
    book.set_properties({"title": _name(table.names, "vi"), "created": table.generated_at.replace(tzinfo=None)})
    _figures(book, table, kinds)
    _about(book, table)
    book.close()
    return file.getvalue()


def _figures(
    book: Any,  # noqa: ANN401 (xlsxwriter carries no types)
    table: Table,
    kinds: Mapping[str, Kind],
) -> None:
    head = book.add_format({"bold": True, "text_wrap": True, "valign": "top", "bg_color": "#DCE6F1", "border": 1})
    time = book.add_format({"num_format": "yyyy-mm-dd hh:mm"})
    formats = {kind: book.add_format({"num_format": text}) for kind, text in _NUMBER_FORMATS.items()}
    plain = book.add_format({"num_format": "#,##0.######"})
    sheet = book.add_worksheet("Chỉ tiêu")
    for at, column in enumerate(COLUMNS):
        sheet.set_column(at, at, column.width)
        sheet.write_string(0, at, column.vi, head)
        sheet.write_string(1, at, column.en, head)
    for line, row in enumerate(table.rows, start=2):
        for at, (column, cell) in enumerate(zip(COLUMNS, _cells(table, row), strict=True)):
            match cell:
                case None | "":
                    pass
                case bool() as truth:
                    sheet.write_boolean(line, at, truth)
                case datetime() as moment:
                    sheet.write_datetime(line, at, moment.replace(tzinfo=None), time)
                case str() as text:
                    sheet.write_string(line, at, _STATUS_SHOWN[row.status] if column.key == "status" else text)
                case number if column.is_value:
                    sheet.write_number(line, at, number, formats[kinds[row.kpi]])
                case number:
                    whole = float(number).is_integer()
                    sheet.write_number(line, at, number, formats["whole"] if whole else plain)
    sheet.freeze_panes(2, 0)
    sheet.autofilter(1, 0, max(1, len(table.rows) + 1), len(COLUMNS) - 1)


def _about(
    book: Any,  # noqa: ANN401
    table: Table,
) -> None:
    sheet = book.add_worksheet("Thông tin · About")
    sheet.set_column(0, 1, 34)
    sheet.set_column(2, 2, 70)
    facts = [
        ("Báo cáo", "Report", f"{_name(table.names, 'vi')} · {_name(table.names, 'en')}"),
        ("Đơn vị", "Site", f"{_name(table.site_names, 'vi')} · {_name(table.site_names, 'en')}"),
        ("Kỳ báo cáo", "Period", table.period),
        ("Từ", "From", table.start.isoformat()),
        ("Đến trước", "Until before", table.end.isoformat()),
        ("Lập lúc", "Made at", table.generated_at.isoformat()),
        ("Đã khóa kỳ", "Complete", "có · yes" if table.complete else "chưa · no"),
        *(("Văn bản quy định", "Document", document) for document in table.documents),
    ]
    for line, (vi, en, what) in enumerate(facts):
        sheet.write_string(line, 0, vi)
        sheet.write_string(line, 1, en)
        sheet.write_string(line, 2, what)
