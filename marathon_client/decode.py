"""The JSON of Marathon's replies, decoded by type into models.

Both network forms are read: `ipAddress` (up to 1.4) and `networks` (from 1.5).
"""

import json
import socket
from collections.abc import Iterable, Iterator, Mapping

import msgspec
import netaddr

from marathon_client import wire
from marathon_client.errors import InvalidApp, one_line
from marathon_client.models import (
    App,
    AppId,
    AppNetwork,
    Info,
    NetworkForm,
    NetworkMode,
    PortOpening,
    Problem,
    Task,
    TaskId,
    TaskState,
    lookup,
    parse_state,
)
from marathon_client.wire import DECODE_ERRORS

_APPS = msgspec.json.Decoder(wire.AppsReply)
_APP_REPLY = msgspec.json.Decoder(wire.AppReply)
_APP = msgspec.json.Decoder(wire.App)
_ONLY_ID = msgspec.json.Decoder(wire.OnlyId)
_INFO = msgspec.json.Decoder(wire.InfoReply)
_LEADER = msgspec.json.Decoder(wire.LeaderReply)
_MESSAGE = msgspec.json.Decoder(wire.MessageReply)


def parse_apps(body: bytes) -> tuple[tuple[App, ...], tuple[Problem, ...]]:
    """The apps of a list and those that cannot be understood; raises DECODE_ERRORS."""
    apps: list[App] = []
    problems: list[Problem] = []
    try:
        raws = _APPS.decode(body).apps
    except msgspec.DecodeError:
        raws = _lenient(body)
    for raw in raws:
        try:
            apps.append(parse_app(raw, with_tasks=True))
        except InvalidApp as error:
            problems.append(Problem(id_of(raw), str(error)))
    return tuple(apps), tuple(problems)


def _lenient(body: bytes) -> list[msgspec.Raw]:
    """The same by the standard library, which takes half a surrogate pair.

    One app with such a text must not hide all others.
    """
    reply = json.loads(body)
    if not isinstance(reply, dict) or not isinstance(reply.get("apps"), list):
        raise msgspec.ValidationError("it holds no list named apps")
    texts = [json.dumps(app, ensure_ascii=False) for app in reply["apps"]]
    return [msgspec.Raw(text.encode(errors="replace")) for text in texts]


def parse_app_reply(body: bytes) -> App:
    """The app of a reply about one app, wrapped in `app` or, as a version is, bare.

    Raises DECODE_ERRORS if the reply is no JSON object, InvalidApp if it is one.
    """
    wrapped = _APP_REPLY.decode(body).app
    return parse_app(wrapped if bytes(wrapped) else body)


def parse_app(raw: bytes | msgspec.Raw, *, with_tasks: bool = False) -> App:
    """One app with its tasks; raises InvalidApp with the reason.

    In a list that was asked for `with_tasks`, an app without that field is not
    one without tasks: nothing is known of them.
    """
    try:
        found = _APP.decode(raw)
    except DECODE_ERRORS as error:
        raise malformed(error) from error
    if not found.id:
        raise InvalidApp("the app has no id")
    if with_tasks and found.tasks is None:
        raise InvalidApp("Marathon's list says nothing of the app's tasks")
    app_id = AppId(found.id)
    version = found.version or ""
    changed = found.version_info.last_config_change_at if found.version_info else None
    return App(
        id=app_id,
        version=version,
        config_version=changed or version,
        networks=_networks(found),
        labels=pairs(found.labels),
        instances=1 if found.instances is None else found.instances,
        tasks=tuple([_task(task, app_id) for task in found.tasks or ()]),
    )


def malformed(error: Exception) -> InvalidApp:
    """What one of DECODE_ERRORS says of an app or pod."""
    return InvalidApp(f"Marathon's description is malformed: {one_line(str(error))}")


def parse_info(body: bytes) -> Info:
    """Raises DECODE_ERRORS."""
    found = _INFO.decode(body)
    return Info(found.version or "", found.framework_id or None, found.leader or None)


def parse_leader(body: bytes) -> str | None:
    """`host:port` of the leader; raises DECODE_ERRORS."""
    return _LEADER.decode(body).leader or None


def parse_message(body: bytes) -> str | None:
    """The text of one of Marathon's own error bodies; None if it is none."""
    try:
        return _MESSAGE.decode(body).message
    except DECODE_ERRORS:
        return None


def id_of(raw: msgspec.Raw) -> AppId | None:
    """The id of what cannot be understood as a whole; None if it has none either."""
    try:
        text = _ONLY_ID.decode(raw).id
    except DECODE_ERRORS:
        return None
    return AppId(text) if text else None


def _task(found: wire.Task, app_id: AppId) -> Task:
    if not found.id:
        raise InvalidApp("a task has no id")
    if found.state is not None:
        state = parse_state(found.state)
    else:
        # 0.14 and 0.15 tell no state: a task runs once it has started.
        state = TaskState.STAGING if found.started_at is None else TaskState.RUNNING
    addresses = found.ip_addresses
    return Task(
        id=TaskId(found.id),
        app_id=AppId(found.app_id) if found.app_id else app_id,
        host=found.host,
        state=state,
        addresses=tuple([task_address(a.ip_address) for a in addresses if a.ip_address])
        if addresses
        else (),
        ports=tuple(found.ports) if found.ports else (),
        version=found.version,
        staged_at=found.staged_at,
        started_at=found.started_at,
        agent_id=found.slave_id,
    )


def task_address(text: str) -> netaddr.IPAddress:
    """An address that Mesos reports; raises InvalidApp."""
    # Lists hold many thousands of addresses, and netaddr takes long over text.
    try:
        packed = socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):
        return _rare_address(text)
    return netaddr.IPAddress(int.from_bytes(packed), 4)


def _rare_address(text: str) -> netaddr.IPAddress:
    # Some Mesos versions leave the prefix length on IPv6: fd00::7/64.
    try:
        return netaddr.IPAddress(text.partition("/")[0])
    except (netaddr.AddrFormatError, ValueError) as error:
        raise InvalidApp(f"a task has the malformed address {one_line(text)!r}") from error


def _networks(found: wire.App) -> tuple[AppNetwork, ...]:
    """Its networks other than the host's, by the same order as Marathon itself."""
    if found.networks:
        return tuple(_from_networks(found, found.networks))
    docker = found.container.docker if found.container else None
    match docker.network.upper() if docker and docker.network else None:
        case "USER":
            mode = NetworkMode.CONTAINER
        case "BRIDGE":
            mode = NetworkMode.BRIDGE
        case None | "NONE" if found.ip_address is not None:
            mode = NetworkMode.CONTAINER
        case _:
            return ()
    ip = found.ip_address or wire.IpAddress()
    declared = ip.discovery.ports if ip.discovery else None
    ports = _from_discovery(declared) if declared else _from_mappings(found, ip.network_name)
    network = AppNetwork(
        mode=mode,
        name=ip.network_name or None,
        groups=tuple(ip.groups or ()),
        labels=pairs(ip.labels),
        ports=tuple(ports),
        form=NetworkForm.IP_ADDRESS,
    )
    return (network,)


def _from_networks(found: wire.App, networks: list[wire.Network]) -> Iterator[AppNetwork]:
    modes = [(network_mode(network.mode), network) for network in networks]
    for wanted in (NetworkMode.CONTAINER, NetworkMode.BRIDGE):
        for mode, network in modes:
            if mode is wanted:
                labels = pairs(network.labels)
                yield AppNetwork(
                    mode=mode,
                    name=network.name or None,
                    # From 1.5 on Marathon drops ipAddress.groups; a label carries them.
                    groups=listed(lookup(labels, "groups")),
                    labels=labels,
                    ports=tuple(_from_mappings(found, network.name)),
                    form=NetworkForm.NETWORKS,
                )


def listed(text: str | None) -> tuple[str, ...]:
    """The parts of a text with commas, without blanks."""
    return tuple(each.strip() for each in (text or "").split(",") if each.strip())


def network_mode(text: str | None) -> NetworkMode:
    """The mode of that name; one that is not told is a container network."""
    if text is None:
        return NetworkMode.CONTAINER
    try:
        return NetworkMode(text)
    except ValueError as error:
        raise InvalidApp(f"the network mode {one_line(text)!r} is not known") from error


def _from_discovery(ports: Iterable[wire.DiscoveryPort]) -> Iterator[PortOpening]:
    for port in ports:
        if port.number is None:
            raise InvalidApp("a discovery port has no number")
        for protocol in _protocols(port.protocol):
            yield PortOpening(port.number, protocol, port.name or "")


def _from_mappings(found: wire.App, network: str | None) -> Iterator[PortOpening]:
    container = found.container or wire.Container()
    of_docker = container.docker.port_mappings if container.docker else None
    mappings = container.port_mappings or of_docker or []
    if len(mappings) == 1 and not mappings[0].container_port and mappings[0].name == "default":
        # Marathon supplies this one where the app declares none.
        return
    asking = [mapping for mapping in mappings if mapping.host_port is not None]
    for position, mapping in enumerate(mappings):
        if mapping.network_names and network not in mapping.network_names:
            continue
        number = mapping.container_port or 0
        index: int | None = None
        if number == 0:
            # A task's ports line up with the mappings that ask for a host port.
            if mapping.host_port is not None:
                index = next(i for i, other in enumerate(asking) if other is mapping)
            elif not asking:
                index = position
        for protocol in _protocols(mapping.protocol):
            yield PortOpening(
                number=number, protocol=protocol, name=mapping.name or "", task_port_index=index
            )


def _protocols(text: str | None) -> tuple[str, ...]:
    names = [name.strip().lower() for name in (text or "tcp").split(",")]
    return tuple(name for name in names if name)


def pairs(labels: Mapping[str, str | None] | None) -> tuple[tuple[str, str], ...]:
    """Labels without those that are null."""
    if not labels:
        return ()
    return tuple((name, value) for name, value in labels.items() if value is not None)
