"""What can a person tell the centre to do? The `ioc` command.

Each command imports what it needs when it is called, so that `ioc --help` and `ioc status` answer at once.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from deploy.audit import audit_app
from deploy.display import display_app
from deploy.identity_commands import passwd_command, token_command
from deploy.person import person_app
from deploy.repair import backfill_command, parse_moment, rebuild_command, redrive_command
from deploy.replay.command import replay_command
from deploy.settings import Settings
from deploy.site_commands import site_app
from deploy.watch import watch_command
from schemas.errors import IocError

EXIT_WRONG = 1  # something is wrong and the line above says what
EXIT_NOT_RUNNING = 3  # as `systemctl status` has it

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
run_app = typer.Typer(no_args_is_help=True, help="Run one part of the centre in this process.")
app.add_typer(run_app, name="run")
app.add_typer(person_app, name="person")
app.add_typer(audit_app, name="audit")
app.add_typer(display_app, name="display")
app.add_typer(site_app, name="site")


def main() -> None:
    """The entry point: a foreseeable problem is one line on stderr, without a traceback."""
    try:
        app()
    except IocError as error:
        typer.echo(f"ioc: {error}", err=True)
        sys.exit(EXIT_WRONG)


def settings() -> Settings:
    """What the environment says. Raises SettingError."""
    return Settings.from_env(os.environ)


@app.command()
def up(
    *,
    detach: Annotated[bool, typer.Option("--detach", help="Return when all is ready; `ioc down` stops it.")] = False,
    demo: Annotated[bool, typer.Option(help="Feed the site pack's demo events.")] = True,
) -> None:
    """Run the whole centre on this machine until Ctrl-C."""
    from deploy.local import up as centre

    if detach:
        centre.detached(settings(), os.environ, demo=demo)
    else:
        centre.attached(settings(), os.environ, demo=demo)


@app.command()
def down() -> None:
    """Stop the centre that runs on this data folder, wherever it was started."""
    from deploy.local import up as centre

    centre.down(settings())


@app.command()
def status(*, json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Show every process: pid, address, state, restarts, since when. Exits with 3 when nothing runs."""
    from deploy.local import status as centre_status

    report = centre_status.report(settings().data_dir)
    typer.echo(report.as_json() if json else report.as_text())
    if not report.running:
        raise typer.Exit(EXIT_NOT_RUNNING)


@app.command()
def check() -> None:
    """Say what is wrong here and what to do about it. Exits with 1 when something is."""
    from deploy.local import check as centre_check

    wrong = 0
    for finding in centre_check.findings(settings()):
        typer.echo(finding.as_line())
        wrong += not finding.ok
    typer.echo(f"{wrong} of these want attention." if wrong else "All is well.")
    if wrong:
        raise typer.Exit(EXIT_WRONG)


@app.command()
def migrate() -> None:
    """Bring the tables and topics to this version. May run twice, and by two at once."""
    from deploy import migrate as migration

    asyncio.run(migration.migrate(settings()))


@app.command()
def positions(
    *,
    reset: Annotated[
        bool, typer.Option("--reset", help="After a restore: let the workers read on from where the database stands.")
    ] = False,
    accept: Annotated[
        str | None,
        typer.Option(metavar="TOPIC", help="Go on with a topic that was made anew or cut; says what that means."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do what --accept said.")] = False,
    new_epoch: Annotated[
        bool, typer.Option("--new-epoch", help="After a restore: let every board take a fresh snapshot.")
    ] = False,
) -> None:
    """Show how far each partition is counted, or mend it. Exits with 1 when something is wrong."""
    from deploy import positions as command

    if not command.run(settings(), reset=reset, accept=accept, yes=yes, new_epoch=new_epoch):
        raise typer.Exit(EXIT_WRONG)


@app.command()
def report(
    period: Annotated[str, typer.Argument(metavar="PERIOD", help="As 2026, 2026-Q3, 2026-09 or 2026-09-30.")],
    *,
    report_id: Annotated[
        str | None, typer.Option("--report", metavar="ID", help="One of reports.toml. Without: all indicators.")
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", metavar="json|csv|xlsx", help="Without: the report's first.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", metavar="FILE", help="`-` is stdout. Without: a name of its own here.")
    ] = None,
    area: Annotated[str | None, typer.Option("--area", metavar="ID", help="This area alone.")] = None,
) -> None:
    """Make the set of indicators for a period, with targets, first values and what is still open."""
    from deploy import report as command

    command.run(settings(), period, report_id=report_id, format_=format_, output=output, area=area)


@app.command()
def outbox(*, retry: Annotated[bool, typer.Option("--retry", help="Try again what was given up.")] = False) -> None:
    """Show what waits, what was given up, and the newest receipts. Exits with 1 when something was given up."""
    from deploy import outbound

    if not outbound.show(settings(), retry=retry):
        raise typer.Exit(EXIT_WRONG)


@app.command()
def backtest(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="The id of an alert rule.", show_default=False)],
    *,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="As 2026-03-01. Without: seven days before the end.")
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="TIME", help="Without: now.")] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Times and values of one series, instead of what is stored.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every step, with its reason.")] = False,
) -> None:
    """Show when an alert rule would have fired on the stored history, or on a file. Changes nothing."""
    from deploy import backtest as command

    current = settings()
    since = None if from_ is None else parse_moment(from_, current)
    until = None if to is None else parse_moment(to, current)
    command.run(current, rule, since=since, until=until, file=csv, every=all_)


@app.command()
def asyncapi() -> None:
    """Print the AsyncAPI document of the live protocol. docs/asyncapi.yaml is this."""
    from deploy import asyncapi as described

    typer.echo(described.text(), nl=False)


@run_app.command("web")
def run_web() -> None:
    """Ingest and dashboard behind one origin."""
    from deploy import web

    web.web(settings())


@run_app.command("streams")
def run_streams() -> None:
    """One stream worker."""
    from deploy import worker

    worker.streams(settings())


@run_app.command("outbound")
def run_outbound() -> None:
    """Makes the reports that are due, and sends what waits."""
    from deploy import outbound

    outbound.outbound(settings())


# Commands with a module of their own; each of these imports what it needs when it is called.
app.command("token")(token_command)
app.command("passwd")(passwd_command)
app.command("replay")(replay_command)
app.command("watch")(watch_command)
app.command("backfill")(backfill_command)
app.command("rebuild")(rebuild_command)
app.command("redrive")(redrive_command)


if __name__ == "__main__":
    main()
