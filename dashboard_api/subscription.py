"""What does a live client want to see?"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct

from dashboard_api.case_filter import CaseFilter
from dashboard_api.config import Bounds
from dashboard_api.position import Position, parse_position
from dashboard_api.refusal import RefusalReason, Refused
from dashboard_api.scope import may_see_kpi, seen_kpis
from dashboard_api.within import descendants
from schemas.case import Kind, Severity, State
from schemas.codec import explain
from schemas.command import Actor
from schemas.display import is_display
from schemas.errors import Reason
from schemas.event import AreaId
from schemas.exercise import drill_name, is_drill, real_name
from schemas.identity import NOBODY, actor_without_token
from schemas.kpi import Kpi
from schemas.site import Site
from schemas.window import Tier


class Series(NamedTuple):
    """The values of one KPI in one area at one width of bucket."""

    kpi: str
    area: AreaId
    tier: Tier


class Subscription(Struct, frozen=True, kw_only=True):
    """A checked wish. `points` buckets of each series up to now, the `events` newest events, `sources` or not.

    `cases` are those to be told of, None: of none; `units` and `commands`, one's own, are told of or not. With
    `exercise` all of it is of drills, and without it nothing is.
    """

    kpis: tuple[str, ...]
    areas: tuple[AreaId, ...]
    tier: Tier
    points: int
    events: int
    sources: bool
    position: Position | None = None
    cases: CaseFilter | None = None
    units: bool = False
    commands: bool = False
    exercise: bool = False

    @property
    def series(self) -> list[Series]:
        """Every series, KPI by KPI."""
        return [Series(kpi, area, self.tier) for kpi in self.kpis for area in self.areas]


class WantedCases(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which cases, as the message has it. What is left out takes all; `area` takes what lies in it, too."""

    state: list[State] | None = None
    open: bool | None = None
    kind: list[Kind] | None = None
    category: list[str] | None = None
    severity: list[Severity] | None = None
    area: str | None = None
    agency: str | None = None
    unit: str | None = None
    exercise: bool = False


class Wish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is wanted, as it comes in. Without `kpis` all of them are meant, without `areas` the root."""

    kpis: list[str] | None = None
    areas: list[str] | None = None
    tier: Tier = Tier.MINUTE
    points: int = 60
    events: int = 20
    sources: bool = True
    position: str | None = None
    cases: WantedCases | None = None
    units: bool = False
    commands: bool = False
    exercise: bool = False


class Subscribe(Wish, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same as a message on a socket."""

    op: Literal["subscribe"]


_decoder = msgspec.json.Decoder(Subscribe)
_packed_decoder = msgspec.msgpack.Decoder(Subscribe)
_wish_decoder = msgspec.json.Decoder(Wish)
_FORM = 'Send {"op": "subscribe", …} as docs/live-protocol.md has it.'


def parse_message(message: str | bytes, site: Site, bounds: Bounds, actor: Actor | None = None) -> Subscription:
    """Reads a client's message, JSON in a text or MessagePack in bytes. Raises Refused: field, reason and fix.

    Without an actor it is somebody who has not signed in.
    """
    check_length(message, bounds)
    try:
        raw = _decoder.decode(message) if isinstance(message, str) else _packed_decoder.decode(message)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise malformed(error) from error
    return checked(raw, site, bounds, actor)


def parse_wish(
    text: str, position: str | None, site: Site, bounds: Bounds, actor: Actor | None = None
) -> Subscription:
    """Reads what the address of a request asks for; `position` overrides the wish's own. Raises Refused."""
    check_length(text, bounds)
    try:
        raw = _wish_decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise malformed(error) from error
    return checked(raw if position is None else msgspec.structs.replace(raw, position=position), site, bounds, actor)


def check_length(message: str | bytes, bounds: Bounds) -> None:
    """Raises Refused for a message that is too long to be read."""
    size = len(message)
    if isinstance(message, str) and size <= bounds.message_bytes_max:
        size = len(message.encode(errors="replace"))
    if size > bounds.message_bytes_max:
        raise Refused(
            "$",
            RefusalReason.TOO_LARGE,
            f"the message has more than {bounds.message_bytes_max} bytes",
            "Subscribe to fewer KPIs and areas on one connection.",
        )


def checked(raw: Wish, site: Site, bounds: Bounds, actor: Actor | None) -> Subscription:
    """The wish, if it can be met, as far as its sender may see it. Raises Refused."""
    who = actor_without_token(site) if actor is None else actor
    for name, value, most in (("points", raw.points, bounds.points_max), ("events", raw.events, bounds.events_max)):
        least = 1 if name == "points" else 0
        if not least <= value <= most:
            detail, fix = f"`{name}` is {value}", f"Use a number from {least} to {most}."
            raise Refused(name, RefusalReason.OUT_OF_RANGE, detail, fix)
    position = None if raw.position is None else parse_position(raw.position)
    if raw.position is not None and position is None:
        fix = "Send the `position` of the last message as it came, or leave it out for a snapshot."
        raise Refused("position", RefusalReason.INVALID, "the position is not `<epoch>-<xid>`", fix)
    if who is NOBODY and (raw.cases is not None or raw.units or raw.commands):
        fix = "Sign in, and connect again."
        raise Refused("$", RefusalReason.NOT_SIGNED_IN, "cases, units and commands need a sign-in", fix)
    shown = seen_kpis(site, who, exercise=raw.exercise)
    wanted = [kpi.id for kpi in shown] if raw.kpis is None else _named(raw.kpis, exercise=raw.exercise)
    places = [site.areas.root.id] if raw.areas is None else raw.areas
    subscription = Subscription(
        kpis=tuple(dict.fromkeys(kpi_of(site, who, id_, f"kpis[{i}]").id for i, id_ in enumerate(wanted))),
        areas=tuple(dict.fromkeys(area_of(site, id_, f"areas[{i}]") for i, id_ in enumerate(places))),
        tier=raw.tier,
        points=raw.points,
        events=raw.events,
        sources=raw.sources,
        position=position,
        cases=None if raw.cases is None else _cases(raw.cases, site, exercise=raw.exercise),
        units=raw.units,
        commands=raw.commands,
        exercise=raw.exercise,
    )
    _check_size(subscription, bounds)
    return restricted(subscription, site, who)


def restricted(subscription: Subscription, site: Site, actor: Actor) -> Subscription:
    """What of a wish somebody may be told by now: rights may have changed since it was checked."""
    shown = msgspec.structs.replace(
        subscription,
        kpis=tuple(id_ for id_ in subscription.kpis if id_ in site.kpis and may_see_kpi(site, actor, site.kpis[id_])),
    )
    if is_display(actor):
        # What comes in was written by somebody, and a screen commands nothing.
        return msgspec.structs.replace(shown, events=0, commands=False)
    if actor is not NOBODY:
        return shown
    return msgspec.structs.replace(shown, events=0, sources=False, cases=None, units=False, commands=False)


def _named(ids: Sequence[str], *, exercise: bool) -> list[str]:
    """The indicators that are meant: in a drill the twins. Raises Refused: what is live shows no drill's figures."""
    for at, id_ in enumerate(ids):
        if is_drill(id_) and not exercise:
            fix = 'Subscribe with "exercise": true.'
            raise Refused(f"kpis[{at}]", RefusalReason.UNKNOWN_KPI, "its figures are those of drills", fix)
    return [drill_name(real_name(id_)) for id_ in ids] if exercise else list(ids)


def _cases(wanted: WantedCases, site: Site, *, exercise: bool) -> CaseFilter:
    inside = None
    if wanted.area is not None:
        inside = descendants(site.areas, [area_of(site, wanted.area, "cases.area")])
    return CaseFilter(
        states=None if wanted.state is None else tuple(wanted.state),
        open=wanted.open,
        kinds=None if wanted.kind is None else tuple(wanted.kind),
        categories=None if wanted.category is None else tuple(wanted.category),
        severities=None if wanted.severity is None else tuple(wanted.severity),
        areas=None if inside is None else frozenset(inside),
        agency=wanted.agency,
        unit=wanted.unit,
        exercise=exercise or wanted.exercise,
    )


def kpi_of(site: Site, actor: Actor, id_: str, field: str) -> Kpi:
    """The KPI of this id. Raises Refused where there is none that the actor may see."""
    if id_ in site.kpis and may_see_kpi(site, actor, site.kpis[id_]):
        return site.kpis[id_]
    raise Refused(field, RefusalReason.UNKNOWN_KPI, "this site has no such KPI", "Use an id from GET /v1/kpis.")


def area_of(site: Site, id_: str, field: str) -> AreaId:
    """The area of this id. Raises Refused."""
    if id_ in site.areas:
        return AreaId(id_)
    raise Refused(field, RefusalReason.UNKNOWN_AREA, "this site has no such area", "Use an id from GET /v1/areas.")


def _check_size(subscription: Subscription, bounds: Bounds) -> None:
    series = len(subscription.kpis) * len(subscription.areas)
    if series > bounds.series_max:
        raise Refused(
            "areas",
            RefusalReason.TOO_MANY,
            f"{len(subscription.kpis)} KPIs in {len(subscription.areas)} areas are {series} series",
            f"Subscribe to at most {bounds.series_max} series; open another connection for more.",
        )
    if series * subscription.points > bounds.values_max:
        raise Refused(
            "points",
            RefusalReason.TOO_MANY,
            f"{series} series of {subscription.points} points are {series * subscription.points} values",
            f"Ask for at most {bounds.values_max} values: fewer points, KPIs or areas.",
        )


def malformed(error: Exception) -> Refused:
    """A decoder's error in our own words. The codec already knows how to read field and fix off it."""
    known = explain(error)
    if isinstance(error, msgspec.ValidationError):
        if known.reason is Reason.MISSING_FIELD:
            return Refused(known.field, RefusalReason.MISSING, known.detail, _FORM)
        reason = RefusalReason.UNKNOWN_FIELD if "unknown field" in known.detail else RefusalReason.INVALID
        return Refused(known.field, reason, known.detail, _FORM)
    return Refused("$", RefusalReason.MALFORMED, known.detail, _FORM)
