"""What is one live client told, and when?

This is the protocol without its sockets. The shell passes in what the client said, what the database answered and
what the feed brought, and sends out what `take` gives. A client subscribes before its snapshot is read, so what is
committed in between waits here; what the snapshot holds already is then dropped.

    IDLE ──subscribe──▶ ASKED ──begin_read──▶ READING ──answered──▶ LIVE
                          ▲                      │                   │
                          └──── read_failed ─────┴─ subscribe, reset ┘
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec
from msgspec import Struct

from dashboard_api import messages
from dashboard_api.config import Bounds
from dashboard_api.conflation import Flush, Part, Pending, change_message
from dashboard_api.messages import DatabaseState, FeedState, StreamsState
from dashboard_api.outgoing import Message
from dashboard_api.position import Position
from dashboard_api.refusal import Refused
from dashboard_api.subscription import Subscription
from schemas.command import Actor
from schemas.identity import NOBODY

NOTICES_MAX = 32
"""Errors and states that wait for one client. Further ones are dropped: it reads nothing, and is closed for that."""


SHARED_FOR = timedelta(seconds=0.5)
"""A message that was put together longer ago is put together anew, for it says what time it is."""

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


class _Told(Struct, kw_only=True):
    """An answer. `told` is what was made of it last, and when."""

    told: tuple[datetime, Message] | None = None


class Snapshot(_Told, kw_only=True):
    """All that a client shows, as of `position`."""

    position: Position
    reason: SnapshotReason | None
    series: Sequence[str]
    events: Sequence[str]
    sources: Sequence[str]
    handling: Handling = NO_HANDLING


class Resumption(_Told, kw_only=True):
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


class News:
    """What one batch of changes, those after `after_xid`, says to the clients of one audience.

    `cases` are told as `Part` has them, to those who show them or are to show them: which these are is each client's
    own matter, and clients that show the same share a part.
    """

    __slots__ = ("_by_shown", "after_xid", "cases", "part")

    def __init__(self, part: Part, cases: Sequence[tuple[str, str | None]], after_xid: int) -> None:
        self.part = part
        self.cases = cases
        self.after_xid = after_xid
        self._by_shown: dict[frozenset[str], tuple[Part, frozenset[str]]] = {}

    def told(self, shown: frozenset[str], cases_max: int) -> tuple[Part, frozenset[str]]:
        """What somebody who shows these cases is told, and what is shown then."""
        if not self.cases:
            return self.part, shown
        known = self._by_shown.get(shown)
        if known is None:
            after, cases, has_more = step(shown, self.cases, cases_max)
            part = msgspec.structs.replace(self.part, cases=cases, has_more_cases=has_more)
            known = self._by_shown[shown] = (part, after)
        return known


def step(
    shown: frozenset[str], cases: Sequence[tuple[str, str | None]], cases_max: int
) -> tuple[frozenset[str], Sequence[tuple[str, str | None]], bool]:
    """Who shows these cases hears of others. Returns what is shown then, what to say, and whether one found no room.

    A case without a text is gone; of one that was never shown nothing is said.
    """
    after = set(shown)
    told: list[tuple[str, str | None]] = []
    has_more = False
    for id_, text in cases:
        if text is None:
            if id_ not in after:
                continue
            after.discard(id_)
        elif id_ not in after:
            if len(after) >= cases_max:
                has_more = True
                continue
            after.add(id_)
        told.append((id_, text))
    same = len(after) == len(shown) and after.issubset(shown)
    return (shown if same else frozenset(after)), told, has_more


class Beat:
    """A sign of life at one moment, put together once for all who have been told as much."""

    __slots__ = ("_by_position", "_feed", "_now", "streams")

    def __init__(self, now: datetime, feed: FeedState, streams: StreamsState) -> None:
        self.streams = streams
        self._now = now
        self._feed = feed
        self._by_position: dict[Position | None, Message] = {}

    def message(self, position: Position | None) -> Message:
        """The heartbeat that names this position."""
        message = self._by_position.get(position)
        if message is None:
            message = Message(messages.heartbeat_text(position, self._now, self._feed, self.streams))
            self._by_position[position] = message
        return message


class LiveSession:
    """One client.

    `on_ready` is called when there may be something to take or to read. `push`, where there is one, is handed the
    message of all at once when nothing else waits for the client; False says that the client takes nothing now.
    """

    __slots__ = (
        "__weakref__",
        "_answer",
        "_cases_max",
        "_covered_xid",
        "_early",
        "_held",
        "_notices",
        "_on_ready",
        "_pending",
        "_push",
        "_reason",
        "_shown",
        "_streams",
        "_token",
        "_waited_s",
        "phase",
        "position",
        "rights",
        "subscription",
    )

    def __init__(
        self,
        on_ready: Callable[[], None],
        cases_max: int = Bounds().cases_max,
        push: Callable[[Part], bool] | None = None,
    ) -> None:
        self.phase = Phase.IDLE
        self.rights = NO_RIGHTS
        self._cases_max = cases_max
        # The cases that the client shows, so that it is told of none that it never saw; and before it is known which
        # these are, what the feed has brought: the case's text, or None where it is not among them.
        self._shown: frozenset[str] = frozenset()
        self._early: dict[str, tuple[int, str | None]] = {}
        self.subscription: Subscription | None = None
        self.position: Position | None = None
        self._on_ready = on_ready
        self._push = push
        # One part waits as it is; only when a second one comes are they put together for this client.
        self._held: Part | None = None
        self._pending: Pending | None = None
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
        waiting = (self._pending, self._held, self._notices)
        return sum(len(some) for some in waiting if some is not None)

    def subscribe(
        self, subscription: Subscription, rights: Rights = NO_RIGHTS, reason: SnapshotReason | None = None
    ) -> None:
        """The client wants this instead of what it had. Register it with the hub before the next `begin_read`."""
        self.rights = rights
        self.subscription = subscription
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
        if self._pending is not None:
            self._pending.drop_through(answer.position.xid)
        self._shown = frozenset(id_ for id_, _ in answer.handling.cases or ())
        early = {id_: entry for id_, entry in self._early.items() if entry[0] > answer.position.xid}
        self._early = {}
        if early:
            cases = [(id_, text) for id_, (_, text) in early.items()]
            self._shown, told, has_more = step(self._shown, cases, self._cases_max)
            for id_, text in told:
                self._waiting().put_case(id_, early[id_][0], text)
            if has_more:
                self._waiting().note_more_cases()
        self._on_ready()

    def offer(self, news: News) -> None:
        """What a batch of the feed says to this client's audience, but for what the client has."""
        xid = news.part.position.xid
        if xid <= self._covered_xid:
            return
        if self.phase is not Phase.LIVE:
            self._waiting().put(news.part, self._covered_xid)
            self._note_early(news, xid)
            return
        part, self._shown = news.told(self._shown, self._cases_max)
        # Only of a batch that the answer holds in part each client has another rest.
        is_whole = self._covered_xid <= news.after_xid
        if is_whole and self._is_clear:
            if not part.says_something:
                if part.events_skipped:
                    self._waiting().skip_events(part.events_skipped)
                return
            if self._push is not None and self._push(part):
                self.position = part.position
                return
            self._held = part
        else:
            self._waiting().put(part, self._covered_xid)
        self._on_ready()

    def lagged(self, waited_s: float) -> None:
        """A message had to wait this long for the client: it is told so with the next one."""
        self._waited_s = max(self._waited_s, waited_s)

    def take(self, feed: Position | None, now: datetime) -> Outgoing:
        """All that can be said now. `feed` is how far the feed has come; everything up to it has been offered."""
        told, self._notices = [Message(text) for text in self._notices], []
        if self.phase is not Phase.LIVE or self.position is None:
            return Outgoing(told)
        if self._answer is not None:
            told.append(_answer_message(self._answer, now))
            self._answer = None
        # The feed may be behind the client's own snapshot, and its epoch changes only with a reset.
        if feed is not None and feed > self.position:
            self.position = feed
        if self._held is not None:
            flush, message, replaced = self._held.flush, self._held.message, 0
            self._held = None
        elif self._pending:
            replaced, flush = self._pending.replaced, self._pending.take()
            message = change_message(self.position, now, flush)
            self._pending = None
        else:
            return Outgoing(told)
        if self._waited_s:
            told.append(Message(messages.lagging_text(self._waited_s, replaced)))
            self._waited_s = 0.0
        return Outgoing([*told, message], flush)

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

    def beat(self, beat: Beat) -> Message:
        """The same, shared with whoever has been told as much."""
        self._streams = beat.streams
        return beat.message(self.position if self.phase is Phase.LIVE else None)

    def _ask(self, reason: SnapshotReason | None) -> None:
        self._token += 1
        self.phase = Phase.ASKED
        self.position = None
        self._reason = reason
        self._answer = None
        self._covered_xid = -1
        self._shown = frozenset()
        self._early = {}
        self._held = self._pending = None
        self._on_ready()

    @property
    def _is_clear(self) -> bool:
        """Whether nothing waits that has to be told first, or with what comes next."""
        return (
            self._held is None
            and self._pending is None
            and self._answer is None
            and not self._notices
            and not self._waited_s
        )

    def _waiting(self) -> Pending:
        """What waits, in a form to which more can be added."""
        if self._pending is None:
            self._pending = Pending(self.subscription.events if self.subscription else 0)
            if self._held is not None:
                self._pending.put(self._held, self._covered_xid)
                self._held = None
        return self._pending

    def _note_early(self, news: News, xid: int) -> None:
        for id_, text in news.cases:
            if len(self._early) >= EARLY_MAX and id_ not in self._early:
                # More than is worth keeping happens while the answer is read: the next answer will hold it.
                self._ask(self._reason)
                return
            self._early[id_] = (xid, text)

    def _notify(self, text: str) -> None:
        if len(self._notices) < NOTICES_MAX:
            self._notices.append(text)
            self._on_ready()


def _answer_message(answer: Snapshot | Resumption, now: datetime) -> Message:
    """What a client is told of an answer. Those who take the same one at the same time share the message."""
    if answer.told is None or now - answer.told[0] > SHARED_FOR:
        answer.told = (now, Message(_answer_text(answer, now)))
    return answer.told[1]


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
