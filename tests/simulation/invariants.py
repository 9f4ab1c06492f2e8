"""What must hold after every step, and what must hold once all is quiet."""

import json
from collections.abc import Sequence

from netaddr import IPAddress

from calico.codec import decode_endpoint, decode_status
from calico.datastore.api import Key
from calico.keys import (
    BLOCKS,
    ENDPOINTS,
    LEADER,
    TASKS,
    parse_applied_key,
    parse_block_key,
    parse_endpoint_key,
    parse_status_key,
    parse_task_key,
)
from calico.model import EndpointId, EndpointState, TaskId
from tests.simulation.flows import Flows
from tests.simulation.found import FoundAgain
from tests.simulation.holders import Holders
from tests.simulation.leaks import Gate, Resident, find_leak, rules_of
from tests.simulation.settling import unsettled
from tests.simulation.twins.etcd import EtcdTwin, Write
from tests.simulation.twins.host import HostTwin
from tests.simulation.twins.marathon import MarathonTwin

#: The last parts of keys that an agent writes as long as it lives.
ALIVE = ("/status", "/last_reported_status")


class Violation(AssertionError):
    """A promise is broken; the text begins with its number."""


class Invariants:
    """Follows what changed, and looks again at nothing else."""

    def __init__(self, etcd: EtcdTwin, marathon: MarathonTwin, hosts: tuple[HostTwin, ...]) -> None:
        self._etcd = etcd
        self._marathon = marathon
        self._hosts = hosts
        self._keys: dict[Key, None] = {}
        self._touched: dict[int, HostTwin] = {}
        #: Whether there is something to check.
        self.has_news = False
        self._networks: dict[Key, tuple[EndpointId, tuple[str, ...]]] = {}
        self._holders = Holders(etcd.now)
        self._flows = Flows(hosts)
        self._residents: dict[int, tuple[Resident, ...]] = {}
        self._gates: dict[int, Gate] = {}
        self._had_endpoint: set[TaskId] = set()
        #: Tasks that ever had one: nobody reaches others, attached or not.
        self._claimed: set[TaskId] = set()
        self._unfenced = ""
        #: Keys that are kept for endpoints which are not there.
        self._reserved: dict[Key, EndpointId] = {}
        #: Whether the store lost what it knew: then only kernels are judged.
        self.restored = False
        self._led_to: dict[TaskId, IPAddress] = {}
        #: Tasks that may lose what they had, as far as their agent did not have them up since.
        self._forfeited: set[TaskId] = set()
        #: Tasks of which nobody knows any more which groups they had.
        self._ungrouped: set[str] = set()
        #: Whether an operator has said that apps may lose their groups.
        self.may_be_groupless = False
        #: Tasks of hosts that an operator did not wait for: others may get what they have.
        self._given_up: set[TaskId] = set()
        #: Live tasks that the file of their agent lacked when it began.
        self._unsaved: dict[TaskId, HostTwin] = {}
        #: Keys that were written, but for what only says that somebody lives.
        self.writes: set[Key] = set()
        self._found = FoundAgain(etcd.now)
        marathon.hear_answer = self._found.note_answer
        etcd.hear_key = self._note_key
        etcd.hear_write = self._note_write

    def touch(self, host: HostTwin) -> None:
        """A host's kernel changes, or who lives on it."""
        self._touched[host.number] = host
        self.has_news = True

    def expect_restore(self) -> None:
        """What the store says from now on may be old; P7 takes the place of P4 and P5."""
        self.restored = True
        self._flows.excuse()
        self._unsaved = {
            task: host for task, host in self._unsaved.items() if not host.has_saved(task)
        }
        self._led_to = {
            each.task: each.address
            for living in self._residents.values()
            for each in living
            if each.task not in self._forfeited
        }

    def note_groups(self) -> None:
        """What Marathon's upgrade took from apps is in the store alone: docs/restore.md."""
        if self.restored and self._marathon.is_upgraded:
            stored = self._etcd.store.list(TASKS).entries
            known = {parse_task_key(each.key) for each in stored}
            self._ungrouped |= self._marathon.named - known

    def begin_agent(self, host: HostTwin) -> None:
        """What its file does not hold yet, an agent cannot tell of once the store lost it.

        The file is written a moment after a task was let in, once a second at most:
        docs/restore.md does not promise more.
        """
        self._unsaved = {task: other for task, other in self._unsaved.items() if other != host}
        self._unsaved.update({task: host for task in host.namespaces if not host.has_saved(task)})

    def give_up(self, host: HostTwin) -> None:
        """An operator goes on without what a host has to tell: docs/restore.md."""
        self._flows.excuse()
        self._given_up |= host.namespaces.keys()
        for task in host.namespaces:
            self._led_to.pop(task, None)

    def excuse(self, host: HostTwin) -> None:
        """Another program takes links of its tasks away: that is not the product's doing."""
        self.touch(host)
        for task in host.namespaces:
            self._led_to.pop(task, None)

    def find_again(self, tasks: frozenset[TaskId]) -> None:
        """Marathon names these again: what it lost them meanwhile was right."""
        present = self.told
        for task in tasks:
            self._found.note_found(task)
            if task not in present:
                self._lose(task)

    def _lose(self, task: TaskId) -> None:
        """What a task had may be gone."""
        self._had_endpoint.discard(task)
        self._led_to.pop(task, None)
        self._forfeited.add(task)

    @property
    def told(self) -> frozenset[TaskId]:
        """The tasks that have an endpoint in the datastore."""
        return frozenset(TaskId(each.workload) for each, _ in self._networks.values())

    def check(self) -> None:
        """Look at what changed since the last time; raises Violation."""
        if self._unfenced:
            raise Violation(self._unfenced)
        if not self.has_news:
            return
        self.has_news = False
        keys, self._keys = self._keys, {}
        for key in keys:
            self._read(key)
        looked, self._touched = self._touched, {}
        moved = [host for host in looked.values() if self._look(host)]
        everybody = [each for residents in self._residents.values() for each in residents]
        self._check_addresses()
        self._check_endpoints()
        if moved:
            inherited = self._flows.inherited(everybody)
            if inherited:
                raise Violation(f"P2 {inherited}")
            self._check_reach(everybody)
            # Whom the datastore no longer names may be reached on its own host until
            # that hears of it; what begins then is not revoked a second time.
            told = self.told
            self._flows.begin([each for each in everybody if each.task in told], self._gates)

    def unsettled(self) -> str:
        """P8: what is not yet as it should be; empty if all is."""
        endpoints = [*self._reserved.values(), *(each for each, _ in self._networks.values())]
        why = unsettled(self._etcd.store, self._marathon, self._hosts, endpoints, self._ungrouped)
        return why or self._flows.left({task for host in self._hosts for task in host.namespaces})

    def _note_key(self, key: Key) -> None:
        if key.startswith((ENDPOINTS, BLOCKS)):
            self._keys[key] = None
            self.has_news = True

    def _note_write(self, write: Write) -> None:
        excused = self._found.note_write(write)
        if excused is not None:
            self._lose(excused)
        told, value = parse_status_key(write.key), write.value
        if told is not None and value and decode_status(value).state is EndpointState.UP:
            self._forfeited.discard(TaskId(told.workload))
        if write.key != LEADER and not write.key.endswith(ALIVE) and not _is_progress(write):
            self.writes.add(write.key)
        if not write.process.startswith("c") or write.conditional or write.before == write.value:
            return
        # Whoever leads: it may be stopped for any time just before it is sent.
        self._unfenced = f"P3 {write.process} wrote {write.key} unconditionally"
        self.has_news = True

    def _read(self, key: Key) -> None:
        stored = self._etcd.store.get(key)
        endpoint, block = parse_endpoint_key(key), parse_block_key(key)
        if endpoint is not None:
            spec = None if stored is None else decode_endpoint(endpoint, stored.value)
            self._reserved.pop(key, None)
            if spec is not None and spec.is_reserved:
                self._reserved[key] = endpoint
            if stored is None or key in self._reserved:
                _, networks = self._networks.pop(key, (endpoint, ()))
                for network in networks:
                    address = IPAddress(network.partition("/")[0])
                    self._holders.note_left(address, endpoint.workload)
            else:
                self._networks[key] = (endpoint, tuple(json.loads(stored.value)["ipv4_nets"]))
                self._note_claim(endpoint)
        elif block is not None:
            text = None if stored is None else stored.value
            wrong = self._holders.read(block, text, rests=not self.restored)
            if wrong:
                raise Violation(f"P5 {wrong}")

    def _note_claim(self, endpoint: EndpointId) -> None:
        task = TaskId(endpoint.workload)
        if task in self._claimed:
            return
        self._claimed.add(task)
        if task in self._marathon.groupless and not (self.may_be_groupless or self.restored):
            raise Violation(f"F30 {task} has a network although Marathon dropped its app's groups")
        for host in self._hosts:
            if host.name == endpoint.host:
                self.touch(host)

    def _look(self, host: HostTwin) -> bool:
        """Read what decides about packets of a host; tells whether anything of it changed."""
        residents = tuple(
            Resident(address, task, host.number, interface, self._groups(task))
            for address, (task, interface) in host.routed().items()
        )
        rules, gate = rules_of(host.dataplane.observe()), self._gates.get(host.number)
        moved = residents != self._residents.get(host.number)
        self._residents[host.number] = residents
        if gate is None or gate.rules != rules:
            moved = True
            self._gates[host.number] = Gate(host.number, rules)
        return moved

    def _groups(self, task: TaskId) -> frozenset[str]:
        """Who may reach a task: nobody before it has an endpoint."""
        return self._marathon.groups[task] if task in self._claimed else frozenset()

    def _check_reach(self, everybody: Sequence[Resident]) -> None:
        for host in self._hosts:
            gate = self._gates.get(host.number)
            leak = "" if gate is None else find_leak(host.number, gate, everybody)
            if leak:
                raise Violation(f"P2 {leak}")

    def _check_addresses(self) -> None:
        everybody = [each for residents in self._residents.values() for each in residents]
        routed: dict[IPAddress, TaskId] = {}
        for each in everybody:
            address, task = each.address, each.task
            if address in routed and not {task, routed[address]} & self._given_up:
                raise Violation(f"P1 {address} leads to {task} and to {routed[address]}")
            routed[address] = task
        if self.restored:
            return
        for each in everybody:
            holder = self._holders.of(each.address)
            own = self._hosts[each.host].handles_of(each.task)
            if holder not in own:
                raise Violation(f"P5 {each.address} leads to {each.task}, but {holder} holds it")

    def _check_kept(self) -> None:
        """P7: no live task is cut off or gets another address."""
        found = {each.task: each.address for who in self._residents.values() for each in who}
        live = {task for host in self._hosts for task in host.namespaces}
        judged = (live & self._marathon.named) - self._unsaved.keys()
        for task, address in self._led_to.items():
            if task in judged and found.get(task) != address:
                raise Violation(f"P7 {task} had {address} and has {found.get(task)}")

    def _check_endpoints(self) -> None:
        if self.restored:
            self._check_kept()
            return
        users: dict[str, EndpointId] = {}
        present: set[TaskId] = set()
        for endpoint, networks in self._networks.values():
            present.add(TaskId(endpoint.workload))
            for network in networks:
                if users.setdefault(network, endpoint) != endpoint:
                    raise Violation(f"P1 {network} is of {endpoint} and of {users[network]}")
        live = {task for host in self._hosts for task in host.namespaces}
        for task in sorted(self._had_endpoint - present):
            if task in live and task in self._marathon.named:
                raise Violation(f"P4 {task} lives, is named by Marathon and lost its endpoint")
        self._had_endpoint = (self._had_endpoint | present) & live


def _is_progress(write: Write) -> bool:
    """Whether an agent only says how far it has read: its window is small here."""
    if parse_applied_key(write.key) is None or write.value is None or write.before is None:
        return False
    value, before = json.loads(write.value), json.loads(write.before)
    return bool(value | {"revision": 0} == before | {"revision": 0})
