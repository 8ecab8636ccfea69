"""Can somebody sign in on the board with a real browser, stay signed in, and sign out again?"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.async_api import Browser, Page, expect

from dashboard_api.app import SERVER_OPTIONS
from deploy.identity import Identity, local_client
from deploy.issuer.app import IssuerConfig, create_issuer
from deploy.issuer.passwords import Passwords
from deploy.migrate import migrate_schema
from deploy.web import web_app
from tests.dashboard.centre import counting
from tests.schemas.people import people_site
from tests.serving import listener, origin_of, serving

SLOW_MS = 20_000
PERSON, PASSWORD = "an.operator", "mật khẩu đủ dài"


class Clock:
    """The machine's clock, moved by what a test says."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@asynccontextmanager
async def centre(database_url: str, folder: Path, clock: Clock) -> AsyncIterator[str]:
    """A web process with people, an issuer of its own, and a database; its origin."""
    bound, site = listener(), people_site()
    Passwords(folder, cost_n=2**4).set(PERSON, PASSWORD)
    config = IssuerConfig(public_url=origin_of(bound), secrets_folder=folder, current_site=lambda: site, now=clock)
    issuer = create_issuer(config)
    identity = Identity(client=local_client(config, issuer), public_url=config.public_url, issuer=issuer)
    app = web_app("127.0.0.1:1", database_url, lambda: site, "t.", identity, now=clock)
    await migrate_schema(database_url)
    async with counting(database_url), serving(app, bound, **SERVER_OPTIONS) as origin:
        yield origin


async def signs_in(page: Page, origin: str) -> None:
    """From the board to the form and back."""
    await page.goto(f"{origin}/?language=en")
    await page.get_by_role("link", name="Sign in").click(timeout=SLOW_MS)
    await page.get_by_label("User name").fill(PERSON)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator("#who-name")).to_have_text("Nguyễn Thị An", timeout=SLOW_MS)


async def test_somebody_signs_in_is_known_and_signs_out(browser: Browser, database_url: str, tmp_path: Path) -> None:
    async with centre(database_url, tmp_path / "secrets", Clock()) as origin:
        context = await browser.new_context(locale="en-GB")
        page = await context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        await signs_in(page, origin)
        assert page.url == f"{origin}/?language=en"
        kept = {cookie["name"]: cookie for cookie in await context.cookies()}
        assert kept["ioc_session"]["httpOnly"]
        assert kept["ioc_session"]["sameSite"] == "Lax"
        assert not any(name.startswith("ioc_signin") for name in kept)
        assert await page.evaluate("document.cookie") == ""
        # The board's own scripts are known by the cookie, and so is its live feed.
        await expect(page.locator("body")).to_have_attribute("data-connection", "live", timeout=SLOW_MS)
        me = await page.evaluate("fetch('v1/me').then((answer) => answer.json())")
        assert me["id"] == PERSON
        await page.get_by_role("link", name="Sign out").click()
        await page.get_by_role("button", name="Sign out").click()
        # The address has lost the language that was asked for, so the board speaks the site's own.
        await page.get_by_role("link", name="Đăng nhập").click(timeout=SLOW_MS)
        await expect(page.get_by_label("Password")).to_be_visible(timeout=SLOW_MS)
        assert errors == []
        await context.close()


async def test_the_form_works_by_keyboard_and_says_what_is_wrong(
    browser: Browser, database_url: str, tmp_path: Path
) -> None:
    async with centre(database_url, tmp_path / "secrets", Clock()) as origin:
        context = await browser.new_context(locale="vi-VN", java_script_enabled=False)
        page = await context.new_page()
        await page.goto(f"{origin}/signin")
        await expect(page.locator("h1")).to_have_text("Đăng nhập")
        await expect(page.get_by_label("Tên đăng nhập")).to_be_focused()
        await page.keyboard.type(PERSON)
        await page.keyboard.press("Tab")
        await page.keyboard.type("wrong")
        await page.keyboard.press("Enter")
        alert = page.get_by_role("alert")
        await expect(alert).to_have_text("Tên đăng nhập hoặc mật khẩu không đúng.", timeout=SLOW_MS)
        await expect(page.get_by_label("Mật khẩu")).to_be_focused()
        await expect(page.get_by_label("Tên đăng nhập")).to_have_value(PERSON)
        await page.get_by_role("link", name="English").click()
        await expect(page.locator("h1")).to_have_text("Sign in")
        await page.get_by_label("User name").fill(PERSON)
        await page.get_by_label("Password").fill(PASSWORD)
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"{origin}/", timeout=SLOW_MS)
        assert "ioc_session" in {cookie["name"] for cookie in await context.cookies()}
        await context.close()


async def test_a_page_of_another_site_can_do_nothing_with_the_cookie(
    browser: Browser, database_url: str, tmp_path: Path
) -> None:
    async with centre(database_url, tmp_path / "secrets", Clock()) as origin:
        context = await browser.new_context(locale="en-GB")
        page = await context.new_page()
        await signs_in(page, origin)
        # Another name of the same machine is another site.
        evil = origin.replace("127.0.0.1", "localhost")
        form = f"<form method=post action='{origin}/signout'><button>Win a prize</button></form>"
        await page.route(f"{evil}/evil", lambda route: route.fulfill(body=form, content_type="text/html"))
        await page.goto(f"{evil}/evil")
        await page.get_by_role("button").click()
        await expect(page.locator("body")).to_contain_text("cross_site", timeout=SLOW_MS)
        await page.goto(f"{origin}/?language=en")
        await expect(page.locator("#who-name")).to_have_text("Nguyễn Thị An", timeout=SLOW_MS)
        await context.close()


async def test_a_board_renews_its_sign_in_by_itself(browser: Browser, database_url: str, tmp_path: Path) -> None:
    clock = Clock()
    async with centre(database_url, tmp_path / "secrets", clock) as origin:
        context = await browser.new_context(locale="en-GB")
        page = await context.new_page()
        await page.clock.install()
        await signs_in(page, origin)
        before = (await page.evaluate("fetch('v1/me').then((answer) => answer.json())"))["expires_at"]
        clock.ahead = timedelta(minutes=59)
        await page.clock.fast_forward(59 * 60_000)
        async with page.expect_response("**/v1/me", timeout=SLOW_MS) as renewed:
            await page.clock.run_for(31_000)
        me = await (await renewed.value).json()
        assert me["id"] == PERSON
        assert me["expires_at"] > before
        await expect(page.locator("#who-name")).to_have_text("Nguyễn Thị An")
        await context.close()
