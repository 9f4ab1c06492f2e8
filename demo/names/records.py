"""What Mesos-DNS knows of tasks on their hosts' networks, by name; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from demo.stories.rest import RunningTask

SUFFIX = "marathon.mesos"


@dataclass(frozen=True, slots=True)
class Records:
    """Hosts by the name of an app, and hosts with ports by that of a service."""

    hosts: dict[str, list[str]] = field(default_factory=dict)
    services: dict[str, list[tuple[str, int]]] = field(default_factory=dict)


def records_of(tasks: Iterable[RunningTask]) -> Records:
    """The records of the tasks that run and have ports of their hosts.

    `/star-before/probe-a` has the names `probe-a.star-before.marathon.mesos` and
    `probe-a-star-before.marathon.mesos`, and the service
    `_probe-a-star-before._tcp.marathon.mesos`. Names are in lower case.
    """
    records = Records()
    for task in tasks:
        if not task.running or not task.ports:
            continue
        parts = [part for part in reversed(task.app_id.split("/")) if part]
        joined = "-".join(parts).replace(".", "-")
        for name in dict.fromkeys((".".join(parts), joined)):
            records.hosts.setdefault(f"{name}.{SUFFIX}", []).append(task.host)
        for port in task.ports:
            service = f"_{joined}._tcp.{SUFFIX}"
            records.services.setdefault(service, []).append((f"{joined}.{SUFFIX}", port))
    return records
