"""P8: whether a cluster is as it should be once nothing goes wrong any more."""

import json
from collections.abc import Collection, Sequence

from calico.addressing.audit import drifts
from calico.addressing.books import decode_books
from calico.codec import decode_applied, decode_chain, decode_status
from calico.datastore.memory import MemoryDatastore
from calico.keys import CHAIN, IPAM, applied_key, endpoint_key, objection_key, status_key
from calico.model import EndpointId, EndpointState, TaskId
from tests.simulation.foreign import FOREIGN
from tests.simulation.twins.host import HostTwin
from tests.simulation.twins.marathon import MarathonTwin

#: Every group that an app asks for.
GROUPS = frozenset({"g", "k"})


def unsettled(
    store: MemoryDatastore,
    marathon: MarathonTwin,
    hosts: Sequence[HostTwin],
    endpoints: Sequence[EndpointId],
    ungrouped: Collection[str],
) -> str:
    """What is not yet as it should be, empty if all is; `ungrouped` may lack their groups."""
    for host in hosts:
        if not _follows(store, host):
            return f"{host.name} does not follow the latest takeover"
    live = {task: host.name for host in hosts for task in host.namespaces}
    told = {TaskId(each.workload): each.host for each in endpoints}
    if told != live:
        return f"endpoints {sorted(told.items())} are not the tasks {sorted(live.items())}"
    for host in hosts:
        routed = sorted(task for task, _ in host.routed().values())
        if routed != sorted(host.namespaces):
            return f"{host.name} routes {routed}, not {sorted(host.namespaces)}"
    for endpoint in endpoints:
        task = endpoint.workload
        stored = store.get(endpoint_key(endpoint))
        named = GROUPS & frozenset(() if stored is None else _profiles_of(stored.value))
        if named != marathon.groups[task] and (named or task not in ungrouped):
            return f"{task} is in {sorted(named)}, not {sorted(marathon.groups[task])}"
        status = store.get(status_key(endpoint))
        if status is None or decode_status(status.value).state is not EndpointState.UP:
            return f"{endpoint.workload} is not told to be up"
    books = decode_books(store.list(IPAM).entries)
    held = sorted(
        str(each.handle)
        for block in books.blocks.values()
        for each in block.allocations
        if each is not None and not str(each.handle).startswith(FOREIGN)
    )
    if held != sorted(live):
        return f"addresses are held by {held}, not by {sorted(live)}"
    for host in hosts:
        if host.files.keys() != host.containers.keys():
            return f"{host.name} keeps {sorted(host.files)}, not {sorted(host.containers)}"
    found = drifts(books)
    return f"the books do not agree: {found}" if found else ""


def _follows(store: MemoryDatastore, host: HostTwin) -> bool:
    """Whether the agent believes the store as its last leader left it."""
    chain, applied = store.get(CHAIN), store.get(applied_key(host.name))
    if chain is None or applied is None or store.get(objection_key(host.name)) is not None:
        return False
    word = decode_applied(host.name, applied.value)
    return not word.doubt and word.takeover == decode_chain(chain.value)[-1].number


def _profiles_of(text: str) -> tuple[str, ...]:
    """The profiles that an endpoint names."""
    return tuple(json.loads(text)["profile_ids"])
