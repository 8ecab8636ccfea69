"""What if nobody had to wait? A clock on which sleeping is a jump."""

import asyncio
from datetime import UTC, datetime, timedelta


class JumpingClock:
    """Begins at a fixed moment; `slept_s` keeps every wait."""

    def __init__(self, start: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)) -> None:
        self._now = start
        self.slept_s: list[float] = []

    def now(self) -> datetime:
        """The moment that all jumps have led to."""
        return self._now

    async def sleep(self, wait_s: float) -> None:
        """Jumps, and lets other tasks run."""
        self.slept_s.append(wait_s)
        self._now += timedelta(seconds=max(0.0, wait_s))
        await asyncio.sleep(0)
