"""Do the fixtures that every other test stands on give real services?"""

import asyncpg

from deploy.local.kafka import answers


async def test_each_test_gets_an_empty_database_with_timescaledb(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("CREATE TABLE reading (time timestamptz NOT NULL, value float8)")
        await connection.execute("SELECT create_hypertable('reading', 'time')")
        assert await connection.fetchval("SELECT count(*) FROM timescaledb_information.hypertables") == 1
    finally:
        await connection.close()


def test_the_shared_broker_answers(kafka: str) -> None:
    host, _, port = kafka.rpartition(":")
    assert answers(host, int(port), timeout_s=5)
