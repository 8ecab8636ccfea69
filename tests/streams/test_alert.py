"""Does a rule say of each series what its limits, holds, mutes and groups ask for, however its steps are cut?"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.alert import AlertRule, Series, past_steps
from schemas.area_id import AreaId
from schemas.site import Site, parse_site
from streams.core.alert import (
    FIRES,
    NOTHING_HELD,
    SCORE_MAX,
    Firing,
    Held,
    Looked,
    Mutes,
    Position,
    Sample,
    Silenced,
    Verdict,
    group_of,
    look,
    position,
    read,
    readings_at,
)
from streams.core.alert_message import event_of, subject_of, withdrawn_event
from tests.streams.world import PACK

MINUTE_S = 60
BEGIN_S = 1_751_328_000
"""1 July 2025, 00:00 UTC."""
ONE = Series(AreaId("00"), "web")
WEEK_STEPS = 7 * 24 * 60


def site_of(rules: str) -> Site:
    """The tests' site with these rules."""
    return parse_site({**PACK, "alerts.toml": rules})


def rule_of(test: str, more: str = "", *, id_: str = "r", by: str = 'by = "service"') -> AlertRule:
    """One rule over a figure that is split by service, minute by minute."""
    return site_of(
        f'[[rule]]\nid = "{id_}"\nnames = {{ en = "Rule" }}\ncategory = "it"\nkpi = "response"\n{by}\n'
        f'every = "minute"\n{more}\n{test}'
    ).alerts[0]


SITE = site_of("")
NO_MUTES = Mutes(SITE.areas)


def run(
    rule: AlertRule,
    values: Sequence[float | None],
    *,
    mutes: Mutes = NO_MUTES,
    series: Series = ONE,
    held: Held = NOTHING_HELD,
) -> list[Looked]:
    """What comes of one series with these values, a minute apart; None is a value that is not known."""
    samples = {BEGIN_S + MINUTE_S * at: Sample(value, 1) for at, value in enumerate(values)}
    found: list[Looked] = []
    for step_s in samples:
        found.append(look(rule, step_s, readings_at(rule, step_s, {series: samples}, held)[0], held, mutes))
        held = found[-1].held
    return found


def verdicts(looked: Sequence[Looked]) -> list[str]:
    """One verdict for each step."""
    return [one.judged[0].verdict.value for one in looked]


ABOVE_5 = "threshold = { above = 5, margin = 1 }"


@pytest.mark.parametrize(
    ("more", "values", "expected"),
    [
        pytest.param("", [4, 6], ["quiet", "fire"], id="without a hold it fires at once"),
        pytest.param("", [5], ["quiet"], id="the limit itself is within"),
        pytest.param(
            "hold_s = 120", [6, 6, 6, 6], ["hold_pending", "hold_pending", "fire", "hold_firing"], id="hold"
        ),
        pytest.param(
            "hold_s = 120",
            [6, 6, 4.5, 6, 6, 6],
            ["hold_pending", "hold_pending", "quiet", "hold_pending", "hold_pending", "fire"],
            id="a value in the band breaks a hold",
        ),
        pytest.param(
            "hold_s = 60",
            [6, None, 6, 6],
            ["hold_pending", "unknown_value", "hold_pending", "fire"],
            id="what must hold must be known to hold",
        ),
        pytest.param(
            "", [6, 4.5, 5, 4, 6], ["fire", "hold_band", "hold_band", "resolve", "fire"], id="back by the margin"
        ),
        pytest.param(
            "clear_s = 120",
            [6, 3, 3, 4.5, 3, 3, 3],
            [
                "fire",
                "hold_clearing",
                "hold_clearing",
                "hold_band",
                "hold_clearing",
                "hold_clearing",
                "resolve",
            ],
            id="back for long enough",
        ),
        pytest.param(
            "clear_s = 60",
            [6, 3, None, 3, 3],
            ["fire", "hold_clearing", "hold_unknown", "hold_clearing", "resolve"],
            id="not knowing is not being back",
        ),
        pytest.param(
            "unknown_s = 120",
            [6, None, None, None],
            ["fire", "hold_unknown", "resolve_unknown", "unknown_value"],
            id="not heard of for too long",
        ),
        pytest.param("n_min = 2", [6], ["unknown_few"], id="of too few events"),
    ],
)
def test_life_of_a_series(more: str, values: list[float | None], expected: list[str]) -> None:
    assert verdicts(run(rule_of(ABOVE_5, more), values)) == expected


@pytest.mark.parametrize(
    ("limits", "number", "expected"),
    [
        pytest.param({"above": 5}, 5.0, Position.WITHIN, id="at the limit"),
        pytest.param({"above": 5}, 5.1, Position.BEYOND, id="above it"),
        pytest.param({"above": 5, "margin": 1}, 4.1, Position.BETWEEN, id="in the band"),
        pytest.param({"below": 5, "margin": 1}, 5.9, Position.BETWEEN, id="in the lower band"),
        pytest.param({"below": 5, "margin": 1}, 6.0, Position.WITHIN, id="back by the margin"),
        pytest.param({"above": 9, "below": 5, "margin": 1}, 7.0, Position.WITHIN, id="between two limits"),
        pytest.param({"above": 9, "below": 5, "margin": 1}, 4.9, Position.BEYOND, id="below the lower of two"),
        pytest.param({"above": 9, "below": 5, "margin": 1}, 8.5, Position.BETWEEN, id="near the upper of two"),
    ],
)
def test_where_a_number_lies(limits: dict[str, float], number: float, expected: Position) -> None:
    words = ", ".join(f"{key} = {value}" for key, value in limits.items())
    test = rule_of(f"threshold = {{ {words} }}").rule.threshold
    assert test is not None
    assert position(test, number) is expected


def at(rule: AlertRule, samples: Mapping[int, float], now: float) -> tuple[Position, float | None, float | None]:
    """What the rule reads of `now`, with past samples by how many minutes ago."""
    given = {BEGIN_S - MINUTE_S * ago: Sample(value, 1) for ago, value in samples.items()}
    reading = read(rule.rule, BEGIN_S, past_steps(rule.rule, rule.grid, BEGIN_S), given | {BEGIN_S: Sample(now, 1)})
    return reading.position, reading.score, reading.limit


def test_change_is_against_the_value_some_steps_ago() -> None:
    rule = rule_of("change = { above = 0.5, steps = 3, relative = true }")
    assert at(rule, {3: 10.0, 1: 99.0}, 14.0) == (Position.WITHIN, pytest.approx(0.4), 15.0)
    assert at(rule, {3: 10.0}, 16.0) == (Position.BEYOND, pytest.approx(0.6), 15.0)
    assert at(rule, {1: 99.0}, 16.0)[0] is Position.UNKNOWN
    # From nothing to something is more than any share.
    assert at(rule, {3: 0.0}, 1.0)[:2] == (Position.BEYOND, SCORE_MAX)


def test_deviation_is_from_the_same_hours_of_past_weeks() -> None:
    rule = rule_of(
        'deviation = { above = 3, past = "weeks", count = 3, neighbours = 1, values_min = 3, spread_share = 0 }'
    )
    past = {WEEK_STEPS * week + off: 10.0 + off for week in (1, 2, 3) for off in (-1, 0, 1)}
    # Yesterday and an hour ago say nothing.
    other = {1440: 500.0, 60: 500.0, WEEK_STEPS + 2: 500.0}
    # Of 9, 10 and 11, three times each, the median is 10 and the median distance from it 1.
    assert at(rule, past | other, 14.0) == (Position.WITHIN, pytest.approx(4 / 1.4826), pytest.approx(14.4478))
    assert at(rule, past | other, 15.0)[0] is Position.BEYOND
    assert at(rule, dict(list(past.items())[:2]), 99.0)[0] is Position.UNKNOWN


def test_one_wild_week_does_not_make_the_wild_usual() -> None:
    rule = rule_of('deviation = { above = 4, past = "weeks", count = 4, neighbours = 1, values_min = 6 }')
    past = {WEEK_STEPS * week + off: 10.0 + off for week in (1, 2, 3) for off in (-1, 0, 1)}
    wild = {WEEK_STEPS * 4 + off: 10_000.0 for off in (-1, 0, 1)}
    assert at(rule, past | wild, 30.0)[0] is Position.BEYOND


def test_what_never_moved_may_move_by_the_least_spread() -> None:
    test = 'deviation = {{ above = 3, past = "recent", count = 9, values_min = 5, spread_share = 0{} }}'
    flat = dict.fromkeys(range(1, 10), 10.0)
    assert at(rule_of(test.format("")), flat, 10.1)[:2] == (Position.BEYOND, SCORE_MAX)
    assert at(rule_of(test.format("")), flat, 10.0)[0] is Position.WITHIN
    assert at(rule_of(test.format(", spread_min = 1")), flat, 12.9)[0] is Position.WITHIN


def test_by_quantiles_what_is_usual_now_and_then_is_usual() -> None:
    test = 'deviation = {{ above = 4, past = "recent", count = 41, values_min = 5, spread_share = 0, spread = "{}" }}'
    # Of 41 values, five at 100, the 95 % quantile is 100 and the spread 100 / 3.29.
    past = {ago: 100.0 if ago % 8 == 1 else 0.0 for ago in range(1, 42)}
    assert at(rule_of(test.format("mad")), past, 100.0)[:2] == (Position.BEYOND, SCORE_MAX)
    assert at(rule_of(test.format("quantiles")), past, 100.0)[:2] == (Position.WITHIN, pytest.approx(3.29))
    assert at(rule_of(test.format("quantiles")), past, 130.0)[:2] == (Position.BEYOND, pytest.approx(4.277))


def test_silence_keeps_it_from_telling_until_its_end() -> None:
    rule = rule_of(ABOVE_5)
    mutes = NO_MUTES._replace(silenced=[Silenced(None, BEGIN_S + 2 * MINUTE_S)])
    looked = run(rule, [6, 6, 6, 6], mutes=mutes)
    assert verdicts(looked) == ["mute_silenced", "mute_silenced", "fire", "hold_firing"]
    assert [[step.what for step in one.steps] for one in looked] == [[], [], ["opened"], []]


def test_what_was_silenced_all_along_ends_untold() -> None:
    mutes = NO_MUTES._replace(silenced=[Silenced(None, BEGIN_S + 99 * MINUTE_S)])
    looked = run(rule_of(ABOVE_5), [6, 3], mutes=mutes)
    assert verdicts(looked) == ["mute_silenced", "resolve"]
    assert not any(one.steps for one in looked)


def test_what_was_told_is_told_to_its_end_also_under_a_silence() -> None:
    rule = rule_of(ABOVE_5)
    first = run(rule, [6])[-1].held
    mutes = NO_MUTES._replace(silenced=[Silenced(None, BEGIN_S + 99 * MINUTE_S)])
    (looked,) = run(rule, [3], mutes=mutes, held=first)
    assert [step.what for step in looked.steps] == ["ended"]


@pytest.mark.parametrize(
    ("muted", "area", "expected"),
    [
        pytest.param("01", "0101", "mute_silenced", id="an area above"),
        pytest.param("0101", "0101", "mute_silenced", id="the area itself"),
        pytest.param("0102", "0101", "fire", id="a neighbour"),
        pytest.param("0101", "01", "fire", id="an area below"),
    ],
)
def test_silence_of_an_area(muted: str, area: str, expected: str) -> None:
    mutes = NO_MUTES._replace(silenced=[Silenced(AreaId(muted), BEGIN_S + MINUTE_S)])
    assert verdicts(run(rule_of(ABOVE_5), [6], mutes=mutes, series=Series(AreaId(area), ""))) == [expected]
    firing = NO_MUTES._replace(inhibiting=[Firing(AreaId(muted), BEGIN_S, None)])
    wanted = expected.replace("silenced", "inhibited")
    assert verdicts(run(rule_of(ABOVE_5), [6], mutes=firing, series=Series(AreaId(area), ""))) == [wanted]


def test_inhibition_is_as_long_as_the_other_fires() -> None:
    firing = Firing(AreaId("00"), BEGIN_S + MINUTE_S, BEGIN_S + 3 * MINUTE_S)
    looked = run(rule_of(ABOVE_5), [3, 6, 6, 6], mutes=NO_MUTES._replace(inhibiting=[firing]))
    assert verdicts(looked) == ["quiet", "mute_inhibited", "mute_inhibited", "fire"]


GROUPS = {
    "each": ('group_by = ["area", "by"]', {"0101/a", "0101/b", "0102/a"}),
    "area": ('group_by = ["area"]', {"0101", "0102"}),
    "by": ('group_by = ["by"]', {"00/a", "00/b"}),
    "all": ("group_by = []", {"00"}),
}


@pytest.mark.parametrize("name", GROUPS)
def test_groups(name: str) -> None:
    more, expected = GROUPS[name]
    rule = rule_of(ABOVE_5, more)
    some = [Series(AreaId("0101"), "a"), Series(AreaId("0101"), "b"), Series(AreaId("0102"), "a")]
    samples = {one: {BEGIN_S: Sample(6.0, 1)} for one in some}
    looked = look(rule, BEGIN_S, readings_at(rule, BEGIN_S, samples, NOTHING_HELD)[0], NOTHING_HELD, NO_MUTES)
    assert {step.alert.group for step in looked.steps} == expected
    assert {one for step in looked.steps for one in step.alert.members} == {*some}


def test_a_group_opens_once_changes_and_ends_with_its_last_member() -> None:
    rule = rule_of(ABOVE_5, 'group_by = ["area"]')
    a, b = Series(AreaId("0101"), "a"), Series(AreaId("0101"), "b")
    held, whats, ids = NOTHING_HELD, list[list[str]](), set[str]()
    for number, (of_a, of_b) in enumerate([(6, 3), (6, 6), (6, 6), (3, 6), (3, 3)]):
        step_s = BEGIN_S + MINUTE_S * number
        samples = {a: {step_s: Sample(of_a, 1)}, b: {step_s: Sample(of_b, 1)}}
        looked = look(rule, step_s, readings_at(rule, step_s, samples, held)[0], held, NO_MUTES)
        held = looked.held
        whats.append([step.what for step in looked.steps])
        ids |= {subject_of(rule.id, step.alert) for step in looked.steps}
    assert whats == [["opened"], ["updated"], [], ["updated"], ["ended"]]
    assert len(ids) == 1


def test_series_that_are_held_come_before_the_bound() -> None:
    some = [Series(AreaId("0101"), str(number)) for number in range(5)]
    held = run(rule_of(ABOVE_5), [6], series=some[4])[-1].held
    samples = {one: {BEGIN_S: Sample(6.0, 1)} for one in some[:4]}
    readings, left_out = readings_at(rule_of(ABOVE_5), BEGIN_S, samples, held, series_max=3)
    assert ([*readings], left_out) == ([some[4], some[0], some[1]], 2)


def test_a_series_is_there_when_something_came_of_it() -> None:
    rule = rule_of("change = { above = 5, steps = 2 }")
    gone = {BEGIN_S + MINUTE_S * at: Sample(0.0, 9, is_there=at == 0) for at in range(5)}
    steps = [BEGIN_S + MINUTE_S * at for at in range(5)]
    there = [bool(readings_at(rule, step_s, {ONE: gone}, NOTHING_HELD)[0]) for step_s in steps]
    # At its own step, and at the one that is measured against it.
    assert there == [True, False, True, False, False]
    held = run(rule_of(ABOVE_5), [6])[-1].held
    assert [*readings_at(rule, steps[4], {ONE: gone}, held)[0]] == [ONE]


def test_long_names_of_groups_stay_apart() -> None:
    rule = rule_of(ABOVE_5)
    names = {group_of(rule, Series(AreaId("0101"), "x" * 500 + end)) for end in ("a", "b")}
    assert len(names) == 2
    assert max(map(len, names)) <= 120


# ── What is told ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_alert_as_events() -> None:
    site = site_of(
        '[[rule]]\nid = "r"\nnames = { en = "Slow" }\ncategory = "it"\nkpi = "response"\nby = "service"\n'
        'severity = "critical"\nevery = "minute"\nthreshold = { above = 5 }\n'
        'titles = { en = "{by} in {area}: {kpi} {value} {unit}, limit {limit}" }'
    )
    rule = site.alerts[0]
    opened, ended = (event_of(site, rule, step) for one in run(rule, [6.5, 3]) for step in one.steps)
    assert opened.data.title == "web in Test province: Response time 6.5 s, limit 5"
    assert (opened.data.state, ended.data.state) == ("firing", "resolved")
    assert (opened.data.severity, opened.data.category, opened.data.kpi) == ("critical", "it", "response")
    assert (opened.data.value, opened.data.limit, ended.data.value) == (6.5, 5.0, 3.0)
    assert opened.subject == ended.subject
    assert opened.id != ended.id
    assert (opened.area, opened.area_list) == ("00", "test-2025")
    gone = withdrawn_event(opened, BEGIN_S + 600, "en")
    assert (gone.subject, gone.data.state) == (opened.subject, "resolved")
    assert gone.id not in {opened.id, ended.id}


def test_many_members_are_not_all_named() -> None:
    rule = rule_of(ABOVE_5, "group_by = []")
    samples = {Series(AreaId("0101"), f"s{at:02}"): {BEGIN_S: Sample(6.0, 1)} for at in range(25)}
    looked = look(rule, BEGIN_S, readings_at(rule, BEGIN_S, samples, NOTHING_HELD)[0], NOTHING_HELD, NO_MUTES)
    lines = (event_of(SITE, rule, looked.steps[0]).data.text or "").splitlines()
    assert len(lines) == 21
    assert lines[0] == "Commune One · s00: 6 (5)"
    assert lines[-1] == "… and 5 more"


# ── Laws ───────────────────────────────────────────────────────────────────────────────────────────────────────────

VALUES = st.lists(st.none() | st.floats(0, 10), max_size=40)
SECONDS = st.sampled_from([0, 60, 120, 300])


@given(start=st.sampled_from([3.0, 6.0]), band=st.lists(st.floats(4.000001, 5.0), max_size=30))
def test_nothing_flaps_within_the_band(start: float, band: list[float]) -> None:
    looked = run(rule_of(ABOVE_5), [start, *band])
    assert all(not one.steps for one in looked[1:])
    assert len({bool(one.held.series) for one in looked}) == 1


@given(values=VALUES, hold_s=SECONDS, clear_s=SECONDS, cut=st.integers(0, 40), data=st.data())
def test_verdicts_do_not_depend_on_how_steps_are_cut(
    values: list[float | None], hold_s: int, clear_s: int, cut: int, data: Any
) -> None:
    rule = rule_of(ABOVE_5, f"hold_s = {hold_s}\nclear_s = {clear_s}\nunknown_s = 180")
    silenced = [Silenced(None, BEGIN_S + MINUTE_S * data.draw(st.integers(0, 40)))]
    mutes = NO_MUTES._replace(silenced=silenced)
    whole = run(rule, values, mutes=mutes)
    first = run(rule, values[:cut], mutes=mutes)
    held = first[-1].held if first else NOTHING_HELD
    samples = {BEGIN_S + MINUTE_S * number: Sample(value, 1) for number, value in enumerate(values)}
    rest: list[Looked] = []
    for step_s in list(samples)[cut:]:
        rest.append(look(rule, step_s, readings_at(rule, step_s, {ONE: samples}, held)[0], held, mutes))
        held = rest[-1].held
    assert [*first, *rest] == whole


@given(values=VALUES, hold_s=SECONDS, clear_s=SECONDS)
def test_holds_are_kept(values: list[float | None], hold_s: int, clear_s: int) -> None:
    looked = run(rule_of(ABOVE_5, f"hold_s = {hold_s}\nclear_s = {clear_s}"), values)
    for number, one in enumerate(looked):
        if one.judged[0].verdict is Verdict.FIRE:
            assert all((value or 0) > 5 for value in values[number - hold_s // 60 : number + 1])
        if one.judged[0].verdict is Verdict.RESOLVE:
            assert all(value is not None and value <= 4 for value in values[number - clear_s // 60 : number + 1])


@given(values=VALUES, hold_s=SECONDS, clear_s=SECONDS)
def test_what_opens_ends_and_firing_is_always_told(values: list[float | None], hold_s: int, clear_s: int) -> None:
    looked = run(rule_of(ABOVE_5, f"hold_s = {hold_s}\nclear_s = {clear_s}\nunknown_s = 120"), values)
    whats = [step.what for one in looked for step in one.steps]
    assert whats == [("opened", "ended")[number % 2] for number in range(len(whats))]
    for one in looked:
        fires = any(standing.phase in FIRES for standing in one.held.series.values())
        assert fires is bool(one.held.alerts)
    ids = [step.at_s for one in looked for step in one.steps]
    assert all(earlier < later for earlier, later in pairwise(ids))
