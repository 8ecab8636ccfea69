"""How do tests start Chromium, and what do they watch for on every page?"""

import os
import shutil

from playwright.async_api import Page

from tests.conftest import unavailable

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

CONTRASTS_BELOW_AA = """() => {
    const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => {
        const part = (v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    };
    const ground = (node) => {
        for (let at = node; at; at = at.parentElement) {
            const color = numbers(getComputedStyle(at).backgroundColor);
            if (color[3] === undefined || color[3] > 0) return color;
        }
        return [255, 255, 255];
    };
    document.getAnimations().forEach((animation) => animation.finish());
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const bad = [];
    for (let text = walker.nextNode(); text; text = walker.nextNode()) {
        const node = text.parentElement;
        const seen = text.textContent.trim() && node.getClientRects().length;
        if (!seen || node.closest("noscript, option, [hidden]")) continue;
        const [a, b] = [light(numbers(getComputedStyle(node).color)), light(ground(node))].sort((x, y) => y - x);
        if ((a + 0.05) / (b + 0.05) < 4.5) bad.push(`${node.className} ${text.textContent.trim().slice(0, 20)}`);
    }
    return bad;
}"""


class Watched:
    """A page, and what went wrong on it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: self._note(request.url))
        page.on("websocket", lambda socket: self._note(socket.url))

    def _note(self, url: str) -> None:
        if not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:")):
            self.elsewhere.append(url)


def chromium_program() -> str:
    """Where Chromium is."""
    program = os.environ.get("IOC_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        unavailable("There is no Chromium on this machine: apt-get install chromium")
    assert program is not None
    return program
