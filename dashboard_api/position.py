"""How far has a client seen what the database committed?

A position covers every transaction up to and including `xid`, within one epoch of the database. Transaction ids are
not in commit order, so a position is only ever taken below the oldest transaction that is still running: nothing can
be committed at or below it any more.
"""

import re

from msgspec import Struct

_TEXT = re.compile(r"(\d{1,18})-(\d{1,18})", re.ASCII)


class Position(Struct, frozen=True, order=True):
    """Everything up to `xid` in `epoch`. Written `<epoch>-<xid>`."""

    epoch: int
    xid: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.xid}"


def parse_position(text: str) -> Position | None:
    """Reads `<epoch>-<xid>`; None when the text is not one."""
    match = _TEXT.fullmatch(text)
    return Position(int(match[1]), int(match[2])) if match else None
