"""Does this password belong to this person?

Hashes by scrypt in `<data>/secrets/passwords.json`, with the cost that each was made with. The file is read for every
attempt, so `ioc passwd` counts at once.

Source: RFC 7914; OWASP's cost for scrypt (N = 2^17, r = 8, p = 1 takes 128 MiB; here 2^15 with p = 3 takes 32).
"""

import fcntl
import hashlib
import hmac
import os
import secrets
import unicodedata
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from deploy import secret_file
from schemas.errors import OperatorError

FILE = "passwords.json"
PASSWORD_CHARS_MIN = 10
PASSWORD_CHARS_MAX = 1024
"""A longer one is refused before it is hashed."""

_SALT_BYTES = 16
_HASH_BYTES = 32
COST_N = 2**15
_R, _P = 8, 3


class PasswordHash(Struct, frozen=True, kw_only=True):
    """What is kept of a password."""

    salt: bytes
    hash: bytes
    n: int = COST_N
    r: int = _R
    p: int = _P


_NOBODYS = PasswordHash(salt=bytes(_SALT_BYTES), hash=bytes(_HASH_BYTES))
"""Hashed against for a person without a password, so that the time taken does not say who has one."""


class Passwords:
    """The passwords of a data folder."""

    def __init__(self, secrets_folder: Path, cost_n: int = COST_N) -> None:
        """`cost_n` is what new passwords are hashed with; a test has no time for more than a little."""
        self._path = secrets_folder / FILE
        self._cost_n = cost_n

    def all(self) -> Mapping[str, PasswordHash]:
        """What is kept, by person. Raises OperatorError."""
        if not self._path.exists():
            return {}
        try:
            return msgspec.json.decode(secret_file.read(self._path), type=dict[str, PasswordHash])
        except (OSError, msgspec.DecodeError) as error:
            fix = "Restore it, or remove it and set passwords anew with `ioc passwd`."
            raise OperatorError(f"{self._path} cannot be read: {error}.", fix) from error

    def matches(self, person: str, password: str) -> bool:
        """Whether it is this person's password. Takes the same time for whoever has none."""
        if len(password) > PASSWORD_CHARS_MAX:
            return False
        kept = self.all().get(person)
        found = _hashed(password, kept or _NOBODYS)
        return hmac.compare_digest(found, (kept or _NOBODYS).hash) and kept is not None

    def set(self, person: str, password: str) -> None:
        """Replaces a person's password. Raises OperatorError for one that is too short or too long."""
        if not PASSWORD_CHARS_MIN <= len(password) <= PASSWORD_CHARS_MAX:
            raise OperatorError(
                "The password cannot be taken.",
                f"Give one of {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters.",
            )
        empty = PasswordHash(salt=secrets.token_bytes(_SALT_BYTES), hash=b"", n=self._cost_n)
        made = msgspec.structs.replace(empty, hash=_hashed(password, empty))
        with self._locked():
            secret_file.write(self._path, msgspec.json.encode({**self.all(), person: made}, order="sorted"))

    def mark(self, person: str) -> str:
        """Changes whenever the person's password does: a session that was begun with another one has ended."""
        kept = self.all().get(person)
        return "" if kept is None else hashlib.sha256(kept.salt + kept.hash).hexdigest()[:16]

    @contextmanager
    def _locked(self) -> Generator[None]:
        """One writer at a time: each keeps what the others have set."""
        self._path.parent.mkdir(mode=secret_file.FOLDER_MODE, parents=True, exist_ok=True)
        descriptor = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _hashed(password: str, how: PasswordHash) -> bytes:
    # Keyboards write one letter as one character or as two: ễ is the same word either way.
    text = unicodedata.normalize("NFKC", password).encode()
    room_bytes = 128 * how.n * how.r * 2
    return hashlib.scrypt(text, salt=how.salt, n=how.n, r=how.r, p=how.p, maxmem=room_bytes, dklen=_HASH_BYTES)
