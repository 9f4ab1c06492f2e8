"""From an app and its tasks to the networks that the tasks should have.

Knows both vocabularies, Marathon's and Calico's, as no module but `wishes` does.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from calico.errors import InvalidName
from calico.keys import check_group, check_host, check_task_id
from calico.model import (
    HostName,
    HostRecord,
    PortOpening,
    Profile,
    TaskId,
    TaskRecord,
    TaskVerdict,
)
from marathon_client.models import App, AppNetwork, NetworkForm, NetworkMode, Task, TaskState
from reconciler.core.profiles import PROTOCOLS, NetworkPolicy, profiles_of
from reconciler.core.wishes import FIXED_LABELS, AddressWish, AnyAddress, wish_of

PORTS_LABEL = "MARATHON_CALICO_PORTS"
PORT_POLICIES = {"declared": True, "open": False}
MOST_GROUPS = 16
MOST_PORTS = 64

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


@dataclass(frozen=True, slots=True)
class TaskNetwork:
    """What a task's own app version says, or why that cannot be honoured.

    `refusal` means no network at all, `remark` is about a part that is left out.
    """

    groups: tuple[str, ...] = ()
    ports: tuple[PortOpening, ...] = ()
    ports_declared: bool = False
    wish: AddressWish | None = None
    remark: str = ""
    refusal: str = ""
    waiting: str = ""


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


def desired_tasks(
    app: App,
    versions: Mapping[str, App | str | None],
    records: Mapping[TaskId, TaskRecord],
    hosts: Mapping[HostName, HostRecord],
    policy: NetworkPolicy,
) -> tuple[DesiredTask, ...]:
    """What each task of an app should have; tasks that are not ours are left out.

    `versions` holds what `versions_needed` asked for: None for one that Marathon
    no longer knows, a sentence for one that could not be read. `records` are the
    stored ones of this app: a task that was accepted stays under what was
    accepted, to its end.
    """
    desired = []
    for task in app.tasks:
        record = records.get(record_id(task.id))
        if task.state.is_terminal or (task.state in KEPT_STATES and not _accepted(record)):
            continue
        definition = app if _runs_current_config(app, task) else versions.get(task.version or "")
        found = _desired_task(task, definition, record, hosts, policy)
        if found is not None:
            desired.append(found)
    return tuple(desired)


def record_id(task_id: str) -> TaskId:
    """The id under which a task's record is kept: its own, if that may be a key."""
    try:
        return check_task_id(task_id)
    except InvalidName:
        return TaskId(f"refused-{hashlib.sha256(task_id.encode()).hexdigest()[:32]}")


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
) -> DesiredTask | None:
    if record is not None and _accepted(record):
        return _as_accepted(record, definition, hosts, policy)
    match definition:
        case None:
            network = TaskNetwork(waiting=f"Marathon no longer knows version {task.version}")
        case str(reason):
            network = TaskNetwork(waiting=reason)
        case App(network=None):
            return None
        case App() if definition.network is None or not _is_ours(definition.network, policy):
            return None
        case App():
            network = task_network(definition, definition.network, task, policy)
    return _judge(task, network, hosts, policy)


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
    wish: AddressWish | str = AnyAddress()
    if isinstance(definition, App) and definition.network is not None:
        wish = wish_of(definition.network)
    return DesiredTask(
        record,
        AnyAddress() if isinstance(wish, str) else wish,
        profiles_of(record, host, policy),
    )


def _judge(
    task: Task,
    network: TaskNetwork,
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
    waiting = network.waiting or ("" if host else f"no agent registered as {host_name}")
    if host is None or waiting:
        return DesiredTask(replace(record, verdict=TaskVerdict.PENDING, reason=waiting))
    record = replace(record, reason=network.remark)
    return DesiredTask(record, network.wish, profiles_of(record, host, policy))


def _is_ours(network: AppNetwork, policy: NetworkPolicy) -> bool:
    if network.mode is not NetworkMode.CONTAINER:
        return False
    if network.form is NetworkForm.IP_ADDRESS and network.name is None:
        return True
    return network.name in policy.networks


def task_network(app: App, network: AppNetwork, task: Task, policy: NetworkPolicy) -> TaskNetwork:
    """Check what an app declares for one of its tasks."""
    groups, remarks = _valid_groups(network.groups)
    ports, declared, port_remarks = _valid_ports(network, task)
    wish = wish_of(network)
    asked = len(set(network.groups))
    if asked > MOST_GROUPS:
        return TaskNetwork(refusal=f"{asked} groups; at most {MOST_GROUPS}")
    if len(network.ports) > MOST_PORTS:
        return TaskNetwork(refusal=f"{len(network.ports)} ports; at most {MOST_PORTS}")
    if isinstance(wish, str):
        return TaskNetwork(refusal=wish)
    return TaskNetwork(
        groups=groups,
        ports=ports,
        ports_declared=declared and _ports_are_declared(app, policy),
        wish=wish,
        remark="; ".join((*remarks, *port_remarks, *_label_remarks(app))),
        waiting="" if network.name is None else "no address reported by Mesos",
    )


def _ports_are_declared(app: App, policy: NetworkPolicy) -> bool:
    return PORT_POLICIES.get(app.label(PORTS_LABEL) or "", policy.ports_declared)


def _label_remarks(app: App) -> tuple[str, ...]:
    remarks = []
    label = app.label(PORTS_LABEL)
    if label is not None and label not in PORT_POLICIES:
        remarks.append(f"label {PORTS_LABEL} is neither declared nor open: {label!r} is ignored")
    remarks.extend(
        f"label {name} is ignored on the app; it belongs into ipAddress.labels"
        for name in FIXED_LABELS
        if app.label(name) is not None
    )
    return tuple(remarks)


def _valid_groups(declared: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    groups: list[str] = []
    remarks: list[str] = []
    for group in dict.fromkeys(declared):
        try:
            check_group(group)
        except InvalidName as error:
            remarks.append(f"without group {group!r}: {error}")
        else:
            groups.append(group)
    return tuple(groups), tuple(remarks)


def _valid_ports(
    network: AppNetwork, task: Task
) -> tuple[tuple[PortOpening, ...], bool, tuple[str, ...]]:
    """Openings, whether any port was declared at all, and what was left out."""
    openings: list[PortOpening] = []
    remarks: list[str] = []
    for port in network.ports:
        number = port.number
        if port.task_port_index is not None and port.task_port_index < len(task.ports):
            number = task.ports[port.task_port_index]
        if port.protocol not in PROTOCOLS:
            remarks.append(
                f"port {number} stays closed: protocol {port.protocol!r} is not tcp, udp"
            )
        elif not 1 <= number <= 65535:
            remarks.append(f"port {number} stays closed: it is not between 1 and 65535")
        else:
            openings.append(PortOpening(port.protocol, number, port.name))
    return tuple(dict.fromkeys(openings)), bool(network.ports), tuple(remarks)
