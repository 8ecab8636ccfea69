"""Can anybody see more than they may, whichever way they ask?"""

import random
from collections.abc import Sequence

import asyncpg
import pytest

from dashboard_api.cases import CaseFilter, visible
from dashboard_api.cases import count as count_cases
from schemas.case import Case, Kind, Offer, OfferStep
from schemas.command import Actor
from schemas.identity import Seen, may_see
from tests.dashboard.case_rows import OPENED_AT, case, put_cases

AREAS = ("00", "01", "02", "03")
AGENCIES = (None, "city", "police", "road", "power")
UNITS = (None, "u1", "u2")
HASHES = ("a" * 64, "b" * 64)


def _some(source: random.Random, words: Sequence[str | None]) -> tuple[str, ...]:
    known = [word for word in words if word is not None]
    return tuple(source.sample(known, source.randint(0, len(known))))


def random_case(source: random.Random, number: int) -> Case:
    """Any case: of any area and agency, at any units, followed or not, a complaint about an official or not."""
    accused = source.choice((None, None, *AGENCIES))
    offers = tuple(
        Offer(number=at, unit=unit, step=source.choice(tuple(OfferStep)), at={OfferStep.OFFERED: OPENED_AT})
        for at, unit in enumerate(_some(source, UNITS), 1)
    )
    return case(
        f"case{number:012}",
        area=source.choice(AREAS),
        agency=source.choice(AGENCIES),
        accused_agency=accused,
        kind=Kind.CONDUCT if accused else Kind.SERVICE,
        offers=offers,
        tracking=_some(source, HASHES),
    )


def random_actor(source: random.Random) -> Actor:
    """Anybody: of any agency, with any rights, also such as no site pack would give."""
    roles = ("operator", "unit", "leader", "auditor", "citizen", "system")
    weights = (8, 4, 4, 2, 1, 1)
    return Actor(
        id="somebody",
        roles=tuple(set(source.choices(roles, weights, k=source.randint(0, 2)))),
        agency=source.choice(AGENCIES),
        agencies=_some(source, AGENCIES) if source.random() < 0.5 else (),
        sees_all=source.random() < 0.2,
        areas=_some(source, AREAS),
        unit=source.choice(UNITS),
        tracking=source.choice((None, None, None, *HASHES)),
    )


def seen(one: Case) -> Seen:
    """What of a case decides."""
    return Seen(
        areas=one.areas,
        agency=one.agency,
        accused_agency=one.accused_agency,
        units=one.units,
        tracking=one.tracking,
    )


@pytest.mark.parametrize("seed", range(3))
async def test_the_database_and_python_agree_on_every_pair(tables: str, seed: int) -> None:
    source = random.Random(seed)
    cases = [random_case(source, number) for number in range(120)]
    connection = await asyncpg.connect(tables)
    try:
        async with connection.transaction():
            await put_cases(connection, *cases)
        shown = 0
        for _ in range(60):
            actor = random_actor(source)
            expected = {one.id for one in cases if may_see(actor, seen(one))}
            assert await visible(connection, actor, [one.id for one in cases]) == expected, actor
            assert await count_cases(connection, actor, CaseFilter()) == len(expected)
            shown += len(expected)
        # Neither all nor nothing is shown: the comparison would mean little.
        assert 0.05 < shown / (60 * len(cases)) < 0.6
    finally:
        await connection.close()
