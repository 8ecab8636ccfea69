"""Which change is being moved into a site pack's folder?

A change of several files is written beside the pack, into a folder that gets the name PENDING when it is complete.
From that moment on whoever reads the pack takes those files from there: the change is in force as a whole, although
its files are moved in one after the other, and whoever is killed in between. Only the name's disappearance ends it,
when the files lie in their places.
"""

import errno
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

from schemas.errors import SiteError

PENDING = ".ioc-change"
"""The folder, within the pack's folder, of a complete change whose files may not lie in their places yet."""

NOTE_FILE = "change.json"
"""Within PENDING: what the change is. Its `texts` say which files it is of."""

_FIX = "Restart the web process: it moves the change in, or says why it cannot."


class Moving(Exception):
    """The change was moved in while it was read. Read again."""


class _Note(msgspec.Struct, frozen=True):
    # File name to whether it exists after the change.
    names: dict[str, bool]


def pending_texts(folder: Path) -> Mapping[str, str | None]:
    """The texts that a change under way gives to files, None to those that it removes; empty where there is none.

    Raises SiteError for a change that cannot be read, Moving.
    """
    beside = folder / PENDING
    try:
        note = msgspec.json.decode((beside / NOTE_FILE).read_bytes(), type=_Note)
        # A name is taken from a file, so it leads nowhere but into that folder.
        return {
            name: (beside / Path(name).name).read_bytes().decode("utf-8-sig") if there else None
            for name, there in note.names.items()
        }
    except FileNotFoundError:
        if beside.exists():
            raise Moving from None
        return {}
    except NotADirectoryError:
        return {}
    except (OSError, ValueError) as error:
        raise SiteError(str(beside), "the change", str(error), _FIX) from error


def clear(beside: Path) -> None:
    """Ends a change: its name goes first, and at once."""
    done = beside.with_name(f"{PENDING}.done")
    shutil.rmtree(done, ignore_errors=True)
    try:
        beside.rename(done)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
    shutil.rmtree(done, ignore_errors=True)
