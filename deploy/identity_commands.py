"""What can an administrator of this machine do about sign-ins?

This module is imported whenever `ioc` starts, so it imports what it needs when a command is called.
"""

import os
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from deploy.settings import Settings

_Person = Annotated[str, typer.Argument(metavar="PERSON", help="An id of people.toml.")]


def token_command(
    person: _Person,
    *,
    hours: Annotated[float, typer.Option(help="How long it lasts.")] = 1.0,
) -> None:
    """Print a token of the local issuer: `curl -H "Authorization: Bearer $(ioc token PERSON)" …`."""
    from deploy import identity

    typer.echo(identity.token(Settings.from_env(os.environ), person, hours, datetime.now(UTC)))


def passwd_command(
    person: _Person,
    *,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read the password from the first line of stdin.")] = False,
) -> None:
    """Set a person's password for the local issuer; sessions that were begun with another one end."""
    from deploy import identity

    if stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    identity.set_password(Settings.from_env(os.environ), person, password)
    typer.echo(f"The password of {person} is set.")
