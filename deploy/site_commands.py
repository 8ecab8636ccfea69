"""How does a site get a pack of its own, that it may change? `ioc site copy`"""

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from deploy.settings import Settings
from schemas.errors import OperatorError

LEFT_OUT = (".ioc-*", "derive.py", "__pycache__", "*.partial")
"""What lies in a pack's folder and is no part of it, or made it."""

site_app = typer.Typer(no_args_is_help=True, help="The site pack in use.")


@site_app.callback()
def site_callback() -> None:
    """The site pack in use."""


@site_app.command("copy")
def copy_command(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder that there is not yet, or an empty one.")
    ],
) -> None:
    """Copy the pack in use to a folder of your own, where it may be changed."""
    settings = Settings.from_env(os.environ)
    target = copy_site(settings.site, folder.expanduser().absolute())
    typer.echo(f"Copied {settings.site} to {target}.")
    typer.echo(f"To use it: IOC_SITE={target}, and start the centre again.")


def copy_site(site: Path, target: Path) -> Path:
    """Copies a pack. Raises OperatorError, SiteError for one that is wrong: it could not be started with."""
    from deploy.site import load_site

    load_site(site)
    if target.resolve().is_relative_to(site.resolve()):
        raise OperatorError(f"{target} lies within the pack itself.", "Name a folder elsewhere.")
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise OperatorError(
                f"{target} is there already.", "Name a folder that there is not yet, or an empty one."
            )
        shutil.copytree(site, target, ignore=shutil.ignore_patterns(*LEFT_OUT), dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise OperatorError(f"{target} cannot be written: {error}.", "Name another folder.") from error
    return target
