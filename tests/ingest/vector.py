"""Which requests are on disk, and what must become of each?

A vector says why it is there, gives a request's headers and body, and what is expected: the HTTP status, and either
the refusal of the whole body or one outcome for each event. A body is text (`body`), bytes (`body_hex`), or a long
repetition (`repeat`: before, opening, times, closing, after).
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from schemas.site import Site, parse_site

FOLDER = Path(__file__).parent / "vectors"
RECEIVED_AT = datetime(2025, 7, 1, 1, 0, 1, 250_000, tzinfo=UTC)

SITE: Site = parse_site(
    {
        "site.toml": 'id = "test"\nnames = { en = "Test" }\nzone = "Asia/Ho_Chi_Minh"\narea_list = "vn-test"\nlanguages = ["en"]\n',
        "areas.csv": "code,parent,kind,name_vi,name_en\n00,,province,Tỉnh,Province\n01,00,commune,Phường,Ward\n",
        "kpis.toml": "",
    }
)


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
