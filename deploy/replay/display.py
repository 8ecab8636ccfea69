"""How does a person see a replay move? A bar on a terminal, a line for each tenth elsewhere."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.local.progress import console, say

TENTHS = 10


@contextmanager
def moving(title: str, done: int, total: int) -> Generator[Callable[[int], None]]:
    """Shows a replay of `total` events; what is yielded is told how many are done."""
    if not console.is_terminal:
        say(f"{title}: {done} of {total} events")
        yield _tenths(title, done, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=total, completed=done)
        yield lambda done: bar.update(task, completed=done)


def _tenths(title: str, done: int, total: int) -> Callable[[int], None]:
    shown = done * TENTHS // max(total, 1)

    def show(done: int) -> None:
        nonlocal shown
        tenth = done * TENTHS // max(total, 1)
        if tenth > shown:
            shown = tenth
            say(f"{title}: {done} of {total} events")

    return show
