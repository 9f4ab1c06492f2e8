"""What waits for an operator, and what ends the wait; pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import assert_never

from calico import keys
from calico.cluster import HoldKind, HoldRecord
from calico.model import TaskId
from reconciler.cli.command import NoSuchThing
from reconciler.cli.judging.lost import lost_store
from reconciler.cli.printing.render import Answer, Lines, Section, Table, age, joined
from reconciler.cli.reading.cluster import Cluster, TaskView
from reconciler.core.removal.held import is_approved, remedy

#: The exit code of a command that was not told to act.
WOULD_ACT = 2
#: What an adoption lets go.
ADOPTED = (HoldKind.FRAMEWORK, HoldKind.STORE)
NOTHING = "nothing waits for an operator"
LOST = ", but etcd is not what it was: see `marathon-calico status`"
ANEW = f"{keys.CLUSTER} cannot be read and is written anew, with Marathon's next answer"


def what_waits(hold: HoldRecord) -> str:
    """How many of what, as `3 removals`."""
    count = len(hold.subjects)
    match hold.kind:
        case HoldKind.TASKS:
            word = "removal"
        case HoldKind.FRAMEWORK:
            return "everything"
        case HoldKind.GROUPS:
            word = "app"
        case HoldKind.STORE:
            return "every new address"
        case _:
            assert_never(hold.kind)
    return f"{count} {word}{'s' * (count != 1)}"


def hold_data(hold: HoldRecord) -> dict[str, object]:
    """One hold in `-o json`."""
    return {
        "kind": hold.kind.value,
        "plan": hold.plan,
        "subjects": list(hold.subjects),
        "reason": hold.reason,
        "since": hold.since,
        "approved": is_approved(hold),
        "remedy": remedy(hold),
    }


def list_holds(cluster: Cluster, now: datetime) -> Answer:
    """Every hold in one row; that there are some is no failure of this command."""
    rows = tuple(
        (
            hold.plan,
            hold.kind.value,
            what_waits(hold),
            age(hold.since, now),
            "approved" if is_approved(hold) else "waits",
            hold.reason,
        )
        for hold in cluster.holds
    )
    table = Table(("plan", "kind", "what", "for", "state", "reason"), rows)
    data = [hold_data(hold) for hold in cluster.holds]
    return Answer(data, (table,), note="" if rows else _nothing(cluster))


def show_holds(cluster: Cluster, now: datetime, plan: str | None) -> Answer:
    """One hold, or all of them, with every subject; raises NoSuchThing."""
    shown = cluster.holds if plan is None else (one_hold(cluster, plan),)
    tasks = {task.name: task for task in cluster.tasks()}
    sections: list[Section] = []
    for hold in shown:
        lets_go = "approved: the controller lets it go" if is_approved(hold) else remedy(hold)
        head = (
            ("plan", hold.plan),
            ("kind", hold.kind.value),
            ("what", what_waits(hold)),
            ("for", age(hold.since, now)),
            ("reason", hold.reason),
            ("ends by", _ends_by(hold)),
            ("or by", lets_go),
        )
        sections.append(Lines(tuple(f"{name:<9}{text}" for name, text in head)))
        sections.append(_subjects(hold, cluster, tasks))
    data = [{**hold_data(hold), "tasks": _tasks_data(hold, tasks)} for hold in shown]
    return Answer(data, tuple(sections), note="" if shown else _nothing(cluster))


def _nothing(cluster: Cluster) -> str:
    return f"{NOTHING} yet{LOST}" if any(lost_store(cluster)) else NOTHING


def adoptable(cluster: Cluster) -> tuple[HoldRecord, ...]:
    """What an adoption lets go."""
    return tuple(hold for hold in cluster.holds if hold.kind in ADOPTED)


def unreadable(cluster: Cluster) -> tuple[str, ...]:
    """What an adoption writes anew, in words; empty if all can be read."""
    return (ANEW,) if cluster.is_pin_unreadable else ()


def would(act: str, holds: tuple[HoldRecord, ...], anew: tuple[str, ...] = ()) -> Answer:
    """What an operator's word would do."""
    reason = "; ".join((*anew, *(hold.reason for hold in holds)))
    return _outcome(f"would {act}", holds, f"{reason}; --yes does it", WOULD_ACT)


def done(acted: str, holds: tuple[HoldRecord, ...], anew: tuple[str, ...] = ()) -> Answer:
    """The operator's word is written."""
    reason = "; ".join((*anew, "the controller acts on it with its next list"))
    return _outcome(acted, holds, reason, 0)


def changed(holds: tuple[HoldRecord, ...]) -> Answer:
    """Something else waits by now than was shown."""
    return _outcome("refused", holds, "something else waits by now; see `holds`", 1)


def nothing_to_adopt() -> Answer:
    """Neither Marathon nor etcd was replaced, as far as is known."""
    return _outcome("nothing to adopt", (), "Marathon and etcd are the known ones", 0)


def _outcome(action: str, holds: tuple[HoldRecord, ...], reason: str, exit_code: int) -> Answer:
    data = {"action": action, "plans": [hold.plan for hold in holds], "reason": reason}
    what = joined((f"{what_waits(hold)} ({hold.plan})" for hold in holds), empty="")
    word = action.upper() if action == "refused" else action
    line = f"{word} {what}".rstrip() + f": {reason}"
    return Answer(data, (Lines((line,)),), exit_code)


def one_hold(cluster: Cluster, plan: str) -> HoldRecord:
    """The hold of exactly this plan; raises NoSuchThing."""
    for hold in cluster.holds:
        if hold.plan == plan:
            return hold
    raise NoSuchThing(f"nothing waits under the plan {plan!r}; see `holds`")


def show_cluster(cluster: Cluster) -> Answer:
    """What was decided once for the cluster as a whole."""
    pinned = cluster.pinned
    broken = [each for each in cluster.problems if each.key == keys.CLUSTER]
    if broken:
        lines = tuple(f"PROBLEM {each.key}: {each.reason}" for each in broken)
        return Answer({"problem": broken[0].reason}, (Lines(lines),), 1)
    if pinned is None:
        raise NoSuchThing(
            "nothing is decided yet: no controller has led this cluster; if one has, etcd was"
            " emptied or --etcd names another one, see `marathon-calico status`"
        )
    newest = pinned.chain[-1].number if pinned.chain else 0
    adopted = [guid for each in pinned.chain for guid in each.adopts]
    data = {
        "uuid": pinned.uuid,
        "schema": pinned.schema,
        "framework": pinned.framework,
        "marathon": pinned.marathon,
        "allow_from": [str(each) for each in pinned.allow_from],
        "takeovers": newest,
        "adopted": adopted,
        "holds": [hold_data(hold) for hold in cluster.holds if hold.kind in ADOPTED],
    }
    rows = (
        ("uuid", pinned.uuid, "of this cluster, drawn by the first controller that led it"),
        ("framework", pinned.framework or "not told yet", "Mesos' id of the Marathon believed"),
        ("marathon", pinned.marathon or "not told yet", "the newest version of it that answered"),
        ("allow from", joined(pinned.allow_from), "who reaches each task's ports, in any group"),
        (
            "takeovers",
            str(newest),
            "grows when a controller begins to lead, or has imported what agents held",
        ),
        ("adopted", joined(adopted, "none"), _adopted_in_words(len(adopted))),
    )
    held = tuple(
        f"held  {hold.reason}; `{remedy(hold)}` lets it go"
        for hold in cluster.holds
        if hold.kind in ADOPTED
    )
    return Answer(data, (Table(("what", "value", "meaning"), rows), Lines(held)))


def _adopted_in_words(count: int) -> str:
    if not count:
        return "no state of an earlier etcd was imported, as far as the last 64 takeovers tell"
    times = "once" if count == 1 else f"{count} times"
    return (
        f"ClusterGUID of etcd before it was emptied, set back or replaced, {times}: what agents"
        " held of it was imported"
    )


def _ends_by(hold: HoldRecord) -> str:
    """What ends it without an operator."""
    match hold.kind:
        case HoldKind.TASKS:
            return "a list that names them, or evidence that they ended"
        case HoldKind.FRAMEWORK:
            return "the answer of the framework that is pinned"
        case HoldKind.GROUPS:
            return "a new version of each app that names its groups"
        case HoldKind.STORE:
            return (
                "the word of each host below on what it holds: start its agent; of one that is gone"
                " for good, `marathon-calico hosts forget HOST --yes`"
            )
        case _:
            assert_never(hold.kind)


def _subjects(hold: HoldRecord, cluster: Cluster, tasks: Mapping[str, TaskView]) -> Section:
    match hold.kind:
        case HoldKind.TASKS:
            columns = ("task", "app", "host", "addresses", "agent says")
            rows = tuple(_task_row(name, tasks.get(name)) for name in hold.subjects)
            return Table(columns, rows)
        case HoldKind.GROUPS:
            groups = {app: set[str]() for app in hold.subjects}
            for record in cluster.records.values():
                groups.get(record.app, set()).update(record.groups)
            return Table(
                ("app", "groups of its running tasks"),
                tuple((app, joined(sorted(groups[app]))) for app in hold.subjects),
            )
        case HoldKind.FRAMEWORK:
            pinned = cluster.pinned.framework if cluster.pinned else ""
            return Table(("answers", "pinned"), tuple((each, pinned) for each in hold.subjects))
        case HoldKind.STORE:
            return Table(("not heard of, or not clear",), tuple((each,) for each in hold.subjects))
        case _:
            assert_never(hold.kind)


def _task_row(name: str, task: TaskView | None) -> tuple[str, ...]:
    if task is None:
        return name, "-", "-", "-", "-"
    said = task.status.state.value if task.status else "-"
    return name, task.app, task.host, joined(task.addresses), said


def _tasks_data(hold: HoldRecord, tasks: Mapping[str, TaskView]) -> list[dict[str, object]]:
    """For machines what the table of held tasks shows."""
    if hold.kind is not HoldKind.TASKS:
        return []
    found = (tasks[TaskId(name)] for name in hold.subjects if name in tasks)
    return [
        {
            "task": task.name,
            "app": task.app,
            "host": task.host,
            "addresses": list(map(str, task.addresses)),
            "status": task.status.state.value if task.status else None,
        }
        for task in found
    ]
