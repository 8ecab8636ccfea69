"""`ioc up` with real Kafka and PostgreSQL and dummy programs, for tests that stop and kill it."""

import os
import sys
from pathlib import Path

from deploy.local import up
from deploy.settings import Settings

if __name__ == "__main__":
    part = Path(__file__).with_name("dummy_part.py")
    up.attached(Settings.from_env(os.environ), os.environ, demo=True, command=(sys.executable, str(part)))
