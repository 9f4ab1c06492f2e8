"""What follows from what the loop saw of containers, done where it may take time."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import assert_never

from calico.model import ContainerId, InterfaceName, TaskId
from reconciler.agent.attachments.attacher import HostAttacher
from reconciler.agent.attachments.files import KeptAttachment
from reconciler.agent.attachments.places import exists
from reconciler.agent.attachments.questions import task_among
from reconciler.agent.attachments.requests import Reply, TasksTold
from reconciler.agent.locators.api import LocatorUnavailable
from reconciler.agent.observation.evidence import StillHeld
from reconciler.attach.api import AttachError
from reconciler.runtime.clock import Clock
from reconciler.runtime.conditions import Conditions
from reconciler.runtime.inbox import Inbox

log = logging.getLogger(__name__)

#: Seconds between two looks for containers that ended unnoticed.
LOOK_EVERY = 60.0
#: Seconds until something that was begun is tried again, doubled each time.
FIRST_DELAY = 2.0
#: Seconds after which a step leaves the rest to the next one.
STEP_WITHIN = 5.0
#: Seconds that a container may have addresses and no link.
UNUSED_FOR = 600.0


@dataclass(frozen=True, slots=True)
class Claimed:
    """A task has claimed a container."""

    container: ContainerId


@dataclass(frozen=True, slots=True)
class Ended:
    """A container's namespace is gone."""

    container: ContainerId


@dataclass(frozen=True, slots=True)
class Forgettable:
    """A detached container need not be remembered."""

    container: ContainerId


@dataclass(frozen=True, slots=True)
class Lost:
    """A container's addresses are no longer its own, and no task has it."""

    container: ContainerId


Chore = Claimed | Ended | Forgettable | Lost


@dataclass(frozen=True, slots=True)
class _Wait:
    """When something is tried again, and how long it was put off."""

    due: float
    delay: float


class Keeper:
    """Does chores one by one; one thread calls `step`."""

    def __init__(
        self,
        attacher: HostAttacher,
        clock: Clock,
        still_held: StillHeld,
        exists: Callable[[InterfaceName], bool] = exists,
        conditions: Conditions = threading.Condition,
    ) -> None:
        self._attacher = attacher
        self._clock = clock
        self._still_held = still_held
        self._exists = exists
        self._inbox: Inbox[Chore] = Inbox(conditions=conditions)
        self._look_due = clock.monotonic()
        self._again: list[Chore] = []
        self._settling: dict[ContainerId, _Wait] = {}
        self._unused_since: dict[ContainerId, float] = {}

    def post(self, chore: Chore) -> None:
        """Have something done; never blocks."""
        self._inbox.post(chore)

    def run(self, stop: threading.Event) -> None:
        """Work until stopped."""
        while not stop.is_set():
            self.step(timeout=1.0)

    def step(self, timeout: float = 0.0) -> None:
        """Do what waits, waiting for something; look around at times."""
        chores = self._inbox.drain(timeout)
        now = self._clock.monotonic()
        look = now >= self._look_due
        if look:
            chores, self._again = (*self._again, *chores), []
        for chore in chores:
            try:
                self._do(chore)
            except AttachError as error:
                log.info("chore not done", extra={"chore": str(chore), "why": str(error)})
                self._again.append(chore)
        if look:
            self._look_due = now + LOOK_EVERY
            for attachment in self._left_behind(now):
                self._end(attachment.container)
        self._settle(now)

    def _do(self, chore: Chore) -> None:
        match chore:
            case Claimed(container):
                self._attacher.note_claimed(container)
            case Ended(container):
                self._end(container)
            case Forgettable(container):
                self._attacher.forget(container)
            case Lost(container):
                log.warning("container lost its addresses", extra={"container": container})
                self._attacher.note_lost(container)
            case _:
                assert_never(chore)

    def _end(self, container: ContainerId) -> None:
        try:
            if self._attacher.detach(container):
                log.info("container ended without a word", extra={"container": container})
        except AttachError as error:
            log.info("container not detached", extra={"container": container, "why": str(error)})

    def _settle(self, now: float) -> None:
        """Forget what was detached and never claimed.

        A request that ran out of time may have left it, or a crash. As long as
        the link is there its addresses are nobody else's.
        """
        attachments = [each for each in self._attacher.attachments() if each.detached]
        fresh = _Wait(now + FIRST_DELAY, FIRST_DELAY)
        self._settling = {
            each.container: self._settling.get(each.container, fresh) for each in attachments
        }
        for attachment in attachments:
            wait = self._settling[attachment.container]
            if now < wait.due or self._clock.monotonic() >= now + STEP_WITHIN:
                continue
            delay = min(LOOK_EVERY, wait.delay * 2)
            self._settling[attachment.container] = _Wait(now + delay, delay)
            if not self._exists(attachment.interface):
                with suppress(AttachError):
                    self._attacher.settle(attachment.container)

    def _left_behind(self, now: float) -> list[KeptAttachment]:
        """Containers whose link and namespace are gone, and those that never got a link."""
        attachments = [each for each in self._attacher.attachments() if not each.detached]
        unused = {each.container for each in attachments if not each.device}
        self._unused_since = {each: self._unused_since.get(each, now) for each in unused}
        lost = {
            each.container: each.namespace
            for each in attachments
            if each.namespace is not None and not self._exists(each.interface)
        }
        held = frozenset(self._still_held(lost.values()))
        return [
            each
            for each in attachments
            if (each.container in lost and lost[each.container] not in held)
            or now - self._unused_since.get(each.container, now) >= UNUSED_FOR
        ]


@dataclass(frozen=True, slots=True)
class _Asked:
    container: ContainerId
    reply: Reply[str]


class Asker:
    """Asks which tasks containers run, in a thread of its own: a Mesos agent may be slow."""

    def __init__(
        self,
        tasks_by_container: Callable[[], Mapping[ContainerId, frozenset[TaskId]]],
        post: Callable[[TasksTold], None],
        conditions: Conditions = threading.Condition,
    ) -> None:
        self._tasks_by_container = tasks_by_container
        self._post = post
        self._inbox: Inbox[frozenset[ContainerId] | _Asked] = Inbox(conditions=conditions)

    def post(self, containers: frozenset[ContainerId]) -> None:
        """Have a question asked; the loop is told the answer."""
        self._inbox.post(containers)

    def ask(self, container: ContainerId, reply: Reply[str]) -> None:
        """Find out which task a container is for; the answer is empty if that cannot be."""
        self._inbox.post(_Asked(container, reply))

    def run(self, stop: threading.Event) -> None:
        """Ask until stopped."""
        while not stop.is_set():
            self.step(timeout=1.0)

    def step(self, timeout: float = 0.0) -> None:
        """Answer all who wait by one question to Mesos, waiting for somebody to ask."""
        waiting = self._inbox.drain(timeout)
        if waiting:
            self.answer(waiting)

    def answer(self, waiting: Iterable[frozenset[ContainerId] | _Asked]) -> None:
        """Ask once for all of them and tell what it came to, whatever happens."""
        told: Mapping[ContainerId, frozenset[TaskId]] = {}
        why = ""
        try:
            told = self._tasks_by_container()
        except LocatorUnavailable as error:
            why = str(error)
        except Exception:
            log.exception("defect in asking for the tasks of containers")
            why = "what it said was not understood, see the agent's log"
        containers: set[ContainerId] = set()
        for each in waiting:
            if isinstance(each, _Asked):
                each.reply.settle(task_among(told.get(each.container, frozenset())))
            else:
                containers |= each
        if containers:
            self._post(TasksTold({each: told[each] for each in containers & told.keys()}, why))
