"""Does a unit hear of its cases, and does the centre hear of its steps, over links as bad as they are out there?"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from msgspec import Struct
from playwright.async_api import (
    Browser,
    BrowserContext,
    Page,
    Request,
    Route,
    WebSocketRoute,
    expect,
)

from schemas.credential import SESSION_COOKIE
from tests.browser.bad_link import BadLink, Quality
from tests.browser.chromium import CONTRASTS_BELOW_AA
from tests.browser.field_centre import FieldCentre, field_centre
from tests.conftest import Services

SLOW_MS = 60_000
PHONE = {"width": 360, "height": 740}
FIRST_LOAD_BYTES_MAX = 150 * 1024
UPDATE_BYTES_MAX = 300
COMMANDS = "/v1/commands"
BAD = Quality(bits_per_s=32_000, delay_s=0.8, reset_after_bytes=(3_000, 12_000))
RESETS_MIN = 3
UPDATES_MAX = 30


@pytest.fixture(scope="module")
def centre(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FieldCentre]:
    """One centre for this file; each test has a unit of its own."""
    with field_centre(services, tmp_path_factory.mktemp("field")) as running:
        yield running


class Phone:
    """A browser profile, and what went wrong in it."""

    def __init__(self, context: BrowserContext, page: Page, origin: str) -> None:
        self.context = context
        self.page = page
        self.origin = origin
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    async def open(self, query: str = "?language=en", *, worker: bool = True) -> None:
        """The page, until it is in touch with the centre and, with its service worker, would open without it."""
        await self.page.goto(f"{self.origin}/field{query}", timeout=SLOW_MS)
        await self.is_connected()
        if not worker:
            return
        await self.page.evaluate(
            """() => new Promise((done) => {
                navigator.serviceWorker.addEventListener("controllerchange", done);
                if (navigator.serviceWorker.controller) done();
            })"""
        )

    async def is_connected(self) -> None:
        """Waits until it is."""
        await expect(self.page.locator("body")).to_have_attribute("data-link", "live", timeout=SLOW_MS)

    async def opens(self, title: str) -> None:
        """Waits for the case, and taps on it."""
        shown = self.page.locator("#case-title", has_text=title)
        async with asyncio.timeout(SLOW_MS / 1000):
            while not await shown.count():
                # A list that is drawn anew under the finger takes no tap.
                await self.page.locator(".card", has_text=title).click(timeout=SLOW_MS)
                with suppress(AssertionError):
                    await expect(shown).to_have_count(1, timeout=2000)

    async def presses(self, name: str) -> None:
        """The large button under the thumb, once it is what comes next."""
        await self.page.locator("#step-next", has_text=name).click(timeout=SLOW_MS)

    async def finishes(self, result: str) -> None:
        """Says what was done."""
        await self.presses("Done")
        await self.page.locator("#ask-words").fill(result)
        await self.page.locator("#ask-send").click()


@asynccontextmanager
async def phone(
    browser: Browser, centre: FieldCentre, number: int, origin: str | None = None, **options: object
) -> AsyncGenerator[Phone]:
    """A phone of somebody in unit `number`, signed in; `origin` is that of the link that it uses."""
    reached = origin or centre.origin
    options.setdefault("viewport", PHONE)
    context = await browser.new_context(**options)  # type: ignore[arg-type]
    host = urlsplit(reached).hostname or ""
    cookie = {"name": SESSION_COOKIE, "value": centre.token(f"p{number}"), "domain": host, "path": "/"}
    await context.add_cookies([cookie])  # type: ignore[list-item]
    try:
        yield Phone(context, await context.new_page(), reached)
    finally:
        await context.close()


async def test_a_unit_is_offered_a_case_goes_there_and_finishes_it(browser: Browser, centre: FieldCentre) -> None:
    attack = "<img src=x onerror=\"document.title='owned'\">"
    async with BadLink(centre.origin).listening() as link, phone(browser, centre, 0, link.origin) as unit:
        page = unit.page
        costs: list[int] = []

        async def costing(press: Awaitable[None], case: str, step: str) -> None:
            before = link.carried[COMMANDS]
            await press
            await centre.steps(case, step)
            await expect(page.locator("#steps-title + ol .waits")).to_have_count(0, timeout=SLOW_MS)
            costs.append(link.carried[COMMANDS] - before)

        async with page.expect_websocket(lambda socket: socket.url.endswith(COMMANDS)):
            await unit.open()
        await expect(page.locator("#unit-name")).to_have_text("Road and drainage team 0")
        await expect(page.locator("#cards")).to_contain_text("No case is assigned to you now")
        case = await centre.offer("u0", attack)
        # The phone says by itself that the offer has arrived, and that it was opened.
        assert "seen" not in await centre.steps(case, "delivered")
        await unit.opens(attack)
        await centre.steps(case, "seen")
        assert await page.locator("main img").count() == 0
        assert (await page.locator("#way").get_attribute("href") or "").startswith("geo:21.01230,105.81230")
        await expect(page.locator("#steps-title + ol .waits")).to_have_count(0, timeout=SLOW_MS)
        await costing(unit.presses("Accept"), case, "accepted")
        await costing(unit.presses("On the way"), case, "en_route")
        await costing(unit.presses("On the scene"), case, "on_scene")
        # Whole frames with their answers, once the socket is open. None is posted.
        assert min(costs) > 0
        assert max(costs) <= UPDATE_BYTES_MAX
        print(f"an update and its answer are {min(costs)} to {max(costs)} bytes on the wire")
        await page.locator("#add-note").click()
        await page.locator("#ask-words").fill("Cần thêm rào chắn")
        await page.locator("#ask-send").click()
        await unit.presses("Done")
        await page.locator("#ask-send").click()
        await expect(page.locator("#ask-wrong")).to_have_text("Write something here first.")
        await page.locator("#ask-words").fill("Đã vá ổ gà")
        await page.locator("#ask-ref").fill("BB-12/2026")
        await page.locator("#ask-send").click()
        await centre.steps(case, "done")
        found = await centre.case(case)
        assert found["result"] == "Đã vá ổ gà"
        assert [one["ref"] for one in found["evidence"]] == ["BB-12/2026"]
        await expect(page.locator("#cards")).to_contain_text("No case is assigned to you now", timeout=SLOW_MS)
        await expect(page.locator("#waiting-panel")).to_be_hidden(timeout=SLOW_MS)
        await page.locator("#status-busy").click()
        await expect(page.locator("#availability-waits")).to_be_hidden(timeout=SLOW_MS)
        await expect(page.locator("#status-busy")).to_have_attribute("aria-pressed", "true")
        assert [action for _, action, reason in await centre.decided("p0") if reason is None].count("offer") == 6
        assert unit.errors == []


async def test_what_was_done_without_a_link_arrives_once_with_its_own_times(
    browser: Browser, centre: FieldCentre
) -> None:
    async with BadLink(centre.origin).listening() as link, phone(browser, centre, 1, link.origin) as unit:
        page = unit.page
        await unit.open()
        case = await centre.offer("u1", "Cây đổ chắn đường")
        await unit.opens("Cây đổ chắn đường")
        await centre.steps(case, "seen")
        await expect(page.locator("#steps-title + ol .waits")).to_have_count(0, timeout=SLOW_MS)
        await unit.context.set_offline(True)
        link.cut()
        await expect(page.locator("#banner")).to_contain_text("No connection", timeout=SLOW_MS)
        began = datetime.now(UTC)
        await unit.presses("Accept")
        await unit.presses("On the way")
        await expect(page.locator("#steps-title + ol .waits")).to_have_count(2)
        await page.reload()
        await expect(page.locator("#case-title")).to_have_text("Cây đổ chắn đường")
        await expect(page.locator("#steps-title + ol .waits")).to_have_count(2)
        await expect(page.locator("#banner")).to_contain_text("No connection", timeout=SLOW_MS)
        await unit.presses("On the scene")
        await unit.finishes("Đã dọn cây")
        await page.locator("#back").click()
        await expect(page.locator("#waiting-title")).to_have_text("4 updates are not at the centre yet")
        ended = datetime.now(UTC)
        before = await centre.decided("p1")
        assert [action for _, action, _ in before] == ["offer", "offer"]
        link.mend()
        await unit.context.set_offline(False)
        await unit.is_connected()
        at = await centre.steps(case, "done")
        own = [at[step] for step in ("accepted", "en_route", "on_scene", "done")]
        assert own == sorted(own)
        assert began <= own[0]
        assert own[-1] <= ended
        await expect(page.locator("#waiting-panel")).to_be_hidden(timeout=SLOW_MS)
        await expect(page.locator("#banner")).to_be_hidden()
        decided = await centre.decided("p1")
        assert len(decided) == 6
        assert all(reason is None for _, _, reason in decided)
        assert unit.errors == []


async def test_an_offer_and_every_update_go_through_a_link_that_breaks_all_the_time(
    browser: Browser, centre: FieldCentre
) -> None:
    async with BadLink(centre.origin).listening() as link, phone(browser, centre, 2, link.origin) as unit:
        bodies: list[bytes] = []
        unit.page.on(
            "request",
            lambda request: bodies.append(request.post_data_buffer or b"") if _is_command(request) else None,
        )
        unit.page.on(
            "websocket",
            lambda socket: (
                socket.on("framesent", lambda frame: bodies.append(_bytes(frame)))
                if socket.url.endswith(COMMANDS)
                else None
            ),
        )
        await unit.open()
        first_load = link.down
        assert first_load <= FIRST_LOAD_BYTES_MAX
        link.worsen(BAD)
        case = await centre.offer("u2", "Sạt lở taluy")
        dispatched_s = time.monotonic()
        await unit.page.locator(".card", has_text="Sạt lở taluy").wait_for(timeout=SLOW_MS)
        shown_after_s = time.monotonic() - dispatched_s
        await unit.opens("Sạt lở taluy")
        await unit.presses("Accept")
        await centre.steps(case, "accepted")
        await unit.presses("On the way")
        await unit.presses("On the scene")
        await unit.finishes("Đã rào lại")
        at = await centre.steps(case, "done")
        assert set(at) == {"offered", "delivered", "seen", "accepted", "en_route", "on_scene", "done"}
        updates = 6
        while link.resets < RESETS_MIN and updates < UPDATES_MAX:
            status = unit.page.locator("#status-busy" if updates % 2 else "#status-off")
            await status.click()
            await expect(status).to_have_attribute("aria-pressed", "true")
            await expect(unit.page.locator("#availability-waits")).to_be_hidden(timeout=SLOW_MS)
            updates += 1
        assert link.resets >= RESETS_MIN
        await expect(unit.page.locator("#waiting-panel")).to_be_hidden(timeout=SLOW_MS)
        decided = await centre.decided("p2")
        assert len(decided) == updates
        assert all(reason is None for _, _, reason in decided)
        sizes = [len(body) / len(_ids(body)) for body in bodies]
        assert max(sizes) <= UPDATE_BYTES_MAX
        print(
            f"first load {first_load:,} bytes; offer shown {shown_after_s:.1f} s after dispatch; {updates} updates "
            f"of {min(sizes):.0f} to {max(sizes):.0f} bytes without headers; {link.resets} resets"
        )


def _bytes(frame: str | bytes) -> bytes:
    return frame.encode() if isinstance(frame, str) else frame


class _Sent(Struct, frozen=True):
    """As much of a command as is looked at here."""

    id: str


def _ids(body: str | bytes | None) -> list[str]:
    """The ids of the commands that a request carries, one or a list."""
    text = body.decode() if isinstance(body, bytes) else body or ""
    return [one.id for one in msgspec.json.decode(text if text.startswith("[") else f"[{text}]", type=list[_Sent])]


async def test_a_step_whose_answer_is_lost_is_sent_again_and_counts_once(
    browser: Browser, centre: FieldCentre
) -> None:
    async with phone(browser, centre, 3, service_workers="block") as unit:
        sent: list[str] = []

        async def lose(route: Route) -> None:
            sent.extend(_ids(route.request.post_data))
            if len(sent) > 1:
                await route.continue_()
                return
            await route.fetch()
            # The centre has it, and the phone does not know.
            await route.abort("connectionreset")

        def keep_back(socket: WebSocketRoute) -> None:
            server = socket.connect_to_server()
            # Else the feed would say what became of it before it is sent again.
            server.on_message(lambda message: None if '"outcomes"' in str(message) else socket.send(message))

        await unit.page.route_web_socket("**/v1/live", keep_back)
        # What is lost here is a request's answer.
        await unit.page.route_web_socket("**/v1/commands", lambda socket: socket.close())
        # The service worker would be quicker to send it again, where nobody can count.
        await unit.open(worker=False)
        case = await centre.offer("u3", "Ổ gà lớn")
        await unit.opens("Ổ gà lớn")
        await centre.steps(case, "seen")
        await expect(unit.page.locator("#steps-title + ol .waits")).to_have_count(0, timeout=SLOW_MS)
        await unit.page.route("**/v1/commands", lose)
        await unit.presses("Accept")
        await expect(unit.page.locator("#steps-title + ol .waits")).to_have_count(1)
        await expect(unit.page.locator("#steps-title + ol .waits")).to_have_count(0, timeout=SLOW_MS)
        assert sent == [sent[0], sent[0]]
        assert [id_ for id_, _, _ in await centre.decided("p3")].count(sent[0]) == 1


def _is_command(request: Request) -> bool:
    return request.method == "POST" and request.url.endswith("/v1/commands")


async def test_what_the_centre_refuses_is_shown_with_its_reason(browser: Browser, centre: FieldCentre) -> None:
    async with phone(browser, centre, 4) as unit:
        page = unit.page
        await unit.open()
        case = await centre.offer("u4", "Mất nắp cống")
        await unit.opens("Mất nắp cống")
        await centre.steps(case, "seen")
        await unit.context.set_offline(True)
        await unit.presses("Accept")
        await centre.command({"action": "withdraw_offer", "offer": 1}, {"case": case})
        await unit.context.set_offline(False)
        await expect(page.locator('#waiting [data-state="rejected"]')).to_contain_text(
            "It is too late", timeout=SLOW_MS
        )
        await expect(page.locator("#gone")).to_contain_text("no longer assigned", timeout=SLOW_MS)
        await page.locator('#waiting [data-do="noted"]').click()
        await expect(page.locator("#waiting-panel")).to_be_hidden()


async def test_what_is_done_in_a_drill_is_said_to_be_of_the_drill(browser: Browser, centre: FieldCentre) -> None:
    case = await centre.offer("u5", "Diễn tập cháy chợ", exercise=True)
    async with phone(browser, centre, 5) as unit:
        await unit.open()
        await unit.opens("Diễn tập cháy chợ")
        await expect(unit.page.locator("body")).to_have_attribute("data-exercise", "yes")
        await unit.presses("Accept")
        # Else the centre would refuse it: it takes nothing about a drill's case that may be meant in earnest.
        await centre.steps(case, "accepted")
        await expect(unit.page.locator("#waiting-panel")).to_be_hidden(timeout=SLOW_MS)


async def test_the_position_is_told_only_to_whom_it_was_agreed(browser: Browser, centre: FieldCentre) -> None:
    here = {"latitude": 21.02345, "longitude": 105.82345}
    async with phone(browser, centre, 7, geolocation=here, permissions=["geolocation"]) as unit:
        posted: list[str] = []
        unit.page.on("request", lambda request: posted.append(request.url) if request.method == "POST" else None)
        await unit.open()
        assert posted == []
        await unit.page.get_by_label("Tell the centre where the unit is").check()
        assert await centre.position("u7") == (21.02345, 105.82345)
        await expect(unit.page.locator("#share-note")).to_contain_text("at most every 30 seconds")


async def test_who_is_signed_out_or_in_no_unit_is_told_so(browser: Browser, centre: FieldCentre) -> None:
    async with phone(browser, centre, 5) as unit:
        await unit.context.clear_cookies()
        await unit.page.goto(f"{unit.origin}/field?language=en")
        await expect(unit.page.locator("#problem")).to_contain_text("You are signed out", timeout=SLOW_MS)
        link = await unit.page.locator("#sign-in").get_attribute("href")
        assert link == "signin?back=%2Ffield%3Flanguage%3Den"
        host = urlsplit(unit.origin).hostname or ""
        cookie = {"name": SESSION_COOKIE, "value": centre.token("olga"), "domain": host, "path": "/"}
        await unit.context.add_cookies([cookie])  # type: ignore[list-item]
        await unit.page.reload()
        await expect(unit.page.locator("#problem")).to_contain_text("This page is for field units", timeout=SLOW_MS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, {"width": 1440, "height": 900}], ids=["phone", "desktop"])
async def test_the_page_fits_has_contrast_and_can_be_reached_by_a_thumb(
    browser: Browser, centre: FieldCentre, size: dict[str, int], scheme: str, tmp_path: Path
) -> None:
    title = f"Đường ngập sâu trước trường học {size['width']} {scheme}"
    async with phone(browser, centre, 6, viewport=size, color_scheme=scheme) as unit:
        page = unit.page
        await unit.open("?language=vi")
        await centre.offer("u6", title)
        await expect(page.locator(".card", has_text=title)).to_be_visible(timeout=SLOW_MS)
        await _looks_right(page, size["width"], tmp_path / "list.png")
        await unit.opens(title)
        await expect(page.locator("#step-next")).to_be_visible(timeout=SLOW_MS)
        await _looks_right(page, size["width"], tmp_path / "case.png")
        await unit.context.set_offline(True)
        await page.locator("#step-next").click()
        await expect(page.locator("#steps-title + ol .waits").first).to_be_visible()
        await page.evaluate("document.body.dataset.fresh = 'no'; document.getElementById('banner').hidden = false")
        await _looks_right(page, size["width"], tmp_path / "offline.png")
        await page.locator("#step-next").focus()
        box = await page.locator("#step-next").bounding_box()
        assert box is not None
        assert box["height"] >= 44
        assert box["y"] + box["height"] <= size["height"]


async def _looks_right(page: Page, width: int, picture: Path) -> None:
    await page.screenshot(path=picture)
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    assert await page.evaluate(CONTRASTS_BELOW_AA) == []
    assert await page.evaluate(TARGETS_TOO_SMALL) == []


TARGETS_TOO_SMALL = """() => [...document.querySelectorAll("a, button, select, input:not([type=checkbox])")]
    .filter((node) => node.getClientRects().length && !node.matches(".skip"))
    .filter((node) => node.getBoundingClientRect().height < 44)
    .map((node) => node.id || node.textContent)"""
