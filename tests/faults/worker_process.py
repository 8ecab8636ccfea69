"""The real worker as a process that is soon missed when it dies: `python -m tests.faults.worker_process`."""

import os

from deploy.settings import Settings
from deploy.worker import streams

SESSION_TIMEOUT_S = 3.0
"""A test that kills a worker waits for so long until its partitions are free; people wait for 10 s."""

if __name__ == "__main__":
    streams(Settings.from_env(os.environ), SESSION_TIMEOUT_S)
