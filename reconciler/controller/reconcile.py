"""From Marathon to the datastore: one look at an app, at all apps, at addresses.

Everything here runs in the loop's one thread, and is correct without any
event: an event only says where to look first.
"""

import json
import logging
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from calico.addresses import Addresses
from calico.datastore.api import ABSENT, Datastore
from calico.errors import CalicoError, InvalidValue
from calico.keys import HOLD, READY
from calico.model import TaskId, TaskVerdict
from marathon_client.errors import MarathonError
from marathon_client.models import App, AppId, AppList
from reconciler.controller.bootstrap import bootstrap_host
from reconciler.controller.metrics import ControllerMetrics
from reconciler.controller.stored import StoredState
from reconciler.controller.writer import TaskWriter
from reconciler.core.desired import NetworkPolicy, desired_tasks, record_id, versions_needed
from reconciler.core.quarantine import FIXED, OWNER, Held, Resting, newly_unused, releasable
from reconciler.core.withdrawal import CompleteList, judge_absences
from reconciler.runtime.clock import Clock, rfc3339

log = logging.getLogger(__name__)

#: Terminal events kept as evidence; the oldest go first.
MOST_EVIDENCE = 10_000


class Marathon(Protocol):
    """What the controller asks of Marathon."""

    def app(self, app_id: AppId) -> App | None: ...

    def app_version(self, app_id: AppId, version: str) -> App | None: ...

    def apps(self) -> AppList: ...


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at an app came to.

    `again` asks for another soon: an event was ahead of what the read shows.
    """

    again: bool
    withdrew: bool


class Reconciler:
    """Keeps the datastore's tasks in step with Marathon's."""

    def __init__(
        self,
        marathon: Marathon,
        datastore: Datastore,
        stored: StoredState,
        policy: NetworkPolicy,
        clock: Clock,
        metrics: ControllerMetrics,
    ) -> None:
        self._marathon = marathon
        self._datastore = datastore
        self._stored = stored
        self.policy = policy
        self._clock = clock
        self._metrics = metrics
        self._writer = TaskWriter(datastore, stored, lambda: rfc3339(clock.wall()))
        self._addresses = Addresses(datastore)
        self._evidence: OrderedDict[TaskId, None] = OrderedDict()
        self._absent_since: dict[TaskId, float] = {}
        self._list_leader: str | None = None
        self._resting: dict[Held, Resting] = {}
        self._live: frozenset[TaskId] = frozenset()

    def note_terminal(self, task: TaskId) -> None:
        """Keep a terminal event as evidence."""
        self._evidence[task] = None
        self._evidence.move_to_end(task)
        while len(self._evidence) > MOST_EVIDENCE:
            self._evidence.popitem(last=False)

    def reconcile_app(self, app_id: AppId) -> Look:
        """Bring one app up to date from a fresh read.

        Raises MarathonError or CalicoError; nothing is removed then.
        """
        with self._metrics.duration.time():
            app = self._marathon.app(app_id)
            if app is not None:
                self._bring(app)
            records = self._stored.records_of(app_id)
            present = _present(app)
            proof = self._proof(app)
            self._live |= present
            ended = (records.keys() - present) & proof
            for task in sorted(ended):
                self._withdraw(task)
            self._metrics.reconciles.labels("done").inc()
            return Look(again=any(task in self._evidence for task in present), withdrew=bool(ended))

    def resync(self) -> bool:
        """Bring every app up to date from one complete list.

        Tells whether an absence waits for a second list. One app that fails
        does not stop the others. Raises MarathonError if there is no list, and
        CalicoError once every app was tried.
        """
        listed = self._marathon.apps()
        # What others wrote, or removed, since the last look is seen here.
        self._stored.load(self._datastore)
        failure: CalicoError | None = None
        for problem in listed.problems:
            log.warning("app not understood", extra={"app": problem.app_id, "why": problem.reason})
        for app in listed.apps:
            try:
                self._bring(app)
            except (CalicoError, MarathonError) as error:
                if isinstance(error, CalicoError):
                    failure = error
                log.warning("app not brought up to date", extra={"app": app.id, "why": str(error)})
        self._judge_absences(listed)
        self._metrics.resyncs.labels("done" if failure is None else "partial").inc()
        for verdict in TaskVerdict:
            self._metrics.tasks.labels(verdict.value).set(
                sum(kept.value.verdict is verdict for kept in self._stored.records.values())
            )
        if failure is not None:
            raise failure
        return bool(self._absent_since)

    def register_hosts(self) -> None:
        """Write what Calico's tools expect of each registered host."""
        for host in self._stored.hosts.values():
            bootstrap_host(self._datastore, host)

    def apps_waiting(self) -> frozenset[AppId]:
        """Apps with a task that waits for something, or whose agent reports it gone."""
        gone = self._stored.gone()
        return frozenset(
            AppId(kept.value.app)
            for task, kept in self._stored.records.items()
            if kept.value.verdict is TaskVerdict.PENDING or task in gone
        )

    def finish_one(self) -> bool:
        """Write what of one profile could wait; tells whether another is left."""
        return self._writer.finish_one()

    def sweep(self) -> bool:
        """Give rested addresses back; tells whether some still rest.

        Only allocations that carry our mark are looked at: what calico-mesos or
        another orchestrator holds is theirs.
        """
        unused = self._unused()
        for held in self._resting.keys() - unused:
            del self._resting[held]
        fresh = newly_unused(unused, self._resting)
        if fresh:
            # An agent's applied revision grows only with events that it sees,
            # so there must be one after the withdrawals. Felix takes a Ready
            # that is set to the same value as nothing.
            revision = self._datastore.put(READY, "true")
            now = self._clock.monotonic()
            self._resting.update({held: Resting(now, revision) for held in fresh})
        for held in releasable(
            self._resting, self._stored.hosts, self._stored.applied, self._clock.monotonic()
        ):
            try:
                released = self._addresses.release(held.handle, held.address)
            except InvalidValue as error:
                log.warning("address kept", extra={"address": held.address, "why": str(error)})
                continue
            if released:
                self._metrics.releases.inc()
                log.info("address released", extra={"address": held.address})
            del self._resting[held]
        return bool(self._resting)

    def _bring(self, app: App) -> None:
        records = self._stored.records_of(app.id)
        versions = {
            version: self._marathon.app_version(app.id, version)
            for version in versions_needed(app, records)
        }
        wanted = desired_tasks(app, versions, records, self._stored.hosts, self.policy)
        failure: CalicoError | None = None
        for desired in wanted:
            try:
                self._writer.bring(desired)
            except CalicoError as error:
                failure = error
        if failure is not None:
            raise failure

    def _proof(self, app: App | None) -> frozenset[TaskId]:
        """Tasks that surely ended: by event, by agent, or by a fresh read itself."""
        ended = () if app is None else (record_id(t.id) for t in app.tasks if t.state.is_terminal)
        return frozenset((*self._evidence, *ended)) | self._stored.gone()

    def _judge_absences(self, listed: AppList) -> None:
        if listed.leader is None:
            log.warning("list is not known to be the leader's; nothing is removed")
            return
        if listed.leader != self._list_leader:
            self._absent_since.clear()
            self._list_leader = listed.leader
        present = frozenset(task for app in listed.apps for task in _present(app))
        unclear = {problem.app_id for problem in listed.problems}
        known = frozenset(self._stored.records)
        kept_apps = frozenset(
            task for task, kept in self._stored.records.items() if kept.value.app in unclear
        )
        if None in unclear:
            kept_apps = known
        self._live = present
        ended = frozenset(
            record_id(task.id)
            for app in listed.apps
            for task in app.tasks
            if task.state.is_terminal
        )
        now = self._clock.monotonic()
        verdict = judge_absences(
            CompleteList(known, present | kept_apps, not (listed.apps or listed.problems)),
            ended | frozenset(self._evidence) | self._stored.gone(),
            self._absent_since,
            now,
            self._approved_plan(),
        )
        self._absent_since = {
            task: self._absent_since.get(task, now) for task in verdict.waiting | verdict.held
        }
        self._write_hold(verdict.held, verdict.plan, verdict.reason)
        for task in verdict.now:
            self._withdraw(task)

    def _withdraw(self, task: TaskId) -> None:
        self._writer.withdraw(task)
        self._evidence.pop(task, None)
        self._live -= {task}
        self._metrics.withdrawals.inc()

    def _approved_plan(self) -> str | None:
        stored = self._datastore.get(HOLD)
        if stored is None:
            return None
        try:
            approved = json.loads(stored.value).get("approved")
        except (ValueError, AttributeError):
            return None
        return approved if isinstance(approved, str) else None

    def _write_hold(self, held: Collection[TaskId], plan: str, reason: str) -> None:
        self._metrics.held.set(len(held))
        stored = self._datastore.get(HOLD)
        if not held:
            if stored is not None:
                self._datastore.delete(HOLD, expect=stored.revision)
                log.info("hold ended")
            return
        if stored is not None and f'"plan": "{plan}"' in stored.value:
            return
        value = {
            "approved": None,
            "plan": plan,
            "reason": reason,
            "since": rfc3339(self._clock.wall()),
            "tasks": sorted(held),
        }
        expect = ABSENT if stored is None else stored.revision
        self._datastore.put(HOLD, json.dumps(value, sort_keys=True), expect=expect)
        log.error("removals held", extra={"count": len(held), "plan": plan, "why": reason})

    def _unused(self) -> frozenset[Held]:
        """Our allocations that no endpoint, record or live task stands behind."""
        unused = set()
        for block, _ in self._addresses.blocks():
            for ordinal, allocation in enumerate(block.allocations):
                if allocation is None or allocation.handle is None:
                    continue
                if OWNER not in allocation.secondary:
                    continue
                task = TaskId(allocation.handle)
                if task in self._stored.records or task in self._live:
                    continue
                unused.add(
                    Held(allocation.handle, block.cidr[ordinal], FIXED in allocation.secondary)
                )
        endpoints = {spec for endpoint in self._stored.specs for spec in (endpoint.workload,)}
        return frozenset(held for held in unused if held.handle not in endpoints)


def _present(app: App | None) -> frozenset[TaskId]:
    if app is None:
        return frozenset()
    return frozenset(record_id(task.id) for task in app.tasks if not task.state.is_terminal)
