"""What is known of tasks that Marathon no longer names, and what is held back."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from calico.cluster import HoldKind
from calico.model import TaskId
from marathon_client.models import App, AppList
from reconciler.controller.removal.confirmation import Confirmation
from reconciler.controller.removal.event_order import BEHIND, EventOrder, is_outdated
from reconciler.controller.removal.holds import Holds
from reconciler.controller.stored import StoredState
from reconciler.core.desired import present_tasks, record_id, unread_app_id
from reconciler.core.removal.framework import Trust
from reconciler.core.removal.withdrawal import (
    CONFIRM_AFTER,
    CompleteList,
    Withdrawals,
    judge_absences,
)
from reconciler.runtime.clock import Clock

log = logging.getLogger(__name__)

#: Events kept as evidence; the oldest go first.
MOST_EVENTS = 10_000


@dataclass(frozen=True, slots=True)
class Asked:
    """When a read was asked for, and the newest time that Marathon had told by then.

    `epoch` is that of the clock which told it.
    """

    at: float
    newest: float | None
    epoch: int


@dataclass(frozen=True, slots=True)
class _Ended:
    """When a terminal event was noted, and when Marathon told it by the clock of that epoch."""

    noted: float
    told: float | None
    epoch: int

    def is_after(self, told: float | None, epoch: int) -> bool:
        """Whether it was told later than something else, by the clock of that epoch."""
        if told is None or self.told is None:
            return False
        return self.epoch == epoch and told < self.told

    def is_overtaken(self, asked: Asked) -> bool:
        """Whether Marathon must have followed, by either clock, before it was asked."""
        return asked.at - self.noted > BEHIND or (
            self.epoch == asked.epoch and is_outdated(self.told, asked.newest)
        )


class Absences:
    """Evidence, and how long each task has been absent; one thread owns it."""

    def __init__(
        self, holds: Holds, confirmation: Confirmation, stored: StoredState, clock: Clock
    ) -> None:
        self._holds = holds
        self._confirmation = confirmation
        self._stored = stored
        self._clock = clock
        self.order = EventOrder()
        self._evidence: OrderedDict[TaskId, _Ended] = OrderedDict()
        self._absent_since: dict[TaskId, float] = {}
        self._contradicted_since: dict[TaskId, float] = {}
        self._leader: str | None = None
        self.held = 0

    def note_ended(self, task: TaskId, told: float | None) -> None:
        """Keep a terminal event as evidence, unless it is older than what was known since.

        `told` is when Marathon said so, in seconds by its own clock; None if it gave no time.
        """
        if self.order.is_late(task, told):
            return
        self.order.note_ended(task, told)
        self._evidence[task] = _Ended(self._clock.monotonic(), told, self.order.epoch)
        self._evidence.move_to_end(task)
        while len(self._evidence) > MOST_EVENTS:
            self._evidence.popitem(last=False)

    def note_running(self, task: TaskId, told: float | None) -> None:
        """An event says that the task has not ended, which counts unless its end is later."""
        ended = self._evidence.get(task)
        if ended is not None and not ended.is_after(told, self.order.epoch):
            del self._evidence[task]
        self.order.note_running(task, told)

    def asked(self) -> Asked:
        """What a read is as new as that is asked for now."""
        return Asked(self._clock.monotonic(), self.order.newest, self.order.epoch)

    def note_named(self, present: Collection[TaskId], asked: Asked) -> None:
        """A read names these: whoever was told long before it to have ended was found again."""
        for task in [task for task in self._evidence if task in present]:
            if self._evidence[task].is_overtaken(asked):
                del self._evidence[task]

    def forget(self, task: TaskId) -> None:
        """The task's network is withdrawn."""
        self._evidence.pop(task, None)
        self._absent_since.pop(task, None)

    def awaited(self, present: Collection[TaskId]) -> bool:
        """Whether a task that is still named is known to have ended just now."""
        return any(task in self._evidence for task in present)

    def proof(self, apps: Collection[App]) -> frozenset[TaskId]:
        """Tasks that surely ended: by event, by their agent, or by the read itself."""
        ended = (record_id(t.id) for app in apps for t in app.tasks if t.state.is_terminal)
        return frozenset((*self._evidence, *ended)) | self._stored.gone()

    def judge(
        self,
        listed: AppList,
        trust: Trust,
        asked: float,
        checkpoint: Callable[[], None] = lambda: None,
    ) -> Withdrawals:
        """Decide about every task of ours that a complete list lacks.

        `asked` is when the list was asked for: what it shows may be as old.
        `checkpoint` is called before each further read of Marathon.
        Writes what is held where operators see it; raises CalicoError.
        """
        if listed.leader is None:
            log.warning("list is not known to be the leader's; nothing is removed")
            return Withdrawals()
        if listed.leader != self._leader:
            self._absent_since.clear()
            self._leader = listed.leader
        present = frozenset(task for app in listed.apps for task in present_tasks(app))
        known = self._known()
        present |= self._unclear(listed, known)
        proof = self.proof(listed.apps)
        is_trusted = trust is Trust.OURS
        contradicted = self._confirmation.contradicted(known - present - proof)
        found = judge_absences(
            CompleteList(
                known,
                present,
                not (listed.apps or listed.problems),
                is_trusted,
                self._bare(known),
                contradicted,
                self._lasting(contradicted, asked),
            ),
            proof,
            self._absent_since,
            asked,
            self._holds.approved_plan(HoldKind.TASKS),
        )
        reread = self._confirmation.reread(found.confirmed, checkpoint)
        found = replace(
            found,
            now=found.now | reread.ended,
            confirmed=frozenset(),
            waiting=found.waiting | (found.confirmed - reread.ended),
        )
        # A list that is held is no first of two: it may be wrong about all of them.
        first = found.waiting - reread.alive if found.is_credible else frozenset()
        now = self._clock.monotonic()
        self._absent_since = {task: self._absent_since.get(task, now) for task in first}
        if is_trusted:
            self._write_hold(found)
        elif found.waiting:
            log.warning(
                "removals wait: Marathon does not say which framework it is",
                extra={"count": len(found.waiting)},
            )
        return found

    def _lasting(self, contradicted: frozenset[TaskId], asked: float) -> frozenset[TaskId]:
        """Those that lists have lacked and hosts reported up without a break for long."""
        now, before = self._clock.monotonic(), self._contradicted_since
        self._contradicted_since = {task: before.get(task, now) for task in contradicted}
        return frozenset(
            task for task in contradicted if asked - before.get(task, now) >= CONFIRM_AFTER
        )

    def _known(self) -> frozenset[TaskId]:
        """Every task of ours, with a record or an endpoint or both."""
        return frozenset(
            task
            for task, kept in self._stored.records.items()
            if task != unread_app_id(kept.value.app)
        ) | frozenset(self._stored.unrecorded())

    def _bare(self, known: frozenset[TaskId]) -> frozenset[TaskId]:
        """Those that have no network to lose."""
        networked = {TaskId(endpoint.workload) for endpoint in self._stored.specs}
        return known - networked - self._stored.unclear_tasks()

    def _unclear(self, listed: AppList, known: frozenset[TaskId]) -> frozenset[TaskId]:
        """Tasks whose app is listed, but was not understood."""
        apps = {problem.app_id for problem in listed.problems}
        if None in apps:
            return known
        return frozenset(
            task for task, kept in self._stored.records.items() if kept.value.app in apps
        )

    def _write_hold(self, found: Withdrawals) -> None:
        self.held = len(found.held)
        if found.held:
            self._holds.hold(HoldKind.TASKS, found.held, found.reason)
        else:
            self._holds.end(HoldKind.TASKS)
