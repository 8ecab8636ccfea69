"""What time is it, and how does one wait?"""

import asyncio
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of now, and a way to let time pass; tests bring one that jumps."""

    def now(self) -> datetime:
        """The moment, with a zone."""
        ...

    async def sleep(self, wait_s: float) -> None:
        """Returns when `wait_s` have passed; negative is none."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The moment in UTC."""
        return datetime.now(UTC)

    async def sleep(self, wait_s: float) -> None:
        """Waits in the event loop."""
        await asyncio.sleep(max(0.0, wait_s))
