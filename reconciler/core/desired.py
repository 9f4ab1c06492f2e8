"""From an app and its tasks to the networks that the tasks should have.

Knows both vocabularies, Marathon's and Calico's, as do only those that it asks:
`declared`, `wishes` and `attached`.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from netaddr import IPAddress

from calico.errors import InvalidName
from calico.identifiers import check_host, check_task_id
from calico.model import (
    ContainerId,
    HostName,
    HostRecord,
    Profile,
    TaskId,
    TaskRecord,
    TaskVerdict,
)
from marathon_client.models import App, Task, TaskState
from reconciler.core.tasks.attached import Given, Preallocated, given
from reconciler.core.tasks.declared import TaskNetwork, our_network, task_network
from reconciler.core.tasks.profiles import NetworkPolicy, profiles_of
from reconciler.core.tasks.wishes import (
    AddressWish,
    AnyAddress,
    ContainerAddresses,
    FixedAddresses,
    wish_of,
)

#: States in which a task keeps the network that it has, but is given none.
KEPT_STATES = frozenset(
    {
        TaskState.STAGING,
        TaskState.STARTING,
        TaskState.KILLING,
        TaskState.LOST,
        TaskState.UNREACHABLE,
        TaskState.UNKNOWN,
    }
)


@dataclass(frozen=True, slots=True)
class DesiredTask:
    """What one task should have; without a wish it has no endpoint.

    `profiles` are in the order in which they are evaluated.
    """

    record: TaskRecord
    wish: AddressWish | None = None
    profiles: tuple[Profile, ...] = ()


def versions_needed(app: App, records: Mapping[TaskId, TaskRecord]) -> frozenset[str]:
    """Versions of the app that must be read before its tasks can be judged."""
    return frozenset(
        task.version
        for task in app.tasks
        if task.version is not None
        and task.state is TaskState.RUNNING
        and not _accepted(records.get(record_id(task.id)))
        and not _runs_current_config(app, task)
    )


def addresses_needed(
    app: App,
    versions: Mapping[str, App | str | None],
    records: Mapping[TaskId, TaskRecord],
    policy: NetworkPolicy,
) -> frozenset[IPAddress]:
    """Reported addresses whose holders must be known before the tasks can be judged."""
    return frozenset(
        address
        for task, definition, record in _to_judge(app, versions, records)
        if not _accepted(record)
        and isinstance(definition, App)
        and our_network(definition, policy) is not None
        for address in task.addresses
    )


def awaited_addresses(
    app: App, records: Mapping[TaskId, TaskRecord], policy: NetworkPolicy
) -> frozenset[IPAddress]:
    """Addresses that the app asks for by name while a task of it is being started.

    A plugin may be attaching that one right now.
    """
    net = our_network(app, policy)
    wish = None if net is None else wish_of(net)
    if not isinstance(wish, FixedAddresses):
        return frozenset()
    starting = any(
        task.state in (TaskState.STAGING, TaskState.STARTING)
        and not _accepted(records.get(record_id(task.id)))
        for task in app.tasks
    )
    return frozenset(wish.addresses) if starting else frozenset()


def desired_tasks(
    app: App,
    versions: Mapping[str, App | str | None],
    records: Mapping[TaskId, TaskRecord],
    hosts: Mapping[HostName, HostRecord],
    policy: NetworkPolicy,
    preallocated: Preallocated = Preallocated(),  # noqa: B008 - a frozen value
) -> tuple[DesiredTask, ...]:
    """What each task of an app should have; tasks that are not ours are left out.

    `versions` holds what `versions_needed` asked for: None for one that Marathon
    no longer knows, a sentence for one that could not be read. `records` are the
    stored ones of this app: a task that was accepted stays under what was
    accepted, to its end. `preallocated` tells of what `addresses_needed` asked for.
    """
    judged = (
        _desired_task(task, definition, record, hosts, policy, preallocated)
        for task, definition, record in _to_judge(app, versions, records)
    )
    return tuple(
        replace(each, record=replace(each.record, pod=app.pod))
        for each in judged
        if each is not None
    )


def _to_judge(
    app: App, versions: Mapping[str, App | str | None], records: Mapping[TaskId, TaskRecord]
) -> Iterator[tuple[Task, App | str | None, TaskRecord | None]]:
    """Tasks that have, or may get, a network: with their own definition and record."""
    for task in app.tasks:
        record = records.get(record_id(task.id))
        if task.state.is_terminal or (task.state in KEPT_STATES and not _accepted(record)):
            continue
        current = _runs_current_config(app, task)
        yield task, app if current else versions.get(task.version or ""), record


def record_id(task_id: str) -> TaskId:
    """The id under which a task's record is kept: its own, if that may be a key."""
    try:
        return check_task_id(task_id)
    except InvalidName:
        return TaskId(f"refused-{hashlib.sha256(task_id.encode()).hexdigest()[:32]}")


def present_tasks(app: App | None) -> frozenset[TaskId]:
    """The tasks of an app that have not ended, by the id of their record."""
    if app is None:
        return frozenset()
    return frozenset(record_id(task.id) for task in app.tasks if not task.state.is_terminal)


def unread_app(app: str, reason: str) -> TaskRecord:
    """A record that shows operators an app whose description makes no sense.

    It stands for no task, and goes when the app can be read again.
    """
    return TaskRecord(
        task=unread_app_id(app),
        app=app,
        app_version="",
        host=HostName(""),
        verdict=TaskVerdict.REFUSED,
        reason=reason,
    )


def unread_app_id(app: str) -> TaskId:
    """The id of that record."""
    return TaskId(f"unread-app-{hashlib.sha256(app.encode()).hexdigest()[:32]}")


def _accepted(record: TaskRecord | None) -> bool:
    return record is not None and record.verdict is TaskVerdict.ACCEPTED


def _runs_current_config(app: App, task: Task) -> bool:
    # A mere scale makes a new version of the app but not of its config, so a
    # task is current from the last change of config on. Marathon's timestamps
    # all have one form, hence compare as text.
    return task.version is None or app.config_version <= task.version <= app.version


def _desired_task(
    task: Task,
    definition: App | str | None,
    record: TaskRecord | None,
    hosts: Mapping[HostName, HostRecord],
    policy: NetworkPolicy,
    preallocated: Preallocated,
) -> DesiredTask | None:
    if record is not None and _accepted(record):
        return _as_accepted(record, definition, hosts, policy)
    match definition:
        case None:
            waiting = f"Marathon no longer knows version {task.version}"
            return _judge(task, TaskNetwork(), Given(waiting=waiting), hosts, policy)
        case str(reason):
            return _judge(task, TaskNetwork(), Given(waiting=reason), hosts, policy)
    net = our_network(definition, policy)
    if net is None:
        return None
    network = task_network(definition, net, task, policy)
    host, source = hosts.get(HostName(task.host or "")), Given()
    if host is not None and network.wish is not None:
        source = given(task, network.wish, host, preallocated, named=net.name is not None)
    return _judge(task, network, source, hosts, policy)


def _as_accepted(
    record: TaskRecord,
    definition: App | str | None,
    hosts: Mapping[HostName, HostRecord],
    policy: NetworkPolicy,
) -> DesiredTask:
    """What was accepted stays, whatever Marathon says of the task's host by now."""
    host = hosts.get(record.host)
    if host is None:
        return DesiredTask(record)
    net = our_network(definition, policy) if isinstance(definition, App) else None
    wish: AddressWish | str = AnyAddress() if net is None else wish_of(net)
    if isinstance(wish, str):
        wish = AnyAddress()
    if record.container:
        fixed = wish.addresses if isinstance(wish, FixedAddresses) else ()
        wish = ContainerAddresses(ContainerId(record.container), fixed)
    return DesiredTask(record, wish, profiles_of(record, host, policy))


def _judge(
    task: Task,
    network: TaskNetwork,
    source: Given,
    hosts: Mapping[HostName, HostRecord],
    policy: NetworkPolicy,
) -> DesiredTask:
    host_name = HostName(task.host or "")
    record = TaskRecord(
        task=record_id(task.id),
        app=task.app_id,
        app_version=task.version or "",
        host=host_name,
        groups=network.groups,
        ports=network.ports,
        ports_declared=network.ports_declared,
    )
    try:
        check_task_id(task.id)
        check_host(host_name)
    except InvalidName as error:
        return DesiredTask(replace(record, verdict=TaskVerdict.REFUSED, reason=str(error)))
    if network.refusal:
        return DesiredTask(
            replace(record, verdict=TaskVerdict.REFUSED, reason=network.refusal, groups=())
        )
    host = hosts.get(host_name)
    waiting = source.waiting or ("" if host else f"no agent registered as {host_name}")
    if host is None or waiting:
        return DesiredTask(replace(record, verdict=TaskVerdict.PENDING, reason=waiting))
    if source.refusal:
        return DesiredTask(
            replace(record, verdict=TaskVerdict.REFUSED, reason=source.refusal, groups=())
        )
    remarks = "; ".join(filter(None, (network.remark, source.remark)))
    record = replace(record, reason=remarks)
    if isinstance(source.wish, ContainerAddresses):
        record = replace(record, container=source.wish.container)
    return DesiredTask(record, source.wish, profiles_of(record, host, policy))
