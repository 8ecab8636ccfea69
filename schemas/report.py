"""Which sets of indicators are made at regular times, and where do they go?

`reports.toml` says so. Every mistake in it is a SiteError with the line, the reason and the fix.
"""

import re
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Literal, cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

from schemas.errors import SiteError
from schemas.kpi import Catalogue
from schemas.period import Grain, Period, last_ended
from schemas.site_file import convert, read_toml

REPORTS_FILE = "reports.toml"

Format = Literal["json", "csv", "xlsx"]

ReportId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")]
"""It is part of file names and of ids that receivers keep."""

_TABLE = re.compile(r"^[ \t]*\[\[[ \t]*report[ \t]*\]\]", re.MULTILINE)


class Schedule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The local time in the period after, by the root area's clock: `day` of its first month, `hour` of that day."""

    day: Annotated[int, Meta(ge=1, le=28)]
    hour: Annotated[int, Meta(ge=0, le=23)] = 8


class Send(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`target` is a folder (one that is not absolute lies in `reports` of the data folder) or an http(s) address."""

    channel: Literal["folder", "webhook"]
    target: str


class Report(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A set of indicators over one `period`, for the root area, the areas directly below it, or both."""

    id: ReportId
    names: dict[str, str]
    period: Literal["month", "quarter", "year"]
    areas: Literal["root", "children", "root+children"] = "root+children"
    kpis: Annotated[tuple[str, ...], Meta(min_length=1)]
    formats: Annotated[tuple[Format, ...], Meta(min_length=1)] = ("xlsx",)
    schedule: Schedule | None = None
    send: tuple[Send, ...] = ()

    @property
    def grain(self) -> Grain:
        """How long its periods are."""
        return Grain(self.period)


def due_at(schedule: Schedule, period: Period, zone: ZoneInfo) -> datetime:
    """When the report on a period is due. Of an hour that clocks repeat the first counts; one they skip is late."""
    first = period.after().first
    # Through UTC, so that a time in the gap of a clock change becomes one that exists.
    local = datetime(first.year, first.month, schedule.day, schedule.hour, tzinfo=zone)
    return datetime.fromtimestamp(local.timestamp(), zone)


def last_due(report: Report, schedule: Schedule, now: datetime, zone: ZoneInfo) -> Period:
    """The latest period whose report is due by now."""
    period = last_ended(report.grain, now.timestamp(), zone)
    return period if due_at(schedule, period, zone) <= now else period.before()


def parse_reports(text: str, kpis: Catalogue) -> tuple[Report, ...]:
    """Reads `reports.toml`: an array of tables `[[report]]`. Raises SiteError."""
    content = read_toml(text, REPORTS_FILE)
    tables = content.pop("report", [])
    if content:
        key = next(iter(content))
        raise SiteError(REPORTS_FILE, key, f"`{key}` is not known", "Begin each report with [[report]].")
    if not isinstance(tables, list):
        raise SiteError(
            REPORTS_FILE, "report", "`report` is not an array of tables", "Begin each report with [[report]]."
        )
    given = cast("list[object]", tables)
    lines = [text.count("\n", 0, found.start()) + 1 for found in _TABLE.finditer(text)]
    reports: dict[str, Report] = {}
    for number, table in enumerate(given):
        # An array that is written in another way has no line for each table.
        where = f"line {lines[number]}" if len(lines) == len(given) else f"report {number + 1}"
        report = convert(table, Report, REPORTS_FILE, where)
        if report.id in reports:
            raise SiteError(REPORTS_FILE, where, f"the id {report.id!r} is used twice", "Give every report its own.")
        _check(report, kpis, f"{where}: report {report.id!r}")
        reports[report.id] = report
    return tuple(reports.values())


def _check(report: Report, kpis: Catalogue, where: str) -> None:
    for kpi in report.kpis:
        if kpi not in kpis:
            fix = "Name indicators by their `id` in kpis.toml."
            raise SiteError(REPORTS_FILE, where, f"indicator {kpi!r} is not known", fix)
    lists: dict[str, tuple[str, ...]] = {"kpis": report.kpis, "formats": report.formats}
    for what, named in lists.items():
        if twice := next((name for name in named if named.count(name) > 1), None):
            raise SiteError(REPORTS_FILE, where, f"`{what}` names {twice!r} twice", "Name it once.")
    for language in ("vi", "en"):
        if not report.names.get(language):
            reason = f"`names` has none in the language {language!r}"
            raise SiteError(REPORTS_FILE, where, reason, 'Write names = { vi = "…", en = "…" }.')
    if report.schedule is not None and not report.send:
        raise SiteError(
            REPORTS_FILE, where, "it has a `schedule` but nowhere to go", "Add `send`, or leave `schedule` out."
        )
    if report.send and report.schedule is None:
        raise SiteError(
            REPORTS_FILE, where, "it has `send` but no `schedule`", "Add `schedule`, or leave `send` out."
        )
    if len({(send.channel, send.target) for send in report.send}) < len(report.send):
        raise SiteError(REPORTS_FILE, where, "`send` names one target twice", "Name it once.")
    for send in report.send:
        _check_target(send, where)


def _check_target(send: Send, where: str) -> None:
    if send.channel == "folder":
        if not send.target or "\0" in send.target or ".." in PurePosixPath(send.target).parts:
            fix = "Name a folder, without `..`."
            raise SiteError(REPORTS_FILE, where, f"{send.target!r} is not a folder that can be used", fix)
        return
    try:
        parts = urlsplit(send.target)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or not send.target.isprintable() or " " in send.target:
        # The address may hold a key, so it is not shown.
        raise SiteError(
            REPORTS_FILE, where, "a webhook's target is not an address", "Write one such as https://example.org/ioc."
        )
