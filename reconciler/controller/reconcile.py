"""From Marathon to the datastore: one look at an app, or at all apps.

Everything here runs in the loop's one thread, and is correct without any
event: an event only says where to look first.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from calico.datastore.api import DirectoryStore
from calico.errors import CalicoError, Conflict
from calico.model import HostName, TaskId, TaskVerdict
from marathon_client.errors import MarathonError
from marathon_client.models import App, AppId, AppList, Info
from reconciler.controller.addresses.leftovers import Leftovers
from reconciler.controller.addresses.preallocated import read_preallocated
from reconciler.controller.addresses.sweeper import Sweeper
from reconciler.controller.addresses.vacancies import Vacancies
from reconciler.controller.adoption.adoption import Adoption
from reconciler.controller.adoption.waiting import hosts_named, show_waiting
from reconciler.controller.hosts.departure import Departure
from reconciler.controller.hosts.registrar import Registrar
from reconciler.controller.marathon.versions import read_versions
from reconciler.controller.metrics import ControllerMetrics
from reconciler.controller.pinned import UnreadablePin, read_pinned
from reconciler.controller.removal.absences import Absences
from reconciler.controller.removal.confirmation import Confirmation
from reconciler.controller.removal.framework import FrameworkPin
from reconciler.controller.removal.groups import GroupsGuard
from reconciler.controller.removal.holds import Holds
from reconciler.controller.removal.profile_sweeper import ProfileSweeper
from reconciler.controller.scheduling.outstanding import Outstanding
from reconciler.controller.stored import StoredState
from reconciler.controller.writer import TaskWriter
from reconciler.core.desired import (
    addresses_needed,
    awaited_addresses,
    desired_tasks,
    present_tasks,
    record_id,
    unread_app,
    unread_app_id,
    versions_needed,
)
from reconciler.core.removal.framework import Trust
from reconciler.core.tasks.profiles import NetworkPolicy
from reconciler.runtime.clock import Clock, rfc3339

log = logging.getLogger(__name__)


class Marathon(Protocol):
    """What the controller asks of Marathon."""

    def app(self, app_id: AppId) -> App | None:
        """One app with its tasks; None if Marathon has no such. Raises MarathonError."""
        ...

    def app_version(self, app_id: AppId, version: str) -> App | None:
        """One app as it was at a version; None if that is forgotten."""
        ...

    def apps(self) -> AppList:
        """Every app with its tasks, and those that cannot be understood."""
        ...

    def info(self) -> Info:
        """Version, framework and leader."""
        ...


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at an app came to.

    `again` asks for another soon: an event was ahead of what the read shows.
    `awaited` is whether a task waits for an address that may be given back.
    """

    again: bool
    withdrew: bool
    awaited: bool = False


@dataclass(frozen=True, slots=True)
class Resync:
    """What one complete list came to.

    `leader` is Marathon's, if it was named, and `trust` what its word is worth;
    `waits` is whether an absence needs another list; `changed` counts tasks whose
    record or endpoint it wrote or removed; `failures` are of the apps that are not
    done, by app.
    """

    leader: str | None
    trust: Trust
    waits: bool
    changed: int
    failures: Mapping[AppId, CalicoError | MarathonError]


class Reconciler:
    """Keeps the datastore's tasks in step with Marathon's."""

    def __init__(
        self,
        marathon: Marathon,
        datastore: DirectoryStore,
        stored: StoredState,
        policy: NetworkPolicy,
        clock: Clock,
        metrics: ControllerMetrics,
    ) -> None:
        self._marathon = marathon
        self._datastore = datastore
        self._stored = stored
        self._clock = clock
        self._metrics = metrics
        self._writer = TaskWriter(datastore, stored, lambda: rfc3339(clock.wall()), clock.monotonic)
        self.outstanding = Outstanding(stored, clock.monotonic)
        self._vacancies = Vacancies(clock.monotonic)
        self.holds = Holds(datastore, clock)
        self._framework = FrameworkPin(marathon, datastore, self.holds)
        self._groups = GroupsGuard(self._framework, self.holds, stored)
        confirmation = Confirmation(marathon, datastore, stored)
        self._absences = Absences(self.holds, confirmation, stored, clock)
        self._sweeper = Sweeper(datastore, stored, clock, metrics)
        self._leftovers = Leftovers(datastore, stored, clock)
        self._profiles = ProfileSweeper(datastore, stored, clock, metrics)
        self._departure = Departure(datastore)
        self._registrar = Registrar(datastore, stored, self._writer)
        self._live: frozenset[TaskId] = frozenset()
        self._named: frozenset[HostName] | None = None
        self.adoption = Adoption(datastore, stored, self.holds, clock)
        self.policy = policy

    def load(self) -> bool:
        """Read what the datastore holds; tells whether others changed anything in it."""
        is_news = self._stored.load(self._datastore)
        self.holds.load()
        ipv6 = any(pool.cidr.version == 6 for pool in self._stored.pools)
        self.policy = replace(self.policy, ipv6=ipv6)
        return is_news

    def look_at_pin(self) -> None:
        """Find out whether it can be read whose cluster this is; raises CalicoError."""
        try:
            read_pinned(self._datastore)
        except UnreadablePin:
            self._framework.forget()
            raise

    def note_connected(self, leader: str | None) -> None:
        """Whose framework the event stream now leads to is not known yet."""
        self._framework.forget()
        self._absences.order.begin_anew(leader)

    def note_told(self, told: float | None) -> None:
        """Marathon told something then, in seconds by its own clock."""
        self._absences.order.note_told(told)

    def note_ended(self, task: str, told: float | None) -> None:
        """A terminal event: evidence beside a fresh read.

        Of a pod's instance it is about the first executor only: Marathon names
        the instance whichever of them ended, and may do so late or twice. Later
        ones go by the word of their host, or by lists.
        """
        self._absences.note_ended(record_id(task), told)

    def note_running(self, task: str, told: float | None) -> None:
        """An event that says the task has not ended."""
        self._absences.note_running(record_id(task), told)

    def reconcile_app(self, app_id: AppId) -> Look:
        """Bring one app up to date from a fresh read.

        Raises MarathonError or CalicoError. Without a read nothing is removed;
        a task that cannot be brought keeps none from being withdrawn.
        """
        if self.adoption.closed or self._framework.trust() is Trust.FOREIGN:
            return Look(again=False, withdrew=False)
        with self._metrics.duration.time():
            asked = self._absences.asked()
            app = self._marathon.app(app_id)
            failure = self._bring(app) if app is not None else None
            present = present_tasks(app)
            self._absences.note_named(present, asked)
            self._live |= present
            absent = self._stored.records_of(app_id).keys() - present
            ended = absent & self._absences.proof(() if app is None else (app,))
            if ended and self._framework.judge(self._framework.ask()) is Trust.FOREIGN:
                # Another Marathon knows as little of this app as one that has ended it.
                return Look(again=True, withdrew=False)
            for task in sorted(ended):
                self._withdraw(task)
            if app is not None:
                self._writer.drop_record(unread_app_id(app_id))
        if failure is not None:
            raise failure
        self._metrics.reconciles.labels("done").inc()
        again = self._absences.awaited(present) or self.outstanding.awaits(app_id)
        again = again or app_id in self._vacancies.apps()
        awaited = app_id in self._vacancies.awaited()
        return Look(again, withdrew=bool(ended), awaited=awaited)

    def resync(self, checkpoint: Callable[[], None] = lambda: None) -> Resync:
        """Bring every app up to date from one complete list.

        `checkpoint` is called after each app. Raises MarathonError if there is no
        list, and CalicoError if the datastore cannot be read. Of another framework
        than the pinned one nothing is believed.
        """
        read = self._absences.asked()
        asked = self._framework.ask()
        listed = self._marathon.apps()
        told = self._framework.ask()
        self.load()
        was_closed = self.adoption.closed
        trust = self._framework.judge(asked, told, may_pin=not was_closed)
        if trust is Trust.FOREIGN:
            return self._foreign()
        named = frozenset(task for app in listed.apps for task in present_tasks(app))
        if listed.leader is not None:
            self._absences.order.note_leader(listed.leader)
            self._absences.note_named(named, read)
        self._writer.changed.clear()
        self._named = hosts_named(listed.apps, self.policy)
        self.look_at_store(checkpoint)
        if self.adoption.closed:
            for app in listed.apps if self.adoption.reason else ():
                show_waiting(app, self._stored, self.policy, self._writer, self.adoption.reason)
            return Resync(listed.leader, trust, waits=False, changed=0, failures={})
        if was_closed:
            trust = self._framework.judge(asked, told)
        if trust is Trust.FOREIGN:
            return self._foreign()
        self._groups.judge(listed, self.policy)
        failures: dict[AppId, CalicoError | MarathonError] = {}
        for app in listed.apps:
            failure = self._bring(app)
            if failure is not None:
                failures[app.id] = failure
            checkpoint()
        unread = {str(each.app_id or "an app without an id") for each in listed.problems}
        self.adoption.note_brought(unread | failures.keys())
        self._show_problems(listed)
        self._live = named
        withdrawals = self._absences.judge(listed, trust, read.at, checkpoint)
        for task in sorted(withdrawals.now):
            self._withdraw(task)
        self._metrics.resyncs.labels("partial" if failures else "done").inc()
        self._metrics.held.set(self._absences.held)
        self.outstanding.keep()
        for each in TaskVerdict:
            count = sum(kept.value.verdict is each for kept in self._stored.records.values())
            self._metrics.tasks.labels(each.value).set(count)
        return Resync(
            leader=listed.leader,
            trust=trust,
            waits=bool(withdrawals.waiting or withdrawals.contested or withdrawals.held),
            changed=len(self._writer.changed),
            failures=failures,
        )

    def _foreign(self) -> Resync:
        self._metrics.resyncs.labels("foreign").inc()
        return Resync(leader=None, trust=Trust.FOREIGN, waits=True, changed=0, failures={})

    def look_at_store(self, checkpoint: Callable[[], None] = lambda: None) -> None:
        """Find out whether hosts hold what this store lacks, once Marathon was heard.

        Raises CalicoError.
        """
        if self._named is not None:
            self.holds.load()
            if self.adoption.closed:
                # Once it is open hosts may have nothing to tell any more.
                self._framework.recall(self.adoption.objections())
            self.adoption.look(self._named, checkpoint)

    def register_hosts(self) -> None:
        """Write what Calico's tools, and the profiles, say of each registered host.

        Raises CalicoError, once all others were written.
        """
        self._registrar.register(self.policy)

    def apps_vacant(self) -> frozenset[AppId]:
        """Apps whose own address rests since a short while: a task may soon ask for it."""
        return frozenset(map(AppId, self._vacancies.apps()))

    def finish_one(self) -> bool:
        """Write what of one profile could wait; tells whether another is left."""
        return self._writer.finish_one()

    def sweep(self) -> bool:
        """Release rested addresses, clear forgotten hosts, mend the books, collect profiles.

        Tells whether an address was released.
        """
        if self.adoption.closed:
            return False
        awaited, unserved = self._vacancies.awaited(), self._writer.unserved
        released = self._sweeper.sweep(self._live, awaited, unserved)
        self._vacancies.keep(self._sweeper.apps)
        for host in sorted(self._stored.registrations.forgotten):
            # Who changes it meanwhile has a reason; the next look tells.
            with suppress(Conflict):
                self._departure.clear(host)
        self._leftovers.mend()
        self._profiles.sweep(self.policy, is_held=bool(self.holds.records))
        return released

    @property
    def rests(self) -> bool:
        """Whether an address rests."""
        return not self._sweeper.is_idle

    def _bring(self, app: App) -> CalicoError | MarathonError | None:
        """Bring every task of an app; the failure of one stops no other."""
        records = self._stored.records_of(app.id)
        self._vacancies.saw(app.id, awaited_addresses(app, records, self.policy))
        versions = read_versions(self._marathon, app.id, versions_needed(app, records))
        needed = addresses_needed(app, versions.found, records, self.policy)
        hosts = frozenset(HostName(task.host) for task in app.tasks if task.host)
        reading = read_preallocated(self._datastore, self._stored, needed, hosts)
        failure: CalicoError | MarathonError | None = reading.failure or versions.failure
        wanted = desired_tasks(
            app, versions.found, records, self._stored.hosts, self.policy, reading.preallocated
        )
        for desired in self._groups.withhold(app, wanted, records, self.policy):
            try:
                self._writer.bring(desired, reading.blocks)
            except CalicoError as error:
                failure = error
        return failure

    def _withdraw(self, task: TaskId) -> None:
        kept = self._stored.records.get(task)
        host = kept.value.host if kept else self._stored.unrecorded().get(task)
        if host is not None:
            self._writer.withdraw(task, host)
            self._metrics.withdrawals.inc()
        self._absences.forget(task)
        self._live -= {task}

    def _show_problems(self, listed: AppList) -> None:
        """Keep a record for each app that cannot be understood, for operators to see."""
        unclear = {str(problem.app_id): problem.reason for problem in listed.problems}
        for app, reason in unclear.items():
            self._writer.write_record(unread_app(app, reason))
        for task, kept in list(self._stored.records.items()):
            if task == unread_app_id(kept.value.app) and kept.value.app not in unclear:
                self._writer.drop_record(task)
