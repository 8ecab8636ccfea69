"""Where does a real MQTT broker come from, and how do tests run one?

Debian's own Mosquitto of this machine's release, unpacked into the cache without root, as it is done for PostgreSQL.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from deploy.local import cache, ports
from deploy.local.debian_packages import OS_RELEASE, Apt
from deploy.local.errors import LocalServicesError

USER, PASSWORD = "ioc", "of the broker"
START_S = 20.0

_LEFT_OUT = ("libc6", "libc-", "libgcc", "libpam", "libselinux")
"""The C library is the machine's own, of the same release."""


def _suite() -> str:
    text = OS_RELEASE.read_text() if OS_RELEASE.is_file() else ""
    found = dict(line.partition("=")[::2] for line in text.splitlines())
    return found.get("VERSION_CODENAME", "").strip('"')


def provision(cache_dir: Path) -> Path:
    """The folder with the unpacked packages, made at the first call. Raises OperatorError."""
    suite = _suite()
    if suite not in ("bookworm", "trixie"):
        raise LocalServicesError(f"Mosquitto is fetched for Debian 12 and 13 alone, and this is {suite or 'neither'}")
    return cache.provision(cache_dir.resolve() / f"mosquitto-{suite}-1", _build)


def _build(partial: Path, _: Path) -> None:
    work = partial / "work"
    debs = work / "debs"
    debs.mkdir(parents=True)
    apt = Apt(work / "apt", _suite())
    names = [
        name
        for name in apt.closure("mosquitto")
        if name == "mosquitto" or (name.startswith("lib") and not name.startswith(_LEFT_OUT))
    ]
    for file in apt.download(names, debs, "Mosquitto"):
        subprocess.run(["dpkg-deb", "-x", str(file), str(work / "root")], check=True, timeout=120)
    root = work / "root"
    (partial / "bin").mkdir()
    (partial / "lib").mkdir()
    for program in (root / "usr/sbin/mosquitto", root / "usr/bin/mosquitto_passwd"):
        shutil.copy(program, partial / "bin" / program.name)
    for library in [*root.glob("usr/lib/*/*.so*"), *root.glob("lib/*/*.so*")]:
        shutil.copy(library, partial / "lib" / library.name)
    shutil.rmtree(work)


class Broker:
    """A broker on loopback that wants a password, and keeps what it has while it is stopped."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = ports.free_port()
        self._env = {**os.environ, "LD_LIBRARY_PATH": str(programs / "lib")}
        passwords = folder / "passwords"
        passwords.write_text(f"{USER}:{PASSWORD}\n")
        passwords.chmod(0o600)
        hash_them = [str(programs / "bin/mosquitto_passwd"), "-U", str(passwords)]
        subprocess.run(hash_them, env=self._env, check=True, timeout=30)
        (folder / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\n"
            f"persistence true\npersistence_location {folder}/\nautosave_interval 1\nautosave_on_changes true\n"
            "sys_interval 1\n" + ("user root\n" if os.geteuid() == 0 else "")
        )

    @property
    def address(self) -> str:
        """As a site pack names it."""
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it answers."""
        command = [str(self._programs / "bin/mosquitto"), "-c", str(self._folder / "mosquitto.conf")]
        log = (self._folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(command, env=self._env, stdout=log, stderr=log)
        limit_s = time.monotonic() + START_S
        while not _answers(self.port):
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < limit_s
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends it; what it has is on disk."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            self._process.wait(30)
            self._process = None


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def running(programs: Path, folder: Path) -> Generator[Broker]:
    """A broker, as long as the context lasts."""
    broker = Broker(programs, folder)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()
