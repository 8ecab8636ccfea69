"""How does somebody who tries a shipped example sign in?

The example's people get random passwords at the first start, kept where the other secrets are and shown at every
start. People of a pack of one's own get none: `ioc passwd` sets theirs.
"""

import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from deploy import secret_file
from deploy.issuer.passwords import COST_N, Passwords
from schemas.errors import OperatorError

FILE = "demo-sign-ins.json"

_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_CHARS = 12


class _Given(Struct, frozen=True):
    """A password, and the mark of what was kept of it: another mark means that the person has a new one."""

    password: str
    mark: str


def demo_passwords(secrets_folder: Path, people: Iterable[str], cost_n: int = COST_N) -> Mapping[str, str]:
    """Everyone's password, made for whoever has none. Who has set another one is left out. Raises OperatorError."""
    passwords, path = Passwords(secrets_folder, cost_n), secrets_folder / FILE
    given = _read(path)
    for person in people:
        if not passwords.mark(person):
            password = "".join(secrets.choice(_ALPHABET) for _ in range(_CHARS))
            passwords.set(person, password)
            given[person] = _Given(password, passwords.mark(person))
            # After each: what was set and not written down would be lost for good.
            secret_file.write(path, msgspec.json.encode(given))
    return {
        person: given[person].password
        for person in people
        if person in given and given[person].mark == passwords.mark(person)
    }


def _read(path: Path) -> dict[str, _Given]:
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(secret_file.read(path), type=dict[str, _Given])
    except (OSError, msgspec.DecodeError) as error:
        raise OperatorError(f"{path} cannot be read: {error}.", "Remove it, and passwords.json beside it.") from error
