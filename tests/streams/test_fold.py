"""Do the KPIs come out the same, however events are ordered and cut into batches?"""

import random
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.kpi import Measure, Partial, value_of
from schemas.window import TIERS, Tier
from streams.core.batch import Arrival
from streams.core.fold import Fold, Folded, touched_json
from tests.streams import naive
from tests.streams.world import LOGGED_MS, SITE, arrival, arrivals_of, raw, some_events

FOLD = Fold(SITE.kpis, SITE.areas)
POOL = arrivals_of(some_events(400, seed=11))

RECEIVED = "ioc.feedback.received.v1"
CLOSED = "ioc.feedback.closed.v1"
METRIC = "ioc.service.metric.v1"

subsets = st.lists(st.sampled_from(POOL), max_size=40)


def cells(folded: Iterable[Folded]) -> dict[Any, list[Any]]:
    """Batches added up as the database does."""
    added: dict[Any, list[Any]] = {}
    for one in folded:
        for tier, found in one.cells.items():
            for key, (n, total, low, high) in found.items():
                kept = added.setdefault((tier, *key), [0, 0.0, low, high])
                added[tier, *key] = [kept[0] + n, kept[1] + total, min(kept[2], low), max(kept[3], high)]
    return added


def sums(folded: Folded) -> naive.Sums:
    """Events and weights of each bucket, whatever the sketch bin."""
    found: naive.Sums = {}
    for (tier, kpi, area, dim, _bin, start_s), (n, total, _, _) in cells([folded]).items():
        key = (tier.value, kpi, area, dim, start_s)
        before = found.get(key, (0, 0.0))
        found[key] = (before[0] + n, before[1] + total)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_the_fold_counts_as_one_would_by_hand(seed: int) -> None:
    arrivals = arrivals_of(some_events(300, seed))
    assert sums(FOLD(arrivals)) == naive.sums([a.event for a in arrivals], SITE)


@given(subsets, st.randoms(use_true_random=False))
def test_order_does_not_matter(arrivals: list[Arrival], rng: random.Random) -> None:
    shuffled = arrivals.copy()
    rng.shuffle(shuffled)
    assert cells([FOLD(shuffled)]) == cells([FOLD(arrivals)])
    assert FOLD(shuffled).touched == FOLD(arrivals).touched


@given(subsets, st.data())
def test_batches_add_up_to_the_whole(arrivals: list[Arrival], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(arrivals)), max_size=5)))
    bounds = [0, *cuts, len(arrivals)]
    parts = [FOLD(arrivals[begin:end]) for begin, end in pairwise(bounds)]
    assert cells(parts) == cells([FOLD(arrivals)])


@given(subsets)
@settings(max_examples=50)
def test_no_tier_and_no_ancestor_loses_anything(arrivals: list[Arrival]) -> None:
    folded = FOLD(arrivals)
    for kpi in SITE.kpis.kpis:
        at_root = {
            tier: [
                sum(cell[i] for key, cell in folded.cells[tier].items() if key[:2] == (kpi.id, "00")) for i in (0, 1)
            ]
            for tier in TIERS
        }
        assert at_root[Tier.MINUTE] == at_root[Tier.HOUR] == at_root[Tier.DAY]


def one(type_: str = RECEIVED, **given_: Any) -> Folded:
    """The fold of one event."""
    return FOLD([arrival(raw(type_, **given_))])


@pytest.mark.parametrize(
    ("area", "counted_in"),
    [
        pytest.param("0101", {"0101", "01", "00"}, id="a commune counts for district and province"),
        pytest.param("01", {"01", "00"}, id="a district counts for itself and the province"),
        pytest.param("00", {"00"}, id="the root counts for itself"),
    ],
)
def test_ancestors(area: str, counted_in: set[str]) -> None:
    assert {key[1] for key in one(area=area).cells[Tier.DAY]} == counted_in
    assert one(area=area).touched == {("received", 1_751_331_600): counted_in}


@pytest.mark.parametrize(
    "flag", [{"exercise": True}, {"supersedes": "0"}, {"withdraws": "0"}], ids=["drill", "correction", "withdrawal"]
)
def test_what_is_no_new_event_is_heard_but_not_counted(flag: dict[str, Any]) -> None:
    folded = one(**flag)
    assert all(not found for found in folded.cells.values())
    assert folded.touched == {}
    assert [(seen.source, seen.n) for seen in folded.sources] == [("s", 1)]


@pytest.mark.parametrize(
    ("closed", "due", "in_time"),
    [
        pytest.param("2025-07-01T08:00:00+07:00", "2025-07-01T08:00:01+07:00", 1.0, id="before"),
        pytest.param("2025-07-01T08:00:00+07:00", "2025-07-01T01:00:00Z", 1.0, id="at the very moment, another zone"),
        pytest.param("2025-07-01T08:00:00.001+07:00", "2025-07-01T08:00:00+07:00", 0.0, id="a millisecond after"),
        pytest.param("2025-07-01T08:00:00+07:00", "2025-06-30T08:00:00+07:00", 0.0, id="a day after"),
    ],
)
def test_in_time(closed: str, due: str, in_time: float) -> None:
    (cell,) = [c for k, c in one(CLOSED, time=closed, data={"due_at": due}).cells[Tier.DAY].items() if k[1] == "00"]
    assert cell == [1, in_time, in_time, in_time]


def test_without_a_target_nothing_is_in_time_or_late() -> None:
    assert one(CLOSED).cells[Tier.DAY] == {}


def test_a_dimension_that_is_absent_is_the_empty_one() -> None:
    due = {"due_at": "2025-07-01T08:00:00Z"}
    assert {key[2] for key in one(CLOSED, data=due).cells[Tier.DAY]} == {""}
    assert {key[2] for key in one(CLOSED, data=due | {"agency": "Sở Xây dựng"}).cells[Tier.DAY]} == {"Sở Xây dựng"}


def test_a_distribution_keeps_its_extremes_and_percentiles() -> None:
    values = [n / 4 for n in range(-40, 400)]
    folded = FOLD([arrival(raw(METRIC, id=str(v), data={"value": v})) for v in values])
    rows = [
        Partial(bin=key[4 - 1], n=n, total=total, low=low, high=high)
        for key, (n, total, low, high) in folded.cells[Tier.DAY].items()
        if key[1] == "00"
    ]
    read = value_of(Measure.DISTRIBUTION, rows)
    assert (read.n, read.low, read.high) == (440, -10.0, 99.75)
    assert read.value == sum(values) / 440
    assert read.p95 is not None
    assert abs(read.p95 - sorted(values)[int(0.95 * 439)]) < 1.0


def test_who_was_heard() -> None:
    early, late = "2025-07-01T08:00:00+07:00", "2025-07-01T09:00:00+07:00"
    arrivals = [
        arrival(raw(source="a", id="1", time=late), LOGGED_MS),
        arrival(raw(source="b", id="1", time=early), LOGGED_MS + 1),
        arrival(raw(source="a", id="2", time=early), LOGGED_MS + 2),
    ]
    heard = {seen.source: (seen.n, seen.time_s, seen.received_s) for seen in FOLD(arrivals).sources}
    assert heard == {
        "a": (2, 1_751_335_200.0, (LOGGED_MS + 2) / 1000),
        "b": (1, 1_751_331_600.0, (LOGGED_MS + 1) / 1000),
    }


def test_the_change_row_is_the_same_for_the_same_batch() -> None:
    def written(arrivals: Sequence[Arrival]) -> Any:
        return msgspec.json.decode(touched_json([FOLD(arrivals)], 2))

    both = [arrival(raw(RECEIVED, id="1", area="0101")), arrival(raw(RECEIVED, id="2", area="0102", source="r"))]
    assert written(both) == written(both[::-1])
    assert written(both) == {
        "kpis": [["received", 1_751_331_600, ["00", "01", "0101", "0102"]]],
        "events": 2,
        "sources": ["r", "s"],
    }


def test_nothing_gives_nothing() -> None:
    folded = FOLD([])
    assert cells([folded]) == {}
    assert folded.sources == []
