"""What follows from an event that concerns a case?

Signals open cases and add to them, commands ask for steps, deadlines that have passed set off what was declared. Every event
in every state has an outcome: a change, or a refusal with its reason. `received_at` is now.
"""

from collections.abc import Mapping
from datetime import datetime

from schemas.case import Case, CaseId, Deadline
from schemas.event import AnyEvent, AreaId
from schemas.site import Site
from streams.core.scene import Decided as Decided
from streams.core.scene import Following as Following
from streams.core.scene import Judged as Judged
from streams.core.scene import Proposal as Proposal
from streams.core.scene import Scene as Scene
from streams.core.scene import Silenced as Silenced
from streams.core.scene import Step as Step


def decide(event: AnyEvent, area: AreaId, received_at: datetime, scene: Scene) -> Decided:
    """What one fresh event brings about. Never raises."""
    raise NotImplementedError


def deadlines_of(case: Case, site: Site) -> list[Deadline]:
    """All that is due to happen to a case as it is; each name once. They follow from the case alone."""
    raise NotImplementedError


def cases_needed(event: AnyEvent) -> tuple[CaseId, ...]:
    """The cases that a decision looks at, as far as the event itself says; from each, go on by `next_case`."""
    raise NotImplementedError


def next_case(case: Case, origin: CaseId) -> CaseId | None:
    """The case that deals with what came for `origin`, where this one passes it on: it was merged or split."""
    raise NotImplementedError


def units_needed(event: AnyEvent, cases: Mapping[CaseId, Case]) -> frozenset[str] | None:
    """The units whose state a decision looks at or changes; None: of every unit, because another one may be sent."""
    raise NotImplementedError


def signals_needed(event: AnyEvent, cases: Mapping[CaseId, Case]) -> tuple[tuple[str, str], ...]:
    """Stored events, by (source, id), that a decision may have to correct."""
    raise NotImplementedError


def wants_near(event: AnyEvent, site: Site) -> bool:
    """Whether the open cases near the event matter: it may open one that is another's."""
    raise NotImplementedError
