"""How does a screen on a wall get its key, and lose it?

`displays.toml` in the site pack says which screens there are, so that every web process knows it within seconds, on
however many machines; and a change of it is a change of the pack like any other. The key itself is shown once and
kept nowhere. This module is imported whenever `ioc` starts, so it imports what it needs when a command is called.
"""

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from deploy.settings import Settings
from schemas.display import DISPLAYS_FILE, Display, hash_of, new_key, parse_displays
from schemas.errors import OperatorError, SiteError

HEAD = """# The screens on walls (docs/identity.md), written by `ioc display`. `key` is what a screen's key hashes to.
"""

display_app = typer.Typer(no_args_is_help=True, help="Screens on walls, and their keys.")

_Name = Annotated[str, typer.Argument(metavar="NAME", help="As hall or room-2.")]
_TABLE = re.compile(r"^\[\[\s*display\s*\]\]", re.MULTILINE)


@display_app.command("add")
def add_command(
    name: _Name,
    *,
    stands_for: Annotated[str, typer.Option("--as", metavar="PERSON", help="Whose areas and agencies it shows.")],
) -> None:
    """Give a screen a key, and print the address to open on it once."""
    settings = Settings.from_env(os.environ)
    address = settings.public_url or f"http://{settings.host}:{settings.port or 8080}"
    key = add(settings.site, name, stands_for)
    typer.echo("Open this once on the screen; the key is not shown again:")
    typer.echo(f"{address}/wall#{key}")


@display_app.command("list")
def list_command() -> None:
    """Show which screens have a key."""
    for display in _known(Settings.from_env(os.environ).site).values():
        since = "" if display.added is None else f", since {display.added.isoformat()}"
        typer.echo(f"{display.id}: as {display.stands_for}{since}")


@display_app.command("remove")
def remove_command(name: _Name) -> None:
    """Take a screen's key away; it shows nothing any more within seconds."""
    remove(Settings.from_env(os.environ).site, name)
    typer.echo(f"{name} has no key any more.")


def add(folder: Path, name: str, stands_for: str) -> str:
    """Declares a screen and returns its key. Raises OperatorError, SiteError for a pack that would not be right."""
    key = new_key()
    if any(display.id == name for display in _known(folder).values()):
        raise OperatorError(f"There is a screen {name!r} already.", f"`ioc display remove {name}` first.")
    today = datetime.now(UTC).date().isoformat()
    lines = (
        "[[display]]",
        f'id = "{_plain(name)}"',
        f'as = "{_plain(stands_for)}"',
        f'key = "{hash_of(key)}"',
        f"added = {today}",
    )
    entry = "\n".join(lines)
    _change(folder, lambda text: (text or HEAD).rstrip("\n") + f"\n\n{entry}\n")
    return key


def remove(folder: Path, name: str) -> None:
    """Takes a screen's entry out, and leaves all else in the file as it is. Raises OperatorError, SiteError."""
    ids = [display.id for display in _known(folder).values()]
    if name not in ids:
        known = f"There are: {', '.join(ids)}." if ids else "There is none."
        raise OperatorError(f"There is no screen {name!r}.", known)
    number = ids.index(name)

    def without(text: str) -> str:
        starts = [found.start() for found in _TABLE.finditer(text)]
        if len(starts) != len(ids):
            raise OperatorError(f"{DISPLAYS_FILE} is not written as `ioc display` writes it.", "Edit it by hand.")
        end = starts[number + 1] if number + 1 < len(starts) else len(text)
        return text[: starts[number]].rstrip("\n") + "\n" + (f"\n{text[end:]}" if end < len(text) else "")

    _change(folder, without)


def _known(folder: Path) -> dict[str, Display]:
    file = folder / DISPLAYS_FILE
    return parse_displays(file.read_text(encoding="utf-8")) if file.exists() else {}


def _change(folder: Path, change: Callable[[str], str]) -> None:
    """Replaces the file, once the pack with the new one is right. A reader sees the old one or the new one whole."""
    from deploy.site import SHIPPED, load_pack
    from schemas.site import parse_site

    if folder.parent.resolve() == SHIPPED.resolve():
        fix = "Copy the pack to a folder of your own, and name that in IOC_SITE."
        raise OperatorError(f"The site pack {folder} is the one that comes with the program.", fix)
    file = folder / DISPLAYS_FILE
    text = change(file.read_text(encoding="utf-8") if file.exists() else "")
    pack = {**load_pack(folder), DISPLAYS_FILE: text}
    try:
        parse_site(pack)
    except SiteError as error:
        raise OperatorError(f"The site pack would not be right: {error}", "Nothing was changed.") from error
    beside = file.with_name(f".{DISPLAYS_FILE}.partial")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(file)
    except OSError as error:
        raise OperatorError(f"{file} cannot be written: {error.strerror}.", "Run it as whoever owns it.") from error


def _plain(word: str) -> str:
    """A word as it may stand between quotes. What it may hold is checked with the whole pack."""
    if any(sign in word for sign in '"\\\n\r'):
        raise OperatorError(f"{word!r} is no name.", "Use letters, digits and hyphens.")
    return word
