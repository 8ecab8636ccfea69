"""Does a pack that is edited while the centre runs count only when it is whole and right?"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.site import load_pack
from deploy.site_folder import BROKEN, SiteFolder
from schemas.site import Pack
from tests.streams.world import PACK

RENAMED = {**PACK, "site.toml": PACK["site.toml"].replace("Test province", "Renamed")}


class Disk:
    """A folder that reads as told, one time after the other, and then as the last time."""

    def __init__(self) -> None:
        self.reads: list[Pack | Exception] = [PACK]

    def load(self, _: Path) -> Pack:
        """The next reading."""
        read = self.reads.pop(0) if len(self.reads) > 1 else self.reads[0]
        if isinstance(read, Exception):
            raise read
        return read


@pytest.fixture
def disk() -> Iterator[Disk]:
    yield Disk()
    BROKEN.set(0)


def watched(disk: Disk) -> SiteFolder:
    """The folder, looked at without a pause."""
    return SiteFolder(Path(), disk.load, settle_s=0.0)


def is_broken() -> bool:
    """What the metrics say."""
    return any(sample.value == 1 for metric in BROKEN.collect() for sample in metric.samples)


def test_a_change_that_stands_still_counts(disk: Disk) -> None:
    folder = watched(disk)
    disk.reads = [RENAMED]
    folder.look()
    assert folder.current().header.names["en"] == "Renamed"
    assert folder.loaded.pack == RENAMED


def test_what_is_being_saved_does_not_count(disk: Disk) -> None:
    folder = watched(disk)
    kpis = PACK["kpis.toml"]
    # Each of these is a valid catalogue: the file is cut between two indicators.
    cuts = [{**PACK, "kpis.toml": kpis[: kpis.index("[[kpi]]", at)]} for at in (1_000, 2_000)]
    disk.reads = [*cuts, RENAMED]
    folder.look()
    assert folder.loaded.pack == PACK
    assert not is_broken()
    folder.look()
    assert folder.loaded.pack == RENAMED


def test_a_catalogue_does_not_become_empty_by_itself(disk: Disk) -> None:
    folder = watched(disk)
    disk.reads = [{**PACK, "kpis.toml": ""}]
    for _ in range(2):
        folder.look()
        assert folder.loaded.pack == PACK
        assert is_broken()
        assert "it declares no indicator any more" in folder.problem
    disk.reads = [PACK]
    folder.look()
    assert not is_broken()
    assert not folder.problem


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({**PACK, "kpis.toml": "[[kpi]"}, id="a mistake"),
        pytest.param({**PACK, "kpis.toml": "x = " + "[" * 9_999 + "]" * 9_999}, id="too deep to read"),
        pytest.param({**PACK, "areas.csv": PACK["areas.csv"] + "x\ry"}, id="no table"),
        pytest.param(RuntimeError("nobody foresaw it"), id="what nobody foresaw"),
    ],
)
def test_whatever_is_wrong_leaves_the_last_good_pack_in_force(disk: Disk, wrong: Pack | Exception) -> None:
    folder = watched(disk)
    disk.reads = [wrong]
    folder.look()
    assert folder.loaded.pack == PACK
    assert is_broken()
    assert folder.problem
    disk.reads = [RENAMED]
    folder.look()
    assert folder.loaded.pack == RENAMED
    assert not is_broken()


def test_a_zone_that_is_a_folder_is_a_mistake_of_the_pack(tmp_path: Path, disk: Disk) -> None:
    for name, text in PACK.items():
        (tmp_path / name).write_text(text)
    folder = SiteFolder(tmp_path, load_pack, settle_s=0.0)
    (tmp_path / "site.toml").write_text(PACK["site.toml"].replace("Asia/Ho_Chi_Minh", "Asia"))
    folder.look()
    assert folder.loaded.pack == PACK
    assert "time zone 'Asia' is not known" in folder.problem


def test_an_id_keeps_what_its_sketches_hold(disk: Disk) -> None:
    folder = watched(disk)
    changed = 'measure = "mean"\nsince = "opened_at"\ndimensions = ["category", "agency"]'
    assert changed in PACK["kpis.toml"]
    other = changed.replace('"mean"', '"percentile"\nq = 0.5')
    disk.reads = [{**PACK, "kpis.toml": PACK["kpis.toml"].replace(changed, other)}]
    folder.look()
    assert folder.loaded.pack == PACK
    assert "kpi 'handling': under this id sums are stored" in folder.problem
