"""Which task an attached container is, by what Mesos and its host tell; pure.

A plugin gave the container its addresses before the task ran. Only those that
our own books hold for a container of the task's host are taken over: what
Mesos reports is a word of others.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from netaddr import IPAddress

from calico.addressing.blocks import OWNER, Allocation
from calico.model import Attachment, ContainerId, HandleId, HostName, HostRecord, Pool
from marathon_client.models import Task
from reconciler.core.tasks.wishes import AddressWish, ContainerAddresses, FixedAddresses

NOT_REPORTED = "no address reported by Mesos"
#: How Marathon begins the ids of executors: of those that apps bring, and of instances'.
EXECUTOR, INSTANCE = "marathon-", "instance-"
#: What follows in the id of a task. It is matched whole: an app may be called
#: `/<path>.instance-<uuid>`, which makes its tasks begin like another's.
_OF_INSTANCE = re.compile(r"([0-9a-f-]{36})(?:(?:\._app)?\.[0-9]+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Preallocated:
    """What is known of addresses that were given out before a task ran.

    `held` says of each reported address within `pools` who holds it: None for
    nobody, a sentence where that cannot be read. `attachments` are the
    unclaimed ones that each host's agent tells of its present boot.
    """

    pools: tuple[Pool, ...] = ()
    held: Mapping[IPAddress, Allocation | str | None] = field(default_factory=dict)
    attachments: Mapping[HostName, tuple[Attachment, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Given:
    """Where a task's addresses come from, or why it has none.

    `waiting` may end by itself, `refusal` does not; `remark` is about a wish
    that the plugin did not honour.
    """

    wish: AddressWish | None = None
    remark: str = ""
    waiting: str = ""
    refusal: str = ""


def given(
    task: Task, wish: AddressWish, host: HostRecord, preallocated: Preallocated, *, named: bool
) -> Given:
    """Where the addresses of a task come from that has no network yet.

    On a `named` network, and on a host that looks for no task itself, they
    come from a plugin or not at all. Else the controller may give them.
    """
    known = [each for each in task.addresses if _is_in(each, preallocated.pools)]
    for address in known:
        held = preallocated.held.get(address)
        if isinstance(held, str):
            return Given(waiting=f"reported address {address}: {held}")
        if held is not None and held.handle == HandleId(task.id) and held.container is None:
            # We gave it, before it was reported.
            return Given(wish)
    found = _claimed(task, known, wish, host, preallocated)
    if found is not None:
        return found
    foreign = [each for each in task.addresses if each not in known]
    if named and foreign:
        told = ", ".join(map(str, foreign))
        return Given(refusal=f"reported address {told} is foreign: none of the pools has it")
    # What an unnamed network reports may be the address of the host.
    if named or host.locators == ():
        return Given(waiting=NOT_REPORTED)
    return Given(wish)


def _is_in(address: IPAddress, pools: tuple[Pool, ...]) -> bool:
    return any(address in pool.cidr for pool in pools)


def _claimed(
    task: Task,
    known: list[IPAddress],
    wish: AddressWish,
    host: HostRecord,
    preallocated: Preallocated,
) -> Given | None:
    """What a plugin gave the task, or why not what is reported; None if nothing tells of any."""
    ours: dict[ContainerId, list[IPAddress]] = {}
    wrong: list[str] = []
    for address in known:
        held = preallocated.held.get(address)
        container = _container_for(held, task, host.name)
        if container is None:
            wrong.append(_why_not(held, address, host.name))
        else:
            ours.setdefault(container, []).append(address)
    if len(ours) > 1:
        several = ", ".join(sorted(ours))
        return Given(refusal=f"addresses of several containers are reported: {several}")
    attachments = preallocated.attachments.get(host.name, ())
    for container, addresses in ours.items():
        told = _told(container, addresses, preallocated.held, attachments)
        if not told and not _is_claimed(addresses, task, preallocated.held):
            return Given(
                waiting=f"the Mesos agent of {host.name} has not told yet"
                f" which task runs in container {container}"
            )
        if told and not is_container_of(told, task.id):
            return Given(
                refusal=f"reported address {addresses[0]} is that of container {container},"
                f" in which {told} runs by the word of {host.name}"
            )
        return _from_container(container, tuple(addresses), wish)
    if wrong:
        return Given(refusal="; ".join(wrong))
    its = attachments_told(task.id, attachments)
    if len(its) > 1:
        several = ", ".join(sorted(each.container for each in its))
        return Given(waiting=f"{host.name} tells of several containers of it: {several}")
    return _from_container(its[0].container, its[0].addresses, wish) if its else None


def _container_for(held: Allocation | str | None, task: Task, host: HostName) -> ContainerId | None:
    """The container of the task's host whose address it is, unclaimed or claimed by this task."""
    if not isinstance(held, Allocation) or not held.is_given_on(host):
        return None
    return held.container if held.unclaimed or held.handle == HandleId(task.id) else None


def _told(
    container: ContainerId,
    addresses: list[IPAddress],
    held: Mapping[IPAddress, Allocation | str | None],
    attachments: tuple[Attachment, ...],
) -> str:
    """Which task a container is for by the word of the host's Mesos agent, not of its executor."""
    marked = (held.get(address) for address in addresses)
    told = (each.runs for each in marked if isinstance(each, Allocation) and each.runs)
    later = (each.task for each in attachments if each.container == container)
    return next(told, "") or next(later, "")


def _is_claimed(
    addresses: list[IPAddress], task: Task, held: Mapping[IPAddress, Allocation | str | None]
) -> bool:
    """Whether the task has something of the container already."""
    owners = (held.get(address) for address in addresses)
    return any(isinstance(each, Allocation) and each.handle == HandleId(task.id) for each in owners)


def attachments_told(task: str, attachments: Iterable[Attachment]) -> tuple[Attachment, ...]:
    """Those that a host tells to be a task's; of several nobody knows which is."""
    return tuple(each for each in attachments if is_container_of(each.task, task))


def is_container_of(told: str, task: str) -> bool:
    """Whether what Mesos calls a container's task, or its executor, is this task, by their ids.

    A command's executor has its task's id. Marathon calls one that an app
    brings `marathon-<task id>`, and that of an instance `instance-<path>.<uuid>`
    where the task is `<path>.instance-<uuid>` with more behind it.
    """
    if told in (task, f"{EXECUTOR}{task}"):
        return True
    path, _, rest = task.rpartition(f".{INSTANCE}")
    unique = _OF_INSTANCE.fullmatch(rest)
    return unique is not None and told == f"{INSTANCE}{path}.{unique[1]}"


def tasks_told(told: str) -> tuple[str, ...]:
    """The tasks that Mesos may mean, by their ids; of an instance only the first round's."""
    path, _, unique = told.removeprefix(INSTANCE).rpartition(".")
    if told.startswith(INSTANCE) and path:
        return told, f"{path}.{INSTANCE}{unique}"
    return (told, told.removeprefix(EXECUTOR)) if told.startswith(EXECUTOR) else (told,)


def _why_not(held: Allocation | str | None, address: IPAddress, host: HostName) -> str:
    said = f"reported address {address}"
    if not isinstance(held, Allocation):
        return f"{said} is held by nobody"
    if OWNER not in held.secondary:
        return f"{said} is foreign: {held.handle or 'an unnamed owner'} holds it"
    if held.unclaimed or held.container is not None:
        given_on = held.host or ""
        if given_on != host:
            return f"{said} was given out on host {given_on}, not on {host}"
    return f"{said} is that of {held.handle or 'an unnamed owner'} already"


def _from_container(container: ContainerId, has: tuple[IPAddress, ...], wish: AddressWish) -> Given:
    wanted = wish.addresses if isinstance(wish, FixedAddresses) else ()
    # Mesos may tell of one family only; of the other nothing is known then.
    families = {address.version for address in has}
    missing = [each for each in wanted if each.version in families and each not in has]
    remark = ""
    if missing:
        told, instead = ", ".join(map(str, missing)), ", ".join(map(str, has))
        remark = f"fixed address {told} was not given: the task has {instead}"
    return Given(ContainerAddresses(container, wanted), remark)
