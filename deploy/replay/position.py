"""How far has a play got, so that the next run goes on where this one ended?

A small file in the data folder, replaced whole after every acknowledged batch. It also holds the play's anchor: a run
that goes on gives each event the same id and time as the run before, so what was sent twice is counted once.
"""

import hashlib
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from deploy.replay.timeline import Play

FOLDER = "replay"

T = TypeVar("T", bound=Struct)


class Position(Struct, frozen=True, kw_only=True):
    """The first `sent` events of the play, in its order, have been acknowledged; `rejected` of them were refused."""

    play: Play
    sent: int = 0
    rejected: int = 0


class PositionFile(Generic[T]):
    """The position, of type `kind`, of one recording played with one set of options."""

    def __init__(self, kind: type[T], data_dir: Path, name: str, *identity: object) -> None:
        """`identity` is the content's hash and every option that makes another play of it."""
        digest = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
        self.path = data_dir / FOLDER / f"{name}.{digest}.json"
        self._kind = kind

    def read(self) -> T | None:
        """The position; None when there is none or it is damaged, for then the play begins anew."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=self._kind)
        except (OSError, msgspec.DecodeError):
            return None

    def write(self, position: T) -> None:
        """Replaces the position; a reader sees the old or the new one whole."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f"{self.path.name}.partial")
        partial.write_bytes(msgspec.json.encode(position))
        partial.replace(self.path)

    def forget(self) -> None:
        """Removes it: the play is over, or is to begin anew."""
        self.path.unlink(missing_ok=True)
