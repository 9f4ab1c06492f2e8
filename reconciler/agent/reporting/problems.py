"""What an agent tells of its host beside what a pass came to."""

from collections.abc import Iterator

from calico.dataplane.foreign.rules import ForeignRules, find_obstacles
from calico.dataplane.state import HostConfig
from calico.keys import ENDPOINTS, POOLS
from calico.model import HostName
from reconciler.agent.belief import Source, View

ON_SAVED_STATE = (
    "acting on the state saved when the datastore was last believed: what was allowed stays,"
    " new tasks stay closed"
)


def problems_of_view(view: View) -> Iterator[str]:
    """Why what is acted on may not be the newest."""
    if view.doubt:
        yield view.doubt
    if view.source is Source.FILE:
        yield ON_SAVED_STATE


def why_not_wired(view: View) -> str:
    """Why no container can be wired now; empty if it can be."""
    if view.source is Source.DATASTORE and not view.doubt:
        return ""
    why = view.doubt or view.unreachable or "the datastore is not yet read"
    return f"no new container can be attached: {why}"


def why_not_given(view: View, unvouched: str) -> str:
    """Why no container is given an address though it could be wired; empty if it is.

    What answers after an outage may be an older self of the datastore, and is asked sooner
    by who needs an address than by the feeds.
    """
    if view.unreachable:
        return f"no container gets an address until the datastore is read anew: {view.unreachable}"
    return unvouched


def obstacles(foreign: ForeignRules, view: View, config: HostConfig | None) -> tuple[str, ...]:
    """What other programs on the host put in the way of its tasks."""
    if view.snapshot is None or config is None:
        return ()
    versions = {pool.cidr.version for pool in view.snapshot.pools}
    return find_obstacles(foreign, config.underlay, versions)


def problems_here(view: View, host: HostName) -> tuple[str, ...]:
    """What could not be read of a host's endpoints, and of the pools.

    A profile that cannot be read is told by each endpoint that names it.
    """
    own = f"{ENDPOINTS}/{host}/"
    return tuple(
        f"{key}: {why}"
        for key, why in sorted(view.problems.items())
        if key.startswith((own, f"{POOLS}/"))
    )
