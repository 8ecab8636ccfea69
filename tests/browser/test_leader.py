"""Can a leader see at a glance what is behind its target and why, get to the cases, and take a page to a meeting?"""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import msgspec
from playwright.async_api import Browser, Page, expect

from deploy.migrate import migrate_schema
from deploy.settings import PACKAGED_SITE
from deploy.site import load_pack
from schemas.event import AnyEvent
from schemas.site import parse_site
from tests.browser.chromium import CONTRASTS_BELOW_AA, Watched
from tests.dashboard.case_centre import Issuer
from tests.dashboard.centre import Sample, counting, dashboard, writer
from tests.dashboard.test_drill import AREAS_CSV, LINEAGE_CSV, SITE_TOML, happened
from tests.dashboard.worker import count

SLOW_MS = 40_000
HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
NOW = datetime(2026, 4, 15, 12, tzinfo=HANOI)
FEBRUARY, MARCH, APRIL = (datetime(2026, month, 10, 9, tzinfo=HANOI) for month in (2, 3, 4))
FURTHER = 28
"""Communes that nobody hears of; with the others they are more than one page of the table."""

KPIS_TOML = """
[[kpi]]
id = "on_time"
names = { vi = "Xử lý đúng hạn", en = "Closed on time" }
unit = "1"
event = "ioc.feedback.closed.v1"
measure = "in_time"
due = "due_at"
dimensions = ["agency"]
pillar = "government"
group = "progress"
owner = "Văn phòng UBND tỉnh"
document = "Nghị quyết 1"
direction = "higher"
target = [{ value = 0.9, start = 2026-02-01 }]

[[kpi]]
id = "received"
names = { vi = "Đã nhận", en = "Received" }
unit = "{report}"
event = "ioc.feedback.received.v1"
measure = "count"
dimensions = ["category"]
pillar = "society"
direction = "lower"
thresholds = { warning = 1, bad = 5 }

[[kpi]]
id = "connected"
names = { vi = "Hộ có mạng", en = "Households online" }
unit = "1"
measure = "ratio"
pillar = "society"
direction = "higher"
target = [{ value = 0.5 }]
freshness_s = 6048000
numerator = { measure = "latest", event = "ioc.indicator.observed.v1", period = "month", value = "value" }
denominator = { measure = "latest", event = "ioc.indicator.observed.v1", period = "month", value = "of" }

[[kpi]]
id = "closed"
names = { vi = "Đã đóng", en = "Closed" }
unit = "1"
event = "ioc.feedback.closed.v1"
measure = "count"
pillar = "government"
"""
PEOPLE_TOML = """
[[person]]
id = "lan"
name = "Nguyễn Thị Lan"
roles = ["leader"]
areas = ["A"]
"""
PACK = {
    "site.toml": SITE_TOML,
    "areas.csv": AREAS_CSV
    + "".join(f",C{n:02},new,P,commune,Xã C{n:02},Commune C{n:02},2025-07-01,\n" for n in range(1, FURTHER + 1)),
    "lineage.csv": LINEAGE_CSV,
    "kpis.toml": KPIS_TOML,
}
SITE = parse_site(PACK)


def closed(id_: str, time: datetime, area: str = "A", *, late: bool = False) -> AnyEvent:
    """A report that was closed in time, or not."""
    due = (time - timedelta(hours=1) if late else time + timedelta(hours=1)).isoformat()
    opened = (time - timedelta(days=2)).isoformat()
    return happened(
        "feedback.closed",
        id_,
        time,
        area,
        category="road",
        agency="police",
        opened_at=opened,
        due_at=due,
        result="done",
    )


def told(area: str, month: str, value: int) -> AnyEvent:
    """How many of a hundred households a commune says are online."""
    return happened(
        "indicator.observed", f"{area}-{month}", APRIL, area, indicator="connected", period=month, value=value, of=100
    )


async def fill(database_url: str) -> None:
    """March was wholly in time when it closed, and one that came later was not; April is behind."""
    await migrate_schema(database_url)
    hour, day = timedelta(hours=1), timedelta(days=1)
    # Each batch comes when it happens, so that what it belongs to is still open.
    batches: list[tuple[datetime, list[AnyEvent]]] = [
        # The old y was divided between A and B, and nobody knows in which of them this was.
        (FEBRUARY + hour, [closed("divided", FEBRUARY, "y"), closed("feb", FEBRUARY)]),
        (MARCH + 4 * hour, [closed(f"mar{n}", MARCH + n * hour) for n in range(4)]),
        (MARCH + 3 * day, [closed("came late", MARCH + day, late=True)]),
        (
            APRIL + 3 * hour,
            [
                *(closed(f"apr{n}", APRIL + n * hour, late=n > 0) for n in range(3)),
                *(closed(f"b{n}", APRIL + n * hour, "B") for n in range(2)),
                happened("feedback.received", "r1", APRIL, "A", category="road", envelope={"subject": "PA-1"}),
                *(told("A", "2026-02", 40), told("B", "2026-02", 70), told("A", "2026-03", 60)),
            ],
        ),
        (APRIL + 4 * day, [happened("feedback.received", "r2", APRIL + 4 * day, "B", category="waste")]),
    ]
    for logged_at, events in batches:
        await count(database_url, PACK, events, logged_at)
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE event SET case_id = 'CASE1' WHERE id = 'r1'")
    await connection.close()


@asynccontextmanager
async def at_desk(browser: Browser, address: str, **options: Any) -> AsyncGenerator[Page]:
    """The page in a browser of its own. What goes wrong on it, or is loaded from elsewhere, fails the test."""
    chosen: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}, **options}
    context = await browser.new_context(**chosen)
    watched = Watched(await context.new_page())
    await watched.page.goto(address)
    yield watched.page
    assert [error for error in watched.errors if "Failed to load resource" not in error] == []
    assert watched.elsewhere == []
    await context.close()


async def test_from_a_red_light_to_the_case_behind_it(browser: Browser, database_url: str) -> None:
    await fill(database_url)
    async with (
        dashboard(database_url, current_site=lambda: SITE, now=lambda: NOW) as running,
        at_desk(browser, f"{running.http}/leader") as page,
    ):
        cards = page.locator("#cards .card")
        await expect(cards.first).to_be_visible(timeout=SLOW_MS)
        # The worst first: red, then the warning, then what is good; what has no target stands apart.
        shown = [await card.get_attribute("data-kpi") for card in await page.locator("#cards > .cards .card").all()]
        assert shown == ["on_time", "received", "connected"]
        worst = cards.first
        await expect(worst.locator(".light")).to_have_text("Chưa đạt")
        await expect(worst.locator(".reason")).to_have_text(
            "60 % trên 90 %: thiếu 30 điểm; 1 trên 2 xã, phường chưa đạt, 28 xã, phường chưa đánh giá được"
        )
        await expect(worst).to_contain_text("giảm 20 điểm so với cùng thời điểm kỳ trước (kém hơn)")
        await page.get_by_role("button", name="English").click()
        await expect(worst.locator(".reason")).to_have_text(
            "60 % of 90 %: 30 points short; 1 of 2 communes behind, 28 communes not judged"
        )
        online = page.locator('#cards [data-kpi="connected"]')
        await expect(online.locator(".light")).to_have_text("On target")
        await expect(online).to_contain_text("65 % of 50 %: target reached")
        await expect(online).to_contain_text("as each place reported last, newest for 03/2026")
        await expect(page.locator('[data-show="progress"]')).to_contain_text("Closed on time: 60 % of 90 %")

        await page.locator('[data-light="warning"]').click()
        await expect(cards).to_have_count(1)
        assert "light=warning" in page.url
        await page.locator('[data-light="warning"]').click()
        await page.locator('[data-show="society"]').click()
        await expect(cards).to_have_count(2)
        await page.get_by_role("link", name="By pillar").click()
        await expect(page.locator(".pillar > h3")).to_have_text(re.compile("^Digital society"))
        await page.go_back()
        await page.go_back()
        await page.get_by_label("Find an indicator").fill("closed on")
        await expect(cards).to_have_count(1)

        # In depth: what March was when it closed, and what it is now.
        await page.get_by_role("link", name="Closed on time", exact=True).click()
        course = page.locator("#course tbody tr")
        await expect(course.nth(1)).to_be_visible(timeout=SLOW_MS)
        await expect(course.nth(1).locator("th, td")).to_have_text(
            ["03/2026", "80 %", "100 %", "90 %", "Behind", re.compile("^Corrected")]
        )
        await expect(course.nth(0).locator("td").first).to_have_text("60 %")
        # A month of which nothing is known is no zero, and no target held yet.
        await expect(course.nth(3).locator("td").first).to_have_text("—")
        await expect(page.locator(".chart canvas")).to_have_count(1)
        # Up to the fifteenth of March five were closed, up to the fifteenth of April five of which three in time.
        comparison = page.locator("#comparison tbody tr")
        await expect(comparison.nth(1).locator("td").first).to_have_text("80 %")
        await expect(comparison.nth(3)).to_contain_text("the whole period before (March 2026)")
        await page.locator("#by").select_option("agency")
        await expect(page.locator("#parts tr")).to_contain_text(["police"])
        assert "by=agency" in page.url
        await page.get_by_role("button", name="Show the cases behind it").click()
        await expect(page.locator("#events tbody tr")).to_have_count(5)
        await expect(page.locator("#events tbody tr").first).to_contain_text("late")

        # Down the tree, by the table of areas.
        areas = page.locator("#areas tbody tr")
        await expect(areas).to_have_count(25)
        await expect(areas.first).to_have_attribute("data-area", "A")
        await expect(areas.first.locator("td, th")).to_contain_text(
            ["2", "Commune A", "33.3 %", "Behind", "−57 points"]
        )
        await page.get_by_role("button", name="Next").click()
        await expect(areas).to_have_count(5)
        await page.get_by_label("Find an area").fill("commune b")
        await expect(areas).to_have_count(1)
        await page.get_by_role("link", name="Commune B").click()
        await expect(page.locator("#area-name")).to_have_text("Commune B")
        await expect(page.locator("#depth-title")).to_have_text("Closed on time")
        await expect(page.locator("#depth .big")).to_have_text("100 %")
        await expect(page.locator("#path li")).to_have_text(["Province", "Commune B"])
        await page.reload()
        await expect(page.locator("#depth .big")).to_have_text("100 %", timeout=SLOW_MS)
        # The same figures on the map before, as far as they are certain.
        await page.locator("#maps").get_by_role("link", name="Commune y").click()
        await expect(page.locator("#area-name")).to_have_text("Commune y")
        await page.goto(f"{running.http}/leader?area=A&kpi=on_time&period=2026-02")
        await expect(course.first.locator("td").first).to_have_text("100 %", timeout=SLOW_MS)
        await page.goto(f"{running.http}/leader?area=A&kpi=closed&period=2026-02")
        await expect(page.locator("#depth .big")).to_have_text("between 1 and 2", timeout=SLOW_MS)
        await expect(page.locator("#depth")).to_contain_text("The shaded band: the map was redrawn")

        # Of a year the one before is the one a year ago; hours that are kept no more take nothing else with them.
        await page.goto(f"{running.http}/leader?kpi=on_time&period=2026")
        await expect(comparison).to_have_count(5, timeout=SLOW_MS)
        await page.goto(f"{running.http}/leader?kpi=on_time&period=2019-03-02&width=hour")
        await expect(page.locator("#depth")).to_contain_text("are kept for 730 days", timeout=SLOW_MS)
        await expect(areas).to_have_count(25)

        # To the case, and back by the keyboard.
        await page.goto(f"{running.http}/leader?kpi=received&cases=all")
        await expect(page.locator("#events tbody tr")).to_have_count(2, timeout=SLOW_MS)
        link = page.locator("#events").get_by_role("link", name="Open the case")
        assert await link.get_attribute("href") == "operator#CASE1"
        await page.keyboard.press("Escape")
        await expect(page.locator("#cards")).to_be_visible()
        assert "kpi=" not in page.url
        await expect(page.locator('[data-kpi="received"] .card-link')).to_be_focused()
        await page.locator("#export summary").click()
        for name, start in (("CSV", "\ufeffarea,period,kpi".encode()), ("XLSX", b"PK"), ("Parquet", b"PAR1")):
            file = (
                page.locator("#export-links").get_by_role("link", name=f"All indicators: {name}", exact=False).first
            )
            answer = await page.request.get(await file.evaluate("link => link.href"))
            assert (await answer.body()).startswith(start), name


async def test_it_fits_reads_well_and_says_when_it_is_old(browser: Browser, database_url: str) -> None:
    await fill(database_url)
    async with (
        counting(database_url) as worker,
        dashboard(database_url, current_site=lambda: SITE, now=lambda: NOW) as running,
    ):
        for width, scheme in ((360, "dark"), (1440, "light")):
            for query in ("", "&kpi=on_time&cases=all"):
                address = f"{running.http}/leader?language=en{query}"
                sizes: dict[str, Any] = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
                async with at_desk(browser, address, **sizes) as page:
                    await expect(page.locator("#areas tbody tr").first).to_be_visible(timeout=SLOW_MS)
                    assert await page.evaluate("document.documentElement.scrollWidth") <= width, query
                    assert await page.evaluate(CONTRASTS_BELOW_AA) == [], query
        async with at_desk(browser, f"{running.http}/leader?language=en") as page:
            await expect(page.locator("#cards .card").first).to_be_visible(timeout=SLOW_MS)
            await expect(page.locator("#as-of")).to_contain_text("As of 12:00:00")
            await expect(page.locator("body")).to_have_attribute("data-fresh", "yes")
            await page.clock.install()
            await page.route("**/*", lambda route: route.abort())
            # By the page's own clock.
            await page.clock.run_for(5000)
            await expect(page.locator("body")).to_have_attribute("data-fresh", "no")
            await expect(page.locator("#stale")).to_contain_text("may have changed")
            assert await page.evaluate(CONTRASTS_BELOW_AA) == []
            await page.unroute("**/*")
            async with writer(database_url) as stream:
                stream.site = SITE
                late = [
                    Sample(kpi="on_time", area="A", time_s=int(NOW.timestamp()) - 3600, value=0, dim="police")
                ] * 5
                await stream.commit(late)
            await page.clock.run_for(10_000)
            await expect(page.locator("body")).to_have_attribute("data-fresh", "yes", timeout=SLOW_MS)
            # It reads anew when it is back, and every half minute; then it learns that nobody counts any more.
            await expect(page.locator('[data-kpi="on_time"] .big')).to_have_text("30 %", timeout=SLOW_MS)
            await worker.halt("the disk is full")
            await page.clock.run_for(35_000)
            await expect(page.locator("#stale")).to_contain_text("Counting has stopped", timeout=SLOW_MS)
            await expect(page.locator("body")).to_have_attribute("data-fresh", "no")
        async with at_desk(browser, f"{running.http}/leader?language=en&area=nowhere") as page:
            await expect(page.locator("#message")).to_contain_text("There is no such area", timeout=SLOW_MS)
            await page.get_by_role("link", name="To the overview").click()
            await expect(page.locator("#area-name")).to_have_text("Province")
            # What was chosen on the page counts more than what its address said.
            assert page.url.endswith("/leader?language=en")
            await page.get_by_role("button", name="Tiếng Việt").click()
            await expect(page.locator("#area-name")).to_have_text("Tỉnh")
            assert page.url.endswith("/leader")


async def test_a_leader_begins_at_home_and_others_sign_in_for_cases(browser: Browser, database_url: str) -> None:
    await migrate_schema(database_url)
    people = parse_site({**PACK, "people.toml": PEOPLE_TOML})
    issuer = Issuer(lambda: NOW)
    address = "/leader?language=en"
    async with dashboard(
        database_url, current_site=lambda: people, now=lambda: NOW, config={"trust": issuer}
    ) as running:
        async with at_desk(browser, running.http + address, extra_http_headers=issuer.header("lan")) as page:
            await expect(page.locator("#area-name")).to_have_text("Commune A", timeout=SLOW_MS)
            await expect(page.locator("#who-name")).to_have_text("Nguyễn Thị Lan")
            await page.locator("#path").get_by_role("link", name="Province").click()
            await expect(page.locator("#path")).to_contain_text(re.compile("Your areas: ?Commune A"))
        async with at_desk(browser, f"{running.http}{address}&kpi=received&cases=all") as page:
            await expect(page.locator("#cases")).to_contain_text("for people who have signed in", timeout=SLOW_MS)
            sign_in = page.locator("#cases").get_by_role("link", name="Sign in")
            assert "back=%2Fleader" in str(await sign_in.get_attribute("href"))


def pages_of(file: bytes) -> int:
    """How many pages a PDF of Chromium has."""
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", file))


async def test_the_page_for_a_meeting_is_one_page(browser: Browser, database_url: str, tmp_path: Path) -> None:
    # The whole reference catalogue, in a month in which all of its targets held, everything far behind.
    pack = {**load_pack(PACKAGED_SITE.parent / "vietnam")}
    pack.pop("people.toml", None)
    vietnam = parse_site(pack)
    judged = [kpi for kpi in vietnam.kpis.kpis if kpi.target or kpi.thresholds]
    public = sum(not vietnam.kpis.is_for_supervision(kpi.id) for kpi in vietnam.kpis.kpis)
    commune = vietnam.areas.children(vietnam.areas.children(vietnam.areas.root.id)[0].id)[0].id
    month_s = int(datetime(2025, 12, 1, tzinfo=HANOI).timestamp())
    await migrate_schema(database_url)
    async with writer(database_url) as stream:
        stream.site = vietnam
        bases = {base.id: base for kpi in judged for base in vietnam.kpis.bases_of(kpi.id)}
        await stream.commit(
            [
                Sample(
                    kpi=base.id,
                    area=commune,
                    time_s=month_s,
                    value=1000 if base.id.endswith("/denominator") else 99,
                    dim="\x1f".join("" for _ in base.dimensions),
                    what="x",
                )
                for base in bases.values()
            ]
        )
        await stream.close_until(NOW.timestamp() - 86400)
    async with dashboard(database_url, current_site=lambda: vietnam, now=lambda: NOW) as running:
        for language, title, left in (
            ("vi", "Báo cáo thực hiện mục tiêu: Việt Nam", "Không nêu {} chỉ tiêu chưa có mục tiêu"),
            ("en", "Report on targets: Viet Nam", "{} indicators without a target here are left out"),
        ):
            async with at_desk(browser, f"{running.http}/leader?period=2025-12&language={language}") as page:
                report = page.locator("#report")
                await expect(report.locator("h1")).to_have_text(title, timeout=SLOW_MS)
                await expect(report).to_be_hidden()
                file = await page.pdf(prefer_css_page_size=True)
                await asyncio.to_thread((tmp_path / f"{language}.pdf").write_bytes, file)
                assert pages_of(file) == 1
                await expect(report.locator(".rows tbody tr")).to_have_count(len(judged))
                await expect(report).to_contain_text(left.format(public - len(judged)))
                assert await report.locator('tr[data-status="bad"]').count() > 5
                await page.emulate_media(media="print")
                await expect(report).to_be_visible()
                await expect(page.locator("#screen")).to_be_hidden()
                assert await report.evaluate("page => page.scrollWidth <= page.clientWidth + 1")


async def test_a_report_says_what_did_not_fit(browser: Browser, database_url: str) -> None:
    # Sixty indicators with long names; most of them leave no room for the others.
    kpi = msgspec.structs.replace(SITE.kpis["on_time"], names={"vi": "Tỷ lệ " + "rất dài " * 14, "en": "Share"})
    many = "".join(
        KPIS_TOML.split("[[kpi]]")[1]
        .join(["[[kpi]]", ""])
        .replace('"on_time"', f'"on_time.{n}"')
        .replace("Xử lý đúng hạn", f"{kpi.names['vi']}{n}")
        for n in range(60)
    )
    crowded = parse_site({**PACK, "kpis.toml": KPIS_TOML + many})
    await migrate_schema(database_url)
    async with writer(database_url) as stream:
        stream.site = crowded
        time_s = int(APRIL.timestamp())
        await stream.commit([Sample(kpi=kpi.id, area="A", time_s=time_s, dim="x") for kpi in crowded.kpis.kpis[4:]])
    async with (
        dashboard(database_url, current_site=lambda: crowded, now=lambda: NOW) as running,
        at_desk(browser, f"{running.http}/leader?language=vi") as page,
    ):
        await expect(page.locator("#report h1")).to_have_text("Báo cáo thực hiện mục tiêu: Tỉnh", timeout=SLOW_MS)
        assert pages_of(await page.pdf(prefer_css_page_size=True)) == 1
        rows = await page.locator("#report .rows tbody tr").count()
        assert 5 <= rows < 40
        await expect(page.locator("#report footer")).to_contain_text(
            f"Còn {63 - rows} chỉ tiêu có mục tiêu không đủ chỗ"
        )
        await expect(page.locator("#report footer")).to_contain_text(
            "Chưa chốt cho đến khi hết kỳ (00:00 01/05/2026)"
        )
