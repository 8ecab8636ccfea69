"""Of which types are the messages of the live feed?

They are put together from texts (messages.py); these types say what the texts amount to. The AsyncAPI document is
made of them, and tests hold every real message against them.
"""

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from dashboard_api.case_view import CaseItem
from dashboard_api.commands import Outcome
from dashboard_api.messages import DatabaseState, FeedState, StreamsState
from dashboard_api.refusal import RefusalReason
from dashboard_api.session import SnapshotReason
from dashboard_api.sources import SourceState
from dashboard_api.units import UnitView
from schemas.kpi import Value
from schemas.window import Tier


class BucketValue(Value, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A bucket's value. `bucket` is its start in seconds since the Unix epoch.

    Where a closed bucket was corrected, `first` is the whole value as it was first reported. A replay says with each
    value how it is `known`, and of a part up to when in `until`.
    """

    bucket: int
    first: Value | None = None
    corrected_at: datetime | None = None
    known: Literal["final", "first", "part", "none"] | None = None
    until: int | None = None


class ChangedValue(BucketValue, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A bucket's new value, absolute; of two the one with the higher `version` holds."""

    kpi: str
    area: str
    tier: Tier
    last_minute: int
    version: int


class SeriesView(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole series, oldest first. `last_minute` is the latest minute with events, in seconds since the epoch."""

    kpi: str
    area: str
    tier: Tier
    zone: str
    last_minute: int | None
    points: list[BucketValue]


class EventView(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event with its own JSON inside, but for what leads to a person."""

    event: dict[str, Any]
    committed_at: datetime
    position: str


class SnapshotMessage(
    Struct, frozen=True, kw_only=True, tag_field="op", tag="snapshot", omit_defaults=True, forbid_unknown_fields=True
):
    """Everything that the client shows, as of `position`. `reason`: why one that had a position gets it anew."""

    position: str
    time: datetime
    reason: SnapshotReason | None
    series: list[SeriesView]
    events: list[EventView]
    sources: list[SourceState]
    cases: list[CaseItem] | None = None
    cases_more: bool = False
    units: list[UnitView] | None = None


class ChangeMessage(
    Struct, frozen=True, kw_only=True, tag_field="op", tag="change", omit_defaults=True, forbid_unknown_fields=True
):
    """What transactions up to `position` changed. With `resumed`, `cases` and `units` are whole."""

    position: str
    time: datetime
    values: list[ChangedValue]
    events: list[EventView]
    events_skipped: int
    sources: list[SourceState]
    resumed: bool = False
    cases: list[CaseItem] | None = None
    cases_gone: list[str] = []
    cases_more: bool = False
    units: list[UnitView] | None = None
    outcomes: list[Outcome] = []


class HeartbeatMessage(
    Struct, frozen=True, kw_only=True, tag_field="op", tag="heartbeat", forbid_unknown_fields=True
):
    """A sign of life: everything up to `position` has been sent."""

    position: str | None
    time: datetime
    feed: FeedState
    streams: StreamsState


class StatusMessage(Struct, frozen=True, kw_only=True, tag_field="op", tag="status", forbid_unknown_fields=True):
    """The database went away or came back."""

    database: DatabaseState


class LaggingMessage(Struct, frozen=True, kw_only=True, tag_field="op", tag="lagging", forbid_unknown_fields=True):
    """The client takes messages too slowly, and is told the newest of everything, less often."""

    waited_s: float
    replaced: int


class ErrorMessage(Struct, frozen=True, kw_only=True, tag_field="op", tag="error", forbid_unknown_fields=True):
    """The client's last message was refused; its subscription goes on."""

    field: str
    reason: RefusalReason
    detail: str
    fix: str


class CloseMessage(Struct, frozen=True, kw_only=True, tag_field="op", tag="close", forbid_unknown_fields=True):
    """The last message of a stream of events: what a WebSocket says when it closes."""

    code: Literal[1013, 4401]
    reason: str


LiveMessage = (
    SnapshotMessage | ChangeMessage | HeartbeatMessage | StatusMessage | LaggingMessage | ErrorMessage | CloseMessage
)


class PollAnswer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer to a poll. The next one brings `session` and `position`."""

    session: str
    position: str | None
    messages: list[LiveMessage]
