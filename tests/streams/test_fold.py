"""Do the KPIs come out the same, however events are ordered and cut into batches?"""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.kpi import MICRO, Measure
from schemas.period import parse_period
from schemas.site import parse_site
from schemas.sketch import ALPHA, quantile
from schemas.window import TIERS, Tier
from streams.core.batch import Arrival
from streams.core.fold import Fold, Folded, added_up, sources_seen, touched_json
from streams.versions import Version, compiled
from tests.streams import held, naive
from tests.streams.memory import Rows
from tests.streams.world import (
    LOGGED_MS,
    PACK,
    SITE,
    TYPES,
    VERSION,
    Logged,
    arrival,
    arrivals_of,
    moments_of,
    raw,
    records_of,
    some_events,
    some_log,
)

FOLD = Fold(SITE.kpis.bases, SITE.areas)

RECEIVED = "ioc.feedback.received.v1"
CLOSED = "ioc.feedback.closed.v1"
METRIC = "ioc.service.metric.v1"
OBSERVED = "ioc.indicator.observed.v1"


def that_count(arrivals: Sequence[Arrival]) -> list[Arrival]:
    """The fold is given nothing else."""
    counted = {(event.source, event.id) for event in naive.countable(one.event for one in arrivals)}
    return [one for one in arrivals if (one.event.source, one.event.id) in counted]


POOL = that_count(arrivals_of(some_events(400, seed=11)))
subsets = st.lists(st.sampled_from(POOL), max_size=40)


def by_hand(arrivals: Sequence[Arrival]) -> held.Buckets:
    """What these add."""
    return held.of_amounts(naive.amounts([one.event for one in arrivals], SITE))


@pytest.mark.parametrize("seed", range(3))
def test_the_fold_counts_as_one_would_by_hand(seed: int) -> None:
    arrivals = that_count(arrivals_of(some_events(300, seed)))
    counted = by_hand(arrivals)
    assert {bucket[1] for bucket in counted} == {base.id for base in SITE.kpis.bases}
    assert held.of_folds([FOLD(arrivals)]) == counted
    # What has closed by now is told apart, and neither lost nor doubled.
    assert held.of_folds([VERSION.fold(arrivals)]) == counted


@given(subsets, st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_order_does_not_matter(arrivals: list[Arrival], rng: random.Random) -> None:
    shuffled = arrivals.copy()
    rng.shuffle(shuffled)
    assert held.of_folds([FOLD(shuffled)]) == held.of_folds([FOLD(arrivals)])
    assert FOLD(shuffled).touched == FOLD(arrivals).touched


@given(subsets, st.data())
@settings(max_examples=60)
def test_batches_add_up_to_the_whole(arrivals: list[Arrival], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(arrivals)), max_size=5)))
    parts = [FOLD(arrivals[begin:end]) for begin, end in pairwise([0, *cuts, len(arrivals)])]
    whole = FOLD(arrivals)
    assert held.of_folds(parts) == held.of_folds([whole])
    assert added_up(parts) == whole


@given(subsets)
@settings(max_examples=50)
def test_no_tier_and_no_ancestor_loses_anything(arrivals: list[Arrival]) -> None:
    buckets = held.of_folds([FOLD(arrivals)])
    for base in SITE.kpis.bases:
        if base.measure in (Measure.LATEST, Measure.DISTINCT):
            continue  # of two that are alike one is enough
        by_tier: list[tuple[int, int]] = []
        for tier in TIERS:
            at_root = [one for bucket, one in buckets.items() if bucket[:3] == (tier.value, base.id, "00")]
            by_tier.append((sum(one.n for one in at_root), sum(one.total for one in at_root)))
        assert by_tier[0] == by_tier[1] == by_tier[2]


@given(subsets, st.integers(0, 40))
@settings(max_examples=60)
def test_what_is_taken_away_leaves_the_rest(arrivals: list[Arrival], number: int) -> None:
    gone, rest = arrivals[:number], arrivals[number:]
    taken, anew = FOLD.retract(gone)
    left = held.of_folds([FOLD(arrivals), taken])
    expected = held.of_folds([FOLD(rest)])
    unknown = {
        (tier.value, kpi, area, dim, start_s) for tier, keys in anew.items() for kpi, area, dim, _, start_s in keys
    }
    measures = {base.id: base.measure for base in SITE.kpis.bases}
    assert {measures[bucket[1]] for bucket in unknown} <= {
        Measure.MIN,
        Measure.MAX,
        Measure.LATEST,
        Measure.DISTINCT,
    }
    for bucket in left.keys() | expected.keys():
        assert bucket in unknown or left.get(bucket) == expected.get(bucket)
    assert unknown <= held.of_folds([FOLD(gone)]).keys()


IMPATIENT = compiled(
    0, parse_site(PACK | {"site.toml": PACK["site.toml"] + "\nclosing = { grace_s = 60, idle_s = 100 }"})
)
"""By whole minutes neither in its grace nor in when it stops to wait."""


def lane(log: Sequence[Logged], version: Version = VERSION) -> list[Arrival]:
    """A partition's arrivals, each with the watermark that it met."""
    reading = version.reader.read("t", 0, records_of(log))
    assert not reading.dead
    return reading.arrivals


def plain_log(count: int, seed: int) -> list[Logged]:
    """One on which nothing corrects anything. Of indicators no two reports are of one period."""
    corrects = {"supersedes", "withdraws"}
    types = [type_ for type_ in TYPES if type_ != OBSERVED]
    found: dict[object, Logged] = {}
    for one in some_log(count, seed, types):
        event = msgspec.json.decode(one.value)
        if not corrects & event.keys() and not event.get("exercise"):
            found.setdefault(event["id"], one)
    return list(found.values())


@given(st.integers(0, 10**6), st.sampled_from([VERSION, IMPATIENT]), st.data())
@settings(max_examples=40)
def test_what_buckets_close_with_does_not_depend_on_where_batches_end(
    seed: int, version: Version, data: st.DataObject
) -> None:
    log = plain_log(40, seed)
    arrivals = lane(log, version)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(arrivals)), max_size=6)))
    rows = Rows()
    for begin, end in pairwise([0, *cuts, len(arrivals)]):
        rows.add(version.fold(arrivals[begin:end]), shard=0)
    assert held.of_cells(rows.cells) == by_hand(arrivals)
    assert held.of_cells(rows.first) == held.of_amounts(naive.first_reported(moments_of(log), version.site))


def one(type_: str = RECEIVED, **given_: Any) -> Folded:
    """The fold of one event."""
    return FOLD([arrival(raw(type_, **given_))])


def days(folded: Folded, kpi: str, area: str = "00") -> dict[str, list[Any]]:
    """The day cells of a KPI in an area, by dimension value."""
    parts = [cells for part in folded.parts for cells in (part[Tier.DAY],)]
    return {key[2]: cell for cells in parts for key, cell in cells.items() if key[:2] == (kpi, area)}


@pytest.mark.parametrize(
    ("area", "counted_in"),
    [
        pytest.param("0101", {"0101", "01", "00"}, id="a commune counts for district and province"),
        pytest.param("0202", {"howe", "02", "00"}, id="under its id, not under its code"),
        pytest.param("01", {"01", "00"}, id="a district counts for itself and the province"),
        pytest.param("00", {"00"}, id="the root counts for itself"),
    ],
)
def test_ancestors(area: str, counted_in: set[str]) -> None:
    assert {key[1] for key in one(area=area).cells[Tier.DAY]} == counted_in
    assert one(area=area).touched == {("received", 1_751_331_600): counted_in}


@pytest.mark.parametrize(
    ("closed", "due", "in_time"),
    [
        pytest.param("2025-07-01T08:00:00+07:00", "2025-07-01T08:00:01+07:00", 1, id="before"),
        pytest.param("2025-07-01T08:00:00+07:00", "2025-07-01T01:00:00Z", 1, id="at the very moment, another zone"),
        pytest.param("2025-07-01T08:00:00.001+07:00", "2025-07-01T08:00:00+07:00", 0, id="a millisecond after"),
        pytest.param("2025-07-01T08:00:00+07:00", "2025-06-30T08:00:00+07:00", 0, id="a day after"),
    ],
)
def test_in_time(closed: str, due: str, in_time: int) -> None:
    found = days(one(CLOSED, time=closed, data={"due_at": due}), "on_time")
    assert found == {"": [1, in_time * MICRO, None, None, None]}


@pytest.mark.parametrize(
    ("opened", "within"),
    [
        pytest.param("2025-07-01T07:00:00+07:00", 1, id="just within"),
        pytest.param("2025-07-01T06:59:59.999+07:00", 0, id="a millisecond too long"),
        pytest.param("2025-07-01T09:00:00+07:00", 1, id="closed before it was opened"),
    ],
)
def test_within(opened: str, within: int) -> None:
    found = days(one(CLOSED, data={"opened_at": opened}), "within_an_hour")
    assert found == {"": [1, within * MICRO, None, None, None]}


def test_without_a_target_nothing_is_in_time_or_late() -> None:
    assert one(CLOSED).cells[Tier.DAY] == {}


def test_a_dimension_that_is_absent_is_the_empty_one() -> None:
    folded = FOLD(
        [
            arrival(raw(CLOSED, id=str(at), data={"opened_at": "2025-07-01T00:00:00Z", "category": "a", **agency}))
            for at, agency in enumerate([{}, {"agency": "Sở Xây dựng"}])
        ]
    )
    assert days(folded, "longest").keys() == {"", "Sở Xây dựng"}
    assert days(folded, "handling").keys() == {"a\x1f", "a\x1fSở Xây dựng"}


def test_a_distribution_keeps_its_percentiles() -> None:
    values = [n / 400 for n in range(401)]
    folded = FOLD([arrival(raw(id=str(value), data={"score": value})) for value in values])
    ((n, total, _, _, bins),) = days(folded, "scores").values()
    assert (n, total) == (401, sum(round(value * MICRO) for value in values))
    for q in (0.0, 0.5, 0.9, 1.0):
        assert quantile(bins.items(), q) == pytest.approx(q, rel=ALPHA)


def test_the_last_value_of_each_place_holds() -> None:
    early, late = "2025-07-01T07:00:00Z", "2025-07-01T08:00:00Z"
    given_ = [("0101", late, 1.0), ("0101", early, 9.0), ("0102", early, 5.0), ("0102", early, 7.0)]
    logged_ms = LOGGED_MS + 8 * 3_600_000
    folded = FOLD(
        [
            arrival(raw(METRIC, id=str(at), area=area, time=time, data={"value": value}), logged_ms)
            for at, (area, time, value) in enumerate(given_)
        ]
    )
    at = {early: 1_751_353_200.0, late: 1_751_356_800.0}
    assert days(folded, "load") == {
        "portal\x1f0101": [2, 1 * MICRO, None, at[late], None],
        # Of two that were true at once, the larger.
        "portal\x1f0102": [2, 7 * MICRO, None, at[early], None],
    }


@pytest.mark.parametrize(
    ("period", "day"),
    [
        pytest.param("2025", "2024-12-31T17:00:00", id="a year"),
        pytest.param("2025-Q2", "2025-03-31T17:00:00", id="a quarter"),
        pytest.param("2025-06", "2025-05-31T17:00:00", id="a month"),
        pytest.param("2025-06-30", "2025-06-29T17:00:00", id="a day"),
    ],
)
def test_an_observation_is_of_its_periods_first_day_by_the_areas_clock(period: str, day: str) -> None:
    pack = PACK | {
        "kpis.toml": PACK["kpis.toml"].replace('period = "month"', f'period = "{parse_period(period).grain}"')
    }
    folded = compiled(1, parse_site(pack)).fold([arrival(raw(OBSERVED, data={"period": period, "agency": "PWD"}))])
    assert [tier for tier in TIERS for part in folded.parts if part[tier]] == [Tier.DAY]
    start_s = int(epoch_s(day))
    heard_s = 1_751_331_600.0
    assert folded.reported[Tier.DAY] == {
        ("staff", area, "PWD\x1f0101", -(2**31), start_s): [1, 7 * MICRO, None, heard_s, None]
        for area in ("0101", "01", "00")
    }


@pytest.mark.parametrize("period", ["2025", "2025-Q1", "2025-01", "2025-01-01"])
def test_only_reports_of_one_length_count(period: str) -> None:
    """A year, its first quarter, month and day begin at one moment. None of them may take another's place."""
    folded = one(OBSERVED, data={"period": period})
    assert (folded.reported[Tier.DAY] == {}) is (period != "2025-01")


def epoch_s(text: str) -> float:
    """Seconds since the epoch of a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


REPORTS = """
[[kpi]]
id = "reports"
names = { en = "Reports of staff" }
unit = "1"
event = "ioc.indicator.observed.v1"
period = "month"
measure = "count"
"""


class TestClosing:
    """Minutes, hours and days close two minutes after their end, by the watermark that an event meets."""

    @pytest.mark.parametrize(
        ("time", "watermark", "late"),
        [
            pytest.param("08:00:59.999", "08:02:59.999", "", id="just before its minute closes"),
            pytest.param("08:00:00", "08:03:00", "minute", id="as its minute closes"),
            pytest.param("08:00:00", "09:01:59", "minute", id="just before its hour closes"),
            pytest.param("08:00:00", "09:02:00", "minute hour", id="as its hour closes"),
            pytest.param("23:00:00", "00:01:59", "minute", id="just before the day does"),
            pytest.param("23:00:00", "00:02:00", "minute hour day", id="as its day closes"),
        ],
    )
    def test_what_is_late(self, time: str, watermark: str, late: str) -> None:
        zone = "+07:00"
        at = f"2025-07-0{1 if watermark > time else 2}T{watermark}{zone}"
        found = msgspec.structs.replace(
            arrival(raw(RECEIVED, time=f"2025-07-01T{time}{zone}"), LOGGED_MS + 24 * 3_600_000),
            watermark_s=datetime.fromisoformat(at).timestamp(),
        )
        folded = VERSION.fold([found])
        assert " ".join(tier.value for tier in TIERS if folded.late[tier]) == late
        assert " ".join(tier.value for tier in TIERS if not folded.cells[tier]) == late

    def test_an_area_closes_by_its_own_clock(self) -> None:
        # The day ends at 13:30 in Lord Howe, at 17:00 in Hanoi and at 18:30 in Kolkata, all in UTC.
        found = msgspec.structs.replace(
            arrival(raw(RECEIVED, area="0202", time="2025-07-01T13:00:00Z"), LOGGED_MS + 24 * 3_600_000),
            watermark_s=epoch_s("2025-07-01T14:00:00"),
        )
        folded = VERSION.fold([found])
        assert {key[1] for key in folded.late[Tier.DAY]} == {"howe"}
        assert {key[1] for key in folded.cells[Tier.DAY]} == {"02", "00"}

    def test_what_is_retracted_late_is_late(self) -> None:
        found = msgspec.structs.replace(
            arrival(raw(CLOSED, data={"opened_at": "2025-07-01T00:00:00Z"})), watermark_s=epoch_s("2025-07-01T01:03")
        )
        taken, anew = VERSION.fold.retract([found])
        assert {key[0] for key in taken.late[Tier.MINUTE]} == {"within_an_hour", "handling"}
        assert {key[0] for key in anew[Tier.MINUTE]} == {"longest", "shortest"}
        assert taken.cells[Tier.MINUTE] == {}

    def test_what_counts_reports_is_not_corrected_by_the_next_one(self) -> None:
        pack = PACK | {"kpis.toml": PACK["kpis.toml"] + REPORTS}
        fold = compiled(1, parse_site(pack)).fold
        (report,) = [arrival(raw(OBSERVED))]
        folded = fold([report])
        assert {key[0] for key in folded.reported[Tier.DAY]} == {"staff"}
        assert {key[0] for key in folded.cells[Tier.DAY]} == {"reports"}
        taken, anew = fold.retract([report])
        assert {key[0]: cell[:2] for key, cell in taken.cells[Tier.DAY].items()} == {"reports": [-1, 0]}
        assert {key[0] for key in anew[Tier.DAY]} == {"staff"}
        assert taken.reported == taken.late == {tier: {} for tier in TIERS}


def test_who_was_heard() -> None:
    early, late = "2025-07-01T08:00:00+07:00", "2025-07-01T09:00:00+07:00"
    arrivals = [
        arrival(raw(source="a", id="1", time=late), LOGGED_MS),
        arrival(raw(source="b", id="1", time=early), LOGGED_MS + 1),
        # A drill says nothing of whether the source under whose name it is played is there.
        arrival(raw(source="b", id="2", time=late, exercise=True), LOGGED_MS + 9),
        arrival(raw(source="d", id="1", time=early, exercise=True), LOGGED_MS + 9),
        arrival(raw(source="a", id="2", time=early), LOGGED_MS + 2),
        # What is reported of the past is heard now.
        arrival(raw(OBSERVED, source="c", time=early), LOGGED_MS + 3),
    ]
    heard = {seen.source: (seen.n, seen.time_s, seen.received_s) for seen in sources_seen(arrivals)}
    assert heard == {
        "a": (2, 1_751_335_200.0, (LOGGED_MS + 2) / 1000),
        "b": (1, 1_751_331_600.0, (LOGGED_MS + 1) / 1000),
        "c": (1, 1_751_331_600.0, (LOGGED_MS + 3) / 1000),
    }


def test_the_change_row_is_the_same_for_the_same_batch() -> None:
    def written(arrivals: Sequence[Arrival]) -> Any:
        return msgspec.json.decode(touched_json([FOLD(arrivals)], 2, [one.event.source for one in arrivals]))

    both = [arrival(raw(RECEIVED, id="1", area="0101")), arrival(raw(RECEIVED, id="2", area="0102", source="r"))]
    assert written(both) == written(both[::-1])
    assert written(both) == {
        "kpis": [["received", 1_751_331_600, ["00", "01", "0101", "0102"]]],
        "events": 2,
        "sources": ["r", "s"],
    }


def test_nothing_gives_nothing() -> None:
    folded = FOLD([])
    assert held.of_folds([folded]) == {}
    assert folded.touched == {}
    assert sources_seen([]) == []
