"""How heavy is each page, and how soon does it show its first live number?

In Chromium with nothing kept from before, from a dashboard of its own with a few cases and an hour of counts. The
weight is what came over the wire until then, headers and all, packed as the server packs it; the time runs from the
start of the navigation until the first figure or case can be seen, and on the citizens' form the first choice. The
administrator's page shows no live number, and needs more than a dashboard.
"""

import asyncio
import time
from typing import Any

from msgspec import Struct
from playwright.async_api import Browser, async_playwright

from schemas.case import State
from schemas.credential import SESSION_COOKIE
from tests.benchmarks.live import AREAS, OFFER, ready, served, with_database
from tests.benchmarks.services import Services
from tests.browser.chromium import ARGUMENTS, chromium_program
from tests.dashboard.case_rows import case, put_cases, tell
from tests.dashboard.centre import Report, Sample, counting, writer

ROUNDS, ROUNDS_QUICK = 5, 1
SHOWN_S = 20.0
CASES = 30
VIEWPORT: Any = {"width": 1440, "height": 900}


class Page(Struct, frozen=True):
    """A page by its address, who looks at it, and what of it has to be seen."""

    path: str
    person: str | None
    shown: str
    has_digits: bool = True


PAGES = {
    "kpi": Page("/", "lena", "#tiles .number"),
    "operator": Page("/operator", "olga", "#list > li"),
    "field": Page("/field", "uma", "#cards > *"),
    "report": Page("/report", None, "#category-list > *", has_digits=False),
    "open": Page("/open", None, "#rows > *"),
    "leader": Page("/leader", "lena", "#tiles > *"),
    "wall": Page("/wall", "olga", "#tiles > *"),
}

_NOTE_WHEN_SHOWN = """(() => {
    const look = () => {
        for (const node of document.querySelectorAll(SELECTOR)) {
            const box = node.getBoundingClientRect();
            if (box.width && box.height && PATTERN.test(node.textContent) && globalThis.shownAt === undefined) {
                globalThis.shownAt = performance.now();
                watch.disconnect();
            }
        }
    };
    const watch = new MutationObserver(look);
    watch.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
})()"""


async def measure(services: Services, *, quick: bool) -> dict[str, list[float]]:
    """`page_<name>_kb` and `page_<name>_first_number_s` of each page."""
    figures: dict[str, list[float]] = {}
    async with with_database(services) as url, counting(url):
        await _fill(url)
        with served(services, url) as (_, port, tokens):
            await ready(port)
            async with async_playwright() as playwright:
                chromium = await playwright.chromium.launch(executable_path=chromium_program(), args=ARGUMENTS)
                for _ in range(ROUNDS_QUICK if quick else ROUNDS):
                    for name, page in PAGES.items():
                        token = None if page.person is None else tokens[page.person]
                        try:
                            kb, shown_s = await _load(chromium, f"http://127.0.0.1:{port}", page, token)
                        except TimeoutError:
                            raise RuntimeError(f"{page.path} showed no {page.shown!r} in {SHOWN_S:g} s") from None
                        figures.setdefault(f"page_{name}_kb", []).append(kb)
                        figures.setdefault(f"page_{name}_first_number_s", []).append(shown_s)
                await chromium.close()
    return figures


async def _load(chromium: Browser, origin: str, page: Page, token: str | None) -> tuple[float, float]:
    """Loads it once, with a profile of its own. Returns its weight in KiB, and the seconds until it was shown."""
    context = await chromium.new_context(viewport=VIEWPORT)
    try:
        if token is not None:
            await context.add_cookies([{"name": SESSION_COOKIE, "value": token, "url": origin}])
        pattern = r"/\d/" if page.has_digits else r"/\S/"
        script = _NOTE_WHEN_SHOWN.replace("SELECTOR", repr(page.shown)).replace("PATTERN", pattern)
        await context.add_init_script(script)
        tab = await context.new_page()
        sizes: list[float] = []
        session: Any = await context.new_cdp_session(tab)

        def note(done: dict[str, Any]) -> None:
            sizes.append(done["encodedDataLength"])

        session.on("Network.loadingFinished", note)
        await session.send("Network.enable")
        await tab.goto(f"{origin}{page.path}")
        shown_ms: float | None = None
        # Asked again and again: the pages' policy forbids what the browser needs to wait for it by itself.
        async with asyncio.timeout(SHOWN_S):
            while (shown_ms := await tab.evaluate("globalThis.shownAt ?? null")) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        return sum(sizes) / 1024, shown_ms / 1000
    finally:
        await context.close()


async def _fill(url: str) -> None:
    now_s = int(time.time())
    async with writer(url) as stream:
        for back in range(0, 60, 5):
            samples = [
                Sample(kpi=kpi, area=area, time_s=now_s - back * 60, value=20.0 + back)
                for kpi in ("feedback_received", "response_ms", "response_max")
                for area in AREAS
            ]
            await stream.commit(samples, [Report(id=f"r{back}", area=AREAS[back % 3], text="Ổ gà trên đường")])
        cases = [
            case(
                f"case-{number}",
                area=AREAS[number % 3],
                agency="works",
                place="geo:21.01,105.81",
                published=True,
                **({"offers": (OFFER,), "state": State.ASSIGNED} if number % 3 == 0 else {}),
            )
            for number in range(CASES)
        ]
        async with stream.connection.transaction():
            await put_cases(stream.connection, *cases)
            await tell(stream.connection, [one.id for one in cases])
