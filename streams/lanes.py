"""How do several partitions get counted side by side, each in its own order?

While one lane waits for the database another decodes and folds, so neither the processor nor the database idles.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic
from typing import NamedTuple

from streams import metrics
from streams.core.batch import Batch
from streams.core.dedupe import IDS_MAX
from streams.lane import Counting
from streams.store.writer import Lane

QUEUED_MAX = 2
"""Batches that wait in one lane. At the bound the agent waits, and the broker keeps the rest."""


class _Job(NamedTuple):
    batch: Batch
    done: Callable[[], None]


class _Runner:
    """One lane, its queue and its task."""

    def __init__(
        self, counting: Counting, halt: Callable[[BaseException], None], counted: Callable[[], None]
    ) -> None:
        self.counting = counting
        self.queue: asyncio.Queue[_Job] = asyncio.Queue(QUEUED_MAX)
        self.counted = counted
        self.busy_since_s: float | None = monotonic()
        self.task = asyncio.create_task(self._run())
        self.task.add_done_callback(lambda task: self._ended(task, halt))

    async def _run(self) -> None:
        await self.counting.prepare()
        while True:
            self.busy_since_s = None
            jobs = [await self.queue.get()]
            self.busy_since_s = monotonic()
            # What has piled up goes in one transaction: the same rows are then written once, not once a batch.
            while not self.queue.empty():
                jobs.append(self.queue.get_nowait())
            for batch, merged in _merged(jobs):
                await self.counting.count(batch)
                for job in merged:
                    job.batch.committed = True
                    job.done()
                self.counted()

    @staticmethod
    def _ended(task: asyncio.Task[None], halt: Callable[[BaseException], None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            halt(error)


def _merged(jobs: Sequence[_Job]) -> Iterator[tuple[Batch, Sequence[_Job]]]:
    """Joins batches that follow on each other. One that does not, as after a rebalance, stands by itself."""
    first = 0
    for end in range(1, len(jobs) + 1):
        if end < len(jobs) and jobs[end].batch.first_offset == jobs[end - 1].batch.next_offset:
            continue
        run = jobs[first:end]
        records = [record for job in run for record in job.batch.records] if len(run) > 1 else run[0].batch.records
        last = run[-1].batch
        yield Batch(last.topic, last.partition, records, last.log_end), run
        first = end


class Lanes:
    """All lanes of a worker."""

    def __init__(
        self,
        open_lane: Callable[[Lane], Counting],
        halt: Callable[[BaseException], None],
        ids_max: int = IDS_MAX,
    ) -> None:
        """`halt` is told of an error after which counting on would be wrong."""
        self._open_lane = open_lane
        self._halt = halt
        self._ids_max = ids_max
        self._runners: dict[Lane, _Runner] = {}
        # The event loop refers to tasks weakly. One that was cancelled may still be closing its connections, and with
        # nobody holding both, the garbage collector would take them from under it.
        self._ending: set[asyncio.Task[None]] = set()

    def __contains__(self, lane: object) -> bool:
        """Whether the lane is this worker's."""
        return lane in self._runners

    async def submit(self, batch: Batch, done: Callable[[], None]) -> None:
        """Queues a batch behind those of its lane; `done` is called once the database holds it."""
        await self._runner(Lane(batch.topic, batch.partition)).queue.put(_Job(batch, done))

    def assign(self, lanes: Iterable[Lane]) -> None:
        """Ends the lanes that another worker has now, and opens those that are new here.

        A lane that is opened checks its log even if nothing comes: a topic that was cut or made anew is heard of.
        """
        wanted = set(lanes)
        self.keep_only(wanted)
        for lane in sorted(wanted):
            self._runner(lane)

    def keep_only(self, lanes: Iterable[Lane]) -> None:
        """Ends the lanes that another worker has now. What is under way is fenced by the position."""
        kept = set(lanes)
        for lane in [lane for lane in self._runners if lane not in kept]:
            runner = self._runners.pop(lane)
            runner.task.cancel()
            self._ending.add(runner.task)
            runner.task.add_done_callback(self._ending.discard)
            # An agent that waits for room in a queue which nobody empties would keep its whole topic waiting.
            while not runner.queue.empty():
                runner.queue.get_nowait()

    def busy_s(self) -> float:
        """How long the slowest lane has been at its batch; 0 when all wait for something to come."""
        begun_s = [runner.busy_since_s for runner in self._runners.values() if runner.busy_since_s is not None]
        return monotonic() - min(begun_s) if begun_s else 0.0

    def idle(self) -> dict[Lane, int]:
        """The lanes that wait for something to come, and the offsets that they stand at."""
        return {
            lane: runner.counting.standing
            for lane, runner in self._runners.items()
            if runner.busy_since_s is None and runner.queue.empty() and runner.counting.standing is not None
        }

    async def close(self) -> None:
        """Ends all lanes at once; what was not committed comes again."""
        self.keep_only(())
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _runner(self, lane: Lane) -> _Runner:
        runner = self._runners.get(lane)
        if runner is None:
            runner = self._runners[lane] = _Runner(self._open_lane(lane), self._halt, self._bound_ids)
        return runner

    def _bound_ids(self) -> None:
        """Keeps the memory for dedupe below its bound, at the price of the oldest ids of the fullest lane."""
        lanes = [runner.counting for runner in self._runners.values()]
        total = sum(len(lane.seen) for lane in lanes)
        while total > self._ids_max:
            forgotten = max(lanes, key=lambda lane: len(lane.seen)).seen.forget_oldest()
            metrics.FORGOTTEN.inc(forgotten)
            total -= forgotten
        metrics.REMEMBERED.set(total)
