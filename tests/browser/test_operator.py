"""Can an operator work through what comes in, in a real browser, by keyboard and by mouse, and never be misled?"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, Page, expect

from deploy.migrate import migrate_schema
from schemas.case import Severity, State
from schemas.site import parse_site
from tests.browser.chromium import CONTRASTS_BELOW_AA
from tests.dashboard.case_centre import PACK as SITE_PACK
from tests.dashboard.case_centre import case_centre
from tests.dashboard.case_rows import case, put_cases, tell
from tests.dashboard.centre import counting, dashboard, writer
from tests.faults.centre import Centre, ready
from tests.faults.site import write_pack
from tests.schemas.case_pack import pack

SLOW_MS = 30_000
WAIT_S = 60.0
ATTACK = "<img src=x onerror=\"document.title='owned'\"><b>Cháy</b>"
HERE, NEAR = "geo:21.0900,105.0900", "geo:21.0901,105.0901"
CLOCKS = """
[[clock]]
clock = "resolution"
allowed = "4h"

[[clock]]
clock = "arrival"
allowed = "15m"
kinds = ["incident"]
"""
PACK = pack({"clocks.toml": CLOCKS})
"""Clocks that run at every hour, so that what is due does not depend on when the test runs."""

WALL = [({"width": 360, "height": 740}, "light"), ({"width": 1440, "height": 900}, "dark")]


@asynccontextmanager
async def at_desk(browser: Browser, origin: str, **options: Any) -> AsyncGenerator[Page]:
    """The page in a browser profile of its own, in English. What went wrong on it fails the test."""
    context = await browser.new_context(**options)
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(f"{origin}/operator?language=en")
    yield page
    assert errors == []
    await context.close()


class Outside:
    """Everybody else: a citizen who reports, and colleagues who act."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.commands = 0

    async def report(self, text: str, category: str = "pothole", place: str = HERE) -> str:
        """Reports something; the id of the case that it opens."""
        answer = await self.client.post(
            "/v1/reports", json={"text": text, "category": category, "place": place, "title": text}
        )
        assert answer.status_code == 202, answer.text
        return answer.json()["reference"]

    async def say(self, case_id: str, **do: Any) -> dict[str, Any]:
        """Gives a command as a colleague; its outcome."""
        self.commands += 1
        sent = {"id": f"colleague-{self.commands}", "case": case_id, "do": do}
        answer = await self.client.post("/v1/commands", json=sent, headers={"IOC-Request": "1"})
        assert answer.status_code == 202, answer.text
        return (await self.client.get(f"/v1/commands/{sent['id']}", params={"wait": 30})).json()

    async def case(self, case_id: str, **wanted: Any) -> dict[str, Any]:
        """The case, as soon as it is as wanted."""
        until_s = time.monotonic() + WAIT_S
        found: dict[str, Any] = {}
        while time.monotonic() < until_s:
            found = (await self.client.get(f"/v1/cases/{case_id}")).json()
            if all(found.get(name) == value for name, value in wanted.items()) and "id" in found:
                return found
            await asyncio.sleep(0.1)
        raise AssertionError(f"{case_id} is not {wanted}: {found}")


@asynccontextmanager
async def whole_centre(
    kafka: str, database_url: str, prefix: str, folder: Path
) -> AsyncGenerator[tuple[str, Outside]]:
    """A worker, ingest and dashboard on a real broker and a real database."""
    centre = Centre(kafka, database_url, prefix, folder, write_pack(PACK, folder / "site"))
    await centre.create()
    centre.start_worker(0)
    try:
        with centre.web() as origin:
            await ready(centre, origin)
            async with httpx.AsyncClient(base_url=origin, trust_env=False, timeout=60) as client:
                yield origin, Outside(client)
    finally:
        centre.end()


async def test_a_case_is_handled_from_its_report_to_its_dispatch_by_keyboard(
    browser: Browser, kafka: str, database_url: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with whole_centre(kafka, database_url, topic_prefix, tmp_path) as (origin, outside):
        async with at_desk(browser, origin, viewport={"width": 1440, "height": 900}) as page:
            body, rows = page.locator("body"), page.locator("#list > li")
            await expect(body).to_have_attribute("data-connection", "live", timeout=SLOW_MS)
            await expect(page.locator("#empty")).to_contain_text("Nothing to do", timeout=SLOW_MS)

            # What comes in is there by itself. The fire, due sooner, stands before the hole.
            hole = await outside.report("A hole in the road")
            await expect(rows).to_have_count(1, timeout=SLOW_MS)
            second = await outside.report("The same hole", place=NEAR)
            await expect(rows).to_have_count(2, timeout=SLOW_MS)
            fire = await outside.report(ATTACK, "fire", "geo:21.0510,105.0010")
            await expect(rows).to_have_count(3, timeout=SLOW_MS)
            await expect(rows.first).to_have_attribute("data-id", fire)
            await expect(rows.first.locator(".row-name")).to_have_text(ATTACK)
            assert await page.locator("main img, main b").count() == 0
            assert "owned" not in await page.title()

            # What is severe and seen by nobody stands out until one person has acknowledged it for all.
            await expect(page.locator("#alarm")).to_contain_text("1 severe case nobody has seen")
            await expect(rows.first).to_have_class("flash")
            assert (await outside.say(fire, action="acknowledge"))["state"] == "applied"
            await expect(page.locator("#alarm")).to_be_hidden(timeout=SLOW_MS)
            await expect(rows.first).not_to_have_class("flash")

            # j and k move, Enter opens, two more keys send the best unit.
            await page.keyboard.press("j")
            await expect(rows.first.locator("button")).to_be_focused()
            await page.keyboard.press("j")
            await page.keyboard.press("k")
            await expect(rows.first.locator("button")).to_be_focused()
            await page.keyboard.press("Enter")
            await expect(page.locator("#case-title")).to_have_text(ATTACK, timeout=SLOW_MS)
            await expect(page.locator('[data-clock="arrival"]')).to_contain_text("left")
            await page.keyboard.press("d")
            best = page.locator(".suggested button").first
            await expect(best).to_be_focused(timeout=SLOW_MS)
            assert (await best.locator("..").get_attribute("data-unit")) is not None
            await expect(best).to_contain_text("has fire")
            await page.keyboard.press("Enter")
            await expect(page.locator("#outcome")).to_contain_text("done", timeout=SLOW_MS)
            sent = await outside.case(fire)
            assert [offer["step"] for offer in sent["offers"]] == ["offered"]
            await expect(page.locator(".offers li")).to_have_count(1, timeout=SLOW_MS)
            await page.keyboard.press("Escape")
            await expect(rows.first.locator("button")).to_be_focused()

            # A note may be addressed to whoever is on the way; a colleague's is there without a reload.
            await page.keyboard.press("Enter")
            await expect(page.locator(".offers li")).to_have_count(1, timeout=SLOW_MS)
            await page.keyboard.press("n")
            await page.locator("#field-text").fill("Mind the gas bottles")
            await page.keyboard.press("Tab")
            await page.keyboard.press("Space")
            await page.keyboard.press("Control+Enter")
            await expect(page.locator(".lines")).to_contain_text("to: units", timeout=SLOW_MS)
            assert (await outside.say(fire, action="note", text="The road is closed"))["state"] == "applied"
            await expect(page.locator(".lines")).to_contain_text("The road is closed", timeout=SLOW_MS)
            await page.keyboard.press("Escape")
            await expect(rows.first.locator("button")).to_be_focused()

            # Two that may be one are proposed with their reasons, and become one.
            await page.locator(f'#list [data-id="{second}"] button').click()
            await expect(page.locator(f'.proposals [data-other="{hole}"]')).to_contain_text(
                "same category", timeout=SLOW_MS
            )
            await expect(page.locator(f'.proposals [data-other="{hole}"]')).to_contain_text("m apart")
            await page.locator('.proposals [data-do="merge"]').click()
            await expect(page.locator("#outcome")).to_contain_text("Merge: done", timeout=SLOW_MS)
            await expect(rows).to_have_count(2, timeout=SLOW_MS)
            assert (await outside.case(hole, state="merged"))["merged_into"] == second

            # Who decides on what has changed meanwhile is told so, and what was typed stays.
            await page.keyboard.press("t")
            await page.locator("#field-title").fill("Two reports of one hole")
            await page.route("**/v1/cases/*", lambda route: route.abort())
            assert (await outside.say(second, action="triage", severity="major"))["state"] == "applied"
            await page.get_by_role("button", name="Send").click()
            await expect(page.locator("#form .wrong[role=alert]")).to_contain_text(
                "changed in the meantime", timeout=SLOW_MS
            )
            await page.unroute("**/v1/cases/*")
            await page.get_by_role("button", name="Reload, it has changed").click()
            await expect(page.locator("#form .wrong[role=alert]")).to_contain_text(
                "how the case stands now", timeout=SLOW_MS
            )
            await expect(page.locator("#field-title")).to_have_value("Two reports of one hole")
            await page.get_by_role("button", name="Send").click()
            await expect(page.locator("#form")).to_be_hidden(timeout=SLOW_MS)
            await expect(page.locator("#case-title")).to_have_text("Two reports of one hole", timeout=SLOW_MS)
            await expect(page.locator(".timeline")).to_contain_text("Triage")

            # Only what the centre allows is offered; a field that is missing is named.
            allowed = (await outside.case(second))["actions"]
            listed = await page.locator(".actions [data-action]").evaluate_all(
                "nodes => nodes.map((one) => one.dataset.action)"
            )
            assert set(listed) <= {one["action"] for one in allowed}
            assert "assign" in listed
            await page.locator('[data-action="assign"]').click()
            await page.locator("#field-agency").select_option("power")
            await page.get_by_role("button", name="Send").click()
            await expect(page.locator("#form")).to_be_hidden(timeout=SLOW_MS)
            assert (await outside.case(second, agency="power"))["state"] == "assigned"
            await page.keyboard.press("r")
            await page.get_by_role("button", name="Send").click()
            await expect(page.locator("#field-text-wrong")).to_have_text("This is needed.")
            await expect(page.locator("#field-text")).to_be_focused()
            await page.keyboard.type("We are coming tomorrow.")
            await page.keyboard.press("Control+Enter")
            await expect(page.locator(".lines")).to_contain_text("We are coming tomorrow.", timeout=SLOW_MS)
            await expect(page.locator(".lines")).to_contain_text("the citizen reads this")

            # What changed while nobody looked is marked.
            await page.keyboard.press("Escape")
            await look(page, away=True)
            third = await outside.report("A lamp is dark", "other", "geo:21.2,105.2")
            await outside.say(fire, action="triage", severity="major")
            await expect(rows).to_have_count(3, timeout=SLOW_MS)
            await look(page, away=False)
            await expect(page.locator("#away")).to_contain_text("1 new, 1 changed, 0 gone", timeout=SLOW_MS)
            await expect(page.locator(f'#list [data-id="{third}"] .mark')).to_have_text("new")
            await page.get_by_role("button", name="Seen").click()
            await expect(page.locator(".mark")).to_have_count(0)

            # One's own entry opens, and is there.
            await page.keyboard.press("o")
            await page.locator("#field-category").select_option("pothole")
            await page.locator("#field-title").fill("Told by telephone")
            await page.locator("#field-at").fill("21.1, 105.1")
            await page.get_by_role("button", name="Send").click()
            await expect(page.locator("#case-title")).to_have_text("Told by telephone", timeout=SLOW_MS)

        # A phone shows the same by touch, without a sideways scroll, and with contrast.
        for viewport, scheme in WALL:
            async with at_desk(browser, origin, viewport=viewport, color_scheme=scheme) as page:
                await expect(page.locator("#list > li")).to_have_count(4, timeout=SLOW_MS)
                await fits(page, viewport["width"])
                await page.locator(f'#list [data-id="{second}"] button').click()
                await expect(page.locator(".timeline")).to_be_visible(timeout=SLOW_MS)
                await fits(page, viewport["width"])
                await page.locator('[data-action="dispatch"]').first.click()
                await expect(page.locator(".suggested button").first).to_be_visible(timeout=SLOW_MS)
                await fits(page, viewport["width"])


async def look(page: Page, *, away: bool) -> None:
    """As if the page's tab were hidden, or shown again."""
    await page.evaluate(
        """away => {
            Object.defineProperty(document, "hidden", { configurable: true, get: () => away });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        away,
    )


async def fits(page: Page, width: int) -> None:
    """Nothing is wider than the screen, and all text can be read."""
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    assert await page.evaluate(CONTRASTS_BELOW_AA) == []
    small = await page.evaluate(
        """() => [...document.querySelectorAll("button, select, input:not([type=checkbox])")]
            .filter((one) => one.getClientRects().length && one.getBoundingClientRect().height < 43.5)
            .map((one) => one.outerHTML.slice(0, 80))"""
    )
    assert small == []


GROUND = """
{"type": "FeatureCollection", "attribution": "Who surveyed it", "features": [
 {"type": "Feature", "properties": {"id": "01"}, "geometry": {"type": "Polygon", "coordinates":
  [[[105.8, 21.0], [105.9, 21.0], [105.9, 21.1], [105.8, 21.1], [105.8, 21.0]]]}},
 {"type": "Feature", "properties": {"id": "02"}, "geometry": {"type": "Polygon", "coordinates":
  [[[105.9, 21.0], [106.0, 21.0], [106.0, 21.1], [105.9, 21.1], [105.9, 21.0]]]}}]}
"""
PAINTED = """() => {
    const canvas = document.querySelector("#map canvas");
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let painted = 0;
    for (let at = 3; at < pixels.length; at += 4) if (pixels[at] > 0) painted += 1;
    return painted / (pixels.length / 4);
}"""


async def test_the_map_has_the_areas_and_what_comes_in_and_is_used_by_keyboard(
    browser: Browser, database_url: str
) -> None:
    await migrate_schema(database_url)
    site = parse_site(
        {name: text for name, text in SITE_PACK.items() if name != "people.toml"} | {"areas.geojson": GROUND}
    )
    near = [f"geo:21.0{n}00,105.8501" for n in (10, 11, 12)]
    async with (
        counting(database_url),
        case_centre(database_url, current_site=lambda: site) as centre,
    ):
        await put_cases(
            centre.connection,
            *(case(f"near{n}", place=place, title="Hole") for n, place in enumerate(near)),
            case("far", place="geo:21.0900,105.9900", severity=Severity.CRITICAL, title="Fire"),
            case("nowhere"),
        )
        async with at_desk(browser, centre.running.http, viewport={"width": 1440, "height": 900}) as page:
            marks = page.locator("#map .map-mark[data-ids]")
            await expect(page.locator("#list > li")).to_have_count(5, timeout=SLOW_MS)
            await expect(marks).to_have_count(2, timeout=SLOW_MS)
            several = page.locator("#map .map-mark.several[data-ids]")
            await expect(several).to_have_attribute("data-ids", "near0 near1 near2")
            await expect(several).to_have_text("3")
            # A form of its own and not its colour alone says how severe something is.
            far = page.locator('#map .map-mark[data-ids="far"]')
            await expect(far).to_have_attribute("data-severity", "critical")
            await expect(far).to_have_attribute("aria-label", "Fire · Critical · New")
            await expect(far).to_have_text("!!")
            # The ground is drawn from the pack's own boundaries, whose owner is named.
            await expect(page.locator(".map-name")).to_have_count(2)
            await expect(page.locator(".map-credit")).to_have_text("Boundaries: Who surveyed it")
            assert await page.evaluate(PAINTED) > 0.2

            # What comes in is there by itself, and what is over goes.
            spot = {"place": "geo:21.0300,105.9500", "severity": Severity.MAJOR}
            for version, state, shown in ((1, State.NEW, 1), (2, State.CLOSED, 0)):
                async with centre.connection.transaction():
                    await put_cases(centre.connection, case("new", version=version, state=state, **spot))
                    await tell(centre.connection, ["new"], [])
                await expect(page.locator('#map .map-mark[data-ids="new"]')).to_have_count(shown, timeout=SLOW_MS)

            # Several come apart, and one opens its case, by keyboard.
            await several.focus()
            await page.keyboard.press("Enter")
            await expect(several).to_have_count(0, timeout=SLOW_MS)
            one = page.locator('#map .map-mark[data-ids="near1"]')
            await one.focus()
            await page.keyboard.press("Enter")
            await expect(page.locator("#case-title")).to_have_text("Hole", timeout=SLOW_MS)
            await page.keyboard.press("Escape")
            await page.get_by_role("button", name="Show everything").click()
            await expect(several).to_have_count(1, timeout=SLOW_MS)
            await fits(page, 1440)


async def test_it_is_stale_within_five_seconds_and_goes_on_by_itself(browser: Browser, database_url: str) -> None:
    await migrate_schema(database_url)
    async with counting(database_url), writer(database_url) as stream:
        await put_cases(stream.connection, case("c1", title="Fire at the market"))
        async with dashboard(database_url) as running:
            port = int(running.address.rpartition(":")[2])
            async with at_desk(browser, running.http) as page:
                body = page.locator("body")
                await expect(body).to_have_attribute("data-connection", "live", timeout=SLOW_MS)
                await expect(page.locator("#list > li")).to_have_count(1)
                running.server.should_exit = True
                await asyncio.wait_for(asyncio.shield(running.task), SLOW_MS / 1000)
                started_s = time.monotonic()
                await expect(body).to_have_attribute("data-fresh", "no", timeout=SLOW_MS)
                assert time.monotonic() - started_s < 5.5
                await expect(page.locator("#banner")).to_contain_text("may have changed")
                await expect(page.locator("#list > li")).to_have_count(1)
                async with dashboard(database_url, port):
                    await expect(body).to_have_attribute("data-connection", "live", timeout=2 * SLOW_MS)
                    await expect(page.locator("#banner")).to_be_hidden()


@pytest.mark.parametrize(("blocked", "state"), [([], "live"), (["**/v1/live/events**"], "polling")])
async def test_where_no_socket_gets_through_the_feed_comes_by_other_ways(
    browser: Browser, database_url: str, blocked: list[str], state: str
) -> None:
    await migrate_schema(database_url)
    async with counting(database_url), writer(database_url) as stream, dashboard(database_url) as running:
        await put_cases(stream.connection, case("c1"))
        context = await browser.new_context()
        page = await context.new_page()
        await page.add_init_script(
            """WebSocket = class {
                static OPEN = 1;
                constructor() { setTimeout(() => this.onclose?.()); }
                close() {}
            };"""
        )
        for address in blocked:
            await page.route(address, lambda route: route.abort())
        await page.goto(f"{running.http}/operator?language=en")
        await expect(page.locator("body")).to_have_attribute("data-connection", state, timeout=SLOW_MS)
        await expect(page.locator("#list > li")).to_have_count(1)
        await put_cases(stream.connection, case("c2", title="Another"))
        await tell(stream.connection, ["c2"])
        await expect(page.locator("#list > li")).to_have_count(2, timeout=SLOW_MS)
        await context.close()


async def test_who_is_not_signed_in_sees_no_case_and_where_to_sign_in(browser: Browser, database_url: str) -> None:
    await migrate_schema(database_url)
    async with counting(database_url), case_centre(database_url) as centre:
        await put_cases(centre.connection, case("c1", title="Nobody's business"))
        async with at_desk(browser, centre.running.http) as page:
            await expect(page.locator("#state-page")).to_contain_text("Sign in to see cases", timeout=SLOW_MS)
            link = page.locator("#state-page").get_by_role("link", name="Sign in")
            assert await link.get_attribute("href") == "signin?back=%2Foperator%3Flanguage%3Den"
            assert "Nobody's business" not in await page.content()
        # A unit's place is the field page; an operator sees what the areas and agencies give.
        for person, shown in (("uma", "Nothing for your role here"), ("olga", "Nobody's business")):
            headers = centre.issuer.header(person)
            context = await browser.new_context(extra_http_headers=headers)
            page = await context.new_page()
            await page.goto(f"{centre.running.http}/operator?language=en")
            await expect(page.locator("body")).to_contain_text(shown, timeout=SLOW_MS)
            await context.close()
