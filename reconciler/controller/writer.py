"""Brings tasks into the datastore and takes them out, one write at a time.

The order is what makes a crash between any two writes harmless: the profiles
first, which nothing refers to yet; an address, whose handle is the task id, so
that the next attempt finds it; the record that marks the endpoint as ours; the
endpoint. Down: endpoint, then record; the address rests and is swept later.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from netaddr import EUI, IPAddress

from calico.codec import NO_LABELS, encode_endpoint, encode_rules, encode_tags, encode_task
from calico.datastore.api import ABSENT, Datastore, Key, Revision
from calico.errors import (
    Conflict,
    DatastoreUnavailable,
)
from calico.identifiers import APP_PREFIX, HOST_PREFIX
from calico.keys import (
    ProfileLeaf,
    endpoint_key,
    own_directories,
    profile_key,
    task_key,
)
from calico.model import (
    ContainerId,
    EndpointId,
    EndpointSpec,
    HostName,
    InterfaceName,
    Profile,
    ProfileId,
    TaskId,
    TaskRecord,
    TaskVerdict,
)
from calico.names import (
    endpoint_of_task,
    interface_of,
    interface_of_container,
    mac_of,
    mac_of_container,
    reservation_of,
)
from reconciler.controller.addresses.assigner import Assigner, Known
from reconciler.controller.stored import Kept, StoredState
from reconciler.core.desired import DesiredTask

log = logging.getLogger(__name__)

#: What a profile's leaves say, made only where one is to be written.
_LEAVES: Mapping[ProfileLeaf, Callable[[Profile], str]] = MappingProxyType(
    {"rules": encode_rules, "tags": encode_tags, "labels": lambda _: NO_LABELS}
)


class TaskWriter:
    """Writes one task's network; `stored` is kept in step with every write."""

    def __init__(
        self,
        datastore: Datastore,
        stored: StoredState,
        timestamp: Callable[[], str],
        monotonic: Callable[[], float],
    ) -> None:
        self._datastore = datastore
        self._stored = stored
        self._assigner = Assigner(datastore, stored, monotonic)
        self._timestamp = timestamp
        self._unfinished: dict[ProfileId, Profile] = {}
        #: Whose record or endpoint was written or removed since this was emptied.
        self.changed: set[TaskId] = set()

    def bring(self, desired: DesiredTask, known: Known | None = None) -> None:
        """Make the datastore say what one task should have.

        `known` are blocks as just read, kept in step. Raises DatastoreError;
        what was written until then stands and is taken up by the next attempt.
        """
        record = desired.record
        if desired.wish is None:
            self.write_record(record)
            return
        for profile in desired.profiles:
            self._write_leaves(profile, enforced=True)
        endpoint = endpoint_of_task(record.host, record.task)
        written = self._stored.specs.get(endpoint)
        if written is not None:
            record, found = self._assigner.as_attached(record, written.value, desired.wish, known)
            addresses: tuple[IPAddress, ...] | TaskRecord = found
        else:
            addresses = self._assigner.assign(record, desired.wish, known)
        if isinstance(addresses, TaskRecord):
            self.write_record(addresses)
            return
        self.write_record(record)
        interface, mac = _names(record, endpoint)
        self._write_endpoint(
            EndpointSpec(
                id=endpoint,
                interface=interface,
                mac=mac,
                addresses=addresses,
                profiles=tuple(profile.id for profile in desired.profiles),
                # Endpoint labels are for Calico's tools: values of at most 63
                # plain characters, which app and task ids are not.
                labels=(),
            )
        )
        self._unfinished.update({profile.id: profile for profile in desired.profiles})

    @property
    def unserved(self) -> Collection[TaskId]:
        """Tasks that cannot have all of the addresses that they ask for by name."""
        return self._assigner.unserved

    def rewrite_profile(self, profile: Profile) -> None:
        """Bring a profile of ours that exists up to date; raises DatastoreError."""
        if profile.id in self._stored.profiles:
            self._write_leaves(profile, enforced=True)

    def finish_one(self) -> bool:
        """Write the leaves of one profile that only Calico's tools read.

        They can wait: every key costs a round trip and wakes every agent, just
        when these have a task to wire. So can the handle of a container whose
        addresses were claimed. Tells whether any is left; raises
        DatastoreError, and then it is.
        """
        if self._unfinished:
            name, profile = next(iter(self._unfinished.items()))
            self._write_leaves(profile, enforced=False)
            del self._unfinished[name]
            return True
        return self._assigner.settle_one()

    def withdraw(self, task: TaskId, host: HostName) -> None:
        """Take one task's endpoint and record out; raises DatastoreError."""
        endpoint = endpoint_of_task(host, task)
        key, spec = endpoint_key(endpoint), self._stored.specs.get(endpoint)
        revision = self._stored.reserved.get(key) if spec is None else spec.revision
        if revision is not None:
            self._delete(key, revision)
            self._stored.specs.pop(endpoint, None)
            self._stored.reserved.pop(key, None)
            self.changed.add(task)
            self._remove_empty(own_directories(key))
        self.drop_record(task)
        log.info("task withdrawn", extra={"task": task, "host": host})

    def drop_record(self, task: TaskId) -> None:
        """Take a record out; raises DatastoreError."""
        kept = self._stored.records.get(task)
        if kept is not None:
            self._delete(task_key(task), kept.revision)
            self._stored.forget_record(task)
            self._assigner.unserved.discard(task)
            self.changed.add(task)

    def _remove_empty(self, directories: Iterable[Key]) -> None:
        """Take away what etcd leaves of a key; calicoctl would count it as a workload.

        Harmless however late it is sent: one that holds anything stays, and one
        that is missing comes with the next key below it.
        """
        for directory in directories:
            try:
                self._datastore.delete(directory)
            except (Conflict, DatastoreUnavailable):
                # Something else lives in it, or an empty directory stays, which
                # is no reason to stop here.
                return

    def _write_leaves(self, profile: Profile, *, enforced: bool) -> None:
        """Write the leaves that agents act on, or else the others."""
        acted_on = {"rules", "tags"} if profile.tags else {"rules"}
        for leaf, encode in _LEAVES.items():
            if (leaf in acted_on) is enforced:
                self._write_leaf(profile, leaf, encode)
        if enforced and (_is_ours(profile) or profile.id not in self._stored.profiles):
            self._stored.profiles[profile.id] = profile

    def _write_leaf(
        self, profile: Profile, leaf: ProfileLeaf, encode: Callable[[Profile], str]
    ) -> None:
        known = self._stored.profiles.get(profile.id)
        # An operator's rules on a group stay as they are; of our own profiles
        # the content is ours to keep.
        settled = known is not None and (known == profile or not _is_ours(profile))
        leaves = self._stored.leaves.setdefault(profile.id, {})
        key = profile_key(profile.id, leaf)
        if settled and leaf in leaves and self._stored.is_settled(key, leaves[leaf]):
            return
        expect = leaves.get(leaf, ABSENT) if _is_ours(profile) else ABSENT
        try:
            leaves[leaf] = self._put(key, encode(profile), expect)
        except Conflict:
            # Which of ours is the newer one is told by what is there now.
            if _is_ours(profile):
                raise
            # It came into being meanwhile, and whoever made it had a reason.
            leaves[leaf] = ABSENT

    def write_record(self, record: TaskRecord) -> None:
        """Write a record unless it says the same already; raises DatastoreError."""
        known, key = self._stored.records.get(record.task), task_key(record.task)
        settled = known is not None and self._stored.is_settled(key, known.revision)
        if known is not None and _alike(known.value, record) and settled:
            return
        since = self._timestamp()
        if known is not None and (known.value.verdict, known.value.reason) == (
            record.verdict,
            record.reason,
        ):
            since = known.value.since
        record = replace(record, since=since)
        revision = self._put(key, encode_task(record), self._stored.expected(key, known))
        self._stored.keep_record(record, revision)
        self.changed.add(record.task)
        if record.verdict is not TaskVerdict.ACCEPTED:
            log.warning(
                "task has no network",
                extra={"task": record.task, "verdict": record.verdict.value, "why": record.reason},
            )

    def _write_endpoint(self, spec: EndpointSpec) -> None:
        known, key = self._stored.specs.get(spec.id), endpoint_key(spec.id)
        settled = known is not None and self._stored.is_settled(key, known.revision)
        if known is not None and known.value == spec and settled:
            return
        if self._stored.expected(key, known) == ABSENT:
            reservation = encode_endpoint(reservation_of(spec.id))
            self._stored.reserved[key] = self._put(key, reservation, ABSENT)
        revision = self._put(key, encode_endpoint(spec), self._stored.expected(key, known))
        self._stored.reserved.pop(key, None)
        self._stored.specs[spec.id] = Kept(spec, revision)
        self.changed.add(TaskId(spec.id.workload))
        log.info(
            "endpoint written",
            extra={"task": spec.id.workload, "host": spec.id.host, "revision": revision},
        )

    def _put(self, key: Key, text: str, expect: Revision) -> Revision:
        """Write; without an answer, what is there tells whether it was done."""
        try:
            revision = self._datastore.put(key, text, expect=expect)
        except DatastoreUnavailable:
            self._note_unanswered(key, expect)
            stored = self._datastore.get(key)
            if stored is None or stored.value != text or stored.revision == expect:
                raise
            revision = stored.revision
        self._stored.unanswered.pop(key, None)
        return revision

    def _delete(self, key: Key, expect: Revision) -> None:
        """Remove; without an answer, what is there tells whether it was done."""
        try:
            self._datastore.delete(key, expect=expect)
        except DatastoreUnavailable:
            self._note_unanswered(key, expect)
            if self._datastore.get(key) is not None:
                raise
        self._stored.unanswered.pop(key, None)

    def _note_unanswered(self, key: Key, expect: Revision) -> None:
        """Have the key written again should it be wanted as it is, so that this comes too late.

        What was to be created is not there to be written again.
        """
        if expect != ABSENT:
            self._stored.unanswered[key] = expect


def _names(record: TaskRecord, endpoint: EndpointId) -> tuple[InterfaceName, EUI]:
    """What the agent calls the link: it had to name it before there was a task."""
    if record.container:
        container = ContainerId(record.container)
        return interface_of_container(container), mac_of_container(container)
    return interface_of(endpoint), mac_of(endpoint)


def _is_ours(profile: Profile) -> bool:
    return profile.id.startswith((APP_PREFIX, HOST_PREFIX))


def _alike(one: TaskRecord, other: TaskRecord) -> bool:
    return replace(one, since="") == replace(other, since="")
