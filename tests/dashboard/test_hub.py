"""What does one client cost the others? Counted in messages, for no clock is asked."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import pytest

from dashboard_api.conflation import NewEvent, Part
from dashboard_api.hub import Batch, Hub
from dashboard_api.messages import FeedState, StreamsState, value_text
from dashboard_api.outgoing import Form, Message
from dashboard_api.packed import packed
from dashboard_api.position import Position
from dashboard_api.reported import Reported
from dashboard_api.session import Beat, LiveSession, Rights, Snapshot
from dashboard_api.subscription import Subscription
from dashboard_api.touched import Point
from schemas.event import AreaId
from schemas.identity import NOBODY
from schemas.kpi import Value
from schemas.window import Tier
from tests.dashboard.case_centre import actor

NOW = datetime(2026, 3, 29, 12, 30, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
MINUTE_S = NOW_S // 60 * 60
ROOT, WARD, OTHER = AreaId("00"), AreaId("01"), AreaId("02")
OLGA, PAULA = Rights(actor("olga")), Rights(actor("paula"))


class Client:
    """A session, with a socket that takes what it is handed for as long as it is open."""

    def __init__(self, hub: Hub, *, rights: Rights = OLGA, area: AreaId = WARD, events: int = 5) -> None:
        self.is_open = True
        self.pushed: list[Message] = []
        self.woken = 0
        self.session = LiveSession(self._wake, push=self._push)
        hub.add(self.session)
        self.session.subscribe(
            Subscription(kpis=("k",), areas=(area,), tier=Tier.MINUTE, points=10, events=events, sources=False),
            rights,
        )
        hub.join(self.session)
        request = self.session.begin_read()
        assert request is not None
        position = hub.position or Position(1, 0)
        self.session.answered(
            request.token, Snapshot(position=position, reason=None, series=(), events=(), sources=())
        )
        assert len(self.session.take(hub.position, NOW).messages) == 1
        self.woken = 0

    def _wake(self) -> None:
        self.woken += 1

    def _push(self, part: Part) -> bool:
        if self.is_open:
            self.pushed.append(part.message)
        return self.is_open


def publish(hub: Hub, xid: int, values: Sequence[tuple[AreaId, int]] = (), events: Sequence[AreaId] = ()) -> None:
    """The feed brings values of areas, and events in them."""
    points = {Point("k", area, Tier.MINUTE, MINUTE_S): value for area, value in values}
    hub.publish(
        Batch(
            position=Position(1, xid),
            values={
                point: value_text(point, xid, MINUTE_S, Reported(now=Value(value=value, n=value)))
                for point, value in points.items()
            },
            events=[NewEvent(xid, (ROOT, area), f'{{"event":{{"id":{xid}}}}}', NOW) for area in events],
            events_skipped=0,
            sources={},
            committed_at=NOW,
        ),
        NOW_S,
    )


@pytest.fixture
def hub() -> Hub:
    """A hub that has been told of something before."""
    hub = Hub()
    publish(hub, 1)
    return hub


def test_clients_that_show_the_same_get_the_same_message(hub: Hub) -> None:
    clients = [Client(hub) for _ in range(50)] + [Client(hub, rights=PAULA) for _ in range(50)]
    assert hub.audiences == 2
    publish(hub, 2, [(WARD, 3)])
    [first, *others] = [client.pushed for client in clients]
    assert len(first) == 1
    assert all(len(pushed) == 1 and pushed[0] is first[0] for pushed in others)
    assert first[0].frame(Form.JSON) is first[0].frame(Form.JSON)
    assert not any(client.woken for client in clients)


def test_who_may_not_see_an_event_is_told_without_it(hub: Hub) -> None:
    seeing, nobody = Client(hub), Client(hub, rights=Rights(NOBODY))
    publish(hub, 2, [(WARD, 3)], [WARD])
    told = [msgspec.json.decode(client.pushed[0].text) for client in (seeing, nobody)]
    assert [len(message["events"]) for message in told] == [1, 0]
    assert [len(message["values"]) for message in told] == [1, 1]
    publish(hub, 3, [], [WARD])
    assert [len(client.pushed) for client in (seeing, nobody)] == [2, 1]


def test_a_client_that_takes_nothing_costs_the_others_nothing(hub: Hub) -> None:
    quick, alone = [Client(hub) for _ in range(3)], Hub()
    publish(alone, 1)
    undisturbed = Client(alone)
    slow = Client(hub)
    slow.is_open = False
    for xid in range(2, 502):
        for one in (hub, alone):
            publish(one, xid, [(WARD, xid)], [WARD])
    # As many messages, word for word, as where there is no slow client; and nobody waits for anything.
    for client in quick:
        assert [message.text for message in client.pushed] == [message.text for message in undisturbed.pushed]
        assert (client.woken, client.session.waiting) == (0, 0)
    # What waits for the slow one is what its board shows, not what happened.
    assert slow.session.waiting == 1 + 5
    slow.is_open = True
    publish(hub, 502, [(WARD, 502)])
    assert slow.pushed == [], "what waits goes out first, and with it"
    [message] = [msgspec.json.decode(text) for text in slow.session.take(hub.position, NOW).texts]
    assert [value["value"] for value in message["values"]] == [502]
    assert ([event["event"]["id"] for event in message["events"]], message["events_skipped"]) == (
        [497, 498, 499, 500, 501],
        495,
    )
    publish(hub, 503, [(WARD, 503)])
    assert slow.pushed[0] is quick[0].pushed[-1]


def test_one_part_that_waits_alone_goes_out_as_everybody_got_it(hub: Hub) -> None:
    quick, slow = Client(hub), Client(hub)
    slow.is_open = False
    publish(hub, 2, [(WARD, 2)])
    assert slow.session.take(hub.position, NOW).messages[0] is quick.pushed[0]


def test_more_events_than_a_list_shows_are_counted_the_same_way_at_once_and_later(hub: Hub) -> None:
    quick, slow = Client(hub, events=2), Client(hub, events=2)
    slow.is_open = False
    publish(hub, 2, [], [WARD] * 3)
    publish(hub, 3, [(WARD, 1)])
    [first, _] = [msgspec.json.decode(message.text) for message in quick.pushed]
    [later] = [msgspec.json.decode(text) for text in slow.session.take(hub.position, NOW).texts]
    assert (len(first["events"]), first["events_skipped"]) == (2, 1)
    assert (len(later["events"]), later["events_skipped"]) == (2, 1)


def test_what_an_answer_holds_already_is_not_told_again(hub: Hub) -> None:
    ahead = Client(hub)
    request_position = Position(1, 5)
    ahead.session.subscribe(ahead.session.subscription, OLGA)  # type: ignore[arg-type]
    hub.join(ahead.session)
    request = ahead.session.begin_read()
    assert request is not None
    ahead.session.answered(
        request.token, Snapshot(position=request_position, reason=None, series=(), events=(), sources=())
    )
    ahead.session.take(hub.position, NOW)
    publish(hub, 4, [(WARD, 4)], [WARD])
    assert (ahead.pushed, ahead.session.waiting) == ([], 0)
    # The feed's next batch begins before the answer's position and ends after it.
    hub.publish(
        Batch(
            position=Position(1, 7),
            values={},
            events=[NewEvent(xid, (ROOT, WARD), f'{{"event":{{"id":{xid}}}}}', NOW) for xid in (5, 6)],
            events_skipped=0,
            sources={},
            committed_at=NOW,
        ),
        NOW_S,
    )
    [message] = [msgspec.json.decode(text) for text in ahead.session.take(hub.position, NOW).texts]
    assert [event["event"]["id"] for event in message["events"]] == [6]


def test_areas_that_nobody_shows_are_told_to_nobody(hub: Hub) -> None:
    ward, other = Client(hub), Client(hub, area=OTHER)
    publish(hub, 2, [(OTHER, 1)])
    assert (len(ward.pushed), len(other.pushed)) == (0, 1)
    hub.remove(other.session)
    assert set(hub.wanted(NOW_S).series) == {"k"}
    assert set(hub.wanted(NOW_S).series["k"]) == {WARD}
    hub.remove(ward.session)
    assert (len(hub), hub.audiences, hub.wanted(NOW_S).series) == (0, 0, {})


def test_a_beat_is_put_together_once_for_all_who_were_told_as_much(hub: Hub) -> None:
    clients = [Client(hub) for _ in range(3)]
    beat = Beat(NOW, FeedState(state="live", lag_s=0), StreamsState(state="up", since=NOW))
    assert len({id(client.session.beat(beat)) for client in clients}) == 1


@pytest.mark.parametrize("size", [10, 200, 70_000])
def test_a_frame_says_how_long_it_is(size: int) -> None:
    message = Message('"' + "x" * (size - 2) + '"')
    frame = message.frame(Form.JSON)
    width = {10: 2, 200: 4, 70_000: 10}[size]
    assert frame[0] == 0x81
    assert frame[width:] == message.encoded(Form.JSON)
    stated = frame[1] if width == 2 else int.from_bytes(frame[2:width])
    assert stated == size
    assert message.frame(Form.MSGPACK).endswith(packed(message.text))
    assert message.frame(Form.MSGPACK)[0] == 0x82
