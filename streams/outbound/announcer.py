"""How does a notice become letters?

In one transaction, with ids that follow from the notice and its receivers: a process that ends in the middle has done
nothing, and one that does it again adds nothing.
"""

from collections.abc import Callable
from importlib.resources import files

import msgspec

from schemas.case import Case, Entry
from schemas.errors import DependencyUnavailable
from schemas.personal import KeyRing, Reporter
from schemas.site import Site
from schemas.statements import parse_statements
from streams.core.letters import Posting, letters_of, subscribers_of
from streams.core.notice import SUBSCRIBERS, Notice, may_bring
from streams.outbound.channels import Failure
from streams.store.outbox import Claimed, Connection, Message, Outbox, enqueue
from streams.store.personal import contact_of

LETTERS = "to"
"""Before a channel's id in the outbox, with a colon: letters go there, everything else of that name does not."""

SQL = parse_statements((files("streams.outbound") / "letters.sql").read_text())

_JSON = "application/json"
_decode_notice = msgspec.json.Decoder(Notice).decode
_decode_case = msgspec.json.Decoder(Case).decode
_decode_entry = msgspec.json.Decoder(Entry).decode


class Announcer:
    """The channel of notices. `ring` opens how citizens can be reached; without it none is told."""

    def __init__(self, outbox: Outbox, site: Callable[[], Site], ring: KeyRing | None) -> None:
        """`site` gives the site pack in force."""
        self._outbox = outbox
        self._site = site
        self._ring = ring

    async def __call__(self, claimed: Claimed) -> Failure | None:
        """See `streams.outbound.channels.Channel`."""
        try:
            notice = _decode_notice(claimed.message.body)
        except msgspec.DecodeError as error:
            return Failure(reason=f"it is no notice: {error}", for_good=True)
        site = self._site()
        if not site.channels.template:
            return None
        try:
            async with self._outbox.connection() as connection, connection.transaction():
                return await self._announce(connection, site, claimed.message.id, notice)
        except DependencyUnavailable as error:
            return Failure(reason=str(error))

    async def _announce(self, connection: Connection, site: Site, id_: str, notice: Notice) -> Failure | None:
        row = await connection.fetchrow(SQL["read_case"], notice.case)
        if row is None:
            return Failure(reason=f"there is no case {notice.case}")
        case = _decode_case(row["body"])
        text = await _said(connection, notice)
        reporters = await self._reporters(connection, notice, case)
        for made in letters_of(site, id_, notice, case, reporters, text, row["now"]):
            message = Message(
                id=made.id,
                channel=f"{LETTERS}:{made.channel}",
                target=made.letter.to,
                content_type=_JSON,
                body=msgspec.json.encode(made.letter),
                due_at=made.due_at if isinstance(made, Posting) else None,
            )
            if isinstance(made, Posting):
                if made.line is not None:
                    await connection.execute(SQL["put_line"], made.id, id_, notice.at, made.line)
                await enqueue(connection, message)
            else:
                values = (message.id, message.channel, message.target, message.content_type, message.body)
                await connection.execute(SQL["put_given_up"], *values, made.reason)
        return None

    async def _reporters(self, connection: Connection, notice: Notice, case: Case) -> dict[str, Reporter]:
        """How the case's subscribers can be reached, those who can."""
        if SUBSCRIBERS not in notice.to or self._ring is None:
            return {}
        found: dict[str, Reporter] = {}
        for pseudonym in subscribers_of(case):
            reporter = await contact_of(connection, self._ring, pseudonym)
            if reporter is not None:
                found[pseudonym] = reporter
        return found


async def _said(connection: Connection, notice: Notice) -> str:
    """The words that go out with a notice; empty where there are none."""
    if notice.line is None:
        return ""
    body = await connection.fetchval(SQL["read_said"], notice.case, notice.line)
    if body is None:
        return ""
    entry = _decode_entry(body)
    # What is for those inside goes to nobody else, whatever a notice names.
    return entry.text if may_bring(notice.why, entry) else ""
