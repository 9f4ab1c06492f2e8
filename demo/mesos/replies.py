"""What a Mesos agent's own endpoints answer: `/containers` and `/state`."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from demo.mesos.container import Container
from demo.mesos.records import HostName, Json


def render_containers(containers: Sequence[Container], now: float) -> list[Json]:
    """One row per task, in the form of `GET /containers`."""
    return [
        {
            "container_id": container.container_id,
            "executor_id": container.order.task_id,
            "executor_name": _executor_name(container),
            "framework_id": container.order.framework_id,
            "source": container.order.task_id,
            "status": _status(container),
            "statistics": {"timestamp": now, "cpus_limit": 0.2, "mem_limit_bytes": 100663296},
        }
        for container in containers
    ]


def render_state(
    name: HostName, agent_id: str, endpoint: str, containers: Sequence[Container]
) -> Json:
    """The parts of `GET /state` that name tasks and their containers."""
    frameworks: dict[str, list[Json]] = {}
    for container in containers:
        rows = frameworks.setdefault(container.order.framework_id, [])
        rows.append(_executor(container, agent_id))
    return {
        "id": agent_id,
        "hostname": str(name),
        "pid": f"slave(1)@{endpoint}",
        "version": "1.1.1",
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


def _executor(container: Container, agent_id: str) -> Json:
    order = container.order
    return {
        "id": order.task_id,
        "name": _executor_name(container),
        "container": container.container_id,
        "directory": "",
        "source": order.task_id,
        "tasks": [
            {
                "id": order.task_id,
                "name": order.name,
                "framework_id": order.framework_id,
                "executor_id": "",
                "slave_id": agent_id,
                "state": str(container.record.state),
                "statuses": [
                    {
                        "state": str(container.record.state),
                        "timestamp": container.changed_at,
                        "container_status": _status(container),
                    }
                ],
            }
        ],
        "queued_tasks": [],
        "completed_tasks": [],
    }


def _executor_name(container: Container) -> str:
    command = " ".join(container.order.argv)
    return f"Command Executor (Task: {container.order.task_id}) (Command: {command[:80]})"


def _status(container: Container) -> Json:
    status: Json = {
        "container_id": {"value": container.container_id},
        "executor_pid": container.record.pid,
    }
    if container.order.networks or container.record.addresses:
        addresses = [
            {"protocol": f"IPv{ipaddress.ip_address(text).version}", "ip_address": text}
            for text in container.record.addresses
        ]
        first = container.order.networks[0] if container.order.networks else {}
        status["network_infos"] = [{**first, "ip_addresses": addresses, "port_mappings": []}]
    return status
