"""How long does `ioc up` take, on a machine that has nothing, and on one that has run it before?"""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.services import Services

WAIT_S = 300
WARM_RUNS = 3


async def measure(services: Services) -> dict[str, list[float]]:
    """`up_cold_s`: empty data folder and empty cache, downloads included. `up_warm_s`: both from before."""
    return await asyncio.to_thread(_measure, services.folder / "up")


def _measure(folder: Path) -> dict[str, list[float]]:
    folder.mkdir()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("IOC_")}
    environ |= {"IOC_DATA": str(folder / "data"), "IOC_CACHE": str(folder / "cache"), "IOC_PORT": ""}
    cold_s = _up_s(environ)
    warm_s = [_up_s(environ) for _ in range(WARM_RUNS)]
    return {"up_cold_s": [cold_s], "up_warm_s": warm_s}


def _up_s(environ: dict[str, str]) -> float:
    """Seconds until everything is ready; stops it again."""
    command = [sys.executable, "-m", "deploy.cli"]
    started_s = time.perf_counter()
    try:
        up = subprocess.run(
            [*command, "up", "--detach", "--no-demo"],
            env=environ,
            timeout=WAIT_S,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if up.returncode:
            raise RuntimeError(f"`ioc up` failed:\n{up.stdout[-2000:]}")
        return time.perf_counter() - started_s
    finally:
        subprocess.run(
            [*command, "down"],
            env=environ,
            timeout=60,
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
