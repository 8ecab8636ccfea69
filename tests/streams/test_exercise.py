"""Are the figures of a drill those that the same events would give in earnest, and never among the real ones?"""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.migrate import migrate_schema
from schemas.exercise import drill_name, is_drill, real_name, with_drills
from schemas.kpi import Measure
from schemas.site import Site
from streams.core.batch import Arrival
from streams.core.fold import Cells, Folded
from streams.store.timescale import TimescaleWriter
from streams.store.writer import Lane, LaneBatch, Position
from streams.versions import Versions
from tests.dashboard.case_centre import SITE as DASHBOARD
from tests.streams.world import LOGGED_MS, SITE, VERSION, arrivals_of, some_events

TOPIC_ID = UUID(int=1)
LANE = Lane("ioc.cases", 3)
DETECTIONS = Lane("ioc.detections", 3)


def in_earnest(arrival: Arrival) -> Arrival:
    """The same event as if it were none of a drill."""
    return msgspec.structs.replace(arrival, event=msgspec.structs.replace(arrival.event, exercise=False))


def played(arrival: Arrival) -> Arrival:
    """The same event in a drill."""
    return msgspec.structs.replace(arrival, event=msgspec.structs.replace(arrival.event, exercise=True))


def named(folded: Folded, *, drills: bool) -> list[Cells]:
    """The cells of drills, by the names of the site pack; or all others. Part by part, tier by tier."""
    return [
        {(real_name(key[0]), *key[1:]): cell for key, cell in cells.items() if is_drill(key[0]) is drills}
        for part in folded.parts
        for cells in part.values()
    ]


def settled(arrival: Arrival) -> bool:
    """Whether an event replaces or takes back nothing."""
    return arrival.event.supersedes is None and arrival.event.withdraws is None


@given(st.integers(0, 10**6), st.lists(st.booleans(), min_size=60, max_size=60))
def test_a_drill_counts_as_in_earnest_and_changes_nothing_real(seed: int, flags: list[bool]) -> None:
    mixed = [
        played(one) if flag else in_earnest(one)
        for flag, one in zip(flags, arrivals_of(some_events(60, seed=seed)), strict=False)
    ]
    folded = VERSION.fold(mixed)
    real = VERSION.fold([one for one in mixed if not one.event.exercise])
    drills = VERSION.fold([in_earnest(one) for one in mixed if one.event.exercise and settled(one)])
    assert named(folded, drills=False) == named(real, drills=False)
    assert named(folded, drills=True) == named(drills, drills=False)
    assert {at for at in folded.touched if not is_drill(at[0])} == set(real.touched)
    assert {(real_name(base), minute) for base, minute in folded.touched if is_drill(base)} == set(drills.touched)


@pytest.mark.parametrize("pack", [pytest.param(SITE, id="streams"), pytest.param(DASHBOARD, id="dashboard")])
def test_every_indicator_has_a_twin_that_reads_what_drills_have_fed(pack: Site) -> None:
    catalogue, both = pack.kpis, with_drills(pack.kpis)
    assert with_drills(catalogue) is both
    ids = [kpi.id for kpi in catalogue.kpis]
    assert [kpi.id for kpi in both.kpis] == [*ids, *map(drill_name, ids)]
    for id_ in ids:
        twin = both[drill_name(id_)]
        assert [base.id for base in both.bases_of(twin.id)] == [drill_name(b.id) for b in catalogue.bases_of(id_)]
        assert both.bases_of(id_) == catalogue.bases_of(id_)
        assert both.parts_of(twin.id) == tuple(map(drill_name, catalogue.parts_of(id_)))
        for base in both.bases_of(twin.id):
            assert msgspec.structs.replace(base, id=real_name(base.id)) == catalogue.base(real_name(base.id))
        assert "DRILL" in twin.names["en"]


def test_twins_of_what_is_derived_are_derived_from_twins() -> None:
    assert {kpi.measure for kpi in DASHBOARD.kpis.kpis} >= {Measure.RATIO, Measure.BALANCE, Measure.SILENT}


@pytest.fixture
async def tables(database_url: str) -> AsyncIterator[Any]:
    """A writer and a connection on a database with all tables."""
    await migrate_schema(database_url)
    writer, connection = (
        TimescaleWriter(database_url, "group", Versions(VERSION)),
        await asyncpg.connect(database_url),
    )
    yield writer, connection
    await writer.close()
    await connection.close()


async def rows(connection: Any) -> dict[bool, dict[tuple[Any, ...], tuple[Any, ...]]]:
    """What is stored of drills, and of everything else, by the names of the site pack."""
    found: dict[bool, dict[tuple[Any, ...], tuple[Any, ...]]] = {True: {}, False: {}}
    for tier in ("minute", "hour", "day"):
        for row in await connection.fetch(f"SELECT * FROM kpi_{tier}"):
            key = (tier, real_name(row["kpi"]), row["area"], row["bucket"], row["dim"], row["bin"])
            found[is_drill(row["kpi"])][key] = (row["n"], row["total"], row["low"], row["high"], row["sketch"])
    return found


@pytest.mark.parametrize("unique", [pytest.param(True, id="kept"), pytest.param(False, id="passing")])
async def test_the_tables_keep_drills_apart(tables: Any, unique: bool) -> None:
    writer, connection = tables
    lane = LANE if unique else DETECTIONS
    real = [in_earnest(one) for one in arrivals_of(some_events(60, seed=3)) if settled(one)]
    again = [
        msgspec.structs.replace(
            played(one),
            event=msgspec.structs.replace(one.event, id=f"drill-{one.event.id}", exercise=True),
            offset=100 + number,
            identity=10**6 + number,
        )
        for number, one in enumerate(real)
    ]
    at = await writer.position(lane, TOPIC_ID)
    reached = Position(at.topic_id, 200, LOGGED_MS / 1000 - timedelta(days=400).total_seconds())
    outcome = await writer.commit(
        LaneBatch(lane=lane, expected=at, reached=reached, arrivals=[*real, *again], version=VERSION, unique=unique)
    )
    assert outcome.counted == len(real) * 2
    found = await rows(connection)
    assert found[True]
    assert found[True] == found[False]
    # The change row tells boards of both, each by its own name.
    touched = msgspec.json.decode(await connection.fetchval("SELECT touched FROM change"))
    names = [base for base, *_ in touched["kpis"]]
    assert sorted(map(drill_name, filter(lambda name: not is_drill(name), names))) == sorted(filter(is_drill, names))
