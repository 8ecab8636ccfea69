"""How does the process start that makes the reports that are due, and sends what waits, also to the log?

And what is seen of it from outside: what waits, what was given up, and what receivers have said.
"""

import asyncio
import logging
import os
import platform
import signal
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from deploy.channel_secrets import secret_of
from deploy.local.addresses import reachable
from deploy.metrics_server import serve_metrics
from deploy.personal_keys import key_ring
from deploy.report import areas_of, make_table, messages
from deploy.report_schedule import Made, ReportSchedule
from deploy.settings import Settings
from deploy.site_folder import SiteFolder
from schemas.period import Period
from schemas.report import Report
from schemas.site import Site
from streams.outbound.aftermath import Aftermath
from streams.outbound.announcer import LETTERS, SQL, Announcer
from streams.outbound.channels import Channel, Folder, Webhook
from streams.outbound.log_channel import LogChannel
from streams.outbound.post import Post
from streams.outbound.relay import Relay
from streams.store.outbox import NOTICE_CHANNEL, Connection, Outbox, Unsent

REPORTS_FOLDER = "reports"
"""Within the data folder: where folders lie that a report names without saying where."""

LETTERS_FOLDER = "messages"
"""Within the data folder: where the folders of channels lie."""

SHOWN_MAX = 200
"""So many messages `ioc outbox` shows, the oldest first."""

RECEIPTS_SHOWN_MAX = 20
"""And so many receipts, the newest first."""

STOP_GRACE_S = 1.5
"""What is under way when a signal comes may end within this; else it is sent again at the next start."""

_log = logging.getLogger("ioc.outbound")


class _Receipt(NamedTuple):
    """What a channel has said of a message."""

    message: str
    kind: str
    channel: str
    at: datetime
    detail: str


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
    clean = asyncio.run(_run(settings, database_url, folder, log))
    if not clean:
        # A thread that writes to a share which has gone away would keep the process for as long.
        logging.shutdown()
        os._exit(0)


def show(settings: Settings, *, retry: bool) -> bool:
    """Prints what is not sent; with `retry` what was given up is tried again. Returns whether nothing is given up."""
    with reachable(settings) as (_, database_url):
        unsent, receipts, retried = asyncio.run(_unsent(database_url, retry=retry))
    if retry:
        print(f"{retried} are tried again.")
    for one in unsent:
        state = "given up" if one.failed else "waits"
        print(f"{one.id}  {one.channel}  {state}  attempts {one.attempts}  {one.last_error or '-'}")
    if not unsent:
        print("Nothing waits to be sent.")
    for message, kind, channel, at, detail in receipts:
        print(f"{message}  {channel}  {kind}  {at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}  {detail or '-'}")
    return not any(one.failed for one in unsent)


async def _unsent(database_url: str, *, retry: bool) -> tuple[list[Unsent], list[_Receipt], int]:
    outbox = Outbox(database_url)
    try:
        retried = await outbox.retry() if retry else 0
        async with outbox.connection() as connection:
            rows = await connection.fetch(SQL["read_receipts"], RECEIPTS_SHOWN_MAX)
        receipts = [_Receipt(**dict(row)) for row in rows]
        return await outbox.unsent(SHOWN_MAX), receipts, retried
    finally:
        await outbox.close()


async def make(connection: Connection, site: Site, report: Report, period: Period, now: datetime) -> Made:
    """A report that is due, as what goes out."""
    table = await make_table(connection, site, report, areas_of(report, site, period), period, now)
    return Made(await asyncio.to_thread(messages, site, report, table), table.complete)


async def _run(settings: Settings, database_url: str, folder: SiteFolder, log: LogChannel) -> bool:
    """Runs until a signal comes. False when something was still under way after the grace."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    outbox, webhook, ring = Outbox(database_url), Webhook(), key_ring(settings)
    secret = partial(secret_of, settings)
    post = Post(outbox, folder.current, ring, secret, settings.data_dir / LETTERS_FOLDER)
    channels: dict[str, Channel] = {
        "folder": Folder(settings.data_dir / REPORTS_FOLDER),
        "webhook": webhook,
        NOTICE_CHANNEL: Announcer(outbox, folder.current, ring),
        LETTERS: post,
    }
    relay = Relay(outbox, channels)
    aftermath = Aftermath(outbox, folder.current, secret, platform.node())
    schedule = ReportSchedule(outbox, folder.current, make, lambda: datetime.now(UTC))
    work = asyncio.gather(relay.run(stop), schedule.run(stop), log.run(stop), aftermath.run(stop))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set():
        await work  # it has ended by an error, which ends the process
    ended, _ = await asyncio.wait({work}, timeout=STOP_GRACE_S)
    if ended:
        await work
        await webhook.close()
        await post.close()
    else:
        _log.warning("what was under way is sent again at the next start")
        work.cancel()
    await outbox.close()
    return bool(ended)
