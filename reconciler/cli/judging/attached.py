"""How tasks came to their links, and which attached containers wait for a task; pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from calico.model import AppliedRecord, Attachment, HostName, Refusal, TaskVerdict
from reconciler.cli.printing.render import joined, parse_moment
from reconciler.cli.reading.cluster import Cluster, TaskView

#: Seconds that a container may wait for a task to claim it before that is told.
MAY_WAIT = 30.0
#: Seconds for which a call that came to nothing is told.
TOLD_FOR = 3600.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A container that no task claimed for longer than it takes to start one."""

    host: HostName
    attachment: Attachment

    @property
    def is_wrong(self) -> bool:
        """Whether it is known to be a task: others may be on the network on purpose."""
        return bool(self.attachment.task)

    def in_words(self) -> str:
        """One sentence for operators, without its host."""
        each = self.attachment
        whose = f"runs task {each.task}" if each.task else "runs no task that is known"
        return (
            f"container {each.container} ({joined(each.addresses)}) {whose} and is not claimed:"
            " only its host reaches it"
        )


def attached_by(task: TaskView) -> str | None:
    """`plugin` or `locator`; None for a task without a network of ours."""
    record = task.record
    if record is None or record.verdict is not TaskVerdict.ACCEPTED:
        return None
    return "plugin" if record.container else "locator"


def attached_fields(task: TaskView) -> dict[str, object]:
    """As JSON."""
    record = task.record
    return {
        "attached": attached_by(task),
        "container": (record.container if record else "") or None,
        "pod": record.pod if record else False,
    }


def waiting_containers(cluster: Cluster, now: datetime) -> tuple[Waiting, ...]:
    """Attached containers of live hosts that nobody claimed for too long, by host."""
    found = []
    for host, applied in _present(cluster):
        for each in applied.attachments:
            since = parse_moment(each.since)
            if since is not None and (now - since).total_seconds() > MAY_WAIT:
                found.append(Waiting(host, each))
    return tuple(found)


def refused_calls(cluster: Cluster, now: datetime) -> tuple[tuple[HostName, Refusal], ...]:
    """Calls of plugins on live hosts that came to nothing a while ago at most, by host."""
    found = []
    for host, applied in _present(cluster):
        for each in applied.refusals:
            since = parse_moment(each.since)
            if since is not None and (now - since).total_seconds() <= TOLD_FOR:
                found.append((host, each))
    return tuple(found)


def _present(cluster: Cluster) -> Iterator[tuple[HostName, AppliedRecord]]:
    """What hosts tell of their present boot, unless they are forgotten."""
    for host, applied in sorted(cluster.applied.items()):
        record = cluster.snapshot.hosts.get(host)
        if record is not None and not record.forgotten and record.boot_id == applied.boot_id:
            yield host, applied
