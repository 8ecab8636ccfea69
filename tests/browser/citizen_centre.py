"""Where does a citizen report in a test? To a whole centre: web process, worker, Kafka and database, whose site has
categories of every kind and nobody who has to sign in.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from deploy.personal_keys import key_ring
from deploy.settings import Settings
from streams.store.personal import read_personal
from tests.dashboard.case_centre import AGENCIES_TOML, CASES_TOML
from tests.dashboard.centre import KPIS_TOML, SITE_TOML
from tests.faults.centre import Centre, ready, until
from tests.faults.site import write_pack

AREAS_CSV = """code,parent,kind,name_vi,name_en,lat,lon
00,,province,Tỉnh thử,Test province,21.02,105.82
01,00,commune,Phường Một,Ward One,21.01,105.81
02,00,commune,Phường Hai,Ward Two,21.05,105.86
"""

CLOCKS_TOML = """
[[clock]]
clock = "resolution"
allowed = "3d"
"""

PACK = {
    "site.toml": SITE_TOML,
    "areas.csv": AREAS_CSV,
    "kpis.toml": KPIS_TOML,
    "agencies.toml": AGENCIES_TOML,
    "cases.toml": CASES_TOML,
    "clocks.toml": CLOCKS_TOML,
}


class CitizenCentre:
    """A centre that is running, and its people, who need no sign-in."""

    def __init__(self, centre: Centre, origin: str) -> None:
        self.centre = centre
        self.origin = origin
        self._commands = 0

    async def act(self, case: str, **do: Any) -> None:
        """An operator's command, which has to be applied."""
        self._commands += 1
        id_ = f"op-{self._commands}"
        async with httpx.AsyncClient(base_url=self.origin, trust_env=False, timeout=60) as client:
            sent = await client.post("/v1/commands", json={"id": id_, "case": case, "do": do})
            assert sent.status_code == 202, sent.text
            told = (await client.get(f"/v1/commands/{id_}", params={"wait": 30})).json()
        assert told["state"] == "applied", told

    async def reports(self) -> list[dict[str, Any]]:
        """The data of every report that was counted, in the order in which they came."""
        async with self.centre.connected() as connection:
            rows = await connection.fetch(
                """SELECT convert_from(body, 'UTF8')::jsonb -> 'data' AS data FROM event
                WHERE type = 'ioc.feedback.received.v1' ORDER BY received_at"""
            )
        return [httpx.Response(200, text=row["data"]).json() for row in rows]

    async def words(self) -> list[str | None]:
        """What the reports say, in the same order; nothing else than the centre's keys opens it."""
        ring = key_ring(Settings.from_env({"IOC_DATA": str(self.centre.folder / "data")}))
        async with self.centre.connected() as connection:
            rows = await connection.fetch("SELECT source, id FROM personal ORDER BY received_at")
            opened = [await read_personal(connection, ring, row["source"], row["id"]) for row in rows]
        return [None if one is None else one.text for one in opened]

    async def counted(self) -> None:
        """Waits until everything on the log is decided."""
        await until(self.centre.caught_up, "everything on the log is decided", self.centre)

    async def send(self, **report: Any) -> dict[str, str]:
        """A report as a program sends it."""
        async with httpx.AsyncClient(base_url=self.origin, trust_env=False, timeout=60) as client:
            answer = await client.post("/v1/reports", json=report)
        assert answer.status_code == 202, answer.text
        return answer.json()


@asynccontextmanager
async def citizen_centre(kafka: str, database_url: str, prefix: str, folder: Path) -> AsyncIterator[CitizenCentre]:
    """A centre that takes reports and decides commands."""
    centre = Centre(kafka, database_url, prefix, folder, write_pack(PACK, folder / "site"))
    try:
        await centre.create()
        with centre.web() as origin:
            centre.start_worker(0)
            await ready(centre, origin)
            yield CitizenCentre(centre, origin)
    finally:
        centre.end()
