"""Do figures of provinces and communes stay right across 1 July 2025, when Viet Nam's map was redrawn?

Reports go the whole way, ingest → Kafka → a worker → TimescaleDB: of before under old codes, of after under old and
new ones, early and late. Where each really happened is known here: in an old commune and in a new one with ground
in common by the record of the redrawing. Every figure has to be what really happened there, or what is certain with
bounds that hold it.
"""

import csv
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import httpx
import msgspec
import pytest

from dashboard_api.closing import NOTHING_CLOSED
from dashboard_api.spans import Span
from dashboard_api.values import read_values
from deploy.site import SHIPPED
from schemas.event import AreaId
from schemas.kpi import Value
from tests.faults.centre import Centre, ready, until
from tests.faults.traffic import HttpSender

PACK = SHIPPED / "vietnam"
KPI = "feedback.received"
NEW_LIST, OLD_LIST = "vn-2025", "vn-2024"
HANOI_TIME = ZoneInfo("Asia/Ho_Chi_Minh")
REDRAWN = datetime(2025, 7, 1, tzinfo=HANOI_TIME)

OLD_PROVINCES = ("24-2024", "27-2024", "08-2024", "02-2024", "74-2024", "06-2024", "19-2024", "40-2024")
NEW_PROVINCES = ("24", "08", "79", "19", "40")
CHUNK = 500

SPANS = {
    "before": Span(int(datetime(2025, 6, 1, tzinfo=HANOI_TIME).timestamp()), int(REDRAWN.timestamp())),
    "after": Span(int(REDRAWN.timestamp()), int(datetime(2025, 8, 1, tzinfo=HANOI_TIME).timestamp())),
    "year": Span(
        int(datetime(2025, 1, 1, tzinfo=HANOI_TIME).timestamp()),
        int(datetime(2026, 1, 1, tzinfo=HANOI_TIME).timestamp()),
    ),
}


class Map(NamedTuple):
    """Both lists as the files have them: each area's parent, and which communes have ground in common."""

    parent: Mapping[str, str]
    code: Mapping[str, str]
    links: Sequence[tuple[str, str]]
    divided: frozenset[str]
    """Communes, old ones and new ones, of which something went to or came from elsewhere in part."""

    def path(self, area: str) -> list[str]:
        """An area and all above it."""
        found = [area]
        while self.parent[found[-1]]:
            found.append(self.parent[found[-1]])
        return found


class Report(NamedTuple):
    """What was sent, and where it really was: in an old and in a new commune at once."""

    raw: bytes
    time: datetime
    old: str
    new: str


@pytest.fixture(scope="module")
def both_lists() -> Map:
    """Read from the files without the code that is tested."""
    with (PACK / "areas.csv").open(newline="") as text:
        rows = {row["id"] or row["code"]: row for row in csv.DictReader(text)}
    with (PACK / "lineage.csv").open(newline="") as text:
        links = list(csv.DictReader(text))
    partial = [link for link in links if link["kind"] == "partial"]
    return Map(
        parent={id_: row["parent"] for id_, row in rows.items()},
        code={id_: row["code"] for id_, row in rows.items()},
        links=[(link["old"], link["new"]) for link in links if link["new"]],
        divided=frozenset(link[side] for link in partial for side in ("old", "new")),
    )


@pytest.fixture
async def centre(kafka: str, database_url: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Centre]:
    """A centre of the whole country, on the shipped pack."""
    centre = Centre(kafka, database_url, topic_prefix, tmp_path, PACK)
    try:
        await centre.create()
        yield centre
    finally:
        centre.end()


async def test_figures_of_both_maps(centre: Centre, both_lists: Map) -> None:
    reports = _reports(both_lists)
    with centre.web() as address:
        worker = centre.start_worker(0)
        await ready(centre, address)
        async with httpx.AsyncClient(base_url=address, timeout=30) as web:
            sender = HttpSender(web)
            for begin in range(0, len(reports), CHUNK):
                await sender.send([report.raw for report in reports[begin : begin + CHUNK]], datetime.now(UTC))
            await until(centre.caught_up, "everything is counted", centre)
            assert worker.exit_code() is None
            await _provinces_add_up(centre, both_lists, reports)
            await _communes_are_right_or_bounded(centre, both_lists, reports)
            await _people_are_told(web, both_lists, reports)
    assert await centre.dead_letters() == []


def _reports(both: Map) -> list[Report]:
    """For each pair of communes with ground in common one of before under the old code, and two of after, under the
    old code and the new one; mixed, so that what happened before comes late.
    """
    rng = random.Random(7)
    reports: list[Report] = []
    new_codes = {both.code[new] for _, new in both.links}
    for old, new in both.links:
        if both.path(old)[-2] not in OLD_PROVINCES:
            continue
        before = REDRAWN - timedelta(seconds=rng.choice([1, 60, 3600, rng.randrange(1, 29 * 86400)]))
        after = REDRAWN + timedelta(seconds=rng.choice([0, 60, 3600, rng.randrange(30 * 86400)]))
        # At its time the old list was the one in force, and need not be named.
        reports.append(_report(len(reports), before, old, new, both.code[old], rng.choice([None, OLD_LIST])))
        reports.append(_report(len(reports), after, old, new, both.code[new], rng.choice([None, NEW_LIST])))
        # After that day a code that both lists have is the new one's, unless the old list is named.
        is_clear = both.code[old] not in new_codes
        reports.append(_report(len(reports), after, old, new, both.code[old], None if is_clear else OLD_LIST))
    rng.shuffle(reports)
    return reports


def _report(number: int, time: datetime, old: str, new: str, code: str, list_id: str | None) -> Report:
    event = {
        "specversion": "1.0",
        "id": str(number),
        "type": "ioc.feedback.received.v1",
        "source": "hotline",
        "subject": f"case-{number}",
        "time": time.isoformat(),
        "area": code,
        "data": {"category": "road"},
    }
    return Report(msgspec.json.encode(event if list_id is None else event | {"arealist": list_id}), time, old, new)


def _truth(both: Map, reports: Sequence[Report], span: Span) -> Counter[str]:
    """What really happened in every area of both maps."""
    return Counter(
        area
        for report in reports
        if span.start_s <= report.time.timestamp() < span.end_s
        for commune in (report.old, report.new)
        for area in both.path(commune)
    )


async def _values(centre: Centre, areas: Sequence[str]) -> dict[tuple[str, str], Value]:
    async with centre.connected() as connection:
        found = await read_values(
            connection,
            centre.truth.site,
            [KPI],
            [AreaId(area) for area in areas],
            list(SPANS.values()),
            closed=NOTHING_CLOSED,
        )
    return {(area, list(SPANS)[at]): reported.now for (_, area, _, at), reported in found.items()}


async def _provinces_add_up(centre: Centre, both: Map, reports: Sequence[Report]) -> None:
    """No province was divided, so on the new map all is exact. On the old map a new commune's reports may be of one
    province or of another only where its ground was in both.
    """
    provinces = [area for area in both.parent if len(both.path(area)) == 2]
    values = await _values(centre, [*provinces, "vn", "vn-2024"])
    across = _across(both)
    unsure = {both.path(old)[-2] for old, new in both.links if new in across}
    for name, span in SPANS.items():
        truth = _truth(both, reports, span)
        assert all(truth[area] for area in (*OLD_PROVINCES, *NEW_PROVINCES))
        for area in (*provinces, "vn", "vn-2024"):
            value = values[area, name]
            if area in unsure and not value.exact:
                assert value.lower is not None
                assert value.upper is not None
                assert value.lower <= truth[area] <= value.upper, (area, name)
            else:
                assert (value.value, value.exact) == (truth[area], True), (area, name)


def _across(both: Map) -> set[str]:
    """New communes with ground of several old provinces."""
    provinces: dict[str, set[str]] = {}
    for old, new in both.links:
        provinces.setdefault(new, set()).add(both.path(old)[-2])
    return {new for new, several in provinces.items() if len(several) > 1}


async def _communes_are_right_or_bounded(centre: Centre, both: Map, reports: Sequence[Report]) -> None:
    """Of each commune what really happened there, or bounds that hold it where one was divided."""
    communes = sorted({commune for report in reports for commune in (report.old, report.new)})
    values = await _values(centre, communes)
    exact: Counter[str] = Counter()
    for name, span in SPANS.items():
        truth = _truth(both, reports, span)
        for area in communes:
            value = values[area, name]
            if value.exact:
                assert value.value == truth[area], (area, name)
            else:
                assert value.lower is not None
                assert value.upper is not None
                assert value.lower <= truth[area] <= value.upper, (area, name)
            is_new = not area.endswith("-2024")
            # A new commune that is made of whole old ones can always be told.
            assert value.exact or not is_new or area in both.divided, (area, name)
            exact["exact" if value.exact else "bounded"] += 1
    assert min(exact["exact"], exact["bounded"]) > 100, exact


async def _people_are_told(web: httpx.AsyncClient, both: Map, reports: Sequence[Report]) -> None:
    """The REST API says so, too: of a province, and of a commune that was divided."""
    july = SPANS["after"]
    truth = _truth(both, reports, july)
    divided = next(area for area in sorted(truth) if area in both.divided and not area.endswith("-2024"))
    for area, is_exact in (("24", True), (divided, False)):
        answer = await web.get(
            f"/v1/kpis/{KPI}/series",
            params={"area": area, "step": "month", "from": "2025-06-30T17:00:00Z", "to": "2025-07-31T17:00:00Z"},
        )
        assert answer.status_code == 200, answer.text
        [bucket] = answer.json()["series"][0]["buckets"]
        assert bucket.get("exact", True) is is_exact
        assert bucket.get("lower", bucket["value"]) <= truth[area] <= bucket.get("upper", bucket["value"])
