"""The real gateway as a process: `python -m tests.faults.ingest_process PORT`, told the rest by the environment."""

import os
import sys
from datetime import UTC, datetime

import uvicorn

from deploy.settings import Settings
from deploy.site_folder import SiteFolder
from ingest.gateway.app import IngestConfig, create_app


def main(port: int) -> None:
    """Serves until it is killed."""
    settings = Settings.from_env(os.environ)
    assert settings.kafka is not None
    config = IngestConfig(
        kafka=settings.kafka,
        topic_prefix=settings.topic_prefix,
        current_site=SiteFolder(settings.site).current,
        now=lambda: datetime.now(UTC),
    )
    uvicorn.run(create_app(config), host="127.0.0.1", port=port, http="httptools", loop="uvloop", log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]))
