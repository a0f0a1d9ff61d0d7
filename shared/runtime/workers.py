"""Worker processes: CPU work leaves the event loop free, and a file that kills its reader kills no service.

Each worker is one process at the other end of a pipe, with one task at a time. A worker that dies, answers nothing
in time or is abandoned is ended and replaced; its task fails with `WorkerLostError`, and nobody else notices.
"""

import asyncio
import multiprocessing
import os
import resource
import signal
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Generic, TypeVar

from shared import metrics
from shared.errors import PesError

Task = TypeVar("Task")
Answer = TypeVar("Answer")
END_SECONDS_MAX = 2.0
OUT_OF_MEMORY = 75  # how a worker ends that could not have the memory it asked for

# A fresh interpreter: the service's sockets and memory are not in the process that parses. Its environment would be:
# it is emptied first. (The network is still within its reach, as it is for any process of the container.)
_processes = multiprocessing.get_context("spawn")


class WorkerLostError(PesError):
    """The worker died of its task, or did not end it in time. Try once more; then the task is to blame: park it."""


class TooCostlyError(WorkerLostError):
    """The worker did not end its task within its time or its memory. It would not another time: say so to people."""


class _Worker:
    """One process, and our end of its pipe."""

    def __init__(self, memory_bytes_max: int) -> None:
        self.pipe, theirs = _processes.Pipe()
        self.process = _processes.Process(target=_work, args=(theirs, memory_bytes_max), daemon=True)
        self.process.start()
        theirs.close()

    def end(self) -> None:
        # The pipe closes by itself once nobody holds it. A thread may be about to wait on it: closed under its feet,
        # its number would go to the next worker's pipe, and the thread would wait for an answer not its own.
        self.process.kill()
        self.process.join(END_SECONDS_MAX)


class Pool:
    """Some worker processes; tasks wait for one that is free."""

    def __init__(self, size: int, *, seconds_max: float, memory_bytes_max: int) -> None:
        """Keep `size` workers; each task may take `seconds_max`, and a worker's address space so many bytes."""
        self._seconds_max = seconds_max
        self._memory_bytes_max = memory_bytes_max
        self._threads = ThreadPoolExecutor(size, "pool")
        self._idle: asyncio.Queue[_Worker] = asyncio.Queue()
        self._workers = [_Worker(memory_bytes_max) for _ in range(size)]
        for worker in self._workers:
            self._idle.put_nowait(worker)

    async def run(self, do: Callable[[Task], Answer], task: Task) -> Answer:
        """Have a worker do `do(task)`, and return its answer.

        Raises:
            WorkerLostError: the worker died, took too long, or raised: it said nothing useful.
        """
        worker = self._alive(await self._idle.get())
        try:
            call = _Call(worker, do, task, self._seconds_max)
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except BaseException:
            metrics.WORKERS_LOST.inc()
            worker = self._replaced(worker)
            raise
        finally:
            self._idle.put_nowait(worker)

    def _alive(self, worker: _Worker) -> _Worker:
        """Return a worker that lives: one that the system killed while it did nothing is no task's fault."""
        return worker if worker.process.is_alive() else self._replaced(worker)

    def _replaced(self, worker: _Worker) -> _Worker:
        worker.end()
        fresh = _Worker(self._memory_bytes_max)
        self._workers[self._workers.index(worker)] = fresh
        return fresh

    async def aclose(self) -> None:
        """End every worker."""
        for worker in self._workers:
            worker.end()
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Call(Generic[Task, Answer]):
    """One task to one worker; waits in a thread."""

    def __init__(self, worker: _Worker, do: Callable[[Task], Answer], task: Task, seconds_max: float) -> None:
        self._worker = worker
        self._do = do
        self._task = task
        self._seconds_max = seconds_max

    def __call__(self) -> Answer:
        pipe = self._worker.pipe
        try:
            pipe.send((self._do, self._task))
            if not pipe.poll(self._seconds_max):
                raise TooCostlyError(f"no answer after {self._seconds_max:g} seconds")
            answer, failure = pipe.recv()
        except (EOFError, OSError) as error:
            self._worker.process.join(END_SECONDS_MAX)
            code = self._worker.process.exitcode
            if code == OUT_OF_MEMORY:
                raise TooCostlyError("the worker had not enough memory") from error
            raise WorkerLostError(f"the worker died (exit code {code})") from error
        if failure:
            raise WorkerLostError(f"the worker failed: {failure}")
        return answer  # type: ignore[no-any-return]  # what `do` returned in the other process


def _work(pipe: Connection, memory_bytes_max: int) -> None:
    """Do tasks until nobody sends any."""
    os.environ.clear()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service ends us
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes_max, memory_bytes_max))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold the document
    while True:
        try:
            do, task = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            pipe.send((do(task), ""))
        except MemoryError:
            os._exit(OUT_OF_MEMORY)  # nothing can be trusted any more, least of all another allocation
        except Exception:  # noqa: BLE001  # the other side reports it: a worker has no logs of its own
            pipe.send((None, traceback.format_exc(limit=-5)))
