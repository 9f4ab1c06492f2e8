"""The keys that a first start writes, as calico-node of the era would.

Almost everything is written only where nothing is: an operator's settings
stay. The exceptions are those that the Python plugins made too.
"""

import uuid
from collections.abc import Sequence

from netaddr import IPNetwork

from calico.addressing.blocks import IpamConfig
from calico.codec import encode_ipam_config, encode_pool
from calico.datastore.api import ABSENT, Datastore, DirectoryStore, Key
from calico.errors import Conflict
from calico.identifiers import check_host
from calico.keys import (
    AFFINITIES,
    BGP,
    CLUSTER_GUID,
    CONFIG,
    ENDPOINTS,
    POOLS,
    READY,
    affinity_dir,
    ipam_config_key,
    pool_key,
)
from calico.model import INTERFACE_PREFIX, HostName, HostRecord, Pool

DEFAULT_POOL = Pool(IPNetwork("192.168.0.0/16"), masquerade=True)

#: What the Python calicoctl sets. ReportingIntervalSecs is Felix's own report;
#: our agents tell that they are alive whatever it says.
SETTINGS = {
    "LogSeverityFile": "none",
    "LogSeverityScreen": "info",
    "LogFilePath": "none",
    "IpInIpEnabled": "false",
    "ReportingIntervalSecs": "0",
}
PREFIXES = Key(f"{CONFIG}/InterfacePrefix")
#: confd watches these, and fails on those that are not there.
DIRECTORIES = (
    Key(f"{POOLS}/v4/pool"),
    Key(f"{POOLS}/v6/pool"),
    Key(f"{BGP}/global/custom_filters/v4"),
    Key(f"{BGP}/global/custom_filters/v6"),
)

_LEAVES_OF_HOST = frozenset(
    ("ip_addr_v4", "ip_addr_v6", "bird_ip", "metadata", "marker", "DefaultEndpointToHostAction")
)


def bootstrap(datastore: DirectoryStore, pools: Sequence[Pool]) -> None:
    """Write what Calico's tools and the agents expect, where it is not; all but Ready."""
    create(datastore, CLUSTER_GUID, uuid.uuid4().hex)
    for name, value in SETTINGS.items():
        create(datastore, Key(f"{CONFIG}/{name}"), value)
    _claim_interfaces(datastore)
    for directory in DIRECTORIES:
        datastore.make_directory(directory)
    create(datastore, Key(f"{BGP}/global/as_num"), "64511")
    create(datastore, Key(f"{BGP}/global/node_mesh"), '{"enabled": true}')
    create(datastore, ipam_config_key(), encode_ipam_config(IpamConfig()))
    for pool in pools:
        create(datastore, pool_key(pool), encode_pool(pool))
    if not pools and not datastore.list(POOLS).entries:
        create(datastore, pool_key(DEFAULT_POOL), encode_pool(DEFAULT_POOL))


def make_ready(datastore: Datastore) -> None:
    """Have what was written acted on, unless somebody has said that it is not to be."""
    create(datastore, READY, "true")


def bootstrap_host(datastore: DirectoryStore, host: HostRecord) -> None:
    """Write what a calico-node start on this host would; an address may change."""
    name = check_host(host.name)
    calico, bgp = f"{ENDPOINTS}/{name}", f"{BGP}/host/{name}"
    _keep_address(datastore, Key(f"{calico}/bird_ip"), host, 4)
    # A Mesos executor must reach its agent on the host: Felix's own default drops it.
    create(datastore, Key(f"{calico}/config/DefaultEndpointToHostAction"), "RETURN")
    create(datastore, Key(f"{calico}/config/marker"), "created")
    # By this one the Go calicoctl knows a node.
    create(datastore, Key(f"{calico}/metadata"), "{}")
    # First in its directory: confd on every node fails over a host without it.
    _keep_address(datastore, Key(f"{bgp}/ip_addr_v4"), host, 4)
    _keep_address(datastore, Key(f"{bgp}/ip_addr_v6"), host, 6)
    for directory in (
        Key(f"{calico}/workload"),
        affinity_dir(name, 4),
        affinity_dir(name, 6),
    ):
        datastore.make_directory(directory)


def keys_of_host(host: HostName) -> tuple[Key, ...]:
    """What a start on this host wrote, in the order in which it may be taken away.

    A directory comes behind what is in it.
    """
    name = check_host(host)
    calico, bgp, ipam = f"{ENDPOINTS}/{name}", f"{BGP}/host/{name}", f"{AFFINITIES}/{name}"
    keys = (
        # Last in its directory is what confd fails without.
        *(f"{bgp}/ip_addr_v6", f"{bgp}/ip_addr_v4", bgp),
        *(f"{ipam}/ipv4/block", f"{ipam}/ipv4", f"{ipam}/ipv6/block", f"{ipam}/ipv6", ipam),
        *(f"{calico}/config/DefaultEndpointToHostAction", f"{calico}/config/marker"),
        *(f"{calico}/config", f"{calico}/bird_ip", f"{calico}/metadata"),
        *(f"{calico}/workload", calico),
    )
    return tuple(map(Key, keys))


def directories_of_host(host: HostName) -> frozenset[Key]:
    """Those of `keys_of_host` that hold others, and no value."""
    name = check_host(host)
    tops = {f"{ENDPOINTS}/{name}", f"{BGP}/host/{name}", f"{AFFINITIES}/{name}"}
    return frozenset(
        key
        for key in keys_of_host(host)
        if key in tops or key.rpartition("/")[2] not in _LEAVES_OF_HOST
    )


def _claim_interfaces(datastore: Datastore) -> None:
    """Have Felix own `cali*` beside what it owns already; without it, it owns nothing."""
    stored = datastore.get(PREFIXES)
    listed = [] if stored is None else [each.strip() for each in stored.value.split(",")]
    if INTERFACE_PREFIX not in listed:
        value = ",".join([*filter(None, listed), INTERFACE_PREFIX])
        datastore.put(PREFIXES, value, expect=ABSENT if stored is None else stored.revision)


def _keep_address(datastore: Datastore, key: Key, host: HostRecord, version: int) -> None:
    """Make a key say the host's address of a family, empty if it has none.

    An operator may have chosen another address of the host, or none at all.
    """
    stored = datastore.get(key)
    own = {str(each) for each in (host.address, *host.others) if each.version == version}
    if stored is not None and (not stored.value.strip() or stored.value.strip() in own):
        return
    value = str(host.address) if host.address.version == version else ""
    datastore.put(key, value, expect=ABSENT if stored is None else stored.revision)


def create(datastore: Datastore, key: Key, value: str) -> None:
    """Write a key unless it exists."""
    if datastore.get(key) is not None:
        return
    try:
        datastore.put(key, value, expect=ABSENT)
    except Conflict:
        return
