"""What is wrong on this machine, and what is to be done about it?"""

import asyncio
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from deploy import secret_file
from deploy.channel_secrets import secret_of
from deploy.local import centre, kafka_jars, manifest, ports, postgres_programs, status
from deploy.local.addresses import reachable
from deploy.local.timescale import require_timescaledb
from deploy.personal_keys import key_ring, keys_path
from deploy.settings import Settings
from deploy.site import load_pack, read_text
from schemas.errors import IocError, SiteError
from schemas.kpi_table import KPIS_FILE
from schemas.kpi_table import mistakes as kpi_mistakes
from schemas.site import mistakes, parse_site
from streams.store.outbox import Outbox

PYTHON_MIN = (3, 11)
DISK_FREE_BYTES_MIN = 2_000_000_000  # programs 150 MB, WAL up to 2 GB, and a day of events
ZONEINFO = Path("/usr/share/zoneinfo")


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at. `detail` says what was found, and what to do when it is not `ok`."""

    name: str
    ok: bool
    detail: str

    def as_line(self) -> str:
        """For people."""
        return f"{'ok   ' if self.ok else 'WRONG'}  {self.name}: {self.detail}"


class _Dependency(msgspec.Struct, frozen=True):
    """As `/readyz` tells of it."""

    state: str
    detail: str | None = None


class _Readiness(msgspec.Struct, frozen=True):
    dependencies: dict[str, _Dependency]


def findings(settings: Settings) -> Iterator[Finding]:
    """Looks at everything in turn; each finding comes as soon as it is known."""
    yield _python()
    yield from _folders(settings)
    if settings.kafka is None or settings.database_url is None:
        yield from _programs(settings)
    yield from site_findings(settings.site)
    yield from channel_findings(settings)
    yield from _services(settings)
    yield from _centre(settings)


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    ok = sys.version_info[:2] >= PYTHON_MIN
    return Finding("Python", ok, version if ok else f"{version} is too old. Install Python 3.11 or later.")


def _folders(settings: Settings) -> Iterator[Finding]:
    for name, folder in (("data folder", settings.data_dir), ("cache", settings.cache_dir)):
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        if not os.access(existing, os.W_OK | os.X_OK):
            variable = "IOC_DATA" if name == "data folder" else "IOC_CACHE"
            yield Finding(
                name, ok=False, detail=f"{existing} cannot be written. Set {variable} to a folder of yours."
            )
            continue
        free_bytes = shutil.disk_usage(existing).free
        enough = free_bytes >= DISK_FREE_BYTES_MIN
        detail = f"{folder}, {free_bytes / 1e9:.1f} GB free"
        yield Finding(name, enough, detail if enough else f"{detail}. Free {DISK_FREE_BYTES_MIN / 1e9:.0f} GB.")
    password = settings.data_dir / "postgres" / "password"
    if password.exists():
        private = password.stat().st_mode & 0o077 == 0
        yield Finding(
            "database password", private, "private" if private else f"Others can read it: chmod 600 {password}"
        )
    secrets = settings.data_dir / secret_file.FOLDER
    if secrets.is_dir():
        open_ones = sorted(str(file) for file in secrets.iterdir() if file.stat().st_mode & 0o077)
        detail = f"Others can read them: chmod 600 {' '.join(open_ones)}" if open_ones else "private"
        yield Finding("secrets", not open_ones, detail)
    keys = keys_path(settings)
    if settings.personal_keys is not None or keys.exists():
        try:
            yield Finding("keys of personal data", ok=True, detail=f"{keys}: {key_ring(settings)!r}")
        except IocError as error:
            yield Finding("keys of personal data", ok=False, detail=str(error))


def _programs(settings: Settings) -> Iterator[Finding]:
    for name, folder in (
        ("Kafka's jars", kafka_jars.folder(settings.cache_dir)),
        ("PostgreSQL's programs", postgres_programs.folder(settings.cache_dir)),
    ):
        if not folder.exists():
            yield Finding(name, ok=True, detail="not downloaded yet; the first `ioc up` does that")
            continue
        faults = manifest.faults(folder, full=True)
        if faults:
            yield Finding(
                name, ok=False, detail=f"{faults[0]}. Remove {folder}; the next `ioc up` downloads it again."
            )
        else:
            yield Finding(name, ok=True, detail=f"{folder}, every file as it was downloaded")
    if not ZONEINFO.is_dir():
        yield Finding("time zones", ok=False, detail=f"{ZONEINFO} is absent. Install the package tzdata.")


def site_findings(folder: Path) -> Iterator[Finding]:
    """Every mistake of the site pack in a folder, or what it holds."""
    try:
        pack = load_pack(folder)
        wrong = mistakes(pack)
        if not wrong:
            site = parse_site(pack)
            yield Finding(
                "site pack", ok=True, detail=f"{folder}: {len(site.areas)} areas, {len(site.kpis.kpis)} KPIs"
            )
    except SiteError as error:
        wrong = [error, *_readable_kpi_mistakes(folder)]
    for mistake in wrong:
        yield Finding("site pack", ok=False, detail=str(mistake))


def _readable_kpi_mistakes(folder: Path) -> list[SiteError]:
    """What can be said of the indicators of a pack that cannot be put together."""
    try:
        return kpi_mistakes(read_text(folder / KPIS_FILE))
    except SiteError:
        return []


def channel_findings(settings: Settings) -> Iterator[Finding]:
    """Whether the secrets of channels can be read, and whether a message was given up."""
    try:
        channels = parse_site(load_pack(settings.site)).channels.channel
    except SiteError:
        channels = []  # what is wrong with the pack is told already
    for channel in channels:
        if channel.secret is not None:
            try:
                secret_of(settings, channel.secret)
            except IocError as error:
                yield Finding(f"channel {channel.id}", ok=False, detail=str(error))
    report = status.report(settings.data_dir)
    if settings.database_url is None and not report.ready:
        return
    try:
        with reachable(settings) as (_, database_url):
            count = asyncio.run(_given_up(database_url))
    except IocError as error:
        yield Finding("messages", ok=False, detail=str(error))
        return
    fix = "`ioc outbox` says why; `ioc outbox --retry` tries them again."
    detail = f"{count} were given up. {fix}" if count else "none was given up"
    yield Finding("messages", ok=not count, detail=detail)


async def _given_up(database_url: str) -> int:
    outbox = Outbox(database_url)
    try:
        return (await outbox.backlog()).failed
    finally:
        await outbox.close()


def _services(settings: Settings) -> Iterator[Finding]:
    if settings.kafka is not None:
        yield _asked("IOC_KAFKA", partial(centre.require_kafka, settings.kafka))
    if settings.database_url is not None:
        yield _asked("IOC_DATABASE_URL", partial(_require_timescaledb, settings.database_url))


def _require_timescaledb(database_url: str) -> None:
    asyncio.run(require_timescaledb(database_url))


def _asked(name: str, ask: Callable[[], None]) -> Finding:
    try:
        ask()
    except IocError as error:
        return Finding(name, ok=False, detail=str(error))
    return Finding(name, ok=True, detail="answers")


def _centre(settings: Settings) -> Iterator[Finding]:
    report = status.report(settings.data_dir)
    if not report.running:
        left = [process.name for process in report.processes if process.pid]
        detail = f"not running, but {', '.join(left)} still live. `ioc down` ends them." if left else "not running"
        yield Finding("centre", not left, detail)
        if settings.port is not None and not ports.is_free(settings.host, settings.port):
            yield Finding("IOC_PORT", ok=False, detail=f"{settings.port} is taken. Set another one, or unset it.")
        return
    yield Finding("centre", report.ready, "ready" if report.ready else "still starting; see `ioc status`")
    for process in report.processes:
        fine = process.state in {"running", "done"}
        log = settings.data_dir / "log" / f"{process.name}.log"
        yield Finding(process.name, fine, process.state if fine else f"{process.state}. Its log is {log}.")
    board = report.addresses.get("board", "")
    yield web_finding(f"{board}readyz")


def web_finding(url: str) -> Finding:
    """Whether the web is ready; if not, what it says is away."""
    try:
        with urllib.request.urlopen(url, timeout=centre.ANSWER_TIMEOUT_S):  # noqa: S310 - the URL is ours
            return Finding("web", ok=True, detail=f"{url} answers 200")
    except urllib.error.HTTPError as error:
        try:
            said = msgspec.json.decode(error.read(), type=_Readiness).dependencies
        except (OSError, msgspec.DecodeError):
            said = {}
        away = [f"{name} is away ({one.detail})" for name, one in said.items() if one.state != "up"]
        return Finding("web", ok=False, detail=f"{url} answers {error.code}: {'; '.join(away) or 'no reason given'}")
    except (OSError, ValueError) as error:
        return Finding("web", ok=False, detail=f"{url} does not answer ({error}).")
