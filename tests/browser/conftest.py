"""Which browser do the tests of pages use?"""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, async_playwright, expect

from tests.browser.chromium import ARGUMENTS, chromium_program

# A busy machine takes its time; that a page is not late is tested by the page's own clock.
expect.set_options(timeout=15_000)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Chromium without a window."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=chromium_program(), args=ARGUMENTS)
        yield chromium
        await chromium.close()
