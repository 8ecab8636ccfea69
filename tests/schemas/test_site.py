"""Is every mistake in a site pack named with its file and place?"""

from collections.abc import Mapping

import pytest

from schemas.errors import SiteError
from schemas.event import AreaCode, AreaId
from schemas.kpi import Measure
from schemas.site import OPTIONAL_FILES, REQUIRED_FILES, mistakes, parse_site

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
names = { vi = "K", en = "K" }
unit = "1"
event = "ioc.feedback.closed.v1"
measure = "count"
"""
TOML_FILES = [file for file in (*REQUIRED_FILES, *OPTIONAL_FILES) if file.endswith(".toml")]


def pack(site: str = SITE, areas: str = AREAS, kpis: str = KPI) -> dict[str, str]:
    """The files of a pack, some of them otherwise."""
    return {"site.toml": site, "areas.csv": areas, "kpis.toml": kpis}


BAD = [
    pytest.param(pack("id = ="), "site.toml", "line 1", "Invalid value", id="site.toml is no TOML"),
    pytest.param(pack(SITE + "x = "), "site.toml", "line 7", "Invalid value", id="site.toml ends too soon"),
    pytest.param(
        pack(SITE.replace('id = "test"', "")), "site.toml", "line 1", "`id` is missing", id="a key is missing"
    ),
    pytest.param(pack(SITE + "colour = 1"), "site.toml", "line 7", "`colour` is not a key", id="an unknown key"),
    pytest.param(
        pack(SITE + '[[source]]\nid = "a"\nnames = {}\nsilent_after_s = "1"'),
        "site.toml",
        "line 10",
        "`silent_after_s`: expected `int`, got `str`",
        id="a source's key",
    ),
    pytest.param(
        pack(SITE + "[closing]\ngrace = 1"), "site.toml", "line 8", "`grace` is not a key", id="a key of a table"
    ),
    pytest.param(pack(SITE.replace("Asia/Ho_Chi_Minh", "Hanoi")), "site.toml", "line 4", "'Hanoi'", id="a zone"),
    pytest.param(pack(SITE.replace("Asia/Ho_Chi_Minh", "../x")), "site.toml", "line 4", "../x", id="a zone's path"),
    pytest.param(
        pack(SITE.replace("Asia/Ho_Chi_Minh", "Asia")),
        "site.toml",
        "line 4",
        "'Asia' is not known",
        id="a zone's folder",
    ),
    pytest.param(
        pack(SITE.replace("Asia/Ho_Chi_Minh", "x" * 5000)),
        "site.toml",
        "line 4",
        "not known",
        id="a zone without end",
    ),
    *(
        pytest.param(pack(SITE + text), "site.toml", "the file", reason, id=id_)
        for text, reason, id_ in [
            ("x = " + "[" * 40 + "]" * 40, "nest too deep", "arrays too deep to walk"),
            ("x = " + "[" * 9999 + "]" * 9999, "nest too deep", "arrays too deep to read"),
            ("x = " + "{a=" * 9999 + "1" + "}" * 9999, "nest too deep", "tables too deep to read"),
            ("future_max_s = " + "1" * 5000, "Exceeds the limit", "an integer without end"),
        ]
    ),
    pytest.param(
        pack(kpis=KPI + "target = " + "[" * 9999 + "]" * 9999),
        "kpis.toml",
        "the file",
        "too deep",
        id="a deep target",
    ),
    pytest.param(
        pack(areas=AREAS.replace("Xã", "X\rã")), "areas.csv", "line 2", "no CSV: new-line", id="a carriage return"
    ),
    pytest.param(
        pack(areas=AREAS.replace("Xã", '"' + "x" * 200_000)),
        "areas.csv",
        "line 2",
        "field larger",
        id="an open quote",
    ),
    pytest.param(
        pack(areas=AREAS.replace("Commune\n", "Commune\r0")), "areas.csv", "line 2", "no CSV", id="a lone line end"
    ),
    pytest.param(
        pack(
            areas=AREAS.replace("name_en\n", "name_en,population\n")
            .replace("ce\n", "ce,\n")
            .replace("ne\n", "ne," + "9" * 5000)
        ),
        "areas.csv",
        "line 3",
        "population has 5000 digits",
        id="more people than can be read",
    ),
    pytest.param(
        pack() | {"areas.geojson": "[" * 99_999}, "areas.geojson", "JSON", "too deep", id="a boundary too deep"
    ),
    *(
        pytest.param(pack(SITE + text), "site.toml", position, reason, id=text)
        for text, position, reason in [
            ("future_max_s = -99", "line 7", "`future_max_s`: expected `int` >= 0"),
            ("future_max_s = 604801", "line 7", "`int` <= 604800"),
            ("[retention]\nminute_days = 0", "line 8", "`minute_days`: expected `int` >= 1"),
            ("[retention]\nhour_days = -1", "line 8", "`hour_days`: expected `int` >= 1"),
            ("[retention]\nhour_days = 1000000", "line 8", "`int` <= 36500"),
            ("[closing]\ngrace_s = -100020", "line 8", "`grace_s`: expected `int` >= 0"),
            ("[closing]\ngrace_s = 90", "line 8", "multiple of 60"),
            ("[closing]\nidle_s = 0", "line 8", "`idle_s`: expected `int` >= 60"),
            (f"future_max_s = {10**400}", "line 7", "`future_max_s`"),
        ]
    ),
    pytest.param(
        pack(SITE.replace('"vn-test"', '"vn\\u001ftest"')),
        "site.toml",
        "line 5",
        "`area_list`",
        id="a control character",
    ),
    *(
        pytest.param(
            pack() | {file: f'\nx = ["a", "{escape}"]'},
            file,
            "line 2",
            f"`x`: the text {shown}",
            id=f"{file} {escape}",
        )
        for file, escape, shown in [
            *((file, r"a\u0000", r"'a\x00' holds the control character U+0000") for file in TOML_FILES),
            ("kpis.toml", r"\u001f", r"'\x1f' holds the control character U+001F"),
            ("kpis.toml", r"\u0085", r"'\x85' holds the control character U+0085"),
        ]
    ),
    *(
        pytest.param(pack(kpis=KPI.replace(before, after)), "kpis.toml", line, reason, id=id_)
        for before, after, line, reason, id_ in [
            ('en = "K"', 'en = "K\\u0000"', "line 4", "`en`: the text 'K\\x00'", "a name with NUL"),
            ('en = "K"', 'en = "K\\nK"', "line 4", "U+000A", "a name of two lines"),
            ("en = ", '"e\\u0000" = ', "line 4", "`names`: the text 'e\\x00'", "a language with NUL"),
            ('"1"', '"\\t1"', "line 5", "`unit`: the text", "a unit with a tab"),
        ]
    ),
    pytest.param(
        pack(areas=AREAS.replace("Commune", "Com\x07mune")),
        "areas.csv",
        "line 3",
        "name_en: the text 'Com\\x07mune' holds the control character U+0007",
        id="an area's name that rings",
    ),
    pytest.param(pack(SITE.replace('["vi", "en"]', "[]")), "site.toml", "line 6", "`languages`", id="no language"),
    *(
        pytest.param(pack(areas=AREAS.replace("01,", code + ",")), "areas.csv", "line 3", reason, id=id_)
        for code, reason, id_ in [
            ("0" * 129, "code has 129 characters", "a code too long for a key"),
            ("0\x1f1", "code '0\\x1f1' holds a character", "a code with a separator"),
            ("0\x001", "holds the NUL character", "a code with NUL"),
        ]
    ),
    pytest.param(
        pack(areas=AREAS.replace("Xã", "X\0")), "areas.csv", "line 3", "NUL character", id="a name with NUL"
    ),
    pytest.param(
        pack() | {"lineage.csv": "old,new,kind\n\0"}, "lineage.csv", "line 2", "NUL character", id="a link with NUL"
    ),
    pytest.param(pack(areas=""), "areas.csv", "line 1", "columns are missing: code", id="no areas at all"),
    pytest.param(pack(kpis="[[kpi]"), "kpis.toml", "line 1", "Expected ']]'", id="kpis.toml is no TOML"),
    pytest.param(
        pack(kpis=KPI.replace('vi = "K", ', "")), "kpis.toml", "line 4, kpi 'k'", "no name in 'vi'", id="a language"
    ),
    pytest.param(
        pack(kpis=KPI + 'direction = "higher"\ntarget = [{ value = 1, area = "01" },\n { value = 1, area = "02" }]'),
        "kpis.toml",
        "line 10, kpi 'k'",
        "area '02' is not known",
        id="a target's area",
    ),
    pytest.param(
        pack() | {"reports.toml": '[[report]]\nid = "r"\ncolour = 1'},
        "reports.toml",
        "line 3",
        "colour",
        id="a report",
    ),
    *(
        pytest.param(
            {name: text for name, text in pack().items() if name != file},
            file,
            "the file",
            "missing",
            id=f"no {file}",
        )
        for file in REQUIRED_FILES
    ),
]


@pytest.mark.parametrize(("files", "file", "position", "reason"), BAD)
def test_a_mistake_is_named(files: Mapping[str, str], file: str, position: str, reason: str) -> None:
    with pytest.raises(SiteError) as caught:
        parse_site(files)
    assert caught.value.file == file
    assert caught.value.position == position
    assert reason in caught.value.reason
    assert caught.value.fix
    assert "\n" not in str(caught.value)
    # Whoever asks for all of them is told the same.
    assert [str(mistake) for mistake in mistakes(files)] == [str(caught.value)]


def test_all_mistakes_of_a_pack_are_told_at_once() -> None:
    wrong = pack(
        SITE.replace("Asia/Ho_Chi_Minh", "Hanoi"), kpis=KPI.replace('"count"', '"sum"') + KPI.replace('"1"', '""')
    )
    told = [(mistake.file, mistake.position) for mistake in mistakes(wrong)]
    assert told == [
        ("site.toml", "line 4"),
        ("kpis.toml", "line 2, kpi 'k'"),
        ("kpis.toml", "line 10, kpi 'k'"),
    ]


def test_a_file_that_cannot_be_read_hides_nothing_of_the_others() -> None:
    wrong = {"site.toml": SITE, "areas.csv": "code\n", "kpis.toml": KPI.replace('vi = "K", ', "")}
    assert [mistake.file for mistake in mistakes(wrong)] == ["areas.csv", "kpis.toml"]


def test_a_good_site_is_read() -> None:
    kpis = KPI.replace('"count"', '"in_time"') + 'due = "due_at"\ndimensions = ["agency"]\n'
    site = parse_site(pack(kpis=kpis))
    assert site.areas.list_id == "vn-test"
    assert site.areas.root.code == "00"
    assert site.areas.path(AreaId("01")) == ("01", "00")
    assert [area.code for area in site.areas.children(AreaId("00"))] == [AreaCode("01")]
    assert site.areas.zone(AreaId("01")).key == "Asia/Ho_Chi_Minh"
    assert site.kpis["k"].measure is Measure.IN_TIME
    assert [base.id for base in site.kpis.fed_by("ioc.feedback.closed.v1")] == ["k"]
    assert site.kpis.fed_by("ioc.feedback.received.v1") == []
    assert mistakes(pack(kpis=kpis)) == []


def test_codes_keep_their_zeros_and_files_may_come_from_a_spreadsheet() -> None:
    site = parse_site(pack(areas="\ufeff" + AREAS.replace("\n", "\r\n"), kpis=""))
    assert [area.code for area in site.areas] == ["00", "01"]


def test_a_site_without_indicators_is_a_site() -> None:
    assert parse_site(pack(kpis="")).kpis.kpis == ()
