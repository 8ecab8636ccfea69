"""Is a resend within the horizon seen, and is what is remembered a function of the log alone?"""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.batch import Arrival
from streams.core.dedupe import GENERATION_MS, HORIZON_MS, SeenIds
from tests.streams.world import LOGGED_MS, arrival, raw

MINUTE_MS = 60_000
RAW = {number: raw(id=str(number)) for number in range(12)}


def at(minute: float, number: int) -> Arrival:
    """Event `number`, logged at a minute."""
    return arrival(RAW[number], LOGGED_MS + int(minute * MINUTE_MS))


def ids(arrivals: Sequence[Arrival]) -> list[int]:
    """Which events these are."""
    return [int(one.event.id) for one in arrivals]


def pass_on(seen: SeenIds, arrivals: Sequence[Arrival]) -> list[int]:
    """What a lane does with a batch: counts what is fresh, and remembers all of it once it is committed."""
    fresh = seen.fresh(arrivals)
    seen.remember(arrivals)
    return ids(fresh)


# Steps of up to three generations in the log's time, and an event out of a few.
logs = st.lists(st.tuples(st.integers(0, 3 * GENERATION_MS), st.sampled_from(sorted(RAW))), max_size=40).map(
    lambda steps: [
        arrival(RAW[number], LOGGED_MS + sum(step for step, _ in steps[: index + 1]))
        for index, (_, number) in enumerate(steps)
    ]
)


@given(logs)
def test_a_batch_that_comes_twice_is_fresh_once(log: list[Arrival]) -> None:
    assert ids(SeenIds().fresh([*log, *log])) == ids(SeenIds().fresh(log))


@given(logs)
def test_what_is_remembered_is_not_fresh(log: list[Arrival]) -> None:
    seen = SeenIds(horizon_ms=10**9, generation_ms=GENERATION_MS)
    seen.remember(log)
    assert seen.fresh(log) == []


@given(logs)
def test_the_first_of_several_is_the_fresh_one(log: list[Arrival]) -> None:
    first: dict[int, Arrival] = {}
    for one in log:
        first.setdefault(int(one.event.id), one)
    assert list(SeenIds().fresh(log)) == list(first.values())


@given(logs)
def test_asking_remembers_nothing(log: list[Arrival]) -> None:
    seen = SeenIds()
    assert list(seen.fresh(log)) == list(seen.fresh(log))
    assert len(seen) == 0


@given(logs, st.integers(0, 40), st.data())
def test_who_takes_over_decides_the_same(log: list[Arrival], taken_at: int, data: st.DataObject) -> None:
    counted, rest = log[:taken_at], log[taken_at:]
    stayed = SeenIds()
    while counted:
        size = data.draw(st.integers(1, len(counted)))
        pass_on(stayed, counted[:size])
        counted = counted[size:]
    counted = log[:taken_at]
    took_over = SeenIds()
    tail = [one for one in counted if one.logged_ms >= counted[-1].logged_ms - HORIZON_MS - GENERATION_MS]
    while tail:
        size = data.draw(st.integers(1, len(tail)))
        took_over.remember(tail[:size])
        tail = tail[size:]
    assert len(took_over) == len(stayed)
    for one in rest:
        assert pass_on(took_over, [one]) == pass_on(stayed, [one])


@given(logs, st.data())
def test_no_resend_within_the_horizon_counts_however_batches_are_cut(log: list[Arrival], data: st.DataObject) -> None:
    seen = SeenIds()
    last_ms: dict[int, int] = {}
    begin = 0
    while begin < len(log):
        end = data.draw(st.integers(begin + 1, len(log)))
        batch = log[begin:end]
        fresh = {id(one) for one in seen.fresh(batch)}
        for one in batch:
            number = int(one.event.id)
            if id(one) in fresh and number in last_ms:
                # Ids are forgotten by the generation, so up to one generation before the horizon.
                assert one.logged_ms - last_ms[number] > HORIZON_MS
            assert id(one) in fresh or number in last_ms
            last_ms[number] = one.logged_ms
        seen.remember(batch)
        begin = end


@pytest.mark.parametrize(
    ("minute", "fresh"),
    [
        pytest.param(0, False, id="at once"),
        pytest.param(24.9, False, id="a little later"),
        pytest.param(30, False, id="at the horizon"),
        pytest.param(34.9, False, id="as long as its generation is remembered"),
        pytest.param(35, True, id="forgotten"),
        pytest.param(500, True, id="long forgotten"),
    ],
)
def test_the_horizon(minute: float, fresh: bool) -> None:
    seen = SeenIds()
    begin = -LOGGED_MS % GENERATION_MS / MINUTE_MS  # where a generation begins
    pass_on(seen, [at(begin, 1)])
    pass_on(seen, [at(begin + minute, 2)])
    assert pass_on(seen, [at(begin + minute, 1)]) == ([1] if fresh else [])


def test_whoever_sends_again_and_again_is_known_for_as_long_as_it_goes_on() -> None:
    seen = SeenIds()
    assert [pass_on(seen, [at(minute, 1)]) for minute in range(0, 200, 20)] == [[1]] + [[]] * 9


def test_a_sender_that_repeats_one_event_costs_no_memory() -> None:
    seen = SeenIds()
    pass_on(seen, [at(0, 1), at(0, 2)])
    for _ in range(100):
        pass_on(seen, [at(1, 1)])
    assert len(seen) == 2
    assert sum(len(ids_) for ids_ in seen._generations.values()) <= 4


def test_the_oldest_can_be_forgotten_early() -> None:
    seen = SeenIds()
    begin = -LOGGED_MS % GENERATION_MS / MINUTE_MS
    pass_on(seen, [at(begin, 1), at(begin, 2)])
    pass_on(seen, [at(begin + 6, 2), at(begin + 6, 3)])
    assert len(seen) == 3
    assert seen.forget_oldest() == 1  # 2 was seen again since
    assert ids(seen.fresh([at(begin + 7, number) for number in (1, 2, 3)])) == [1]
    assert seen.forget_oldest() == 2
    assert seen.forget_oldest() == 0
    assert len(seen) == 0


@pytest.mark.parametrize("into_generation", [pytest.param(0, id="at its start"), pytest.param(4.99, id="at its end")])
def test_the_horizon_is_kept_wherever_in_a_generation_an_event_stands(into_generation: float) -> None:
    seen = SeenIds()
    begin = -LOGGED_MS % GENERATION_MS / MINUTE_MS + into_generation
    pass_on(seen, [at(begin, 1)])
    pass_on(seen, [at(begin + HORIZON_MS / MINUTE_MS, 2)])
    assert pass_on(seen, [at(begin + HORIZON_MS / MINUTE_MS, 1)]) == []
