"""P2 on the model: what a host's table lets pass although groups forbid it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from netaddr import IPAddress

from calico.dataplane.nft.walk import Probe, Table, Verdict, walk
from calico.dataplane.render.chains import FORWARD, PREROUTING
from calico.dataplane.state import Chain, HostState, NftSet
from calico.model import TaskId

TCP, PORT, HIGH_PORT = 6, 80, 50_000
UNDERLAY = "eth0"


@dataclass(frozen=True, slots=True)
class Resident:
    """A living task that an address leads to, on its host."""

    address: IPAddress
    task: TaskId
    host: int
    interface: str
    groups: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rules:
    """The part of a host's kernel that decides; equal ones decide alike."""

    chains: Mapping[str, Chain]
    sets: Mapping[str, NftSet]


def rules_of(state: HostState) -> Rules:
    """What decides of a host's state."""
    return Rules(state.chains, state.sets)


class Gate:
    """Whom one host lets in to its tasks, by rules of which each pair is asked once."""

    def __init__(self, host: int, rules: Rules) -> None:
        self._host = host
        self.rules = rules
        self._admitted: dict[tuple[Resident, Resident], bool] = {}

    def admits(self, source: Resident, target: Resident) -> bool:
        """Whether a connection to a task of this host is let in."""
        admitted = self._admitted.get((source, target))
        if admitted is None:
            admitted = self._admitted[source, target] = admits(
                self._host, self.rules, source, target
            )
        return admitted


def find_leak(host: int, gate: Gate, everybody: Iterable[Resident]) -> str:
    """A pair without a common group of which this host lets a connection in; or empty."""
    residents = tuple(everybody)
    for target in residents:
        if target.host != host:
            continue
        for source in residents:
            if source.groups & target.groups or source.task == target.task:
                continue
            if gate.admits(source, target):
                return (
                    f"h{host} lets {source.task} {sorted(source.groups)} at {source.address} in to"
                    f" {target.task} {sorted(target.groups)} at {target.address}"
                )
    return ""


def admits(host: int, rules: Rules, source: Resident, target: Resident) -> bool:
    """Whether a host lets a connection to a task of its own in."""
    table = Table(rules.chains, rules.sets)
    here = source.host == host
    probe = Probe(
        source=source.address,
        destination=target.address,
        protocol=TCP,
        iifname=source.interface if here else UNDERLAY,
        ether_source=_macs(rules.sets).get(str(source.address), "") if here else "",
        source_port=HIGH_PORT,
        destination_port=PORT,
    )
    if walk(table, PREROUTING.hook, probe).verdict is Verdict.DROP:
        return False
    to_task = replace(probe, oifname=target.interface)
    return walk(table, FORWARD.hook, to_task).verdict is not Verdict.DROP


def _macs(sets: Mapping[str, NftSet]) -> dict[str, str]:
    """With which MAC address packets from a local address must come."""
    found = {}
    for element in sets["source4"].elements if "source4" in sets else ():
        match element:
            case ("concat", _, str() as mac, str() as address):
                found[address] = mac
    return found
