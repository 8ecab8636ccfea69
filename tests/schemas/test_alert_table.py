"""Is every mistake in `alerts.toml` told with its line and a fix, and are good rules read as they stand?"""

from datetime import UTC, datetime

import pytest

from schemas.alert import Every, Grid, Kind, past_steps
from schemas.errors import SiteError
from schemas.site import Pack, Site, mistakes, parse_site
from tests.streams.world import PACK

AGENCIES = '[[agency]]\nid = "pwd"\nnames = { en = "Works" }\n'
CASES = 'other = "other"\n' + "".join(
    f'[[category]]\nid = "{id_}"\nnames = {{ en = "Category" }}\n' for id_ in ("other", "it")
)


def pack(rules: str) -> Pack:
    """A site of two zones with these rules, agencies and categories."""
    return {**PACK, "alerts.toml": rules, "agencies.toml": AGENCIES, "cases.toml": CASES}


def one(**changed: str | None) -> str:
    """A good rule with some of its lines otherwise, or (None) left out. The id stands on line 2."""
    lines: dict[str, str | None] = {
        "id": '"r"',
        "names": '{ en = "Rule" }',
        "category": '"it"',
        "kpi": '"response"',
        "threshold": "{ above = 5 }",
        **changed,
    }
    return "[[rule]]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items() if value is not None)


def site(rules: str) -> Site:
    """The site with these rules."""
    return parse_site(pack(rules))


def test_a_rule_as_it_stands() -> None:
    rules = one(by='"service"', area='"01"', levels='["district", "commune"]', agency='"pwd"', every='"hour"')
    (rule,) = site(rules).alerts
    assert (rule.id, rule.top, rule.areas) == ("r", "01", ("01", "0101", "0102"))
    assert rule.rule.kind is Kind.THRESHOLD
    assert rule.grid == Grid(Every.HOUR, "Asia/Ho_Chi_Minh")


def test_without_the_file_there_are_no_rules() -> None:
    assert parse_site(PACK).alerts == ()


def test_who_inhibits_comes_first() -> None:
    rules = one(id='"a"', inhibited_by='["b"]') + one(id='"b"', inhibited_by='["c"]') + one(id='"c"')
    assert [rule.id for rule in site(rules).alerts] == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("rules", "line", "reason", "fix"),
    [
        pytest.param("rules = 1", 1, "`rules` is not an array", "[[rule]]", id="another key"),
        pytest.param(one(id='"é"'), 2, "`id`: expected `str` matching", "Give a value", id="an id of other letters"),
        pytest.param(one(id=None), 1, "`id` is missing", "Add it", id="no id"),
        pytest.param(one() + one(), 8, "the id 'r' is used twice", "its own", id="an id twice"),
        pytest.param(one(evry='"5m"'), 7, "`evry` is not a key", "'every'", id="a key that is not known"),
        pytest.param(one(every='"5min"'), 7, "'5min' is not known", "'5m'", id="a width that is not known"),
        pytest.param(one(names="{}"), 3, "no name in the language 'en'", "Write {", id="no name"),
        pytest.param(one(threshold=None), 1, "nothing to look for", "Give one of", id="no test"),
        pytest.param(one(absence="{}"), 7, "it has both threshold and absence", "Give one of", id="two tests"),
        pytest.param(one(threshold="{ margin = 1 }"), 6, "it has no limit", "`above`", id="no limit"),
        pytest.param(one(threshold="{ above = nan }"), 6, "nan is not a number", "finite", id="no number"),
        pytest.param(
            one(threshold="{ above = 5, below = 4, margin = 0.6 }"),
            6,
            "no value is far enough",
            "`margin`",
            id="no way back",
        ),
        pytest.param(
            one(threshold=None, deviation="{ above = 3, count = 4, values_min = 13 }"),
            6,
            "never more than 12 past values",
            "smaller",
            id="more past values than there are",
        ),
        pytest.param(
            one(threshold=None, deviation="{ above = 3, count = 900, neighbours = 1 }"),
            6,
            "it looks at 2700 past values",
            "no more than 1000",
            id="too many past values",
        ),
        pytest.param(one(kpi=None), 1, "neither an indicator nor a type", "Give either", id="about nothing"),
        pytest.param(one(event='"ioc.feedback.received.v1"'), 7, "it names both", "Give either", id="about both"),
        pytest.param(
            one(kpi='"respons"'), 5, "indicator 'respons' is not known", "'response'", id="no such indicator"
        ),
        pytest.param(one(by='"agency"'), 7, "has no dimension 'agency'", "service", id="no such dimension"),
        pytest.param(one(only='{ agency = "x" }'), 7, "has no dimension 'agency'", "service", id="only of none such"),
        pytest.param(
            one(where='{ metric = "x" }'), 7, "`where` is for events", "`only`", id="a filter on an indicator"
        ),
        pytest.param(
            one(kpi=None, event='"ioc.service.metric.v1"'),
            6,
            "cannot be counted one by one",
            "Declare an indicator",
            id="events not kept",
        ),
        pytest.param(
            one(kpi=None, event='"ioc.case.command.v1"'),
            6,
            "cannot be counted one by one",
            "Declare",
            id="commands",
        ),
        pytest.param(one(kpi=None, event='"ioc.metric"'), 6, "is not known", "Use one of", id="no such event"),
        pytest.param(
            one(kpi=None, event='"ioc.feedback.received.v1"', where='{ categry = "x" }'),
            7,
            "no field 'categry'",
            "'category'",
            id="no such field",
        ),
        pytest.param(
            one(kpi=None, event='"ioc.feedback.received.v1"', by='"text"'),
            7,
            "no field 'text' to split by",
            "agency",
            id="split by a text",
        ),
        pytest.param(one(area='"99"'), 7, "area '99' is not known", "test-2025", id="no such area"),
        pytest.param(one(levels='["commun"]'), 7, "no 'commun' in '00'", "'commune'", id="no such level"),
        pytest.param(one(levels='["commune"]'), 7, "clocks of several zones", "each zone", id="several zones"),
        pytest.param(one(agency='"isd"'), 7, "agency 'isd' is not known", "pwd", id="no such agency"),
        pytest.param(one(category='"road"'), 4, "category 'road' is not declared", "other", id="no such category"),
        pytest.param(
            one(titles='{ en = "{area.names}" }'),
            7,
            "a title cannot say {area.names}",
            "Use one of",
            id="inside a title",
        ),
        pytest.param(one(titles='{ en = "{" }'), 7, "the title cannot be read", "brace", id="a broken title"),
        pytest.param(one(inhibited_by='["x"]'), 7, "rule 'x' is not known", "r", id="inhibited by nobody"),
        pytest.param(one(inhibited_by='["r"]'), 7, "in a circle: r, r", "Leave one", id="inhibited by itself"),
    ],
)
def test_mistakes(rules: str, line: int, reason: str, fix: str) -> None:
    with pytest.raises(SiteError) as found:
        site(rules)
    assert (found.value.file, found.value.position) == ("alerts.toml", f"line {line}")
    assert reason in found.value.reason
    assert fix in found.value.fix
    assert [str(error) for error in mistakes(pack(rules))] == [str(found.value)]


def test_what_is_for_supervision_alone_calls_nobody_else() -> None:
    kpis = PACK["kpis.toml"] + (
        '\n[[kpi]]\nid = "conduct"\nnames = { en = "Complaints" }\nunit = "1"\nmeasure = "count"\n'
        'event = "ioc.feedback.received.v1"\naudience = "supervision"\n'
    )
    with pytest.raises(SiteError, match="'conduct' is for supervising agencies alone"):
        parse_site({**pack(one(kpi='"conduct"')), "kpis.toml": kpis})


def test_what_is_not_kept_for_so_long_cannot_be_looked_back_at() -> None:
    short = PACK["site.toml"].replace("minute_days = 36500", "minute_days = 20")
    rules = one(threshold=None, deviation="{ above = 3, count = 3 }")
    with pytest.raises(SiteError, match="it looks 21 days back, and minutes are kept for 20 days"):
        parse_site({**pack(rules), "site.toml": short})
    assert parse_site({**pack(rules.replace("[[rule]]", '[[rule]]\nevery = "hour"')), "site.toml": short}).alerts


# ── Steps ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def at(text: str) -> int:
    """A moment in epoch seconds."""
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp())


@pytest.mark.parametrize(
    ("every", "moment", "floor", "following"),
    [
        pytest.param("minute", "09:00:30-04:00", "09:00-04:00", "09:01-04:00", id="minute"),
        pytest.param("5m", "09:07-04:00", "09:05-04:00", "09:10-04:00", id="five minutes"),
        pytest.param("15m", "09:15-04:00", "09:15-04:00", "09:30-04:00", id="a quarter, at its end"),
        pytest.param("hour", "09:59-04:00", "09:00-04:00", "10:00-04:00", id="hour"),
    ],
)
def test_steps_of_a_day(every: str, moment: str, floor: str, following: str) -> None:
    grid = Grid(Every(every), "America/New_York")
    step_s = grid.floor(at(f"2025-07-01T{moment}"))
    assert step_s == at(f"2025-07-01T{floor}")
    assert grid.next(step_s) == at(f"2025-07-01T{following}")
    assert grid.before(grid.next(step_s)) == step_s


def test_steps_over_a_change_of_clocks() -> None:
    day = Grid(Every.DAY, "America/New_York")
    # On 9 March 2025 clocks went forward: that day had 23 hours.
    assert day.steps(at("2025-03-08T12:00-05:00"), at("2025-03-11T00:00-04:00"), 9) == [
        at("2025-03-09T00:00-05:00"),
        at("2025-03-10T00:00-04:00"),
        at("2025-03-11T00:00-04:00"),
    ]
    hour = Grid(Every.HOUR, "America/New_York")
    assert hour.days_before(at("2025-03-12T09:00-04:00"), 7) == at("2025-03-05T09:00-05:00")


def test_past_steps_are_the_same_hours_of_past_weeks() -> None:
    (rule,) = site(one(threshold=None, deviation="{ above = 3, count = 2, neighbours = 1 }", every='"hour"')).alerts
    found = past_steps(rule.rule, rule.grid, at("2025-06-30T09:00+07:00"))
    assert sorted(found) == [
        at(f"2025-06-{day}T{hour}:00+07:00") for day in ("16", "23") for hour in ("08", "09", "10")
    ]
