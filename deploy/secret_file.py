"""How is a secret kept on this machine's disk?

In `<data>/secrets/`, readable by its owner alone. A reader sees the old content or the new one whole, and of several
processes that make the same secret at once one wins and all use it.
"""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from schemas.errors import OperatorError

FOLDER = "secrets"
FILE_MODE = 0o600
FOLDER_MODE = 0o700


def read_or_make(path: Path, make: Callable[[], bytes]) -> bytes:
    """The secret's bytes, made at the first call ever. Raises OperatorError."""
    try:
        if not path.exists():
            partial = _written_beside(path, make())
            try:
                # Unlike a rename, a link never replaces what another process has made meanwhile.
                os.link(partial, path)
            except FileExistsError:
                pass
            finally:
                partial.unlink()
        return read(path)
    except OSError as error:
        raise _unusable(path, error) from error


def read(path: Path) -> bytes:
    """The secret's bytes. Raises OperatorError for one that others can read, OSError."""
    if path.stat().st_mode & 0o077:
        raise OperatorError(f"Others can read the secret {path}.", f"chmod 600 {path}, and consider making it anew.")
    return path.read_bytes()


def write(path: Path, content: bytes) -> None:
    """Replaces the secret. Raises OperatorError."""
    try:
        _written_beside(path, content).replace(path)
    except OSError as error:
        raise _unusable(path, error) from error


def _written_beside(path: Path, content: bytes) -> Path:
    """A file with this content in the same folder, on disk."""
    path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    with os.fdopen(descriptor, "wb") as output:
        output.write(content)
        output.flush()
        os.fsync(output.fileno())
    return partial


def _unusable(path: Path, error: OSError) -> OperatorError:
    reason = os.strerror(error.errno or 0)
    return OperatorError(f"The secret {path} cannot be used ({reason}).", "Set IOC_DATA to a folder of yours.")
