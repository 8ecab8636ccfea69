"""What does `ioc replay` take, and where does it send?

This module is imported whenever `ioc` starts, so it imports what it needs when the command is called.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from deploy.settings import Settings
from schemas.errors import OperatorError

EXIT_REJECTED = 1
EXIT_INTERRUPTED = 130  # as a shell says it of Ctrl-C


def replay_command(
    file: Annotated[
        Path | None, typer.Argument(help="CSV or NDJSON of CloudEvents, either may be gzipped.", show_default=False)
    ] = None,
    *,
    demo: Annotated[
        bool, typer.Option("--demo", help="Play the site pack's demo for ever, instead of a file.")
    ] = False,
    speed: Annotated[str, typer.Option(help="How many times as fast as it happened; `max` waits for nothing.")] = "1",
    shift: Annotated[
        bool, typer.Option("--shift/--keep", help="Move all times to now, or keep them as they are recorded.")
    ] = True,
    lead: Annotated[
        str, typer.Option(help="How much of the play lies in the past at its start, as 3h or 30m.")
    ] = "0",
    url: Annotated[
        str | None, typer.Option(help="The centre; by default IOC_URL, or the one on the data folder.")
    ] = None,
    mapping: Annotated[
        str | None, typer.Option("--as", help="The recording mapping; by default the one that fits the header.")
    ] = None,
    site: Annotated[Path | None, typer.Option(help="The site pack; by default the one that IOC_SITE names.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many events, by time.")] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew instead of where the last run ended.")
    ] = False,
) -> None:
    """Send recorded events through ingest, in the order of their time, at a chosen speed."""
    from deploy.local.progress import say
    from deploy.metrics_server import serve_metrics
    from deploy.replay.clock import SystemClock
    from deploy.replay.connection import run
    from deploy.replay.demo import load_demo, play_demo
    from deploy.replay.file_replay import Options, read_all, replay_file, tell_unmapped
    from deploy.replay.options import check_url, parse_length, parse_speed
    from deploy.replay.recorded_file import choose_mapping, load_mappings
    from deploy.site import load_site

    if (file is None) == (not demo):
        raise OperatorError("`ioc replay` plays one thing at a time.", "Give a FILE or --demo.")
    settings = Settings.from_env(os.environ)
    folder = settings.site if site is None else site
    pack = load_site(folder)
    target = settings.url if url is None else check_url(url)
    address = target or own_address(settings)
    clock = SystemClock()

    if file is None:
        content = load_demo(folder, pack)
        if settings.metrics_port:
            serve_metrics(settings.metrics_port)
        run(address, lambda sender: play_demo(content, settings.data_dir, target, sender, clock, say), clock, say)
        return

    options = Options(
        speed=parse_speed(speed),
        shifted=shift,
        lead=parse_length(lead),
        limit=limit,
        restart=restart,
        target=target,
    )
    if options.speed is None and options.lead:
        raise OperatorError("--lead says nothing at --speed max, where all lies in the past.", "Leave one out.")
    chosen = choose_mapping(file, load_mappings(folder, pack), mapping)
    reading = read_all(file, chosen)
    tell_unmapped(reading, say)
    outcome = run(
        address,
        lambda sender: replay_file(reading, options, settings.data_dir, sender, clock, say),
        clock,
        say,
    )
    if outcome is None:
        say(f"{file.name}: stopped. The same command goes on from here.")
        raise typer.Exit(EXIT_INTERRUPTED)
    taken = outcome.sent - outcome.rejected
    say(f"{file.name}: {taken} events taken, {outcome.rejected} rejected, {outcome.unmapped} rows without an event.")
    if outcome.rejected:
        raise typer.Exit(EXIT_REJECTED)


def own_address(settings: Settings) -> str:
    """The centre that runs on the data folder. Raises OperatorError when none does."""
    from deploy.local.centre import ANY_HOST
    from deploy.local.status import report

    found = report(settings.data_dir)
    for process in found.processes:
        if found.running and process.name == "web" and process.address:
            return process.address
    # A part that the supervisor starts, or one of a cluster, is told the port.
    if settings.port is not None:
        return f"http://{ANY_HOST.get(settings.host, settings.host)}:{settings.port}"
    raise OperatorError(f"No centre runs on {settings.data_dir}.", "Start one with `ioc up`, or give its --url.")
