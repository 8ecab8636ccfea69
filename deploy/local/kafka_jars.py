"""Which jars make up Apache Kafka, and how are they fetched so that every machine runs the same bytes?

The lock beside this file names each jar with its sha256 and size, so that fetching resolves nothing and
trusts nobody.
`python -m deploy.local.kafka_jars` writes it anew.
"""

import shutil
import tempfile
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec
import requests
from jgo.maven import Dependency, MavenContext, PythonResolver

from deploy.local import cache, manifest, progress
from deploy.local.errors import DownloadError

KAFKA_VERSION = "4.1.1"
LOG4J_VERSION = "2.24.3"  # what Kafka 4.1 itself asks for; without the SLF4J binding its broker logs nothing
BROKER = ("org.apache.kafka", "kafka_2.13", KAFKA_VERSION)
# Taken alone: resolved together with the broker, it would pull other libraries back to older versions.
LOG_BINDING = ("org.apache.logging.log4j", "log4j-slf4j-impl", LOG4J_VERSION)
LOCK = Path(__file__).with_suffix(".lock")

PARALLEL_MAX = 6
TRIES_MAX = 4  # then DownloadError: about ten seconds of waiting in all
READ_TIMEOUT_S = 20


class Jar(msgspec.Struct, frozen=True):
    """One jar by its Maven coordinates, with the only content that is accepted for it."""

    group: str
    artifact: str
    version: str
    sha256: str
    size_bytes: int

    @property
    def name(self) -> str:
        """The file's name in `lib/`."""
        return f"{self.artifact}-{self.version}.jar"


def locked_jars() -> list[Jar]:
    """The jars of the lock, in its order."""
    jars: list[Jar] = []
    for line in LOCK.read_text().splitlines():
        coordinates, sha256, size_bytes = line.split()
        group, artifact, version = coordinates.split(":")
        jars.append(Jar(group, artifact, version, sha256, int(size_bytes)))
    return jars


def provision(cache_dir: Path) -> Path:
    """The folder with Kafka's jars in `lib/`, downloaded at the first call. Raises DownloadError."""
    return cache.provision(folder(cache_dir), _build)


def folder(cache_dir: Path) -> Path:
    """Where they are, or will be; another lock means another folder."""
    return cache_dir.resolve() / f"kafka-{KAFKA_VERSION}-{manifest.sha256_of(LOCK)[:8]}"


def _build(partial: Path, final: Path) -> None:
    del final  # jars do not know where they live
    jars = locked_jars()
    (partial / "lib").mkdir()
    with progress.download(f"Apache Kafka {KAFKA_VERSION}", sum(jar.size_bytes for jar in jars)) as advance:
        context = _context(partial / "maven", advance)
        with ThreadPoolExecutor(PARALLEL_MAX) as pool:
            fetches = [pool.submit(_fetch, context, jar, partial / "lib") for jar in jars]
            try:
                for fetch in fetches:
                    fetch.result()
            except BaseException:
                # Ctrl-C, or a jar that cannot be had: the rest need not be fetched.
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    shutil.rmtree(partial / "maven")


def _context(repository: Path, advance: progress.Advance) -> MavenContext:
    @contextmanager
    def report(file_name: str, size_bytes: int) -> Generator[progress.Advance]:
        del file_name, size_bytes
        yield advance

    resolver = PythonResolver(progress_callback=report)
    return MavenContext(resolver, repo_cache=repository, local_repos=[], timeout=READ_TIMEOUT_S)


def _fetch(context: MavenContext, jar: Jar, lib: Path) -> None:
    artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
    reason = ""
    for attempt in range(TRIES_MAX):
        if attempt:
            time.sleep(2 ** (attempt - 1))
        try:
            path = artifact.resolve()
        except (requests.RequestException, RuntimeError, OSError) as error:
            reason = type(error).__name__
        else:
            if manifest.sha256_of(path) == jar.sha256:
                path.rename(lib / jar.name)
                return
            reason = "its content is not what the lock names"
        # jgo refuses to write over what a broken try left behind.
        if artifact.cached_path is not None:
            artifact.cached_path.unlink(missing_ok=True)
    raise DownloadError(
        f"{jar.name} could not be fetched from Maven Central ({reason}).",
        "Check the network, or a mirror's settings, and run the same command again.",
    )


def write_lock() -> None:
    """Resolves the broker anew and writes the lock."""
    lock = threading.Lock()
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as repository:
        context = _context(Path(repository), lambda _n: None)
        broker, binding = (
            Dependency(context.project(group, artifact).at_version(version).artifact())
            for group, artifact, version in (BROKER, LOG_BINDING)
        )
        inputs, transitive = PythonResolver().resolve([broker])

        def record(dependency: Dependency) -> None:
            path = dependency.artifact.resolve()
            coordinates = f"{dependency.groupId}:{dependency.artifactId}:{dependency.version}"
            with lock:
                lines.append(f"{coordinates} {manifest.sha256_of(path)} {path.stat().st_size}")

        with ThreadPoolExecutor(PARALLEL_MAX) as pool:
            for _ in pool.map(record, [*inputs, *transitive, binding]):
                pass
    LOCK.write_text("\n".join(sorted(lines)) + "\n")


if __name__ == "__main__":
    write_lock()
