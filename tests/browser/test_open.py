"""Does everybody see the published cases, as a list and on a map, and no more of them than may be seen?"""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from playwright.async_api import Browser, expect

from deploy.migrate import migrate_schema
from schemas.case import State
from schemas.site import parse_site
from tests.browser.chromium import CONTRASTS_BELOW_AA, Watched
from tests.browser.citizen_centre import PACK
from tests.dashboard.case_centre import Centre, case_centre
from tests.dashboard.case_rows import OPENED_AT, case, put_cases

SLOW_MS = 40_000
SITE = parse_site(PACK)
ATTACK = "<img src=x onerror=\"document.title='owned'\">"


@pytest.fixture
async def centre(database_url: str) -> AsyncIterator[Centre]:
    """A dashboard over cases of which some are published."""
    await migrate_schema(database_url)
    async with case_centre(database_url, current_site=lambda: SITE) as running:
        await put_cases(
            running.connection,
            case("hole", published=True, place="geo:21.01234,105.81234", title=ATTACK),
            case("done", published=True, place="geo:21.05,105.86", area="02", state=State.CLOSED),
            case("home", published=True, place="geo:21.03,105.84", category="violence"),
            case("unplaced", published=True, category=ATTACK, opened_at=OPENED_AT - timedelta(days=2)),
            case("kept", published=False, place="geo:21.02,105.82"),
        )
        yield running


async def test_published_cases_are_listed_drawn_filtered_and_given_away(browser: Browser, centre: Centre) -> None:
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    watched = Watched(await context.new_page())
    page = watched.page
    await page.goto(f"{centre.running.http}/open")
    rows = page.locator("#rows tr")
    await expect(rows).to_have_count(4, timeout=SLOW_MS)
    await expect(page.locator("#count")).to_have_text("4 vụ việc.")
    hole = page.locator('#rows tr[data-id="hole"]')
    await expect(hole.locator("td")).to_have_text(["Đường sá", "Phường Một", "01/09/2026", "Đã tiếp nhận"])
    # A category that nobody declared is shown as it came, and is text.
    await expect(page.locator('#rows tr[data-id="unplaced"] td').first).to_have_text(ATTACK)
    assert await page.locator("main img").count() == 0
    await expect(page.locator("#map .map-mark[data-ids]")).to_have_count(3)
    await expect(page.locator("#map .map-mark.rounded[data-ids]")).to_have_count(1)
    await expect(page.locator("#map-about")).to_contain_text("3 vụ việc")

    # North is up and east is right: the map says what the places say.
    spots = {
        await node.get_attribute("data-ids"): await node.locator(".map-form").bounding_box()
        for node in await page.locator("#map .map-mark[data-ids]").all()
    }
    assert spots["done"]["y"] < spots["home"]["y"] < spots["hole"]["y"]  # type: ignore[index]
    assert spots["hole"]["x"] < spots["home"]["x"] < spots["done"]["x"]  # type: ignore[index]

    await hole.get_by_role("button").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#map .map-mark.on")).to_have_attribute("data-ids", "hole")
    await page.locator('#map .map-mark[data-ids="done"]').click()
    await expect(page.locator("#rows tr.on")).to_have_attribute("data-id", "done")

    await page.get_by_role("button", name="English").click()
    await page.get_by_label("How it stands").select_option("closed")
    await expect(rows).to_have_count(1)
    await expect(rows.locator("td").last).to_have_text("Closed")
    assert page.url.endswith("/open?state=closed")
    await page.get_by_label("How it stands").select_option("all")
    await page.get_by_label("Area").select_option("01")
    await expect(rows).to_have_count(3)
    await page.get_by_label("What it is about").select_option("violence")
    await expect(rows).to_have_count(1)
    await page.reload()
    await expect(rows).to_have_count(1, timeout=SLOW_MS)
    await expect(page.get_by_label("What it is about")).to_have_value("violence")
    for name, word in (("CSV", "home"), ("GeoJSON", '"home"')):
        file = await page.request.get(await page.get_by_role("link", name=name).evaluate("link => link.href"))
        text = await file.text()
        assert word in text
        assert "hole" not in text
    await page.get_by_label("Area").select_option("02")
    await expect(page.locator("#nothing")).to_contain_text("Nothing is published")
    await expect(page.locator("#map-part")).to_be_hidden()
    await page.goto(f"{centre.running.http}/open?area=nowhere")
    await expect(rows).to_have_count(4, timeout=SLOW_MS)
    # Only the address of an area that there is not was refused.
    assert [error for error in watched.errors if "422" not in error] == []
    assert watched.elsewhere == []
    await context.close()


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_fits_and_says_when_it_is_old(browser: Browser, centre: Centre, width: int, scheme: str) -> None:
    context = await browser.new_context(viewport={"width": width, "height": 740}, color_scheme=scheme)  # type: ignore[arg-type]
    page = await context.new_page()
    await page.goto(f"{centre.running.http}/open?language=en")
    await expect(page.locator("#rows tr")).to_have_count(4, timeout=SLOW_MS)
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    assert await page.evaluate(CONTRASTS_BELOW_AA) == []
    await expect(page.locator("body")).to_have_attribute("data-fresh", "yes")
    await page.clock.install()
    await page.route("**/*", lambda route: route.abort())
    # By the page's own clock; what was under way when the link went may still have come.
    await page.clock.run_for(6000)
    await expect(page.locator("body")).to_have_attribute("data-fresh", "no")
    await expect(page.locator("#stale")).to_contain_text("may have changed")
    assert await page.evaluate(CONTRASTS_BELOW_AA) == []
    await page.unroute("**/*")
    await page.clock.run_for(10_000)
    await expect(page.locator("body")).to_have_attribute("data-fresh", "yes", timeout=SLOW_MS)
    await context.close()
