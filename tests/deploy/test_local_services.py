"""Do the embedded Kafka and PostgreSQL survive what a machine does to them, and do they keep to themselves?"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local import ports, postgres_programs, unprivileged
from deploy.local.centre import require_kafka
from deploy.local.child import Child
from deploy.local.kafka import LocalKafka
from deploy.local.postgres import LocalPostgres
from deploy.local.timescale import require_timescaledb
from schemas.errors import OperatorError
from tests.conftest import unavailable

ROOT = Path(__file__).parent.parent.parent
# What a default container leaves to root; dac_read_search is not in it.
CONTAINER_CAPABILITIES = (
    "-all,+chown,+dac_override,+fsetid,+fowner,+mknod,+net_raw,+setgid,+setuid,+setfcap,+setpcap,"
    "+net_bind_service,+sys_chroot,+kill,+audit_write"
)
ONE_ROUND = """
import sys
from pathlib import Path
from deploy.local.postgres import LocalPostgres

server = LocalPostgres(Path(sys.argv[1]) / "postgres", Path(sys.argv[2]))
server.start()
print(server.sql("SELECT extname FROM pg_extension WHERE extname = 'timescaledb'"))
server.stop()
"""


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[LocalPostgres]:
    """A server of this file's own, since these tests hurt it."""
    server = LocalPostgres(tmp_path_factory.mktemp("local") / "postgres", cache_dir)
    try:
        server.start()
    except OperatorError as error:
        unavailable(str(error))
    yield server
    server.kill()


def listens_on(process: psutil.Process) -> set[str]:
    """The addresses on which the process listens for TCP."""
    found = process.net_connections(kind="tcp")
    return {connection.laddr.ip for connection in found if connection.status == psutil.CONN_LISTEN}


def test_a_commit_survives_kill_9_and_the_address_stays(postgres: LocalPostgres) -> None:
    before = postgres.address
    postgres.sql("CREATE TABLE survives (n int)")
    postgres.sql("INSERT INTO survives VALUES (7)")
    postgres.kill()
    assert not postgres.is_ready()
    postgres.start()
    assert postgres.sql("SELECT n FROM survives") == "7"
    assert postgres.address == before


def test_sessions_of_a_postmaster_that_was_killed_alone_do_not_block_the_next_start(postgres: LocalPostgres) -> None:
    assert postgres.child is not None
    family = postgres.child.family()
    for process in family:
        process.suspend()  # so that none of them can notice and end
    family[0].kill()
    postgres.child._process.wait()
    postgres.start()
    assert postgres.sql("SELECT 1") == "1"
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family)


async def test_a_paused_server_answers_again_after_it_is_resumed(postgres: LocalPostgres) -> None:
    connection = await asyncpg.connect(postgres.address)
    try:
        postgres.pause()
        with pytest.raises(TimeoutError):
            await connection.fetchval("SELECT 1", timeout=0.5)
    finally:
        postgres.resume()
        connection.terminate()
    fresh = await asyncpg.connect(postgres.address, timeout=10)
    assert await fresh.fetchval("SELECT 1") == 1
    await fresh.close()


def test_it_listens_on_this_machine_only_and_keeps_its_password_private(postgres: LocalPostgres) -> None:
    assert postgres.child is not None
    process = postgres.child.identity.process()
    assert process is not None
    assert listens_on(process) == {ports.LOOPBACK}
    assert (postgres.data_dir / "password").stat().st_mode & 0o777 == 0o600
    assert process.uids().real != 0


async def test_a_wrong_password_is_refused(postgres: LocalPostgres) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres.address, password="guess")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("synchronous_commit", "on"),
        ("timescaledb.telemetry_level", "off"),
        ("data_checksums", "on"),
        ("server_encoding", "UTF8"),
        ("password_encryption", "scram-sha-256"),
    ],
)
def test_a_setting_that_the_centre_relies_on(postgres: LocalPostgres, name: str, value: str) -> None:
    assert postgres.sql(f"SHOW {name}") == value


def test_vietnamese_is_lowered_as_it_should_be(postgres: LocalPostgres) -> None:
    assert postgres.sql("SELECT lower('ĐƯỜNG ẤP ỄNH')") == "đường ấp ễnh"


def test_an_interrupted_initdb_is_done_again(tmp_path: Path, cache_dir: Path) -> None:
    (tmp_path / "postgres/cluster/base").mkdir(parents=True)
    (tmp_path / "postgres/cluster/PG_VERSION").write_text("17\n")
    server = LocalPostgres(tmp_path / "postgres", cache_dir)
    server.start()
    try:
        assert server.sql("SELECT 1") == "1"
    finally:
        server.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
@pytest.mark.parametrize("capabilities", [None, CONTAINER_CAPABILITIES], ids=["root", "root in a container"])
def test_root_below_a_folder_that_nobody_else_may_enter(
    tmp_path: Path, cache_dir: Path, capabilities: str | None
) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    confined = ["setpriv", "--bounding-set", capabilities, "--inh-caps", "-all"] if capabilities else []
    done = subprocess.run(
        [*confined, sys.executable, "-c", ONE_ROUND, str(private / "data"), str(cache_dir)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == "timescaledb\n", done.stderr
    assert private.stat().st_mode & 0o777 == 0o700


async def test_a_record_survives_kill_9_of_the_broker(tmp_path: Path, cache_dir: Path) -> None:
    broker = LocalKafka(tmp_path / "kafka", cache_dir)
    broker.start()
    try:
        assert broker.child is not None
        process = broker.child.identity.process()
        assert process is not None
        assert listens_on(process) <= {ports.LOOPBACK, f"::ffff:{ports.LOOPBACK}"}
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
        await admin.start()
        await admin.create_topics([NewTopic("kept", num_partitions=1, replication_factor=1)])
        await admin.close()
        producer = AIOKafkaProducer(bootstrap_servers=broker.address, acks="all", enable_idempotence=True)
        await producer.start()
        await producer.send_and_wait("kept", b"first")
        await producer.stop()
        broker.kill()
        started_s = time.monotonic()
        broker.start()
        assert time.monotonic() - started_s < 10
        consumer = AIOKafkaConsumer(bootstrap_servers=broker.address, auto_offset_reset="earliest")
        await consumer.start()
        consumer.assign([TopicPartition("kept", 0)])
        assert (await consumer.getone()).value == b"first"
        await consumer.stop()
    finally:
        broker.kill()


@pytest.fixture
def plain_postgres(tmp_path: Path, cache_dir: Path) -> Iterator[str]:
    """The URL of a server without TimescaleDB: our programs, less the extension's files."""
    source = postgres_programs.provision(cache_dir)
    programs = tmp_path / "programs"
    for below in ("usr/lib", "usr/share"):
        shutil.copytree(source / below, programs / below, symlinks=True)
    for path in programs.rglob("timescaledb*"):
        path.unlink()
    account = unprivileged.account_for([tmp_path, source / "lib"])
    cluster = tmp_path / "plain" / "cluster"
    cluster.parent.mkdir()
    os.chown(cluster.parent, account.uid, account.gid)
    binaries = postgres_programs.bin_of(programs)
    subprocess.run(
        [*account.launcher, str(binaries / "initdb"), "-D", str(cluster), "-U", "ioc", "--auth=trust", "--no-sync"],
        cwd="/",
        env={"LC_ALL": "C", "PATH": os.defpath},
        check=True,
        capture_output=True,
    )
    port = ports.free_port()
    server = Child(
        "plain",
        [str(binaries / "postgres"), "-D", str(cluster), "-p", str(port), "-c", "unix_socket_directories="],
        {"LC_ALL": "C", "PATH": os.defpath},
        Path("/"),
        tmp_path / "plain.log",
        launcher=account.launcher,
    )
    try:
        while not (cluster / "postmaster.pid").exists() or "ready" not in (cluster / "postmaster.pid").read_text():
            assert server.exit_code() is None, server.tail()
            time.sleep(0.02)
        yield f"postgresql://ioc:secret@127.0.0.1:{port}/postgres"
    finally:
        server.kill()


def is_one_clear_line(error: OperatorError) -> bool:
    """One line that gives no password away."""
    return "\n" not in str(error) and "secret" not in str(error)


async def test_a_plain_postgresql_is_refused(plain_postgres: str) -> None:
    with pytest.raises(OperatorError, match="has no TimescaleDB") as caught:
        await require_timescaledb(plain_postgres)
    assert is_one_clear_line(caught.value)
    assert "deploy/compose/compose.yaml" in str(caught.value)


async def test_ours_is_accepted(postgres: LocalPostgres) -> None:
    await require_timescaledb(postgres.address)


async def test_a_wrong_password_for_an_external_database_is_one_line(postgres: LocalPostgres) -> None:
    with pytest.raises(OperatorError, match="lets nobody in") as caught:
        await require_timescaledb(f"postgresql://ioc:secret@127.0.0.1:{postgres.port}/ioc")
    assert is_one_clear_line(caught.value)


async def test_an_address_where_nothing_answers_is_one_line() -> None:
    port = ports.free_port()
    with pytest.raises(OperatorError, match="No PostgreSQL answers") as caught:
        await require_timescaledb(f"postgresql://ioc:secret@127.0.0.1:{port}/ioc")
    assert is_one_clear_line(caught.value)
    with pytest.raises(OperatorError, match="No Kafka answers"):
        require_kafka(f"127.0.0.1:{port}")


async def test_a_server_that_says_nothing_is_left_within_the_bound() -> None:
    import socket

    with socket.create_server((ports.LOOPBACK, 0)) as silent:
        started_s = time.monotonic()
        with pytest.raises(OperatorError, match="No PostgreSQL answers"):
            await require_timescaledb(f"postgresql://ioc@127.0.0.1:{silent.getsockname()[1]}/ioc", timeout_s=1)
        assert time.monotonic() - started_s < 5
