"""Which further layers does this site's map have, and who may see them?

`layers.toml` in the site pack declares them, and each is a GeoJSON file beside it: air quality stations, planning,
camera places. Every mistake is a SiteError with the line or the feature, the reason and the fix.

Source: RFC 7946 (longitude before latitude, WGS 84).
"""

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from schemas.command import Actor
from schemas.errors import SiteError
from schemas.identity import NOT_STAFF, Role
from schemas.site_file import control_mistake, convert_file, mistake_at, numbered
from schemas.toml_lines import Path

LAYERS_FILE = "layers.toml"

LAYERS_MAX = 32
"""A pack with more is refused."""

LAYER_BYTES_MAX = 2 * 1024 * 1024
"""A longer file is refused: every process reads it, and every map loads it."""

ALL_BYTES_MAX = 8 * 1024 * 1024
"""The files of all layers together; more is refused."""

FEATURES_MAX = 5_000
POSITIONS_MAX = 200_000
"""A layer with more is refused: a phone draws no more."""

PROPERTIES_MAX = 32
PROPERTY_CHARS_MAX = 2_000

FILE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}\.geojson")
"""How a layer's file may be called. It lies in the pack's own folder."""

RESERVED_FILES = frozenset({"areas.geojson"})
"""GeoJSON files of a pack that are no layers."""

LayerId = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}\Z")]


class Icon(StrEnum):
    """What a point is drawn as."""

    DOT = "dot"
    CAMERA = "camera"
    AIR = "air"
    WATER = "water"
    TREE = "tree"
    BUILDING = "building"
    ROAD = "road"
    WARNING = "warning"


class Layer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One layer as it is declared.

    `file`      its GeoJSON file
    `public`    everyone may see it; else `roles` says who may
    `colour`    of its lines, grounds and points
    `title`     the property that says what a feature is called
    `snapshot`  the property that holds the address of a picture of what is there now, as a camera gives it
    `shown`     whether maps show it until somebody chooses otherwise
    """

    id: LayerId
    names: dict[str, str]
    file: str
    public: bool = False
    roles: list[Role] = []
    colour: Annotated[str, Meta(pattern=r"^#[0-9a-fA-F]{6}\Z")] = "#0b5f6b"
    icon: Icon = Icon.DOT
    title: str | None = None
    snapshot: str | None = None
    shown: bool = False


class SiteLayer(Struct, frozen=True, kw_only=True):
    """A layer with its features as GeoJSON, as maps get it. `tag` is the same for the same content.

    `snapshots` are the pictures' addresses by the feature's number, from 0. They may hold a camera's password, so the
    content has the centre's own address of the picture in their place.
    """

    layer: Layer
    features: int
    content: bytes
    tag: str
    snapshots: Mapping[int, str] = {}

    @property
    def id(self) -> str:
        """The layer's id."""
        return self.layer.id


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    layer: list[Layer] = []


Position = Annotated[list[float], Meta(min_length=2, max_length=3)]
_Line = Annotated[list[Position], Meta(min_length=2)]
_Ring = Annotated[list[Position], Meta(min_length=4)]


class _Point(Struct, frozen=True, tag="Point"):
    coordinates: Position


class _MultiPoint(Struct, frozen=True, tag="MultiPoint"):
    coordinates: list[Position]


class _LineString(Struct, frozen=True, tag="LineString"):
    coordinates: _Line


class _MultiLineString(Struct, frozen=True, tag="MultiLineString"):
    coordinates: list[_Line]


class _Polygon(Struct, frozen=True, tag="Polygon"):
    coordinates: list[_Ring]


class _MultiPolygon(Struct, frozen=True, tag="MultiPolygon"):
    coordinates: list[list[_Ring]]


_Geometry: TypeAlias = _Point | _MultiPoint | _LineString | _MultiLineString | _Polygon | _MultiPolygon
_Value: TypeAlias = str | int | float | bool | None


class _Feature(Struct, frozen=True, tag="Feature"):
    geometry: _Geometry
    properties: dict[str, _Value] | None = None


class _Collection(Struct, frozen=True, tag="FeatureCollection"):
    features: list[_Feature]


_AT_FEATURE = re.compile(r"\$\.features\[(\d+)\](\.[a-z]+)?")
_decoder = msgspec.json.Decoder(_Collection)
_wrong = partial(mistake_at, LAYERS_FILE)


def layer_files(text: str) -> list[str]:
    """The files that `layers.toml` names, as far as it can be read; what is wrong with it `parse_layers` says."""
    try:
        return [layer.file for layer in convert_file(text, _File, LAYERS_FILE).layer if is_layer_file(layer.file)]
    except SiteError:
        return []


def is_layer_file(name: str) -> bool:
    """Whether a layer's file may be called so."""
    return FILE_NAME.fullmatch(name) is not None and name not in RESERVED_FILES


def parse_layers(pack: Mapping[str, str], languages: Sequence[str] = ()) -> dict[str, SiteLayer]:
    """The layers of a pack that has a `layers.toml`, by id, in its order. Raises SiteError."""
    text = pack[LAYERS_FILE]
    given = convert_file(text, _File, LAYERS_FILE).layer
    if len(given) > LAYERS_MAX:
        reason = f"there are {len(given)} layers"
        raise _wrong(text, ("layer", LAYERS_MAX), reason, f"Declare at most {LAYERS_MAX}.")
    all_bytes = 0
    layers: dict[str, SiteLayer] = {}
    for number, layer in numbered(given, LAYERS_FILE, text, "layer"):
        _check(layer, text, ("layer", number), languages, pack)
        content = pack[layer.file].encode()
        all_bytes += len(content)
        if all_bytes > ALL_BYTES_MAX:
            reason = f"the files of all layers together have more than {ALL_BYTES_MAX} bytes"
            raise _wrong(text, ("layer", number, "file"), reason, "Leave out features, decimals or layers.")
        layers[layer.id] = _read(layer, content)
    return layers


def snapshot_path(layer: str, number: int) -> str:
    """Where the centre shows the picture of a feature, relative to its origin."""
    return f"v1/layers/{layer}/snapshots/{number}"


def may_see_layer(actor: Actor, layer: Layer, *, is_open: bool) -> bool:
    """Whether somebody may see a layer. `is_open`: the pack declares no people, so everyone may do everything."""
    return layer.public or is_open or not {role.value for role in layer.roles}.isdisjoint(actor.roles)


def _check(layer: Layer, text: str, path: Path, languages: Collection[str], pack: Mapping[str, str]) -> None:
    for language in languages:
        if not layer.names.get(language, "").strip():
            fix = f'Add {language} = "…": the site\'s boards speak it.'
            raise _wrong(text, (*path, "names"), f"layer {layer.id!r} has no name in {language!r}", fix)
    if layer.public is bool(layer.roles):
        reason = f"layer {layer.id!r} is both public and for some roles" if layer.public else "nobody may see it"
        fix = 'Give either `public = true` or `roles = ["operator"]`.'
        raise _wrong(text, (*path, "roles" if layer.public else "id"), reason, fix)
    for at, role in enumerate(layer.roles):
        if role in NOT_STAFF:
            reason = f"nobody signs in with the role {role.value!r}"
            raise _wrong(text, (*path, "roles", at), reason, "Use a role of people.toml, or `public = true`.")
    if not is_layer_file(layer.file):
        fix = "Use lowercase letters, digits, - and _, and the ending .geojson; areas.geojson is taken."
        raise _wrong(text, (*path, "file"), f"a layer's file cannot be called {layer.file!r}", fix)
    if layer.file not in pack:
        raise _wrong(text, (*path, "file"), f"{layer.file!r} is not in the pack", f"Put it beside {LAYERS_FILE}.")


def _read(layer: Layer, content: bytes) -> SiteLayer:
    file = layer.file
    if len(content) > LAYER_BYTES_MAX:
        reason = f"it has {len(content)} bytes, and at most {LAYER_BYTES_MAX} are taken"
        raise SiteError(file, "the file", reason, "Leave out features or decimals: five are about a metre.")
    try:
        features = _decoder.decode(content).features
    except msgspec.ValidationError as error:
        raise _at_feature(file, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SiteError(file, "JSON", str(error), "Correct the syntax.") from None
    except RecursionError:
        raise SiteError(file, "JSON", "it nests too deep", "Export it as GeoJSON, RFC 7946.") from None
    if len(features) > FEATURES_MAX:
        reason = f"it has {len(features)} features"
        raise SiteError(file, "the file", reason, f"Put at most {FEATURES_MAX} into one layer.")
    shown: list[_Feature] = []
    snapshots: dict[int, str] = {}
    positions = 0
    for number, feature in enumerate(features):
        positions += _check_feature(layer, feature, f"feature {number + 1}")
        properties = dict(feature.properties or {})
        if layer.snapshot is not None and (address := properties.get(layer.snapshot)) is not None:
            snapshots[number] = str(address)
            properties[layer.snapshot] = snapshot_path(layer.id, number)
        shown.append(_Feature(feature.geometry, properties))
    if positions > POSITIONS_MAX:
        reason = f"its features have {positions} positions"
        raise SiteError(file, "the file", reason, f"Simplify them to {POSITIONS_MAX}.")
    encoded = msgspec.json.encode(_Collection(shown))
    return SiteLayer(
        layer=layer,
        features=len(shown),
        content=encoded,
        tag=hashlib.sha256(encoded).hexdigest()[:32],
        snapshots=snapshots,
    )


def _check_feature(layer: Layer, feature: _Feature, where: str) -> int:
    """How many positions a feature has. Raises SiteError for one that cannot be drawn, or says too much."""
    wrong = partial(SiteError, layer.file, where)
    given = feature.properties or {}
    if len(given) > PROPERTIES_MAX:
        raise wrong(f"it has {len(given)} properties", f"Keep at most {PROPERTIES_MAX}.")
    for name, value in given.items():
        if isinstance(value, str) and len(value) > PROPERTY_CHARS_MAX:
            reason = f"`{name}` has {len(value)} characters"
            raise wrong(reason, f"Shorten it to {PROPERTY_CHARS_MAX}.")
        if isinstance(value, str) and (found := control_mistake(value, one_line=name == layer.title)):
            raise wrong(f"`{name}`: {found[0]}", found[1])
    if layer.title is not None and not isinstance(given.get(layer.title), str):
        raise wrong(f"it has no text `{layer.title}` to be called by", "Add it, or leave `title` out of the layer.")
    if layer.snapshot is not None and (address := given.get(layer.snapshot)) is not None:
        is_web = isinstance(address, str) and re.fullmatch(r"https?://[^\s/?#]+[^\s]*", address) is not None
        if not is_web:
            raise wrong(f"`{layer.snapshot}` is not a web address", "Give one that begins with https:// or http://.")
    count = 0
    for position in _positions(feature.geometry):
        longitude, latitude = position[0], position[1]
        if not (-180 <= longitude <= 180 and -90 <= latitude <= 90):
            reason = f"({longitude}, {latitude}) is not a longitude and a latitude"
            raise wrong(reason, "Export it in WGS 84, longitude before latitude.")
        count += 1
    for ring in _rings(feature.geometry):
        if ring[0] != ring[-1]:
            raise wrong("a ring of its polygon is not closed", "Let it end with the position that it begins with.")
    return count


def _positions(geometry: _Geometry) -> Iterator[list[float]]:
    match geometry:
        case _Point(position):
            yield position
        case _MultiPoint(positions) | _LineString(positions):
            yield from positions
        case _MultiLineString(lines) | _Polygon(lines):
            for line in lines:
                yield from line
        case _MultiPolygon(polygons):
            for polygon in polygons:
                for ring in polygon:
                    yield from ring


def _rings(geometry: _Geometry) -> Iterator[list[list[float]]]:
    match geometry:
        case _Polygon(rings):
            yield from rings
        case _MultiPolygon(polygons):
            for polygon in polygons:
                yield from polygon
        case _:
            pass


def _at_feature(file: str, message: str) -> SiteError:
    """What a decoder says, told of the feature that it was at."""
    reason, _, path = message.partition(" - at ")
    reason = reason[:1].lower() + reason[1:]
    found = _AT_FEATURE.search(path)
    if found is None:
        return SiteError(file, "the file", f"it is not a FeatureCollection: {reason}", "Export it as GeoJSON.")
    fix = "Use Point, LineString, Polygon or their multi forms, longitude before latitude."
    if found[2] == ".properties":
        fix = "Keep texts, numbers and yes or no; put what is inside a list or an object into properties of its own."
    part = (found[2] or "").lstrip(".")
    return SiteError(file, f"feature {int(found[1]) + 1}", f"{f'`{part}`: ' if part else ''}{reason}", fix)
