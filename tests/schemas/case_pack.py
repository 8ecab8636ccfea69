"""A small site pack with everything that clocks and dispatch need: its texts, to be changed by tests."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from schemas.area_id import AreaId
from schemas.case import Case, CaseId, Kind, Severity, State
from schemas.site import Site, parse_site

HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
BERLIN = ZoneInfo("Europe/Berlin")

SITE = """
id = "test"
names = { en = "Test" }
zone = "Asia/Ho_Chi_Minh"
area_list = "vn-test"
languages = ["vi", "en"]
"""
AREAS = """code,parent,kind,name_vi,name_en,lat,lon
00,,province,Tỉnh,Province,21.0,105.0
01,00,commune,Xã A,Commune A,21.1,105.1
02,00,commune,Xã B,Commune B,,
"""
KPIS = """
[[kpi]]
id = "k"
names = { vi = "K", en = "K" }
unit = "1"
event = "ioc.feedback.closed.v1"
measure = "count"
"""
AGENCIES = """
[[agency]]
id = "province"
names = { en = "Province" }
[[agency]]
id = "roads"
names = { en = "Roads" }
supervisor = "province"
[[agency]]
id = "power"
names = { en = "Power" }
supervisor = "province"
"""
CASES = """
other = "other"
[[category]]
id = "other"
names = { en = "Other" }
[[category]]
id = "pothole"
names = { en = "Pothole" }
agency = "roads"
skills = ["road"]
[[category]]
id = "fire"
names = { en = "Fire" }
kind = "incident"
severity = "critical"
skills = ["fire", "road"]
"""
CALENDAR = """
[[calendar]]
id = "office"
names = { vi = "Giờ hành chính", en = "Office hours" }
zone = "Asia/Ho_Chi_Minh"
holidays = "VN"
days_off = [2026-01-02, 2026-08-31]
make_up = [{ day = 2026-01-10 }, { day = 2026-08-22, hours = ["08:00-12:00"] }]
[calendar.week]
mon = ["07:30-11:30", "13:30-17:00"]
tue = ["07:30-11:30", "13:30-17:00"]
wed = ["07:30-11:30", "13:30-17:00"]
thu = ["07:30-11:30", "13:30-17:00"]
fri = ["07:30-11:30", "13:30-17:00"]

[[calendar]]
id = "berlin"
names = { en = "Berlin" }
zone = "Europe/Berlin"
[calendar.week]
mon = ["08:00-17:00"]
tue = ["08:00-17:00"]
wed = ["08:00-17:00"]
thu = ["08:00-17:00"]
fri = ["08:00-17:00"]
sat = ["22:00-24:00"]
sun = ["00:00-02:30", "02:30-05:00"]
"""
CLOCKS = """
[[clock]]
clock = "first_answer"
allowed = "4h"
calendar = "office"
warn_share = 0.75
[[clock]]
clock = "resolution"
allowed = "3d"
calendar = "office"
starts = "next_day"
[[clock]]
clock = "resolution"
allowed = "2h"
calendar = "office"
categories = ["pothole"]
[[clock]]
clock = "arrival"
allowed = "15m"
kinds = ["incident"]
"""
UNITS = """
[[unit]]
id = "a"
names = { en = "A" }
agency = "roads"
area = "00"
base = "geo:21.00,105.00"
skills = ["road"]
channels = ["push", "sms"]
[[unit]]
id = "b"
names = { en = "B" }
agency = "roads"
area = "01"
base = "geo:21.05,105.00"
skills = ["road", "fire"]
capacity = 2
calendar = "office"
[[unit]]
id = "c"
names = { en = "C" }
agency = "power"
area = "00"
base = "geo:21.10,105.10"
skills = ["fire", "road"]
"""
DISPATCH = """
position_fresh_s = 600
[[steps]]
severities = ["critical"]
delivered_s = 10
seen_s = 20
accepted_s = 30
en_route_s = 60
on_scene_s = 600
done_s = 7200
[[steps]]
delivered_s = 60
accepted_s = 300
en_route_s = 600
on_scene_s = 3600
[[escalation]]
steps = ["delivered", "seen", "accepted", "en_route"]
rungs = ["other_channel", "next_unit", "supervisor"]
tell = ["boss"]
[[escalation]]
steps = ["on_scene"]
rungs = ["supervisor"]
"""

FILES = {
    "site.toml": SITE,
    "areas.csv": AREAS,
    "kpis.toml": KPIS,
    "agencies.toml": AGENCIES,
    "cases.toml": CASES,
    "calendar.toml": CALENDAR,
    "clocks.toml": CLOCKS,
    "units.toml": UNITS,
    "dispatch.toml": DISPATCH,
}


def pack(other: Mapping[str, str] | None = None) -> dict[str, str]:
    """The files, some of them otherwise."""
    return FILES | dict(other or {})


def site(other: Mapping[str, str] | None = None) -> Site:
    """The pack, read."""
    return parse_site(pack(other))


def hanoi(text: str) -> datetime:
    """A moment by the wall clock in Hanoi."""
    return datetime.fromisoformat(text).replace(tzinfo=HANOI)


def berlin(text: str, fold: int = 0) -> datetime:
    """A moment by the wall clock in Berlin; `fold` 1 is the second of two."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold)


AT = hanoi("2026-03-09T09:00")
"""A Monday morning without anything special."""

CASE = Case(
    id=CaseId("c"),
    version=1,
    kind=Kind.SERVICE,
    state=State.NEW,
    category="other",
    severity=Severity.MINOR,
    area=AreaId("01"),
    areas=(AreaId("00"), AreaId("01")),
    opened_at=AT,
    recorded_at=AT,
    changed_at=AT,
    place="geo:21.00,105.01",
)


def case(**other: Any) -> Case:
    """A case, some of it otherwise."""
    return replace(CASE, **other)
