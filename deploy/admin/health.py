"""Is the centre well, and if not, what is to be done?

Each finding is a question that somebody in charge would ask, with its answer, what it means, and the remedy. Nothing
here takes longer than a few seconds: what does not answer is told as such.
"""

import asyncio
import logging
import platform
import shutil
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from cryptography import x509
from msgspec import Struct

from deploy.admin import letters
from deploy.admin.database import fetch
from deploy.positions import GROUP
from schemas.errors import IocError
from streams.repair.history import Places, log_reader
from streams.store.outbox import Outbox
from streams.store.writer import Lane

ANSWER_WAIT_S = 6.0
"""Whatever has not answered by then counts as away."""

DISK_FREE_MIN = 2_000_000_000
DISK_FREE_SHARE_MIN = 0.1

LAG_RECORDS_MAX = 10_000
"""More records than that wait to be counted: the workers do not keep up."""

CERTIFICATE_DAYS_MIN = 21

DETAIL_CHARS_MAX = 300
"""Of an unforeseen error's words."""

State = Literal["good", "warning", "bad", "unknown"]

_log = logging.getLogger("ioc.admin")

Readiness = Callable[[], Awaitable[Mapping[str, Mapping[str, Any]]]]


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `code` says what was found to programs, with `values` to put into words.

    `detail` is what was found and `remedy` what to do about it, in English; a page has its own words for the code.
    """

    id: str
    state: State
    code: str
    values: dict[str, Any] = {}
    detail: str
    remedy: str = ""


class Health(Struct, frozen=True, kw_only=True):
    """All findings, the worst first among equals in the order of looking."""

    time: datetime
    state: State
    findings: list[Finding]


class Looking(Struct, frozen=True, kw_only=True):
    """What is needed to look."""

    places: Places
    data_dir: Path
    public_url: str
    readiness: Readiness
    now: Callable[[], datetime]
    pack_problem: Callable[[], str]
    history_broken_at: Callable[[], int | None]


async def health(looking: Looking) -> Health:
    """Looks at everything at once."""
    looks: Sequence[Callable[[Looking], Awaitable[list[Finding]]]] = (
        _parts,
        _workers,
        _lag,
        _pack,
        _history,
        _disk,
        _letters,
        _messages,
        _sources,
        _certificate,
        _versions,
    )
    found = await asyncio.gather(*(_in_time(look, looking) for look in looks))
    findings = [one for those in found for one in those]
    worst: State = "good"
    for state in ("bad", "warning"):
        if any(one.state == state for one in findings):
            worst = state
            break
    return Health(time=looking.now(), state=worst, findings=findings)


async def _in_time(look: Callable[[Looking], Awaitable[list[Finding]]], looking: Looking) -> list[Finding]:
    name = look.__name__.removeprefix("_")
    try:
        async with asyncio.timeout(ANSWER_WAIT_S):
            return await look(looking)
    except (IocError, OSError, TimeoutError) as error:
        detail = str(error) or f"no answer within {ANSWER_WAIT_S:.0f} s"
        return [Finding(id=name, state="unknown", code="no_answer", detail=detail, remedy="Look at what is away.")]
    # Whatever one look stumbles over, the others are needed all the more.
    except Exception as error:
        _log.exception("health cannot look at %s", name)
        detail = f"it could not be looked at: {type(error).__name__}: {error}"[:DETAIL_CHARS_MAX]
        remedy = "The web process's log says where; this is a fault of the centre, so tell whoever develops it."
        return [Finding(id=name, state="unknown", code="no_answer", detail=detail, remedy=remedy)]


_REMEDIES: Mapping[str, str] = {
    "database": "Start PostgreSQL again; what is sent meanwhile waits on the log. `ioc status` names its process.",
    "kafka": "Start Kafka again; until then nothing can be sent. `ioc status` names its process.",
    "streams": "See `ioc status` and the worker's log: a worker that halted says why, and what to do.",
    "issuer": "Whoever is signed in goes on working. Look at the sign-in provider.",
}


async def _parts(looking: Looking) -> list[Finding]:
    """What `/readyz` knows."""
    found: list[Finding] = []
    for name, one in (await looking.readiness()).items():
        is_up = one["state"] == "up"
        state: State = "good" if is_up else "warning" if one.get("needed") is False else "bad"
        detail = "answers" if is_up else f"is away: {one.get('detail') or 'no reason given'}"
        remedy = "" if is_up else _REMEDIES.get(name, "See its log.")
        values = {"name": name, "since": one.get("since"), "detail": one.get("detail") or ""}
        code = "up" if is_up else "away"
        found.append(Finding(id=name, state=state, code=code, values=values, detail=detail, remedy=remedy))
    return found


async def _workers(looking: Looking) -> list[Finding]:
    rows = await fetch(looking.places.database_url, "read_workers")
    counting = [row["id"] for row in rows if row["state"] == "counting" and row["age_s"] < 6]
    halted = [f"{row['id']}: {row['detail']}" for row in rows if row["state"] == "halted" and row["age_s"] < 900]
    values = {"counting": len(counting), "halted": halted[:5]}
    if not counting:
        remedy = "Start the workers: `ioc up` on one machine, `ioc run streams` on others."
        detail = "nobody counts" + (f"; {halted[0]}" if halted else "")
        return [Finding(id="workers", state="bad", code="none", values=values, detail=detail, remedy=remedy)]
    detail = f"{len(counting)} count"
    if halted:
        detail, remedy = f"{detail}; {halted[0]}", "Its log says why it halted; the others count on."
        return [Finding(id="workers", state="warning", code="some", values=values, detail=detail, remedy=remedy)]
    return [Finding(id="workers", state="good", code="all", values=values, detail=detail)]


async def _lag(looking: Looking) -> list[Finding]:
    rows = await fetch(looking.places.database_url, "read_positions", GROUP)
    lanes = {Lane(row["topic"], row["partition"]): row["next_offset"] for row in rows}
    lanes = {lane: at for lane, at in lanes.items() if lane.topic.startswith(looking.places.topic_prefix)}
    async with log_reader(looking.places.kafka) as log:
        begins, ends = (await log.begins(lanes), await log.ends(lanes)) if lanes else ({}, {})
    waiting = sum(max(0, ends[lane] - max(begins[lane], at)) for lane, at in lanes.items())
    lost = sum(max(0, begins[lane] - at) for lane, at in lanes.items())
    values = {"records": waiting, "lost": lost}
    if lost:
        remedy = "The log was cut before all was counted. `ioc positions` says where, and how to go on."
        return [Finding(id="lag", state="bad", code="lost", values=values, detail=f"{lost} lost", remedy=remedy)]
    detail = f"{waiting} records wait to be counted"
    if waiting > LAG_RECORDS_MAX:
        remedy = "It falls by itself after a burst. If it grows for minutes, raise IOC_WORKERS or add a machine."
        return [Finding(id="lag", state="warning", code="behind", values=values, detail=detail, remedy=remedy)]
    return [Finding(id="lag", state="good", code="level", values=values, detail=detail)]


async def _pack(looking: Looking) -> list[Finding]:
    if problem := looking.pack_problem():
        remedy = "The last good pack stays in force. Mend the file under Files, or put the change back under History."
        values = {"problem": problem}
        return [Finding(id="pack", state="bad", code="broken", values=values, detail=problem, remedy=remedy)]
    return [Finding(id="pack", state="good", code="in_force", detail="the site pack on disk is in force")]


async def _history(looking: Looking) -> list[Finding]:
    broken_at = await asyncio.to_thread(looking.history_broken_at)
    if broken_at is not None:
        remedy = "Restore the folder site-history from a backup, and ask who can write to it."
        values, detail = (
            {"change": broken_at},
            f"change {broken_at} of the site pack was altered after it was written",
        )
        return [Finding(id="history", state="bad", code="altered", values=values, detail=detail, remedy=remedy)]
    return [Finding(id="history", state="good", code="whole", detail="every change is as it was written")]


async def _disk(looking: Looking) -> list[Finding]:
    folder = next(path for path in (looking.data_dir, *looking.data_dir.parents) if path.exists())
    usage = await asyncio.to_thread(shutil.disk_usage, folder)
    values = {"free": usage.free, "total": usage.total, "folder": str(looking.data_dir)}
    detail = f"{usage.free / 1e9:.1f} GB of {usage.total / 1e9:.0f} GB are free"
    remedy = "Free space or move IOC_DATA to a larger disk; `retention` in site.toml says how long figures are kept."
    if usage.free < DISK_FREE_MIN:
        return [Finding(id="disk", state="bad", code="full", values=values, detail=detail, remedy=remedy)]
    if usage.free < usage.total * DISK_FREE_SHARE_MIN:
        return [Finding(id="disk", state="warning", code="filling", values=values, detail=detail, remedy=remedy)]
    return [Finding(id="disk", state="good", code="room", values=values, detail=detail)]


async def _letters(looking: Looking) -> list[Finding]:
    number = await letters.count(looking.places)
    values = {"count": number}
    if number:
        detail = f"{number} could not be read"
        remedy = "See Dead letters: what was wrong, and what can be sent again."
        return [Finding(id="letters", state="warning", code="some", values=values, detail=detail, remedy=remedy)]
    return [Finding(id="letters", state="good", code="none", values=values, detail="none lies there")]


async def _messages(looking: Looking) -> list[Finding]:
    outbox = Outbox(looking.places.database_url)
    try:
        backlog = await outbox.backlog()
    finally:
        await outbox.close()
    values = {"waiting": backlog.waiting, "failed": backlog.failed, "oldest_s": backlog.oldest_s}
    detail = f"{backlog.waiting} wait, {backlog.failed} were given up"
    if backlog.failed:
        remedy = "See Messages: why, and try them again when the receiver is back."
        return [Finding(id="messages", state="warning", code="failed", values=values, detail=detail, remedy=remedy)]
    if backlog.oldest_s > 3600:
        remedy = "Is the outbound process running? `ioc status` says so."
        return [Finding(id="messages", state="warning", code="waiting", values=values, detail=detail, remedy=remedy)]
    return [Finding(id="messages", state="good", code="none", values=values, detail=detail)]


async def _sources(looking: Looking) -> list[Finding]:
    rows = await fetch(looking.places.database_url, "read_feed")
    newest: datetime | None = rows[0]["newest"]
    values = {"sources": rows[0]["n"], "newest": None if newest is None else newest.isoformat()}
    if newest is None:
        remedy = "Connect a source: see Sources."
        detail = "no event ever came"
        return [Finding(id="feed", state="warning", code="nothing", values=values, detail=detail, remedy=remedy)]
    age = looking.now() - newest
    detail = f"the newest event came {int(age.total_seconds())} s ago"
    if age > timedelta(minutes=15):
        remedy = "Nothing comes in any more. See Sources: who has fallen silent, and ask them."
        return [Finding(id="feed", state="warning", code="silent", values=values, detail=detail, remedy=remedy)]
    return [Finding(id="feed", state="good", code="comes", values=values, detail=detail)]


async def _certificate(looking: Looking) -> list[Finding]:
    parts = urlsplit(looking.public_url)
    if parts.scheme != "https" or parts.hostname is None:
        remedy = "Put a proxy with https before it and set IOC_PUBLIC_URL, before others than this machine use it."
        return [
            Finding(
                id="certificate",
                state="warning",
                code="no_https",
                values={"url": looking.public_url},
                detail=f"{looking.public_url} is not https",
                remedy=remedy,
            )
        ]
    text = await asyncio.to_thread(
        ssl.get_server_certificate, (parts.hostname, parts.port or 443), timeout=ANSWER_WAIT_S - 1
    )
    ends = x509.load_pem_x509_certificate(text.encode()).not_valid_after_utc
    days = (ends - looking.now().astimezone(UTC)).days
    values = {"days": days, "ends": ends.isoformat()}
    detail = f"it ends in {days} days" if days >= 0 else "it has ended"
    state: State = "bad" if days < 0 else "warning" if days < CERTIFICATE_DAYS_MIN else "good"
    code = "ended" if days < 0 else "ends_soon" if state == "warning" else "valid"
    remedy = "" if state == "good" else "Renew it at the proxy."
    return [Finding(id="certificate", state=state, code=code, values=values, detail=detail, remedy=remedy)]


async def _versions(looking: Looking) -> list[Finding]:
    rows = await fetch(looking.places.database_url, "read_versions")
    try:
        own = version("ioc-streaming")
    except PackageNotFoundError:
        own = "?"
    values = {
        "ioc": own,
        "python": platform.python_version(),
        "postgres": rows[0]["postgres"],
        "timescale": rows[0]["timescale"],
        "site": rows[0]["site"],
    }
    detail = ", ".join(f"{name} {what}" for name, what in values.items())
    return [Finding(id="versions", state="good", code="these", values=values, detail=detail)]
