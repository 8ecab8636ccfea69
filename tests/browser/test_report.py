"""Can a citizen report from a phone, once and whatever the link does, and follow what becomes of it to the end?"""

import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route, expect

from deploy.migrate import migrate_schema
from schemas.case import Entry, State
from tests.browser.chromium import CONTRASTS_BELOW_AA, Watched
from tests.browser.citizen_centre import CitizenCentre, citizen_centre
from tests.dashboard.case_centre import case_centre
from tests.dashboard.case_rows import case, put_cases, put_entries

SLOW_MS = 40_000
PHONE = {"width": 360, "height": 740}
SECRET = "b3JhbmdlLWFwcGxlLXBlYXI"
HASH = hashlib.sha256(SECRET.encode()).hexdigest()
ATTACK = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>'
FIRST_LOAD_BYTES_MAX = 60 * 1024

TOO_SMALL = """() => [...document.querySelectorAll("button, select, textarea, summary, .button, .choices label")]
    .filter((node) => node.getClientRects().length && node.getBoundingClientRect().height < 43.9)
    .map((node) => node.outerHTML.slice(0, 80))"""
"""Targets that a thumb would miss."""

UNNAMED = """() => [...document.querySelectorAll("button, select, textarea, input, a")]
    .filter((node) => node.getClientRects().length)
    .filter((node) => !node.ariaLabel && !node.textContent.trim())
    .filter((node) => ![...(node.labels ?? [])].some((label) => label.textContent.trim()))
    .map((node) => node.outerHTML.slice(0, 80))"""
"""What nobody who only hears the page could tell apart."""


@pytest.fixture
async def tables(database_url: str) -> str:
    """The address of a fresh database with all tables, and nothing in them."""
    await migrate_schema(database_url)
    return database_url


@pytest.fixture
async def centre(kafka: str, database_url: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[CitizenCentre]:
    """A whole centre, with workers that decide."""
    async with citizen_centre(kafka, database_url, topic_prefix, tmp_path) as running:
        yield running


@asynccontextmanager
async def phone(browser: Browser, address: str, **options: Any) -> AsyncGenerator[Watched]:
    """A page on a small phone, in a browser profile of its own."""
    context = await browser.new_context(**({"viewport": PHONE, "has_touch": True} | options))
    watched = Watched(await context.new_page())
    await watched.page.goto(address)
    yield watched
    await context.close()


async def secret_of(page: Page) -> str:
    """The secret in the link that is shown after sending."""
    await expect(page.locator("#sent-title")).to_be_visible(timeout=SLOW_MS)
    return (await page.locator("#follow-link").inner_text()).rpartition("#")[2]


async def test_a_citizen_reports_by_position_follows_disputes_confirms_and_rates(
    browser: Browser, centre: CitizenCentre
) -> None:
    addresses: list[str] = []
    async with phone(
        browser,
        f"{centre.origin}/report",
        geolocation={"latitude": 21.0101, "longitude": 105.8102, "accuracy": 12},
        permissions=["geolocation", "clipboard-read", "clipboard-write"],
    ) as watched:
        page = watched.page
        page.on("request", lambda request: addresses.append(request.url))
        await expect(page.locator("h1")).to_have_text("Gửi phản ánh", timeout=SLOW_MS)
        await page.get_by_label("Đường sá").check()
        await page.get_by_label("Bạn hãy kể lại").fill("Ổ gà lớn trước số 12")
        await page.get_by_role("button", name="Lấy vị trí của tôi").tap()
        await expect(page.locator("#located")).to_contain_text("12 m")
        await page.get_by_role("button", name="Gửi phản ánh").tap()
        secret = await secret_of(page)
        reference = await page.locator("#reference").inner_text()
        await expect(page.locator("#sent-title")).to_be_focused()
        await page.get_by_role("button", name="Sao chép liên kết").tap()
        await expect(page.locator("#copied")).to_have_text("Đã sao chép liên kết.")
        assert await page.evaluate("navigator.clipboard.readText()") == f"{centre.origin}/report#{secret}"
        # Nothing of it stays in the browser unless somebody wants that.
        assert secret not in await page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
        await page.get_by_label("Ghi nhớ trên trình duyệt này").check()
        assert secret in await page.evaluate("JSON.stringify(localStorage)")

        await page.get_by_role("link", name="Xem đang xử lý đến đâu").tap()
        await expect(page.locator("#stands")).to_contain_text("đã nhận được phản ánh", timeout=SLOW_MS)
        await expect(page.locator(".facts")).to_contain_text("Dự kiến xong")
        (report,) = await centre.reports()
        assert (report["category"], "text" in report) == ("road", False)
        assert await centre.words() == ["Ổ gà lớn trước số 12"]

        await centre.act(reference, action="assign", agency="works")
        await centre.act(reference, action="wait", until="citizen", text="Bên trái hay bên phải?")
        await page.reload()
        await expect(page.locator(".timeline")).to_contain_text("Bên trái hay bên phải?", timeout=SLOW_MS)
        await expect(page.locator("#reply h2")).to_have_text("Bạn được hỏi thêm")
        await page.get_by_label("Bạn muốn nói gì?").fill(ATTACK)
        await page.locator("#reply button").tap()
        await expect(page.locator("#reply-told")).to_have_text("Đã nhận được lời của bạn.", timeout=SLOW_MS)
        await expect(page.locator(".timeline")).to_contain_text(ATTACK)
        assert await page.locator("main img, main script").count() == 0

        await page.get_by_role("button", name="English").tap()
        await centre.act(reference, action="resolve", result="The hole was filled.")
        await page.reload()
        await expect(page.locator("#stands")).to_contain_text("The work is done", timeout=SLOW_MS)
        await page.get_by_label("What is still wrong?").fill("It is still there.")
        await page.get_by_role("button", name="Take it up again").tap()
        await expect(page.locator("#dispute-told")).to_have_text(re.compile("^It is taken up again"), timeout=SLOW_MS)
        await expect(page.locator("#confirm .asks")).to_be_hidden()
        await centre.act(reference, action="resolve", result="Filled again.")
        await page.reload()
        await page.get_by_role("button", name="Yes, it is solved").tap(timeout=SLOW_MS)
        await expect(page.locator("#confirm-told")).to_contain_text("You have confirmed", timeout=SLOW_MS)
        await page.locator("#rate input[value='4']").check()
        await page.get_by_label("Do you want to say why?").fill("Quick in the end.")
        await page.get_by_role("button", name="Rate").tap()
        await expect(page.locator("#rate-told")).to_have_text("Thank you for your rating.", timeout=SLOW_MS)
        await expect(page.locator(".facts")).to_contain_text("You rated it 4 of 5.")

        await page.get_by_role("link", name="New report").tap()
        await expect(page.locator("#kept-list a")).to_have_count(1)
        await page.get_by_role("button", name=re.compile("^Forget ")).tap()
        await expect(page.locator("#kept")).to_be_hidden()
        assert secret not in await page.evaluate("JSON.stringify(localStorage)")
        assert not any(secret in address for address in addresses if "/v1/" in address)
        assert watched.errors == []
        assert watched.elsewhere == []


async def test_a_report_survives_a_lost_link_and_a_reload_and_is_one_report(
    browser: Browser, centre: CitizenCentre
) -> None:
    async with phone(browser, f"{centre.origin}/report?language=en") as watched:
        page = watched.page
        await page.get_by_label("Roads").check(timeout=SLOW_MS)
        await expect(page.locator("#about-category")).to_contain_text("Such cases are published")
        await page.get_by_label("Violence at home").check()
        await expect(page.locator("#about-category")).to_contain_text("not published unless")
        await page.get_by_label("Roads").check()
        await page.get_by_role("button", name="Send the report").tap()
        await expect(page.locator("#text-wrong")).to_have_text("Write what has happened.")
        await expect(page.get_by_label("In your own words")).to_be_focused()
        await page.get_by_label("In your own words").fill("A tree lies on the road")
        await page.get_by_role("button", name="Choose the area").tap()
        await page.locator("#areas select").select_option(label="Ward Two")
        await page.reload()
        await expect(page.get_by_label("In your own words")).to_have_value("A tree lies on the road", timeout=SLOW_MS)
        await expect(page.locator("#areas select")).to_have_value("02")

        # The centre takes the report, and its answer is lost on the way: twice.
        lost: list[int] = []

        async def loses(route: Route) -> None:
            if len(lost) < 2:
                lost.append((await route.fetch()).status)
                await route.abort("connectionreset")
            else:
                await route.continue_()

        await page.route("**/v1/reports", loses)
        await page.get_by_role("button", name="Send the report").tap()
        await expect(page.locator("#sending-text")).to_contain_text("There is no link", timeout=SLOW_MS)
        # The page itself goes away, too, and comes back: what was to be sent is sent.
        await page.reload()
        secret = await secret_of(page)
        assert lost == [202, 202]
        await centre.counted()
        assert await centre.words() == ["A tree lies on the road"]
        assert await page.evaluate("localStorage.getItem('ioc.report.draft')") is None
        await page.goto(f"{centre.origin}/report?language=en#{secret}")
        await expect(page.locator("#stands")).to_contain_text("We have received your report", timeout=SLOW_MS)

        # A complaint about an official goes a way of its own, and leaves nothing behind.
        await page.goto(f"{centre.origin}/report?language=en&again=1")
        await page.get_by_label("Conduct").check(timeout=SLOW_MS)
        await expect(page.locator("#conduct")).to_contain_text("neither given it nor told")
        await page.get_by_label("Which agency is it about?").select_option("police")
        await page.get_by_label("In your own words").fill("He asked for money")
        await page.get_by_role("button", name="Choose the area").tap()
        await page.locator("#areas select").select_option(label="Ward One")
        await page.evaluate("dispatchEvent(new Event('pagehide'))")
        assert "money" in await page.evaluate("sessionStorage.getItem('ioc.report.draft')")
        assert await page.evaluate("localStorage.getItem('ioc.report.draft')") is None
        await page.get_by_text("Say how to reach you").tap()
        await page.get_by_label("Phone").fill("0912 345 678")
        await expect(page.locator("#who-reads")).to_contain_text("contact, which is sealed")
        await page.get_by_role("button", name="Send the report").tap()
        await secret_of(page)
        await centre.counted()
        complaint = (await centre.reports())[-1]
        assert (complaint["category"], complaint["accused_agency"]) == ("conduct", "police")
        assert "text" not in complaint
        assert "reporter" not in complaint
        # The browser itself writes down that an answer was lost.
        assert [error for error in watched.errors if "ERR_CONNECTION_RESET" not in error] == []


async def test_what_is_seen_is_marked_when_the_centre_is_away_and_a_wrong_link_is_told(
    browser: Browser, tables: str
) -> None:
    async with case_centre(tables) as centre:
        await put_cases(centre.connection, case("a", state=State.RESOLVED, agency="works", tracking=(HASH,)))
        address = f"{centre.running.http}/report?language=en"
        async with phone(browser, f"{address}#{SECRET}") as watched:
            page = watched.page
            await expect(page.locator("#stands")).to_be_visible(timeout=SLOW_MS)
            await expect(page.locator("body")).to_have_attribute("data-fresh", "yes")
            await page.clock.install()
            await page.route("**/*", lambda route: route.abort())
            # By the page's own clock.
            await page.clock.run_for(5000)
            await expect(page.locator("body")).to_have_attribute("data-fresh", "no")
            await expect(page.locator("#stale")).to_contain_text("may have changed")
        async with phone(browser, f"{address}#{'x' * 22}") as watched:
            await expect(watched.page.locator("#follow")).to_contain_text("coming in", timeout=SLOW_MS)
            await watched.page.clock.install()
            await watched.page.clock.run_for(35_000)
            await expect(watched.page.locator("#follow")).to_contain_text(
                "no report behind this link", timeout=SLOW_MS
            )


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_fits_has_contrast_and_can_be_heard_and_hit(
    browser: Browser, tables: str, width: int, scheme: str
) -> None:
    async with case_centre(tables) as centre:
        at = datetime(2026, 9, 1, 9, tzinfo=UTC)
        line = Entry(
            case="a", number=1, at=at, recorded_at=at, action="answer", actor="o", text="x" * 400, public=True
        )
        await put_cases(
            centre.connection,
            case("a", state=State.RESOLVED, agency="works", tracking=(HASH,), result="y" * 300, rating=None),
        )
        await put_entries(centre.connection, line)
        carried = 0

        def add(size: int) -> None:
            nonlocal carried
            carried += size

        viewport = {"width": width, "height": 740}
        context = await browser.new_context(viewport=viewport, color_scheme=scheme)  # type: ignore[arg-type]
        page = await context.new_page()
        network = await context.new_cdp_session(page)
        await network.send("Network.enable")
        network.on("Network.loadingFinished", lambda event: add(event["encodedDataLength"]))
        await page.goto(f"{centre.running.http}/report")
        await page.get_by_label("Thái độ cán bộ").check(timeout=SLOW_MS)
        assert 0 < carried < FIRST_LOAD_BYTES_MAX, carried
        await page.locator("#contact summary").click()
        await page.get_by_role("button", name="Chọn địa bàn").click()
        await page.get_by_role("button", name="Gửi phản ánh").click()
        await expect(page.locator("#text-wrong")).to_be_visible()
        await sound(page, width)
        await page.goto(f"{centre.running.http}/report?1#{SECRET}")
        await expect(page.locator("#confirm")).to_be_visible(timeout=SLOW_MS)
        await sound(page, width)
        await context.close()


async def sound(page: Page, width: int) -> None:
    """Nothing overflows, is too pale, too small or nameless."""
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    assert await page.evaluate(CONTRASTS_BELOW_AA) == []
    assert await page.evaluate(TOO_SMALL) == []
    assert await page.evaluate(UNNAMED) == []
