"""The same work on many clips, in a pool of processes or on whatever executor is given, in bounded memory."""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from itertools import chain, islice
from typing import Any

from tts_lab.errors import UserError

ROWS_PER_TASK = 8
TASKS_IN_FLIGHT = 256
"""On an executor of unknown size: enough for a hundred workers, and a bound on what waits in memory."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def in_pool(
    work: Callable[[Sequence[Any]], Sequence[Any]],
    rows: Iterable[Any],
    *,
    jobs: int | None = None,
    start: tuple[Callable[..., None], tuple[Any, ...]] | None = None,
    preload: Sequence[str] = (),
    executor: Executor | None = None,
) -> Iterator[Any]:
    """What `work` makes of `rows`, given some at a time, as it is done: in no order, each once.

    `jobs` processes work (all cores by default; 1 works in this process); in each, `start` (a function and its
    arguments) is called first, and the modules of `preload` are imported once for all. Rows are drawn only as
    they are needed. With `executor`, any `concurrent.futures.Executor`, the work goes there instead, `start` is not
    called, and the executor is left running. Raises `UserError` if a worker dies.
    """
    rows = iter(rows)
    tasks = iter(lambda: list(islice(rows, ROWS_PER_TASK)), [])
    if executor is not None:
        try:
            yield from _drain(executor, work, tasks, TASKS_IN_FLIGHT)
        except UserError:
            raise
        except Exception as error:  # each engine has its own for a lost machine, as Dask's KilledWorker
            raise UserError(
                f"The executor gave up a part of the work ({type(error).__name__}: {error}). What is finished is kept; "
                "see to its workers (tts_lab installed, the same folders, enough memory) and run it again."
            ) from error
        return
    jobs = jobs or cores()
    first = list(islice(tasks, 2))
    if jobs == 1 or len(first) < 2:
        if start:
            start[0](*start[1])
        for task in chain(first, tasks):
            yield from work(task)
        return
    # A fork server forks from a clean process: a notebook's threads and torch do not travel into the workers.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tts_lab.corpus.one_thread", *preload])
    initializer, arguments = start or (None, ())
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=initializer, initargs=arguments)
    try:
        yield from _drain(pool, work, chain(first, tasks), 2 * jobs)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _drain(pool: Executor, work: Callable, tasks: Iterator, in_flight: int) -> Iterator[Any]:
    running: set[Future] = set()
    try:
        running |= {pool.submit(work, task) for task in islice(tasks, in_flight)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield from future.result()
            running |= {pool.submit(work, task) for task in islice(tasks, len(done))}
    except BrokenExecutor as error:
        raise UserError(
            "A worker process died: for lack of memory, or because a script calls this outside of "
            "`if __name__ == '__main__'`. What is finished is kept; run it again, with one job if need be."
        ) from error
    finally:
        for future in running:
            future.cancel()
