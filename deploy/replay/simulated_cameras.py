"""What would cameras of a city see in one second? A model, not a recording: every name here says "simulated".

The events of a second are a function of the seed and that second, so they are the same whenever, and however often,
they are made.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from math import exp
from random import Random
from typing import Literal, TypeVar
from zoneinfo import ZoneInfo

from msgspec import Struct

from schemas.event import AreaCode, CameraDetection, CameraIncident, Detection, Incident

T = TypeVar("T")

# How busy each local hour is, from midnight, beside the day's mean: a quiet night and two rush hours.
HOURLY: tuple[float, ...] = (
    *(0.5, 0.42, 0.4, 0.4, 0.45, 0.6),
    *(0.9, 1.35, 1.6, 1.3, 1.1, 1.1),
    *(1.2, 1.15, 1.1, 1.2, 1.4, 1.65),
    *(1.55, 1.2, 1.0, 0.85, 0.7, 0.58),
)

KINDS = (("car", 50), ("person", 26), ("motorcycle", 8), ("truck", 7), ("bicycle", 6), ("bus", 3))
INCIDENTS: tuple[tuple[str, Literal["minor", "major", "critical"], int], ...] = (
    ("stopped_vehicle", "minor", 45),
    ("congestion", "minor", 30),
    ("pedestrian_on_roadway", "major", 15),
    ("wrong_way_driver", "critical", 6),
    ("smoke", "critical", 4),
)


class Camera(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One camera. `share` is how much it sees beside the others."""

    id: str
    area: AreaCode
    place: str
    share: float = 1.0


class CameraModel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All cameras of one simulated source. The rates are the day's means over all of them."""

    source: str
    seed: int
    detections_per_s: float
    incidents_per_h: float
    lead_s: int
    camera: list[Camera]


def busyness(at: datetime, zone: ZoneInfo) -> float:
    """How busy the streets are at this moment, beside the day's mean; it changes evenly between the hours."""
    local = at.astimezone(zone)
    share = (local.minute * 60 + local.second) / 3600
    return HOURLY[local.hour] * (1 - share) + HOURLY[(local.hour + 1) % 24] * share


def one_second(model: CameraModel, start: datetime, zone: ZoneInfo) -> list[CameraDetection | CameraIncident]:
    """What the cameras saw in [start, start + 1 s), oldest first; `start` is a whole second."""
    second = int(start.timestamp())
    random = Random(f"{model.seed}/{second}")  # noqa: S311 - a model's dice, which have to fall alike each time
    busy = busyness(start, zone)
    count = _poisson(random, model.detections_per_s * busy)
    events: list[CameraDetection | CameraIncident] = [_detection(model, start, n, random) for n in range(count)]
    if random.random() < model.incidents_per_h * busy / 3600:
        events.append(_incident(model, start, random))
    return sorted(events, key=lambda event: event.time)


def _detection(model: CameraModel, start: datetime, number: int, random: Random) -> CameraDetection:
    camera = _one_of(random, model.camera, [c.share for c in model.camera])
    kind, _ = _one_of(random, KINDS, [weight for _, weight in KINDS])
    return CameraDetection(
        specversion="1.0",
        id=f"{int(start.timestamp())}-{number}",
        source=model.source,
        subject=camera.id,
        time=start + timedelta(milliseconds=random.randrange(1000)),
        area=camera.area,
        place=camera.place,
        data=Detection(
            camera=camera.id,
            kind=kind,
            count=1 + _poisson(random, 0.4),
            score=round(random.uniform(0.55, 0.99), 2),
        ),
    )


def _incident(model: CameraModel, start: datetime, random: Random) -> CameraIncident:
    camera = _one_of(random, model.camera, [c.share for c in model.camera])
    kind, severity, _ = _one_of(random, INCIDENTS, [weight for _, _, weight in INCIDENTS])
    name = f"incident-{int(start.timestamp())}"
    return CameraIncident(
        specversion="1.0",
        id=name,
        source=model.source,
        subject=name,
        time=start + timedelta(milliseconds=random.randrange(1000)),
        area=camera.area,
        place=camera.place,
        data=Incident(camera=camera.id, kind=kind, severity=severity, text="Simulated; no such incident took place."),
    )


def _one_of(random: Random, items: Sequence[T], weights: Sequence[float]) -> T:
    return random.choices(items, cum_weights=list(accumulate(weights)))[0]


def _poisson(random: Random, mean: float) -> int:
    """Source: Knuth, The Art of Computer Programming, vol. 2, §3.4.1 F."""
    floor = exp(-mean)
    product = random.random()
    count = 0
    while product > floor:
        product *= random.random()
        count += 1
    return count


def whole_second(at: datetime) -> datetime:
    """The second that holds this moment, in UTC."""
    return at.astimezone(UTC).replace(microsecond=0)
