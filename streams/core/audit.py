"""Has anybody changed what was decided?

Each row of an audit chain carries a hash over the row before it and its own body: nothing can be edited, taken out or
moved without every hash after it being wrong. Where a chain ends is kept apart from it, so that a missing end is
seen; and a head that was written down elsewhere shows a chain that somebody has made anew as a whole.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import msgspec
from msgspec import Struct

from schemas.case import Case, CaseId, Refusal, State

START = bytes(32)
"""What the first row of a chain has before it."""


class CaseAfter(Struct, frozen=True, array_like=True):
    """A case as a decision left it. `digest` is the SHA-256 of its body, in hexadecimal digits."""

    id: CaseId
    version: int
    state: State
    digest: str


class Record(Struct, frozen=True, kw_only=True):
    """One decision, as the audit log has it: who wanted what of whom, what came of it, and by what.

    `what`    the command's name, or the type of the signal
    `event`   the SHA-256 of the event that was decided on. Its text is not here: what is personal can be erased, and
              this cannot
    `detail`  of a `reveal`: `what` was shown, and the `reason`
    """

    recorded_at: datetime
    at: datetime
    what: str
    subject: str
    source: str
    id: str
    event: str
    actor: str = ""
    roles: tuple[str, ...] = ()
    exercise: bool = False
    refusal: Refusal | None = None
    cases: tuple[CaseAfter, ...] = ()
    units: tuple[str, ...] = ()
    detail: dict[str, str] = {}


class Head(NamedTuple):
    """Where a chain stands: the number of its last row, 0 when it has none, and that row's hash."""

    chain: int
    number: int = 0
    hash: bytes = START


class Link(NamedTuple):
    """A row of a chain. `recorded_at` and `subject` repeat what the body says, to be found by."""

    number: int
    recorded_at: datetime
    subject: str
    body: bytes
    hash: bytes


def digest(raw: bytes) -> str:
    """The SHA-256 in hexadecimal digits."""
    return hashlib.sha256(raw).hexdigest()


def case_after(case: Case, body: bytes) -> CaseAfter:
    """What the audit log says of a case; `body` is how it is stored."""
    return CaseAfter(case.id, case.version, case.state, digest(body))


def body_of(record: Record) -> bytes:
    """The record as it is hashed and stored: the same record gives the same bytes."""
    return msgspec.json.encode(record, order="deterministic")


def read_body(body: bytes) -> Record:
    """What `body_of` has written. Raises msgspec.MsgspecError for what it cannot have written."""
    return msgspec.json.decode(body, type=Record)


def hash_of(previous: bytes, body: bytes) -> bytes:
    """The hash of a row whose predecessor has the hash `previous`."""
    return hashlib.sha256(previous + body).digest()


def linked(head: Head, records: Iterable[Record]) -> list[Link]:
    """The rows that put these records behind a chain's head."""
    links: list[Link] = []
    number, previous = head.number, head.hash
    for record in records:
        body = body_of(record)
        number, previous = number + 1, hash_of(previous, body)
        links.append(Link(number, record.recorded_at, record.subject, body, previous))
    return links


class Flaw(NamedTuple):
    """Where a chain is not what it was, and what is wrong there."""

    chain: int
    number: int
    reason: str


class Following:
    """Follows one chain from its first row. Once it has found a flaw, what comes after that proves nothing."""

    def __init__(self, chain: int, kept: Iterable[Head] = ()) -> None:
        """`kept` are heads of this chain that were written down elsewhere."""
        self.head = Head(chain)
        self.flaw: Flaw | None = None
        self._kept: dict[int, list[bytes]] = {}
        for one in kept:
            self._kept.setdefault(one.number, []).append(one.hash)

    def follow(self, link: Link) -> Flaw | None:
        """Takes the next row by number. Returns what is wrong, if anything is."""
        if self.flaw is None:
            self.flaw = self._wrong(link)
            self.head = Head(self.head.chain, link.number, link.hash)
        return self.flaw

    def end(self, head: Head | None) -> Flaw | None:
        """Says after the last row whether the chain has to end there; a head of None: nothing was ever begun."""
        if self.flaw is not None:
            return self.flaw
        wanted = head or Head(self.head.chain)
        if wanted.number > self.head.number:
            missing = _numbers(self.head.number + 1, wanted.number)
            self.flaw = self._flaw(self.head.number + 1, f"{missing} missing at the end")
        elif wanted.number < self.head.number:
            beyond = _numbers(wanted.number + 1, self.head.number)
            self.flaw = self._flaw(wanted.number + 1, f"{beyond} beyond where the chain is said to end")
        elif wanted.hash != self.head.hash:
            self.flaw = self._flaw(wanted.number, "the chain is said to end with another hash than its last row has")
        elif late := [number for number in self._kept if number > self.head.number]:
            self.flaw = self._flaw(
                self.head.number + 1, f"the chain ends before row {max(late)}, which was written down"
            )
        return self.flaw

    def _wrong(self, link: Link) -> Flaw | None:
        expected = self.head.number + 1
        if link.number != expected:
            return self._flaw(expected, f"{_numbers(expected, link.number - 1)} missing")
        if link.hash != hash_of(self.head.hash, link.body):
            return self._flaw(expected, "it does not follow from the row before it: one of them was edited or moved")
        if any(link.hash != hash_ for hash_ in self._kept.get(expected, ())):
            return self._flaw(expected, "its hash is not the one that was written down: the chain was made anew")
        try:
            record = read_body(link.body)
        except msgspec.MsgspecError as error:
            return self._flaw(expected, f"its body cannot be read: {error}")
        if (record.recorded_at, record.subject) != (link.recorded_at, link.subject):
            return self._flaw(expected, "what it is found by is not what its body says")
        return None

    def _flaw(self, number: int, reason: str) -> Flaw:
        return Flaw(self.head.chain, number, reason)


def _numbers(first: int, last: int) -> str:
    return f"row {first} is" if first == last else f"rows {first} to {last} are"


def head_line(head: Head) -> str:
    """A head as a person keeps it."""
    return f"{head.chain} {head.number} {head.hash.hex()}"


def parse_head(line: str) -> Head:
    """What `head_line` has written. Raises ValueError."""
    chain, number, hash_ = line.split()
    return Head(int(chain), int(number), bytes.fromhex(hash_))
