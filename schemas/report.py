"""Which sets of indicators are made at regular times, and where do they go?

`reports.toml` says so. Every mistake in it is a SiteError with the line, the reason and the fix.
"""

from datetime import datetime
from functools import partial
from typing import Annotated, Literal, cast
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta, Struct, field

from schemas.address import is_address, is_folder
from schemas.kpi import SUPERVISION, Audience, Catalogue
from schemas.period import Grain, Period, last_ended
from schemas.site_file import mistake_at, mistake_of, read_toml, suggestion
from schemas.toml_lines import Path

REPORTS_FILE = "reports.toml"

Format = Literal["json", "csv", "xlsx"]

ReportId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")]
"""It is part of file names and of ids that receivers keep."""


class Schedule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The local time in the period after, by the root area's clock: `day` of its first month, `hour` of that day."""

    day: Annotated[int, Meta(ge=1, le=28)]
    hour: Annotated[int, Meta(ge=0, le=23)] = 8


class Send(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`target` is a folder (one that is not absolute lies in `reports` of the data folder) or an http(s) address."""

    channel: Literal["folder", "webhook"]
    target: str


class Report(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A set of indicators over one `period`, for the root area, the areas directly below it, or both.

    `audience` is `supervision` where it holds indicators that are for supervising agencies alone: whoever writes so
    answers for where it is sent.
    """

    id: ReportId
    names: dict[str, str]
    period: Literal["month", "quarter", "year"]
    areas: Literal["root", "children", "root+children"] = "root+children"
    kpis: Annotated[list[str], Meta(min_length=1)]
    formats: Annotated[list[Format], Meta(min_length=1)] = field(default_factory=lambda: ["xlsx"])
    audience: Audience = "all"
    schedule: Schedule | None = None
    send: list[Send] = []

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
    """Reads `reports.toml`: an array of tables `[[report]]`. Raises SiteError at the first mistake."""
    tables = read_toml(text, REPORTS_FILE)
    wrong_at = partial(mistake_at, REPORTS_FILE, text)
    given = tables.get("report", [])
    for key in tables:
        if key != "report" or not isinstance(given, list):
            raise wrong_at(
                (key,), f"`{key}` is not an array of tables `report`", "Begin each report with [[report]]."
            )
    reports: dict[str, Report] = {}
    for number, table in enumerate(cast("list[object]", given)):
        path: Path = ("report", number)
        try:
            report = msgspec.convert(table, Report)
        except msgspec.ValidationError as error:
            wrong = mistake_of(error, Report)
            raise wrong_at((*path, *wrong.path), wrong.reason, wrong.fix) from error
        if report.id in reports:
            raise wrong_at((*path, "id"), f"the id {report.id!r} is used twice", "Give every report its own.")
        if (found := _inconsistent(report, kpis)) is not None:
            where, reason, fix = found
            raise wrong_at((*path, *where), f"report {report.id!r}: {reason}", fix)
        reports[report.id] = report
    return tuple(reports.values())


def _inconsistent(report: Report, kpis: Catalogue) -> tuple[Path, str, str] | None:
    """What is wrong within a report of the right form: where, why, and the fix."""
    for at, kpi in enumerate(report.kpis):
        if kpi not in kpis:
            return ("kpis", at), f"indicator {kpi!r} is not known", suggestion(kpi, [known.id for known in kpis.kpis])
        if report.audience != SUPERVISION and kpis.is_for_supervision(kpi):
            reason = f"indicator {kpi!r} is for supervising agencies alone, and the report is for all"
            return (
                ("kpis", at),
                reason,
                'Leave it out, or write `audience = "supervision"` and send it to them alone.',
            )
    lists: dict[str, list[str]] = {"kpis": report.kpis, "formats": [*report.formats]}
    for key, words in lists.items():
        for at, word in enumerate(words):
            if word in words[:at]:
                return (key, at), f"`{key}` names {word!r} twice", "Name it once."
    for language in ("vi", "en"):
        if not report.names.get(language):
            return ("names",), f"it has no name in the language {language!r}", 'Write { vi = "…", en = "…" }.'
    if report.schedule is not None and not report.send:
        return ("schedule",), "it has a `schedule` but nowhere to go", "Add `send`, or leave `schedule` out."
    if report.send and report.schedule is None:
        return ("send",), "it has `send` but no `schedule`", "Add `schedule`, or leave `send` out."
    for at, send in enumerate(report.send):
        if send in report.send[:at]:
            return ("send", at), "`send` names one target twice", "Name it once."
        if send.channel == "folder" and not is_folder(send.target):
            return ("send", at), f"{send.target!r} is not a folder that can be used", "Name a folder, without `..`."
        if send.channel == "webhook" and not is_address(send.target):
            # The address may hold a key, so it is not shown.
            return ("send", at), "the target is not an address", "Write one such as https://example.org/ioc."
    return None
