"""`marathon-calico describe`: what one task should have, and what it has."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime

import click

from calico.model import Profile, ProfileId, TaskVerdict
from reconciler.cli.command import reads_cluster
from reconciler.cli.commands.get import task_fields
from reconciler.cli.judging.attached import attached_by
from reconciler.cli.judging.comparison import (
    compare,
    comparison_table,
    kernel_fields,
    kernel_sections,
)
from reconciler.cli.judging.named import one_task
from reconciler.cli.printing.render import Answer, Lines, age, joined
from reconciler.cli.printing.words import opening_in_words, rule_in_words
from reconciler.cli.reading.cluster import Cluster, TaskView
from reconciler.cli.reading.kernels import NOT_ASKED, Kernels, ask_task, kernel_option
from reconciler.core.kernels.task_page import TaskPage


@click.command()
@click.argument("kind", type=click.Choice(["task"]))
@click.argument("name")
@kernel_option
@reads_cluster
def describe(cluster: Cluster, now: datetime, kind: str, name: str, kernel: bool) -> Answer:  # noqa: ARG001 - one kind so far
    """All about the task NAME: its id, a unique prefix of it, or its app's id.

    Exits 2 if there is no such task, or several; then they are listed.

    \b
    Fields of -o json: those of `get tasks`, and
      app_version  of the task's own version of its app
      desired      revision, interface, mac, active, addresses, labels, and
                   profiles: profile, tags, inbound, outbound, problem;
                   null if no endpoint is stored
      actual       state, revision, addresses, reason; null if nothing is reported
      agent        host, state, applied, last_seen
      compared     what, desired, reported, kernel (lists of text, null where
                   that side does not tell) and differs, line by line
      kernel       told (if not: reason and remedy), looked_at, revision,
                   interface, facts, chains with rules and counts, sets, sent,
                   received, differences; null with --no-kernel
    """
    task = one_task(cluster, name)
    kernels = ask_task(cluster, task.host, task.name) if kernel else NOT_ASKED
    return judge_describe(cluster, now, name, kernels)


def judge_describe(
    cluster: Cluster, now: datetime, name: str, kernels: Kernels = NOT_ASKED
) -> Answer:
    """Everything about one task."""
    task = one_task(cluster, name)
    kernel = kernels.tasks.get((task.host, task.name))
    lines = compare(task, kernel)
    host = cluster.host(task.host)
    data: dict[str, object] = {
        **task_fields(task),
        "app_version": task.record.app_version if task.record else "",
        "desired": _desired_fields(cluster, task),
        "actual": task.status
        and {
            "state": task.status.state.value,
            "revision": task.status.revision,
            "addresses": [str(address) for address in task.status.addresses],
            "reason": task.status.reason,
        },
        "agent": {
            "host": host.name,
            "state": host.agent.state.value,
            "applied": host.agent.applied,
            "last_seen": host.last_seen,
        },
        "compared": [asdict(line) | {"differs": line.differs} for line in lines],
        "kernel": kernel_fields(kernel),
    }
    heard = f", heard {age(host.last_seen, now)} ago" if host.last_seen else ""
    head = (
        f"task      {task.name}",
        f"app       {_app(task)}",
        f"host      {task.host or '-'} (agent {host.agent.state.value}{heard})",
        f"attached  {_attached(task)}",
        f"verdict   {_verdict(task)}",
        f"age       {age(task.record.since, now) if task.record else '-'}",
    )
    sections = (
        Lines(head),
        comparison_table(lines, kernel=isinstance(kernel, TaskPage)),
        Lines(tuple(_desired_lines(cluster, task))),
        Lines(tuple(_actual_lines(task))),
        *kernel_sections(kernel),
    )
    return Answer(data, sections)


def _app(task: TaskView) -> str:
    if task.record is None:
        return "- (another orchestrator's endpoint: read, never changed)"
    version = task.record.app_version
    return f"{task.app} (version {version})" if version else task.app


def _attached(task: TaskView) -> str:
    by, record = attached_by(task), task.record
    if by is None or record is None:
        return "-"
    what = "a pod instance, " if record.pod else ""
    if record.container:
        return f"{what}by a plugin before it ran: container {record.container}"
    return f"{what}by a locator once it ran"


def _verdict(task: TaskView) -> str:
    reason = task.judgement.reason
    return task.judgement.verdict.value + (f": {reason}" if reason else "")


def _desired_fields(cluster: Cluster, task: TaskView) -> dict[str, object] | None:
    spec = task.spec
    if spec is None:
        return None
    return {
        "revision": task.revision,
        "interface": spec.interface,
        "mac": str(spec.mac) if spec.mac else None,
        "active": spec.active,
        "addresses": [str(address) for address in spec.addresses],
        "labels": dict(spec.labels),
        "profiles": [_profile_fields(_profile(cluster, name)) for name in spec.profiles],
    }


def _profile(cluster: Cluster, name: ProfileId) -> Profile:
    absent = Profile(name, problem="it does not exist: what names it is closed")
    return cluster.snapshot.profiles.get(name, absent)


def _profile_fields(profile: Profile) -> dict[str, object]:
    return {
        "profile": profile.id,
        "tags": list(profile.tags),
        "inbound": [rule_in_words(rule) for rule in profile.inbound],
        "outbound": [rule_in_words(rule) for rule in profile.outbound],
        "problem": profile.problem,
    }


def _desired_lines(cluster: Cluster, task: TaskView) -> Iterator[str]:
    yield f"desired   {f'at revision {task.revision}' if task.spec else 'no endpoint is stored'}"
    if task.record is not None:
        ports = joined(map(opening_in_words, task.record.ports))
        yield f"  groups     {joined(task.groups)}"
        accepted = task.record.verdict is TaskVerdict.ACCEPTED
        opened = ports if task.record.ports_declared else "all"
        yield f"  ports      {opened if accepted else '-'}"
    if task.spec is None:
        return
    yield f"  address    {joined(task.spec.addresses)}"
    yield f"  interface  {task.spec.interface}, mac {task.spec.mac or '-'}"
    if not task.spec.active:
        yield "  state      inactive: closed on purpose"
    for name in task.spec.profiles:
        profile = _profile(cluster, name)
        tags = f" (tags {joined(profile.tags)})" if profile.tags else ""
        yield f"  profile    {name}{tags}"
        if profile.problem:
            yield f"    PROBLEM {profile.problem}"
        for direction, rules in (("inbound", profile.inbound), ("outbound", profile.outbound)):
            for number, rule in enumerate(rules, start=1):
                yield f"    {direction:<8} {number:>2} {rule_in_words(rule)}"


def _actual_lines(task: TaskView) -> Iterator[str]:
    if task.status is None:
        yield "actual    nothing is reported"
        return
    reported = task.status
    yield f"actual    at revision {reported.revision}"
    yield f"  state      {reported.state.value}{f': {reported.reason}' if reported.reason else ''}"
    yield f"  address    {joined(reported.addresses)}"
