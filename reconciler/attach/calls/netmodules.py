"""net-modules' calls: one JSON object in, one out, as its `calico_mesos` program answers.

It gives addresses to a number that it draws (`uid`), isolates by process and
addresses, and takes away by address and then by Mesos' container id. A
container is kept here under its uid; its other names are found with the agent,
which remembers them over a restart.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from netaddr import IPAddress

from calico.codec.fields import (
    as_int,
    as_list,
    as_object,
    as_text,
    as_tuple,
    parse_object,
    render_json,
)
from calico.errors import InvalidName, InvalidValue
from calico.identifiers import check_container
from calico.iptext import parse_address
from calico.model import ContainerId
from reconciler.attach.api import (
    Attached,
    Attacher,
    AttachError,
    AttachRefused,
    AttachUnavailable,
    Place,
    UnknownContainer,
    Wish,
)
from reconciler.attach.refusals import Answered, kind_of
from reconciler.attach.removal import take_away
from reconciler.core.tasks.wishes import FIXED_LABELS, addresses_of_label

#: The argument that lists addresses of a family, also the label that asks for them.
LISTS = {family: name for name, family in FIXED_LABELS.items()}

Answer = dict[str, object]


def answer_netmodules(request: Mapping[str, Any], attacher: Attacher, descriptor: int) -> Answered:
    """The plugin's exit code and the JSON that it prints; a namespace never comes along."""
    del descriptor
    try:
        answer = _carry_out(as_text(request.get("input"), "input"), attacher)
    except (AttachError, InvalidName, InvalidValue) as error:
        printed = render_json({"error": " ".join(str(error).split())}) + "\n"
        kind = kind_of(error) if isinstance(error, AttachError) else "refused"
        return Answered(1, printed, kind, str(error))
    return Answered(0, render_json({**answer, "error": None}) + "\n")


def _carry_out(text: str, attacher: Attacher) -> Answer:
    call = parse_object(text)
    command = as_text(call.get("command"), "command")
    if command not in COMMANDS:
        raise AttachRefused(f"command {command!r} is none of {', '.join(COMMANDS)}")
    return COMMANDS[command](as_object(call.get("args"), "args"), attacher)


def _allocate(args: Mapping[str, Any], attacher: Attacher) -> Answer:
    _check_host_and_groups(args)
    container = _container(args, "uid")
    fixed = tuple(dict.fromkeys(_labelled(args)))
    counts = {family: _count(args, f"num_ipv{family}") for family in LISTS}
    if not fixed and not any(counts.values()):
        raise AttachRefused("num_ipv4 and num_ipv6 are 0: no address is asked for")
    left = {
        family: max(0, count - sum(each.version == family for each in fixed))
        for family, count in counts.items()
    }
    attached = attacher.allocate(container, Wish(fixed, left[4], left[6]))
    given = {family: _of_family(attached, family) for family in LISTS}
    short = [f"IPv{family}" for family, count in counts.items() if len(given[family]) < count]
    if short:
        if not attached.device:
            attacher.detach(container)
        raise AttachRefused(f"container {container} has fewer {' and '.join(short)} than asked for")
    return {"ipv4": given[4], "ipv6": given[6]}


def _reserve(args: Mapping[str, Any], attacher: Attacher) -> Answer:
    _check_host_and_groups(args)
    container = _container(args, "uid")
    fixed = _listed(args)
    if not fixed:
        raise AttachRefused("ipv4_addrs and ipv6_addrs are empty: no address is asked for")
    attacher.allocate(container, Wish(fixed, 0, 0))
    return {}


def _isolate(args: Mapping[str, Any], attacher: Attacher) -> Answer:
    _check_host_and_groups(args)
    known_as = _container(args, "container_id")
    pid = as_int(args.get("pid"), "pid")
    addresses = _listed(args)
    if not addresses:
        raise AttachRefused("ipv4_addrs and ipv6_addrs are empty: whose container is it?")
    holders = {each: attacher.find(each) for each in addresses}
    foreign = [str(each) for each, holder in holders.items() if holder is None]
    if foreign:
        raise AttachRefused(f"{', '.join(foreign)} was not given to a container of this host")
    containers = {holder for holder in holders.values() if holder is not None}
    if len(containers) > 1:
        raise AttachRefused(f"{', '.join(map(str, addresses))} belong to several containers")
    attacher.attach(containers.pop(), Place(pid=pid, known_as=known_as))
    return {}


def _release(args: Mapping[str, Any], attacher: Attacher) -> Answer:
    by_uid, by_address = args.get("uid") is not None, args.get("ips") is not None
    if by_uid == by_address:
        raise AttachRefused("release takes either uid or ips")
    if by_uid:
        take_away(attacher, _container(args, "uid"))
        return {}
    for address in as_tuple(args.get("ips"), "ips", _address):
        container = attacher.find(address)
        if container is not None and not _is_running(container, attacher):
            take_away(attacher, container)
    return {}


def _is_running(container: ContainerId, attacher: Attacher) -> bool:
    """Whether a container still has its link, so that an address does not name it.

    The address may have gone to another container meanwhile. What is to end
    comes with its container id next, in cleanup.
    """
    try:
        return bool(attacher.check(container).device)
    except UnknownContainer:
        return False
    except AttachUnavailable:
        # Not known: cleanup follows, which knows whose it is.
        return True


def _cleanup(args: Mapping[str, Any], attacher: Attacher) -> Answer:
    _check_host_and_groups(args)
    known_as = _container(args, "container_id")
    container = attacher.find(known_as)
    if container is not None:
        take_away(attacher, container)
    return {}


COMMANDS: Mapping[str, Callable[[Mapping[str, Any], Attacher], Answer]] = {
    "allocate": _allocate,
    "reserve": _reserve,
    "isolate": _isolate,
    "release": _release,
    "cleanup": _cleanup,
}


def _check_host_and_groups(args: Mapping[str, Any]) -> None:
    """Both must be what they should be, and neither is used: the controller knows the task."""
    as_text(args.get("hostname"), "hostname")
    groups = args.get("netgroups")
    if groups is not None:
        as_tuple(groups, "netgroups", as_text)


def _container(args: Mapping[str, Any], name: str) -> ContainerId:
    return check_container(as_text(args.get(name), name))


def _count(args: Mapping[str, Any], name: str) -> int:
    value = args.get(name)
    count = 0 if value is None else as_int(value, name)
    if count < 0:
        raise InvalidValue(f"{name} must not be negative, not {count}")
    return count


def _listed(args: Mapping[str, Any]) -> tuple[IPAddress, ...]:
    """The addresses of both arguments, each of its family, each once."""
    found: dict[IPAddress, None] = {}
    for family, name in LISTS.items():
        for address in as_tuple(args.get(name) or [], name, _address):
            if address.version != family:
                raise InvalidValue(f"{name} holds {address}, of the other family")
            found[address] = None
    return tuple(found)


def _address(value: object, name: str) -> IPAddress:
    return parse_address(as_text(value, name))


def _labelled(args: Mapping[str, Any]) -> Iterator[IPAddress]:
    for label in as_list(args.get("labels") or [], "labels"):
        pair = as_object(label, "a label")
        name = as_text(pair.get("key"), "key")
        if name not in FIXED_LABELS:
            continue
        yield from addresses_of_label(name, as_text(pair.get("value"), f"label {name}"))


def _of_family(attached: Attached, family: int) -> list[str]:
    return [str(each) for each in attached.addresses if each.version == family]
