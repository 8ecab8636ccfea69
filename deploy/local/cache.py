"""Where do downloaded programs live, and how do two processes not download them twice?

One folder per user and program version. It is made under another name and renamed when complete, so what
carries the final name is whole; a lock file makes the second process wait for the first.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from deploy.local import manifest
from deploy.local.errors import OperatorError

Build = Callable[[Path, Path], None]
"""Fills the first folder with what will live at the second."""


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Holds an exclusive lock on the file at `path`; the kernel frees it when the holder dies."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise OperatorError(
            f"The cache {path.parent} cannot be written ({error.strerror}).",
            "Set IOC_CACHE to a folder of yours.",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def provision(final: Path, build: Build) -> Path:
    """Returns the folder `final`, building it when it is absent, unfinished or changed."""
    name = final.name
    if not manifest.faults(final, full=False):
        return final
    with locked(final.parent / f".{name}.lock"):
        # Whoever held the lock before may have done the work.
        if not manifest.faults(final, full=False):
            return final
        for leftover in final.parent.glob(f".{name}.partial*"):
            shutil.rmtree(leftover, ignore_errors=True)
        partial = final.parent / f".{name}.partial{os.getpid()}"
        partial.mkdir()
        try:
            build(partial, final)
            _readable_by_all(partial)
            manifest.write(partial, final)
            if final.exists():
                shutil.rmtree(final)
            partial.rename(final)
        except OSError as error:
            raise OperatorError(
                f"{final} could not be made ({error}).", "Free some disk space or set IOC_CACHE."
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return final


def _readable_by_all(folder: Path) -> None:
    # A strict umask would otherwise lock out the user that PostgreSQL runs as.
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if path.is_dir() or mode & 0o100 else 0))
