"""Does a rule read what the boards show?"""

import random
from datetime import UTC, datetime

import pytest

from dashboard_api.closing import NOTHING_CLOSED
from dashboard_api.spans import Span
from dashboard_api.values import read_values
from schemas.site import parse_site
from schemas.topics import INPUTS
from streams.alerts import values
from streams.alerts.values import read_samples, read_settled_s, units_of
from streams.versions import compiled
from tests.alerts.hall import (
    BEGIN_S,
    CASES,
    DETECTIONS,
    KEPT,
    METRICS,
    MINUTE_S,
    RECORDS,
    Hall,
    metric,
    report,
    rule,
    rule_of,
    series,
    version_of,
)
from tests.streams.world import PACK, SITE, arrival, raw, some_events

KPIS = [kpi.id for kpi in SITE.kpis.kpis]


def one_rule(kpi: str, every: str, over: int, by: str | None) -> str:
    """A rule that reads this much of one indicator in two areas."""
    split = "" if by is None else f'\nby = "{by}"'
    return (
        f'[[rule]]\nid = "slow"\nnames = {{ en = "R" }}\ncategory = "c"\nkpi = "{kpi}"{split}\n'
        f'every = "{every}"\nover = {over}\narea = "01"\nlevels = ["district", "commune"]\n'
        "threshold = { above = 1 }\n"
    )


async def test_every_measure_reads_as_on_the_boards(hall: Hall) -> None:
    raws = some_events(900, 7, begin=datetime.fromtimestamp(BEGIN_S, UTC))
    by_topic: dict[str, list[bytes]] = {}
    for one in raws:
        type_ = type(arrival(one).event)
        by_topic.setdefault(next("t." + topic.name for topic in INPUTS if type_ in topic.types), []).append(one)
    version = version_of("")
    for topic, some in by_topic.items():
        await hall.count(version, some, BEGIN_S + 3 * 86_400, topic)
    checked, rng = 0, random.Random(1)
    for kpi in KPIS:
        dimensions = SITE.kpis.dimensions_of(kpi)
        for every, over in (("hour", 2), ("day", 1), ("15m", 3)):
            by = rng.choice([None, *dimensions])
            site = version_of(one_rule(kpi, every, over, by)).site
            alert = rule_of(site)
            steps = alert.grid.steps(BEGIN_S + rng.randrange(2 * 86_400), BEGIN_S + 4 * 86_400, 3)
            read = await read_samples(hall.connection, site, alert, steps)
            for step_s in steps:
                span = Span(units_of(alert, step_s)[-1][0], step_s)
                shown = await read_values(
                    hall.connection, site, [kpi], [*alert.areas], [span], by=by, closed=NOTHING_CLOSED
                )
                for (_, area, group, _), reported in shown.items():
                    sample = read.samples[series(area, group or "")][step_s]
                    assert sample.value == pytest.approx(reported.now.value), (kpi, every, by, area, group)
                    checked += bool(reported.now.n)
    assert checked > 100


async def test_only_some_values_of_a_dimension(hall: Hall) -> None:
    more = rule("threshold = { above = 1 }", 'only = { service = "web" }', 'area = "01"', subject='kpi = "response"')
    version = version_of(more)
    both = [metric(BEGIN_S + 1, 4.0), metric(BEGIN_S + 2, 9.0, service="mail")]
    await hall.count(version, both, BEGIN_S + 120)
    read = await read_samples(hall.connection, version.site, rule_of(version.site), [BEGIN_S + 60])
    assert {one: {step: s.value for step, s in some.items()} for one, some in read.samples.items()} == {
        series("01"): {BEGIN_S + 60: 4.0}
    }


async def test_events_are_counted_by_area_and_word(hall: Hall) -> None:
    version = version_of(
        rule(
            "threshold = { above = 1 }",
            'area = "01"',
            'levels = ["district", "commune"]',
            "over = 2",
            'where = { category = { is_not = "noise" } }',
            subject='event = "ioc.feedback.received.v1"\nby = "category"',
        )
    )
    given = [report(BEGIN_S), report(BEGIN_S + 59, category="waste"), report(BEGIN_S + 60, category="noise")]
    given += [report(BEGIN_S + 61, area="0102"), report(BEGIN_S + 120), report(BEGIN_S + 30, area="0201")]
    drill = report(BEGIN_S + 5, category="fire", exercise=True)
    await hall.count(version, [*given, drill], BEGIN_S + 180, CASES)
    read = await read_samples(hall.connection, version.site, rule_of(version.site), [BEGIN_S + 120])
    assert {one: some[BEGIN_S + 120].n for one, some in read.samples.items()} == {
        series("01", "road"): 2,
        series("01", "waste"): 1,
        series("0101", "road"): 1,
        series("0101", "waste"): 1,
        series("0102", "road"): 1,
    }


AGENCIES = """
[[agency]]
id = "pwd"
names = { en = "Works" }
supervisor = "mayor"
[[agency]]
id = "mayor"
names = { en = "Mayor" }
"""


async def test_complaints_about_officials_are_not_counted(hall: Hall) -> None:
    rules = rule("threshold = { above = 1 }", subject='event = "ioc.feedback.received.v1"').replace('"it"', '"other"')
    kinds = 'other = "other"\n' + "".join(
        f'[[category]]\nid = "{id_}"\nnames = {{ en = "Category" }}\nkind = "{kind}"\nagency = "pwd"\n'
        for id_, kind in (("other", "service"), ("rude", "conduct"))
    )
    version = compiled(0, parse_site({**PACK, "alerts.toml": rules, "cases.toml": kinds, "agencies.toml": AGENCIES}))
    some = [report(BEGIN_S), report(BEGIN_S + 1, category="rude")]
    accusing = raw(
        "ioc.feedback.received.v1",
        id="accusing",
        time=datetime.fromtimestamp(BEGIN_S + 2, UTC).isoformat(),
        data={"category": "road", "accused_agency": "pwd"},
    )
    await hall.count(version, [*some, accusing], BEGIN_S + 60, CASES)
    read = await read_samples(hall.connection, version.site, rule_of(version.site), [BEGIN_S + 60])
    assert read.samples[series("00")][BEGIN_S + 60].n == 1


async def test_more_events_than_may_be_read_are_not_counted_at_all(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = version_of(rule("threshold = { above = 1 }", subject='event = "ioc.feedback.received.v1"'))
    await hall.count(version, [report(BEGIN_S + at) for at in range(5)], BEGIN_S + 60, CASES)
    monkeypatch.setattr(values, "EVENTS_MAX", 4)
    read = await read_samples(hall.connection, version.site, rule_of(version.site), [BEGIN_S + 60])
    assert (read.is_whole, read.samples) == (False, {})
    monkeypatch.setattr(values, "EVENTS_MAX", 5)
    read = await read_samples(hall.connection, version.site, rule_of(version.site), [BEGIN_S + 60])
    assert read.samples[series("00")][BEGIN_S + 60].n == 5


async def test_settled_is_what_all_topics_of_a_rule_have_come_to(hall: Hall) -> None:
    version = version_of(rule("threshold = { above = 1 }", "settle_s = 5").replace("settle_s = 0\n", ""))
    alert = rule_of(version.site)
    assert await read_settled_s(hall.connection, version.site, alert) is None
    for topic in (CASES, RECORDS, DETECTIONS):
        await hall.count(version, [], BEGIN_S + 10**6, topic)
    assert await read_settled_s(hall.connection, version.site, alert) is None
    await hall.count(version, [], BEGIN_S + 100, METRICS)
    assert await read_settled_s(hall.connection, version.site, alert) == BEGIN_S + 95
    # An idle partition that was counted to its end has come as far as the moment of that.
    await hall.connection.execute("UPDATE position SET caught_up_at = to_timestamp($1)", BEGIN_S + 3 * MINUTE_S)
    assert await read_settled_s(hall.connection, version.site, alert) == BEGIN_S + 175


async def test_what_is_silent_is_expected_for_some_days(hall: Hall) -> None:
    version = version_of(
        rule("absence = { lookback_days = 2 }", 'area = "01"', subject='kpi = "response"\nby = "service"')
    )
    alert = rule_of(version.site)
    await hall.count(version, [metric(BEGIN_S + 1, 4.0)], BEGIN_S + 5 * 86_400)
    day = BEGIN_S + 86_400
    for step_s, expected in ((BEGIN_S + 60, [1]), (day, [0]), (day + 86_400, [0]), (day + 3 * 86_400, [])):
        read = await read_samples(hall.connection, version.site, alert, [step_s])
        assert [some[step_s].n for some in read.samples.values()] == expected


def test_topics_of_the_tests() -> None:
    assert {f"t.{topic.name}" for topic in INPUTS} >= {METRICS, DETECTIONS, *KEPT}
