"""Are the tables and topics there, and of this version?

`ioc migrate` may run twice, and by two at once: an advisory lock lets one through, and what is done is recorded.
"""

import hashlib
from importlib.resources import files

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, TopicAlreadyExistsError
from msgspec import Struct

from deploy.local.timescale import require_timescaledb
from deploy.settings import Settings
from deploy.site import load_pack
from schemas.errors import OperatorError
from schemas.site import Pack, parse_site
from schemas.topics import ALL, Topic
from streams.store.sites import register_site

_LOCK_KEY = 0x10C0_5C4E  # any constant that nothing else in the database uses

_HISTORY = """
CREATE TABLE IF NOT EXISTS schema_migration (
    number     integer     PRIMARY KEY,
    name       text        NOT NULL,
    sha256     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""


class Migration(Struct, frozen=True):
    """A numbered file of SQL. It is never edited once it has been released."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """What tells an edited file from the one that was applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """Every migration that this version carries, in order."""
    found = [
        Migration(int(file.name.split("_", 1)[0]), file.name, file.read_text())
        for file in (files("schemas") / "migrations").iterdir()
        if file.name.endswith(".sql")
    ]
    return sorted(found, key=lambda m: m.number)


async def migrate_schema(database_url: str) -> list[str]:
    """Applies what is missing, each migration in a transaction of its own. Returns the names applied.

    Raises OperatorError when an applied migration was edited, or when the database is of a newer version.
    """
    await require_timescaledb(database_url)
    known = migrations()
    applied: list[str] = []
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK_KEY)
        await connection.execute(_HISTORY)
        done = {r["number"]: r for r in await connection.fetch("SELECT number, name, sha256 FROM schema_migration")}
        if newer := sorted(set(done) - {m.number for m in known}):
            raise OperatorError(
                f"The database has migration {newer[-1]}, which this version does not know.", "Upgrade ioc."
            )
        for migration in known:
            if migration.number in done:
                if done[migration.number]["sha256"] != migration.sha256:
                    raise OperatorError(
                        f"Migration {migration.name} was edited after it was applied.",
                        "Restore it and add a new one.",
                    )
                continue
            async with connection.transaction():
                await connection.execute(migration.sql)
                await connection.execute(
                    "INSERT INTO schema_migration (number, name, sha256) VALUES ($1, $2, $3)",
                    migration.number,
                    migration.name,
                    migration.sha256,
                )
            applied.append(migration.name)
    finally:
        await connection.close()
    return applied


async def ensure_topics(bootstrap: str, prefix: str, *, brokers_min: int = 3) -> list[str]:
    """Creates the topics that are missing, three-fold where there are brokers for it. Returns the names created.

    A topic with fewer partitions than declared is refused: growing it would send a resend to another partition
    than the one that remembers it. Raises OperatorError.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=10_000)
    try:
        await admin.start()
    except (KafkaConnectionError, OSError) as error:
        raise OperatorError(f"Kafka does not answer at {bootstrap}.", "Start it, or correct IOC_KAFKA.") from error
    try:
        cluster = await admin.describe_cluster()
        replicas = 3 if len(cluster["brokers"]) >= brokers_min else 1
        existing = {t["topic"]: len(t["partitions"]) for t in await admin.describe_topics()}
        created: list[str] = []
        for topic in ALL:
            name = prefix + topic.name
            if name in existing:
                if existing[name] != topic.partitions:
                    raise OperatorError(
                        f"Topic {name} has {existing[name]} partitions, not {topic.partitions}.", "Recreate it empty."
                    )
                continue
            if await _create(admin, topic, name, replicas):
                created.append(name)
        return created
    finally:
        await admin.close()


async def migrate(settings: Settings) -> None:
    """Brings the database and the broker to this version."""
    kafka, database_url = settings.addresses()
    applied = await migrate_schema(database_url)
    created = await ensure_topics(kafka, settings.topic_prefix)
    version = await register(database_url, load_pack(settings.site))
    print(f"Schema: {', '.join(applied) or 'up to date'}. Topics: {', '.join(created) or 'all there'}.")
    print(f"Site pack: version {version}.")


async def register(database_url: str, pack: Pack) -> int:
    """Makes the site pack the one that workers count by from now on. Returns its version. Raises SiteError."""
    parse_site(pack)
    connection = await asyncpg.connect(database_url)
    try:
        return await register_site(connection, pack)
    finally:
        await connection.close()


async def _create(admin: AIOKafkaAdminClient, topic: Topic, name: str, replicas: int) -> bool:
    """Creates one topic. Returns False when somebody else was faster."""
    config = {
        "retention.ms": str(topic.retention_ms),
        "min.insync.replicas": str(max(1, replicas - 1)),
        "max.message.bytes": str(2 * 1024 * 1024),
        # Records carry the broker's clock of arrival order, not event time: a replay of old events must not be
        # taken for old log and deleted.
        "message.timestamp.type": "LogAppendTime",
    }
    if topic.flush_each and replicas == 1:
        config["flush.messages"] = "1"
    try:
        response = await admin.create_topics(
            [NewTopic(name, topic.partitions, replicas, topic_configs=config)], timeout_ms=10_000
        )
    except TopicAlreadyExistsError:
        return False
    code: int = response.to_object()["topic_errors"][0]["error_code"]
    if code == TopicAlreadyExistsError.errno:
        return False
    if code:
        raise OperatorError(f"Kafka refused to create topic {name} (error {code}).", "Look into the broker's log.")
    return True
