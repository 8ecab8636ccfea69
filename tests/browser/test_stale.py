"""Does the phone's page say within five seconds that the centre is not heard any more, although nothing was closed?

Each other page has this in a file of its own. The page's clock is moved, so that no machine is too slow for it.
"""

from urllib.parse import urlsplit

from playwright.async_api import Browser, WebSocketRoute, expect

from deploy.migrate import migrate_schema
from schemas.case import Offer, OfferStep, State
from schemas.credential import SESSION_COOKIE
from tests.browser.chromium import CONTRASTS_BELOW_AA
from tests.dashboard.case_centre import case_centre
from tests.dashboard.case_rows import OPENED_AT, case, put_cases
from tests.dashboard.centre import counting

SLOW_MS = 30_000


async def test_a_phone_out_of_reach_says_so(browser: Browser, database_url: str) -> None:
    await migrate_schema(database_url)
    offer = Offer(number=1, unit="u1", step=OfferStep.ACCEPTED, at={OfferStep.ACCEPTED: OPENED_AT})
    async with counting(database_url), case_centre(database_url) as centre:
        await put_cases(centre.connection, case("hole", agency="works", state=State.ACCEPTED, offers=(offer,)))
        is_reached = True

        def relay(page_side: WebSocketRoute) -> None:
            server = page_side.connect_to_server()
            page_side.on_message(lambda message: server.send(message) if is_reached else None)
            server.on_message(lambda message: page_side.send(message) if is_reached else None)

        context = await browser.new_context(viewport={"width": 390, "height": 844}, service_workers="block")
        host = urlsplit(centre.running.http).hostname or ""
        cookie = {"name": SESSION_COOKIE, "value": centre.issuer.token("uma"), "domain": host, "path": "/"}
        await context.add_cookies([cookie])  # type: ignore[list-item]
        page = await context.new_page()
        await page.clock.install()
        await page.route_web_socket("**/v1/**", relay)
        await page.goto(f"{centre.running.http}/field")
        body = page.locator("body")
        await expect(page.locator("#cards li")).to_have_count(1, timeout=SLOW_MS)
        await expect(body).to_have_attribute("data-link", "live", timeout=SLOW_MS)
        await expect(body).to_have_attribute("data-fresh", "yes")
        is_reached = False
        await page.route("**/*", lambda route: route.abort())
        await page.clock.run_for(5000)
        await expect(body).to_have_attribute("data-fresh", "no")
        await expect(page.locator("#banner")).to_contain_text("Mất kết nối")
        await expect(page.locator("#cards li")).to_have_count(1)
        assert await page.evaluate(CONTRASTS_BELOW_AA) == []
        await context.close()
