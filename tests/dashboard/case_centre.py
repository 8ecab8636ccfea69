"""What does a centre with people, agencies and units look like to a test, and how does somebody sign in there?"""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import httpx
import msgspec

from deploy.case_actions import next_actions
from schemas.command import Actor
from schemas.identity import Person, Role, actor_from
from schemas.site import Site, parse_site
from tests.dashboard.centre import AREAS_CSV, KPIS_TOML, SITE_TOML, Running, dashboard, utc_now
from tests.schemas.signer import KnownKeys, Signer

AGENCIES_TOML = """
[[agency]]
id = "city"
names = { vi = "Thành phố", en = "City" }
supervisor = "state"

[[agency]]
id = "state"
names = { vi = "Trung ương", en = "State" }

[[agency]]
id = "police"
names = { vi = "Công an", en = "Police" }
supervisor = "city"

[[agency]]
id = "works"
names = { vi = "Công trình", en = "Works" }
supervisor = "city"
"""

CASES_TOML = """
other = "other"

[[category]]
id = "road"
names = { vi = "Đường sá", en = "Roads" }
skills = ["road"]
publish = true

[[category]]
id = "violence"
names = { vi = "Bạo lực gia đình", en = "Violence at home" }
sensitive = true

[[category]]
id = "conduct"
names = { vi = "Thái độ cán bộ", en = "Conduct" }
kind = "conduct"
agency = "city"

[[category]]
id = "red_light"
names = { vi = "Vượt đèn đỏ", en = "Red light" }
kind = "violation"

[[category]]
id = "other"
names = { vi = "Khác", en = "Other" }
"""

UNITS_TOML = """
[[unit]]
id = "u1"
names = { vi = "Đội 1", en = "Team 1" }
agency = "works"
area = "01"
base = "geo:21.01,105.81"
skills = ["road"]

[[unit]]
id = "u2"
names = { vi = "Đội 2", en = "Team 2" }
agency = "police"
area = "00"
base = "geo:21.02,105.82"
"""

PEOPLE_TOML = """
[[person]]
id = "olga"
name = "Operator of everything"
roles = ["operator", "dispatcher"]
areas = ["00"]
agency = "city"
agencies = ["*"]

[[person]]
id = "cleo"
name = "City alone"
roles = ["operator", "dispatcher"]
areas = ["00"]
agency = "city"

[[person]]
id = "wim"
name = "Works in ward one"
roles = ["operator", "dispatcher"]
areas = ["01"]
agency = "works"

[[person]]
id = "paul"
name = "Police"
roles = ["operator", "dispatcher", "leader"]
areas = ["00"]
agency = "police"

[[person]]
id = "paula"
name = "Police that sees all"
roles = ["operator", "dispatcher", "auditor"]
areas = ["00"]
agency = "police"
agencies = ["*"]

[[person]]
id = "uma"
name = "In unit 1"
roles = ["unit"]
unit = "u1"
areas = ["01"]
agency = "works"

[[person]]
id = "ada"
name = "Auditor"
roles = ["auditor"]
areas = ["00"]
agency = "city"
agencies = ["*"]

[[person]]
id = "ines"
name = "Sees all, and belongs to no agency"
roles = ["operator"]
areas = ["00"]
agencies = ["*"]

[[person]]
id = "lena"
name = "Leads the works"
roles = ["leader"]
areas = ["00"]
agency = "works"
"""

PACK: Mapping[str, str] = {
    "site.toml": SITE_TOML,
    "areas.csv": AREAS_CSV,
    "kpis.toml": KPIS_TOML,
    "agencies.toml": AGENCIES_TOML,
    "cases.toml": CASES_TOML,
    "units.toml": UNITS_TOML,
    "people.toml": PEOPLE_TOML,
}


def peopled_site() -> Site:
    """A site with four agencies, of which the city supervises two, two units and nine people."""
    return parse_site(PACK)


SITE = peopled_site()


def actor(person: str) -> Actor:
    """One of its people."""
    return actor_from(SITE, SITE.people[person])


LEADER = "leader-of-all"


def with_a_leader(site: Site) -> Site:
    """The same site, where one person leads the agency that supervises all others."""
    person = Person(
        id=LEADER,
        name="Leads",
        roles=[Role.LEADER],
        areas=[site.areas.root.code],
        agency="ubnd-tinh",
        agencies=["*"],
    )
    return msgspec.structs.replace(site, people={LEADER: person})


class Issuer(KnownKeys):
    """Signs tokens, and is trusted."""

    def __init__(self, now: Callable[[], datetime] = utc_now) -> None:
        self._now = now
        self._signer = Signer("ES256")
        super().__init__(self._signer)

    def token(self, person: str, lasts: timedelta = timedelta(hours=1)) -> str:
        """A token for somebody."""
        now = self._now()
        return self._signer.token(sub=person, iat=int(now.timestamp()), exp=int((now + lasts).timestamp()))

    def header(self, person: str) -> dict[str, str]:
        """What somebody's requests carry."""
        return {"Authorization": f"Bearer {self.token(person)}"}


class Centre:
    """A dashboard whose people can sign in, and a connection that writes as the workers do."""

    def __init__(self, running: Running, issuer: Issuer, connection: Any) -> None:
        self.running = running
        self.issuer = issuer
        self.connection: asyncpg.Connection[asyncpg.Record] = connection

    async def ask(
        self, path: str, person: str | None = None, secret: str | None = None, **params: Any
    ) -> httpx.Response:
        """One request, signed in as somebody or with a tracking secret or neither."""
        headers = {} if person is None else self.issuer.header(person)
        if secret is not None:
            headers["Tracking-Secret"] = secret
        async with httpx.AsyncClient(base_url=self.running.http, trust_env=False, timeout=40) as client:
            return await client.get(path, params=params or None, headers=headers)

    def live(self, person: str | None) -> Any:
        """A live client, signed in as somebody."""
        headers = {} if person is None else self.issuer.header(person)
        return self.running.live(additional_headers=headers)


@asynccontextmanager
async def case_centre(
    database_url: str,
    current_site: Callable[[], Site] = lambda: SITE,
    now: Callable[[], datetime] = utc_now,
    **options: Any,
) -> AsyncGenerator[Centre]:
    """A dashboard over these tables, with its people."""
    issuer = Issuer(now)
    config: dict[str, Any] = {"trust": issuer, "next_actions": next_actions, **(options.pop("config", {}))}
    connection = await asyncpg.connect(database_url)
    try:
        async with dashboard(database_url, current_site=current_site, now=now, config=config, **options) as running:
            yield Centre(running, issuer, connection)
    finally:
        connection.terminate()
