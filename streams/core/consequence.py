"""What does the centre itself put on the log, because of a case?

Steps of cases, commands that follow from a decision, and deadlines that have passed. Each has an identity that
follows from its cause, so that one which is sent twice is one event.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from schemas.area import AreaTree
from schemas.case import Case, Deadline, pair_of
from schemas.command import Actor, Command, DeadlinePassed
from schemas.event import AnyEvent, AreaCode, AreaId, CaseCommand, CaseStep, CaseStepped, OnDuty, UnitOnDuty
from schemas.identity import Role
from schemas.topics import key_of, topic_of
from schemas.unit import Unit
from streams.core.duty import WITHIN, Duty
from streams.core.scene import Following

SYSTEM = "ioc.streams"
"""The source of what `streams` itself causes, and the id of the actor."""

HOUR_PASSED = "hour"
"""The deadline that every full hour is to a unit."""

SYSTEM_ACTOR = Actor(id=SYSTEM, roles=(Role.SYSTEM,), sees_all=True)


class Outgoing(NamedTuple):
    """An event on its way to the log. `id` is the outbox's name of it; topic and key say where it goes."""

    id: str
    topic: str
    key: str
    body: bytes

    @property
    def target(self) -> str:
        """Where the outbox says it goes."""
        return f"{self.topic}/{self.key}"


class Cause(NamedTuple):
    """What something follows from: an event's identity, and when the centre took it in."""

    source: str
    id: str
    received_at: datetime

    @property
    def name(self) -> str:
        """The same for the same cause, and short."""
        return hashlib.blake2b(pair_of(self.source, self.id).encode(), digest_size=12).hexdigest()


def outgoing(event: AnyEvent) -> Outgoing:
    """An event of ours as it is put into the outbox."""
    key = key_of(event).decode()
    return Outgoing(f"log:{event.source}:{event.id}", topic_of(event).name, key, msgspec.json.encode(event))


def step_id(cause: Cause, number: int) -> str:
    """The identity of the step with this number of those that one cause has made cases take."""
    return f"step:{cause.name}:{number}"


def stepped(areas: AreaTree, cause: Cause, steps: Sequence[tuple[Case, datetime, CaseStep]]) -> Iterator[CaseStepped]:
    """The events of the steps that one cause has made cases take, each at its time."""
    for number, (case, at, step) in enumerate(steps):
        code, list_id = _where(areas, case.area)
        yield CaseStepped(
            specversion="1.0",
            id=step_id(cause, number),
            source=SYSTEM,
            subject=case.id,
            time=at,
            area=code,
            area_list=list_id,
            received_at=cause.received_at,
            exercise=case.exercise,
            data=step,
        )


def told_of_duty(areas: AreaTree, cause: Cause, duties: Sequence[Duty], *, exercise: bool) -> Iterator[UnitOnDuty]:
    """The events of the time that units were on duty, which one cause has made known."""
    for number, duty in enumerate(duties):
        area = areas.present.get(duty.unit.area)
        code, list_id = _where(areas, areas.root.id if area is None else area.id)
        yield UnitOnDuty(
            specversion="1.0",
            id=f"duty:{cause.name}:{number}",
            source=SYSTEM,
            subject=f"unit:{duty.unit.id}",
            time=duty.until - WITHIN,
            area=code,
            area_list=list_id,
            received_at=cause.received_at,
            exercise=exercise,
            data=OnDuty(unit=duty.unit.id, agency=duty.unit.agency, seconds=duty.seconds),
        )


def following(
    areas: AreaTree, cause: Cause, commands: Sequence[Following], *, exercise: bool
) -> Iterator[CaseCommand]:
    """The commands that follow from one cause, each for a case in an area."""
    at = cause.received_at
    for number, asked in enumerate(commands):
        yield own_command(areas, f"then:{cause.name}:{number}", asked, at, at, exercise=exercise)


def passed(
    areas: AreaTree, deadline: Deadline, version: int, area: AreaId, now: datetime, *, exercise: bool
) -> CaseCommand:
    """The command that a deadline becomes when it is due, of the case as it is at `version`.

    A case that was merged for a while comes back with the deadline that it had. It is another command then: the
    first one may have come while it counted for nothing.
    """
    due_at = deadline.due_at.astimezone(UTC)
    id_ = f"deadline:{deadline.case}:{deadline.name}:{due_at.isoformat()}:{version}"
    action = DeadlinePassed(name=deadline.name, due_at=due_at)
    return own_command(areas, id_, Following(deadline.case, area, action), due_at, now, exercise=exercise)


def hour_passed(areas: AreaTree, unit: Unit, hour: datetime, now: datetime) -> CaseCommand:
    """The command that the end of an hour is to a unit: its time on duty is told up to then."""
    due_at = hour.astimezone(UTC)
    area = areas.present.get(unit.area)
    code, list_id = _where(areas, areas.root.id if area is None else area.id)
    return CaseCommand(
        specversion="1.0",
        id=f"hour:{unit.id}:{due_at.isoformat()}",
        source=SYSTEM,
        subject=f"unit:{unit.id}",
        time=due_at,
        area=code,
        area_list=list_id,
        received_at=now,
        data=Command(do=DeadlinePassed(name=HOUR_PASSED, due_at=due_at), actor=SYSTEM_ACTOR),
    )


def own_command(
    areas: AreaTree, id_: str, asked: Following, at: datetime, now: datetime, *, exercise: bool
) -> CaseCommand:
    """What the centre itself asks for about a case, as of `at`."""
    code, list_id = _where(areas, asked.area)
    return CaseCommand(
        specversion="1.0",
        id=id_,
        source=SYSTEM,
        subject=asked.case,
        time=at,
        area=code,
        area_list=list_id,
        received_at=now,
        exercise=exercise,
        data=Command(do=asked.action, actor=SYSTEM_ACTOR),
    )


def _where(areas: AreaTree, area: AreaId) -> tuple[AreaCode, str]:
    """Code and list of an area; of one that the map does not have any more the whole site's."""
    found = areas.or_root(area)
    return found.code, found.list_id
