"""Which published cases does everybody have to be warned of?

As CAP 1.2 alerts in an Atom feed: those that are open and severe, for as long as an alert of theirs holds. Neither
title nor text of a case is among it, as with all that is public.
"""

from datetime import datetime, timedelta

import msgspec

from dashboard_api.database import Reader
from dashboard_api.statements import load_statements
from schemas.cap import CapAlert, cap_of_case
from schemas.case import Case, Severity
from schemas.channel import CapSettings
from schemas.site import Site

ALERTS_MAX = 100
"""Alerts in the feed; of more the newest."""

SEVERE = (Severity.MAJOR, Severity.CRITICAL)

_SQL = load_statements("public_cases")
_LIST = _SQL["list_alerts"].replace("{is_public}", _SQL["is_public"])
_case = msgspec.json.Decoder(Case)


async def read_alerts(reader: Reader, site: Site, settings: CapSettings, now: datetime) -> list[CapAlert]:
    """The alerts that hold now, the newest first. Each is sent as of when its case was opened, so its name stays."""
    since = now - timedelta(hours=settings.expires_hours)
    rows = await reader.fetch(_LIST, [severity.value for severity in SEVERE], since, ALERTS_MAX)
    return [_alert(site, settings, _case.decode(row["body"])) for row in rows]


def _alert(site: Site, settings: CapSettings, case: Case) -> CapAlert:
    category = None if site.cases is None else site.cases.of(case.category)
    names = {} if category is None else category.names
    area = site.areas.or_root(case.area)
    texts = {
        language: (names.get(language, case.category), area.names.get(language, area.code))
        for language in site.header.languages
    }
    return cap_of_case(site, settings, case, case.opened_at, texts)
