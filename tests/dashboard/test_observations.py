"""Does what authorities report for periods come to what was true last in each place?"""

from collections.abc import AsyncGenerator
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest

from dashboard_api.closing import read_closing
from dashboard_api.latest import Freshness, Latest, read_latest
from dashboard_api.spans import Span, Step
from dashboard_api.values import read_values
from schemas.event import AreaId
from schemas.kpi import Value
from schemas.site import parse_site
from tests.dashboard.centre import AREAS_CSV, KPIS_TOML, REDRAWN_AREAS, SITE_TOML, Sample, Writer, writer

HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
ROOT = AreaId("00")
DAY_S = 24 * 3600

POPULATION = """
[[kpi]]
id = "population"
names = { vi = "Dân số", en = "Population" }
unit = "1"
measure = "latest"
event = "ioc.indicator.observed.v1"
period = "month"
value = "value"
"""
SITE = parse_site({"site.toml": SITE_TOML, "areas.csv": AREAS_CSV, "kpis.toml": KPIS_TOML + POPULATION})


@pytest.fixture
async def stream(tables: str) -> AsyncGenerator[Writer]:
    """A writer on an empty database, of a site that is told its population."""
    async with writer(tables) as one:
        one.site = SITE
        yield one


def month_s(month: int) -> int:
    """When a month of 2025 begins in the province."""
    return int(datetime(2025, month, 1, tzinfo=HANOI).timestamp())


def reported(area: str, month: int, value: float, in_month: int | None = None) -> Sample:
    """A commune's population in a month of 2025, reported in the one after or in `in_month`."""
    said_s = month_s(month + 1 if in_month is None else in_month) + DAY_S
    return Sample(kpi="population", area=area, time_s=month_s(month), value=value, said_s=said_s)


async def over(stream: Writer, *spans: Span, area: AreaId = ROOT) -> list[Value]:
    """The population over these spans, read together."""
    closed = await read_closing(stream.connection, stream.site)
    found = await read_values(stream.connection, stream.site, ["population"], [area], spans, closed=closed)
    return [found["population", area, None, at].now for at in range(len(spans))]


async def test_the_latest_period_holds_and_not_what_was_reported_last(stream: Writer) -> None:
    await stream.commit([reported("01", 4, 1000), reported("01", 5, 1010), reported("02", 4, 500)])
    await stream.commit([reported("01", 4, 999, in_month=6), reported("02", 4, 501, in_month=6)])
    quarter, april, until_noon = (
        Span(month_s(4), end_s) for end_s in (month_s(7), month_s(5), month_s(7) + 12 * 3600)
    )
    for spans in ([quarter], [april], [until_noon]):
        [alone] = await over(stream, *spans)
        assert alone.value == (1500 if spans == [april] else 1511)
    # Spans that are read together are put together from what lies between their ends.
    assert [one.value for one in await over(stream, quarter, april, until_noon)] == [1511, 1500, 1511]


async def latest(stream: Writer, area: AreaId = ROOT, month: int = 8) -> Latest:
    """The population as it stands on the first of a month."""
    closed = await read_closing(stream.connection, stream.site)
    at = datetime.fromtimestamp(month_s(month) + DAY_S // 2, HANOI)
    [found] = await read_latest(
        stream.connection, stream.site, [stream.site.kpis["population"]], area, Step.DAY, at, closed
    )
    return found


async def test_places_that_have_not_reported_again_stand_with_their_last_report(stream: Writer) -> None:
    assert (await latest(stream)).now is None
    await stream.commit([reported("01", 4, 1000), reported("02", 4, 500)])
    # The third commune lies in another zone, so that its months begin earlier.
    await stream.commit([reported("02", 5, 510), reported("03", 3, 40)])
    await stream.close_until(month_s(7))
    found = await latest(stream)
    assert found.now is not None
    assert (found.now.value, found.now.n, found.now.exact) == (1550, 3, True)
    assert found.now.start == datetime.fromtimestamp(month_s(5), HANOI)
    assert found.freshness is Freshness.STALE
    one = await latest(stream, AreaId("01"))
    assert one.now is not None
    assert one.now.value == 1000
    # What was reported wrongly, put right, and replaced since, leaves no mark on what stands.
    await stream.commit([reported("02", 4, 499, in_month=6)], late=True)
    again = await latest(stream)
    assert again.now is not None
    assert (again.now.value, again.now.corrected_at) == (1550, None)
    await stream.commit([reported("02", 5, 511, in_month=7)], late=True)
    put_right = await latest(stream)
    assert put_right.now is not None
    assert (put_right.now.value, put_right.now.corrected_at is None) == (1551, False)


async def test_what_was_reported_of_the_old_map_is_not_added_to_what_is_reported_of_the_new(stream: Writer) -> None:
    """The old x became part of A, z of B, and y was divided between both; P holds all of them."""
    stream.site = msgspec.structs.replace(SITE, areas=REDRAWN_AREAS)
    year, january = Span(month_s(1), month_s(12)), Span(month_s(1), month_s(2))
    await stream.commit([reported("x", 1, 1000), reported("z", 1, 500)])
    for span in (year, january):
        [before] = await over(stream, span, area=AreaId("P"))
        assert (before.value, before.n, before.exact) == (1500, 2, True)
    await stream.commit([reported("A", 4, 1010), reported("B", 4, 510)])
    for span, value in ((year, 1520), (january, 1500)):
        [found] = await over(stream, span, area=AreaId("P"))
        assert (found.value, found.n, found.exact) == (value, 2, True)
    standing = (await latest(stream, AreaId("P"))).now
    assert standing is not None
    assert (standing.value, standing.exact) == (1520, True)
    # Of y nobody knows how many live in A now; of A as it is now everybody does.
    await stream.commit([reported("y", 1, 70)])
    [found] = await over(stream, year, area=AreaId("A"))
    assert (found.value, found.exact) == (1010, True)
    [found] = await over(stream, january, area=AreaId("A"))
    assert (found.value, found.exact) == (1000, False)
    # What is reported of all of A leaves open what became of x, and does not take away what x said.
    [found] = await over(stream, year, area=AreaId("x"))
    assert (found.value, found.exact) == (1000, False)
