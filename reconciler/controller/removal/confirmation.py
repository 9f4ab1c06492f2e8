"""What is asked once more before a task loses its network without any evidence."""

import logging
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from calico.codec import decode_status
from calico.datastore.api import Datastore
from calico.errors import InvalidValue
from calico.keys import APPLIED, FELIX, HOSTS, felix_status_key, parse_status_key
from calico.model import EndpointId, EndpointStatus, HostName, TaskId
from marathon_client.errors import MarathonError
from marathon_client.models import App, AppId
from reconciler.controller.stored import StoredState
from reconciler.core.desired import present_tasks
from reconciler.core.removal.contradiction import credible_hosts, reported_up

log = logging.getLogger(__name__)

#: Apps that are read again after one list; the others' tasks wait for the next.
MOST_APPS = 50


class Marathon(Protocol):
    """Whom one app is asked of."""

    def app(self, app_id: AppId) -> App | None:
        """One app with its tasks; None if Marathon has no such. Raises MarathonError."""
        ...


@dataclass(frozen=True, slots=True)
class Reread:
    """What the apps of absent tasks say themselves; of others nothing was learnt."""

    ended: frozenset[TaskId]
    alive: frozenset[TaskId]


class Confirmation:
    """Asks hosts and apps about tasks that a list lacks."""

    def __init__(self, marathon: Marathon, datastore: Datastore, stored: StoredState) -> None:
        self._marathon = marathon
        self._datastore = datastore
        self._stored = stored

    def contradicted(self, absent: Collection[TaskId]) -> frozenset[TaskId]:
        """Those of the absent tasks that their hosts report up; raises DatastoreError."""
        hosts = {task: host for task in absent if (host := self._host(task)) is not None}
        if not hosts:
            return frozenset()
        statuses: dict[EndpointId, EndpointStatus] = {}
        told = set()
        for stored in self._datastore.list(FELIX).entries:
            told.add(stored.key)
            endpoint = parse_status_key(stored.key)
            if endpoint is None or TaskId(endpoint.workload) not in hosts:
                continue
            try:
                statuses[endpoint] = decode_status(stored.value)
            except InvalidValue:
                continue
        # What is watched may be late, and an `up` may hang on it.
        fresh = StoredState()
        fresh.registrations.load(self._datastore.list(HOSTS))
        fresh.load_applied(self._datastore.list(APPLIED))
        alive = frozenset(host for host in fresh.hosts if felix_status_key(host) in told)
        return reported_up(hosts, statuses, credible_hosts(fresh.hosts, fresh.applied, alive))

    def reread(self, absent: Collection[TaskId], checkpoint: Callable[[], None]) -> Reread:
        """Read the apps of these tasks themselves; an app that does not answer ends nothing.

        Of a task without a record nobody knows the app: the lists must do.
        `checkpoint` is called before each read.
        """
        tasks_by_app: defaultdict[AppId, set[TaskId]] = defaultdict(set)
        ended = set(absent)
        for task in absent:
            kept = self._stored.records.get(task)
            if kept is not None:
                tasks_by_app[AppId(kept.value.app)].add(task)
                ended.discard(task)
        alive: set[TaskId] = set()
        for app_id in sorted(tasks_by_app)[:MOST_APPS]:
            checkpoint()
            try:
                present = present_tasks(self._marathon.app(app_id))
            except MarathonError as error:
                # Each further read might hang as long as this one did.
                log.warning("removals wait", extra={"app": app_id, "why": str(error)})
                break
            alive |= tasks_by_app[app_id] & present
            ended |= tasks_by_app[app_id] - present
        if alive:
            log.warning("list lacks tasks that their apps name", extra={"count": len(alive)})
        return Reread(frozenset(ended), frozenset(alive))

    def _host(self, task: TaskId) -> HostName | None:
        kept = self._stored.records.get(task)
        return kept.value.host if kept is not None else self._stored.unrecorded().get(task)
