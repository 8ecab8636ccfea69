"""Is every mistake in calendars, clocks, units and dispatch rules named with its file and line?"""

import pytest

from schemas.calendar import MakeUp
from schemas.case import ClockName, OfferStep
from schemas.dispatch_plan import Rung
from schemas.errors import SiteError
from schemas.site import mistakes, parse_site
from tests.schemas.case_pack import CALENDAR, CASES, CLOCKS, DISPATCH, UNITS, pack

PEOPLE = """
[[person]]
id = "boss"
name = "Boss"
roles = ["leader"]
areas = ["00"]
"""


def test_read() -> None:
    """A pack with all four files is read as it stands there."""
    site = parse_site(pack())
    assert list(site.calendars) == ["office", "berlin"]
    assert site.calendars["office"].day_s == 7.5 * 3600
    assert len(site.calendars["office"].make_up) == 2
    assert isinstance(site.calendars["office"].make_up[0], MakeUp)
    assert [plan.clock for plan in site.clocks].count(ClockName.RESOLUTION) == 2
    assert site.units["b"].capacity == 2
    assert site.units["a"].channels == ("push", "sms")
    assert site.dispatch.steps[0].allowed_s(OfferStep.SEEN) == 20
    assert site.dispatch.steps[1].allowed_s(OfferStep.DONE) is None
    assert site.dispatch.escalation[0].rungs[1] is Rung.NEXT_UNIT


def test_none_of_them() -> None:
    """A pack without these files has no clocks and no units."""
    files = {name: text for name, text in pack().items() if name in ("site.toml", "areas.csv", "kpis.toml")}
    site = parse_site(files)
    assert (site.calendars, site.clocks, site.units, site.dispatch.escalation) == ({}, (), {}, ())


def other(file: str, text: str, old: str, new: str) -> dict[str, str]:
    assert old in text
    return {file: text.replace(old, new, 1)}


def calendar(old: str, new: str) -> dict[str, str]:
    return other("calendar.toml", CALENDAR, old, new)


def clocks(old: str, new: str) -> dict[str, str]:
    return other("clocks.toml", CLOCKS, old, new)


def units(old: str, new: str) -> dict[str, str]:
    return other("units.toml", UNITS, old, new)


def dispatch(old: str, new: str) -> dict[str, str]:
    return other("dispatch.toml", DISPATCH, old, new)


LUNCH = 'mon = ["07:30-11:30", "13:30-17:00"]'

BAD = [
    pytest.param(calendar('id = "berlin"', 'id = "office"'), "line 17", "used twice", id="a calendar twice"),
    pytest.param(calendar('id = "office"', 'id = "always"'), "line 3", "built in", id="a calendar named always"),
    pytest.param(calendar("Asia/Ho_Chi_Minh", "Hanoi"), "line 5", "'Hanoi' is not known", id="a zone"),
    pytest.param(calendar('"VN"', '"XX"'), "line 6", "'XX' are not known", id="a country"),
    pytest.param(calendar(LUNCH, 'mon = ["7:30-11:30"]'), "line 10", "`mon`", id="hours in another form"),
    pytest.param(calendar(LUNCH, 'mon = ["07:30-25:00"]'), "line 10", "not on a clock", id="hour 25"),
    pytest.param(calendar(LUNCH, 'mon = ["07:60-09:00"]'), "line 10", "not on a clock", id="minute 60"),
    pytest.param(calendar(LUNCH, 'mon = ["22:00-06:00"]'), "line 10", "no length", id="over midnight"),
    pytest.param(calendar(LUNCH, 'mon = ["07:00-10:00", "09:00-11:00"]'), "line 10", "before the", id="overlap"),
    pytest.param(calendar("day = 2026-01-10", "day = 2026-01-02"), "line 8", "day off, or made up", id="off and on"),
    pytest.param(calendar("08:00-12:00", "12:00-12:00"), "line 8", "no length", id="hours of a made-up day"),
    pytest.param(
        {"calendar.toml": '[[calendar]]\nid = "x"\nnames = {}\nzone = "UTC"\n[calendar.week]\nmon = []\n'},
        "line 5",
        "no day has working hours",
        id="never",
    ),
    pytest.param(clocks('"4h"', '"4 hours"'), "line 4", "`allowed`", id="an allowance"),
    pytest.param(clocks('"3d"', '"1001d"'), "line 9", "too long", id="too many days"),
    pytest.param(clocks("0.75", "1.0"), "line 6", "`warn_share`", id="a share"),
    pytest.param(clocks('"first_answer"', '"first_reply"'), "line 3", "'first_reply' is not known", id="a clock"),
    pytest.param(
        clocks('calendar = "office"\nstarts', 'calendar = "always"\nstarts'), "line 11", "no days", id="no days"
    ),
    pytest.param(clocks('calendar = "office"', 'calendar = "ofice"'), "line 5", "'ofice'", id="a clock's calendar"),
    pytest.param(clocks('"pothole"', '"potholes"'), "line 16", "category 'potholes'", id="a clock's category"),
    pytest.param(clocks('kinds = ["incident"]', 'agencies = ["x"]'), "line 20", "agency 'x'", id="a clock's agency"),
    pytest.param(clocks('kinds = ["incident"]', 'areas = ["99"]'), "line 20", "area '99'", id="a clock's area"),
    pytest.param(units('id = "b"', 'id = "a"'), "line 11", "used twice", id="a unit twice"),
    pytest.param(units("geo:21.00,105.00", "geo:99.00,105.00"), "line 7", "no place on earth", id="a base"),
    pytest.param(units("geo:21.00,105.00", "21.00,105.00"), "line 7", "`base`", id="a base in another form"),
    pytest.param(units('agency = "roads"', 'agency = "road"'), "line 5", "agency 'road'", id="a unit's agency"),
    pytest.param(units('area = "00"', 'area = "05"'), "line 6", "area '05'", id="a unit's area"),
    pytest.param(units('["road"]', '["raod"]'), "line 8", "skill 'raod'", id="a skill that nothing asks for"),
    pytest.param(units('calendar = "office"', 'calendar = "x"'), "line 18", "calendar 'x'", id="a unit's calendar"),
    pytest.param(units("capacity = 2", "capacity = 0"), "line 17", "`capacity`", id="a unit without capacity"),
    pytest.param(units('["push", "sms"]', "[]"), "line 9", "`channels`", id="a unit without a channel"),
    pytest.param(dispatch("delivered_s = 10", "delivered_s = 0"), "line 5", "`delivered_s`", id="no time at all"),
    pytest.param(dispatch('"delivered", "seen"', '"offered"'), "line 17", "'offered'", id="a step nobody takes"),
    pytest.param(dispatch('rungs = ["supervisor"]', 'rungs = ["next_unit"]'), "line 21", "on its way", id="dropped"),
    pytest.param(dispatch('"next_unit"', '"next_one"'), "line 18", "'next_one' is not known", id="a rung"),
    pytest.param(
        {"people.toml": PEOPLE.replace("boss", "chief")}, "line 19", "person 'boss'", id="a person in a chain"
    ),
    pytest.param(
        units('skills = ["road"]', 'members = ["me"]') | {"people.toml": PEOPLE},
        "line 8",
        "person 'me'",
        id="a member",
    ),
]


@pytest.mark.parametrize(("files", "position", "reason"), BAD)
def test_mistake(files: dict[str, str], position: str, reason: str) -> None:
    """One line: the file, the line, what is wrong; and the check of the whole pack says the same."""
    file = next(iter(files)) if "people.toml" not in files or len(files) > 1 else "dispatch.toml"
    with pytest.raises(SiteError) as caught:
        parse_site(pack(files))
    assert (caught.value.file, caught.value.position) == (file, position)
    assert reason in caught.value.reason
    assert caught.value.fix.endswith((".", "?"))
    assert [str(one) for one in mistakes(pack(files))] == [str(caught.value)]


def test_right_word_is_suggested() -> None:
    """A slip of the hand is answered with the word that was meant."""
    with pytest.raises(SiteError, match="Did you mean 'office'"):
        parse_site(pack(clocks('calendar = "office"', 'calendar = "ofice"')))
    with pytest.raises(SiteError, match="Did you mean 'pothole'"):
        parse_site(pack(clocks('"pothole"', '"potholes"')))


def test_skills_of_no_category() -> None:
    """Where no category asks for a skill, units may have any."""
    without = CASES.replace('skills = ["road"]', "").replace('skills = ["fire", "road"]', "")
    assert parse_site(pack({"cases.toml": without})).units["b"].skills == ("road", "fire")
