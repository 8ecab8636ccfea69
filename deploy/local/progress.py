"""How does a person see a download move? A bar on a terminal, plain lines elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

Advance = Callable[[int], None]
"""Told how many bytes more have arrived; callable from any thread."""

console = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """One line for the person who waits."""
    console.print(text, markup=False)


@contextmanager
def download(title: str, total_bytes: int) -> Generator[Advance]:
    """Shows one download of `total_bytes`, and how long it took."""
    started_s = time.monotonic()
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(title, total=total_bytes)
            yield lambda n: bar.update(task, advance=n)
    else:
        say(f"{title}: downloading {total_bytes / 1e6:.0f} MB")
        with _quarters(title, total_bytes) as advance:
            yield advance
    say(f"{title}: {total_bytes / 1e6:.0f} MB in {time.monotonic() - started_s:.1f} s")


@contextmanager
def _quarters(title: str, total_bytes: int) -> Generator[Advance]:
    lock = threading.Lock()
    done_bytes = 0
    shown_quarters = 0

    def advance(more_bytes: int) -> None:
        nonlocal done_bytes, shown_quarters
        with lock:
            done_bytes += more_bytes
            quarters = done_bytes * 4 // max(total_bytes, 1)
            if shown_quarters < quarters < 4:
                shown_quarters = quarters
                say(f"{title}: {quarters * 25} %")

    yield advance
    sys.stderr.flush()
