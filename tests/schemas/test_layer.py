"""Is a site's layer read whole, shown to whom it is for, and is each mistake told with its place and its fix?"""

import json
from typing import Any

import msgspec
import pytest

from deploy.site import SHIPPED, load_site
from schemas.command import Actor
from schemas.errors import SiteError
from schemas.identity import NOBODY
from schemas.layer import FEATURES_MAX, LAYERS_FILE, PROPERTY_CHARS_MAX, may_see_layer, parse_layers
from schemas.site import mistakes, parse_site
from tests.streams.world import PACK

LAYERS = """
[[layer]]
id = "cameras"
names = { vi = "Camera", en = "Cameras" }
file = "cameras.geojson"
roles = ["operator"]
icon = "camera"
title = "name"
snapshot = "picture"

[[layer]]
id = "plan"
names = { vi = "Quy hoạch", en = "Planning" }
file = "plan.geojson"
public = true
"""


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    """One feature."""
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def point(longitude: float = 105.8, latitude: float = 21.0) -> dict[str, Any]:
    """A point's geometry."""
    return {"type": "Point", "coordinates": [longitude, latitude]}


def collection(*features: Any) -> str:
    """Features as a file."""
    return json.dumps({"type": "FeatureCollection", "features": features})


CAMERAS = collection(
    feature(point(), name="Cầu", picture="http://10.0.0.7/shot.jpg?password=secret"), feature(point(), name="Chợ")
)
SQUARE = [[105.0, 21.0], [105.1, 21.0], [105.1, 21.1], [105.0, 21.0]]
PLAN = collection(
    feature({"type": "Polygon", "coordinates": [SQUARE]}, zone="R1", floors=5, approved=True, note=None),
    feature({"type": "MultiLineString", "coordinates": [SQUARE[:2]]}),
)
FILES = {LAYERS_FILE: LAYERS, "cameras.geojson": CAMERAS, "plan.geojson": PLAN}


def test_layers_are_read_and_a_camera_s_address_stays_in_the_centre() -> None:
    layers = parse_layers(FILES, ["vi", "en"])
    assert list(layers) == ["cameras", "plan"]
    cameras = layers["cameras"]
    assert cameras.snapshots == {0: "http://10.0.0.7/shot.jpg?password=secret"}
    assert b"secret" not in cameras.content
    shown = msgspec.json.decode(cameras.content)["features"]
    assert shown[0]["properties"] == {"name": "Cầu", "picture": "v1/layers/cameras/snapshots/0"}
    assert shown[1]["properties"] == {"name": "Chợ"}
    assert msgspec.json.decode(layers["plan"].content) == {
        "type": "FeatureCollection",
        "features": [
            feature({"type": "Polygon", "coordinates": [SQUARE]}, zone="R1", floors=5, approved=True, note=None),
            feature({"type": "MultiLineString", "coordinates": [SQUARE[:2]]}),
        ],
    }


def test_who_may_see_a_layer() -> None:
    layers = parse_layers(FILES)
    operator = Actor(id="o", roles=("operator",))
    leader = Actor(id="l", roles=("leader",))
    seen = {
        who: [id_ for id_, one in layers.items() if may_see_layer(actor, one.layer, is_open=False)]
        for who, actor in {"operator": operator, "leader": leader, "nobody": NOBODY}.items()
    }
    assert seen == {"operator": ["cameras", "plan"], "leader": ["plan"], "nobody": ["plan"]}
    assert may_see_layer(leader, layers["cameras"].layer, is_open=True)


@pytest.mark.parametrize(
    ("change", "position", "reason"),
    [
        pytest.param({"public = true": ""}, "line 12", "nobody may see it", id="for nobody"),
        pytest.param(
            {"public = true": 'public = true\nroles = ["leader"]'}, "line 16", "both public", id="for all and some"
        ),
        pytest.param({'["operator"]': '["citizen"]'}, "line 6", "nobody signs in", id="for citizens"),
        pytest.param({'"plan.geojson"': '"../plan.geojson"'}, "line 14", "cannot be called", id="a path"),
        pytest.param({'"plan.geojson"': '"areas.geojson"'}, "line 14", "cannot be called", id="the boundaries"),
        pytest.param({'"plan.geojson"': '"other.geojson"'}, "line 14", "is not in the pack", id="a missing file"),
        pytest.param({'en = "Planning"': 'fr = "Plan"'}, "line 13", "no name in 'en'", id="no name"),
        pytest.param({'icon = "camera"': 'icon = "eye"'}, "line 7", "'eye' is not known", id="another icon"),
        pytest.param({'id = "plan"': 'id = "cameras"'}, "line 12", "used twice", id="an id twice"),
    ],
)
def test_a_mistake_in_the_declaration_is_told_with_its_line(
    change: dict[str, str], position: str, reason: str
) -> None:
    text = LAYERS
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    with pytest.raises(SiteError) as raised:
        parse_layers({**FILES, LAYERS_FILE: text}, ["vi", "en"])
    assert raised.value.file == LAYERS_FILE
    assert raised.value.position == position
    assert reason in raised.value.reason
    assert raised.value.fix


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        pytest.param("{", "JSON", "truncated", id="no JSON"),
        pytest.param('{"type":"FeatureCollection"}', "the file", "not a FeatureCollection", id="no features"),
        pytest.param(collection(feature(point(), name="a"), 5), "feature 2", "expected `object`", id="no feature"),
        pytest.param(
            collection(feature({"type": "Circle", "coordinates": [1, 2]}, name="a")),
            "feature 1",
            "Circle",
            id="circle",
        ),
        pytest.param(collection(feature(None, name="a")), "feature 1", "`geometry`", id="no geometry"),
        pytest.param(
            collection(feature(point(21.0, 105.8), name="a")),
            "feature 1",
            "not a longitude",
            id="the wrong way",
        ),
        pytest.param(
            collection(feature(point(), name="a", list=[1])), "feature 1", "`properties`", id="a list as property"
        ),
        pytest.param(
            collection(feature({"type": "Polygon", "coordinates": [[*SQUARE[:3], [1, 1]]]}, name="a")),
            "feature 1",
            "not closed",
            id="an open ring",
        ),
        pytest.param(
            collection(feature(point(), name="a", note="x" * (PROPERTY_CHARS_MAX + 1))),
            "feature 1",
            "`note` has",
            id="a long text",
        ),
        pytest.param(collection(feature(point())), "feature 1", "no text `name`", id="no title"),
        pytest.param(
            collection(feature(point(), name="a", picture="file:///etc/passwd")),
            "feature 1",
            "not a web address",
            id="a picture on the disk",
        ),
        pytest.param(
            collection(*[feature(point(), name="a")] * (FEATURES_MAX + 1)), "the file", "features", id="too many"
        ),
        pytest.param('{"x":' + "[" * 9_999, "JSON", "too deep", id="too deep"),
    ],
)
def test_a_mistake_in_a_layer_is_told_with_its_feature(text: str, position: str, reason: str) -> None:
    with pytest.raises(SiteError) as raised:
        parse_layers({**FILES, "cameras.geojson": text})
    assert raised.value.file == "cameras.geojson"
    assert raised.value.position == position
    assert reason in raised.value.reason
    assert raised.value.fix


def test_a_pack_tells_a_layer_s_mistake_with_its_others() -> None:
    pack = {**PACK, **FILES, "plan.geojson": "[]", "kpis.toml": "[[kpi]]"}
    with pytest.raises(SiteError):
        parse_site(pack)
    assert {mistake.file for mistake in mistakes(pack)} == {"kpis.toml", "plan.geojson"}
    assert list(parse_site({**PACK, **FILES}).layers) == ["cameras", "plan"]


def test_the_shipped_example_has_cameras_for_some_and_a_layer_for_all() -> None:
    layers = load_site(SHIPPED / "vietnam").layers
    assert {id_: one.layer.public for id_, one in layers.items()} == {"cameras": False, "air-stations": True}
    assert len(layers["cameras"].snapshots) == layers["cameras"].features
