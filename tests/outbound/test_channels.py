"""Does a message arrive whole, with its key, and does a failure say whether to try again?"""

import stat
from pathlib import Path

import pytest

from streams.outbound.channels import Folder, Webhook
from streams.store.outbox import Claimed
from tests.outbound.messages import message
from tests.outbound.receiver import Receiver


def attempt(id_: str = "r.1.json", target: str = "", body: bytes = b"{}", number: int = 1) -> Claimed:
    return Claimed(message(id_, "any", target, body), number)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_file_is_there_whole_under_its_id(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert await folder(attempt(target="a/b", body=b"one")) is None
    assert (tmp_path / "a/b/r.1.json").read_bytes() == b"one"
    # Once more, as after an attempt that was not marked.
    assert await folder(attempt(target="a/b", body=b"one", number=2)) is None
    assert names(tmp_path / "a/b") == ["r.1.json"]
    assert stat.S_ISREG((tmp_path / "a/b/r.1.json").lstat().st_mode)


async def test_an_absolute_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert await Folder(tmp_path / "base")(attempt(target=str(tmp_path / "share"))) is None
    assert (tmp_path / "share/r.1.json").exists()


async def test_a_part_that_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    left = tmp_path / ".r.1.json.1.part"
    left.write_bytes(b"ha")
    assert await Folder(tmp_path)(attempt(body=b"half", number=2)) is None
    assert names(tmp_path) == ["r.1.json"]


@pytest.mark.parametrize("id_", ["../x", "a/b", "/etc/x", "", ".", "..", ".hidden", "a\0b", "x" * 300, "a\n"])
async def test_nothing_is_written_outside_the_folder(tmp_path: Path, id_: str) -> None:
    base = tmp_path / "base"
    failure = await Folder(base)(attempt(id_))
    assert failure is not None
    assert failure.for_good
    assert names(tmp_path) == []


async def test_a_target_that_climbs_is_refused(tmp_path: Path) -> None:
    failure = await Folder(tmp_path / "base")(attempt(target="a/../../out"))
    assert failure is not None
    assert failure.for_good
    assert names(tmp_path) == []


async def test_a_link_in_the_folder_does_not_lead_out_of_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"kept")
    (tmp_path / "base").mkdir()
    (tmp_path / "base/r.1.json").symlink_to(outside)
    assert await Folder(tmp_path / "base")(attempt(body=b"new")) is None
    assert outside.read_bytes() == b"kept"
    assert (tmp_path / "base/r.1.json").read_bytes() == b"new"


async def test_a_folder_that_cannot_be_made_may_come_later(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    failure = await Folder(tmp_path)(attempt(target="taken"))
    assert failure is not None
    assert not failure.for_good


async def test_a_post_carries_the_body_and_the_key(receiver: Receiver) -> None:
    webhook = Webhook()
    assert await webhook(attempt(target=receiver.url("/200"), body=b'{"a": 1}')) is None
    await webhook.close()
    (received,) = receiver.received
    assert received == ("/200", "r.1.json", "application/json", b'{"a": 1}')


@pytest.mark.parametrize(
    ("path", "reason", "for_good", "wait_s"),
    [
        pytest.param("/500", "answered 500", False, 0, id="their fault"),
        pytest.param("/503", "answered 503", False, 0, id="away for now"),
        pytest.param("/408", "answered 408", False, 0, id="too slow for them"),
        pytest.param("/429", "answered 429", False, 3600, id="too much for them"),
        pytest.param("/400", "answered 400", True, 0, id="they do not want it"),
        pytest.param("/401", "answered 401", True, 0, id="not allowed"),
        pytest.param("/302", "answered 302", True, 0, id="a redirect is not followed"),
        pytest.param("/slow", "no answer within 0.3 s", False, 0, id="no answer in time"),
        pytest.param("/cut", "RemoteProtocolError", False, 0, id="cut off"),
    ],
)
async def test_a_failed_post_says_whether_to_try_again(
    receiver: Receiver, path: str, reason: str, *, for_good: bool, wait_s: float
) -> None:
    webhook = Webhook(timeout_s=0.3)
    failure = await webhook(attempt(target=receiver.url(path)))
    await webhook.close()
    assert failure is not None
    assert (failure.reason, failure.for_good, failure.wait_s) == (reason, for_good, wait_s)
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("target", "for_good"),
    [
        pytest.param("http://127.0.0.1:1/", False, id="nobody listens"),
        pytest.param("gopher://a.example/", True, id="another scheme"),
        pytest.param("no address", True, id="no address"),
        pytest.param("http://[::1", True, id="a broken address"),
    ],
)
async def test_an_address_that_cannot_be_reached(target: str, *, for_good: bool) -> None:
    webhook = Webhook(timeout_s=2)
    failure = await webhook(attempt(target=target))
    await webhook.close()
    assert failure is not None
    assert failure.for_good is for_good
