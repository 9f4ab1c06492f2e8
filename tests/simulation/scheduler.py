"""Runs processes of several threads each, one step at a time, in a drawn order.

A thread is a greenlet: it gives way at every door to the outside (datastore,
Marathon, kernel, sleep), so whatever happens between two doors is one step.
There are no real threads and no real waiting; a process may be killed or
stopped at any door.
"""

import random
import traceback
from collections.abc import Callable
from typing import Generic, TypeVar

from greenlet import getcurrent, greenlet

from reconciler.runtime.clock import ManualClock

#: Seconds that one step takes, so that time goes on even where nobody sleeps.
STEP = 0.001
#: So many times a killed thread may catch its end before that is a defect.
STUBBORN = 10

M = TypeVar("M")


class Killed(BaseException):
    """The process ends here, as by SIGKILL."""


class Exited(BaseException):
    """The process ends itself here."""


class Thread:
    """One thread of control; it is due when its time to wake has come."""

    __slots__ = ("body", "process", "wake")

    def __init__(self, process: "Process", body: greenlet) -> None:
        self.process = process
        self.body = body
        self.wake = 0.0


class Process:
    """Threads that live, stop and die together, as often as it is started."""

    def __init__(self, scheduler: "Scheduler", name: str) -> None:
        self._scheduler = scheduler
        #: What its first thread does; to be set before it is started.
        self.main: Callable[[Process], None] = lambda _: None
        self.name = name
        self.threads: list[Thread] = []
        self.doomed = False
        self.paused_until = 0.0
        #: When whoever starts it starts it again.
        self.start_at = 0.0

    @property
    def alive(self) -> bool:
        """Whether it runs, or could if it were not stopped."""
        return bool(self.threads)

    def start(self) -> None:
        """Begin anew, with nothing in memory."""
        self.doomed = False
        self.spawn(lambda: self.main(self))

    def spawn(self, run: Callable[[], None]) -> Thread:
        """Start one more thread."""

        def body() -> None:
            try:
                run()
            except Killed:
                pass
            except Exited:
                self.doomed = True
            except Exception:
                # The product ends its process then.
                self._scheduler.defects.append(f"{self.name}: {traceback.format_exc()}")
                self.doomed = True

        thread = Thread(self, greenlet(body, parent=self._scheduler.main))
        self.threads.append(thread)
        self._scheduler.changed()
        return thread

    def kill(self) -> None:
        """End it before its next step."""
        self.doomed = True


class Scheduler:
    """Picks the next thread; time goes on when none is due."""

    def __init__(self, clock: ManualClock, order: random.Random) -> None:
        self.main = getcurrent()
        self.clock = clock
        self.processes: list[Process] = []
        self.defects: list[str] = []
        self.steps = 0
        self._order = order
        self._threads: list[Thread] | None = None
        self._current: Thread | None = None

    def process(self, name: str) -> Process:
        """One more process, not yet started."""
        process = Process(self, name)
        self.processes.append(process)
        return process

    def changed(self) -> None:
        """Threads came or went."""
        self._threads = None

    def now(self) -> float:
        """Seconds since the beginning."""
        return self.clock.monotonic()

    def give_way(self) -> None:
        """Let others go first; the caller may be killed here. Outside of threads: nothing."""
        if getcurrent() is not self.main:
            self.main.switch()

    def sleep(self, seconds: float) -> None:
        """Let time pass for the calling thread, unless it is woken."""
        self.current.wake = self.now() + seconds
        self.main.switch()

    @property
    def current(self) -> Thread:
        """The thread that takes this step."""
        if self._current is None or getcurrent() is self.main:
            raise RuntimeError("no thread runs")
        return self._current

    def run(
        self, until: float, after_step: Callable[[], None], next_event: Callable[[], float]
    ) -> None:
        """Take steps until then; `next_event` is when something else happens by itself."""
        while self.now() < until:
            ready, soonest = self._ready(until)
            if not ready:
                soonest = min(soonest, next_event())
                self.clock.advance(max(soonest - self.now(), STEP))
                after_step()
                continue
            thread = ready[0] if len(ready) == 1 else self._order.choice(ready)
            thread.wake = 0.0
            self._current = thread
            self.steps += 1
            thread.body.switch()
            self.clock.advance(STEP)
            if thread.process.doomed:
                self.reap(thread.process)
            elif thread.body.dead:
                thread.process.threads.remove(thread)
                self.changed()
            after_step()

    def reap(self, process: Process) -> None:
        """Have every thread of a process end now."""
        threads, process.threads = process.threads, []
        process.paused_until = 0.0
        self.changed()
        for thread in threads:
            self._current = thread
            for _ in range(STUBBORN):
                if not thread.body:
                    # It ended, or did not begin.
                    break
                thread.body.throw(Killed)
            else:
                self.defects.append(f"{process.name}: a thread outlives its process")
        process.threads = []

    def end(self) -> None:
        """End all processes, so that no greenlet is left behind."""
        for process in self.processes:
            self.reap(process)

    def _ready(self, soonest: float) -> tuple[list[Thread], float]:
        now = self.now()
        if self._threads is None:
            self._threads = [each for p in self.processes for each in p.threads]
        ready = []
        for thread in self._threads:
            wake, paused = thread.wake, thread.process.paused_until
            # Half of the time that this takes is a call of max.
            due = wake if wake > paused else paused
            if due <= now:
                ready.append(thread)
            elif due < soonest:
                soonest = due
        return ready, soonest


class Inbox(Generic[M]):
    """Takes the place of the product's own between threads of one process."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._messages: list[M] = []
        self._waiting: Thread | None = None

    def post(self, message: M) -> None:
        """Hand a message over; wakes who waits."""
        self._messages.append(message)
        if self._waiting is not None:
            self._waiting.wake = 0.0

    def drain(self, timeout: float) -> tuple[M, ...]:
        """All messages that wait; waits for the first."""
        if not self._messages and timeout > 0:
            self._waiting = self._scheduler.current
            self._scheduler.sleep(timeout)
            self._waiting = None
        drained, self._messages = tuple(self._messages), []
        return drained


class Never:
    """A stop that is never asked for; waiting for it is sleeping."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def is_set(self) -> bool:
        """See threading.Event."""
        return False

    def wait(self, timeout: float) -> bool:
        """See threading.Event."""
        self._scheduler.sleep(timeout)
        return False
