"""Where do Kafka and the database of a data folder answer, also while no centre runs on it?"""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

from deploy.local import centre, progress
from deploy.local.kafka import LocalKafka
from deploy.local.postgres import LocalPostgres
from deploy.local.run_record import RunRecord
from deploy.settings import Settings
from schemas.errors import OperatorError


@contextmanager
def reachable(settings: Settings) -> Generator[tuple[str, str]]:
    """Kafka's and the database's address: the environment's, or those of the centre on the data folder.

    Where no centre runs, its Kafka and PostgreSQL are started without workers, and stopped at the end; until then no
    other centre starts there. Raises OperatorError.
    """
    if settings.kafka is not None and settings.database_url is not None:
        yield settings.kafka, settings.database_url
        return
    if not (settings.data_dir / "run").is_dir():
        raise OperatorError(
            f"No centre was ever run on {settings.data_dir}.",
            "Set IOC_DATA to a centre's data folder, or IOC_KAFKA and IOC_DATABASE_URL.",
        )
    record = RunRecord(settings.data_dir)
    if record.acquire():
        with ExitStack() as stack:
            stack.callback(record.release)
            yield _started(settings, record, stack)
        return
    state, chosen = record.read(), centre.last_ports(record.folder / "ports.json")
    if state is None or not state.ready or chosen is None:
        raise OperatorError("The centre on this data folder is just starting.", "Try again in a few seconds.")
    postgres = LocalPostgres(settings.data_dir / "postgres", settings.cache_dir, chosen.postgres)
    yield settings.kafka or state.addresses["Kafka"], settings.database_url or postgres.address


def _started(settings: Settings, record: RunRecord, stack: ExitStack) -> tuple[str, str]:
    """Starts what the environment does not name; `stack` stops it."""
    record.end_leftovers()
    chosen = centre.choose_ports(settings, record.folder / "ports.json")
    kafka_address, database_url = settings.kafka, settings.database_url
    if kafka_address is None:
        kafka = LocalKafka(settings.data_dir / "kafka", settings.cache_dir, chosen.kafka, chosen.kafka_controller)
        progress.say("No centre runs here: starting its Kafka for this command")
        stack.callback(kafka.stop)
        kafka.start()
        kafka_address = kafka.address
    if database_url is None:
        postgres = LocalPostgres(settings.data_dir / "postgres", settings.cache_dir, chosen.postgres)
        progress.say("No centre runs here: starting its PostgreSQL for this command")
        stack.callback(postgres.stop)
        postgres.start()
        database_url = postgres.address
    return kafka_address, database_url
