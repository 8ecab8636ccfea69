"""Is a site pack on disk read, and is what is wrong with its files said?"""

import shutil
from pathlib import Path

import pytest

from deploy.replay.recorded_file import load_mappings
from deploy.site import load_site
from schemas.errors import SiteError

SITE = Path(__file__).parents[2] / "deploy" / "sites" / "boston"


def test_the_packaged_site() -> None:
    site = load_site(SITE)
    assert site.areas.root.code == "BOS"
    assert len(site.areas.children(site.areas.root.code)) == len(site.areas) - 1 == 23
    assert set(load_mappings(SITE, site)) == {"boston_311_sla", "service_metrics", "traffic_sensors"}
    for kpi in site.kpis.kpis:
        assert set(kpi.names) == set(site.header.languages)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("site.toml", "areas.csv", "kpis.toml"):
        shutil.copy(SITE / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["site.toml", "areas.csv", "kpis.toml"])
def test_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(SiteError, match="it does not exist") as caught:
        load_site(folder)
    assert caught.value.file == str(folder / name)


@pytest.mark.parametrize(
    ("prefix", "position"),
    [
        pytest.param(b"\xff", "line 1", id="first byte"),
        pytest.param(b"# one\n# caf\xe9\n", "line 2", id="second line"),
        pytest.param("# Thành phố\n".encode() + b"\xe1\xbb", "line 2", id="cut within a letter"),
    ],
)
def test_a_file_that_is_not_utf8(folder: Path, prefix: bytes, position: str) -> None:
    file = folder / "kpis.toml"
    file.write_bytes(prefix + file.read_bytes())
    with pytest.raises(SiteError, match="is not UTF-8") as caught:
        load_site(folder)
    assert caught.value.position == position


def test_a_mark_at_the_beginning_does_no_harm(folder: Path) -> None:
    for file in folder.iterdir():
        file.write_bytes("\ufeff".encode() + file.read_bytes())
    assert load_site(folder).header.id == "boston"


def test_a_folder_where_a_file_should_be(folder: Path) -> None:
    (folder / "areas.csv").unlink()
    (folder / "areas.csv").mkdir()
    with pytest.raises(SiteError, match="Is a directory"):
        load_site(folder)
