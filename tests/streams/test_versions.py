"""Does every lane count by one version of the site pack, whichever a worker has heard of?"""

import random

import pytest

from schemas.site import Pack, parse_site
from schemas.window import Tier
from streams.versions import KEPT_MAX, RegisteredPack, Version, Versions, compiled, decoded, digest, encoded
from tests.streams.world import PACK, SITE, arrival, raw


def pack_with(comment: str) -> Pack:
    """The same site by another text."""
    return {**PACK, "kpis.toml": PACK["kpis.toml"] + f"\n# {comment}\n"}


def version(number: int) -> Version:
    """A version that nobody has to read."""
    return compiled(number, SITE)


async def unread(number: int) -> RegisteredPack:
    """To be asked by nobody."""
    raise AssertionError(f"version {number} was read")


class Registry:
    """The database, as far as versions go."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def read(self, number: int) -> RegisteredPack:
        """Each version has a text of its own."""
        self.asked.append(number)
        return RegisteredPack(number, pack_with(str(number)))


def test_the_newest_counts_in_whatever_order_they_come() -> None:
    numbers = list(range(1, 7))
    random.Random(1).shuffle(numbers)
    versions = Versions(version(0))
    for at, number in enumerate(numbers):
        versions.add(version(number))
        assert versions.newest.number == max(numbers[: at + 1])


async def test_none_is_the_newest() -> None:
    versions = Versions(version(0))
    versions.add(version(3))
    assert (await versions.get(0, unread)).number == 3


async def test_what_is_known_is_not_read() -> None:
    versions = Versions(version(1))
    for number in range(1, KEPT_MAX + 1):
        versions.add(version(number))
        assert [(await versions.get(known, unread)).number for known in range(1, number + 1)] == [
            *range(1, number + 1)
        ]


async def test_an_older_one_that_a_correction_asks_for_does_not_count() -> None:
    registry = Registry()
    versions = Versions(version(9))
    assert (await versions.get(4, registry.read)).number == 4
    assert versions.newest.number == 9
    assert (await versions.get(4, registry.read)).number == 4
    assert registry.asked == [4]


async def test_a_newer_one_that_a_lane_stands_at_counts_from_then_on() -> None:
    registry = Registry()
    versions = Versions(version(1))
    await versions.get(2, registry.read)
    assert versions.newest.number == 2


async def test_what_was_asked_for_last_is_kept() -> None:
    registry = Registry()
    versions = Versions(version(1))
    for number in range(2, KEPT_MAX + 3):
        versions.add(version(number))
    newest = KEPT_MAX + 2
    # Corrections of old events ask for the same old versions again and again.
    for number in (1, 2, 1, 2, 1, newest):
        assert (await versions.get(number, registry.read)).number == number
    assert registry.asked == [1, 2]
    for number in range(3, newest):
        await versions.get(number, registry.read)
    assert versions.newest.number == newest
    assert len(registry.asked) > 2
    # The newest is never forgotten.
    await versions.get(newest, unread)


def test_a_pack_comes_back_as_it_was() -> None:
    pack = pack_with("Tỉnh \x00 “thử” 🌧")
    assert decoded(encoded(pack)) == pack
    assert parse_site(decoded(encoded(PACK))).kpis.bases == SITE.kpis.bases


@pytest.mark.parametrize(
    ("other", "same"),
    [
        pytest.param(dict(sorted(PACK.items(), reverse=True)), True, id="the files in another order"),
        pytest.param(pack_with("x"), False, id="another text"),
        pytest.param({**PACK, "lineage.csv": ""}, False, id="one file more"),
        pytest.param({"a": "b", "c": "d"}, False, id="another pack"),
    ],
)
def test_a_digest_tells_packs_apart(other: Pack, same: bool) -> None:
    assert (digest(other) == digest(PACK)) is same
    assert (encoded(other) == encoded(PACK)) is same


def test_a_version_folds_and_reads_by_its_pack() -> None:
    header = PACK["site.toml"].replace("minute_days = 36500, hour_days = 36500", "minute_days = 1, hour_days = 2")
    site = parse_site({**PACK, "site.toml": header})
    found = compiled(3, site)
    old = raw("ioc.feedback.received.v1", time="2025-06-29T23:00:00Z")
    (one,) = [arrival(old)]
    assert found.site is site
    folded = found.fold([one])
    # A minute of the day before yesterday is not kept any more, an hour just so.
    kept = [tier for tier in Tier for part in folded.parts if part[tier]]
    assert kept == [Tier.HOUR, Tier.DAY]
