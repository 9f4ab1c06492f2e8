"""Shows operators which tasks wait while nothing may be given."""

from collections.abc import Iterable
from dataclasses import replace

from calico.model import HostName, TaskVerdict
from marathon_client.models import App
from reconciler.controller.stored import StoredState
from reconciler.controller.writer import TaskWriter
from reconciler.core.desired import desired_tasks, versions_needed
from reconciler.core.tasks.declared import our_network
from reconciler.core.tasks.profiles import NetworkPolicy


def hosts_named(apps: Iterable[App], policy: NetworkPolicy) -> frozenset[HostName]:
    """Hosts on which tasks of ours run by Marathon's word."""
    return frozenset(
        HostName(task.host)
        for app in apps
        if our_network(app, policy) is not None
        for task in app.tasks
        if task.host and not task.state.is_terminal
    )


def show_waiting(
    app: App,
    stored: StoredState,
    policy: NetworkPolicy,
    writer: TaskWriter,
    reason: str,
) -> None:
    """Record each task that would be given a network now as one that waits.

    Raises DatastoreError. Those that have one keep it.
    """
    if our_network(app, policy) is None:
        return
    records = stored.records_of(app.id)
    versions = dict.fromkeys(versions_needed(app, records), reason)
    for desired in desired_tasks(app, versions, records, stored.hosts, policy):
        record = desired.record
        known = records.get(record.task)
        if known is not None and known.verdict is TaskVerdict.ACCEPTED:
            continue
        if record.verdict is not TaskVerdict.REFUSED:
            record = replace(record, verdict=TaskVerdict.PENDING, reason=reason, container="")
        writer.write_record(record)
