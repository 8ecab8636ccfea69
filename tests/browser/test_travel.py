"""Can nobody take the past or a drill for the present, on either board?"""

import re
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
from playwright.async_api import Browser, Page, expect

from deploy.case_actions import next_actions
from deploy.migrate import migrate_schema
from schemas.case import State
from schemas.exercise import drill_name
from schemas.site import parse_site
from tests.browser.chromium import CONTRASTS_BELOW_AA
from tests.dashboard.case_centre import PACK
from tests.dashboard.case_rows import OPENED_AT, case, put_cases
from tests.dashboard.centre import Sample, counting, dashboard, writer

SLOW_MS = 30_000
KPI = "feedback_received"
INSTANTS = """async () => {
    const { instantOf } = await import("./shared/travel.js");
    const asked = [
        ["2026-03-03T14:02", "Asia/Ho_Chi_Minh"],
        ["2026-03-08T01:59", "America/New_York"],
        ["2026-03-08T03:00", "America/New_York"],
    ];
    return asked.map(([text, zone]) => instantOf(text, zone).toISOString());
}"""
"""The moments that clocks show, also next to where they are changed."""
SITE = parse_site({name: text for name, text in PACK.items() if name != "people.toml"})
"""Whoever comes may see everything: who may see what is for other tests."""


@asynccontextmanager
async def at(browser: Browser, address: str, **options: Any) -> AsyncGenerator[Page]:
    """A page in a browser profile of its own, in English. What goes wrong on it fails the test."""
    context = await browser.new_context(**options)
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(address)
    yield page
    assert errors == []
    await context.close()


async def test_the_past_and_drills_are_shown_as_what_they_are(browser: Browser, database_url: str) -> None:
    await migrate_schema(database_url)
    connection: Any = await asyncpg.connect(database_url)
    minute = int(time.time()) // 60 * 60 - 600
    # All in one hour, for that is what the board shows.
    minute -= 600 if minute % 3600 >= 3300 else 0
    async with (
        counting(database_url),
        dashboard(database_url, current_site=lambda: SITE, config={"next_actions": next_actions}) as running,
        writer(database_url) as stream,
    ):
        await put_cases(connection, case("a", title="Hole in the road"), case("b", title="Broken lamp"))
        await put_cases(connection, case("d", title="Pretended flood", exercise=True))
        await stream.commit([Sample(kpi=KPI, area="01", time_s=minute)] * 3)
        await stream.commit([Sample(kpi=drill_name(KPI), area="01", time_s=minute)] * 5)
        await stream.close_until(minute + 120)
        await connection.execute(
            "INSERT INTO closed_until SELECT topic, clock_timestamp(), $1 FROM position", float(minute + 120)
        )
        moment = await connection.fetchval("SELECT clock_timestamp()")
        await put_cases(
            connection, case("a", version=2, title="Hole mended", state=State.CLOSED, closed_at=OPENED_AT)
        )
        await stream.commit([Sample(kpi=KPI, area="01", time_s=minute + 240)] * 4)
        past = f"as_of={moment.astimezone(UTC).isoformat().replace('+00:00', 'Z')}&speed=0&language=en"

        async with at(browser, f"{running.http}/operator?language=en") as page:
            # Live: the mended hole is gone from the list, drills are not on it, and the past is offered.
            await expect(page.locator("#list")).to_contain_text("Broken lamp", timeout=SLOW_MS)
            await expect(page.locator("#list")).not_to_contain_text("Pretended flood")
            await expect(page.locator("#list")).not_to_contain_text("Hole")
            await expect(page.locator(".travel")).to_have_count(0)
            await page.locator("#travel summary").click()
            await expect(page.locator("#travel .travel-moment")).to_be_visible()
            await page.locator("#list").get_by_text("Broken lamp").click()
            await expect(page.locator("#case [data-action]").first).to_be_visible(timeout=SLOW_MS)
            await expect(page.locator("#travel .travel-drill")).to_have_attribute("href", re.compile("drill=1"))
            told = await page.evaluate(INSTANTS)
            assert told == ["2026-03-03T07:02:00.000Z", "2026-03-08T06:59:00.000Z", "2026-03-08T07:00:00.000Z"]
            # A drill's case, opened by its address, offers nothing here.
            await page.goto(f"{running.http}/operator?language=en#d")
            await page.reload()
            await expect(page.locator("#case")).to_contain_text("Pretended flood", timeout=SLOW_MS)
            await expect(page.locator("#case [data-action]")).to_have_count(0)

        async with at(browser, f"{running.http}/operator?{past}", viewport={"width": 1280, "height": 800}) as page:
            await expect(page.locator("#list")).to_contain_text("Hole in the road", timeout=SLOW_MS)
            await expect(page.locator(".travel-says")).to_contain_text("NOT LIVE")
            await expect(page.locator("body")).to_have_attribute("data-mode", "past")
            await expect(page.locator("#open-case")).to_be_hidden()
            await page.locator("#list").get_by_text("Hole in the road").click()
            await expect(page.locator("#case")).to_contain_text("Hole in the road", timeout=SLOW_MS)
            await expect(page.locator("#case [data-action]")).to_have_count(0)
            assert await page.evaluate(CONTRASTS_BELOW_AA) == []
            # On it goes: what happened then happens again, and the address keeps where it is.
            await page.locator('.travel [data-speed="600"]').click()
            await expect(page.locator("#list")).not_to_contain_text("Hole in the road", timeout=SLOW_MS)
            await expect(page.locator("#list")).to_contain_text("Broken lamp")
            assert parse_qs(urlsplit(page.url).query)["speed"] == ["600"]
            await page.locator(".travel-live").click()
            await expect(page.locator("body")).to_have_attribute("data-mode", "live", timeout=SLOW_MS)
            assert "as_of" not in page.url

        async with at(browser, f"{running.http}/?{past}", viewport={"width": 390, "height": 800}) as page:
            number = page.locator(f'[data-kpi="{KPI}"] .number')
            await expect(number).to_have_text("3", timeout=SLOW_MS)
            await expect(page.locator(".travel-says")).to_contain_text("NOT LIVE")
            await expect(page.locator("#connection")).to_be_hidden()
            # Which of the figures are not all of their hour is said at each.
            when = page.locator(f'[data-kpi="{KPI}"] .when')
            await expect(when).to_contain_text(re.compile("known up to|00$"))

        async with at(browser, f"{running.http}/?language=en") as page:
            await expect(page.locator(f'[data-kpi="{KPI}"] .number')).to_have_text("7", timeout=SLOW_MS)
            await expect(page.locator(f'[data-kpi="{drill_name(KPI)}"]')).to_have_count(0)

        async with at(browser, f"{running.http}/?drill=1&language=vi", color_scheme="dark") as page:
            await expect(page.locator(f'[data-kpi="{drill_name(KPI)}"] .number')).to_have_text("5", timeout=SLOW_MS)
            await expect(page.locator(f'[data-kpi="{KPI}"]')).to_have_count(0)
            await expect(page.locator(".travel-says")).to_contain_text("DIỄN TẬP")
            assert await page.evaluate(CONTRASTS_BELOW_AA) == []
            await page.emulate_media(media="print")
            await expect(page.locator(".travel-says")).to_be_visible()

        async with at(browser, f"{running.http}/operator?drill=1&language=en") as page:
            await expect(page.locator("#list")).to_contain_text("Pretended flood", timeout=SLOW_MS)
            await expect(page.locator("#list")).not_to_contain_text("Broken lamp")
            await page.locator("#list").get_by_text("Pretended flood").click()
            await expect(page.locator("#case [data-action]").first).to_be_visible(timeout=SLOW_MS)
            # Whatever is done here goes out as part of the drill.
            await page.locator('#case [data-action="note"]').click()
            await page.locator("dialog[open] textarea").first.fill("Practised")
            async with page.expect_request("**/v1/commands", timeout=SLOW_MS) as asked:
                await page.locator('dialog[open] button[type="submit"], dialog[open] button.main').first.click()
            sent = (await asked.value).post_data_json
            assert (sent["case"], sent["do"]["action"], sent["exercise"]) == ("d", "note", True)

        year = f"period={datetime.fromtimestamp(minute, UTC).year}"
        card = f'#cards [data-kpi="{KPI}"]'
        async with at(
            browser, f"{running.http}/leader?{past}&{year}", viewport={"width": 1280, "height": 900}
        ) as page:
            await expect(page.locator(f"{card} .big")).to_contain_text("3", timeout=SLOW_MS)
            await expect(page.locator(card)).to_contain_text("known up to")
            await expect(page.locator(".travel-says")).to_contain_text("NOT LIVE")
            await expect(page.locator("#past")).to_contain_text("have no past")
            await expect(page.locator("#export")).to_be_hidden()
            await page.select_option("#chosen", KPI)
            row = page.locator('#areas tr[data-area="01"]')
            await expect(row).to_contain_text("known up to", timeout=SLOW_MS)
            assert await page.evaluate(CONTRASTS_BELOW_AA) == []
            await page.locator(f"{card} .card-link").click()
            await expect(page.locator("#depth .big")).to_contain_text("3", timeout=SLOW_MS)
            await expect(page.locator("#course")).to_contain_text("known up to", timeout=SLOW_MS)
            await expect(page.locator("#cases")).to_be_hidden()
            assert "as_of=" in page.url
            # Played on, it comes to what was known later: of that nothing more had closed.
            await page.locator('.travel [data-speed="600"]').click()
            await expect(page.locator(".travel-note")).to_contain_text("become the present", timeout=SLOW_MS)
            await page.emulate_media(media="print")
            await expect(page.locator("#report .not-live")).to_contain_text("NOT LIVE")
            await page.emulate_media(media="screen")
            await page.locator(".travel-live").click()
            await expect(page.locator("#depth .big")).to_contain_text("7", timeout=SLOW_MS)
            assert "as_of" not in page.url

        async with at(browser, f"{running.http}/leader?drill=1&language=vi&{year}&kpi={KPI}") as page:
            await expect(page.locator("#depth .big")).to_contain_text("5", timeout=SLOW_MS)
            await expect(page.locator(".travel-says")).to_contain_text("DIỄN TẬP")
            await expect(page.locator("body")).to_have_attribute("data-drill", "yes")
    await connection.close()
