"""Who has to be told what about a case?

A notice says whom, why and when; what the words are and by which channel they go is decided where they are sent.
"""

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from schemas.case import Case, CaseId, Entry
from schemas.notice import Why as Why

SUBSCRIBERS = "subscribers"
"""Everyone who reported the case, and whoever follows it by a tracking secret."""


TO_UNITS = "units"
"""What a note's line says in `to` when it was written to the units on the case."""


class Notice(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message to be sent. `detail` holds words and numbers only, for the text that is made of it.

    `to`        person ids, `unit:<id>`, `agency:<id>` or `subscribers`
    `exercise`  it is about a drill, and has to say so
    `line`      the number of the line in the case's timeline whose words it brings; None where nothing was written
    """

    case: CaseId
    to: tuple[str, ...]
    why: Why
    at: datetime
    detail: dict[str, str | int | float | bool | None] = {}
    exercise: bool = False
    line: int | None = None


def may_bring(why: Why, entry: Entry) -> bool:
    """Whether the words of a line may go out: what is public, and to units what was written to them."""
    return (entry.action == "note" and entry.detail.get("to") == TO_UNITS) if why is Why.MESSAGE else entry.public


def with_line(notice: Notice, entries: Iterable[Entry]) -> Notice:
    """The notice with the last line that may go out with it, of those that the same decision has written."""
    lines = [one.number for one in entries if one.case == notice.case and may_bring(notice.why, one)]
    return replace(notice, line=lines[-1]) if lines else notice


def to_unit(unit: str) -> str:
    """How a notice names a unit."""
    return f"unit:{unit}"


def to_agency(agency: str) -> str:
    """How a notice names an agency."""
    return f"agency:{agency}"


def has_subscribers(case: Case) -> bool:
    """Whether anybody outside reported it or follows it."""
    return bool(case.tracking) or any(member.subscriber is not None for member in case.members)
