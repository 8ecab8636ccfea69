"""Does a screen on a wall get to see cases, and nothing else, whatever somebody tries with its key?"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from dashboard_api.display_key import COOKIE, PATHS
from dashboard_api.live_client import SIGN_IN_ENDED
from ingest.gateway.guard import Guard
from schemas.display import hash_of, new_key
from schemas.errors import AccessReason, AccessRefused
from schemas.site import Site, parse_site
from schemas.unit import UnitState, UnitStatus
from tests.dashboard.case_centre import PACK, Centre, case_centre
from tests.dashboard.case_rows import case, put_cases, put_units, tell
from tests.dashboard.centre import hear, say, utc_now

KEY = new_key()
ENTRY = f'[[display]]\nid = "hall"\nas = "olga"\nkey = "{hash_of(KEY)}"\n'
SITE = parse_site({**PACK, "displays.toml": ENTRY})
WITHOUT = parse_site(PACK)
WORDS = "What somebody wrote"
SHOWN = {"Cookie": f"{COOKIE}={KEY}"}


class Wall:
    """A centre with one screen. `site` may be replaced while it runs."""

    def __init__(self, centre: Centre) -> None:
        self.centre = centre
        self.http = centre.running.http

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.http, trust_env=False, timeout=40) as client:
            return await client.request(method, path, **options)


@asynccontextmanager
async def wall(database_url: str, current: list[Site]) -> AsyncGenerator[Wall]:
    async with case_centre(database_url, current_site=lambda: current[0]) as centre:
        yield Wall(centre)


async def test_the_key_becomes_a_cookie_that_no_script_reads(tables: str) -> None:
    async with wall(tables, current := [SITE]) as screen:
        own = {"IOC-Request": "1"}
        opened = await screen.ask("POST", "/signin/display", content=KEY, headers=own)
        assert opened.json() == {"asked": True, "id": "hall"}
        cookie = opened.headers["set-cookie"]
        assert cookie.startswith(f"{COOKIE}={KEY}; HttpOnly; Max-Age=34560000; Path=/; SameSite=strict")
        # Coming back, it needs no key, and keeps the cookie for as long again.
        again = await screen.ask("POST", "/signin/display", headers={**own, **SHOWN})
        assert again.json()["id"] == "hall"
        assert again.headers["set-cookie"] == cookie
        me = (await screen.ask("GET", "/v1/me", headers=SHOWN)).json()
        assert (me["id"], me["roles"], me["agency"], me["unit"]) == ("display:hall", ["display"], None, None)
        for content, headers, status, reason in (
            (new_key(), own, 401, AccessReason.UNKNOWN_DISPLAY),
            ("", own, 401, AccessReason.NOT_SIGNED_IN),
            (KEY, {"Origin": "https://elsewhere.example"}, 403, AccessReason.CROSS_SITE),
            (KEY, {}, 403, AccessReason.CROSS_SITE),
        ):
            refused = await screen.ask("POST", "/signin/display", content=content, headers=headers)
            assert (refused.status_code, refused.json()["reason"]) == (status, reason)
            assert "set-cookie" not in refused.headers
        current[0] = WITHOUT
        gone = await screen.ask("POST", "/signin/display", headers={**own, **SHOWN})
        assert (gone.status_code, gone.json()["reason"]) == (401, "unknown_display")
        assert (await screen.ask("GET", "/v1/me", headers=SHOWN)).json()["id"] is None


async def test_to_every_other_address_a_screen_is_nobody(tables: str) -> None:
    async with wall(tables, [SITE]) as screen:
        await put_cases(screen.centre.connection, case("c1", title=WORDS))
        document = (await screen.ask("GET", "/v1/openapi/dashboard.json")).json()
        asked = 0
        for path, methods in document["paths"].items():
            address = path.replace("{id}", "c1").replace("{number}", "0")
            for method in methods:
                if path in PATHS:
                    continue
                asked += 1
                as_screen = await screen.ask(method.upper(), address, headers=SHOWN)
                as_nobody = await screen.ask(method.upper(), address)
                assert as_screen.status_code == as_nobody.status_code, path
                assert WORDS not in as_screen.text, path
        assert asked > 20
        for path in ("/v1/cases", "/v1/cases/c1", "/v1/cases/c1/timeline", "/v1/cases?format=csv", "/v1/events"):
            refused = await screen.ask("GET", path, headers=SHOWN)
            assert (refused.status_code, refused.json()["reason"]) == (401, "not_signed_in"), path
        # The key is no token either, and changes nothing of what a person may.
        bearer = await screen.ask("GET", "/v1/cases", headers={"Authorization": f"Bearer {KEY}"})
        assert bearer.status_code == 401
        olga = screen.centre.issuer.header("olga")
        assert (await screen.ask("GET", "/v1/cases", headers={**olga, **SHOWN})).status_code == 200
        assert (await screen.ask("GET", "/v1/me", headers={**olga, **SHOWN})).json()["id"] == "olga"
        # One that has expired leaves the screen its own sight, for nobody is there to sign in again.
        stale = {"Cookie": f"{COOKIE}={KEY}; ioc_session={screen.centre.issuer.token('nobody')}"}
        assert (await screen.ask("GET", "/v1/me", headers=stale)).json()["id"] == "display:hall"


@pytest.mark.parametrize("path", ["/v1/commands", "/v1/reports"])
async def test_it_gives_no_command(path: str) -> None:
    guard = Guard(lambda: SITE, utc_now, None)
    headers = [(b"cookie", SHOWN["Cookie"].encode()), (b"ioc-request", b"1"), (b"host", b"here")]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
    with pytest.raises(AccessRefused) as refused:
        await guard.signed_in(scope)
    assert refused.value.reason is AccessReason.NOT_SIGNED_IN


async def test_it_follows_cases_without_a_word_until_its_key_is_taken(tables: str) -> None:
    async with wall(tables, current := [SITE]) as screen:
        connection = screen.centre.connection
        spot = "geo:21.05,105.85"
        await put_cases(
            connection,
            case("c1", title=WORDS, place=spot, acknowledged_by="olga"),
            case("home", title=WORDS, place=spot, category="violence"),
            case("official", title=WORDS, agency="city", accused_agency="works", category="conduct"),
            case("of nobody", title=WORDS, accused_agency="city", category="conduct"),
        )
        noted = UnitState(unit="u1", version=1, status=UnitStatus.OFF, note=WORDS)
        await put_units(connection, noted)
        async with screen.centre.running.live(additional_headers=SHOWN) as client:
            wish: dict[str, Any] = {
                "kpis": [],
                "cases": {"open": True},
                "units": True,
                "events": 20,
                "commands": True,
            }
            await say(client, op="subscribe", **wish)
            snapshot = await hear(client, "snapshot")
            cases = {one["id"]: one for one in snapshot["cases"]}
            assert {id_: (one["title"], one.get("place")) for id_, one in cases.items()} == {
                "c1": ("", spot),
                "home": ("", None),
            }
            assert cases["c1"]["acknowledged_by"] == ""
            assert [unit["status"] for unit in snapshot["units"] if unit["id"] == "u1"] == ["off"]
            assert snapshot["events"] == []
            assert WORDS not in str(snapshot)
            async with connection.transaction():
                await put_cases(connection, case("c1", version=2, title=WORDS, place=spot, category="violence"))
                await put_units(connection, UnitState(unit="u1", version=2, status=UnitStatus.BUSY, note=WORDS))
                await tell(connection, ["c1", "official"], ["u1"])
            change = await hear(client, "change")
            assert [(one["id"], one["version"], one.get("place")) for one in change["cases"]] == [("c1", 2, None)]
            assert [(unit["id"], unit["status"]) for unit in change["units"]] == [("u1", "busy")]
            assert WORDS not in str(change)
            # Taken away, it is shown nothing more.
            current[0] = WITHOUT
            with pytest.raises(ConnectionClosed) as closed:
                await hear(client, "no such message")
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == SIGN_IN_ENDED
        async with screen.centre.running.live(additional_headers=SHOWN) as client:
            await say(client, op="subscribe", **wish)
            assert (await hear(client, "error"))["reason"] == "not_signed_in"


async def test_a_person_beside_it_reads_what_it_does_not(tables: str) -> None:
    async with wall(tables, [SITE]) as screen:
        connection = screen.centre.connection
        await put_cases(connection, case("c1"))
        await put_units(connection, UnitState(unit="u1", version=1, status=UnitStatus.OFF))
        async with (
            screen.centre.live("olga") as person,
            screen.centre.running.live(additional_headers=SHOWN) as wall_,
        ):
            for client in (person, wall_):
                await say(client, op="subscribe", kpis=[], cases={"open": True}, units=True)
                await hear(client, "snapshot")
            async with connection.transaction():
                await put_cases(connection, case("c1", version=2, title=WORDS))
                await put_units(connection, UnitState(unit="u1", version=2, status=UnitStatus.OFF, note=WORDS))
                await tell(connection, ["c1"], ["u1"])
            told = [await hear(client, "change") for client in (person, wall_)]
            assert [one["cases"][0]["title"] for one in told] == [WORDS, ""]
            assert [one["units"][0].get("note") for one in told] == [WORDS, None]
