"""How does one worker process start?"""

import logging
import socket

from deploy.memory import keep_freed_memory
from deploy.personal_keys import key_ring
from deploy.settings import Settings
from deploy.site_folder import SiteFolder
from schemas.site import Pack
from streams.agents import SESSION_TIMEOUT_S, StreamsConfig, Worker


def streams(settings: Settings, session_timeout_s: float = SESSION_TIMEOUT_S) -> None:
    """Runs one worker until a signal comes. See StreamsConfig for `session_timeout_s`."""
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    kafka, database_url = settings.addresses()
    site_folder = SiteFolder(settings.site)

    def current_pack() -> Pack:
        # A worker looks by itself, and at once where an event names an area that it does not know.
        site_folder.look()
        return site_folder.loaded.pack

    config = StreamsConfig(
        kafka=kafka,
        database_url=database_url,
        current_pack=current_pack,
        worker=f"{socket.gethostname()}/{settings.worker}",
        topic_prefix=settings.topic_prefix,
        metrics_port=settings.metrics_port,
        session_timeout_s=session_timeout_s,
        ring=key_ring(settings),
    )
    run_worker(config)


def run_worker(config: StreamsConfig) -> None:
    """Runs a worker for any site until a signal comes."""
    keep_freed_memory()
    Worker(config).run()
