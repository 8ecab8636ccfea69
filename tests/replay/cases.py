"""What does a recorded file for these tests look like?"""

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from deploy.replay.player import LANES, lane_of
from schemas.case import case_id

START = datetime(2011, 7, 1, tzinfo=UTC)


def write_cases(folder: Path, count: int, *, every_s: int = 60) -> Path:
    """A file of cases, each received and closed two hours later, the latest case first."""
    lines: list[bytes] = []
    for number in reversed(range(count)):
        subject = _subject(number)
        for step, after in (("closed", timedelta(hours=2)), ("received", timedelta(0))):
            content = {
                "specversion": "1.0",
                "type": f"ioc.feedback.{step}.v1",
                "id": f"{number}/{step}",
                "source": "desk",
                "subject": subject,
                "time": START + timedelta(seconds=every_s * number) + after,
                "area": "BOS-01",
                "data": {"category": "light", "due_at": START + timedelta(days=1)},
            }
            lines.append(msgspec.json.encode(content))
    file = folder / "cases.ndjson"
    file.write_bytes(b"\n".join(lines))
    return file


def _subject(number: int) -> str:
    """A case whose lane is the one after that of the number before: every volley fills its lanes evenly."""
    names = (f"{number}.{attempt}" for attempt in itertools.count())
    return next(name for name in names if lane_of(case_id("desk", name).encode()) == number % LANES)
