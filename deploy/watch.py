"""What happens in the centre now, on a terminal? The command `ioc watch`.

The module is imported whenever `ioc` starts, so it imports what it needs when the command is called.
"""

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from deploy.settings import Settings
from schemas.errors import OperatorError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from deploy.live_client import LiveClient, Shown

CASES_SHOWN = 20
"""Cases that a terminal shows, those due first; a line says how many more there are."""

STALE_AFTER_S = 4.0
"""Without a word from the centre for so long the figures are marked as old."""

TOKEN_HOURS = 12.0
DRAWS_PER_S = 4
EXIT_INTERRUPTED = 130  # as a shell says it of Ctrl-C

_SEVERITY_STYLES = {"critical": "bold red", "major": "red", "minor": "yellow"}


def watch_command(
    *,
    area: Annotated[
        list[str] | None, typer.Option(help="An area's id, several times; the root when left out.")
    ] = None,
    kpi: Annotated[list[str] | None, typer.Option(help="A KPI's id, several times; all when left out.")] = None,
    cases: Annotated[bool, typer.Option("--cases", help="Open cases, too, those due first.")] = False,
    tier: Annotated[str, typer.Option(metavar="minute|hour|day", help="The width of a bucket.")] = "day",
    url: Annotated[
        str | None, typer.Option(help="The centre; by default IOC_URL, or the one on the data folder.")
    ] = None,
    token: Annotated[str | None, typer.Option(help="A token of whom it is shown to.")] = None,
    person: Annotated[
        str | None, typer.Option("--as", metavar="PERSON", help="As this person of people.toml, by the local issuer.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print each message as a line, for programs.")] = False,
) -> None:
    """Follow the centre live on the terminal: values with their freshness, and open cases. Ctrl-C ends it."""
    from deploy import identity
    from deploy.live_client import LiveClient

    settings = Settings.from_env(os.environ)
    if tier not in {"minute", "hour", "day"}:
        raise OperatorError(f"there is no tier {tier!r}.", "Use minute, hour or day.")
    origin = origin_of(settings, url)
    if person is not None:
        token = identity.token(settings, person, TOKEN_HOURS, datetime.now(UTC))
    wish: dict[str, Any] = {"tier": tier, "points": 1, "events": 0}
    wish |= {name: given for name, given in (("areas", area), ("kpis", kpi)) if given}
    if cases:
        wish["cases"] = {"open": True}
    client = LiveClient(origin, wish, token=token)
    try:
        asyncio.run(_print(client) if json else _draw(client, origin, token))
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None


def origin_of(settings: Settings, url: str | None) -> str:
    """Where the centre is: as said, else IOC_URL, else the one that runs on the data folder. Raises OperatorError."""
    from deploy.local import status

    found = url or settings.url or status.report(settings.data_dir).addresses.get("board")
    if found is None:
        raise OperatorError(f"no centre runs on {settings.data_dir}.", "Start it with `ioc up`, or give --url.")
    return found.rstrip("/")


async def _print(client: "LiveClient") -> None:
    import msgspec

    async for message in client.messages():
        sys.stdout.write(msgspec.json.encode(message).decode() + "\n")
        sys.stdout.flush()


async def _draw(client: "LiveClient", origin: str, token: str | None) -> None:
    from rich.live import Live

    from deploy.live_client import Shown

    names = await _names(origin, token)
    shown, heard_at_s = Shown(points=1), 0.0

    def screen() -> "RenderableType":
        silent_s = time.monotonic() - heard_at_s if heard_at_s else None
        return board(shown, names, client, datetime.now(UTC), silent_s)

    # Drawn in a thread of its own: the clocks go on while nothing comes.
    with Live(get_renderable=screen, refresh_per_second=DRAWS_PER_S, screen=sys.stdout.isatty()):
        async for message in client.messages():
            heard_at_s = time.monotonic()
            shown.apply(message)


async def _names(origin: str, token: str | None) -> "Names":
    """The catalogue and the areas. Waits until the centre answers."""
    import httpx

    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=origin, headers=headers, trust_env=False, timeout=30) as http:
        while True:
            try:
                kpis, areas = [
                    (await http.get(f"/v1/{what}")).raise_for_status().json() for what in ("kpis", "areas")
                ]
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                if status < 500:
                    raise OperatorError(f"{origin} answers {status}.", "Give --token or --as.") from error
            except httpx.HTTPError as error:
                sys.stderr.write(f"{origin} does not answer ({type(error).__name__}); trying again\n")
            else:
                return Names({one["id"]: one for one in kpis["items"]}, {one["id"]: one for one in areas["items"]})
            await asyncio.sleep(1)


class Names:
    """What the site pack calls things."""

    def __init__(self, kpis: Mapping[str, Mapping[str, Any]], areas: Mapping[str, Mapping[str, Any]]) -> None:
        self.kpis = kpis
        self.areas = areas

    def area(self, id_: str) -> str:
        """An area's name, or its id where it is not known."""
        return _named(self.areas.get(id_, {}).get("names", {}), id_)

    def moment(self, area: str, time_s: float) -> str:
        """A moment by the area's own clock."""
        zone = ZoneInfo(self.areas.get(area, {}).get("zone", "UTC"))
        return datetime.fromtimestamp(time_s, zone).strftime("%Y-%m-%d %H:%M %Z")


def board(
    shown: "Shown", names: Names, client: "LiveClient", now: datetime, silent_s: float | None
) -> "RenderableType":
    """The terminal's picture. `silent_s` is how long nothing was heard; None: nothing was yet."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    is_fresh = silent_s is not None and silent_s <= STALE_AFTER_S
    values = Table(title="Indicators", title_justify="left", expand=True)
    for name, justify in (("Indicator", "left"), ("Area", "left"), ("Value", "right"), ("Unit", "left")):
        values.add_column(name, justify=justify)  # type: ignore[arg-type]
    values.add_column("Since", justify="left")
    values.add_column("Last heard", justify="right")
    for (kpi, area), series in sorted(shown.values.items()):
        known = names.kpis.get(kpi, {})
        bucket = max(series, default=None)
        point = {} if bucket is None else series[bucket]
        last_s = shown.last_minutes.get((kpi, area))
        age_s = None if last_s is None else max(0.0, now.timestamp() - last_s)
        is_old = age_s is None or age_s > known.get("freshness_s", 0)
        values.add_row(
            _named(known.get("names", {}), kpi),
            names.area(area),
            Text(_number(point.get("value")), style="bold" if is_fresh and not is_old else "dim"),
            unit_words(known.get("unit", "")),
            "" if bucket is None else names.moment(area, bucket),
            Text("never" if age_s is None else age(age_s), style="yellow" if is_old else "green"),
        )
    parts: list[RenderableType] = [values]
    if shown.cases:
        parts.append(_cases(shown, names, now))
    parts.append(Text(*state_line(shown, client, silent_s)))
    return Group(*parts)


def _cases(shown: "Shown", names: Names, now: datetime) -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    ordered = sorted(shown.cases.values(), key=lambda case: (case.get("due_at") is None, case.get("due_at", "")))
    more = len(ordered) - CASES_SHOWN
    title = f"Open cases: {len(ordered)}" + (f", of which {more} are not shown" if more > 0 else "")
    table = Table(title=title, title_justify="left", expand=True)
    for name in ("Due", "Severity", "State", "Title", "Area"):
        table.add_column(name)
    for case in ordered[:CASES_SHOWN]:
        due = case.get("due_at")
        left_s = None if due is None else (datetime.fromisoformat(due) - now).total_seconds()
        table.add_row(
            Text("" if left_s is None else age(left_s) if left_s >= 0 else f"{age(-left_s)} late"),
            Text(case["severity"], style=_SEVERITY_STYLES.get(case["severity"], "")),
            case["state"],
            # What citizens wrote is text, whatever marks it holds.
            Text(case["title"] or case["category"]),
            names.area(case["area"]),
        )
    return table


def state_line(shown: "Shown", client: "LiveClient", silent_s: float | None) -> tuple[str, str]:
    """How the connection stands, in words and as a style."""
    from deploy.live_client import Line

    if silent_s is None:
        return f"connecting… {client.trouble}".rstrip(), "yellow"
    if client.line is Line.LOST or silent_s > STALE_AFTER_S:
        return f"STALE: nothing heard for {age(silent_s)}; reconnecting. {client.trouble}".rstrip(), "bold red"
    if shown.database is not None and shown.database["state"] == "away":
        return f"AWAY: the database does not answer since {shown.database['since']}", "bold red"
    if shown.streams is not None and shown.streams["state"] == "away":
        return f"STOPPED: nobody counts since {shown.streams['since']} ({shown.streams['reason']})", "bold red"
    if shown.feed is not None and shown.feed["state"] == "held":
        return f"HELD: an open transaction keeps commits back for {shown.feed['lag_s']:.0f} s", "yellow"
    return f"live by {client.line.value}, position {client.position}", "green"


def unit_words(unit: str) -> str:
    """A unit as people read it: of UCUM's `{report}` what stands in the braces, and nothing of the unit 1."""
    return "" if unit == "1" else unit.replace("{", "").replace("}", "")


def age(seconds: float) -> str:
    """A length of time as people say it."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    if value == int(value):
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"


def _named(names: Mapping[str, str], fallback: str) -> str:
    return names.get("en") or next(iter(names.values()), fallback)
