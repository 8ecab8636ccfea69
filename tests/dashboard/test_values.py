"""Is every kind of KPI read right, over any spans and areas, as it is now and as it was first reported?"""

import random
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from dashboard_api import values
from dashboard_api.closing import NOTHING_CLOSED, ClosedUntil, read_closing
from dashboard_api.reported import Reported
from dashboard_api.spans import Span, Step, last_spans, spans
from dashboard_api.values import own, read_values
from schemas.event import AreaId
from schemas.kpi import Base, Measure, Partial, Value
from streams.maintenance.across import put_together
from tests.dashboard.centre import Sample, Writer, redrawn_site, site, writer

HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
NOON_S = int(datetime(2026, 3, 29, 12, tzinfo=HANOI).timestamp())
DAY_S = 24 * 3600
SITE = site()
TODAY = spans(NOON_S, NOON_S + 1, Step.DAY, HANOI)[0]
ROOT, ONE, TWO, THREE = (AreaId(id_) for id_ in ("00", "01", "02", "03"))


@pytest.fixture
async def stream(tables: str) -> AsyncGenerator[Writer]:
    """A writer on an empty database, which is read by its connection, too."""
    async with writer(tables) as one:
        yield one


async def read(
    stream: Writer, kpis: list[str], areas: list[AreaId], over: list[Span], **options: Any
) -> dict[tuple[str, AreaId, str | None, int], Reported]:
    """What the database says, before and after what places said last was put together."""
    closed = await read_closing(stream.connection, stream.site)
    found = await read_values(stream.connection, stream.site, kpis, areas, over, closed=closed, **options)
    while await put_together(stream.connection, stream.site):
        pass
    await stream.connection.execute("UPDATE timer SET due_at = now()")
    assert await read_values(stream.connection, stream.site, kpis, areas, over, closed=closed, **options) == found
    return found


async def now(stream: Writer, kpi: str, area: AreaId = ROOT, span: Span = TODAY) -> Value:
    """One KPI's present value."""
    return (await read(stream, [kpi], [area], [span]))[kpi, area, None, 0].now


MEASURED = [
    Sample(kpi=kpi, area="01", time_s=NOON_S + 60 * minute, value=value)
    for kpi in ("response_ms", "response_mean", "response_sum", "response_min", "response_max")
    for minute, value in enumerate([10.0, 20.0, 90.0])
]


@pytest.mark.parametrize(
    ("kpi", "samples", "value"),
    [
        pytest.param(
            "feedback_received", [("01", 0, 1, "", ""), ("02", 5, 1, "", "")], {"value": 2.0, "n": 2}, id="count"
        ),
        pytest.param("response_sum", [], {"value": 120.0, "n": 3}, id="sum"),
        pytest.param("response_mean", [], {"value": 40.0, "n": 3}, id="mean"),
        pytest.param("response_min", [], {"value": 10.0, "n": 3}, id="min"),
        pytest.param("response_max", [], {"value": 90.0, "n": 3}, id="max"),
        pytest.param(
            "closed_in_time",
            [("01", 0, 1, "", ""), ("01", 1, 0, "", ""), ("02", 1, 0, "", ""), ("02", 2, 0, "", "")],
            {"value": 0.25, "n": 4, "numerator": 1.0, "denominator": 4.0},
            id="in time",
        ),
        pytest.param(
            "closed_within_day",
            [("01", 0, 1, "", "")],
            {"value": 1.0, "n": 1, "numerator": 1.0, "denominator": 1.0},
            id="within",
        ),
        pytest.param(
            "load",
            [("01", 0, 5, "a", ""), ("01", 9, 7, "a", ""), ("01", 3, 1, "b", ""), ("02", 1, 20, "a", "")],
            {"value": 28.0, "n": 3},
            id="latest of each place and dimension",
        ),
        pytest.param(
            "cameras_active",
            [("01", 0, 1, "", "a"), ("01", 0, 1, "", "b"), ("02", 300, 1, "", "a")],
            {"value": 2.0, "n": 2},
            id="distinct",
        ),
        pytest.param(
            "closed_in_time", [], {"value": None, "n": 0, "numerator": 0.0, "denominator": 0.0}, id="nothing"
        ),
    ],
)
async def test_each_measure_of_events(stream: Writer, kpi: str, samples: list[Any], value: dict[str, Any]) -> None:
    await stream.commit(
        [
            Sample(kpi=kpi, area=area, time_s=NOON_S + minute * 60, value=float(measured), dim=dim, what=what)
            for area, minute, measured, dim, what in samples
        ]
        + MEASURED
    )
    for step in (Step.DAY, Step.WEEK, Step.SIX_HOURS):
        [span] = spans(NOON_S, NOON_S + 1, step, HANOI)
        assert msgspec.to_builtins(await now(stream, kpi, span=span)) == value
    # Of minutes it comes out the same as of days.
    assert msgspec.to_builtins(await now(stream, kpi, span=Span(NOON_S - 60, NOON_S + 301 * 60))) == value


async def test_percentiles_of_a_range_are_of_all_its_values(stream: Writer) -> None:
    await stream.commit(MEASURED)
    found = await now(stream, "response_ms")
    assert found.p50 == pytest.approx(20, rel=0.01)
    assert found.p95 == pytest.approx(20, rel=0.01)
    assert found.value == found.p50


async def test_a_share_by_channel_is_of_all_channels(stream: Writer) -> None:
    await stream.commit(
        [
            Sample(kpi=kpi, area="01", time_s=NOON_S, dim=channel if kpi.endswith("numerator") else "")
            for channel in ("phone", "phone", "phone", "app")
            for kpi in ("channel_share/numerator", "channel_share/denominator")
        ]
    )
    assert SITE.kpis.dimensions_of("channel_share") == ("channel",)
    found = await read(stream, ["channel_share"], [ROOT, TWO], [TODAY], by="channel")
    assert {key: (one.now.value, one.now.denominator) for key, one in found.items()} == {
        ("channel_share", ROOT, "app", 0): (0.25, 4.0),
        ("channel_share", ROOT, "phone", 0): (0.75, 4.0),
    }
    only = await read(stream, ["channel_share"], [ROOT], [TODAY], where={"channel": "app"})
    assert only["channel_share", ROOT, None, 0].now.value == 0.25
    assert (await now(stream, "channel_share")).value == 1


async def test_dimensions_are_told_apart_and_filtered(stream: Writer) -> None:
    dims = ["road\x1fphone", "road\x1fapp", "road\x1fapp", "light\x1fapp", "\x1f"]
    await stream.commit([Sample(kpi="feedback_received", area="01", time_s=NOON_S, dim=dim) for dim in dims])
    await stream.commit([Sample(kpi="feedback_closed", area="01", time_s=NOON_S)])

    async def asked(**options: Any) -> dict[str | None, float | None]:
        found = await read(stream, ["feedback_received"], [ROOT], [TODAY], **options)
        return {dim: one.now.value for (_, _, dim, _), one in found.items()}

    assert await asked() == {None: 5}
    assert await asked(by="category") == {"": 1, "light": 1, "road": 3}
    assert await asked(by="channel") == {"": 1, "app": 3, "phone": 1}
    assert await asked(by="channel", where={"category": "road"}) == {"app": 2, "phone": 1}
    assert await asked(where={"category": "road", "channel": "app"}) == {None: 2}
    assert await asked(where={"category": "nothing"}) == {None: 0}
    # What has not the dimension is read whole.
    both = await read(stream, ["feedback_received", "feedback_closed"], [ROOT], [TODAY], by="category")
    assert both["feedback_closed", ROOT, None, 0].now.value == 1


async def test_a_balance_runs_from_the_beginning_to_the_end_of_each_span(stream: Writer) -> None:
    opened = [NOON_S - 400 * DAY_S, NOON_S - 3 * DAY_S, NOON_S - 3600, NOON_S - 60, NOON_S, NOON_S + 3600]
    closed = [NOON_S - 2 * DAY_S, NOON_S + 120]
    await stream.commit([Sample(kpi="feedback_received", area="01", time_s=at) for at in opened])
    await stream.commit([Sample(kpi="feedback_closed", area="02", time_s=at) for at in closed])
    hours = spans(NOON_S - 7200, NOON_S + 7200, Step.HOUR, HANOI)
    found = await read(stream, ["in_handling"], [ROOT, ONE], [*hours, TODAY, Span(NOON_S, NOON_S + 60)])
    balances = [found["in_handling", ROOT, None, at].now.value for at in range(len(hours) + 2)]
    assert balances == [1, 3, 3, 4, 4, 4]
    assert [found["in_handling", ONE, None, at].now.value for at in range(len(hours))] == [2, 4, 5, 6]


async def test_silent_ones_were_heard_before_and_are_not_now(stream: Writer) -> None:
    chance = random.Random(7)
    heard = [(NOON_S - chance.randrange(6 * DAY_S), f"c{chance.randrange(12)}") for _ in range(120)]
    await stream.commit([Sample(kpi="cameras_active", area="01", time_s=at, what=camera) for at, camera in heard])
    asked = [
        *last_spans(NOON_S, 5, Step.DAY, HANOI),
        *last_spans(NOON_S, 12, Step.SIX_HOURS, HANOI),
        *last_spans(NOON_S, 9, Step.MINUTE, HANOI),
        *last_spans(NOON_S, 2, Step.WEEK, HANOI),
    ]

    def cameras(start_s: int, end_s: int) -> set[str]:
        return {camera for at, camera in heard if start_s <= at < end_s}

    found = await read(stream, ["cameras_silent", "cameras_active"], [ROOT], asked)
    for at, span in enumerate(asked):
        within = cameras(span.start_s, span.end_s)
        silent = cameras(span.end_s - 2 * DAY_S, span.end_s) - within
        assert found["cameras_active", ROOT, None, at].now.value == len(within)
        assert found["cameras_silent", ROOT, None, at].now.value == len(silent)


async def test_spans_may_overlap_in_any_order(stream: Writer) -> None:
    chance = random.Random(11)
    times = [NOON_S - chance.randrange(40 * DAY_S) for _ in range(60)]
    await stream.commit([Sample(kpi="feedback_received", area="03", time_s=at) for at in times])
    asked = [
        Span(start - start % 60, start - start % 60 + 60 * chance.randrange(1, 30 * 24 * 60))
        for start in (NOON_S - chance.randrange(40 * DAY_S) for _ in range(25))
    ]
    # The third commune lies in another zone than the province, and has other days.
    found = await read(stream, ["feedback_received"], [ROOT, THREE], asked)
    for at, span in enumerate(asked):
        n = sum(span.start_s <= time < span.end_s for time in times)
        assert found["feedback_received", ROOT, None, at].now.n == n
        assert found["feedback_received", THREE, None, at].now.n == n


async def test_of_overlapping_spans_each_has_what_was_true_last_in_it(stream: Writer) -> None:
    said = [("01", 0, 9), ("01", 3, 4), ("02", 1, 5), ("02", 4, 1)]
    await stream.commit(
        [Sample(kpi="load", area=area, time_s=NOON_S + 3600 * hour, value=value) for area, hour, value in said]
    )
    asked = [TODAY, Span(NOON_S, NOON_S + 7200), Span(NOON_S + 7200, NOON_S + 5 * 3600), Span(NOON_S, TODAY.end_s)]
    found = await read(stream, ["load"], [ROOT, ONE], asked)
    assert [found["load", ROOT, None, at].now.value for at in range(4)] == [5, 14, 5, 5]
    assert [found["load", ONE, None, at].now.value for at in range(4)] == [4, 9, 4, 4]


async def test_what_is_corrected_keeps_what_was_first_reported(stream: Writer) -> None:
    kpis = ["feedback_received", "response_ms", "response_max", "load", "cameras_active", "cameras_silent"]

    def samples(kpi_value: float, what: str, at: int = NOON_S) -> list[Sample]:
        return [Sample(kpi=kpi, area="01", time_s=at, value=kpi_value, what=what) for kpi in kpis[:5]]

    await stream.commit(samples(10, "a"))
    await stream.commit(samples(10, "z", NOON_S - DAY_S))
    span = Span(NOON_S, NOON_S + 3600)
    opened = await read(stream, [*kpis, "in_handling"], [ROOT], [span])
    assert all(one.first is None and not one.closed for one in opened.values())
    await stream.close_until(span.end_s)
    before = await read(stream, [*kpis, "in_handling"], [ROOT], [span])
    assert all(one.first == one.now and one.closed and one.corrected_at is None for one in before.values())
    await stream.commit(samples(90, "b", NOON_S + 60), late=True)
    after = await read(stream, [*kpis, "in_handling", "closed_in_time"], [ROOT], [span])
    values = {kpi: (one.first and one.first.value, one.now.value) for (kpi, *_), one in after.items()}
    assert values.pop("response_ms") == pytest.approx((10, 10), rel=0.01)
    assert values == {
        "feedback_received": (1, 2),
        "response_max": (10, 90),
        "load": (10, 90),
        "cameras_active": (1, 2),
        "cameras_silent": (1, 1),
        "in_handling": (2, 3),
        "closed_in_time": (None, None),
    }
    assert after["feedback_received", ROOT, None, 0].corrected_at is not None
    assert after["closed_in_time", ROOT, None, 0].corrected_at is None


async def test_a_bucket_closes_when_the_slowest_partition_has_passed_it(stream: Writer) -> None:
    base = SITE.kpis.bases_of("feedback_received")
    grace_s, idle_s = SITE.header.closing.grace_s, SITE.header.closing.idle_s
    assert not (await read_closing(stream.connection, SITE)).is_closed(base, 0)
    for partition, watermark_s in enumerate((NOON_S, NOON_S + 500)):
        await stream.connection.execute(
            """INSERT INTO position (consumer_group, topic, partition, topic_id, next_offset, watermark_s)
            VALUES ('ioc', 'ioc.cases.v1', $1, gen_random_uuid(), 5, $2)""",
            partition,
            float(watermark_s),
        )
    closed = await read_closing(stream.connection, SITE)
    assert closed.is_closed(base, NOON_S - grace_s)
    assert not closed.is_closed(base, NOON_S - grace_s + 1)
    assert not closed.is_closed(SITE.kpis.bases_of("response_ms"), 0)
    # A partition that was counted to its end, and brings nothing more, is not waited for.
    caught_up = datetime.fromtimestamp(NOON_S + 300 + idle_s, UTC) + timedelta(seconds=0.5)
    await stream.connection.execute("UPDATE position SET caught_up_at = $1 WHERE partition = 0", caught_up)
    closed = await read_closing(stream.connection, SITE)
    assert closed.until_s(base) == pytest.approx(NOON_S + 300.5 - grace_s)


def test_a_kpi_of_several_topics_waits_for_the_slowest() -> None:
    two = SITE.kpis.bases_of("feedback_received") + SITE.kpis.bases_of("response_ms")
    assert ClosedUntil({"cases.v1": 100.0, "metrics.v1": 60.0}).until_s(two) == 60
    assert not ClosedUntil({"cases.v1": 100.0}).is_closed(two, 10)
    assert not NOTHING_CLOSED.is_closed(two, 0)


async def test_a_redrawn_area_is_exact_where_it_can_be_and_bounded_where_not(stream: Writer) -> None:
    stream.site = redrawn_site()
    every = ["feedback_received", "closed_in_time", "cameras_active", "load", "in_handling", "response_max"]

    async def commit(where: str, number: int, value: float = 1) -> None:
        await stream.commit(
            [
                Sample(kpi=kpi, area=where, time_s=NOON_S + at, value=value, what=f"{where}{at}")
                for kpi in every
                if kpi != "in_handling"
                for at in range(number)
            ]
        )

    await commit("A", 2)
    await commit("x", 3)
    found = await read(stream, every, [AreaId("P"), AreaId("A"), AreaId("B")], [TODAY])
    assert all(one.now.exact for one in found.values())
    assert [found["feedback_received", AreaId(id_), None, 0].now.n for id_ in "PAB"] == [5, 5, 0]
    await commit("y", 4, 0)
    await commit("d", 1, 7)
    found = await read(stream, every, [AreaId("P"), AreaId("A"), AreaId("B")], [TODAY])

    def bounds_of(kpi: str, id_: str) -> tuple[float | None, float | None, float | None, bool]:
        value = found[kpi, AreaId(id_), None, 0].now
        return value.value, value.lower, value.upper, value.exact

    # All that happened in the old district happened in the province, wherever in it.
    assert bounds_of("feedback_received", "P") == (10, None, None, True)
    assert bounds_of("feedback_received", "A") == (5, 5, 10, False)
    assert bounds_of("feedback_received", "B") == (0, 0, 5, False)
    assert bounds_of("in_handling", "A") == (5, 5, 10, False)
    assert bounds_of("cameras_active", "P") == (10, None, None, True)
    value, lower, upper, exact = bounds_of("cameras_active", "A")
    assert not exact
    assert lower is not None
    assert upper is not None
    assert lower == value == 5
    assert upper >= 10
    value, lower, upper, exact = bounds_of("closed_in_time", "A")
    assert (value, exact) == (1, False)
    assert bounds_of("response_max", "A")[0] == 1


@pytest.mark.parametrize(
    ("measure", "rows", "below", "left"),
    [
        pytest.param(
            Measure.COUNT, [Partial(n=5)], [[Partial(n=2)], [Partial(n=3)]], [], id="all of it lies in areas below"
        ),
        pytest.param(
            Measure.SUM,
            [Partial(n=5, total=9)],
            [[Partial(n=2, total=1)]],
            [Partial(n=3, total=8)],
            id="what is left is its own",
        ),
        pytest.param(
            Measure.PERCENTILE,
            [Partial(bin=1, n=5), Partial(bin=2, n=1)],
            [[Partial(bin=1, n=5)]],
            [Partial(bin=2, n=1)],
            id="bin by bin",
        ),
        pytest.param(Measure.MAX, [Partial(n=5, high=9)], [[Partial(n=5, high=9)]], [], id="no extremes of its own"),
        pytest.param(
            Measure.MAX,
            [Partial(n=6, high=9)],
            [[Partial(n=5, high=9)]],
            [Partial(n=6, high=9)],
            id="extremes cannot be taken apart",
        ),
        pytest.param(
            Measure.LATEST,
            [Partial(dim="a\x1fd", n=1), Partial(dim="a\x1fx", n=1)],
            [[Partial(dim="a\x1fx", n=1)]],
            [Partial(dim="a\x1fd", n=1)],
            id="the latest by place",
        ),
    ],
)
def test_an_areas_own_events(
    measure: Measure, rows: list[Partial], below: list[list[Partial]], left: list[Partial]
) -> None:
    base = Base(id="k", event="ioc.service.metric.v1", measure=measure)
    assert list(own(base, AreaId("d"), rows, below)) == left


async def test_a_map_that_says_nothing_is_left_out_and_no_other(
    stream: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream.site = redrawn_site()
    every = [AreaId(area.id) for area in stream.site.areas]

    async def both_ways() -> None:
        found: list[Any] = []
        for least in (1, 10**6):
            monkeypatch.setattr(values, "MAP_MIN", least)
            found.append(await read(stream, ["feedback_received", "load"], every, [TODAY]))
        assert found[0] == found[1]

    await both_ways()
    for where in ("A", "x", "d"):  # of the present map, then of the earlier one too
        await stream.commit(
            [Sample(kpi=kpi, area=where, time_s=NOON_S, value=3.0) for kpi in ("feedback_received", "load")]
        )
        await both_ways()
