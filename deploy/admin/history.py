"""What was changed in the site pack, by whom, when and why?

Every change through the administrator's page is a file of its own below `<data>/site-history/`, numbered from 1 and
never written again. It names the files by what they held before and after; the texts lie beside, each once, under the
hash of what it is. Each change holds the hash of the one before it, so that none can be altered or left out unseen
(the newest can be cut off; the hash of it that somebody has noted shows that).
"""

import gzip
import hashlib
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from deploy.admin.refusal import AdminReason, AdminRefused

FOLDER = "site-history"
"""Within the data folder."""

TEXTS = "texts"
FILE_MODE = 0o600
FOLDER_MODE = 0o700

_FIX = "Restore the folder site-history from a backup."


class FileChange(Struct, frozen=True):
    """What a file held, by the SHA-256 of its text; None where there is no such file."""

    name: str
    before: str | None
    after: str | None


class Change(Struct, frozen=True, kw_only=True):
    """One change. `base` and `result` are the versions of the pack before and after it.

    `who` is a person of people.toml with the `name` at that time, `previous` the hash of the change before, and
    `reverts` the number of the change that this one takes back.
    """

    number: int
    at: datetime
    who: str
    name: str
    why: str
    base: str
    result: str
    files: tuple[FileChange, ...]
    previous: str
    reverts: int | None = None


def text_hash(text: str) -> str:
    """By what a text is known."""
    return hashlib.sha256(text.encode()).hexdigest()


def version_of(texts: Mapping[str, str]) -> str:
    """By what a pack's files together are known."""
    lines = [f"{text_hash(text)} {name}\n" for name, text in sorted(texts.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class History:
    """The changes below a data folder. Whoever adds to it holds the pack's lock."""

    def __init__(self, data_dir: Path) -> None:
        """Makes nothing yet."""
        self.folder = data_dir / FOLDER

    def numbers(self) -> list[int]:
        """The numbers of all changes, oldest first."""
        if not self.folder.is_dir():
            return []
        stems = (file.stem for file in self.folder.glob("[0-9]*.json"))
        return sorted(int(stem) for stem in stems if stem.isdecimal())

    def read(self, number: int) -> Change:
        """One change. Raises AdminRefused for a number that there is not, or a file that cannot be read."""
        try:
            return msgspec.json.decode(self._path(number).read_bytes(), type=Change)
        except FileNotFoundError:
            detail = f"there is no change {number}"
            fix = "See GET /v1/admin/changes."
            raise AdminRefused("number", AdminReason.UNKNOWN_CHANGE, detail, fix, status=404) from None
        except (OSError, msgspec.DecodeError) as error:
            detail = f"change {number} cannot be read: {error}"
            raise AdminRefused("number", AdminReason.BROKEN_HISTORY, detail, _FIX, status=500) from None

    def broken_at(self) -> int | None:
        """The first change that does not follow from the one before it; None where all do."""
        previous = ""
        for expected, number in enumerate(self.numbers(), 1):
            try:
                change = self.read(number)
            except AdminRefused:
                return number
            if number != expected or change.number != number or change.previous != previous:
                return number
            previous = self._hash(number)
        return None

    def next(self) -> tuple[int, str]:
        """The number of the next change, and the hash of the one before it."""
        numbers = self.numbers()
        return (numbers[-1] + 1, self._hash(numbers[-1])) if numbers else (1, "")

    def keep_text(self, text: str | None) -> str | None:
        """Keeps a text, on disk when this returns, under its hash."""
        if text is None:
            return None
        name = text_hash(text)
        path = self.folder / TEXTS / f"{name}.gz"
        if not path.exists():
            write_whole(path, gzip.compress(text.encode(), 6, mtime=0))
        return name

    def text(self, name: str | None) -> str | None:
        """The text of a hash. Raises AdminRefused."""
        if name is None:
            return None
        try:
            text = gzip.decompress((self.folder / TEXTS / f"{name}.gz").read_bytes()).decode()
        except (OSError, EOFError, ValueError) as error:
            detail = f"the text {name[:12]}… of an earlier version cannot be read: {error}"
            raise AdminRefused("number", AdminReason.BROKEN_HISTORY, detail, _FIX, status=500) from None
        if text_hash(text) != name:
            detail = f"the text {name[:12]}… of an earlier version was altered"
            raise AdminRefused("number", AdminReason.BROKEN_HISTORY, detail, _FIX, status=500)
        return text

    def add(self, change: Change) -> None:
        """Writes a change down, on disk when this returns. The same again changes nothing."""
        path = self._path(change.number)
        if not path.exists():
            write_whole(path, msgspec.json.format(msgspec.json.encode(change), indent=2) + b"\n")

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.json"

    def _hash(self, number: int) -> str:
        return hashlib.sha256(self._path(number).read_bytes()).hexdigest()


def write_whole(path: Path, content: bytes, mode: int = FILE_MODE) -> None:
    """Writes a file that is there whole or not at all, and on disk when this returns.

    One that was there keeps its mode; `mode` is a new one's.
    """
    path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as output:
            if path.exists():
                os.fchmod(descriptor, path.stat().st_mode & 0o777)
            output.write(content)
            output.flush()
            os.fsync(output.fileno())
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Has the names in a folder on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
