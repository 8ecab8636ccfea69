"""What does the centre say of an alert that has changed?"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from msgspec.structs import replace

from schemas.alert import MEMBERS_SHOWN_MAX, AlertRule, Series
from schemas.event import Alert, AlertChanged, AreaCode, AreaId
from schemas.site import Site
from streams.core.alert import AlertStep, OpenAlert, Position, Reading, Verdict

SOURCE = "ioc.alerts"
TITLE_CHARS_MAX = 500
TEXT_CHARS_MAX = 4000
VALUE_MAX = 1e15
"""What an event may hold; a larger value is left out of it."""

_ENDED: Mapping[Verdict, Mapping[str, str]] = {
    Verdict.RESOLVE: {"vi": "Đã trở lại trong giới hạn.", "en": "Back within the limit."},
    Verdict.RESOLVE_UNKNOWN: {"vi": "Không còn số liệu.", "en": "Nothing is known of it any more."},
    Verdict.RESOLVE_FORGOTTEN: {"vi": "Không còn chờ tín hiệu.", "en": "Nothing is expected of it any more."},
    Verdict.RESOLVE_WITHDRAWN: {"vi": "Quy tắc đã được gỡ bỏ.", "en": "The rule has been taken out."},
}
_MORE = {"vi": "… và {n} nữa", "en": "… and {n} more"}


def subject_of(rule: str, alert: OpenAlert) -> str:
    """What an alert is known by, from its beginning to its end."""
    return f"{rule}/{alert.group}/{_stamp(alert.started_s)}"


def event_of(site: Site, rule: AlertRule, step: AlertStep) -> AlertChanged:
    """A change of an alert as an event. The same change gives the same event, whoever makes it."""
    subject = subject_of(rule.id, step.alert)
    first = _first(step)
    language, *others = site.header.languages
    titles = [_title(site, rule, step, one) for one in others]
    lines = [*titles, *_members(site, step, language)]
    if step.what == "ended":
        lines.append(_ended(step.verdict, language))
    area = site.areas.or_root(step.alert.area)
    return AlertChanged(
        specversion="1.0",
        id=f"{subject}@{_stamp(step.at_s)}",
        source=SOURCE,
        subject=subject,
        time=datetime.fromtimestamp(step.at_s, UTC),
        area=AreaCode(area.code),
        area_list=area.list_id,
        data=Alert(
            rule=rule.id,
            state="resolved" if step.what == "ended" else "firing",
            category=rule.rule.category,
            severity=rule.rule.severity.value,
            title=_title(site, rule, step, language)[:TITLE_CHARS_MAX],
            agency=rule.rule.agency,
            kpi=rule.rule.kpi,
            value=_writable(first.value),
            limit=_writable(first.limit),
            text="\n".join(lines)[:TEXT_CHARS_MAX] or None,
        ),
    )


def withdrawn_event(last: AlertChanged, at_s: int, language: str) -> AlertChanged:
    """The end of an alert whose rule is gone, by what was told of it last."""
    return replace(
        last,
        id=f"{last.subject}@{_stamp(at_s)}-withdrawn",
        time=datetime.fromtimestamp(at_s, UTC),
        data=replace(last.data, state="resolved", text=_ended(Verdict.RESOLVE_WITHDRAWN, language)),
    )


def _first(step: AlertStep) -> Reading:
    """The reading that stands for the alert: of the first of its series that has one."""
    return next((step.readings[one] for one in step.alert.members if one in step.readings), Reading(Position.UNKNOWN))


def _title(site: Site, rule: AlertRule, step: AlertStep, language: str) -> str:
    first = _first(step)
    kpi = None if rule.rule.kpi is None else site.kpis[rule.rule.kpi]
    said = {
        "rule": rule.rule.names.get(language, rule.id),
        "area": _name(site, step.alert.area, language),
        "by": step.alert.by,
        "kpi": rule.rule.event if kpi is None else kpi.names.get(language, kpi.id),
        "unit": "" if kpi is None else kpi.unit,
        "value": _number(first.value),
        "limit": _number(first.limit),
    }
    title = rule.rule.titles.get(language)
    if title is None:
        title = "{rule}: {area}" + (" · {by}" if step.alert.by else "")
    return title.format(**said)


def _members(site: Site, step: AlertStep, language: str) -> Sequence[str]:
    """One line for each series of an alert that has several."""
    some = step.alert.members
    if len(some) < 2:
        return ()
    shown = [_member(site, one, step.readings.get(one), language) for one in some[:MEMBERS_SHOWN_MAX]]
    if len(some) > len(shown):
        shown.append(_MORE.get(language, _MORE["en"]).format(n=len(some) - len(shown)))
    return shown


def _member(site: Site, series: Series, reading: Reading | None, language: str) -> str:
    name = " · ".join(part for part in (_name(site, series.area, language), series.by) if part)
    return name if reading is None else f"{name}: {_number(reading.value)} ({_number(reading.limit)})"


def _name(site: Site, area: str, language: str) -> str:
    if area not in site.areas:
        return area
    found = site.areas[AreaId(area)]
    return found.names.get(language, found.code)


def _ended(verdict: Verdict, language: str) -> str:
    """Why an alert is over."""
    said = _ENDED[verdict]
    return said.get(language, said["en"])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.6g}"


def _writable(value: float | None) -> float | None:
    return None if value is None or abs(value) > VALUE_MAX else value


def _stamp(moment_s: int) -> str:
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y%m%dT%H%M%SZ")
