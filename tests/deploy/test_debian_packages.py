"""Are the machine's own sources understood, in both of apt's forms, and only Debian's swapped?"""

from pathlib import Path

import pytest

from deploy.local import debian_packages
from deploy.local.debian_packages import Source, machine_sources, swapped
from deploy.local.errors import LocalServicesError
from deploy.local.postgres_programs import require_obtainable, wanted

ONE_LINE = """
# deb http://commented.example/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/d.gpg] http://mirror.example/debian bookworm main contrib # ours
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/debian bookworm-backports main
deb http://other.example/tool stable-tool main
deb http://mirror.example/debian bookworm contrib
"""

STANZAS = """Types: deb deb-src
# where it was snapshot from
URIs: http://mirror.example/debian http://second.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/d.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no
"""


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        pytest.param(
            "sources.list",
            ONE_LINE,
            [Source("http://mirror.example/debian", ("trixie",), "/usr/share/keyrings/d.gpg")],
            id="one-line style",
        ),
        pytest.param(
            "sources.list.d/debian.sources",
            STANZAS,
            [
                Source("http://mirror.example/debian", ("trixie", "trixie-updates"), "/usr/share/keyrings/d.gpg"),
                Source("http://second.example/debian", ("trixie", "trixie-updates"), "/usr/share/keyrings/d.gpg"),
                Source("http://mirror.example/debian-security", ("trixie-security",), ""),
            ],
            id="deb822 style",
        ),
        pytest.param("sources.list", "deb http://u.example/ubuntu noble main\n", [], id="another distribution"),
        pytest.param("sources.list", "deb cdrom:[disk]/ bookworm main\n", [], id="a disk that is not in the drive"),
    ],
)
def test_only_debian_s_own_release_is_swapped(tmp_path: Path, name: str, text: str, expected: list[Source]) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    assert swapped(machine_sources(tmp_path), "bookworm", "trixie") == expected


def test_another_system_is_told_the_way_round_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "os-release"
    other.write_text('ID=fedora\nVERSION_CODENAME=""\n')
    monkeypatch.setattr(debian_packages, "OS_RELEASE", other)
    with pytest.raises(LocalServicesError) as caught:
        require_obtainable(tmp_path / "cache")
    message = str(caught.value)
    assert "\n" not in message
    for hint in ("deploy/compose/compose.yaml", "IOC_KAFKA", "IOC_DATABASE_URL"):
        assert hint in message


def test_the_compiler_and_the_installer_s_needs_are_left_out() -> None:
    names = [
        "libllvm19",
        "libz3-4",
        "perl",
        "libperl5.40",
        "libio-pty-perl",
        "debconf",
        "libc6",
        "zlib1g",
        "postgresql-17",
    ]
    assert wanted(names) == ["libc6", "zlib1g", "postgresql-17"]
