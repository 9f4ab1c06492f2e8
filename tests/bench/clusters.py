"""Clusters to measure on: tasks of many apps, whose profiles the product itself makes."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from netaddr import IPAddress

from calico.model import (
    EndpointSpec,
    HostName,
    PortOpening,
    Profile,
    Snapshot,
    TaskId,
    TaskRecord,
)
from calico.names import endpoint_of_task, interface_of, mac_of
from reconciler.core.profiles import NetworkPolicy, profiles_of
from tests.dataplane_worlds import HERE, HERE_ADDRESS, POOL, THERE, THERE_ADDRESS, record, snapshot

PORT = 9000
TASKS_OF_APP = 10
FEWEST_GROUPS = 8
POLICY = NetworkPolicy()
HOSTS = {HERE: record(HERE, HERE_ADDRESS), THERE: record(THERE, THERE_ADDRESS)}


@dataclass(frozen=True, slots=True)
class Cluster:
    """Some tasks and their groups; the two that packets go between are in `pair`."""

    specs: tuple[EndpointSpec, ...]
    profiles: tuple[Profile, ...]
    groups: tuple[tuple[int, ...], ...]

    @property
    def snapshot(self) -> Snapshot:
        return snapshot(self.specs, self.profiles, pools=(POOL,))

    @property
    def pair(self) -> tuple[EndpointSpec, EndpointSpec]:
        """Two neighbours in the middle that share the last of their groups only."""
        middle = len(self.specs) // 2
        return self.specs[middle - 1], self.specs[middle]


def make_cluster(count: int, local: int | None = None, first: int = 0) -> Cluster:
    """Tasks of apps of ten, each app in one to four groups, of as many as apps.

    The first `local` are on this host, all if None. `first` numbers them on.
    """
    apps = max(2, count // TASKS_OF_APP)
    groups = list(_groups_of_apps(apps))
    specs: list[EndpointSpec] = []
    profiles: dict[str, Profile] = {}
    for number in range(count):
        host = HERE if local is None or number < local else THERE
        # Tasks of an app follow each other, so that the pair is of two apps.
        app = number * apps // count
        task = TaskId(f"app-{app}.{first + number}")
        given = profiles_of(_record(task, host, app, groups[app]), HOSTS[host], POLICY)
        profiles |= {profile.id: profile for profile in given}
        endpoint = endpoint_of_task(host, task)
        specs.append(
            EndpointSpec(
                endpoint,
                interface_of(endpoint),
                mac_of(endpoint),
                (IPAddress(POOL.cidr.first + 256 + first + number),),
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
