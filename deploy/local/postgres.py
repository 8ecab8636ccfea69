"""How does one PostgreSQL with TimescaleDB run on this machine, for a centre or for a test?"""

import os
import re
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

import psutil

from deploy.local import ports, postgres_programs, unprivileged
from deploy.local.child import Child, kill_all
from deploy.local.errors import ServiceError
from deploy.local.service import START_TIMEOUT_S, LocalService

ROLE = "ioc"
DATABASE = "ioc"
COMMAND_TIMEOUT_S = 60
ZONEINFO = Path("/usr/share/zoneinfo")  # Debian's build reads the system's own

SETTINGS = {
    "listen_addresses": f"'{ports.LOOPBACK}'",
    # A socket's path may be no longer than 107 bytes, which a data folder's often is.
    "unix_socket_directories": "''",
    "password_encryption": "'scram-sha-256'",
    "shared_preload_libraries": "'timescaledb'",
    "timescaledb.telemetry_level": "off",
    # Kafka's committed offsets may never lead the database's, so a commit is on the disk before it is told.
    "synchronous_commit": "on",
    "shared_buffers": "'256MB'",
    "max_wal_size": "'2GB'",
    "max_connections": "100",
    # A new chunk of a hypertable takes a dozen locks, and a replay of years makes many.
    "max_locks_per_transaction": "512",
    "max_worker_processes": "16",
    "jit": "off",
    "wal_compression": "on",
    "log_min_messages": "warning",
    "log_line_prefix": "'%m [%p] '",
    "log_lock_waits": "on",
    "log_checkpoints": "off",
}


class LocalPostgres(LocalService):
    """One server with its cluster in `data_dir`, which is made at the first start, with its password."""

    title = "PostgreSQL"

    def __init__(self, data_dir: Path, cache_dir: Path, port: int | None = None) -> None:
        super().__init__()
        self.data_dir = data_dir.resolve()
        self.cache_dir = cache_dir.resolve()
        self.port = port if port is not None else ports.free_port()
        self._programs: Path | None = None
        self._account: unprivileged.Account | None = None

    @property
    def address(self) -> str:
        """The URL of the database `ioc`, password included."""
        return self.url(DATABASE)

    def url(self, database: str) -> str:
        """The URL of a database on this server, password included."""
        password = (self.data_dir / "password").read_text().strip()
        return f"postgresql://{ROLE}:{password}@{ports.LOOPBACK}:{self.port}/{database}"

    def launch(self) -> None:
        """Starts it without waiting, making programs and cluster where they are missing."""
        assert self.child is None or self.child.exit_code() is not None, "it runs already"
        self._programs = postgres_programs.provision(self.cache_dir)
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        # The data folder itself is never opened up: where the account cannot pass, it gets a capability instead.
        account = unprivileged.account_for([self.data_dir.parent, self._programs / "lib"])
        self._account = account
        os.chown(self.data_dir, account.uid, account.gid)
        self.data_dir.chmod(0o700)
        cluster = self.data_dir / "cluster"
        if not (cluster / "ioc.conf").exists():
            self._make_cluster(cluster)
        end_leftovers(cluster)
        (cluster / "postmaster.pid").unlink(missing_ok=True)
        self.child = Child(
            "postgres",
            [str(self._bin / "postgres"), "-D", str(cluster), "-p", str(self.port)],
            environ=_environ(),
            cwd=Path("/"),
            log=self.data_dir.parent / "log" / "postgres.log",
            stop_signal=signal.SIGINT,  # "fast": ends the sessions, then shuts down cleanly
            launcher=account.launcher,
        )

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Returns when it accepts connections and the database exists. Raises ServiceError."""
        super().wait_ready(timeout_s)
        if not (self.data_dir / "database-made").exists():
            self._make_database()

    def is_ready(self) -> bool:
        """Whether its own pid file says so, for the process that we started."""
        if self.child is None or self.child.exit_code() is not None:
            return False
        try:
            lines = (self.data_dir / "cluster" / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.child.pid) and lines[7].strip() == "ready"

    def sql(self, statement: str, database: str = DATABASE) -> str:
        """Runs one statement outside a transaction and returns what psql prints, unaligned. Raises ServiceError."""
        done = subprocess.run(
            [str(self._bin / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, self.url(database)],
            env=_environ(),
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise ServiceError(f"PostgreSQL refused: {done.stderr.strip()}", "")
        return done.stdout.strip()

    @property
    def _bin(self) -> Path:
        if self._programs is None:
            self._programs = postgres_programs.provision(self.cache_dir)
        return postgres_programs.bin_of(self._programs)

    def _make_cluster(self, cluster: Path) -> None:
        assert self._account is not None
        # An interrupted initdb leaves a folder that the next one refuses; nothing of value can be in it yet.
        shutil.rmtree(cluster, ignore_errors=True)
        (self.data_dir / "database-made").unlink(missing_ok=True)
        password = self.data_dir / "password"
        if not password.exists():
            password.touch(mode=0o600)
            os.chown(password, self._account.uid, self._account.gid)
            password.write_text(secrets.token_urlsafe(24) + "\n")
        done = subprocess.run(
            [
                *self._account.launcher,
                str(self._bin / "initdb"),
                *("-D", str(cluster), "-U", ROLE, f"--pwfile={password}", "--auth=scram-sha-256"),
                *("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
                *("--no-instructions", "--data-checksums"),
            ],
            cwd="/",
            env=_environ(),
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ServiceError(f"initdb failed in {cluster}: {reason}", "Check the disk space, or run `ioc check`.")
        zone = "UTC" if (ZONEINFO / "UTC").exists() else "GMT"
        lines = [f"{name} = {value}" for name, value in {**SETTINGS, "timezone": f"'{zone}'"}.items()]
        with (cluster / "postgresql.conf").open("a") as file:
            file.write("\ninclude = 'ioc.conf'\n")
        settings = cluster / "ioc.conf"
        partial = settings.with_suffix(".partial")
        partial.write_text("\n".join(lines) + "\n")
        os.chown(partial, self._account.uid, self._account.gid)
        partial.rename(settings)

    def _make_database(self) -> None:
        if self.sql(f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'", "postgres") != "1":  # noqa: S608
            self.sql(f"CREATE DATABASE {DATABASE}", "postgres")
        self.sql("CREATE EXTENSION IF NOT EXISTS timescaledb")
        (self.data_dir / "database-made").touch()


def end_leftovers(cluster: Path) -> int:
    """Kills processes of a dead server that still live in `cluster`; the next start would wait for them in vain.

    PostgreSQL's processes have the cluster as their working directory. Returns how many there were.
    """
    owners: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(cluster) and re.match(r"postgres", process.name()):
                owners.append(process)
        except psutil.Error:
            continue
    kill_all(owners)
    return len(owners)


def _environ() -> dict[str, str]:
    # Nothing of the caller's environment (PG*, LD_*, LC_*) may change what the server does.
    return {"PATH": os.defpath, "LC_ALL": "C"}
