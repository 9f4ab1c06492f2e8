"""What a Mesos agent's own endpoints answer: `/containers`, `/state`, `/monitor/statistics`."""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Sequence

from demo.mesos.containers.container import Container, Member
from demo.mesos.containers.orders import Site
from demo.mesos.isolators.api import with_addresses
from demo.mesos.records import Isolation, Json
from demo.mesos.version import MesosVersion


def render_containers(site: Site, containers: Sequence[Container], now: float) -> list[Json]:
    """One row per executor, in the form of `GET /containers`."""
    return [
        {
            "container_id": container.container_id,
            **row,
            "status": {
                **_status(site, container),
                "executor_pid": None if container.executor is None else container.executor.pid,
            },
        }
        for container, row in zip(containers, render_statistics(containers, now), strict=True)
    ]


def render_statistics(containers: Sequence[Container], now: float) -> list[Json]:
    """One row per executor, in the form of `GET /monitor/statistics`."""
    return [
        {
            "executor_id": container.group.executor_id,
            "executor_name": _executor_name(container),
            "framework_id": container.group.framework_id,
            "source": _source(container),
            "statistics": {"timestamp": now, "cpus_limit": 0.2, "mem_limit_bytes": 100663296},
        }
        for container in containers
    ]


def render_state(site: Site, version: MesosVersion, containers: Sequence[Container]) -> Json:
    """The parts of `GET /state` that name tasks and their containers."""
    frameworks: dict[str, list[Json]] = {}
    for container in containers:
        rows = frameworks.setdefault(container.group.framework_id, [])
        rows.append(_executor(site, version, container))
    return {
        "id": site.agent_id,
        "hostname": str(site.name),
        "pid": f"slave(1)@{site.endpoint}",
        "version": str(version),
        "frameworks": [
            {
                "id": framework_id,
                "name": "marathon",
                "executors": executors,
                "completed_executors": [],
            }
            for framework_id, executors in sorted(frameworks.items())
        ],
        "completed_frameworks": [],
    }


def _executor(site: Site, version: MesosVersion, container: Container) -> Json:
    return {
        "id": container.group.executor_id,
        "name": _executor_name(container),
        "container": container.container_id,
        "directory": "",
        "source": _source(container),
        "tasks": [_task(site, version, container, member) for member in container.members],
        "queued_tasks": [],
        "completed_tasks": [],
    }


def _task(site: Site, version: MesosVersion, container: Container, member: Member) -> Json:
    status = _status(site, container)
    if version.has_containers and container.executor is not None:
        status["executor_pid"] = container.executor.pid
    if not container.alone:
        nested = str(uuid.uuid5(uuid.NAMESPACE_OID, member.task_id))
        status["container_id"] = {"value": nested, "parent": status["container_id"]}
    discovery = {"discovery": member.order.discovery} if member.order.discovery else {}
    return {
        "id": member.task_id,
        "name": member.order.name,
        **discovery,
        "framework_id": container.group.framework_id,
        "executor_id": "" if container.alone else container.group.executor_id,
        "slave_id": site.agent_id,
        "state": str(member.record.state),
        "statuses": [
            {
                "state": str(member.record.state),
                "timestamp": member.changed_at,
                "container_status": status,
            }
        ],
    }


def _source(container: Container) -> str:
    """The task of a command executor; an executor with several tasks names none."""
    return str(container.members[0].task_id) if container.alone else ""


def _executor_name(container: Container) -> str:
    if not container.alone:
        return ""
    command = " ".join(container.members[0].order.argv)
    return f"Command Executor (Task: {_source(container)}) (Command: {command[:80]})"


def _status(site: Site, container: Container) -> Json:
    group = container.group
    infos = container.infos
    if group.isolation is Isolation.HOST:
        first = group.networks[0] if group.networks else {}
        protocol = f"IPv{ipaddress.ip_address(site.address).version}"
        infos = (with_addresses(first, ((protocol, site.address),)),)
    elif not container.isolator:
        infos = tuple(with_addresses(info, ()) for info in group.networks)
    status: Json = {"container_id": {"value": container.container_id}}
    return status | ({"network_infos": list(infos)} if infos else {})
