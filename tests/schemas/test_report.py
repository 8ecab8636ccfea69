"""What does `reports.toml` say, and when is a report due?"""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from schemas.errors import SiteError
from schemas.kpi_table import parse_kpis
from schemas.period import parse_period
from schemas.report import Report, Schedule, Send, due_at, last_due, parse_reports

HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
KPIS = parse_kpis(
    """
    [[kpi]]
    id = "received"
    names = { vi = "Tiếp nhận", en = "Received" }
    unit = "1"
    event = "ioc.feedback.received.v1"
    measure = "count"

    [[kpi]]
    id = "complaints"
    names = { vi = "Tố cáo", en = "Complaints" }
    unit = "1"
    event = "ioc.feedback.received.v1"
    measure = "count"
    audience = "supervision"

    [[kpi]]
    id = "complaint_share"
    names = { vi = "Tỷ lệ tố cáo", en = "Share of complaints" }
    unit = "1"
    measure = "ratio"
    numerator = "complaints"
    denominator = "received"
    """
)
NAMES = '{ vi = "Báo cáo tháng", en = "Monthly report" }'


def table(**keys: str) -> str:
    """One report, right but for what is given."""
    fields = {"id": '"monthly"', "names": NAMES, "period": '"month"', "kpis": '["received"]'} | keys
    return "\n".join(["", "[[report]]", *(f"{key} = {value}" for key, value in fields.items()), ""])


def test_a_report_is_read_whole() -> None:
    text = table(
        areas='"children"',
        formats='["csv", "json"]',
        schedule="{ day = 5, hour = 9 }",
        send='[{ channel = "folder", target = "tinh" }, { channel = "webhook", target = "https://a.example/x" }]',
    )
    (report,) = parse_reports(text, KPIS)
    assert report == Report(
        id="monthly",
        names={"vi": "Báo cáo tháng", "en": "Monthly report"},
        period="month",
        areas="children",
        kpis=["received"],
        formats=["csv", "json"],
        schedule=Schedule(day=5, hour=9),
        send=[Send(channel="folder", target="tinh"), Send(channel="webhook", target="https://a.example/x")],
    )


def test_a_report_may_be_made_by_hand_alone() -> None:
    (report,) = parse_reports(table(), KPIS)
    assert (report.schedule, report.send, report.areas) == (None, [], "root+children")
    assert parse_reports("", KPIS) == ()


SCHEDULE, SEND = "{ day = 5 }", '[{ channel = "folder", target = "out" }]'


def sent(target: str, channel: str = "webhook") -> str:
    return table(schedule=SCHEDULE, send=f'[{{ channel = "{channel}", target = "{target}" }}]')


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        pytest.param("[[report]", "line 1", "", id="no TOML"),
        pytest.param("[[reports]]", "line 1", "`reports` is not", id="another table"),
        pytest.param("report = 1", "line 1", "not an array", id="no table"),
        pytest.param("report = [1]", "line 1", "object", id="an array of something else"),
        pytest.param(table(colour="1"), "line 7", "`colour` is not a key here", id="unknown key"),
        pytest.param(table(id='"../etc"'), "line 3", "`id`", id="id that is no name"),
        pytest.param(table(id='"a\\n"'), "line 3", "`id`", id="id with a line break"),
        pytest.param(table() + table(), "line 9", "'monthly' is used twice", id="id twice"),
        pytest.param(table(kpis='["received",\n"nix"]'), "line 7", "'nix' is not known", id="unknown indicator"),
        pytest.param(table(kpis='["received", "received"]'), "line 6", "'received' twice", id="indicator twice"),
        pytest.param(table(kpis='["complaints"]'), "line 6", "for supervising agencies", id="for supervision alone"),
        pytest.param(table(kpis='["complaint_share"]'), "line 6", "for supervising agencies", id="made of such"),
        pytest.param(table(kpis="[]"), "line 6", "`kpis`", id="no indicator"),
        pytest.param(table(period='"day"'), "line 5", "'day' is not known", id="unknown period"),
        pytest.param(table(areas='"all"'), "line 7", "'all' is not known", id="unknown areas"),
        pytest.param(table(formats='["pdf"]'), "line 7", "'pdf' is not known", id="unknown format"),
        pytest.param(table(formats='["csv", "csv"]'), "line 7", "'csv' twice", id="format twice"),
        pytest.param(table(names='{ en = "Monthly" }'), "line 4", "'vi'", id="no Vietnamese name"),
        pytest.param(table(schedule="{ day = 31 }", send=SEND), "line 7", "`day`", id="day of few months"),
        pytest.param(table(schedule="{ day = 5, hour = 24 }", send=SEND), "line 7", "`hour`", id="no hour"),
        pytest.param(table(schedule=SCHEDULE), "line 7", "nowhere to go", id="schedule without send"),
        pytest.param(table(send=SEND), "line 7", "no `schedule`", id="send without schedule"),
        pytest.param(sent("x", "fax"), "line 8", "'fax' is not known", id="unknown channel"),
        pytest.param(sent("", "folder"), "line 8", "not a folder", id="no folder"),
        pytest.param(sent("a/../../etc", "folder"), "line 8", "not a folder", id="folder that climbs"),
        pytest.param(sent("ftp://a.example"), "line 8", "not an address", id="another scheme"),
        pytest.param(sent("https://"), "line 8", "not an address", id="no host"),
        pytest.param(sent("https://a:b"), "line 8", "not an address", id="no port"),
    ],
)
def test_a_mistake_is_named(text: str, position: str, reason: str) -> None:
    with pytest.raises(SiteError) as mistake:
        parse_reports(text, KPIS)
    assert mistake.value.file == "reports.toml"
    assert mistake.value.position == position
    assert reason in mistake.value.reason
    assert mistake.value.fix


def test_a_webhooks_address_is_not_repeated_where_it_is_wrong() -> None:
    with pytest.raises(SiteError) as mistake:
        parse_reports(sent("htps://key:secret@a.example"), KPIS)
    assert "secret" not in str(mistake.value)


@pytest.mark.parametrize(
    ("period", "zone", "due"),
    [
        pytest.param("2026-09", HANOI, "2026-10-05T08:00+07:00", id="month"),
        pytest.param("2026-12", HANOI, "2027-01-05T08:00+07:00", id="last month"),
        pytest.param("2026-Q3", HANOI, "2026-10-05T08:00+07:00", id="quarter"),
        pytest.param("2026", HANOI, "2027-01-05T08:00+07:00", id="year"),
        pytest.param("2026-02", ZoneInfo("America/New_York"), "2026-03-05T08:00-05:00", id="another zone"),
    ],
)
def test_when_a_report_is_due(period: str, zone: ZoneInfo, due: str) -> None:
    assert due_at(Schedule(day=5), parse_period(period), zone) == datetime.fromisoformat(due)


def test_an_hour_that_the_clocks_skip_is_still_due() -> None:
    skipped = due_at(Schedule(day=8, hour=2), parse_period("2026-02"), ZoneInfo("America/New_York"))
    assert skipped == datetime.fromisoformat("2026-03-08T03:00-04:00")


@pytest.mark.parametrize(
    ("now", "period"),
    [
        pytest.param("2026-10-05T07:59+07:00", "2026-08", id="not yet"),
        pytest.param("2026-10-05T08:00+07:00", "2026-09", id="now"),
        pytest.param("2026-11-04T08:00+07:00", "2026-09", id="a month later"),
        pytest.param("2026-10-05T01:00+00:00", "2026-09", id="now, told in another zone"),
    ],
)
def test_the_last_period_whose_report_is_due(now: str, period: str) -> None:
    (report,) = parse_reports(table(schedule=SCHEDULE, send=SEND), KPIS)
    assert report.schedule is not None
    assert str(last_due(report, report.schedule, datetime.fromisoformat(now), HANOI)) == period


def test_a_report_for_supervision_says_so() -> None:
    [report] = parse_reports(table(kpis='["complaints", "received"]', audience='"supervision"'), KPIS)
    assert report.audience == "supervision"
