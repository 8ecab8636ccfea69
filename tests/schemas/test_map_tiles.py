"""Does a map take its ground from one place only, and can no address change the policy that pages are sent with?"""

import pytest

from schemas.errors import SiteError
from schemas.site import parse_header
from tests.dashboard.centre import SITE_TOML

MAP = '\n[map]\ntiles = "{tiles}"\nattribution = "Who drew it"\n'


def header(tiles: str) -> str:
    return SITE_TOML + MAP.replace("{tiles}", tiles)


@pytest.mark.parametrize(
    ("tiles", "origin"),
    [
        pytest.param("https://tiles.example.vn/{z}/{x}/{y}.png", "https://tiles.example.vn", id="plain"),
        pytest.param("http://10.1.2.3:8080/t/{z}/{y}/{x}@2x.png?k=a-b", "http://10.1.2.3:8080", id="port and query"),
    ],
)
def test_an_address_of_tiles_is_taken(tiles: str, origin: str) -> None:
    found = parse_header(header(tiles)).map
    assert found is not None
    assert found.origin == origin
    assert found.zoom_max == 19


@pytest.mark.parametrize(
    "tiles",
    [
        pytest.param("ftp://tiles.example.vn/{z}/{x}/{y}.png", id="no web"),
        pytest.param("https://*/{z}/{x}/{y}.png", id="any host"),
        pytest.param("https://a.vn; script-src *;/{z}/{x}/{y}.png", id="further policy"),
        pytest.param("https://user@a.vn/{z}/{x}/{y}.png", id="user"),
        pytest.param("https://{s}.a.vn/{z}/{x}/{y}.png", id="several hosts"),
        pytest.param("https://a.vn/{z}/{x}.png", id="one is missing"),
        pytest.param("https://a.vn/{z}/{x}/{y}/{r}.png", id="one too many"),
        pytest.param("https://a.vn/{z}/{x}/{y}}.png", id="half a brace"),
        pytest.param("https://a.vn/{z}/{x}/{y} .png", id="space"),
        pytest.param("https:///{z}/{x}/{y}.png", id="no host"),
    ],
)
def test_another_address_is_refused_with_its_line(tiles: str) -> None:
    with pytest.raises(SiteError) as refused:
        parse_header(header(tiles))
    line = header(tiles).splitlines().index(f'tiles = "{tiles}"') + 1
    assert refused.value.position == f"line {line}"
    assert "https://tiles.example.vn/{z}/{x}/{y}.png" in refused.value.fix
