"""What puts right what was counted, and what do these commands take?

This module is imported whenever `ioc` starts, so it imports what it needs when a command is called.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from deploy.settings import Settings
from schemas.errors import OperatorError

EXIT_UNREADABLE = 1
EXIT_INTERRUPTED = 130  # as a shell says it of Ctrl-C

TENTHS = 10

T = TypeVar("T")

From = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="A day or a moment, as 2026-03-01 or 2026-03-01T08:00+07:00."),
]


def backfill_command(
    kpi: Annotated[str, typer.Argument(help="The id of the indicator.", show_default=False)],
    *,
    from_: From = None,
    again: Annotated[
        bool,
        typer.Option("--again", help="Drop what is stored of it, and count all of it by its present definition."),
    ] = False,
) -> None:
    """Count what came before an indicator was added. May be ended at any time, and goes on when it is run again."""
    import time

    from streams.repair.backfill import backfill
    from streams.repair.rebuild import Wanted, rebuild

    settings = Settings.from_env(os.environ)
    since = None if from_ is None else parse_moment(from_, settings)
    if again and since is not None:
        raise OperatorError("--again counts all that there is.", "Leave --from out.")
    if again:
        with _moving(f"Counting {kpi} again") as advance:
            wanted = Wanted(kpi_ids=[kpi])
            rebuilt = _run(
                settings, lambda places: rebuild(places, wanted, advance, time.time()), "Nothing was changed."
            )
        whole = "" if rebuilt.floor is None else f", from {_shown(rebuilt.floor)} on, where the log begins"
        print(f"{kpi}: {rebuilt.events} events counted again{whole}; counting waited {rebuilt.fence_s:.1f} s.")
        return
    with _moving(f"Filling {kpi} back") as advance:
        done = _run(
            settings,
            lambda places: backfill(places, kpi, since, advance, time.time()),
            "The same command goes on from here.",
        )
    if done.complete_from is not None:
        print(f"{kpi}: complete from {_shown(done.complete_from)} on ({done.offsets} records passed).")
    elif done.offsets:
        print(f"{kpi}: complete from the beginning ({done.offsets} records passed).")
    else:
        print(f"{kpi}: nothing to do, all there is has been counted.")


def rebuild_command(
    *,
    from_: From = None,
    kpi: Annotated[
        list[str] | None, typer.Option("--kpi", help="Only this indicator; may be given several times.")
    ] = None,
) -> None:
    """Count whole days again from the log and the kept events, while the centre runs."""
    import time

    from streams.repair.rebuild import Wanted, rebuild

    if from_ is None:
        raise OperatorError("`ioc rebuild` counts from a moment on.", "Give --from, as 2026-03-01.")
    settings = Settings.from_env(os.environ)
    since = parse_moment(from_, settings)
    wanted = Wanted(kpi_ids=kpi or [], from_s=since.timestamp())
    with _moving("Counting again") as advance:
        rebuilt = _run(settings, lambda places: rebuild(places, wanted, advance, time.time()), "Nothing was changed.")
    left_out = (
        f" {rebuilt.left_out} events lie in areas that the site pack does not know." if rebuilt.left_out else ""
    )
    print(
        f"Rebuilt from the days of {_shown(since)} on: {rebuilt.events} events; "
        f"counting waited {rebuilt.fence_s:.1f} s.{left_out}"
    )


def redrive_command(
    file: Annotated[Path | None, typer.Argument(help="What --export wrote, put right.", show_default=False)] = None,
    *,
    reason: Annotated[str | None, typer.Option(help="Only letters of this reason, as unknown_area.")] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Only letters that were buried since.")] = None,
    url: Annotated[
        str | None, typer.Option(help="The centre; by default IOC_URL, or the one on the data folder.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing.")] = False,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write those that cannot be read, as NDJSON.")
    ] = None,
) -> None:
    """Send dead letters again that can be read now; list the others. Exits with 1 when there are others."""
    from deploy.redrive import Options, redrive
    from deploy.replay.command import own_address
    from deploy.replay.options import check_url

    settings = Settings.from_env(os.environ)
    if file is not None and (reason is not None or since is not None):
        raise OperatorError("--reason and --since choose among the dead letters.", "Leave them out for a FILE.")
    options = Options(
        reason=reason,
        since=None if since is None else parse_moment(since, settings),
        dry_run=dry_run,
        export=export,
        file=file,
    )
    target = settings.url if url is None else check_url(url)
    address = "" if dry_run else target or own_address(settings)
    outcome = _run(settings, lambda places: redrive(places, address, options), "The same command goes on from here.")
    done = "could be sent again" if dry_run else "sent again"
    print(f"{outcome.sent} dead letters {done}; {outcome.unreadable} cannot be read.")
    if outcome.unreadable:
        raise typer.Exit(EXIT_UNREADABLE)


def parse_moment(text: str, settings: Settings) -> datetime:
    """A day, or a moment with or without a zone; without one it is the site's. Raises OperatorError."""
    from zoneinfo import ZoneInfo

    from deploy.site import read_text
    from schemas.site import SITE_FILE, parse_header

    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise OperatorError(
            f"{text!r} is not a moment.", "Give one such as 2026-03-01 or 2026-03-01T08:00+07:00."
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(parse_header(read_text(settings.site / SITE_FILE)).zone))
    return moment


def _run(settings: Settings, work: Callable[[Any], Coroutine[Any, Any, T]], when_ended: str) -> T:
    """Runs a command's work where Kafka and the database are."""
    from deploy.local.addresses import reachable
    from deploy.local.progress import say
    from deploy.positions import GROUP
    from streams.repair.history import Places

    with reachable(settings) as (kafka, database_url):
        places = Places(kafka=kafka, database_url=database_url, group=GROUP, topic_prefix=settings.topic_prefix)
        try:
            return asyncio.run(work(places))
        except KeyboardInterrupt:
            say(f"Stopped. {when_ended}")
            raise typer.Exit(EXIT_INTERRUPTED) from None


@contextmanager
def _moving(title: str) -> Generator[Callable[[int, int], None]]:
    """Shows how far something is: a bar on a terminal, a line for each tenth elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from deploy.local.progress import console, say

    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(title, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    shown = -1

    def advance(done: int, total: int) -> None:
        nonlocal shown
        tenth = done * TENTHS // max(total, 1)
        if tenth > shown:
            shown = tenth
            say(f"{title}: {done} of {total} records")

    yield advance


def _shown(moment: datetime) -> str:
    return moment.isoformat(timespec="minutes")
