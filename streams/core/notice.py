"""Who has to be told what about a case?

A notice says whom, why and when; what the words are and by which channel they go is decided where they are sent.
"""

from datetime import datetime

from msgspec import Struct

from schemas.case import Case, CaseId
from schemas.notice import Why as Why

SUBSCRIBERS = "subscribers"
"""Everyone who reported the case, and whoever follows it by a tracking secret."""


class Notice(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message to be sent. `detail` holds words and numbers only, for the text that is made of it.

    `to`        person ids, `unit:<id>`, `agency:<id>` or `subscribers`
    `exercise`  it is about a drill, and has to say so
    """

    case: CaseId
    to: tuple[str, ...]
    why: Why
    at: datetime
    detail: dict[str, str | int | float | bool | None] = {}
    exercise: bool = False


def to_unit(unit: str) -> str:
    """How a notice names a unit."""
    return f"unit:{unit}"


def to_agency(agency: str) -> str:
    """How a notice names an agency."""
    return f"agency:{agency}"


def has_subscribers(case: Case) -> bool:
    """Whether anybody outside reported it or follows it."""
    return bool(case.tracking) or any(member.subscriber is not None for member in case.members)
