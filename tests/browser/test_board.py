"""Does the board, in a real browser, show what is committed, and say so when it does not?"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, expect

from deploy.migrate import migrate_schema
from tests.browser.chromium import CONTRASTS_BELOW_AA, Watched
from tests.dashboard.centre import Report, Running, Sample, counting, dashboard, redrawn_site, writer

SLOW_MS = 20_000
RECEIVED = '[data-kpi="feedback_received"]'


@pytest.fixture
async def tables(database_url: str) -> AsyncIterator[str]:
    """The address of a fresh database with all tables, and a worker that counts."""
    await migrate_schema(database_url)
    async with counting(database_url):
        yield database_url


@asynccontextmanager
async def board(browser: Browser, running: Running, query: str = "", **options: object) -> AsyncGenerator[Watched]:
    """The board in a browser profile of its own."""
    context = await browser.new_context(**options)  # type: ignore[arg-type]
    watched = Watched(await context.new_page())
    await watched.page.goto(f"{running.http}/{query}")
    yield watched
    await context.close()


async def test_the_board_shows_what_is_committed_when_it_is_committed(browser: Browser, tables: str) -> None:
    now_s = int(time.time())
    async with dashboard(tables) as running, writer(tables) as stream, board(browser, running) as watched:
        page = watched.page
        await expect(page.locator("#connection-text")).to_have_text("Trực tiếp", timeout=SLOW_MS)
        await expect(page.locator(f"{RECEIVED} .when")).to_have_text("Chưa có dữ liệu trong khoảng này")
        await stream.commit(
            [Sample(kpi="feedback_received", area="01", time_s=now_s)] * 7, [Report(id="r", area="01", text="Ổ gà")]
        )
        await expect(page.locator(f"{RECEIVED} .number")).to_have_text("7", timeout=SLOW_MS)
        await expect(page.locator(f"{RECEIVED} .news")).to_have_text("Có tin trong phút này")
        await expect(page.locator("#events .event-text").first).to_have_text("Ổ gà")
        await expect(page.locator("#sources li").nth(0)).to_have_attribute("data-state", "fresh")
        await expect(page.locator("#sources li").nth(1).locator(".simulated")).to_have_text("Mô phỏng")
        await page.get_by_label("English").check()
        await expect(page.locator("h1")).to_have_text("Test province")
        await expect(page.locator(f"{RECEIVED} .name")).to_have_text("Reports received")
        await page.locator("#area").select_option("02")
        await expect(page.locator(f"{RECEIVED} .when")).to_have_text("No data in this period")
        await page.reload()
        await expect(page.locator("h1")).to_have_text("Test province")
        await expect(page.locator("#area")).to_have_value("02")
        assert watched.errors == []
        assert watched.elsewhere == []


async def test_what_citizens_write_is_text_and_nothing_else(browser: Browser, tables: str) -> None:
    attack = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>'
    async with dashboard(tables) as running, writer(tables) as stream, board(browser, running) as watched:
        await expect(watched.page.locator("body")).to_have_attribute("data-connection", "live", timeout=SLOW_MS)
        await stream.commit(reports=[Report(id=attack, area="01", text=attack, source=attack, subject=attack)])
        await expect(watched.page.locator("#events .event-text")).to_have_text(attack, timeout=SLOW_MS)
        await expect(watched.page.locator("#sources .source-name").last).to_have_text(attack)
        assert await watched.page.locator("main img, main script").count() == 0
        assert await watched.page.title() == "Tỉnh thử"
        assert watched.errors == []
        # The policy holds even where a script tries on purpose.
        refused = await watched.page.evaluate(
            """() => new Promise((done) => {
                addEventListener("securitypolicyviolation", (event) => done(event.effectiveDirective));
                const script = document.createElement("script");
                script.textContent = "document.title = 'owned'";
                document.body.append(script);
            })"""
        )
        assert refused.startswith("script-src")
        assert await watched.page.title() == "Tỉnh thử"


async def test_a_lost_server_is_seen_within_five_seconds_and_its_return_too(browser: Browser, tables: str) -> None:
    now_s = int(time.time())
    async with writer(tables) as stream:
        await stream.commit([Sample(kpi="feedback_received", area="01", time_s=now_s)])
        async with dashboard(tables) as running:
            port = int(running.address.rpartition(":")[2])
            async with board(browser, running, "?language=en") as watched:
                body = watched.page.locator("body")
                await expect(body).to_have_attribute("data-connection", "live", timeout=SLOW_MS)
                await expect(watched.page.locator(f"{RECEIVED} .number")).to_have_text("1")
                running.server.should_exit = True
                await asyncio.wait_for(asyncio.shield(running.task), SLOW_MS / 1000)
                started_s = time.monotonic()
                await expect(body).to_have_attribute("data-connection", "stale", timeout=SLOW_MS)
                assert time.monotonic() - started_s < 5.5
                await expect(watched.page.locator("#banner")).to_contain_text("may have changed")
                await expect(watched.page.locator(f"{RECEIVED} .news")).to_contain_text("As of ")
                await stream.commit([Sample(kpi="feedback_received", area="01", time_s=now_s)])
                async with dashboard(tables, port):
                    await expect(body).to_have_attribute("data-connection", "live", timeout=2 * SLOW_MS)
                    await expect(watched.page.locator(f"{RECEIVED} .number")).to_have_text("2", timeout=SLOW_MS)
                    await expect(watched.page.locator("#banner")).to_be_hidden()


async def test_figures_that_nobody_counts_are_not_shown_as_live(browser: Browser, database_url: str) -> None:
    await migrate_schema(database_url)
    async with (
        counting(database_url) as worker,
        dashboard(database_url) as running,
        writer(database_url) as stream,
        board(browser, running, "?language=en") as watched,
    ):
        await stream.commit([Sample(kpi="feedback_received", area="01", time_s=int(time.time()))])
        page, body = watched.page, watched.page.locator("body")
        await expect(body).to_have_attribute("data-connection", "live", timeout=SLOW_MS)
        await expect(page.locator(f"{RECEIVED} .number")).to_have_text("1")
        fresh = await page.locator(f"{RECEIVED} .number").evaluate("node => getComputedStyle(node).color")
        started_s = time.monotonic()
        await worker.halt("TopicReplaced: the topic was made anew")
        await expect(body).to_have_attribute("data-connection", "stopped", timeout=SLOW_MS)
        assert time.monotonic() - started_s < 3
        await expect(page.locator("#connection-text")).to_have_text(
            "Counting has stopped: here/0: TopicReplaced: the topic was made anew"
        )
        await expect(page.locator("#banner")).to_contain_text("Nothing has been counted since")
        await expect(page.locator(f"{RECEIVED} .news")).to_contain_text("As of ")
        await expect(page.locator(f"{RECEIVED} .number")).not_to_have_css("color", fresh)
        await page.get_by_label("Tiếng Việt").check()
        await expect(page.locator("#connection-text")).to_contain_text("Việc đếm đã dừng: here/0: TopicReplaced")
        await page.get_by_label("English").check()
        async with counting(database_url, "here/1") as other:
            await expect(body).to_have_attribute("data-connection", "live", timeout=SLOW_MS)
            await expect(page.locator("#banner")).to_be_hidden()
            await other.fall_silent()
            started_s = time.monotonic()
            await expect(body).to_have_attribute("data-connection", "stopped", timeout=SLOW_MS)
            assert time.monotonic() - started_s < 8
        assert watched.errors == []


async def test_tiles_say_of_what_a_value_is_made_and_how_sure_it_is(browser: Browser, tables: str) -> None:
    now_s = int(time.time())
    async with (
        dashboard(tables, current_site=redrawn_site) as running,
        writer(tables) as stream,
        board(browser, running, "?language=en&area=A&tier=day") as watched,
    ):
        stream.site = redrawn_site()
        page = watched.page
        await expect(page.locator("body")).to_have_attribute("data-connection", "live", timeout=SLOW_MS)
        received = Sample(kpi="feedback_received", area="A", time_s=now_s)
        closed = Sample(kpi="closed_in_time", area="A", time_s=now_s)
        await stream.commit(
            [
                *(received, received, received, Sample(kpi="feedback_closed", area="A", time_s=now_s)),
                *(closed, closed, closed, Sample(kpi="closed_in_time", area="A", time_s=now_s, value=0)),
                Sample(kpi="response_ms", area="A", time_s=now_s, value=200),
            ]
        )
        await expect(page.locator(f"{RECEIVED} .number")).to_have_text("3", timeout=SLOW_MS)
        await expect(page.locator(f"{RECEIVED} .bounds")).to_be_hidden()
        for kpi, number, unit, detail in (
            ("closed_in_time", "75", "%", "3 of 4"),
            ("closed_share", "33.3", "%", "1 of 3"),
            ("in_handling", "2", "report", ""),
            ("response_ms", "198.4", "ms", "median 198.4 · 95 % up to 198.4"),
        ):
            tile = page.locator(f'[data-kpi="{kpi}"]')
            await expect(tile.locator(".number")).to_have_text(number)
            await expect(tile.locator(".unit")).to_have_text(unit)
            await expect(tile.locator(".detail")).to_have_text(detail)
        # Of the old area that was divided nobody knows which part of it the reports came from.
        await stream.commit([Sample(kpi="feedback_received", area="y", time_s=now_s)] * 4)
        await expect(page.locator(f"{RECEIVED} .bounds")).to_have_text("≈ between 3 and 7: the map was redrawn")
        await stream.close_until(now_s + 2 * 24 * 3600)
        await stream.commit([received], late=True)
        await expect(page.locator(f"{RECEIVED} .number")).to_have_text("4")
        await expect(page.locator(f"{RECEIVED} .first")).to_have_text("First reported as 3")
        await page.get_by_label("Tiếng Việt").check()
        await expect(page.locator(f"{RECEIVED} .first")).to_have_text("Công bố lần đầu: 3")
        await stream.tell({"reload": True})
        async with page.expect_navigation(timeout=SLOW_MS):
            pass
        await expect(page.locator(f"{RECEIVED} .number")).to_have_text("4", timeout=SLOW_MS)
        assert watched.errors == []


@pytest.mark.parametrize("width", [390, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_board_fits_and_its_text_has_contrast(
    browser: Browser, tables: str, width: int, scheme: str
) -> None:
    async with dashboard(tables) as running, writer(tables) as stream:
        now_s = int(time.time())
        await stream.commit(
            [Sample(kpi=k, area="01", time_s=now_s) for k in ("feedback_received", "closed_in_time", "response_ms")],
            [Report(id="r", area="01", text="x" * 300)],
        )
        viewport = {"width": width, "height": 900}
        async with board(browser, running, viewport=viewport, color_scheme=scheme) as watched:
            await expect(watched.page.locator(f"{RECEIVED} .number")).to_have_text("1", timeout=SLOW_MS)
            assert await watched.page.evaluate("document.documentElement.scrollWidth") <= width
            for state in ("live", "stale", "stopped"):
                await watched.page.evaluate("state => { document.body.dataset.connection = state; }", state)
                assert await watched.page.evaluate(CONTRASTS_BELOW_AA) == []
