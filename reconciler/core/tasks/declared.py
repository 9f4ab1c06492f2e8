"""What an app declares of its tasks' network, checked; pure.

What cannot be honoured gets a sentence: it closes only what it names.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from calico.errors import InvalidName
from calico.identifiers import check_group
from calico.model import PortOpening
from marathon_client.models import App, AppNetwork, NetworkForm, NetworkMode, Task
from reconciler.core.tasks.profiles import PROTOCOLS, NetworkPolicy
from reconciler.core.tasks.wishes import FIXED_LABELS, AddressWish, wish_of

PORTS_LABEL = "MARATHON_CALICO_PORTS"
PORT_POLICIES = {"declared": True, "open": False}
MOST_GROUPS = 16
MOST_PORTS = 64


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


def our_network(app: App, policy: NetworkPolicy) -> AppNetwork | None:
    """The first of an app's networks that is ours; None if none is."""
    return next((each for each in app.networks if _is_ours(each, policy)), None)


def _is_ours(network: AppNetwork, policy: NetworkPolicy) -> bool:
    if network.mode is not NetworkMode.CONTAINER:
        return False
    if network.form is NetworkForm.IP_ADDRESS and network.name is None:
        return True
    return network.name in policy.networks


def task_network(app: App, network: AppNetwork, task: Task, policy: NetworkPolicy) -> TaskNetwork:
    """Check what an app declares for one of its tasks."""
    # First of all, since to look at each of very many would hold up other apps.
    if _too_many(network.groups):
        return TaskNetwork(refusal=f"{len(network.groups)} groups; at most {MOST_GROUPS}")
    if len(network.ports) > MOST_PORTS:
        return TaskNetwork(refusal=f"{len(network.ports)} ports; at most {MOST_PORTS}")
    groups, remarks = _valid_groups(network.groups)
    ports, declared, port_remarks = _valid_ports(network, task)
    wish = wish_of(network)
    if isinstance(wish, str):
        return TaskNetwork(refusal=wish)
    return TaskNetwork(
        groups=groups,
        ports=ports,
        ports_declared=declared and _ports_are_declared(app, policy),
        wish=wish,
        remark="; ".join((*remarks, *port_remarks, *_label_remarks(app))),
    )


def _ports_are_declared(app: App, policy: NetworkPolicy) -> bool:
    return PORT_POLICIES.get(app.label(PORTS_LABEL) or "", policy.ports_declared)


def _label_remarks(app: App) -> tuple[str, ...]:
    remarks = []
    label = app.label(PORTS_LABEL)
    if label is not None and label not in PORT_POLICIES:
        remarks.append(f"label {PORTS_LABEL} is neither declared nor open: {label!r} is ignored")
    remarks.extend(
        f"label {name} is ignored on the app; it belongs in ipAddress.labels"
        for name in FIXED_LABELS
        if app.label(name) is not None
    )
    return tuple(remarks)


def _too_many(groups: Iterable[str]) -> bool:
    """Whether there are more than may be; one that is named twice counts once."""
    seen: set[str] = set()
    for group in groups:
        seen.add(group)
        if len(seen) > MOST_GROUPS:
            return True
    return False


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
