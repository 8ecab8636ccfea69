"""Which indicators can be read as a sum, or one sum over another, and do the tables say so for the newest pack?"""

import asyncpg

from deploy.migrate import migrate_schema
from schemas.site import parse_catalogue
from streams.core.plain import PlainReading, Sum, plain_readings
from streams.store.sites import register_site
from tests.dashboard.centre import AREAS_CSV, KPIS_TOML, SITE_TOML

PACK = {"site.toml": SITE_TOML, "areas.csv": AREAS_CSV, "kpis.toml": KPIS_TOML}


def sums(reading: PlainReading) -> tuple[Sum, Sum | None]:
    """What is put over what."""
    return reading.numerator, reading.denominator


def test_sums_shares_and_ratios_of_sums_are_plain() -> None:
    found = {one.kpi.id: sums(one) for one in plain_readings(parse_catalogue(PACK))}
    assert found == {
        "feedback_received": (Sum("feedback_received", "n"), None),
        "feedback_closed": (Sum("feedback_closed", "n"), None),
        "closed_in_time": (Sum("closed_in_time", "total"), Sum("closed_in_time", "n")),
        "closed_within_day": (Sum("closed_within_day", "total"), Sum("closed_within_day", "n")),
        "response_mean": (Sum("response_mean", "total"), Sum("response_mean", "n")),
        "response_sum": (Sum("response_sum", "total"), None),
        "closed_share": (Sum("feedback_closed", "n"), Sum("feedback_received", "n")),
        "channel_share": (Sum("channel_share/numerator", "n"), Sum("channel_share/denominator", "n")),
    }


async def test_what_is_kept_is_of_the_newest_pack_that_can_be_read(database_url: str) -> None:
    await migrate_schema(database_url)
    connection = await asyncpg.connect(database_url)

    async def kept() -> tuple[object, list[str]]:
        rows = await connection.fetch("SELECT id, site_version FROM indicator ORDER BY ordinal")
        return {row["site_version"] for row in rows}, [row["id"] for row in rows]

    try:
        await register_site(connection, PACK)
        version, ids = await kept()
        assert version == {1}
        assert (ids[0], len(ids)) == ("feedback_received", 8)
        # An older release's: it cannot be read, and what was kept stays.
        await register_site(connection, {**PACK, "site.toml": SITE_TOML.replace("[retention]", "") + "colour = 1"})
        assert await kept() == ({1}, ids)
        fewer = KPIS_TOML[: KPIS_TOML.index('[[kpi]]\nid = "closed_in_time"')]
        await register_site(connection, {**PACK, "kpis.toml": fewer})
        assert await kept() == ({3}, ["feedback_received", "feedback_closed"])
        areas = await connection.fetch("SELECT id, parent, is_present FROM known_area ORDER BY ordinal")
        assert [tuple(row) for row in areas][:2] == [("00", None, True), ("01", "00", True)]
        # A database that was migrated after its pack had been registered.
        await connection.execute("TRUNCATE indicator, known_area")
        await register_site(connection, {**PACK, "kpis.toml": fewer})
        assert await kept() == ({3}, ["feedback_received", "feedback_closed"])
    finally:
        await connection.close()
