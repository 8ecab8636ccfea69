"""What did the indicators come to in a period? `ioc report`, and what the schedule sends.

Figures come from the same place as those on the boards, so that nobody reads two truths.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from zoneinfo import ZoneInfo

import asyncpg

from dashboard_api.closing import read_closing
from dashboard_api.database import Reader
from dashboard_api.spans import Span
from dashboard_api.values import Reported, read_values
from deploy.local.addresses import reachable
from deploy.report_table import CONTENT_TYPES, Row, Table, encode, kind_of, rounded
from deploy.settings import Settings
from deploy.site import load_site
from schemas.area import Area
from schemas.errors import DependencyUnavailable, OperatorError
from schemas.event import AreaId
from schemas.kpi import Kpi
from schemas.period import Period, parse_period
from schemas.report import Format, Report
from schemas.site import Site
from schemas.target import judge, target_of
from streams.store.outbox import Message

DATABASE_TIMEOUT_S = 60.0
"""A question of `ioc report` may take so long; people wait for it."""

EVERYTHING = {"vi": "Toàn bộ chỉ tiêu", "en": "All indicators"}

STDOUT = "-"


def areas_of(report: Report, site: Site, period: Period) -> list[Area]:
    """The areas that a report is about: those of the present list that were not dissolved before the period's end."""
    last_day = last_day_of(period)
    root = site.areas.root
    children = [
        child
        for child in site.areas.children(root.id)
        if child.list_id == root.list_id and (child.valid_to is None or child.valid_to > last_day)
    ]
    return {"root": [root], "children": children, "root+children": [root, *children]}[report.areas]


def last_day_of(period: Period) -> date:
    """Its last date; the target that holds on it is the period's."""
    return period.after().first - timedelta(days=1)


async def make_table(
    reader: Reader, site: Site, report: Report, areas: Sequence[Area], period: Period, now: datetime
) -> Table:
    """The report's figures at one moment of the database."""
    kpis = [site.kpis[kpi] for kpi in report.kpis]
    found: dict[tuple[str, AreaId], Reported] = {}
    async with reader.transaction(isolation="repeatable_read", readonly=True):
        closed = await read_closing(reader, site)
        for zone, some in _by_zone(site, areas).items():
            span = period.span(zone)
            values = await read_values(
                reader, site, report.kpis, some, [Span(span.start_s, span.end_s)], closed=closed
            )
            found |= {(kpi, area): value for (kpi, area, _, _), value in values.items()}
    rows = [_row(site, kpi, area, found[kpi.id, area.id], period) for area in areas for kpi in kpis]
    zone = site.areas.zone(site.areas.root.id)
    span = period.span(zone)
    return Table(
        report=report.id,
        names=report.names,
        site=site.header.id,
        site_names=site.header.names,
        period=str(period),
        start=datetime.fromtimestamp(span.start_s, zone),
        end=datetime.fromtimestamp(span.end_s, zone),
        generated_at=now.astimezone(UTC).replace(microsecond=0),
        complete=all(row.complete for row in rows),
        documents=list(dict.fromkeys(kpi.document for kpi in kpis if kpi.document)),
        rows=rows,
    )


def encode_report(site: Site, table: Table, format_: Format) -> bytes:
    """The table as a file."""
    return encode(table, format_, {row.kpi: kind_of(site.kpis[row.kpi]) for row in table.rows})


def messages(site: Site, report: Report, table: Table) -> list[Message]:
    """What goes out: for each target a message in each format. The same report on one period has the same ids."""
    bodies: dict[Format, bytes] = {format_: encode_report(site, table, format_) for format_ in report.formats}
    return [
        Message(
            id=f"{report.id}.{table.period}.{_digest(site.header.id, send.channel, send.target)}.{format_}",
            channel=send.channel,
            target=send.target,
            content_type=CONTENT_TYPES[format_],
            body=body,
        )
        for send in report.send
        for format_, body in bodies.items()
    ]


def run(
    settings: Settings,
    period: str,
    *,
    report_id: str | None,
    format_: str | None,
    output: str | None,
    area: str | None,
) -> None:
    """Makes a report and writes it to a file, or to stdout for `-`. Raises IocError."""
    site, asked = load_site(settings.site), parse_period(period)
    report = choose(site, report_id)
    areas = areas_of(report, site, asked) if area is None else [_area(site, area)]
    chosen = _format(format_) if format_ is not None else report.formats[0]
    with reachable(settings) as (_, database_url):
        table = asyncio.run(_read(database_url, site, report, areas, asked))
    body = encode_report(site, table, chosen)
    if output == STDOUT:
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()
        return
    file = Path(output or f"{report.id}.{table.period}.{chosen}")
    try:
        file.write_bytes(body)
    except OSError as error:
        raise OperatorError(f"{file} cannot be written ({error.strerror}).", "Name another with --output.") from error
    state = "" if table.complete else "; the period has not closed yet, so figures may still grow"
    print(f"{file}: {len(table.rows)} figures for {table.period}{state}.")


def _format(text: str) -> Format:
    for known in CONTENT_TYPES:
        if text == known:
            return known
    raise OperatorError(f"{text!r} is not a format.", f"Use one of {', '.join(CONTENT_TYPES)}.")


def choose(site: Site, report_id: str | None) -> Report:
    """The site's report of this id; without one, all indicators. Raises OperatorError."""
    if report_id is None:
        return Report(
            id="all", names=EVERYTHING, period="year", kpis=[kpi.id for kpi in site.kpis.kpis], formats=["xlsx"]
        )
    for report in site.reports:
        if report.id == report_id:
            return report
    known = ", ".join(report.id for report in site.reports)
    raise OperatorError(
        f"No report {report_id!r} is in the site pack's reports.toml.",
        f"Name one of {known}, or leave --report out for all indicators." if known else "Leave --report out.",
    )


def _area(site: Site, text: str) -> Area:
    """The area of this id, or of this code on the present list. Raises OperatorError."""
    for area in site.areas:
        if text == area.id or (text == area.code and area.list_id == site.areas.list_id):
            return area
    near = get_close_matches(text, sorted(site.areas.ids), n=3)
    fix = f"Did you mean {' or '.join(near)}?" if near else "Use an id or a present code of areas.csv."
    raise OperatorError(f"No area {text!r} is in the site pack.", fix)


def _by_zone(site: Site, areas: Sequence[Area]) -> dict[ZoneInfo, list[AreaId]]:
    """A month begins by each area's own clock."""
    found: dict[ZoneInfo, list[AreaId]] = {}
    for area in areas:
        found.setdefault(site.areas.zone(area.id), []).append(area.id)
    return found


def _row(site: Site, kpi: Kpi, area: Area, reported: Reported, period: Period) -> Row:
    now = reported.now
    judged = judge(kpi, now, target_of(kpi, site.areas.path(area.id), last_day_of(period)))
    return Row(
        area=area.id,
        area_code=area.code,
        area_names=area.names,
        kpi=kpi.id,
        names=kpi.names,
        unit=kpi.unit,
        value=rounded(now.value),
        numerator=rounded(now.numerator),
        denominator=rounded(now.denominator),
        n=now.n,
        target=judged.target,
        status=judged.status,
        first=None if reported.first is None else rounded(reported.first.value),
        corrected_at=None if reported.corrected_at is None else reported.corrected_at.astimezone(UTC),
        exact=now.exact,
        lower=rounded(now.lower),
        upper=rounded(now.upper),
        complete=reported.closed,
        document=kpi.document,
    )


def _digest(*words: str) -> str:
    """Tells targets apart in an id without showing them."""
    return sha256("\0".join(words).encode()).hexdigest()[:8]


async def _read(database_url: str, site: Site, report: Report, areas: Sequence[Area], period: Period) -> Table:
    async with _connected(database_url) as reader:
        return await make_table(reader, site, report, areas, period, datetime.now(UTC))


@asynccontextmanager
async def _connected(database_url: str) -> AsyncGenerator[Reader]:
    try:
        connection: Reader = await asyncpg.connect(
            database_url,
            timeout=DATABASE_TIMEOUT_S,
            command_timeout=DATABASE_TIMEOUT_S,
            server_settings={"application_name": "ioc report", "jit": "off"},
        )
        try:
            yield connection
        finally:
            connection.terminate()
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
        raise OperatorError("The database has not this version's tables.", "Run `ioc migrate`.") from error
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise DependencyUnavailable("database", str(error) or type(error).__name__) from error
