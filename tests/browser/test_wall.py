"""Does a screen that nobody sits at show what it may, come back by itself, and go dark when its key is taken away?"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, Page, expect

from deploy.migrate import migrate_schema
from schemas.case import Severity
from schemas.display import hash_of, new_key
from schemas.site import Site, parse_site
from schemas.unit import UnitState, UnitStatus
from tests.browser.chromium import CONTRASTS_BELOW_AA
from tests.dashboard.case_centre import PACK, Centre, case_centre
from tests.dashboard.case_rows import case, put_cases, put_units, tell
from tests.dashboard.centre import counting

SLOW_MS = 40_000
KEY = new_key()
WITHOUT = parse_site(PACK)
SITE = parse_site({**PACK, "displays.toml": f'[[display]]\nid = "hall"\nas = "olga"\nkey = "{hash_of(KEY)}"\n'})
WORDS = "What somebody wrote"
ALL = "map,cases,alerts,kpis,units,sources"
LETTERS_SHARE_MIN = 1 / 60
"""The least height of what has to be read, as a part of the screen's: 11 mm on one of 0.7 m."""


@asynccontextmanager
async def screen(browser: Browser, address: str, **options: Any) -> AsyncGenerator[Page]:
    """A browser on a wall, in English. What goes wrong on the page fails the test."""
    context = await browser.new_context(**{"viewport": {"width": 1920, "height": 1080}} | options)
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.clock.install()
    await page.goto(address)
    yield page
    assert errors == []
    await context.close()


async def fill(centre: Centre) -> None:
    await put_cases(
        centre.connection,
        *(case(f"c{n}", title=WORDS, place=f"geo:21.0{n},105.8{n}") for n in range(10, 60)),
        case("fire", title=WORDS, place="geo:21.09,105.99", severity=Severity.CRITICAL),
        case("home", title=WORDS, place="geo:21.03,105.84", category="violence"),
    )
    await put_units(centre.connection, UnitState(unit="u1", version=1, status=UnitStatus.BUSY, note=WORDS))


async def test_it_shows_cases_without_words_and_survives_a_restart(browser: Browser, database_url: str) -> None:
    await migrate_schema(database_url)
    async with counting(database_url), case_centre(database_url, current_site=lambda: SITE) as centre:
        await fill(centre)
        origin = centre.running.http
        port = int(centre.running.address.rpartition(":")[2])
        async with screen(browser, f"{origin}/wall?language=en&show={ALL}&rotate=5#{KEY}") as page:
            body = page.locator("body")
            await expect(body).to_have_attribute("data-connection", "live", timeout=SLOW_MS)
            await expect(page.locator(".tile")).to_have_count(6)
            # The key stands nowhere that somebody in the room could read, or a script.
            assert KEY not in page.url
            assert KEY not in str(await page.evaluate("[document.cookie, {...localStorage}]"))
            kept = {one["name"]: one for one in await page.context.cookies()}
            assert kept["ioc_display"]["httpOnly"] is True
            cases = page.locator('[data-tile="cases"] .row-case:visible')
            await expect(cases.first).to_contain_text("Roads")
            await expect(page.locator('[data-tile="alerts"] .row-case')).to_contain_text("seen by nobody")
            await expect(page.locator('[data-tile="units"] [data-status="busy"] strong')).to_have_text("1")
            await expect(page.locator('[data-tile="map"] .map-mark[data-ids]').first).to_be_visible()
            # The place of what is sensitive is not among them.
            marks = page.locator('[data-tile="map"] .map-mark[data-ids]')
            ids = " ".join(await marks.evaluate_all("nodes => nodes.map((one) => one.dataset.ids)")).split()
            assert len(ids) == 51
            assert "home" not in ids
            assert WORDS not in await page.content()

            # Large enough, all on one screen, and with nothing to press.
            await fits(page)
            assert await page.locator("button:visible, a:visible, input:visible").count() == 0
            # What does not fit comes by itself.
            first = await cases.first.get_attribute("data-id")
            await expect(page.locator('[data-tile="cases"] .about')).to_contain_text("/")
            await page.clock.fast_forward(6_000)
            await expect(cases.first).not_to_have_attribute("data-id", str(first), timeout=SLOW_MS)

            # What comes in is there, with the map's mark.
            async with centre.connection.transaction():
                await put_cases(centre.connection, case("new", severity=Severity.CRITICAL, title=WORDS))
                await tell(centre.connection, ["new"], [])
            await expect(page.locator('[data-tile="alerts"] .row-case')).to_have_count(2, timeout=SLOW_MS)

            # The web process goes and comes: it says so, and goes on without anybody.
            await body.evaluate("node => node.dataset.same = 1")
            centre.running.server.should_exit = True
            await asyncio.wait_for(asyncio.shield(centre.running.task), SLOW_MS / 1000)
            await page.clock.fast_forward(5_000)
            await expect(body).to_have_attribute("data-fresh", "no", timeout=SLOW_MS)
            await expect(page.locator("#banner")).to_contain_text("may have changed")
            await expect(cases.first).to_be_visible()
            assert await page.evaluate(CONTRASTS_BELOW_AA) == []
            # Whatever happens meanwhile, the page does not go away while nobody answers.
            await page.evaluate("window.dispatchEvent(new ErrorEvent('error'))")
            await page.clock.fast_forward(70_000)
            await expect(body).to_have_attribute("data-same", "1")
            async with case_centre(database_url, current_site=lambda: SITE, port=port):
                # An error makes it load itself anew, as soon as there is somebody to load it from.
                await page.clock.fast_forward(6_000)
                await expect(body).not_to_have_attribute("data-same", "1", timeout=SLOW_MS)
                await expect(body).to_have_attribute("data-connection", "live", timeout=SLOW_MS)
                await expect(page.locator(".tile")).to_have_count(6)
                # So does another version of the pages.
                await body.evaluate("node => node.dataset.same = 1")

                async def upgraded(route: Any) -> None:
                    answer = await route.fetch()
                    await route.fulfill(response=answer, headers={**answer.headers, "ioc-pages": "another"})

                await page.route("**/wall", upgraded)
                async with page.expect_request("**/wall"):
                    await page.clock.fast_forward(61_000)
                # Not at once: pages that reload each moment would only flicker.
                await page.clock.fast_forward(61_000)
                await expect(body).not_to_have_attribute("data-same", "1", timeout=SLOW_MS)
                await expect(page.locator(".tile")).to_have_count(6, timeout=SLOW_MS)


async def test_without_a_key_it_shows_nothing_and_says_why(browser: Browser, database_url: str) -> None:
    await migrate_schema(database_url)
    current: list[Site] = [SITE]
    async with counting(database_url), case_centre(database_url, current_site=lambda: current[0]) as centre:
        await fill(centre)
        origin = centre.running.http
        async with screen(browser, f"{origin}/wall?language=en") as page:
            body = page.locator("body")
            await expect(body).to_have_attribute("data-state", "none", timeout=SLOW_MS)
            await expect(page.locator("#state")).to_contain_text("ioc display add")
            await expect(page.locator(".tile")).to_have_count(0)
            await page.goto(f"{origin}/wall?language=en&show=cases,map#{new_key()}")
            await page.reload()
            await expect(body).to_have_attribute("data-state", "revoked", timeout=SLOW_MS)

            # With its key it shows cases; taken away, nothing stays on it; given back, it goes on by itself.
            await page.goto("about:blank")
            await page.goto(f"{origin}/wall?language=en&show=cases,map#{KEY}")
            await expect(page.locator(".row-case:visible").first).to_be_visible(timeout=SLOW_MS)
            current[0] = WITHOUT
            await expect(body).to_have_attribute("data-state", "revoked", timeout=SLOW_MS)
            await expect(page.locator("#state")).to_contain_text("not valid any more")
            await expect(page.locator(".tile, .row-case, .map-mark")).to_have_count(0)
            await fits(page)
            current[0] = SITE
            await page.clock.fast_forward(90_000)
            await expect(page.locator(".row-case:visible").first).to_be_visible(timeout=SLOW_MS)


async def fits(page: Page) -> None:
    """All is on the screen, large enough and with contrast."""
    size = await page.evaluate(
        "[document.documentElement.scrollWidth - innerWidth, document.documentElement.scrollHeight - innerHeight]"
    )
    assert size == [0, 0]
    small = await page.evaluate(
        """(least) => [...document.querySelectorAll(".name, .when, .where, .what, .tile-head *, .top *, #state *")]
            .filter((one) => one.getClientRects().length && one.textContent.trim())
            .filter((one) => parseFloat(getComputedStyle(one).fontSize) < innerHeight * least)
            .map((one) => one.outerHTML.slice(0, 80))""",
        LETTERS_SHARE_MIN,
    )
    assert small == []
    assert await page.evaluate(CONTRASTS_BELOW_AA) == []
