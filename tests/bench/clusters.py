"""Clusters to measure on: tasks of many apps, whose profiles the product itself makes."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netaddr import IPAddress, IPNetwork

from calico.addressing.blocks import BLOCK_SIZE
from calico.model import EndpointSpec, HostName, PortOpening, Profile, Snapshot, TaskId, TaskRecord
from calico.names import endpoint_of_task, interface_of, mac_of
from reconciler.core.tasks.profiles import NetworkPolicy, profiles_of
from tests.dataplane_worlds import HERE, HERE_ADDRESS, POOL, THERE, THERE_ADDRESS, record, snapshot

PORT = 9000
TASKS_OF_APP = 10
FEWEST_GROUPS = 8
FIRST_ADDRESS = POOL.cidr.first + 4 * BLOCK_SIZE
POLICY = NetworkPolicy()
HOSTS = {HERE: record(HERE, HERE_ADDRESS), THERE: record(THERE, THERE_ADDRESS)}


@dataclass(frozen=True, slots=True)
class Cluster:
    """Some tasks and their groups; the two that packets go between are in `pair`."""

    specs: tuple[EndpointSpec, ...]
    profiles: tuple[Profile, ...]
    groups: tuple[tuple[int, ...], ...]

    @property
    def blocks(self) -> Mapping[IPNetwork, HostName]:
        """The blocks that the addresses are from, each with its host."""
        return {
            IPNetwork(f"{address}/26").cidr: spec.id.host
            for spec in self.specs
            for address in spec.addresses
        }

    @property
    def snapshot(self) -> Snapshot:
        blocks = [(str(block), host) for block, host in self.blocks.items()]
        return snapshot(self.specs, self.profiles, (POOL,), blocks)

    @property
    def pair(self) -> tuple[EndpointSpec, EndpointSpec]:
        """Two neighbours in the middle that share the last of their groups only."""
        middle = len(self.specs) // 2
        return self.specs[middle - 1], self.specs[middle]


def make_cluster(count: int, local: int | None = None) -> Cluster:
    """Tasks of apps of ten, each app in one to four groups, of as many as apps.

    The first `local` are on this host, all if None.
    """
    here = count if local is None else local
    apps = max(2, count // TASKS_OF_APP)
    groups = list(_groups_of_apps(apps))
    specs: list[EndpointSpec] = []
    profiles: dict[str, Profile] = {}
    for number in range(count):
        host = HERE if number < here else THERE
        # Tasks of an app follow each other, so that the pair is of two apps.
        app = number * apps // count
        task = TaskId(f"app-{app}.{number}")
        given = profiles_of(_record(task, host, app, groups[app]), HOSTS[host], POLICY)
        profiles |= {profile.id: profile for profile in given}
        # A block is of one host.
        place = number if number < here else number - here + -(-here // BLOCK_SIZE) * BLOCK_SIZE
        endpoint = endpoint_of_task(host, task)
        specs.append(
            EndpointSpec(
                endpoint,
                interface_of(endpoint),
                mac_of(endpoint),
                (IPAddress(FIRST_ADDRESS + place),),
                tuple(profile.id for profile in given),
            )
        )
    return Cluster(
        tuple(specs),
        tuple(profiles.values()),
        tuple(groups[number * apps // count] for number in range(count)),
    )


def _groups_of_apps(apps: int) -> Sequence[tuple[int, ...]]:
    chance = random.Random(7)
    many = max(apps, FEWEST_GROUPS)
    groups = [tuple(chance.sample(range(many), chance.randint(1, 4))) for _ in range(apps)]
    groups[apps // 2 - 1], groups[apps // 2] = (0, 1, 2, many - 1), (3, 4, 5, many - 1)
    return groups


def _record(task: TaskId, host: HostName, app: int, groups: Sequence[int]) -> TaskRecord:
    ports = (PortOpening("tcp", PORT), PortOpening("udp", PORT))
    names = tuple(f"group-{number}" for number in groups)
    return TaskRecord(task, f"/app-{app}", "1", host, names, ports)
