"""Starts the worker processes, collects their counts, and ends them in any case."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from evertoken.demo.tally import Tally, total
from evertoken.demo.worker import work

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from multiprocessing.process import BaseProcess

    from evertoken.demo.worker import Job

    if sys.platform == "win32":
        from multiprocessing.connection import PipeConnection as Connection
    else:
        from multiprocessing.connection import Connection


def run(jobs: Sequence[Job]) -> Generator[Tally]:
    """Run all `jobs` at once, each in its own process; yields the tally so far.

    A worker that dies counts as one failed call.
    """
    # a new interpreter for each, as gunicorn and celery do without --preload
    context = multiprocessing.get_context("spawn")
    tallies: dict[Connection, Tally] = {}
    processes: dict[Connection, BaseProcess] = {}
    try:
        for job in jobs:
            listen, report = context.Pipe(duplex=False)
            process: BaseProcess = context.Process(target=work, args=(job, report), daemon=True)
            # otherwise an interrupt could come before the process is recorded here, and leave it
            # behind
            with _interrupts_held_back():
                process.start()
                tallies[listen], processes[listen] = Tally(), process
            report.close()
        open_ends = set(processes)
        while open_ends:
            ready = wait(open_ends)
            for end in (end for end in processes if end in ready):
                try:
                    tallies[end] = end.recv()
                except EOFError:
                    open_ends.discard(end)
                    tallies[end] += _ended(processes[end])
            yield total(tallies.values())
    finally:
        for end, process in processes.items():
            end.close()
            process.terminate()
            process.join()


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Block Ctrl-C: children started inside never get it, and this process gets it afterwards."""
    if sys.platform == "win32":
        yield
    else:
        # starting the tracker unblocks interrupts, so start it first
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ended(process: BaseProcess) -> Tally:
    process.join()
    if process.exitcode == 0:
        return Tally()
    return Tally(failed=1, first_failure=f"a worker ended with status {process.exitcode}")
