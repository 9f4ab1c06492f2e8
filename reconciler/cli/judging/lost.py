"""Whether etcd lacks what agents know: emptied, restored, replaced, or never used; pure."""

from collections.abc import Iterator

from calico.cluster import HoldKind
from calico.datastore.api import Key
from calico.keys import parse_host_key
from calico.model import ORCHESTRATOR, HostName
from reconciler.cli.printing.render import joined
from reconciler.cli.reading.cluster import Cluster

WHERE = "etcd"
#: What an operator has to know of it first, and where the rest is.
NOTHING_IS_LOST = (
    "tasks that run keep their addresses, groups and connections, new ones wait, and the controller"
    " imports what agents tell (docs/restore.md)"
)
MOST_NAMED = 5


def lost_store(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Where, and what: etcd as a whole is not what it was; nothing once a hold tells it."""
    if any(hold.kind is HoldKind.STORE for hold in cluster.holds):
        return
    unknown = _unregistered(cluster)
    if cluster.objecting:
        hosts = _named(cluster.objecting)
        yield (
            WHERE,
            f"was emptied, set back or replaced: agents on {hosts} hold what it lacks;"
            f" {NOTHING_IS_LOST}. What that waits for, `marathon-calico holds` tells within a"
            " minute",
        )
    elif unknown:
        yield (
            WHERE,
            f"was emptied or set back: agents on {_named(unknown)} report tasks, and it does not"
            f" know these hosts; {NOTHING_IS_LOST}. What is known again, `marathon-calico cluster"
            " show` tells",
        )
    elif cluster.leader is None and cluster.pinned is None and not cluster.is_pin_unreadable:
        is_empty = not (cluster.snapshot.hosts or cluster.snapshot.specs or cluster.records)
        yield (
            WHERE,
            f"{'is empty' if is_empty else 'has had no controller yet'}: as it should be before"
            " the first controller leads; else it was emptied, or --etcd names another one: then"
            f" {NOTHING_IS_LOST}. Start a controller if none runs",
        )


def _unregistered(cluster: Cluster) -> frozenset[HostName]:
    """Hosts that are not there any more, though an agent of ours still tells of its tasks.

    Felix, who registers nothing, tells no revisions.
    """
    telling = {
        endpoint.host
        for endpoint, status in cluster.statuses.items()
        if endpoint.orchestrator == ORCHESTRATOR and status.revision
    }
    unread = {parse_host_key(Key(problem.key)) for problem in cluster.problems}
    return frozenset(telling | set(cluster.applied)) - set(cluster.snapshot.hosts) - unread


def _named(hosts: frozenset[HostName]) -> str:
    more = len(hosts) - MOST_NAMED
    return joined(sorted(hosts)[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
