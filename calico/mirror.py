"""What the datastore holds of endpoints, profiles, pools, blocks and hosts.

Owned by one thread. Fed with one listing and then the events of each prefix,
it decodes what changed and nothing else. What cannot be decoded is absent, so
that it opens nothing, and is told in `problems`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from netaddr import IPAddress, IPNetwork

from calico import codec
from calico.datastore.api import Key, Listing, Put, Removed, Revision, Stored, WatchEvent
from calico.errors import InvalidValue
from calico.keys import (
    CALICO,
    READY,
    parse_block_key,
    parse_endpoint_key,
    parse_host_endpoint_key,
    parse_host_key,
    parse_policy_key,
    parse_pool_key,
    parse_profile_key,
)
from calico.model import (
    EndpointId,
    EndpointSpec,
    HostEndpoint,
    HostEndpointId,
    HostName,
    HostRecord,
    Policy,
    PolicyId,
    Pool,
    Profile,
    ProfileId,
    Snapshot,
)


class _Part(Enum):
    """What of a snapshot has to be made anew."""

    SPECS = auto()
    PROFILES = auto()
    POOLS = auto()
    BLOCKS = auto()
    HOSTS = auto()
    POLICIES = auto()
    HOST_ENDPOINTS = auto()


@dataclass(frozen=True, slots=True)
class Passages:
    """Addresses that endpoints gave up meanwhile, some perhaps within one look.

    It `is_whole` unless events were lost, so that others may have come and gone.
    """

    given_up: frozenset[IPAddress] = frozenset()
    is_whole: bool = True


def _covers(prefix: str, key: str) -> bool:
    return key == prefix or key.startswith(prefix + "/")


def _directory(key: Key) -> Key:
    return Key(key.rpartition("/")[0])


class Mirror:
    """A copy of the prefixes that were loaded, as values."""

    def __init__(self) -> None:
        self._progress: dict[Key, Revision] = {}
        self._stored: dict[Key, Stored] = {}
        self._specs: dict[EndpointId, EndpointSpec] = {}
        self._spec_revisions: dict[EndpointId, int] = {}
        self._leaves: dict[ProfileId, dict[str, str]] = {}
        self._profiles: dict[ProfileId, Profile] = {}
        self._pools: dict[IPNetwork, Pool] = {}
        self._block_hosts: dict[IPNetwork, HostName | None] = {}
        self._hosts: dict[HostName, HostRecord] = {}
        self._policies: dict[PolicyId, Policy] = {}
        self._host_endpoints: dict[HostEndpointId, HostEndpoint] = {}
        self._problems: dict[Key, str] = {}
        #: Profiles to decode at the end of a listing, by the directory of their leaves.
        self._waiting: dict[ProfileId, Key] | None = None
        self._changed: set[_Part] = set()
        self._given_up: set[IPAddress] = set()
        self._gap = False
        self._snapshot = Snapshot()

    def load(self, prefix: Key, listing: Listing) -> None:
        """Replace all that is known below a prefix."""
        self._gap |= prefix == CALICO and prefix in self._progress
        self._progress[prefix] = listing.revision
        listed = {stored.key for stored in listing.entries}
        # Once whole is cheaper than with each of its leaves.
        waiting: dict[ProfileId, Key] = {}
        self._waiting = waiting
        for key in [key for key in self._stored if _covers(prefix, key)]:
            if key not in listed:
                self._remove(key)
        for stored in listing.entries:
            # After a restore the same revision may stand for another value.
            if self._stored.get(stored.key) != stored:
                self._put(stored)
        self._waiting = None
        for profile, directory in waiting.items():
            self._decode_profile(directory, profile)

    def apply(self, event: WatchEvent) -> None:
        """Take in one event of a loaded prefix; one from before its listing is passed over."""
        match event:
            case Put(stored):
                if self._is_news(stored.key, stored.revision):
                    self._put(stored)
            case Removed(key, revision):
                if self._is_news(key, revision):
                    self._remove_tree(key)

    def snapshot(self) -> Snapshot:
        """All of it at this moment; the same object as long as nothing changed.

        The revision is that of the endpoints, profiles and pools: all that was
        written to them up to there is in it.
        """
        before, changed = self._snapshot, self._changed
        revision = self._progress.get(CALICO, Revision(0))
        if not changed and revision == before.revision:
            return before
        specs = _Part.SPECS in changed
        self._snapshot = Snapshot(
            revision=revision,
            specs=dict(self._specs) if specs else before.specs,
            spec_revisions=dict(self._spec_revisions) if specs else before.spec_revisions,
            profiles=dict(self._profiles) if _Part.PROFILES in changed else before.profiles,
            pools=self._sorted_pools() if _Part.POOLS in changed else before.pools,
            block_hosts=dict(self._block_hosts) if _Part.BLOCKS in changed else before.block_hosts,
            hosts=dict(self._hosts) if _Part.HOSTS in changed else before.hosts,
            policies=dict(self._policies) if _Part.POLICIES in changed else before.policies,
            host_endpoints=dict(self._host_endpoints)
            if _Part.HOST_ENDPOINTS in changed
            else before.host_endpoints,
        )
        self._changed = set()
        return self._snapshot

    def take_passages(self) -> Passages:
        """Who let addresses go since the last call, also if no snapshot ever had them."""
        passages = Passages(frozenset(self._given_up), is_whole=not self._gap)
        self._given_up, self._gap = set(), False
        return passages

    def problems(self) -> Mapping[Key, str]:
        """Why an object is closed or left out, by its key; a profile's is its directory."""
        return dict(self._problems)

    @property
    def ready(self) -> bool:
        """Whether Calico's own flag says that the datastore is complete."""
        stored = self._stored.get(READY)
        return stored is not None and stored.value.strip() == "true"

    def _is_news(self, key: Key, revision: Revision) -> bool:
        """Note the revision with each prefix that the event concerns."""
        concerned = [
            prefix for prefix in self._progress if _covers(prefix, key) or _covers(key, prefix)
        ]
        news = [prefix for prefix in concerned if revision > self._progress[prefix]]
        self._progress.update(dict.fromkeys(news, revision))
        return bool(news)

    def _remove_tree(self, key: Key) -> None:
        if key in self._stored:
            self._remove(key)
            return
        for below in [each for each in self._stored if _covers(key, each)]:
            self._remove(below)

    def _put(self, stored: Stored) -> None:
        self._stored[stored.key] = stored
        self._problems.pop(stored.key, None)
        try:
            self._decode(stored)
        except InvalidValue as error:
            self._forget(stored.key)
            self._problems[stored.key] = str(error)

    def _decode(self, stored: Stored) -> None:
        key, value = stored.key, stored.value
        if (endpoint := parse_endpoint_key(key)) is not None:
            before, spec = self._specs.get(endpoint), codec.decode_endpoint(endpoint, value)
            if spec.is_reserved:
                self._forget(key)
                return
            self._specs[endpoint] = spec
            if before is not None:
                self._given_up.update(set(before.addresses) - set(spec.addresses))
            self._spec_revisions[endpoint] = stored.revision
            self._changed.add(_Part.SPECS)
        elif (leaf := parse_profile_key(key)) is not None:
            self._leaves.setdefault(leaf[0], {})[leaf[1]] = value
            self._decode_profile(_directory(key), leaf[0])
            if leaf[1] == "labels" and value != codec.NO_LABELS:
                self._note_labels(key, value)
        elif (pool := parse_pool_key(key)) is not None:
            self._pools[pool] = codec.decode_pool(pool, value)
            self._changed.add(_Part.POOLS)
        elif (block := parse_block_key(key)) is not None:
            self._set_block_host(block, codec.decode_block(block, value).affinity)
        elif (host := parse_host_key(key)) is not None:
            self._hosts[host] = codec.decode_host(host, value)
            self._changed.add(_Part.HOSTS)
        elif (policy := parse_policy_key(key)) is not None:
            self._policies[policy] = codec.decode_policy(policy, value)
            self._changed.add(_Part.POLICIES)
        elif (host_endpoint := parse_host_endpoint_key(key)) is not None:
            decoded = codec.decode_host_endpoint(host_endpoint, value)
            self._host_endpoints[host_endpoint] = decoded
            self._changed.add(_Part.HOST_ENDPOINTS)

    def _remove(self, key: Key) -> None:
        del self._stored[key]
        self._problems.pop(key, None)
        self._forget(key)

    def _forget(self, key: Key) -> None:
        """Take out what the key stood for, if anything."""
        if (endpoint := parse_endpoint_key(key)) is not None:
            spec = self._specs.pop(endpoint, None)
            if spec is not None:
                self._given_up.update(spec.addresses)
                del self._spec_revisions[endpoint]
                self._changed.add(_Part.SPECS)
        elif (leaf := parse_profile_key(key)) is not None:
            self._leaves.get(leaf[0], {}).pop(leaf[1], None)
            self._decode_profile(_directory(key), leaf[0])
        elif (pool := parse_pool_key(key)) is not None:
            if self._pools.pop(pool, None) is not None:
                self._changed.add(_Part.POOLS)
        elif (block := parse_block_key(key)) is not None:
            if block in self._block_hosts:
                del self._block_hosts[block]
                self._changed.add(_Part.BLOCKS)
        elif (host := parse_host_key(key)) is not None:
            if self._hosts.pop(host, None) is not None:
                self._changed.add(_Part.HOSTS)
        elif (policy := parse_policy_key(key)) is not None:
            if self._policies.pop(policy, None) is not None:
                self._changed.add(_Part.POLICIES)
        elif (found := parse_host_endpoint_key(key)) is not None and (
            self._host_endpoints.pop(found, None) is not None
        ):
            self._changed.add(_Part.HOST_ENDPOINTS)

    def _decode_profile(self, directory: Key, profile_id: ProfileId) -> None:
        if self._waiting is not None:
            self._waiting[profile_id] = directory
            return
        self._problems.pop(directory, None)
        leaves = self._leaves.get(profile_id)
        if leaves:
            profile = codec.decode_profile(profile_id, leaves)
            if profile.problem:
                self._problems[directory] = profile.problem
            if self._profiles.get(profile_id) != profile:
                self._profiles[profile_id] = profile
                self._changed.add(_Part.PROFILES)
            return
        self._leaves.pop(profile_id, None)
        if self._profiles.pop(profile_id, None) is not None:
            self._changed.add(_Part.PROFILES)

    def _note_labels(self, key: Key, text: str) -> None:
        """Tell of labels that cannot be read, although they close nothing."""
        try:
            codec.decode_labels(text)
        except InvalidValue as error:
            self._problems[key] = str(error)

    def _set_block_host(self, block: IPNetwork, host: HostName | None) -> None:
        # Every allocation rewrites its block; hardly any changes its host.
        if block not in self._block_hosts or self._block_hosts[block] != host:
            self._block_hosts[block] = host
            self._changed.add(_Part.BLOCKS)

    def _sorted_pools(self) -> tuple[Pool, ...]:
        return tuple(self._pools[cidr] for cidr in sorted(self._pools))
