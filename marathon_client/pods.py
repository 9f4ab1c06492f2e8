"""Pods, since Marathon 1.4, read as apps whose tasks are their instances; pure.

All containers of an instance share one network, so the instance is what has an
address. What a pod declares, and how far its instances are, is in one reply.
"""

from collections.abc import Iterator

import msgspec

from marathon_client import wire
from marathon_client.decode import id_of, listed, malformed, network_mode, pairs, task_address
from marathon_client.errors import InvalidApp
from marathon_client.models import (
    App,
    AppId,
    AppNetwork,
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

_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_STATUS = msgspec.json.Decoder(wire.PodStatus)
_SPEC = msgspec.json.Decoder(wire.PodSpec)
_VERSION_MARK = "::versions/"


def parse_pods(body: bytes) -> tuple[tuple[App, ...], tuple[Problem, ...]]:
    """The pods of a list and those that cannot be understood; raises DECODE_ERRORS."""
    pods: list[App] = []
    problems: list[Problem] = []
    for raw in _LIST.decode(body):
        try:
            pods.append(parse_pod(raw))
        except InvalidApp as error:
            problems.append(Problem(id_of(raw), str(error)))
    return tuple(pods), tuple(problems)


def parse_pod(raw: bytes | msgspec.Raw) -> App:
    """A pod with its instances, from its status; raises InvalidApp with the reason."""
    try:
        found = _STATUS.decode(raw)
    except DECODE_ERRORS as error:
        raise malformed(error) from error
    if found.instances is None:
        raise InvalidApp("Marathon's status says nothing of the pod's instances")
    return _pod(found.spec, found.id, found.instances)


def parse_pod_version(raw: bytes) -> App:
    """A pod as it was defined, without instances; raises InvalidApp with the reason."""
    try:
        found = _SPEC.decode(raw)
    except DECODE_ERRORS as error:
        raise malformed(error) from error
    return _pod(found, found.id, [])


def _pod(spec: wire.PodSpec, pod_id: str, instances: list[wire.PodInstance]) -> App:
    if not pod_id:
        raise InvalidApp("the pod has no id")
    version = spec.version or ""
    return App(
        id=AppId(pod_id),
        version=version,
        config_version=version,
        networks=tuple(_networks(spec)),
        labels=pairs(spec.labels),
        instances=spec.scaling.instances if spec.scaling and spec.scaling.instances else 1,
        tasks=tuple(_instance(each, spec, AppId(pod_id)) for each in instances),
        pod=True,
    )


def _networks(spec: wire.PodSpec) -> Iterator[AppNetwork]:
    modes = [(network_mode(network.mode), network) for network in spec.networks or ()]
    for mode, network in modes:
        if mode is NetworkMode.HOST:
            continue
        labels = pairs(network.labels)
        yield AppNetwork(
            mode=mode,
            name=network.name or None,
            groups=listed(lookup(labels, "groups")),
            labels=labels,
            ports=tuple(_ports(spec, network.name)),
            form=NetworkForm.NETWORKS,
        )


def _endpoints(spec: wire.PodSpec) -> Iterator[tuple[str, wire.PodEndpoint]]:
    for container in spec.containers or ():
        for endpoint in container.endpoints or ():
            yield container.name or "", endpoint


def _ports(spec: wire.PodSpec, network: str | None) -> Iterator[PortOpening]:
    for index, (_, endpoint) in enumerate(_endpoints(spec)):
        if endpoint.network_names and network not in endpoint.network_names:
            continue
        number = endpoint.container_port or 0
        # One protocol each, unlike an app's text with commas; both are read.
        named = endpoint.protocol if endpoint.protocol is not None else ["tcp"]
        texts = [named] if isinstance(named, str) else named
        for protocol in dict.fromkeys(each for text in texts for each in listed(text.lower())):
            yield PortOpening(
                number=number,
                protocol=protocol,
                name=endpoint.name or "",
                task_port_index=None if number else index,
            )


def _instance(found: wire.PodInstance, spec: wire.PodSpec, pod_id: AppId) -> Task:
    if not found.id:
        raise InvalidApp("an instance has no id")
    allocated = {
        (container.name, endpoint.name): endpoint.allocated_host_port or 0
        for container in found.containers or ()
        for endpoint in container.endpoints or ()
    }
    _, mark, version = (found.spec_reference or "").partition(_VERSION_MARK)
    return Task(
        id=_task_id(found),
        app_id=pod_id,
        host=found.agent_hostname,
        state=_state(found),
        addresses=tuple(
            dict.fromkeys(
                task_address(text)
                for network in found.networks or ()
                for text in network.addresses or ()
                if text
            )
        ),
        ports=tuple(allocated.get((name, endpoint.name), 0) for name, endpoint in _endpoints(spec)),
        version=version if mark else None,
        started_at=found.status_since,
        agent_id=found.agent_id,
    )


def _task_id(found: wire.PodInstance) -> TaskId:
    """The instance's id, with a number behind that of each of its later executors.

    Since 1.8 an instance keeps its id when its containers fail and others take
    their place, in another network; the first ones have no number, nor had any
    before 1.8. All of its containers are numbered alike.
    """
    named = (each.container_id or "" for each in found.containers or ())
    tails = (text.removeprefix(f"{found.id}.").rpartition(".") for text in named)
    numbers = (int(number) for name, _, number in tails if name and number.isdecimal())
    newest = max(numbers, default=1)
    return TaskId(found.id if newest <= 1 else f"{found.id}.{newest}")


def _state(found: wire.PodInstance) -> TaskState:
    """How far an instance is, by its containers where Marathon's own word is too coarse.

    It calls an instance terminal already while it is being killed, and degraded
    whether it is unhealthy or unreachable.
    """
    states = {parse_state(each.status) for each in found.containers or () if each.status}
    match (found.status or "").upper():
        case "TERMINAL":
            ended = all(state.is_terminal for state in states)
            return TaskState.FINISHED if ended else TaskState.KILLING
        case _ if TaskState.RUNNING in states:
            return TaskState.RUNNING
        case "STABLE":
            return TaskState.RUNNING
        case "PENDING" | "STAGING":
            return TaskState.STAGING
        case "DEGRADED" if TaskState.UNREACHABLE in states:
            return TaskState.UNREACHABLE
        case _:
            return TaskState.UNKNOWN
