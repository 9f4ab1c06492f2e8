"""What an agent tells its launcher for a container, its tasks and their checks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from demo.mesos.containers.checks import Health
from demo.mesos.containers.container import Container, Member
from demo.mesos.isolators.api import Attached, addresses_of
from demo.mesos.launcher.client import Check, Registration, Release, Start
from demo.mesos.records import HostName, Isolation, LaunchOrder

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
REGISTER_PATH = "/slave(1)/api/v1/executor"


@dataclass(frozen=True, slots=True)
class Site:
    """The agent as its tasks see it.

    `files` stand in the place of the host's in every namespace of a task's own,
    `hidden` are the agent's mounts that no task may keep.
    """

    name: HostName
    address: str
    endpoint: str
    agent_id: str
    files: Mapping[str, str] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()


def render_start(site: Site, container: Container, sandbox: str) -> Start:
    """Fork a container's executor: a lone task that nothing attaches runs at once."""
    own = container.group.isolation is Isolation.NAMESPACE
    at_once = container.alone and not container.isolator
    return Start(
        id=container.container_id,
        directory=sandbox,
        argv=container.group.tasks[0].argv if at_once else (),
        env=_environment(site, container, sandbox) if at_once else {},
        isolate=own,
        hold=bool(container.isolator),
        files=dict(site.files) if own else {},
        hidden=site.hidden,
    )


def render_release(site: Site, container: Container, attached: Attached, sandbox: str) -> Release:
    """Let a container's executor reach the agent, and be the task if it has only one."""
    group = container.group
    return Release(
        id=container.container_id,
        argv=group.tasks[0].argv if container.alone else (),
        env=_environment(site, container, sandbox) if container.alone else {},
        hostname=container.container_id,
        files={**site.files, **attached.files},
        register=Registration(
            endpoint=site.endpoint,
            path=REGISTER_PATH,
            framework=group.framework_id,
            executor=group.executor_id,
        ),
    )


def render_member(site: Site, container: Container, member: Member, sandbox: str) -> Start:
    """Start one task of a pod's instance within the namespaces that its executor holds."""
    return Start(
        id=f"{container.container_id}/{member.task_id}",
        directory=sandbox,
        argv=member.order.argv,
        env=environment_of(site, container, member.order, sandbox),
        join=0 if container.executor is None else container.executor.pid,
    )


def render_check(site: Site, container: Container, key: str, health: Health, sandbox: str) -> Check:
    """Look from inside whether a task is well."""
    check = health.check
    member = container.member(health.task_id)
    return Check(
        id=key,
        pid=0 if member.process is None else member.process.pid,
        kind=str(check.kind),
        port=check.port,
        path=check.path,
        timeout=check.timeout,
        directory=sandbox,
        argv=check.argv,
        env=environment_of(site, container, member.order, sandbox),
    )


def environment_of(
    site: Site, container: Container, order: LaunchOrder, sandbox: str
) -> dict[str, str]:
    """The environment of one task: Marathon's, then the executor's, then the isolator's."""
    own = container.group.isolation is Isolation.NAMESPACE
    env = {
        "PATH": os.environ.get("PATH", SYSTEM_PATH),
        "LANG": "C.UTF-8",
        **order.env,
        "MESOS_TASK_ID": order.task_id,
        "MESOS_FRAMEWORK_ID": order.framework_id,
        "MESOS_EXECUTOR_ID": container.group.executor_id,
        "MESOS_SLAVE_ID": site.agent_id,
        "MESOS_AGENT_ENDPOINT": site.endpoint,
        "MESOS_DIRECTORY": sandbox,
        "MESOS_SANDBOX": sandbox,
        "MESOS_CHECKPOINT": "1",
        # With an address of its own a task may bind to any of them.
        "LIBPROCESS_IP": "0.0.0.0" if own else site.address,
    }
    if not container.alone:
        addresses = [address for info in container.infos for address in addresses_of(info)]
        env["MESOS_CONTAINER_IP"] = addresses[0] if addresses else site.address
    return env | dict(container.env)


def _environment(site: Site, container: Container, sandbox: str) -> dict[str, str]:
    return environment_of(site, container, container.group.tasks[0], sandbox)
