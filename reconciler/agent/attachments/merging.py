"""The datastore's endpoints and this host's containers as one snapshot: pure.

A container that no task has claimed is rendered like an endpoint without
profiles: wired, and closed but for its host. The endpoint that claims it has
its interface, MAC and addresses, and takes its place.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from operator import is_

from netaddr import IPAddress

from calico.model import (
    INTERFACE_PREFIX,
    ContainerId,
    EndpointId,
    EndpointSpec,
    HostName,
    InterfaceName,
    Snapshot,
    TaskId,
)
from reconciler.agent.attachments.files import KeptAttachment

#: Stands in an endpoint's id where others have their orchestrator; never in the datastore.
UNCLAIMED = "container"


@dataclass(frozen=True, slots=True)
class Merged:
    """What is rendered, and what it says of the containers.

    `keys` has whom each container's link is made for: the task that claims it,
    else a name of its own that no task has. `claimed` are those that a task
    has, `named` those whose interface an endpoint names. `problems` are
    endpoints that are kept shut, `gone` tasks whose container was detached.
    """

    snapshot: Snapshot
    keys: Mapping[ContainerId, TaskId] = field(default_factory=dict)
    claimed: frozenset[ContainerId] = frozenset()
    problems: Mapping[EndpointId, str] = field(default_factory=dict)
    gone: frozenset[TaskId] = frozenset()
    named: frozenset[ContainerId] = frozenset()

    @property
    def stand_ins(self) -> frozenset[TaskId]:
        """The keys that are no tasks."""
        return frozenset(key for each, key in self.keys.items() if each not in self.claimed)


def unclaimed_endpoint(host: HostName, attachment: KeptAttachment) -> EndpointSpec:
    """What is rendered for a container that no task has claimed.

    Its workload is the name of its interface, so that its link is called as it
    will be for the task.
    """
    digest = attachment.interface.removeprefix(INTERFACE_PREFIX)
    return EndpointSpec(
        EndpointId(host, UNCLAIMED, attachment.interface, digest),
        attachment.interface,
        attachment.mac,
        attachment.addresses,
    )


class Merging:
    """Merges; keeps what did not change the same object, since rendering is remembered by it."""

    def __init__(self, host: HostName) -> None:
        self._host = host
        self._last: tuple[Snapshot, tuple[KeptAttachment, ...], Merged] | None = None
        self._unclaimed: dict[ContainerId, tuple[KeptAttachment, EndpointSpec]] = {}

    @property
    def last(self) -> Merged | None:
        """What was merged last."""
        return None if self._last is None else self._last[2]

    def of(self, snapshot: Snapshot, attachments: Iterable[KeptAttachment]) -> Merged:
        """The snapshot with this host's containers; itself if there is none to add."""
        held = tuple(attachments)
        if self._last is not None:
            of_snapshot, with_networks, merged = self._last
            same = len(held) == len(with_networks) and all(map(is_, held, with_networks))
            if same and of_snapshot is snapshot:
                return merged
            if same and of_snapshot.specs is snapshot.specs:
                specs = merged.snapshot.specs
                rest = snapshot if specs is snapshot.specs else replace(snapshot, specs=specs)
                merged = replace(merged, snapshot=rest)
                self._last = (snapshot, held, merged)
                return merged
        merged = self._merge(snapshot, held) if held else Merged(snapshot)
        self._last = (snapshot, held, merged)
        return merged

    def _merge(self, snapshot: Snapshot, held: tuple[KeptAttachment, ...]) -> Merged:
        by_interface = {attachment.interface: attachment for attachment in held}
        holders = {
            address: attachment
            for attachment in held
            if not attachment.detached
            for address in attachment.addresses
        }
        keys: dict[ContainerId, TaskId] = {}
        problems: dict[EndpointId, str] = {}
        gone: set[TaskId] = set()
        named: set[ContainerId] = set()
        for spec in snapshot.specs.values():
            if spec.id.host != self._host:
                continue
            attachment = by_interface.get(spec.interface)
            if attachment is not None:
                named.add(attachment.container)
                if attachment.detached:
                    gone.add(TaskId(spec.id.workload))
                    problems[spec.id] = ""
                elif not spec.active:
                    continue
                elif not _is_claim(spec, attachment):
                    problems[spec.id] = _unlike(attachment)
                elif attachment.container in keys:
                    problems[spec.id] = f"container {attachment.container} is another task's too"
                else:
                    keys[attachment.container] = TaskId(spec.id.workload)
            elif spec.active and (taken := _holder(spec, holders)) is not None:
                problems[spec.id] = _unlike(taken)
        claimed = frozenset(keys)
        added = self._render_unclaimed(held, claimed)
        specs = snapshot.specs
        if added or problems:
            kept = {name: spec for name, spec in specs.items() if name not in problems}
            specs = {**kept, **added}
        keys |= {
            attachment.container: TaskId(attachment.interface)
            for attachment in held
            if not (attachment.detached or attachment.claimed)
            and attachment.container not in claimed
        }
        return Merged(
            snapshot if specs is snapshot.specs else replace(snapshot, specs=specs),
            keys,
            claimed,
            {name: why for name, why in problems.items() if why},
            frozenset(gone),
            frozenset(named),
        )

    def _render_unclaimed(
        self, held: Iterable[KeptAttachment], claimed: frozenset[ContainerId]
    ) -> dict[EndpointId, EndpointSpec]:
        fresh: dict[ContainerId, tuple[KeptAttachment, EndpointSpec]] = {}
        for attachment in held:
            if attachment.detached or attachment.claimed or not attachment.device:
                continue
            if attachment.container in claimed:
                continue
            known = self._unclaimed.get(attachment.container)
            if known is None or known[0] != attachment:
                known = (attachment, unclaimed_endpoint(self._host, attachment))
            fresh[attachment.container] = known
        self._unclaimed = fresh
        return {spec.id: spec for _, spec in fresh.values()}


def _is_claim(spec: EndpointSpec, attachment: KeptAttachment) -> bool:
    return spec.mac == attachment.mac and set(spec.addresses) == set(attachment.addresses)


def _holder(
    spec: EndpointSpec, holders: Mapping[IPAddress, KeptAttachment]
) -> KeptAttachment | None:
    return next((holders[each] for each in spec.addresses if each in holders), None)


def _unlike(attachment: KeptAttachment) -> str:
    has = ", ".join(map(str, attachment.addresses))
    return (
        f"container {attachment.container} on this host has {has} by interface"
        f" {attachment.interface}; the endpoint is not like it, so nothing is opened"
    )


def devices(attachments: Iterable[KeptAttachment]) -> Mapping[InterfaceName, str]:
    """The inner names of links, where somebody asked for one."""
    return {
        attachment.interface: attachment.device for attachment in attachments if attachment.device
    }
