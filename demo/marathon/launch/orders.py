"""What a host's agent is asked to start: tasks, their networks, ports and checks."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Mapping

from demo.marathon.core.state import App, Task
from demo.marathon.definitions.checks import BY_EXECUTOR, checked_port
from demo.marathon.definitions.commands import CommandRule
from demo.marathon.definitions.pods import commands_of
from demo.marathon.definitions.ports import declared_ports, mappings_of
from demo.marathon.era import Era
from demo.marathon.launch.environment import pod_environment, task_environment
from demo.marathon.launch.identity import executor_id
from demo.mesos.records import (
    CheckKind,
    GroupOrder,
    HealthCheck,
    Isolation,
    Json,
    LaunchOrder,
)

_KINDS = {
    "COMMAND": CheckKind.COMMAND,
    "MESOS_HTTP": CheckKind.HTTP,
    "MESOS_TCP": CheckKind.TCP,
}


def render_order(
    app: App,
    task: Task,
    rule: CommandRule,
    framework_id: str,
    era: Era,
    random_port: Callable[[], int],
) -> LaunchOrder:
    """An app's task; `$NAME` in a word of its command is filled in."""
    program = rule(app.definition)
    env = task_environment(app, task, era, random_port) | program.env
    return LaunchOrder(
        task_id=task.id,
        framework_id=framework_id,
        argv=_filled_in(program.argv, env),
        env=env,
        isolation=isolation_of(app.definition),
        name=".".join(reversed(app.id.strip("/").split("/"))),
        networks=network_infos(app.definition, task.ports),
        checks=tuple(_checks(app.definition, task, rule, env)),
        discovery=discovery_of(app, task),
        # Before 1.3 an app has no say in it.
        kill_grace=app.definition.get("taskKillGracePeriodSeconds"),
    )


def render_group_order(app: App, task: Task, rule: CommandRule, framework_id: str) -> GroupOrder:
    """A pod's instance: one executor, its containers' tasks, one attachment."""
    orders = []
    containers = app.definition["containers"]
    for part, container, command in zip(
        task.parts, containers, commands_of(app.definition), strict=True
    ):
        program = rule(command)
        env = pod_environment(app, task, container, part.id) | program.env
        orders.append(
            LaunchOrder(
                task_id=part.id,
                framework_id=framework_id,
                argv=_filled_in(program.argv, env),
                env=env,
                name=part.name,
                checks=tuple(_pod_checks(container, rule, env)),
            )
        )
    return GroupOrder(
        executor_id=executor_id(task.id),
        framework_id=framework_id,
        tasks=tuple(orders),
        isolation=isolation_of(app.definition),
        networks=network_infos(app.definition, task.ports),
    )


def isolation_of(definition: Json) -> Isolation:
    """A namespace of its own for everything that is not on the host's network."""
    networks = definition.get("networks")
    if networks is not None:
        return Isolation.HOST if networks[0]["mode"] == "host" else Isolation.NAMESPACE
    kind = ((definition.get("container") or {}).get("docker") or {}).get("network")
    if kind in ("BRIDGE", "USER"):
        return Isolation.NAMESPACE
    # Docker's own word for the host's network wins over an address.
    own = definition.get("ipAddress") is not None and kind != "HOST"
    return Isolation.NAMESPACE if own else Isolation.HOST


def network_infos(definition: Json, ports: tuple[int, ...]) -> tuple[Json, ...]:
    """The NetworkInfos that Mesos gets, one for each container network.

    A bridge is the containerizer's own affair, and this stand-in has none: such
    a task starts in a namespace without a network, as one on Docker's NONE does.
    """
    networks = definition.get("networks")
    if networks is not None:
        return tuple(
            _network_info(network, network["name"], _port_mappings(definition, ports, network))
            for network in networks
            if network["mode"] == "container"
        )
    address = definition.get("ipAddress")
    if address is None or isolation_of(definition) is Isolation.HOST:
        return ()
    kind = ((definition.get("container") or {}).get("docker") or {}).get("network")
    if kind in ("BRIDGE", "NONE"):
        # No isolator sees Docker's own containers; those on NONE wait for a locator.
        return ()
    mappings = _port_mappings(definition, ports, {})
    return (_network_info(address, address.get("networkName"), mappings),)


def discovery_of(app: App, task: Task) -> Json:
    """The DiscoveryInfo that Mesos gets: under which name and ports the app is found."""
    return {
        "visibility": "FRAMEWORK",
        "name": ".".join(reversed(app.id.strip("/").split("/"))),
        "ports": {"ports": list(_discovered(app.definition, task.ports))},
    }


def _network_info(source: Json, name: str | None, mappings: list[Json]) -> Json:
    info: Json = {
        "labels": {
            "labels": [{"key": key, "value": value} for key, value in source["labels"].items()]
        },
        # One address without a value: give me one.
        "ip_addresses": [{"protocol": "IPv4"}],
    }
    if source.get("groups"):
        info["groups"] = source["groups"]
    if name is not None:
        info["name"] = name
    if mappings:
        info["port_mappings"] = mappings
    return info


def _port_mappings(definition: Json, ports: tuple[int, ...], network: Json) -> list[Json]:
    """The host's ports that lead to the task by this network."""
    allocated, found = iter(ports), []
    for entry in _mapped(definition):
        if entry.get("hostPort") is None:
            continue
        host_port = next(allocated, None)
        chosen = entry.get("networkNames")
        if host_port is None or (chosen and network.get("name") not in chosen):
            continue
        found += [
            {
                "host_port": host_port,
                "container_port": entry.get("containerPort") or host_port,
                "protocol": protocol,
            }
            for protocol in _protocols(entry)
        ]
    return found


def _mapped(definition: Json) -> list[Json]:
    if "containers" in definition:
        return [each for container in definition["containers"] for each in container["endpoints"]]
    return mappings_of(definition) or []


def _protocols(entry: Json) -> list[str]:
    protocol = entry.get("protocol") or "tcp"
    return protocol if isinstance(protocol, list) else protocol.split(",")


def _discovered(definition: Json, ports: tuple[int, ...]) -> Iterator[Json]:
    address, networks = definition.get("ipAddress"), definition.get("networks")
    mappings = _mapped(definition)
    if address is not None and not mappings:
        for port in address["discovery"]["ports"]:
            yield _port(port["number"], port["name"], port["protocol"], port.get("labels"))
        return
    if not mappings or (networks or [{}])[0].get("mode") == "host":
        declared = mappings or declared_ports(definition)
        for entry, number in zip(declared, ports, strict=False):
            for protocol in _protocols(entry):
                scope = {} if networks is None else {"network-scope": "host"}
                labels = (entry.get("labels") or {}) | scope
                yield _port(number, entry.get("name"), protocol, labels)
        return
    allocated = iter(ports)
    for entry in mappings:
        held = next(allocated, None) if entry.get("hostPort") is not None else None
        number = entry.get("containerPort") or held or 0
        for protocol in _protocols(entry):
            labels = entry.get("labels") or {}
            if networks is None:
                yield _port(held or number, entry.get("name"), protocol, labels)
                continue
            if networks[0]["mode"] != "container":
                bridged = labels | {"network-scope": "host"}
                yield _port(held or number, entry.get("name"), protocol, bridged)
                continue
            chosen = entry.get("networkNames") or [network["name"] for network in networks]
            for name in chosen:
                scoped = labels | {"network-scope": "container", "network-name": name}
                yield _port(number, entry.get("name"), protocol, scoped)


def _port(number: int, name: str | None, protocol: str, labels: Mapping[str, str] | None) -> Json:
    port: Json = {"number": number, "protocol": protocol}
    if name is not None:
        port["name"] = name
    if labels:
        pairs = [{"key": key, "value": value} for key, value in labels.items()]
        port["labels"] = {"labels": pairs}
    return port


def _checks(
    definition: Json, task: Task, rule: CommandRule, env: Mapping[str, str]
) -> Iterator[HealthCheck]:
    for check in definition["healthChecks"]:
        if check["protocol"] not in BY_EXECUTOR:
            continue
        if check["protocol"] == "COMMAND":
            program = rule({"cmd": check["command"]["value"], "args": None})
            yield _check(check, CheckKind.COMMAND, argv=_filled_in(program.argv, env))
        else:
            port = checked_port(definition, check, task.ports, inside=True) or 0
            yield _check(check, _KINDS[check["protocol"]], port, check.get("path", "/"))


def _pod_checks(
    container: Json, rule: CommandRule, env: Mapping[str, str]
) -> Iterator[HealthCheck]:
    check = container.get("healthCheck")
    if check is None:
        return
    if check.get("exec") is not None:
        command = check["exec"].get("command") or {}
        program = rule({"cmd": command.get("shell"), "args": command.get("argv")})
        yield _check(check, CheckKind.COMMAND, argv=_filled_in(program.argv, env))
        return
    kind = "http" if check.get("http") is not None else "tcp"
    name = check[kind]["endpoint"].upper().replace("-", "_")
    port = int(env.get(f"ENDPOINT_{name}", 0))
    yield _check(check, CheckKind(kind), port, check[kind].get("path") or "/")


def _check(
    check: Json, kind: CheckKind, port: int = 0, path: str = "/", argv: tuple[str, ...] = ()
) -> HealthCheck:
    return HealthCheck(
        kind,
        port,
        path,
        argv,
        grace=float(check["gracePeriodSeconds"]),
        interval=float(check["intervalSeconds"]),
        timeout=float(check["timeoutSeconds"]),
        failures=int(check["maxConsecutiveFailures"]),
        delay=float(check.get("delaySeconds", 0)),
    )


def _filled_in(argv: tuple[str, ...], env: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(string.Template(word).safe_substitute(env) for word in argv)
