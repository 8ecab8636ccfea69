"""How does a screen on a wall get its key, and lose it?

`displays.toml` in the site pack says which screens there are, so that every web process knows it within seconds, on
however many machines. It is changed by one at a time, like the rest of the pack by the administrator's page, and
after what was begun there. The key itself is shown once and kept nowhere. This module is imported whenever `ioc`
starts, so it imports what it needs when a command is called.
"""

import os
import re
from collections.abc import Callable, Mapping
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
    key = add(settings.site, settings.data_dir, name, stands_for)
    typer.echo("Open this once on the screen; the key is not shown again:")
    typer.echo(f"{address}/wall#{key}")


@display_app.command("list")
def list_command() -> None:
    """Show which screens have a key."""
    from deploy.site import read_folder

    for display in _known(read_folder(Settings.from_env(os.environ).site)):
        since = "" if display.added is None else f", since {display.added.isoformat()}"
        typer.echo(f"{display.id}: as {display.stands_for}{since}")


@display_app.command("remove")
def remove_command(name: _Name) -> None:
    """Take a screen's key away; it shows nothing any more within seconds."""
    settings = Settings.from_env(os.environ)
    remove(settings.site, settings.data_dir, name)
    typer.echo(f"{name} has no key any more.")


def add(folder: Path, data_dir: Path, name: str, stands_for: str) -> str:
    """Declares a screen and returns its key. Raises OperatorError, SiteError for a pack that cannot be read."""
    key = new_key()
    today = datetime.now(UTC).date().isoformat()
    lines = (
        "[[display]]",
        f'id = "{_plain(name)}"',
        f'as = "{_plain(stands_for)}"',
        f'key = "{hash_of(key)}"',
        f"added = {today}",
    )
    entry = "\n".join(lines)

    def with_it(text: str, ids: list[str]) -> str:
        if name in ids:
            raise OperatorError(f"There is a screen {name!r} already.", f"`ioc display remove {name}` first.")
        return (text or HEAD).rstrip("\n") + f"\n\n{entry}\n"

    _change(folder, data_dir, with_it)
    return key


def remove(folder: Path, data_dir: Path, name: str) -> None:
    """Takes a screen's entry out, and leaves all else in the file as it is. Raises OperatorError, SiteError."""

    def without(text: str, ids: list[str]) -> str:
        if name not in ids:
            known = f"There are: {', '.join(ids)}." if ids else "There is none."
            raise OperatorError(f"There is no screen {name!r}.", known)
        number = ids.index(name)
        starts = [found.start() for found in _TABLE.finditer(text)]
        if len(starts) != len(ids):
            raise OperatorError(f"{DISPLAYS_FILE} is not written as `ioc display` writes it.", "Edit it by hand.")
        end = starts[number + 1] if number + 1 < len(starts) else len(text)
        return text[: starts[number]].rstrip("\n") + "\n" + (f"\n{text[end:]}" if end < len(text) else "")

    _change(folder, data_dir, without)


def _known(texts: Mapping[str, str]) -> list[Display]:
    return list(parse_displays(texts[DISPLAYS_FILE]).values()) if DISPLAYS_FILE in texts else []


def _change(folder: Path, data_dir: Path, change: Callable[[str, list[str]], str]) -> None:
    """Replaces the file, once the pack with the new one is right. A reader sees the old one or the new one whole.

    `change` makes the new text of the present one and the ids of its screens.
    """
    from deploy.admin.pack_folder import PackFolder
    from deploy.admin.refusal import AdminRefused
    from deploy.site import SHIPPED, whole_pack
    from schemas.site import parse_site

    if folder.resolve().parent == SHIPPED.resolve():
        fix = "Copy the pack to a folder of your own, and name that in IOC_SITE."
        raise OperatorError(f"The site pack {folder} is the one that comes with the program.", fix)
    pack = PackFolder(folder, data_dir)
    try:
        with pack.held():
            before = pack.texts()
            text = change(before.get(DISPLAYS_FILE, ""), [display.id for display in _known(before)])
            after = whole_pack({**before, DISPLAYS_FILE: text}, folder)
            try:
                parse_site(after)
            except SiteError as error:
                raise OperatorError(f"The site pack would not be right: {error}", "Nothing was changed.") from error
            pack.write(DISPLAYS_FILE, text)
    except AdminRefused as refused:
        raise OperatorError(f"The site pack cannot be changed now: {refused.detail}.", refused.fix) from refused
    except OSError as error:
        file = folder / DISPLAYS_FILE
        raise OperatorError(f"{file} cannot be written: {error.strerror}.", "Run it as whoever owns it.") from error


def _plain(word: str) -> str:
    """A word as it may stand between quotes. What it may hold is checked with the whole pack."""
    if any(sign in word for sign in '"\\\n\r'):
        raise OperatorError(f"{word!r} is no name.", "Use letters, digits and hyphens.")
    return word
