"""Does axe-core find anything against WCAG 2.2 AA on any page, in light or in dark?"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
from axe_playwright_python.async_playwright import Axe
from fastapi import FastAPI
from playwright.async_api import Browser, BrowserContext, Page, expect

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
from schemas.case import Clock, ClockName, Offer, OfferStep, Severity, State
from schemas.display import hash_of, new_key
from schemas.unit import UnitState, UnitStatus
from streams.repair.history import Places
from tests.dashboard.case_rows import case, put_cases, put_units
from tests.dashboard.centre import Report, Sample, counting, writer
from tests.deploy.test_admin import FILES
from tests.faults.site import write_pack
from tests.serving import listener, origin_of, serving

SLOW_MS = 30_000
NO_KAFKA = "127.0.0.1:1"
PASSWORD = "mật khẩu đủ dài"
KEY = new_key()
PACK = {**FILES, "displays.toml": f'[[display]]\nid = "hall"\nas = "olga"\nkey = "{hash_of(KEY)}"\n'}
AA = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}
DESK, PHONE, WALL = {"width": 1440, "height": 900}, {"width": 390, "height": 844}, {"width": 1920, "height": 1080}

PAGES: Mapping[str, tuple[str, str | None, Mapping[str, int], str]] = {
    "kpi": ("/", None, DESK, '[data-kpi="feedback_received"] .number'),
    "operator": ("/operator#fire", "olga", DESK, "#case h2"),
    "operator on a phone": ("/operator", "olga", PHONE, "#list > li"),
    "field": ("/field", "uma", PHONE, "#cards li"),
    "report": ("/report", None, PHONE, "form"),
    "open": ("/open", None, DESK, "#rows tr"),
    "open on a phone": ("/open", None, PHONE, "#rows tr"),
    "leader": ("/leader", "paul", DESK, "#areas tbody tr"),
    "leader in depth": ("/leader?kpi=feedback_received&cases=all", "paul", DESK, "#course tbody tr"),
    "wall": (f"/wall?show=map,cases,alerts,kpis,units,sources#{KEY}", None, WALL, ".row-case:visible"),
    "admin": ("/admin#/kpis/feedback_received", "tri", DESK, "#view h2"),
    "admin's people": ("/admin#/people/tri", "tri", DESK, "#view h2"),
}
"""Each page: its address, who looks at it, on what screen, and what is there once it has its figures."""


@asynccontextmanager
async def centre(database_url: str, folder: Path) -> AsyncGenerator[str]:
    """A web process with every page, people who can sign in, and rows; its origin."""
    bound, site = listener(), SiteFolder(write_pack(PACK, folder / "site"), settle_s=0.0)
    for person in ("tri", "olga", "uma", "paul"):
        Passwords(folder / "secrets", cost_n=2**4).set(person, PASSWORD)
    config = IssuerConfig(
        public_url=origin_of(bound),
        secrets_folder=folder / "secrets",
        current_site=site.current,
        now=lambda: datetime.now(UTC),
    )
    issuer = create_issuer(config)
    client = local_client(config, issuer)
    identity = Identity(client=client, public_url=config.public_url, issuer=issuer)

    def admin(readiness: Readiness) -> FastAPI:
        return create_admin(
            AdminConfig(
                pack=PackFolder(folder / "site", folder / "data"),
                loaded=lambda: site.loaded,
                problem=lambda: site.problem,
                places=Places(kafka=NO_KAFKA, database_url=database_url),
                trust=client,
                public_url=config.public_url,
                address=config.public_url,
                readiness=readiness,
            )
        )

    await migrate_schema(database_url)
    await fill(database_url)
    app = web_app(NO_KAFKA, database_url, site.current, "t.", identity, admin=admin)
    async with counting(database_url), serving(app, bound, **SERVER_OPTIONS) as origin:
        yield origin


async def fill(database_url: str) -> None:
    """Figures of now, and cases: urgent, late, with a unit, published."""
    now = datetime.now(UTC)
    clock = Clock(
        name=ClockName.RESOLUTION,
        calendar="always",
        allowed_s=3600,
        started_at=now - timedelta(hours=2),
        since=now - timedelta(hours=2),
        due_at=now - timedelta(hours=1),
        breached_at=now - timedelta(hours=1),
    )
    offer = Offer(number=1, unit="u1", step=OfferStep.ACCEPTED, at={OfferStep.OFFERED: now, OfferStep.ACCEPTED: now})
    place: dict[str, Any] = {"agency": "works", "published": True, "opened_at": now - timedelta(hours=2)}
    async with writer(database_url) as stream:
        now_s = int(now.timestamp())
        for kpi in ("feedback_received", "feedback_closed", "response_mean"):
            await stream.commit(
                [Sample(kpi=kpi, area="01", time_s=now_s - ago_s) for ago_s in (0, 3600, 86_400)],
                [Report(id=f"r-{kpi}", area="01", text="Ổ gà trước cổng trường")],
                sources=["hotline"],
            )
    connection = await asyncpg.connect(database_url)
    await put_cases(
        connection,
        case("fire", severity=Severity.CRITICAL, place="geo:21.05,105.85", clocks=(clock,), **place),
        case("hole", place="geo:21.01,105.81", clocks=(clock,), state=State.ACCEPTED, offers=(offer,), **place),
        case("done", place="geo:21.02,105.82", state=State.CLOSED, closed_at=now, rating=4, **place),
    )
    await put_units(connection, UnitState(unit="u1", version=1, status=UnitStatus.BUSY, cases=("hole",)))
    await connection.close()


async def wrong_in(page: Page) -> list[str]:
    """What axe-core finds, with where it is."""
    # What is just being faded in or out has no colour of its own.
    await page.evaluate(
        "document.getAnimations().forEach((one) => one.effect.getTiming().iterations < 9 && one.finish())"
    )
    found = await Axe().run(page, options={**AA, "resultTypes": ["violations"]})
    return [
        f"{one['id']}: {node['html'][:160]} {node['failureSummary'][:300]}"
        for one in found.response["violations"]
        for node in one["nodes"][:3]
    ]


async def signs_in(page: Page, origin: str, person: str) -> None:
    """Fills in the form, in which the browser is."""
    await page.goto(f"{origin}/signin?back=/v1/me")
    await page.locator("input[name=person]").fill(person)
    await page.locator("input[name=password]").fill(PASSWORD)
    await page.locator("button[type=submit]").click()
    await page.wait_for_url("**/v1/me")


async def test_no_page_has_a_violation(browser: Browser, database_url: str, tmp_path: Path) -> None:
    wrong: dict[str, list[str]] = {}

    async def look(page: Page, name: str) -> None:
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            if found := await wrong_in(page):
                wrong[f"{name}, {scheme}"] = found

    async with centre(database_url, tmp_path) as origin:
        profiles: dict[str | None, BrowserContext] = {}
        for person in (None, "olga", "uma", "paul", "tri"):
            profiles[person] = await browser.new_context(locale="vi-VN", reduced_motion="reduce")
            if person is not None:
                page = await profiles[person].new_page()
                await signs_in(page, origin, person)
                await page.close()
        page = await profiles[None].new_page()
        await page.goto(f"{origin}/signin?back=/")
        await look(page, "sign-in")
        await page.locator("input[name=person]").fill("olga")
        await page.locator("input[name=password]").fill("not it")
        await page.locator("button[type=submit]").click()
        await expect(page.locator("[role=alert]")).to_be_visible(timeout=SLOW_MS)
        await look(page, "sign-in refused")
        await page.close()
        for name, (path, person, size, ready) in PAGES.items():
            page = await profiles[person].new_page()
            await page.set_viewport_size({"width": size["width"], "height": size["height"]})
            await page.goto(f"{origin}{path}")
            await expect(page.locator(ready).first).to_be_visible(timeout=SLOW_MS)
            assert await page.locator("html").get_attribute("lang") == "vi", name
            await look(page, name)
            await page.close()
        for profile in profiles.values():
            await profile.close()
    assert wrong == {}
