"""Is every mistake in a site pack named with its file and place?"""

import pytest

from schemas.errors import SiteError
from schemas.event import AreaCode
from schemas.kpi import Measure
from schemas.site import parse_site

SITE = """
id = "test"
names = { en = "Test" }
zone = "Asia/Ho_Chi_Minh"
area_list = "vn-test"
languages = ["vi", "en"]
"""
AREAS = "code,parent,kind,name_vi,name_en\n00,,province,Tỉnh,Province\n01,00,commune,Xã,Commune\n"
KPI = """
[[kpi]]
id = "k"
names = { en = "K" }
unit = "1"
event = "ioc.feedback.closed.v1"
measure = "count"
"""


def kpi(**given: str) -> str:
    """A KPI with some keys set otherwise."""
    lines = dict(line.split(" = ", 1) for line in KPI.strip().splitlines()[1:]) | given
    return "[[kpi]]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items())


BAD = [
    pytest.param("id = =", AREAS, KPI, "site.toml", "TOML", "line 1", id="site.toml is no TOML"),
    pytest.param('id = "x"', AREAS, KPI, "site.toml", "the file", "missing required field", id="a field is missing"),
    pytest.param(SITE + "colour = 1", AREAS, KPI, "site.toml", "the file", "colour", id="an unknown field"),
    pytest.param(SITE.replace("Asia/Ho_Chi_Minh", "Hanoi"), AREAS, KPI, "site.toml", "zone", "'Hanoi'", id="a zone"),
    pytest.param(SITE.replace("Asia/Ho_Chi_Minh", "../x"), AREAS, KPI, "site.toml", "zone", "../x", id="a zone path"),
    pytest.param(SITE, "", KPI, "areas.csv", "line 1", "columns are missing: code", id="no areas at all"),
    pytest.param(SITE, "code,parent,kind\n", KPI, "areas.csv", "line 1", "name_vi, name_en", id="columns missing"),
    pytest.param(SITE, AREAS + ",00,commune,X,X\n", KPI, "areas.csv", "line 4", "code is empty", id="no code"),
    pytest.param(
        SITE, AREAS + "01,00,commune,X,X\n", KPI, "areas.csv", "line 4", "'01' is used twice", id="code twice"
    ),
    pytest.param(SITE, AREAS + "02,77,commune,X,X\n", KPI, "areas.csv", "line 4", "parent '77'", id="unknown parent"),
    pytest.param(
        SITE, AREAS + "02,03,c,X,X\n03,02,c,X,X\n", KPI, "areas.csv", "line 4", "lies within itself", id="a cycle"
    ),
    pytest.param(SITE, AREAS + "02,,c,X,X\n", KPI, "areas.csv", "parent", "2 areas without", id="two roots"),
    pytest.param(SITE, AREAS.replace("00,,", "00,01,"), KPI, "areas.csv", "parent", "0 areas without", id="no root"),
    pytest.param(
        SITE,
        "code,parent,kind,name_vi,name_en,zone\n00,,p,X,X,\n01,00,c,X,X,Mars/Base\n",
        KPI,
        "areas.csv",
        "line 3",
        "'Mars/Base'",
        id="an area's zone",
    ),
    pytest.param(SITE, AREAS + "02,00\n", KPI, "areas.csv", "line 4", "columns", id="a short row"),
    pytest.param(SITE, AREAS + "02,00,c,X,X,,\n", KPI, "areas.csv", "line 4", "columns", id="a long row"),
    pytest.param(SITE, AREAS, "[[kpi]", "kpis.toml", "TOML", "line 1", id="kpis.toml is no TOML"),
    pytest.param(SITE, AREAS, "kpi = 1", "kpis.toml", "kpi", "not an array", id="kpi is no table"),
    pytest.param(SITE, AREAS, "kpi = [1]", "kpis.toml", "kpi 1", "Expected `object`", id="a kpi is no table"),
    pytest.param(
        SITE, AREAS, KPI + kpi(id="2"), "kpis.toml", "kpi 2", "Expected `str`", id="a field of another type"
    ),
    pytest.param(SITE, AREAS, KPI + KPI, "kpis.toml", "kpi 'k'", "used twice", id="id twice"),
    pytest.param(SITE, AREAS, kpi(colour="1"), "kpis.toml", "kpi 1", "colour", id="unknown key"),
    pytest.param(SITE, AREAS, kpi(measure='"sum"'), "kpis.toml", "kpi 1", "'sum'", id="unknown measure"),
    pytest.param(SITE, AREAS, kpi(event='"x.v1"'), "kpis.toml", "kpi 'k'", "'x.v1' is not known", id="unknown event"),
    pytest.param(SITE, AREAS, kpi(value='"nix"'), "kpis.toml", "kpi 'k'", "`value` names 'nix'", id="unknown value"),
    pytest.param(SITE, AREAS, kpi(due='"nix"'), "kpis.toml", "kpi 'k'", "`due` names 'nix'", id="unknown due"),
    pytest.param(
        SITE, AREAS, kpi(dimension='"nix"'), "kpis.toml", "kpi 'k'", "`dimension` names 'nix'", id="unknown dimension"
    ),
    pytest.param(
        SITE, AREAS, kpi(where='{ nix = "1" }'), "kpis.toml", "kpi 'k'", "`where` names 'nix'", id="unknown condition"
    ),
    pytest.param(SITE, AREAS, kpi(measure='"in_time"'), "kpis.toml", "kpi 'k'", "needs `due`", id="in_time, no due"),
    pytest.param(
        SITE, AREAS, kpi(measure='"distribution"'), "kpis.toml", "kpi 'k'", "needs `value`", id="no value to measure"
    ),
    pytest.param(SITE, AREAS, kpi(value='"category"'), "kpis.toml", "kpi 'k'", "not a number", id="value is a text"),
    pytest.param(
        SITE, AREAS, kpi(where='{ due_at = "1" }'), "kpis.toml", "kpi 'k'", "not a text", id="condition on a time"
    ),
    pytest.param(
        SITE,
        AREAS,
        kpi(measure='"in_time"', due='"category"'),
        "kpis.toml",
        "kpi 'k'",
        "not a time",
        id="due is a text",
    ),
]


@pytest.mark.parametrize(("site", "areas", "kpis", "file", "position", "reason"), BAD)
def test_a_mistake_is_named(site: str, areas: str, kpis: str, file: str, position: str, reason: str) -> None:
    with pytest.raises(SiteError) as mistake:
        parse_site(site, areas, kpis)
    assert mistake.value.file == file
    assert mistake.value.position == position
    assert reason in mistake.value.reason
    assert mistake.value.fix


def test_a_good_site_is_read() -> None:
    site = parse_site(SITE, AREAS, kpi(measure='"in_time"', due='"due_at"', dimension='"agency"'))
    assert site.areas.list_id == "vn-test"
    assert site.areas.root.code == "00"
    assert site.areas.path(AreaCode("01")) == ("01", "00")
    assert [area.code for area in site.areas.children(AreaCode("00"))] == ["01"]
    assert site.areas.zone(AreaCode("01")).key == "Asia/Ho_Chi_Minh"
    assert site.kpis["k"].measure is Measure.IN_TIME
    assert site.kpis.fed_by("ioc.feedback.closed.v1") == [site.kpis["k"]]
    assert site.kpis.fed_by("ioc.feedback.received.v1") == []


def test_codes_keep_their_zeros_and_files_may_come_from_a_spreadsheet() -> None:
    site = parse_site(SITE, "\ufeff" + AREAS.replace("\n", "\r\n"), "")
    assert [area.code for area in site.areas] == ["00", "01"]


def test_a_site_without_indicators_is_a_site() -> None:
    assert parse_site(SITE, AREAS, "").kpis.kpis == ()
