"""What does a centre with workers, a dispatcher and units to send look like to a test of the phone's page?"""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
from msgspec import Struct

from deploy import identity
from deploy.settings import Settings
from tests.conftest import Services
from tests.dashboard.case_centre import PACK as CASE_PACK
from tests.faults.centre import Centre, ready
from tests.faults.site import write_pack

UNITS = 8
DISPATCHER = "olga"
WAIT_S = 60.0
TOKEN_HOURS = 1.0

_UNIT = """
[[unit]]
id = "u{n}"
names = {{ vi = "Đội duy tu hạ tầng số {n}", en = "Road and drainage team {n}" }}
agency = "works"
area = "01"
base = "geo:21.01,105.81"
skills = ["road"]
capacity = 20
"""
_MEMBER = """
[[person]]
id = "p{n}"
name = "In unit {n}"
roles = ["unit"]
unit = "u{n}"
areas = ["01"]
agency = "works"
"""
# Complaints about officials go to somebody who belongs to none of the agencies.
_DISPATCHER = f"""
[[person]]
id = "ines"
name = "Sees all, and belongs to no agency"
roles = ["operator"]
areas = ["00"]
agencies = ["*"]

[[person]]
id = "{DISPATCHER}"
name = "Operator of everything"
roles = ["operator", "dispatcher"]
areas = ["00"]
agency = "city"
agencies = ["*"]
"""
PACK = {
    **CASE_PACK,
    # A unit for each test, so that none finds the cases of another.
    "units.toml": "".join(_UNIT.format(n=n) for n in range(UNITS)),
    "people.toml": _DISPATCHER + "".join(_MEMBER.format(n=n) for n in range(UNITS)),
    "clocks.toml": '[[clock]]\nclock = "resolution"\nallowed = "4h"\n',
    "dispatch.toml": "[[steps]]\naccepted_s = 900\n",
}


class FieldCentre(Struct, frozen=True):
    """A running centre. `origin` is its address."""

    centre: Centre
    origin: str

    def token(self, person: str) -> str:
        """A token for somebody."""
        environ = {
            "IOC_DATA": str(self.centre.folder / "data"),
            "IOC_SITE": str(self.centre.site_folder),
            "IOC_DATABASE_URL": self.centre.database_url,
            "IOC_KAFKA": self.centre.kafka_address,
        }
        return identity.token(Settings.from_env(environ), person, TOKEN_HOURS, datetime.now(UTC))

    async def offer(self, unit: str, title: str, **more: Any) -> str:
        """Opens a case, sends the unit to it, and returns the case's id when that is so. `exercise`: in a drill."""
        opened = await self.command(
            {"action": "open", "category": "road", "title": title, "severity": "major"},
            {"area": "01", "place": "geo:21.0123,105.8123", **more},
        )
        case = opened["case"]
        drill = {"exercise": True} if more.get("exercise") else {}
        await self.command({"action": "dispatch", "unit": unit}, {"case": case, **drill})
        return case

    async def command(self, action: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
        """What came of something that the dispatcher asked for: it has to be applied."""
        id_ = uuid.uuid4().hex
        async with self._client() as client:
            answer = await client.post("/v1/commands", json={"id": id_, "do": action, **about})
            assert answer.status_code == 202, answer.text
            answer = await client.get(f"/v1/commands/{id_}", params={"wait": 30})
        outcome = answer.json()
        assert outcome["state"] == "applied", outcome
        return outcome

    async def case(self, id_: str) -> dict[str, Any]:
        """The whole case, as the dispatcher sees it."""
        async with self._client() as client:
            answer = await client.get(f"/v1/cases/{id_}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def steps(self, id_: str, last: str) -> dict[str, datetime]:
        """The steps of the case's only offer with their times, once it has come as far as `last`."""
        async with asyncio.timeout(WAIT_S):
            while True:
                (offer,) = (await self.case(id_))["offers"]
                if last in offer["at"]:
                    return {step: datetime.fromisoformat(at) for step, at in offer["at"].items()}
                await asyncio.sleep(0.1)

    async def position(self, unit: str) -> tuple[float, float]:
        """Where a unit is, once it has said so."""
        async with self._client() as client, asyncio.timeout(WAIT_S):
            while True:
                units = (await client.get("/v1/units")).json()["items"]
                (found,) = (one for one in units if one["id"] == unit)
                if "lat" in found:
                    return found["lat"], found["lon"]
                await asyncio.sleep(0.1)

    async def decided(self, person: str) -> list[tuple[str, str, str | None]]:
        """Id, action and refusal of everything that somebody asked for."""
        async with self.centre.connected() as connection:
            rows = await connection.fetch(
                "SELECT id, action, reason FROM command WHERE source = $1 ORDER BY id", f"person:{person}"
            )
        return [(row["id"], row["action"], row["reason"]) for row in rows]

    @asynccontextmanager
    async def _client(self) -> AsyncGenerator[httpx.AsyncClient]:
        headers = {"Authorization": f"Bearer {self.token(DISPATCHER)}"}
        async with httpx.AsyncClient(base_url=self.origin, headers=headers, trust_env=False, timeout=60) as client:
            yield client


@contextmanager
def field_centre(services: Services, folder: Path) -> Generator[FieldCentre]:
    """A centre with topics and tables of its own, for as long as the block lasts."""
    name = f"field_{uuid.uuid4().hex[:8]}"
    url = urlunsplit(urlsplit(services.database_url)._replace(path=f"/{name}"))
    centre = Centre(services.kafka, url, f"{name}.", folder, write_pack(PACK, folder / "site"))

    async def begin() -> None:
        admin = await asyncpg.connect(services.database_url)
        await admin.execute(f"CREATE DATABASE {name}")
        await admin.close()
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        await connection.close()
        await centre.create()

    async def end() -> None:
        admin = await asyncpg.connect(services.database_url)
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await admin.close()

    asyncio.run(begin())
    try:
        centre.start_worker(0)
        with centre.web() as origin:
            asyncio.run(ready(centre, origin))
            yield FieldCentre(centre, origin)
    finally:
        centre.end()
        asyncio.run(end())
