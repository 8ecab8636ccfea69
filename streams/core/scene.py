"""What may a decision about a case look at, and what may come of it?

Values only. The store reads a `Scene` under locks, `decide` says what follows, and the store writes that: in one
transaction, so that nothing else decides in between.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias

from msgspec import Struct

from schemas.area_id import AreaId
from schemas.case import Case, CaseId, Entry, Refusal
from schemas.command import AnyAction
from schemas.event import (
    AnyEvent,
    CaseStep,
    CaseStepped,
    FeedbackAnswered,
    FeedbackClosed,
    FeedbackRated,
    FeedbackReceived,
    FeedbackReopened,
)
from schemas.site import Site
from schemas.unit import UnitState
from streams.core.duty import Duty
from streams.core.notice import Notice

NEAR_MAX = 50
"""Open cases near a new one that are looked at for proposals: the nearest."""


class Scene(Struct, frozen=True, kw_only=True):
    """All that is known when an event is decided.

    `cases`    by id, as far as they exist: those of `cases_needed`, and of each the ones that `next_case` leads to
    `units`    what is known of units, by id: at least those of `units_needed`. One never heard of may be left out
    `signals`  stored events by (source, id): those of `signals_needed`
    `homes`    the case that a signal is of, wherever splits have put it, by (source, id): that of `home_needed`. If
               that one was merged into another, the signal is there with it. What corrects a signal is where that is
    `ways`     of `home_needed` the ids of what it corrects, and what that corrects, as far as they are kept: itself
               first, the signal that it began with last
    `near`     open cases near a new one (`wants_near`): within the site's radius and time, at most `NEAR_MAX`
    """

    site: Site
    cases: Mapping[CaseId, Case] = {}
    units: Mapping[str, UnitState] = {}
    signals: Mapping[tuple[str, str], AnyEvent] = {}
    homes: Mapping[tuple[str, str], CaseId] = {}
    ways: Mapping[tuple[str, str], Sequence[str]] = {}
    near: Sequence[Case] = ()


class Proposal(Struct, frozen=True, kw_only=True):
    """Two open cases may be one: `case` is the newer. `reasons` say what made the score, which is from 0 to 1."""

    case: CaseId
    other: CaseId
    score: float
    reasons: tuple[str, ...]


class Judged(Struct, frozen=True, kw_only=True):
    """Somebody said what two cases are to each other. The row of `proposal` may name them in either order."""

    case: CaseId
    other: CaseId
    state: Literal["merged", "dismissed"]


class Silenced(Struct, frozen=True, kw_only=True):
    """An alert rule opens nothing until a moment; `area` is an area's id, None is everywhere."""

    rule: str
    until: datetime
    area: str | None
    by: str
    reason: str


class Step(NamedTuple):
    """A step that a case took, to be counted: see `streams.core.consequence.stepped`."""

    case: Case
    at: datetime
    data: CaseStep


class Following(NamedTuple):
    """A command that follows from a decision: see `streams.core.consequence.following`."""

    case: CaseId
    area: AreaId
    action: AnyAction


Corrected: TypeAlias = (
    FeedbackReceived | FeedbackAnswered | FeedbackClosed | FeedbackReopened | FeedbackRated | CaseStepped
)
"""An event that replaces one that was counted, or takes it back."""


class Decided(Struct, frozen=True, kw_only=True):
    """What follows from one event. Refused: nothing but `refusal` and `detail`, and what the current state is.

    `subject`   the case or unit that it was decided on, after merges; None where there is none, or none to be known
    `cases`     new versions of all that changed; each version is one more than the scene's (1 for a new case)
    `entries`   lines for timelines, also of cases that did not change otherwise; their `number` is 0: the store's
    `units`     new versions of what is known of units
    `steps`     facts to be counted, `commands` what follows by itself; both go onto the log
    `duties`    units' time on duty, to be counted; it goes there, too
    `signals`   corrections of what was counted for the case, whole and with their identity; they go there, too
    `silenced`, `erased`  what a command about an alert rule or a person asks for
    """

    refusal: Refusal | None = None
    detail: str = ""
    subject: CaseId | str | None = None
    cases: tuple[Case, ...] = ()
    entries: tuple[Entry, ...] = ()
    units: tuple[UnitState, ...] = ()
    steps: tuple[Step, ...] = ()
    commands: tuple[Following, ...] = ()
    duties: tuple[Duty, ...] = ()
    signals: tuple[Corrected, ...] = ()
    notices: tuple[Notice, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    judged: tuple[Judged, ...] = ()
    silenced: tuple[Silenced, ...] = ()
    erased: tuple[str, ...] = ()


NOTHING = Decided()
"""What follows from an event that concerns no case."""
