"""Which requests are on disk, and what must become of each?

A vector says why it is there, gives a request's headers and body, and what is expected: the HTTP status, and either
the refusal of the whole body or one outcome for each event. What is taken is on the present area list, unless the
outcome names another `list`, or null for an event without a code. A body is text (`body`), bytes (`body_hex`), or a
long repetition (`repeat`: before, opening, times, closing, after).
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from schemas.site import Site, parse_site

FOLDER = Path(__file__).parent / "vectors"
RECEIVED_AT = datetime(2025, 7, 1, 1, 0, 1, 250_000, tzinfo=UTC)

_SITE_TOML = """
id = "test"
names = { en = "Test" }
zone = "Asia/Ho_Chi_Minh"
area_list = "vn-test"
languages = ["en"]
"""
# The map was redrawn on the day of `RECEIVED_AT`: code 01 was another commune before, and 03 is no more.
_AREAS_CSV = """code,parent,kind,name_vi,name_en,id,list,valid_from,valid_to
00,,province,Tỉnh,Province,00,vn-test,2025-07-01,
01,00,commune,Phường,Ward,01,vn-test,2025-07-01,
02,00,commune,Xã,Commune,02,vn-test,2025-07-01,
00,,province,Tỉnh cũ,Former province,old-00,vn-old,,2025-07-01
01,old-00,commune,Phường cũ,Former ward,old-01,vn-old,,2025-07-01
03,old-00,commune,Xã cũ,Former commune,old-03,vn-old,,2025-07-01
"""


def _square(area: str, west: float, east: float) -> dict[str, Any]:
    ring = [[west, 20.0], [east, 20.0], [east, 22.0], [west, 22.0], [west, 20.0]]
    return {
        "type": "Feature",
        "properties": {"id": area},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }


_AREAS_GEOJSON = json.dumps(
    {
        "type": "FeatureCollection",
        "features": [_square("00", 105.0, 107.0), _square("01", 105.0, 106.0), _square("02", 106.0, 107.0)],
    }
)

PACK = {"site.toml": _SITE_TOML, "areas.csv": _AREAS_CSV, "areas.geojson": _AREAS_GEOJSON, "kpis.toml": ""}
SITE: Site = parse_site(PACK)


def vectors() -> list[Any]:
    """All vectors as parameters; the file's name is the test's id."""
    return [pytest.param(json.loads(path.read_text()), id=path.stem) for path in sorted(FOLDER.glob("*.json"))]


def headers_of(vector: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    """The request's headers as ASGI has them."""
    return [(name.encode(), value.encode()) for name, value in vector["headers"]]


def body_of(vector: dict[str, Any]) -> bytes:
    """The request's body."""
    if "body_hex" in vector:
        return bytes.fromhex(vector["body_hex"])
    if "repeat" in vector:
        before, opening, times, closing, after = vector["repeat"]
        return f"{before}{opening * times}{closing * times}{after}".encode()
    return vector["body"].encode()


def event(**attributes: Any) -> dict[str, Any]:
    """A valid detection, with some attributes set otherwise; None leaves one out."""
    whole = {
        "specversion": "1.0",
        "type": "ioc.camera.detection.v1",
        "source": "urn:cam:north",
        "id": "n-1",
        "time": "2025-07-01T08:00:00+07:00",
        "area": "01",
        "data": {"camera": "cam-17", "kind": "car", "count": 3},
        **attributes,
    }
    return {name: value for name, value in whole.items() if value is not None}
