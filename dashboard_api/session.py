"""What is one live client told, and when?

This is the protocol without its sockets. The shell passes in what the client said, what the database answered and
what the feed brought, and sends out what `take` gives. A client subscribes before its snapshot is read, so what is
committed in between waits here; what the snapshot holds already is then dropped.

    IDLE ──subscribe──▶ ASKED ──begin_read──▶ READING ──answered──▶ LIVE
                          ▲                      │                   │
                          └──── read_failed ─────┴─ subscribe, reset ┘
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from dashboard_api import messages
from dashboard_api.config import Bounds
from dashboard_api.conflation import Flush, NewEvent, Pending
from dashboard_api.live_cases import LiveCase
from dashboard_api.messages import DatabaseState, FeedState, StreamsState
from dashboard_api.outgoing import Message
from dashboard_api.position import Position
from dashboard_api.refusal import Refused
from dashboard_api.subscription import Subscription
from dashboard_api.touched import Point, oldest_shown_s
from schemas.command import Actor
from schemas.identity import NOBODY, may_see

NOTICES_MAX = 32
"""Errors and states that wait for one client. Further ones are dropped: it reads nothing, and is closed for that."""


EARLY_MAX = 4_000
"""Changed cases that wait for a client's own answer. At it the database is asked again."""


class Phase(StrEnum):
    """Where a client stands between its wish and its live values."""

    IDLE = "idle"
    ASKED = "asked"
    READING = "reading"
    LIVE = "live"


class SnapshotReason(StrEnum):
    """Why a client that had a position gets a whole snapshot nevertheless."""

    EPOCH_CHANGED = "epoch_changed"
    POSITION_TOO_OLD = "position_too_old"
    UNREADABLE_CHANGE = "unreadable_change"
    RELOAD = "reload"  # the site pack or what was counted has changed as a whole: ask for the catalogue again, too


class Rights(Struct, frozen=True):
    """Who the client is, by now: the units that are shown to it, and the source of its own commands."""

    actor: Actor
    units: frozenset[str] = frozenset()
    source: str = ""


NO_RIGHTS = Rights(NOBODY)
"""Of whoever has not signed in where one has to."""


class ReadRequest(Struct, frozen=True):
    """The database is to be asked. `token` tells this request's answer from that of an overtaken one."""

    token: int
    subscription: Subscription
    reason: SnapshotReason | None
    rights: Rights = NO_RIGHTS


class Handling(Struct, frozen=True, kw_only=True):
    """The cases and units that a client shows, whole; None where it shows none. Cases come with their ids.

    `has_more`: there are cases for which its list has no room. `outcomes` are those since its position.
    """

    cases: Sequence[tuple[str, str]] | None = None
    has_more: bool = False
    units: Sequence[str] | None = None
    outcomes: Sequence[str] = ()


NO_HANDLING = Handling()


class Snapshot(Struct, frozen=True, kw_only=True):
    """All that a client shows, as of `position`."""

    position: Position
    reason: SnapshotReason | None
    series: Sequence[str]
    events: Sequence[str]
    sources: Sequence[str]
    handling: Handling = NO_HANDLING


class Resumption(Struct, frozen=True, kw_only=True):
    """What changed since the client's own position, up to `position`."""

    position: Position
    values: Sequence[str]
    events: Sequence[str]
    events_skipped: int
    sources: Sequence[str]
    handling: Handling = NO_HANDLING


class Outgoing(Struct, frozen=True):
    """Messages to send, in order. `flush` is what the last of them carries, for the metrics."""

    messages: list[Message]
    flush: Flush | None = None

    @property
    def texts(self) -> list[str]:
        """Their JSON."""
        return [message.text for message in self.messages]


class LiveSession:
    """One client. `on_ready` is called when there may be something to take or to read."""

    def __init__(self, on_ready: Callable[[], None], cases_max: int = Bounds().cases_max) -> None:
        self.phase = Phase.IDLE
        self.rights = NO_RIGHTS
        self._cases_max = cases_max
        # The cases that the client shows, so that it is told of none that it never saw; and before it is known which
        # these are, what the feed has brought: the case's text, or None where it is not among them.
        self._shown: set[str] = set()
        self._early: dict[str, tuple[int, str | None]] = {}
        self.subscription: Subscription | None = None
        self.position: Position | None = None
        self._on_ready = on_ready
        self._pending = Pending(0)
        self._areas: frozenset[str] = frozenset()
        self._reason: SnapshotReason | None = None
        self._token = 0
        # The answer holds everything up to here, and the feed may be behind it.
        self._covered_xid = -1
        self._answer: Snapshot | Resumption | None = None
        self._notices: list[str] = []
        self._waited_s = 0.0
        self._streams: StreamsState | None = None

    @property
    def waiting(self) -> int:
        """How many values, events, sources and notices wait to be taken."""
        return len(self._pending) + len(self._notices)

    def subscribe(
        self, subscription: Subscription, rights: Rights = NO_RIGHTS, reason: SnapshotReason | None = None
    ) -> None:
        """The client wants this instead of what it had. Register it with the hub before the next `begin_read`."""
        self.rights = rights
        self.subscription = subscription
        self._areas = frozenset(subscription.areas)
        self._ask(reason)

    def refuse(self, refused: Refused) -> None:
        """The client's message made no sense; its subscription goes on."""
        self._notify(messages.error_text(refused))

    def reset(self, reason: SnapshotReason) -> None:
        """Changes cannot be told one by one: the client needs a new snapshot."""
        if self.subscription is not None:
            self._ask(reason)

    def tell_status(self, database: DatabaseState) -> None:
        """The database went away or came back."""
        self._notify(messages.status_text(database))

    def begin_read(self) -> ReadRequest | None:
        """What to ask the database, once; None when there is nothing to ask."""
        if self.phase is not Phase.ASKED or self.subscription is None:
            return None
        self.phase = Phase.READING
        return ReadRequest(self._token, self.subscription, self._reason, self.rights)

    def read_failed(self, token: int) -> None:
        """The database did not answer; the next `begin_read` asks again."""
        if token == self._token and self.phase is Phase.READING:
            self.phase = Phase.ASKED

    def answered(self, token: int, answer: Snapshot | Resumption) -> None:
        """The database's answer. One to an overtaken request is ignored."""
        if token != self._token or self.phase is not Phase.READING:
            return
        self.phase = Phase.LIVE
        self.position = answer.position
        self._answer = answer
        self._covered_xid = answer.position.xid
        self._pending.drop_through(answer.position.xid)
        self._shown = {id_ for id_, _ in answer.handling.cases or ()}
        early, self._early = self._early, {}
        for id_, (xid, text) in early.items():
            if xid > answer.position.xid:
                self._tell_case(id_, xid, text)
        self._on_ready()

    def offer_value(self, point: Point, xid: int, text: str, now_s: float) -> bool:
        """A touched bucket's value as of `xid`. False when the client has it or shows nothing so old."""
        assert self.subscription is not None, "the hub offers only what was subscribed to"
        if xid <= self._covered_xid or point.bucket_s < oldest_shown_s(now_s, point.tier, self.subscription.points):
            return False
        self._pending.put_value(point, xid, text)
        return True

    def offer_event(self, event: NewEvent) -> bool:
        """A new event. False when the client has it, shows no list, or it lies outside the client's areas."""
        if self.subscription is None or self.subscription.events == 0 or event.xid <= self._covered_xid:
            return False
        if self._areas.isdisjoint(event.path) or not event.is_for(self.rights.actor):
            return False
        self._pending.put_event(event)
        return True

    def skip_events(self, count: int) -> None:
        """The feed itself left out `count` events, for there were more than any list shows."""
        if self.subscription is not None and self.subscription.events:
            self._pending.skip_events(count)

    def offer_source(self, source: str, xid: int, text: str) -> bool:
        """The new word on a source. False when the client does not show sources."""
        if self.subscription is None or not self.subscription.sources or xid <= self._covered_xid:
            return False
        self._pending.put_source(source, xid, text)
        return True

    def offer_case(self, one: LiveCase, xid: int) -> bool:
        """A case as it is now. One that the client may not see, or does not want, is gone if it was shown before."""
        wanted = None if self.subscription is None else self.subscription.cases
        if wanted is None or xid <= self._covered_xid:
            return False
        takes = wanted.takes(one.case) and may_see(self.rights.actor, one.seen)
        text = one.text if takes else None
        if self.phase is Phase.LIVE:
            return self._tell_case(one.case.id, xid, text)
        if len(self._early) >= EARLY_MAX and one.case.id not in self._early:
            # More than is worth keeping happens while the answer is read: the next answer will hold it.
            self._ask(self._reason)
            return False
        self._early[one.case.id] = (xid, text)
        return False

    def offer_unit(self, unit: str, xid: int, text: str) -> bool:
        """A unit as it is now. False when the client does not show it."""
        if self.subscription is None or not self.subscription.units or xid <= self._covered_xid:
            return False
        if unit not in self.rights.units:
            return False
        self._pending.put_unit(unit, xid, text)
        return True

    def offer_outcome(self, source: str, xid: int, text: str) -> bool:
        """What became of a command. False when it is not the client's own."""
        if self.subscription is None or not self.subscription.commands or xid <= self._covered_xid:
            return False
        if source != self.rights.source:
            return False
        self._pending.put_outcome(xid, text)
        return True

    def offered(self, xid: int, committed_at: datetime | None) -> None:
        """That was all of a batch as of `xid`, and this client has a part in it."""
        if committed_at is not None:
            self._pending.put_commit(xid, committed_at)
        if self.phase is Phase.LIVE:
            self._on_ready()

    def lagged(self, waited_s: float) -> None:
        """A message had to wait this long for the client: it is told so with the next one."""
        self._waited_s = max(self._waited_s, waited_s)

    def take(self, feed: Position | None, now: datetime) -> Outgoing:
        """All that can be said now. `feed` is how far the feed has come; everything up to it has been offered."""
        texts, self._notices = self._notices, []
        if self.phase is not Phase.LIVE or self.position is None:
            return Outgoing([Message(text) for text in texts])
        if self._answer is not None:
            texts.append(_answer_text(self._answer, now))
            self._answer = None
        # The feed may be behind the client's own snapshot, and its epoch changes only with a reset.
        if feed is not None and feed > self.position:
            self.position = feed
        replaced = self._pending.replaced
        if not self._pending:
            return Outgoing([Message(text) for text in texts])
        if self._waited_s:
            texts.append(messages.lagging_text(self._waited_s, replaced))
            self._waited_s = 0.0
        flush = self._pending.take()
        texts.append(
            messages.change_text(
                self.position,
                now,
                flush.values,
                [event.text for event in flush.events],
                flush.events_skipped,
                flush.sources,
                handling=messages.handling_text(
                    flush.cases or None,
                    flush.cases_gone,
                    flush.units or None,
                    flush.outcomes,
                    has_more=flush.has_more_cases,
                ),
            )
        )
        return Outgoing([Message(text) for text in texts], flush)

    def wake(self) -> None:
        """Something outside the subscription may have to be said."""
        self._on_ready()

    def owes_heartbeat(self, streams: StreamsState) -> bool:
        """Whether the client was last told otherwise: that counting stopped does not wait for the next heartbeat."""
        return self._streams != streams

    def heartbeat(self, now: datetime, feed: FeedState, streams: StreamsState) -> str:
        """A sign of life. Take first: the position that it names covers all that was taken."""
        self._streams = streams
        return messages.heartbeat_text(self.position if self.phase is Phase.LIVE else None, now, feed, streams)

    def _ask(self, reason: SnapshotReason | None) -> None:
        self._token += 1
        self.phase = Phase.ASKED
        self.position = None
        self._reason = reason
        self._answer = None
        self._covered_xid = -1
        self._shown = set()
        self._early = {}
        self._pending = Pending(self.subscription.events if self.subscription else 0)
        self._on_ready()

    def _tell_case(self, id_: str, xid: int, text: str | None) -> bool:
        if text is None:
            if id_ not in self._shown:
                return False
            self._shown.discard(id_)
        elif id_ not in self._shown:
            if len(self._shown) >= self._cases_max:
                self._pending.note_more_cases()
                return True
            self._shown.add(id_)
        self._pending.put_case(id_, xid, text)
        return True

    def _notify(self, text: str) -> None:
        if len(self._notices) < NOTICES_MAX:
            self._notices.append(text)
            self._on_ready()


def _answer_text(answer: Snapshot | Resumption, now: datetime) -> str:
    whole = answer.handling
    handling = messages.handling_text(
        None if whole.cases is None else [text for _, text in whole.cases],
        (),
        whole.units,
        whole.outcomes,
        has_more=whole.has_more,
    )
    if isinstance(answer, Snapshot):
        return messages.snapshot_text(
            answer.position, now, answer.reason, answer.series, answer.events, answer.sources, handling=handling
        )
    return messages.change_text(
        answer.position,
        now,
        answer.values,
        answer.events,
        answer.events_skipped,
        answer.sources,
        resumed=True,
        handling=handling,
    )
