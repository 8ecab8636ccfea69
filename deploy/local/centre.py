"""Which parts make up a whole centre on one machine, on which ports, and with which environment?"""

import asyncio
import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from deploy.local import ports, postgres_programs
from deploy.local.child import Child
from deploy.local.errors import OperatorError
from deploy.local.kafka import LocalKafka
from deploy.local.postgres import LocalPostgres
from deploy.local.supervisor import Unit
from deploy.local.timescale import require_timescaledb
from deploy.replay.demo import DEMO_FILE, DEMO_FOLDER
from deploy.settings import Settings

IOC_COMMAND = (sys.executable, "-m", "deploy.cli")
WEB_PORT_PREFERRED = 8080
ANSWER_TIMEOUT_S = 2.0
EXTERNAL_TIMEOUT_S = 10.0
ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - how a person reaches what listens everywhere


class Ports(msgspec.Struct, frozen=True):
    """What each part listens on; kept in the data folder so that addresses stay the same."""

    kafka: int
    kafka_controller: int
    postgres: int
    web: int
    metrics: list[int]  # one for each worker, the outbound's, the feed's; the web's metrics are on its own port


class Centre(msgspec.Struct, frozen=True):
    """The units in order of start, and the addresses to show."""

    units: list[Unit]
    addresses: dict[str, str]


def last_ports(record: Path) -> Ports | None:
    """The last run's ports; None when there was none, or its record is damaged."""
    try:
        return msgspec.json.decode(record.read_bytes(), type=Ports)
    except (OSError, msgspec.DecodeError):
        return None


def choose_ports(settings: Settings, record: Path) -> Ports:
    """The last run's ports where they are still free, others where not. Raises OperatorError for a busy IOC_PORT."""
    last = last_ports(record)
    taken: set[int] = set()

    def choose(preferred: int | None, host: str = ports.LOOPBACK) -> int:
        port = ports.free_port(host, preferred if preferred not in taken else None)
        while port in taken:
            port = ports.free_port(host)
        taken.add(port)
        return port

    if settings.port is not None:
        if not ports.is_free(settings.host, settings.port):
            raise OperatorError(
                f"IOC_PORT={settings.port}: that port is taken or not allowed to us on {settings.host}.",
                "Stop that, set another port, or unset IOC_PORT to have a free one chosen.",
            )
        taken.add(settings.port)
    web = settings.port or choose(last.web if last else WEB_PORT_PREFERRED, settings.host)
    metrics_count = settings.workers + 2
    last_metrics = (last.metrics if last else [])[:metrics_count]
    chosen = Ports(
        kafka=choose(last.kafka if last else None),
        kafka_controller=choose(last.kafka_controller if last else None),
        postgres=choose(last.postgres if last else None),
        web=web,
        metrics=[choose(port) for port in [*last_metrics, *[None] * (metrics_count - len(last_metrics))]],
    )
    record.write_bytes(msgspec.json.encode(chosen))
    return chosen


def of(
    settings: Settings,
    chosen: Ports,
    environ: Mapping[str, str],
    *,
    demo: bool,
    command: Sequence[str] = IOC_COMMAND,
) -> Centre:
    """The centre that `settings` ask for, its programs being subcommands of `command`.

    External services are checked at once. Raises OperatorError.
    """
    if settings.database_url is None:
        # Told before Kafka is downloaded in vain.
        postgres_programs.require_obtainable(settings.cache_dir)
    units: list[Unit] = []
    kafka_address = settings.kafka
    if kafka_address is None:
        kafka = LocalKafka(settings.data_dir / "kafka", settings.cache_dir, chosen.kafka, chosen.kafka_controller)
        kafka_address = kafka.address
        units.append(Unit("kafka", 0, _launcher(kafka), kafka.is_ready, kafka_address))
    else:
        require_kafka(kafka_address)
    database_url: Callable[[], str]
    if (external_url := settings.database_url) is None:
        postgres = LocalPostgres(settings.data_dir / "postgres", settings.cache_dir, chosen.postgres)
        # The password is made at the first start, so the URL is not known before.
        database_url = lambda: postgres.address  # noqa: E731
        place = f"{ports.LOOPBACK}:{chosen.postgres}"
        units.append(Unit("postgres", 0, _launcher(postgres), _with_database(postgres), place))
    else:
        asyncio.run(require_timescaledb(external_url, EXTERNAL_TIMEOUT_S))
        url = external_url
        database_url = lambda: url  # noqa: E731

    def program(name: str, arguments: tuple[str, ...], metrics_port: int = 0, worker: int = 0) -> Callable[[], Child]:
        def launch() -> Child:
            return Child(
                name,
                [*command, *arguments],
                environ={
                    **environ,
                    "PYTHONUNBUFFERED": "1",
                    "IOC_KAFKA": kafka_address,
                    "IOC_DATABASE_URL": database_url(),
                    "IOC_DATA": str(settings.data_dir),
                    "IOC_CACHE": str(settings.cache_dir),
                    "IOC_URL": "",  # the demo feeds this centre, whatever a person's own replays are sent to
                    "IOC_SITE": str(settings.site),
                    "IOC_HOST": settings.host,
                    "IOC_PORT": str(chosen.web),
                    "IOC_METRICS_PORT": str(metrics_port),
                    "IOC_WORKER": str(worker),
                    "IOC_WORKERS": str(settings.workers),
                },
                cwd=Path.cwd(),
                log=settings.data_dir / "log" / f"{name}.log",
            )

        return launch

    origin = f"http://{ANY_HOST.get(settings.host, settings.host)}:{chosen.web}"
    metrics = [f"http://{ports.LOOPBACK}:{port}/metrics" for port in chosen.metrics]
    units.append(Unit("migrate", 1, program("migrate", ("migrate",)), once=True))
    units.append(Unit("web", 2, program("web", ("run", "web")), lambda: answers(f"{origin}/readyz"), origin))
    # In one stage with the web, so that neither's readiness may wait for the other's start.
    units += [
        Unit(
            f"streams-{worker}",
            2,
            program(f"streams-{worker}", ("run", "streams"), chosen.metrics[worker], worker),
            partial(answers, metrics[worker]),
            metrics[worker],
        )
        for worker in range(settings.workers)
    ]
    sending = metrics[settings.workers]
    outbound = program("outbound", ("run", "outbound"), chosen.metrics[settings.workers])
    units.append(Unit("outbound", 2, outbound, partial(answers, sending), sending))
    # A pack without a demo is fed by its own senders.
    if has_demo := demo and (settings.site / DEMO_FOLDER / DEMO_FILE).is_file():
        feed = program("feed", ("replay", "--demo"), chosen.metrics[-1])
        units.append(Unit("feed", 3, feed, address=metrics[-1]))
    addresses = {
        "board": f"{origin}/",
        "API": f"{origin}/openapi.json",
        "ingest": f"{origin}/v1/events",
        "metrics": " ".join([f"{origin}/metrics", *metrics[: settings.workers + 1 + has_demo]]),
        "Kafka": kafka_address,
        "database": f"{ports.LOOPBACK}:{chosen.postgres}" if settings.database_url is None else "IOC_DATABASE_URL",
    }
    return Centre(units, addresses)


def _launcher(service: LocalKafka | LocalPostgres) -> Callable[[], Child]:
    def launch() -> Child:
        service.launch()
        assert service.child is not None
        return service.child

    return launch


def _with_database(postgres: LocalPostgres) -> Callable[[], bool]:
    def ready() -> bool:
        if not postgres.is_ready():
            return False
        # Makes the database at the first start; later it only looks at a mark.
        postgres.wait_ready()
        return True

    return ready


def answers(url: str, timeout_s: float = ANSWER_TIMEOUT_S) -> bool:
    """Whether a GET there is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as reply:  # noqa: S310 - the URL is ours
            return bool(reply.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False


def require_kafka(bootstrap: str, timeout_s: float = EXTERNAL_TIMEOUT_S) -> None:
    """Returns when one of the bootstrap servers takes a connection. Raises OperatorError."""
    servers = [server.strip() for server in bootstrap.split(",")]
    reason = ""
    for server in servers:
        host, _, port = server.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s / len(servers)).close()
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
        else:
            return
    raise OperatorError(f"No Kafka answers at {bootstrap} ({reason}).", "Start it, or correct IOC_KAFKA.")
