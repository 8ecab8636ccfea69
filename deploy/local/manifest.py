"""Is a folder of downloaded programs still exactly what was put there?

The manifest is written last, so a folder without one is unfinished. It records where the folder was made
for: the loader's absolute path is written into PostgreSQL's binaries, so a moved folder has to be made again.
"""

import hashlib
from pathlib import Path

import msgspec

NAME = "MANIFEST.json"


class Entry(msgspec.Struct, frozen=True):
    """One file: its size and mtime for the cheap check at each start, its sha256 for the full one."""

    path: str
    size_bytes: int
    mtime_ns: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """Every regular file below `location`, in path order."""

    location: str
    entries: list[Entry]


def sha256_of(path: Path) -> str:
    """The file's sha256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(folder: Path, location: Path) -> None:
    """Records every regular file of `folder`, which is about to be renamed to `location`."""
    entries: list[Entry] = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        stat = path.stat()
        entries.append(Entry(path.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns, sha256_of(path)))
    (folder / NAME).write_bytes(msgspec.json.encode(Manifest(str(location), entries)))


def faults(folder: Path, *, full: bool) -> list[str]:
    """What differs from the manifest, one line each; empty when the folder is as it was made.

    The cheap check compares size and mtime; the full one also reads every file.
    """
    try:
        manifest = msgspec.json.decode((folder / NAME).read_bytes(), type=Manifest)
    except FileNotFoundError:
        return [f"{folder}: not finished"]
    except (OSError, msgspec.DecodeError) as error:
        return [f"{folder / NAME}: {error}"]
    if manifest.location != str(folder):
        return [f"{folder}: was made for {manifest.location}"]
    found: list[str] = []
    for entry in manifest.entries:
        path = folder / entry.path
        try:
            stat = path.lstat()
        except OSError:
            found.append(f"{path}: missing")
            continue
        if stat.st_size != entry.size_bytes or stat.st_mtime_ns != entry.mtime_ns:
            found.append(f"{path}: changed since it was downloaded")
        elif full and sha256_of(path) != entry.sha256:
            found.append(f"{path}: its content is damaged")
    return found
