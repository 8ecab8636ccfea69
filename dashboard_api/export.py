"""How does an answer become a file for a spreadsheet or a notebook?

The same figures as in JSON, as one flat table. CSV is RFC 4180 with a byte order mark, so that spreadsheets read
Vietnamese right; Parquet and XLSX have typed columns, and their times are UTC.
"""

import asyncio
import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec import Struct
from starlette.responses import Response

from dashboard_api.bucket import Bucket

Cell = str | float | bool | datetime | None


class Format(StrEnum):
    """In what form an answer is given."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"
    XLSX = "xlsx"


MEDIA: Mapping[Format, str] = {
    Format.JSON: "application/json",
    Format.CSV: "text/csv",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
"""The media type of each form."""


class Kind(StrEnum):
    """What stands in a column."""

    TEXT = "text"
    NUMBER = "number"
    WHOLE = "whole"
    FLAG = "flag"
    INSTANT = "instant"


class Column(NamedTuple):
    """A column by its name in English, which programs rely on."""

    name: str
    kind: Kind = Kind.TEXT


class Sheet(Struct, frozen=True):
    """A flat table. `name` is what the file is called, without an ending; each row has a cell for each column."""

    name: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]


class Answer(Protocol):
    """What every answer says: which commits it holds, and when it was read."""

    @property
    def position(self) -> str: ...
    @property
    def as_of(self) -> datetime: ...


BUCKET_COLUMNS: Sequence[Column] = (
    Column("start", Kind.INSTANT),
    Column("end", Kind.INSTANT),
    Column("value", Kind.NUMBER),
    Column("n", Kind.WHOLE),
    Column("numerator", Kind.NUMBER),
    Column("denominator", Kind.NUMBER),
    Column("p50", Kind.NUMBER),
    Column("p95", Kind.NUMBER),
    Column("exact", Kind.FLAG),
    Column("lower", Kind.NUMBER),
    Column("upper", Kind.NUMBER),
    Column("closed", Kind.FLAG),
    Column("first", Kind.NUMBER),
    Column("corrected_at", Kind.INSTANT),
)
"""What every table tells of a bucket."""


def bucket_cells(bucket: Bucket) -> tuple[Cell, ...]:
    """A bucket in the order of BUCKET_COLUMNS."""
    return (
        *(bucket.start, bucket.end, bucket.value, bucket.n, bucket.numerator, bucket.denominator),
        *(bucket.p50, bucket.p95, bucket.exact, bucket.lower, bucket.upper),
        *(bucket.closed, None if bucket.first is None else bucket.first.value, bucket.corrected_at),
    )


def format_of(asked: Format | None, accept: str) -> Format:
    """The form that is asked for: by name, else the one that the header `Accept` likes best, else JSON."""
    if asked is not None:
        return asked
    liking = dict(_media_range(one) for one in accept.split(","))
    # Of several that are liked as much the first one is taken, which is JSON.
    return max(Format, key=lambda one: liking.get(MEDIA[one], 0.0))


async def reply(
    answer: Answer, sheet: Callable[[], Sheet], format_: Format, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer in this form. Files say in headers what JSON says beside its rows."""
    if format_ is Format.JSON:
        return Response(msgspec.json.encode(answer), 200, {"Vary": "Accept", **(headers or {})}, MEDIA[format_])
    table = sheet()
    # A large table takes a while, and other requests are waiting.
    body = await asyncio.to_thread(_ENCODE[format_], table)
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", table.name)
    about = {
        "Vary": "Accept",
        "Content-Disposition": f'attachment; filename="{name}.{format_}"',
        "IOC-Position": answer.position,
        "IOC-As-Of": answer.as_of.astimezone(UTC).isoformat(),
    }
    return Response(body, 200, about | dict(headers or {}), MEDIA[format_])


def to_csv(sheet: Sheet) -> bytes:
    """Commas, points in numbers, CRLF, UTF-8 with a byte order mark. No text is taken for a formula."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([column.name for column in sheet.columns])
    writer.writerows([csv_cell(cell) for cell in row] for row in sheet.rows)
    return ("\ufeff" + text.getvalue()).encode()


def to_parquet(sheet: Sheet) -> bytes:
    """Typed columns, times as UTC timestamps of microseconds."""
    # Only who asks for it pays for it: the library takes a third of a second and 50 MB.
    import polars

    kinds: Mapping[Kind, Any] = {
        Kind.TEXT: polars.String(),
        Kind.NUMBER: polars.Float64(),
        Kind.WHOLE: polars.Int64(),
        Kind.FLAG: polars.Boolean(),
        Kind.INSTANT: polars.Datetime("us", "UTC"),
    }
    frame = polars.DataFrame(
        [
            polars.Series(column.name, [_plain(row[at]) for row in sheet.rows], dtype=kinds[column.kind])
            for at, column in enumerate(sheet.columns)
        ]
    )
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


def to_xlsx(sheet: Sheet) -> bytes:
    """A workbook of one sheet. Numbers, times (UTC) and truths are cells as such; no text is taken for a formula."""
    # Only who asks for it pays for it.
    import xlsxwriter  # pyright: ignore[reportMissingTypeStubs]

    file = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    book: Any = xlsxwriter.Workbook(file, options)
    head = book.add_format({"bold": True})
    instant = book.add_format({"num_format": 'yyyy-mm-dd hh:mm:ss "UTC"'})
    page = book.add_worksheet("IOC")
    for at, column in enumerate(sheet.columns):
        page.write_string(0, at, column.name, head)
        page.set_column(at, at, 24 if column.kind is Kind.INSTANT else 14)
    for line, row in enumerate(sheet.rows, start=1):
        for at, cell in enumerate(row):
            match cell:
                case None:
                    pass
                case bool():
                    page.write_boolean(line, at, cell)
                case datetime():
                    page.write_datetime(line, at, cell.astimezone(UTC).replace(tzinfo=None), instant)
                case str():
                    page.write_string(line, at, cell)
                case _:
                    page.write_number(line, at, cell)
    page.freeze_panes(1, 0)
    book.close()
    return file.getvalue()


_ENCODE: Mapping[Format, Callable[[Sheet], bytes]] = {
    Format.CSV: to_csv,
    Format.PARQUET: to_parquet,
    Format.XLSX: to_xlsx,
}

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a spreadsheet may take for the start of a formula, in both widths. Source: OWASP, CSV Injection."""


def csv_cell(value: Cell) -> str:
    """How a value stands in a CSV file. No text is taken for a formula."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.isoformat()
        case float() if value.is_integer():
            return str(int(value))
        case str() if value.startswith(_FORMULA_STARTS):
            return f"'{value}"
        case _:
            return str(value)


def _plain(value: Cell) -> Cell:
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def _media_range(text: str) -> tuple[str, float]:
    """A media type and how much it is liked."""
    media, *parameters = (part.strip().lower() for part in text.split(";"))
    return media, next((_quality(one[2:]) for one in parameters if one.startswith("q=")), 1.0)


def _quality(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0


def names_cells(names: Mapping[str, str], languages: Iterable[str]) -> tuple[Cell, ...]:
    """A name in each language, in the order of `name_columns`."""
    return tuple(names.get(language) for language in languages)


def name_columns(languages: Iterable[str]) -> tuple[Column, ...]:
    """A column for each of the site's languages."""
    return tuple(Column(f"name_{language}") for language in languages)
