"""Can an administrator change a target in a real browser, be told of a mistake, apply it and put it back?"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi import FastAPI
from playwright.async_api import Browser, Page, expect

from dashboard_api.app import SERVER_OPTIONS
from deploy.admin.app import AdminConfig, create_admin
from deploy.admin.health import Readiness
from deploy.admin.pack_folder import PackFolder
from deploy.identity import Identity, local_client
from deploy.issuer.app import IssuerConfig, create_issuer
from deploy.issuer.passwords import Passwords
from deploy.migrate import migrate_schema
from deploy.site_folder import SiteFolder
from deploy.web import web_app
from streams.repair.history import Places
from tests.browser.chromium import CONTRASTS_BELOW_AA, Watched
from tests.dashboard.centre import counting
from tests.deploy.test_admin import FILES
from tests.faults.site import write_pack
from tests.serving import listener, origin_of, serving

SLOW_MS = 20_000
NO_KAFKA = "127.0.0.1:1"
PASSWORD = "mật khẩu đủ dài"


class Centre:
    """A web process over a pack in a folder of its own. The pack is taken up when the test says so."""

    def __init__(self, folder: Path) -> None:
        self.site = SiteFolder(write_pack(FILES, folder / "site"), settle_s=0.0)
        self.origin = ""

    @property
    def target(self) -> float:
        """The one that is in force."""
        return self.site.current().kpis["feedback_received"].target[0].value


@asynccontextmanager
async def centre(database_url: str, folder: Path) -> AsyncGenerator[Centre]:
    """A centre with people who can sign in, and a database."""
    bound, made = listener(), Centre(folder)
    for person in ("tri", "olga"):
        Passwords(folder / "secrets", cost_n=2**4).set(person, PASSWORD)
    config = IssuerConfig(
        public_url=origin_of(bound),
        secrets_folder=folder / "secrets",
        current_site=made.site.current,
        now=lambda: datetime.now(UTC),
    )
    issuer = create_issuer(config)
    client = local_client(config, issuer)
    identity = Identity(client=client, public_url=config.public_url, issuer=issuer)

    def admin(readiness: Readiness) -> FastAPI:
        return create_admin(
            AdminConfig(
                pack=PackFolder(folder / "site", folder / "data"),
                loaded=lambda: made.site.loaded,
                problem=lambda: made.site.problem,
                places=Places(kafka=NO_KAFKA, database_url=database_url),
                trust=client,
                public_url=config.public_url,
                address=config.public_url,
                readiness=readiness,
            )
        )

    await migrate_schema(database_url)
    app = web_app(NO_KAFKA, database_url, made.site.current, "t.", identity, admin=admin)
    async with counting(database_url), serving(app, bound, **SERVER_OPTIONS) as made.origin:
        yield made


async def signs_in(page: Page, origin: str, person: str = "tri") -> None:
    """To the page as somebody."""
    await page.goto(f"{origin}/admin?language=en")
    await page.locator("#state-page").get_by_role("link", name="Sign in").click(timeout=SLOW_MS)
    await page.get_by_label("User name").fill(person)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()


async def test_a_target_is_changed_with_a_mistake_mended_applied_and_put_back(
    browser: Browser, database_url: str, tmp_path: Path
) -> None:
    async with centre(database_url, tmp_path) as made:
        context = await browser.new_context(locale="en-GB", viewport={"width": 1366, "height": 850})
        watched = Watched(await context.new_page())
        page = watched.page
        await signs_in(page, made.origin)
        await expect(page.locator(".finding").first).to_be_visible(timeout=SLOW_MS)
        await page.get_by_role("link", name="Indicators").click()
        await page.locator(".entries a", has_text="feedback_received").click(timeout=SLOW_MS)
        value = page.get_by_label("Targets 1: Value")
        await expect(value).to_have_value("90", timeout=SLOW_MS)

        # What is no number is told with its line, and how it is mended.
        await value.fill("8o")
        await page.get_by_role("button", name="Add to the change").click()
        bar = page.locator("#draft")
        await expect(bar).to_contain_text("1 mistake", timeout=SLOW_MS)
        line = FILES["kpis.toml"].splitlines().index("value = 90") + 1
        mistakes = page.locator(".mistakes")
        await expect(mistakes).to_contain_text(f"kpis.toml, line {line}", timeout=SLOW_MS)
        await expect(mistakes).to_contain_text("Give a value of that kind.")
        await expect(mistakes).to_be_in_viewport()
        await bar.get_by_role("link", name="Review and apply").click()
        await expect(page.get_by_role("button", name="Apply")).to_be_disabled(timeout=SLOW_MS)

        # The file itself, at that line.
        await page.locator(".mistakes").get_by_role("link").click()
        editor = page.locator("#editor")
        await expect(editor).to_be_focused(timeout=SLOW_MS)
        chosen = "(node) => node.value.slice(node.selectionStart, node.selectionEnd)"
        assert await editor.evaluate(chosen) == 'value = "8o"'
        await page.get_by_role("link", name="Indicators").click()
        await page.locator(".entries a", has_text="feedback_received").click(timeout=SLOW_MS)
        await value.fill("80")
        await page.get_by_role("button", name="Add to the change").click()
        await expect(bar).to_contain_text("no mistake", timeout=SLOW_MS)
        await bar.get_by_role("link", name="Review and apply").click()
        await expect(page.locator(".changes")).to_contain_text("value: 90 → 80", timeout=SLOW_MS)
        await expect(page.locator(".diff ins")).to_have_text("value = 80")
        assert await page.evaluate(CONTRASTS_BELOW_AA) == []
        assert made.target == 90
        await page.get_by_label("Why?").fill("Resolution 12")
        await page.get_by_role("button", name="Apply").click()
        await expect(page.locator("#outcome")).to_contain_text("Change 1 is written", timeout=SLOW_MS)
        made.site.look()
        assert made.target == 80
        await expect(page.locator("#outcome")).to_contain_text("Change 1 is in force", timeout=SLOW_MS)

        row = page.locator(".change-row", has_text="Resolution 12")
        await row.get_by_role("link", name="Take back").click(timeout=SLOW_MS)
        await expect(page.locator(".changes")).to_contain_text("value: 80 → 90", timeout=SLOW_MS)
        await page.get_by_label("Why?").fill("A slip")
        await page.get_by_role("button", name="Take back").click()
        await expect(page.locator(".change-row")).to_have_count(2, timeout=SLOW_MS)
        made.site.look()
        assert made.target == 90
        assert (tmp_path / "site" / "kpis.toml").read_text() == FILES["kpis.toml"]
        # A browser logs the answer that asks for the sign-in, too.
        assert [one for one in watched.errors if "401" not in one] == []
        assert watched.elsewhere == []
        await context.close()


@pytest.mark.parametrize(
    ("width", "theme"), [pytest.param(360, "light", id="phone"), pytest.param(1366, "dark", id="desk")]
)
async def test_every_section_fits_and_can_be_read_in_vietnamese(
    browser: Browser, database_url: str, tmp_path: Path, width: int, theme: str
) -> None:
    async with centre(database_url, tmp_path) as made:
        context = await browser.new_context(locale="en-GB", viewport={"width": width, "height": 800})
        watched = Watched(await context.new_page())
        page = watched.page
        await signs_in(page, made.origin)
        await expect(page.locator(".finding").first).to_be_visible(timeout=SLOW_MS)
        await page.goto(f"{made.origin}/admin?language=vi&theme={theme}")
        sections = ("health", "kpis/feedback_received", "people/tri", "units/u1", "areas", "layers", "history")
        for section in (*sections, "files/people.toml", "sources/hotline", "review", "messages"):
            await page.evaluate(f"location.hash = '#/{section}'")
            await expect(page.locator("#view h2")).not_to_have_text("", timeout=SLOW_MS)
            await expect(page.locator("#nav [aria-current]")).to_have_count(0 if section == "review" else 1)
            assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, section
            assert await page.evaluate(CONTRASTS_BELOW_AA) == [], section
        assert [one for one in watched.errors if "401" not in one] == []
        # By the page's own clock: nobody answers for five seconds.
        await expect(page.locator("body")).not_to_have_attribute("data-fresh", "no")
        await page.clock.install()
        await page.route("**/*", lambda route: route.abort())
        await page.clock.run_for(5000)
        await expect(page.locator("body")).to_have_attribute("data-fresh", "no")
        await expect(page.locator("#banner")).to_contain_text("Trung tâm không trả lời")
        assert await page.evaluate(CONTRASTS_BELOW_AA) == []
        await context.close()


async def test_who_is_no_administrator_is_told_so(browser: Browser, database_url: str, tmp_path: Path) -> None:
    async with centre(database_url, tmp_path) as made:
        context = await browser.new_context(locale="en-GB")
        page = await context.new_page()
        await signs_in(page, made.origin, "olga")
        await expect(page.locator("#state-page")).to_contain_text("for administrators", timeout=SLOW_MS)
        await expect(page.locator("#page")).to_be_hidden()
        await context.close()
