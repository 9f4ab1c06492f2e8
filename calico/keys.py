"""etcd path <-> id, and the one gate for a whole path."""

import re
from functools import lru_cache
from typing import Literal

from netaddr import IPNetwork

from calico.cluster import HoldKind
from calico.datastore.api import Key
from calico.errors import InvalidName, InvalidValue
from calico.identifiers import (
    check_form,
    check_host,
    check_id,
    check_name,
    check_profile,
    check_task_id,
)
from calico.iptext import parse_network
from calico.model import (
    EndpointId,
    HandleId,
    HostEndpointId,
    HostName,
    PolicyId,
    Pool,
    ProfileId,
    TaskId,
)

CALICO = Key("/calico/v1")
READY = Key("/calico/v1/Ready")
CONFIG = Key("/calico/v1/config")
CLUSTER_GUID = Key("/calico/v1/config/ClusterGUID")
CHAIN = Key("/calico/v1/marathon-calico/chain")
FRAMEWORK = Key("/calico/v1/marathon-calico/framework")
BGP = Key("/calico/bgp/v1")
ENDPOINTS = Key("/calico/v1/host")
PROFILES = Key("/calico/v1/policy/profile")
TIERS = Key("/calico/v1/policy/tier")
POOLS = Key("/calico/v1/ipam")
IPAM = Key("/calico/ipam/v2")
BLOCKS = Key("/calico/ipam/v2/assignment")
AFFINITIES = Key("/calico/ipam/v2/host")
HANDLES = Key("/calico/ipam/v2/handle")
FELIX = Key("/calico/felix/v1/host")
TASKS = Key("/marathon-calico/v1/task")
HOSTS = Key("/marathon-calico/v1/host")
APPLIED = Key("/marathon-calico/v1/applied")
LEADER = Key("/marathon-calico/v1/leader")
CLUSTER = Key("/marathon-calico/v1/cluster")
HOLD = Key("/marathon-calico/v1/hold")
OBJECTIONS = Key("/marathon-calico/v1/held")
FORGOTTEN = Key("/marathon-calico/v1/forgotten")

ProfileLeaf = Literal["tags", "rules", "labels"]

# What etcd takes unchanged on the way through a URL: no `?`, `#` or `%`.
_SEGMENT = re.compile(r"[a-zA-Z0-9_.$:@+=,~-]{1,255}")
_HOLD_KINDS = {kind.value: kind for kind in HoldKind}


def check_key(key: Key) -> Key:
    """A whole path that reaches etcd as it is written; raises InvalidName."""
    _check_path(key)
    return key


# The same few keys are asked for again and again.
@lru_cache(maxsize=4096)
def _check_path(key: Key) -> None:
    root, *segments = key.split("/")
    if root or not segments:
        raise InvalidName(f"key {key!r} must begin with '/'")
    for segment in segments:
        check_form(
            segment, f"in key {key!r} the part", _SEGMENT, "of the characters that etcd keeps"
        )


def _check_segment(text: str, kind: str) -> str:
    return check_form(text, kind, _SEGMENT, "of the characters that etcd keeps")


def reaches_etcd(key: Key) -> bool:
    """Whether a key that was listed can also be asked for; one that Go escaped cannot."""
    try:
        check_key(key)
    except InvalidName:
        return False
    return True


def _below(key: Key, prefix: Key, parts: int) -> list[str] | None:
    """The segments after a prefix, if there are exactly so many."""
    if not key.startswith(prefix + "/"):
        return None
    segments = key[len(prefix) + 1 :].split("/")
    return segments if len(segments) == parts and all(segments) else None


def _unescape(segment: str) -> str:
    # Go writers escape these two characters, in lower case only.
    return segment.replace("%2f", "/").replace("%25", "%")


def _endpoint_path(prefix: Key, endpoint: EndpointId) -> Key:
    host = check_host(endpoint.host)
    orchestrator = check_name(endpoint.orchestrator, "orchestrator")
    workload = check_id(endpoint.workload, "workload")
    last = check_name(endpoint.endpoint, "endpoint")
    return Key(f"{prefix}/{host}/workload/{orchestrator}/{workload}/endpoint/{last}")


def _parse_endpoint_path(prefix: Key, key: Key) -> EndpointId | None:
    match _below(key, prefix, 6):
        case [host, "workload", orchestrator, workload, "endpoint", endpoint]:
            return EndpointId(
                host=HostName(host),
                orchestrator=_unescape(orchestrator),
                workload=_unescape(workload),
                endpoint=_unescape(endpoint),
            )
        case _:
            return None


def endpoint_key(endpoint: EndpointId) -> Key:
    """Where the spec of an endpoint is."""
    return _endpoint_path(ENDPOINTS, endpoint)


def parse_endpoint_key(key: Key) -> EndpointId | None:
    """The endpoint whose spec is there, of any orchestrator."""
    return _parse_endpoint_path(ENDPOINTS, key)


def parse_host_endpoint_key(key: Key) -> HostEndpointId | None:
    """The interface of a host that is described there."""
    match _below(key, ENDPOINTS, 3):
        case [host, "endpoint", endpoint]:
            return HostEndpointId(HostName(host), _unescape(endpoint))
        case _:
            return None


def status_key(endpoint: EndpointId) -> Key:
    """Where the agent of its host reports on an endpoint."""
    return _endpoint_path(FELIX, endpoint)


def parse_status_key(key: Key) -> EndpointId | None:
    """The endpoint whose status is there."""
    return _parse_endpoint_path(FELIX, key)


def own_directories(key: Key) -> tuple[Key, Key]:
    """What an endpoint or status leaves behind when it is deleted, innermost first.

    Nobody else's keys belong below them, and a store deletes only empty ones.
    """
    inner = key.rpartition("/")[0]
    return Key(inner), Key(inner.rpartition("/")[0])


def hold_key(kind: HoldKind) -> Key:
    """Where what waits for an operator is told."""
    return Key(f"{HOLD}/{kind.value}")


def parse_hold_key(key: Key) -> HoldKind | None:
    """The kind of what is told there to wait."""
    below = _below(key, HOLD, 1)
    return _HOLD_KINDS.get(below[0]) if below is not None else None


def parse_objection_key(key: Key) -> HostName | None:
    """The host whose agent objects there."""
    below = _below(key, OBJECTIONS, 1)
    return HostName(below[0]) if below else None


def objection_key(host: HostName) -> Key:
    """Where an agent that doubts the store objects to it, with what its host holds."""
    return Key(f"{OBJECTIONS}/{check_host(host)}")


def forgotten_key(host: HostName) -> Key:
    """Where an operator's word is kept that nobody is to wait for what a host holds."""
    return Key(f"{FORGOTTEN}/{check_host(host)}")


def parse_forgotten_key(key: Key) -> HostName | None:
    """The host for which nobody is to wait."""
    below = _below(key, FORGOTTEN, 1)
    return HostName(below[0]) if below else None


def felix_status_key(host: HostName) -> Key:
    """Where an agent says that it is alive."""
    return Key(f"{FELIX}/{check_host(host)}/status")


def profile_dir(profile: ProfileId) -> Key:
    """The directory of a profile's leaves."""
    return Key(f"{PROFILES}/{check_profile(profile)}")


def profile_key(profile: ProfileId, leaf: ProfileLeaf) -> Key:
    """One leaf of a profile."""
    return Key(f"{profile_dir(profile)}/{leaf}")


def parse_profile_key(key: Key) -> tuple[ProfileId, ProfileLeaf] | None:
    """The profile and which leaf of it."""
    match _below(key, PROFILES, 2):
        case [profile, ("tags" | "rules" | "labels") as leaf]:
            return ProfileId(_unescape(profile)), leaf
        case _:
            return None


def parse_policy_key(key: Key) -> PolicyId | None:
    """The tiered policy that is there."""
    match _below(key, TIERS, 3):
        case [tier, "policy", name]:
            return PolicyId(_unescape(tier), _unescape(name))
        case _:
            return None


def _dashed(cidr: IPNetwork) -> str:
    return str(cidr.cidr).replace("/", "-")


def _undashed(segment: str, version: str) -> IPNetwork | None:
    try:
        cidr = parse_network(segment.replace("-", "/"))
    except InvalidValue:
        return None
    # Another spelling of the same network would be a second object for it.
    return cidr if str(cidr.version) == version and _dashed(cidr) == segment else None


def pool_key(pool: Pool | IPNetwork) -> Key:
    """Where a pool is."""
    cidr = pool.cidr if isinstance(pool, Pool) else pool
    return Key(f"{POOLS}/v{cidr.version}/pool/{_dashed(cidr)}")


def parse_pool_key(key: Key) -> IPNetwork | None:
    """The range of the pool that is there."""
    match _below(key, POOLS, 3):
        case [("v4" | "v6") as family, "pool", segment]:
            return _undashed(segment, family[1:])
        case _:
            return None


def block_key(cidr: IPNetwork) -> Key:
    """Where a block's allocations are."""
    return Key(f"{BLOCKS}/ipv{cidr.version}/block/{_dashed(cidr)}")


def parse_block_key(key: Key) -> IPNetwork | None:
    """The range of the block that is there."""
    match _below(key, BLOCKS, 3):
        case [("ipv4" | "ipv6") as family, "block", segment]:
            return _undashed(segment, family[3:])
        case _:
            return None


def affinity_dir(host: HostName, version: int) -> Key:
    """The directory of the blocks of one family that a host claims."""
    return Key(f"{AFFINITIES}/{check_host(host)}/ipv{version}/block")


def affinity_key(host: HostName, cidr: IPNetwork) -> Key:
    """Where a host says that it claims a block; only the block itself is the truth."""
    return Key(f"{affinity_dir(host, cidr.version)}/{_dashed(cidr)}")


def parse_affinity_key(key: Key) -> tuple[HostName, IPNetwork] | None:
    """The host and the block that it claims."""
    match _below(key, AFFINITIES, 4):
        case [host, ("ipv4" | "ipv6") as family, "block", segment]:
            cidr = _undashed(segment, family[3:])
            return None if cidr is None else (HostName(host), cidr)
        case _:
            return None


def handle_key(handle: HandleId) -> Key:
    """Where the blocks are counted that a handle has addresses in.

    Other allocators name theirs as they like; see `check_handle` for ours.
    """
    return Key(f"{HANDLES}/{_check_segment(handle, 'handle')}")


def parse_handle_key(key: Key) -> HandleId | None:
    """The handle that is there."""
    below = _below(key, HANDLES, 1)
    return None if below is None else HandleId(below[0])


def ipam_config_key() -> Key:
    """Where the operator's choice for block affinity is."""
    return Key(f"{IPAM}/config")


def task_key(task: TaskId) -> Key:
    """Where the controller's record of a task is."""
    return Key(f"{TASKS}/{check_task_id(task)}")


def parse_task_key(key: Key) -> TaskId | None:
    """The task whose record is there."""
    below = _below(key, TASKS, 1)
    return None if below is None else TaskId(below[0])


def host_key(host: HostName) -> Key:
    """Where an agent registers its host."""
    return Key(f"{HOSTS}/{check_host(host)}")


def parse_host_key(key: Key) -> HostName | None:
    """The host whose registration is there."""
    below = _below(key, HOSTS, 1)
    return None if below is None else HostName(below[0])


def applied_key(host: HostName) -> Key:
    """Where an agent says how far it has come."""
    return Key(f"{APPLIED}/{check_host(host)}")


def parse_applied_key(key: Key) -> HostName | None:
    """The host whose progress is there."""
    below = _below(key, APPLIED, 1)
    return None if below is None else HostName(below[0])
