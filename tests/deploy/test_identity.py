"""Are this machine's secrets kept, and do the commands about sign-ins do what they say?"""

import os
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy import secret_file
from deploy.identity import ADDRESS_FILE, identity_of, secrets_folder, sign_in_lines
from deploy.issuer.demo import demo_passwords
from deploy.issuer.passwords import FILE, PASSWORD_CHARS_MIN, Passwords
from deploy.issuer.signing import KEY_FILE, OLD_KEY_FILE, KeyRing
from deploy.settings import SettingError, Settings
from deploy.site import SHIPPED, load_site
from deploy.site_folder import SiteFolder
from schemas.errors import OperatorError, SiteError
from schemas.identity import NOT_STAFF, Role
from schemas.site import parse_site
from schemas.token import keys_of, verify
from tests.schemas.case_pack import FILES
from tests.schemas.people import people_pack, people_site
from tests.schemas.signer import NOW

ROOT = Path(__file__).parent.parent.parent
CHEAP_N = 2**4


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment of a centre whose pack declares people."""
    folder = tmp_path / "site"
    folder.mkdir()
    for name, text in people_pack().items():
        (folder / name).write_text(text, encoding="utf-8")
    others = {name: value for name, value in os.environ.items() if not name.startswith("IOC_")}
    return {**others, "IOC_DATA": str(tmp_path / "data"), "IOC_SITE": str(folder)}


def ioc(environ: dict[str, str], *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", *arguments],
        check=False,
        env=environ,
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_secret_is_made_once_by_whoever_is_first(tmp_path: Path) -> None:
    path, found = tmp_path / "secrets" / "key", list[bytes]()
    barrier = threading.Barrier(8)

    def make(at: int) -> None:
        barrier.wait()
        found.append(secret_file.read_or_make(path, lambda: b"%d" % at))

    threads = [threading.Thread(target=make, args=(at,)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    assert os.listdir(path.parent) == ["key"]  # noqa: PTH208


def test_a_secret_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "key"
    secret_file.write(path, b"x")
    path.chmod(0o644)
    with pytest.raises(OperatorError, match="chmod 600"):
        secret_file.read_or_make(path, lambda: b"y")


def test_a_key_stays_and_a_changed_one_still_checks_old_tokens(tmp_path: Path) -> None:
    first = KeyRing(tmp_path)
    assert KeyRing(tmp_path).key.id == first.key.id
    old = first.key.sign({"iss": "i", "aud": "a", "sub": "an", "exp": NOW.timestamp() + 60})
    (tmp_path / KEY_FILE).rename(tmp_path / OLD_KEY_FILE)
    second = KeyRing(tmp_path)
    assert second.key.id != first.key.id
    keys = keys_of(second.key_set)
    assert set(keys) == {first.key.id, second.key.id}
    assert verify(old, keys, issuer="i", audience="a", now=NOW).subject == "an"


def test_a_key_that_is_none_is_told(tmp_path: Path) -> None:
    secret_file.write(tmp_path / KEY_FILE, b"no key")
    with pytest.raises(OperatorError, match=r"issuer\.pem holds no P-256"):
        KeyRing(tmp_path)


def test_a_password_fits_itself_and_no_other(tmp_path: Path) -> None:
    passwords = Passwords(tmp_path, CHEAP_N)
    passwords.set("an", "mật khẩu đủ dài")
    passwords.set("binh", "another long one")
    # As some keyboards write it: letters and their marks apart.
    assert passwords.matches("an", "mâ\u0323t khâ\u0309u đu\u0309 da\u0300i")
    assert not passwords.matches("an", "another long one")
    assert not passwords.matches("an", "")
    assert not passwords.matches("an", "x" * 100_000)
    assert not passwords.matches("chi", "another long one")
    assert mode(tmp_path / FILE) == 0o600
    assert "another" not in (tmp_path / FILE).read_text()
    first = passwords.mark("an")
    passwords.set("an", "mật khẩu đủ dài")
    assert passwords.mark("an") != first
    with pytest.raises(OperatorError, match=f"{PASSWORD_CHARS_MIN} to"):
        passwords.set("an", "short")


def test_passwords_set_at_once_are_all_kept(tmp_path: Path) -> None:
    def put(at: int) -> None:
        Passwords(tmp_path, CHEAP_N).set(f"p{at}", "a long password")

    threads = [threading.Thread(target=put, args=(at,)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(Passwords(tmp_path).all()) == {f"p{at}" for at in range(8)}


def test_a_token_of_the_command_is_the_issuers(environ: dict[str, str]) -> None:
    early = ioc(environ, "token", "an.operator")
    assert early.returncode == 1
    assert "No web process has run" in early.stderr
    settings, site = Settings.from_env(environ), people_site()
    made = identity_of(settings, 8123, lambda: site, lambda: NOW)
    assert made is not None
    assert made.issuer is not None
    assert (secrets_folder(settings) / ADDRESS_FILE).read_text() == "http://127.0.0.1:8123/oidc"
    printed = ioc(environ, "token", "an.operator", "--hours", "2")
    assert printed.returncode == 0
    keys = keys_of(KeyRing(secrets_folder(settings)).key_set)
    now = datetime.now(UTC)
    found = verify(printed.stdout.strip(), keys, issuer=made.client.issuer, audience=made.client.audience, now=now)
    assert found.subject == "an.operator"
    assert timedelta(hours=1.9) < found.expires_at - now <= timedelta(hours=2)


@pytest.mark.parametrize(
    ("arguments", "more", "said"),
    [
        pytest.param(["nobody"], {}, "has no person 'nobody'. It declares an.operator, binh.roads", id="a stranger"),
        pytest.param(["an.operator", "--hours", "0"], {}, "cannot last 0 hours", id="no time"),
        pytest.param(["an.operator", "--hours", "9999"], {}, "Ask for up to 744", id="too long"),
        pytest.param(["an.operator"], {"IOC_OIDC_ISSUER": "https://id.vn"}, "Get one there", id="another issuer's"),
    ],
)
def test_a_token_that_cannot_be_is_refused(
    environ: dict[str, str], arguments: list[str], more: dict[str, str], said: str
) -> None:
    answer = ioc(environ | more, "token", *arguments)
    assert answer.returncode == 1
    assert said in answer.stderr
    assert answer.stdout == ""


def test_a_password_is_set_by_the_command(environ: dict[str, str]) -> None:
    assert ioc(environ, "passwd", "an.operator", "--stdin", stdin="a long password\n").returncode == 0
    assert Passwords(secrets_folder(Settings.from_env(environ))).matches("an.operator", "a long password")
    assert "short" not in ioc(environ, "passwd", "an.operator", "--stdin", stdin="short\n").stdout
    refused = ioc(environ, "passwd", "nobody", "--stdin", stdin="a long password\n")
    assert (refused.returncode, refused.stdout) == (1, "")


def test_where_nobody_signs_in_a_folder_that_cannot_be_written_is_no_reason_to_stop(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    settings = Settings.from_env({"IOC_DATA": str(blocked)})
    open_pack, closed_pack = parse_site(FILES), people_site()
    assert identity_of(settings, 8080, lambda: open_pack, lambda: NOW) is None
    with pytest.raises(OperatorError):
        identity_of(settings, 8080, lambda: closed_pack, lambda: NOW)


def test_an_issuer_elsewhere_leaves_none_here(tmp_path: Path) -> None:
    settings = Settings.from_env(
        {
            "IOC_DATA": str(tmp_path),
            "IOC_OIDC_ISSUER": "https://id.example.vn/",
            "IOC_OIDC_CLIENT_ID": "board",
            "IOC_PUBLIC_URL": "https://ioc.example.vn/",
        }
    )
    found = identity_of(settings, 8080, people_site, lambda: NOW)
    assert found is not None
    assert found.issuer is None
    assert (found.client.issuer, found.client.audience) == ("https://id.example.vn/", "board")
    assert found.public_url == "https://ioc.example.vn"
    assert not secrets_folder(settings).exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IOC_PUBLIC_URL", "ioc.example.vn"),
        ("IOC_PUBLIC_URL", "https://ioc.example.vn/board"),
        ("IOC_OIDC_ISSUER", "ftp://id.example.vn"),
        ("IOC_OIDC_ISSUER", "https://id.example.vn/?a=b"),
        ("IOC_OIDC_ISSUER", "https://[id"),
    ],
)
def test_an_address_that_is_none_is_told(name: str, value: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.from_env({name: value})
    assert caught.value.variable == name


def test_a_pack_does_not_lose_its_people_while_it_runs(environ: dict[str, str]) -> None:
    folder = Path(environ["IOC_SITE"])
    watched = SiteFolder(folder, settle_s=0)
    (folder / "people.toml").unlink()
    watched.look()
    assert watched.current().people
    assert "people.toml" in watched.problem
    assert not load_site(folder).people
    (folder / "people.toml").write_text("")
    with pytest.raises(SiteError, match="`person` is missing"):
        load_site(folder)


def test_examples_can_be_tried_at_once_and_stay_so(tmp_path: Path) -> None:
    first = demo_passwords(tmp_path, ["an", "binh"], CHEAP_N)
    passwords = Passwords(tmp_path, CHEAP_N)
    assert all(passwords.matches(person, password) for person, password in first.items())
    assert len(set(first.values())) == 2
    assert mode(tmp_path / "demo-sign-ins.json") == 0o600
    passwords.set("an", "one of my own")
    later = demo_passwords(tmp_path, ["an", "binh", "chi"], CHEAP_N)
    assert set(later) == {"binh", "chi"}
    assert later["binh"] == first["binh"]
    assert passwords.matches("an", "one of my own")


def test_whoever_starts_a_centre_is_told_how_to_sign_in(environ: dict[str, str], tmp_path: Path) -> None:
    settings = Settings.from_env(environ)
    assert sign_in_lines(settings, "http://c") == ["Sign in at http://c/signin; `ioc passwd PERSON` sets a password."]
    assert not secrets_folder(settings).exists()
    (tmp_path / "site" / "people.toml").unlink()
    assert "No sign-in" in sign_in_lines(settings, "http://c")[0]


def test_the_shipped_example_has_somebody_of_each_role() -> None:
    people = load_site(SHIPPED / "vietnam").people
    assert {role for person in people.values() for role in person.roles} == set(Role) - set(NOT_STAFF)
