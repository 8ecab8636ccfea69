"""How does a fresh clone get everything Python needs, with nothing but a Python on the machine?

`python3 deploy/bootstrap.py run|test|bench` makes a virtual environment in the data folder and installs the group's
lock, hash by hash. A stamp makes the second run do nothing and ask no network. Only the standard library is used, and
no syntax that an older Python would choke on before it can be told that it is too old.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PYTHON_MIN = (3, 11)
PYTHONS = ("python3", "python3.13", "python3.12", "python3.11")
GROUPS = ("run", "test", "bench")  # each lock holds all of the one before it
COMMAND_TIMEOUT_S = 1800
NETWORK_TIMEOUT_S = "30"
RETRIES_MAX = "4"

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("IOC_DATA") or ROOT / ".ioc").expanduser().absolute()
VENV = DATA / "venv"
VENV_PYTHON = str(VENV / "bin" / "python")


class SetupError(Exception):
    """Something whoever runs this can mend, in one line."""


def main(arguments: list[str]) -> int:
    """Installs one group; returns the exit code."""
    if len(arguments) != 1 or arguments[0] not in GROUPS:
        print(f"usage: bootstrap.py {'|'.join(GROUPS)}", file=sys.stderr)
        return 2
    if sys.version_info[:2] < PYTHON_MIN:
        return _with_newer_python(arguments)
    try:
        DATA.mkdir(parents=True, exist_ok=True)
        with (DATA / "venv.lock").open("w") as lock:
            # `make up` and `make test` may be started at the same time.
            fcntl.flock(lock, fcntl.LOCK_EX)
            _install(arguments[0])
    except SetupError as error:
        print(f"ioc: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"ioc: {DATA} cannot be used ({error}). Set IOC_DATA to a folder of yours.", file=sys.stderr)
        return 1
    return 0


def _with_newer_python(arguments: list[str]) -> int:
    for name in PYTHONS:
        found = shutil.which(name)
        if (
            found
            and subprocess.call([found, "-c", f"import sys; sys.exit(sys.version_info[:2] < {PYTHON_MIN})"]) == 0
        ):
            return subprocess.call([found, str(Path(__file__).resolve()), *arguments])
    wanted = ".".join(map(str, PYTHON_MIN))
    print(
        f"ioc: Python {wanted} or later is needed, and {sys.executable} is {sys.version.split()[0]}. "
        f"Install one (on Debian: apt-get install python3) or run `make PYTHON=/path/to/python`.",
        file=sys.stderr,
    )
    return 1


def _install(group: str) -> None:
    candidates = GROUPS[GROUPS.index(group) :]
    if any(_read(_stamp(name)) == _fingerprint(name) for name in candidates) and os.access(VENV_PYTHON, os.X_OK):
        return
    started_s = time.monotonic()
    _make_venv()
    lock = _lock(group)
    count = sum(1 for line in _read(lock).splitlines() if "==" in line)
    _say(f"Installing {count} Python packages for `{group}` (only what is not there yet)")
    _pip("install", "--require-hashes", "-r", str(lock))
    _pip("install", "--no-deps", "--no-build-isolation", "-e", str(ROOT))
    _stamp(group).write_text(_fingerprint(group))
    _say(f"Python packages are ready ({time.monotonic() - started_s:.1f} s)")


def _make_venv() -> None:
    if _works([VENV_PYTHON, "-m", "pip", "--version"]) and _version_of(VENV_PYTHON) == sys.version:
        return
    # A half-made one, or one whose Python is gone, is not worth mending.
    shutil.rmtree(VENV, ignore_errors=True)
    _say(f"Making a virtual environment in {VENV} with Python {sys.version.split()[0]}")
    if importlib.util.find_spec("venv") is None:
        raise SetupError("this Python has no venv module. Install it (on Debian: apt-get install python3-venv).")
    if importlib.util.find_spec("ensurepip") is not None:
        _run([sys.executable, "-m", "venv", str(VENV)], "the virtual environment could not be made")
        return
    _run([sys.executable, "-m", "venv", "--without-pip", str(VENV)], "the virtual environment could not be made")
    _pip_from_debian()


def _pip_from_debian() -> None:
    """Debian splits pip off; private apt folders fetch its wheel without root and without an install."""
    remedy = "Install it (on Debian: apt-get install python3-venv)."
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise SetupError(f"this Python has no ensurepip. {remedy}")
    _say("This Python comes without pip; fetching Debian's wheel of it")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for below in ("lists/partial", "archives/partial"):
            (folder / below).mkdir(parents=True)
        options = [
            *("-o", f"Dir::State={folder}", "-o", f"Dir::State::lists={folder}/lists", "-o", f"Dir::Cache={folder}"),
            *("-o", f"Dir::Cache::archives={folder}/archives", "-o", "Dir::State::status=/var/lib/dpkg/status"),
            *("-o", "Acquire::Languages=none", "-o", f"Acquire::Retries={RETRIES_MAX}"),
            *(
                "-o",
                f"Acquire::http::Timeout={NETWORK_TIMEOUT_S}",
                "-o",
                f"Acquire::https::Timeout={NETWORK_TIMEOUT_S}",
            ),
        ]
        if os.geteuid() == 0:
            options += ["-o", "APT::Sandbox::User=root"]
        for command in (["update", "-q"], ["download", "-q", "python3-pip-whl"]):
            _run(["apt-get", *options, *command], f"pip could not be fetched. {remedy}", cwd=folder)
        for deb in folder.glob("*.deb"):
            _run(["dpkg-deb", "-x", str(deb), str(folder / "root")], f"pip could not be unpacked. {remedy}")
        wheels = list(folder.glob("root/usr/share/python-wheels/pip-*.whl"))
        if not wheels:
            raise SetupError(f"Debian's package holds no wheel of pip. {remedy}")
        # A wheel can be run in place, and then install itself.
        inner = [VENV_PYTHON, str(wheels[0] / "pip"), "install", "-q", "--no-index", str(wheels[0])]
        _run(inner, f"pip could not be installed. {remedy}")


def _pip(*arguments: str) -> None:
    quiet = [] if sys.stderr.isatty() else ["-q"]
    environ = {
        "PIP_DEFAULT_TIMEOUT": NETWORK_TIMEOUT_S,
        "PIP_RETRIES": RETRIES_MAX,
        **os.environ,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PIP_NO_INPUT": "1",
    }
    _run(
        [VENV_PYTHON, "-m", "pip", *arguments[:1], *quiet, *arguments[1:]],
        "pip failed, and the lines above say why. Check the network and run the same command again.",
        environ=environ,
        shown=True,
    )


def _run(
    command: list[str], failure: str, cwd: Path = ROOT, environ: dict[str, str] | None = None, shown: bool = False
) -> None:
    output = None if shown else subprocess.PIPE
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if shown else subprocess.STDOUT,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"{failure} (no end in {COMMAND_TIMEOUT_S} s)") from error
    if done.returncode:
        said = (done.stdout or b"").decode(errors="replace").strip().splitlines()
        raise SetupError(failure + (f" ({said[-1]})" if said else ""))


def _works(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _version_of(python: str) -> str:
    asked = [python, "-c", "import sys; print(sys.version, end='')"]
    return subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False).stdout


def _stamp(group: str) -> Path:
    return VENV / f".installed-{group}"


def _fingerprint(group: str) -> str:
    digest = hashlib.sha256(f"{sys.version}\n{ROOT}\n".encode())
    for path in (_lock(group), ROOT / "pyproject.toml"):
        digest.update(_read(path).encode())
    return digest.hexdigest()


def _lock(group: str) -> Path:
    return ROOT / "deploy" / "locks" / f"{group}.lock"


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
