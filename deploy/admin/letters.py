"""Which dead letters lie there, and what may an administrator see of them?

A letter may hold what somebody has said of themselves, under any name and at any depth: it lies there because it is
not as it should be. So only what stands at a known place and looks as it should there is shown; of everything else
only that it is there.
"""

import re
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Struct

from deploy.admin.database import reading
from deploy.redrive import Options, Outcome, redrive
from schemas.errors import InvalidEvent
from schemas.topics import DEAD
from streams.repair.history import Places, dependencies, log_reader, past
from streams.repair.letters import Judge, Letter, read_letters, read_redriven
from streams.store.writer import Lane

SHOWN_MAX = 200
"""Letters that are listed, the newest first; the groups count all."""

_WORD = re.compile(r"[^\s\x00-\x1f]{1,120}")
_MOMENT = re.compile(r"[0-9TZWQtz:+., \-]{4,40}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")

_ENVELOPE_WORDS = ("specversion", "type", "source", "id", "subject", "datacontenttype", "area", "arealist")
_ENVELOPE_MOMENTS = ("time", "receivedat")
_ENVELOPE_NUMBERS = ("exercise",)
_DATA_WORDS = (
    *("category", "channel", "kind", "severity", "agency", "indicator", "service", "metric", "procedure"),
    *("camera", "unit", "rule", "kpi", "state", "step", "payment"),
)
_DATA_MOMENTS = ("opened_at", "ended_at", "submitted_at", "due_at", "since", "period")
_DATA_NUMBERS = (
    *("count", "score", "value", "of", "limit", "seconds", "worked_s", "on_time"),
    *("complete", "assisted", "digitised", "result_digitised"),
)

SHOWN: Mapping[tuple[str, ...], re.Pattern[str] | None] = {
    **{(name,): _WORD for name in (*_ENVELOPE_WORDS, "supersedes", "withdraws")},
    **{(name,): _MOMENT for name in _ENVELOPE_MOMENTS},
    **{(name,): None for name in _ENVELOPE_NUMBERS},
    **{("data", name): _WORD for name in _DATA_WORDS},
    **{("data", name): _MOMENT for name in _DATA_MOMENTS},
    **{("data", name): None for name in _DATA_NUMBERS},
}
"""The places in an event whose values are shown: what a text there looks like, None for numbers and yes or no.

Words of a label hold no space, a sentence does. Where something is may be somebody's home, so `place` is left out.
"""

MEMBERS_MAX = 64
"""Members of an object that are shown."""

DEPTH_MAX = 4
"""What lies deeper is left out."""

LEFT_OUT = "…"

_DETAIL_CHARS_MAX = 300


class LetterView(Struct, frozen=True, kw_only=True):
    """A letter. `can_be_read`: sent again it would count now; else `problem` and `fix` say why not.

    `others` are the places of further copies of it. `event` is what of it may be shown.
    """

    partition: int
    offset: int
    origin: str
    reason: str
    at: datetime
    can_be_read: bool
    problem: str
    fix: str
    event: Any


class ReasonView(Struct, frozen=True, kw_only=True):
    """Letters of one reason."""

    reason: str
    count: int
    readable: int
    newest: datetime


class LettersView(Struct, frozen=True, kw_only=True):
    """All letters that were not sent again, by reason, and the newest of them."""

    total: int
    readable: int
    reasons: list[ReasonView]
    items: list[LetterView]


class Repaired(Struct, frozen=True):
    """A letter that somebody has put right: the event to be counted in its place."""

    partition: int
    offset: int
    event: msgspec.Raw


async def read_all(places: Places, now: datetime) -> LettersView:
    """What lies there. Raises OperatorError, DependencyUnavailable."""
    with dependencies():
        async with reading(places.database_url) as connection:
            judge = Judge((await past(connection, places)).newest.site)
            async with log_reader(places.kafka) as log:
                found = await read_letters(connection, log, places.topic_prefix, None, None)
    seen = [(letters[0], _wrong(letters[0], judge, now)) for letters in found]
    seen.sort(key=lambda one: one[0].logged_ms, reverse=True)
    reasons: dict[str, list[tuple[Letter, InvalidEvent | str | None]]] = {}
    for letter, wrong in seen:
        reasons.setdefault(letter.reason, []).append((letter, wrong))
    return LettersView(
        total=len(seen),
        readable=sum(wrong is None for _, wrong in seen),
        reasons=[
            ReasonView(
                reason=reason,
                count=len(those),
                readable=sum(wrong is None for _, wrong in those),
                newest=_time(those[0][0]),
            )
            for reason, those in sorted(reasons.items(), key=lambda one: -len(one[1]))
        ],
        items=[_view(letter, wrong) for letter, wrong in seen[:SHOWN_MAX]],
    )


async def count(places: Places) -> int:
    """How many letters lie there at most: records of the topic that were not sent again."""
    with dependencies():
        async with reading(places.database_url) as connection, log_reader(places.kafka) as log:
            lanes = [Lane(places.topic_prefix + DEAD.name, partition) for partition in range(DEAD.partitions)]
            begins, ends = await log.begins(lanes), await log.ends(lanes)
            done = await read_redriven(connection)
    kept = {lane.partition: begins[lane] for lane in lanes}
    gone = sum(offset >= kept.get(partition, 0) for partition, offset in done)
    return max(0, sum(ends[lane] - begins[lane] for lane in lanes) - gone)


async def send_again(places: Places, address: str, reason: str | None) -> Outcome:
    """Sends again whatever can be read now. Raises OperatorError, DependencyUnavailable."""
    return await redrive(places, address, Options(reason=reason))


async def send_repaired(places: Places, address: str, repaired: Repaired) -> Outcome:
    """Sends one letter as somebody has put it right. Raises OperatorError, DependencyUnavailable."""
    line = {"dead": {"partition": repaired.partition, "offset": repaired.offset}, "event": repaired.event}
    with tempfile.TemporaryDirectory(prefix="ioc-letter-") as folder:
        file = Path(folder) / "letter.ndjson"
        file.write_bytes(msgspec.json.format(msgspec.json.encode(line), indent=-1) + b"\n")
        return await redrive(places, address, Options(file=file))


def shown(value: bytes) -> Any:  # noqa: ANN401  # whatever JSON holds
    """What of an event may be shown; None of what is none."""
    try:
        event = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return _shown(cast("object", event), ()) if isinstance(event, dict) else None


def _shown(value: object, path: tuple[str, ...]) -> object:
    if isinstance(value, dict) and len(path) < DEPTH_MAX:
        members = list(cast("Mapping[str, object]", value).items())[:MEMBERS_MAX]
        # A name may be somebody's too, where it is none that a program would give.
        return {key if _NAME.fullmatch(key) else LEFT_OUT: _shown(one, (*path, key)) for key, one in members}
    if value is None:
        return None
    if path not in SHOWN:
        return LEFT_OUT
    pattern = SHOWN[path]
    if isinstance(value, str):
        return value if pattern is not None and pattern.fullmatch(value) else LEFT_OUT
    return value if pattern is None and isinstance(value, bool | int | float) else LEFT_OUT


def _view(letter: Letter, wrong: InvalidEvent | str | None) -> LetterView:
    # What was wrong is told by the field; the words that were wrong may be somebody's.
    problem = "" if wrong is None else f"{wrong.field}: {wrong.reason}" if isinstance(wrong, InvalidEvent) else wrong
    return LetterView(
        partition=letter.partition,
        offset=letter.offset,
        origin=letter.origin,
        reason=letter.reason,
        at=_time(letter),
        can_be_read=wrong is None,
        problem=problem[:_DETAIL_CHARS_MAX],
        fix=wrong.fix[:_DETAIL_CHARS_MAX] if isinstance(wrong, InvalidEvent) else "",
        event=shown(letter.value),
    )


def _wrong(letter: Letter, judge: Judge, now: datetime) -> InvalidEvent | str | None:
    if not letter.is_whole:
        return "only its start was kept; ask its sender for it"
    return judge(letter.value, now.timestamp())


def _time(letter: Letter) -> datetime:
    return datetime.fromtimestamp(letter.logged_ms / 1000, UTC)
