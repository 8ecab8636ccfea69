"""Where does a rule keep silent because somebody asked for it?"""

from schemas.command import Silence
from schemas.event import CaseCommand
from streams.alerts.statements import SQL
from streams.store.cells import Connection

SUBJECT = "alert:"
"""What the subject of a command about a rule begins with."""


async def apply_silence(connection: Connection, command: CaseCommand) -> bool:
    """Takes a command that was decided to be applied, in the caller's transaction. False when it was there already.

    Its action is a `Silence`, its subject `alert:<rule>`, and its area a code of the present list.
    """
    wanted = command.data.do
    assert isinstance(wanted, Silence), "only silences are applied here"
    assert command.subject is not None
    assert command.subject.startswith(SUBJECT)
    tag = await connection.execute(
        SQL["silence"],
        command.source,
        command.id,
        command.subject.removeprefix(SUBJECT),
        wanted.area,
        wanted.until,
        wanted.reason,
        command.data.actor.id,
        command.time,
    )
    return tag.endswith(" 1")
