"""How do packages of another Debian release reach a private folder, without root or a change to the system?

The machine's own apt does it, with its mirror, proxy and keyring, but with folders of ours for lists, state
and cache, and with the release's name swapped in the sources. apt checks the signatures.
"""

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from deploy.local import progress
from deploy.local.errors import DownloadError, LocalServicesError

RETRIES_MAX = 3
READ_TIMEOUT_S = 30
COMMAND_TIMEOUT_S = 900  # an apt-get that takes longer is ended and reported
COMPONENT = "main"

APT_FOLDER = Path("/etc/apt")
OS_RELEASE = Path("/etc/os-release")


class Source(msgspec.Struct, frozen=True):
    """One archive address with its suites, as a `deb` line or a deb822 stanza names it."""

    uri: str
    suites: tuple[str, ...]
    signed_by: str


class Apt:
    """A private apt for the release `suite`, living in `folder`.

    Raises LocalServicesError where the machine has no apt to borrow from.
    """

    def __init__(self, folder: Path, suite: str) -> None:
        apt_get = require_apt()
        sources = swapped(machine_sources(APT_FOLDER), _os_release().get("VERSION_CODENAME", ""), suite)
        if not sources:
            raise LocalServicesError(f"no Debian archive is named in {APT_FOLDER}")
        self._apt_get = apt_get
        self._folder = folder
        self._config = folder / "apt.conf"
        self._write(sources)

    def _write(self, sources: Sequence[Source]) -> None:
        folder = self._folder
        for below in ("lists/partial", "archives/partial", "sources", "parts", "preferences"):
            (folder / below).mkdir(parents=True)
        (folder / "status").touch()  # with nothing installed, apt names every library that is needed
        stanzas = [
            f"Types: deb\nURIs: {source.uri}\nSuites: {' '.join(source.suites)}\nComponents: {COMPONENT}\n"
            + (f"Signed-By: {source.signed_by}\n" if source.signed_by else "")
            for source in sources
        ]
        (folder / "sources" / "debian.sources").write_text("\n".join(stanzas))
        # The machine's own settings (proxies, certificates) hold, but not its hooks, which clean its caches.
        for part in sorted((APT_FOLDER / "apt.conf.d").glob("*")):
            if part.is_file() and os.access(part, os.R_OK):
                shutil.copy(part, folder / "parts" / part.name)
        (folder / "parts" / "zzzz-ioc").write_text(
            "#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n"
            "#clear APT::Update::Post-Invoke-Success;\n#clear DPkg::Pre-Install-Pkgs;\n"
            "#clear Acquire::IndexTargets::deb::DEP-11;\n"
            f'Dir::State "{folder}";\nDir::State::lists "{folder}/lists";\nDir::State::status "{folder}/status";\n'
            f'Dir::Cache "{folder}";\nDir::Cache::archives "{folder}/archives";\n'
            f'Dir::Etc::sourcelist "/dev/null";\nDir::Etc::sourceparts "{folder}/sources";\n'
            f'Dir::Etc::preferences "/dev/null";\nDir::Etc::preferencesparts "{folder}/preferences";\n'
            f'Dir::Log "{folder}";\nAcquire::Languages "none";\nAPT::Sandbox::User "{_user_name()}";\n'
            'APT::Install-Recommends "false";\nAPT::Default-Release "";\n'
            f'Acquire::Retries "{RETRIES_MAX}";\n'
            f'Acquire::http::Timeout "{READ_TIMEOUT_S}";\nAcquire::https::Timeout "{READ_TIMEOUT_S}";\n'
        )
        self._config.write_text(f'Dir::Etc::parts "{folder}/parts";\n')

    def closure(self, *roots: str) -> list[str]:
        """The names of all packages that `roots` need, themselves included, as the archive has them now."""
        self._run(["update", "-q"], self._folder)
        simulated = self._run(["install", "-s", "-y", *roots], self._folder)
        return re.findall(r"^Inst (\S+)", simulated, flags=re.MULTILINE)

    def download(self, names: Sequence[str], folder: Path, title: str) -> list[Path]:
        """Downloads the packages into `folder`, with a progress bar, and returns their files."""
        listed = self._run(["download", "--print-uris", *names], folder)
        total_bytes = sum(int(size) for size in re.findall(r"^'.*' \S+ (\d+) \S+$", listed, flags=re.MULTILINE))
        with progress.download(title, total_bytes) as advance:
            self._run(["download", "-q", *names], folder, total_bytes, advance)
        return sorted(folder.glob("*.deb"))

    def _run(
        self,
        arguments: Sequence[str],
        cwd: Path,
        total_bytes: int = 0,
        advance: progress.Advance | None = None,
    ) -> str:
        read_end, write_end = os.pipe()
        with os.fdopen(read_end, "r") as status:
            process = subprocess.Popen(
                [self._apt_get, "-o", f"APT::Status-Fd={write_end}", *arguments],
                env={
                    **os.environ,
                    "APT_CONFIG": str(self._config),
                    "LC_ALL": "C",
                    "DEBIAN_FRONTEND": "noninteractive",
                },
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=(output := (self._folder / "stdout").open("w+")),
                stderr=(errors := (self._folder / "stderr").open("w+")),
                pass_fds=(write_end,),
            )
            os.close(write_end)
            watchdog = threading.Timer(COMMAND_TIMEOUT_S, process.kill)
            watchdog.start()
            shown_bytes = 0
            try:
                for line in status:
                    kind, _, rest = line.partition(":")
                    if kind == "dlstatus" and advance is not None:
                        reached_bytes = int(float(rest.split(":")[1]) / 100 * total_bytes)
                        advance(max(0, reached_bytes - shown_bytes))
                        shown_bytes = max(shown_bytes, reached_bytes)
                code = process.wait()
            finally:
                # Also when Ctrl-C ends the wait: apt-get must not go on alone.
                watchdog.cancel()
                process.kill()
                process.wait()
        with output, errors:
            output.seek(0)
            errors.seek(0)
            text, complaints = output.read(), errors.read().strip().splitlines()
        if code:
            reason = complaints[-1] if complaints else f"apt-get ended with {code}"
            raise DownloadError(
                f"Debian's packages could not be fetched ({reason}).",
                "Check the network and the machine's apt settings, and run the same command again.",
            )
        return text


def require_apt() -> str:
    """The path of apt-get on a Debian system. Raises LocalServicesError elsewhere."""
    apt_get = shutil.which("apt-get")
    if apt_get is None or shutil.which("dpkg-deb") is None or _os_release().get("ID") != "debian":
        raise LocalServicesError("this is not a Debian system with apt-get and dpkg-deb")
    return apt_get


def machine_sources(folder: Path) -> list[Source]:
    """The binary sources with the component main in an `/etc/apt`, one-line and deb822 style."""
    found: list[Source] = []
    for path in (folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))):
        if not path.is_file() or not os.access(path, os.R_OK):
            continue
        text = path.read_text(errors="replace")
        found += _stanzas(text) if path.suffix == ".sources" else _one_liners(text)
    return found


def _one_liners(text: str) -> list[Source]:
    line_form = re.compile(
        r"^deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>[^#\n]*)"
    )
    found: list[Source] = []
    for line in text.splitlines():
        match = line_form.match(line.strip())
        if match and COMPONENT in match["components"].split():
            signed_by = re.search(r"\bsigned-by=(\S+)", match["options"] or "")
            found.append(Source(match["uri"], (match["suite"],), signed_by[1] if signed_by else ""))
    return found


def _stanzas(text: str) -> list[Source]:
    found: list[Source] = []
    # Comments may stand inside a stanza; continuation lines (an inline key) belong to the field above.
    uncommented = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", uncommented):
        fields = {
            name.lower(): value.strip()
            for name, value in re.findall(r"^([\w-]+):((?:.*)(?:\n[ \t].*)*)", stanza, flags=re.MULTILINE)
        }
        if (
            "deb" not in fields.get("types", "").split()
            or COMPONENT not in fields.get("components", "").split()
            or fields.get("enabled", "yes").lower() == "no"
        ):
            continue
        signed_by = fields.get("signed-by", "")
        signed_by = signed_by if "\n" not in signed_by else "\n " + signed_by
        found += [
            Source(uri, tuple(fields.get("suites", "").split()), signed_by) for uri in fields.get("uris", "").split()
        ]
    return found


def swapped(sources: Sequence[Source], codename: str, suite: str) -> list[Source]:
    """The sources that carry the release `codename` (or `stable`), with `suite` in its place."""
    found: dict[tuple[str, tuple[str, ...]], Source] = {}
    for source in sources:
        suites: list[str] = []
        for name in source.suites:
            base, dash, pocket = name.partition("-")
            if base in {codename, "stable"} and pocket in {"", "updates", "security"}:
                suites.append(suite + dash + pocket)
        if suites and not source.uri.startswith("cdrom:"):
            found[source.uri, tuple(suites)] = Source(source.uri, tuple(suites), source.signed_by)
    return list(found.values())


def _os_release() -> dict[str, str]:
    if not OS_RELEASE.is_file():
        return {}
    pairs = (line.partition("=") for line in OS_RELEASE.read_text().splitlines())
    return {name: value.strip('"') for name, _, value in pairs}


def _user_name() -> str:
    # As root apt would otherwise drop to a user that cannot enter a private folder.
    return "root" if os.geteuid() == 0 else ""
