"""Runs processes of several threads each, one step at a time, in a drawn order.

A thread is a greenlet: it gives way at every door to the outside (datastore,
Marathon, kernel, sleep), so whatever happens between two doors is one step.
There are no real threads and no real waiting; a process may be killed or
stopped at any door.
"""

import itertools
import random
import traceback
from collections.abc import Callable
from heapq import heappop, heappush
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

    __slots__ = ("body", "gone", "process", "ready", "turn", "wake")

    def __init__(self, process: "Process", body: greenlet) -> None:
        self.process = process
        self.body = body
        self.wake = 0.0
        #: Whether the scheduler may pick it, and else which of its naps it takes.
        self.ready = False
        self.turn = 0
        self.gone = False

    def join(self, timeout: float) -> None:
        """Wait until it has ended; see threading.Thread."""
        self.process.await_end(self, timeout)


class Process:
    """Threads that live, stop and die together, as often as it is started."""

    def __init__(self, scheduler: "Scheduler", name: str, *, is_restarted: bool) -> None:
        self._scheduler = scheduler
        #: Whether it is started again when it has ended.
        self.is_restarted = is_restarted
        #: What its first thread does; to be set before it is started.
        self.main: Callable[[Process], None] = lambda _: None
        self.name = name
        self.threads: list[Thread] = []
        self.doomed = False
        self._paused_until = 0.0
        #: When whoever starts it starts it again.
        self.start_at = 0.0

    @property
    def paused_until(self) -> float:
        """Until when none of its threads takes a step, as after SIGSTOP."""
        return self._paused_until

    @paused_until.setter
    def paused_until(self, when: float) -> None:
        if when != self._paused_until:
            self._paused_until = when
            for thread in self.threads:
                self._scheduler.plan(thread)

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
        self._scheduler.down.discard(self)
        self._scheduler.plan(thread)
        return thread

    def await_end(self, thread: Thread, seconds: float) -> None:
        """Let the calling thread sleep until another has ended, so many seconds at most."""
        until = self._scheduler.now() + seconds
        while not thread.body.dead and self._scheduler.now() < until:
            self._scheduler.sleep(STEP)

    def kill(self) -> None:
        """End it before its next step."""
        self.doomed = True


class Scheduler:
    """Picks the next thread; time goes on when none is due."""

    def __init__(self, clock: ManualClock, order: random.Random) -> None:
        self.main = getcurrent()
        self._switch = self.main.switch
        self.clock = clock
        self.processes: list[Process] = []
        #: Those to be started, now or later.
        self.down: set[Process] = set()
        self.defects: list[str] = []
        self.steps = 0
        self.now = clock.monotonic
        self._order = order
        self._ready: list[Thread] = []
        #: Those that sleep by when they wake; what was planned anew is there twice.
        self._naps: list[tuple[float, int, Thread]] = []
        self._turns = itertools.count(1)
        self._current: Thread | None = None

    def process(self, name: str, *, is_restarted: bool = True) -> Process:
        """One more process, not yet started."""
        process = Process(self, name, is_restarted=is_restarted)
        self.processes.append(process)
        self._note_down(process)
        return process

    def _note_down(self, process: Process) -> None:
        if process.is_restarted:
            self.down.add(process)

    def plan(self, thread: Thread) -> None:
        """Have a thread go on when it wakes and its process is not stopped."""
        due = max(thread.wake, thread.process.paused_until)
        if due <= self.now():
            thread.turn = 0
            if not thread.ready:
                thread.ready = True
                self._ready.append(thread)
            return
        if thread.ready:
            thread.ready = False
            self._ready.remove(thread)
        turn = thread.turn = next(self._turns)
        heappush(self._naps, (due, turn, thread))

    def wake(self, thread: Thread) -> None:
        """End the sleep of a thread."""
        thread.wake = 0.0
        if not thread.ready and not thread.gone:
            self.plan(thread)

    def give_way(self) -> None:
        """Let others go first; the caller may be killed here. Outside of threads: nothing."""
        if getcurrent() is not self.main:
            self._switch()

    def sleep(self, seconds: float) -> None:
        """Let time pass for the calling thread, unless it is woken."""
        thread = self.current
        thread.wake = self.now() + seconds
        self.plan(thread)
        self._switch()

    @property
    def current(self) -> Thread:
        """The thread that takes this step."""
        if self._current is None or getcurrent() is self.main:
            raise RuntimeError("no thread runs")
        return self._current

    def run(
        self, until: float, after_step: Callable[[float], None], next_event: Callable[[], float]
    ) -> None:
        """Take steps until then; `next_event` is when something else happens by itself."""
        ready, naps, choose = self._ready, self._naps, self._order.choice
        advance, time = self.clock.advance, self.now
        now = time()
        while now < until:
            while naps and naps[0][0] <= now:
                _, turn, thread = heappop(naps)
                if thread.turn == turn:
                    self.plan(thread)
            if not ready:
                soonest = next_event()
                soonest = min(soonest, until)
                while naps and naps[0][2].turn != naps[0][1]:
                    heappop(naps)
                if naps and naps[0][0] < soonest:
                    soonest = naps[0][0]
                advance(max(soonest - now, STEP))
                now = time()
                after_step(now)
                continue
            thread = ready[0] if len(ready) == 1 else choose(ready)
            thread.wake = 0.0
            self._current = thread
            self.steps += 1
            body, process = thread.body, thread.process
            body.switch()
            advance(STEP)
            if process.doomed:
                self.reap(process)
            elif body.dead:
                process.threads.remove(thread)
                if not process.threads:
                    self._note_down(process)
                self._drop(thread)
            now = time()
            after_step(now)

    def reap(self, process: Process) -> None:
        """Have every thread of a process end now."""
        threads, process.threads = process.threads, []
        process.paused_until = 0.0
        for thread in threads:
            self._current = thread
            for _ in range(STUBBORN):
                if not thread.body:
                    # It ended, or did not begin.
                    break
                thread.body.throw(Killed)
            else:
                self.defects.append(f"{process.name}: a thread outlives its process")
            self._drop(thread)
        for thread in process.threads:
            self._drop(thread)
        process.threads = []
        self._note_down(process)

    def end(self) -> None:
        """End all processes, so that no greenlet is left behind."""
        for process in self.processes:
            self.reap(process)

    def _drop(self, thread: Thread) -> None:
        thread.gone, thread.turn = True, 0
        if thread.ready:
            thread.ready = False
            self._ready.remove(thread)


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
            self._scheduler.wake(self._waiting)

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
