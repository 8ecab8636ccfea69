"""How does one process of the centre start?"""

import logging
import socket

from deploy.settings import Settings
from deploy.site import load_site
from schemas.errors import OperatorError
from streams.agents import StreamsConfig, Worker


def streams(settings: Settings) -> None:
    """Runs one worker until a signal comes."""
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    kafka, database_url = addresses(settings)
    config = StreamsConfig(
        kafka=kafka,
        database_url=database_url,
        site=load_site(settings.site),
        worker=f"{socket.gethostname()}/{settings.worker}",
        topic_prefix=settings.topic_prefix,
        metrics_port=settings.metrics_port,
    )
    Worker(config).run()


def addresses(settings: Settings) -> tuple[str, str]:
    """Where Kafka and the database are. Raises OperatorError when the environment does not say."""
    if settings.kafka is None or settings.database_url is None:
        raise OperatorError(
            "This process does not know where Kafka and the database are.",
            "Set IOC_KAFKA and IOC_DATABASE_URL, or let `ioc up` run it.",
        )
    return settings.kafka, settings.database_url
