"""How does the process start that makes the reports that are due, and sends what waits, also to the log?"""

import asyncio
import logging
import os
import signal
from datetime import UTC, datetime
from pathlib import Path

from deploy.local.addresses import reachable
from deploy.metrics_server import serve_metrics
from deploy.report import areas_of, make_table, messages
from deploy.report_schedule import Made, ReportSchedule
from deploy.settings import Settings
from deploy.site_folder import SiteFolder
from schemas.period import Period
from schemas.report import Report
from schemas.site import Site
from streams.outbound.channels import Folder, Webhook
from streams.outbound.log_channel import LogChannel
from streams.outbound.relay import Relay
from streams.store.outbox import Connection, Outbox, Unsent

REPORTS_FOLDER = "reports"
"""Within the data folder: where folders lie that a report names without saying where."""

SHOWN_MAX = 200
"""So many messages `ioc outbox` shows, the oldest first."""

STOP_GRACE_S = 1.5
"""What is under way when a signal comes may end within this; else it is sent again at the next start."""

_log = logging.getLogger("ioc.outbound")


def outbound(settings: Settings) -> None:
    """Sends until a signal comes."""
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses, which may hold keys
    kafka, database_url = settings.addresses()
    folder = SiteFolder(settings.site)
    if settings.metrics_port:
        serve_metrics(settings.metrics_port)
    folder.watch()
    log = LogChannel(database_url, kafka, settings.topic_prefix)
    clean = asyncio.run(_run(database_url, folder, settings.data_dir / REPORTS_FOLDER, log))
    if not clean:
        # A thread that writes to a share which has gone away would keep the process for as long.
        logging.shutdown()
        os._exit(0)


def show(settings: Settings, *, retry: bool) -> bool:
    """Prints what is not sent; with `retry` what was given up is tried again. Returns whether nothing is given up."""
    with reachable(settings) as (_, database_url):
        unsent, retried = asyncio.run(_unsent(database_url, retry=retry))
    if retry:
        print(f"{retried} are tried again.")
    for one in unsent:
        state = "given up" if one.failed else "waits"
        print(f"{one.id}  {one.channel}  {state}  attempts {one.attempts}  {one.last_error or '-'}")
    if not unsent:
        print("Nothing waits to be sent.")
    return not any(one.failed for one in unsent)


async def _unsent(database_url: str, *, retry: bool) -> tuple[list[Unsent], int]:
    outbox = Outbox(database_url)
    try:
        retried = await outbox.retry() if retry else 0
        return await outbox.unsent(SHOWN_MAX), retried
    finally:
        await outbox.close()


async def make(connection: Connection, site: Site, report: Report, period: Period, now: datetime) -> Made:
    """A report that is due, as what goes out."""
    table = await make_table(connection, site, report, areas_of(report, site, period), period, now)
    return Made(await asyncio.to_thread(messages, site, report, table), table.complete)


async def _run(database_url: str, folder: SiteFolder, reports: Path, log: LogChannel) -> bool:
    """Runs until a signal comes. False when something was still under way after the grace."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    outbox, webhook = Outbox(database_url), Webhook()
    relay = Relay(outbox, {"folder": Folder(reports), "webhook": webhook})
    schedule = ReportSchedule(outbox, folder.current, make, lambda: datetime.now(UTC))
    work = asyncio.gather(relay.run(stop), schedule.run(stop), log.run(stop))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set():
        await work  # it has ended by an error, which ends the process
    ended, _ = await asyncio.wait({work}, timeout=STOP_GRACE_S)
    if ended:
        await work
        await webhook.close()
    else:
        _log.warning("what was under way is sent again at the next start")
        work.cancel()
    await outbox.close()
    return bool(ended)
