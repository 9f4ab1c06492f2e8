"""nf_tables by its own messages: elements changed, the table looked at."""

from collections.abc import Mapping, Sequence

from calico.dataplane.netlink.batches import NETLINK_NETFILTER, NetlinkSocket
from calico.dataplane.netlink.wire import NLMSG_DONE, Request
from calico.dataplane.nft import look
from calico.dataplane.nft.wire import UnfamiliarError, batch
from calico.dataplane.state import Chain, NftRule, NftSet
from calico.errors import DataplaneError

ATTEMPTS = 8


class NftSocket:
    """Our table in the namespace of the thread that opens this."""

    def __init__(self) -> None:
        self._kernel = NetlinkSocket(protocol=NETLINK_NETFILTER)
        #: Bytes that one transaction may have.
        self.room = 0

    def open(self) -> None:
        """Open in the namespace of the calling thread."""
        self._kernel.open()
        self.room = self._kernel.widen()

    def close(self) -> None:
        """Close; it may be opened again."""
        self._kernel.close()

    def commit(self, requests: Sequence[Request]) -> None:
        """Make all changes true at one instant, or raise and change nothing."""
        refusals = self._kernel.send_batch(batch(requests))
        if refusals:
            raise DataplaneError(refusals[0].reason)

    def read(self) -> tuple[Mapping[str, Chain], Mapping[str, NftSet]]:
        """Our chains, rules by their digests only, and sets, as of one instant.

        Empty if someone took the table away or put it to sleep. Raises
        UnfamiliarError if it holds what we never put there.
        """
        for _ in range(ATTEMPTS):
            before = self._generation()
            try:
                found = self._read()
            except DataplaneError:
                # A set that went meanwhile, as a rule.
                if self._generation() == before:
                    raise
                continue
            if self._generation() == before:
                return found
        raise DataplaneError("the nftables ruleset kept changing while it was read")

    def _read(self) -> tuple[Mapping[str, Chain], Mapping[str, NftSet]]:
        if not any(map(look.is_awake, self._list(look.list_tables()))):
            return {}, {}
        hooks = dict(
            found for body in self._list(look.list_chains()) if (found := look.parse_chain(body))
        )
        rules: dict[str, list[NftRule]] = {name: [] for name in hooks}
        for body in self._list(look.list_rules()):
            chain, digest = look.parse_rule(body)
            if digest is None:
                raise UnfamiliarError(f"a rule without a comment in chain {chain}")
            rules[chain].append(NftRule(digest, ""))
        seen = (look.parse_set(body) for body in self._list(look.list_sets()))
        sets = {each.name: self._elements(each) for each in seen if each is not None}
        chains = {name: Chain(name, tuple(rules[name]), base) for name, base in hooks.items()}
        return chains, sets

    def _elements(self, seen: look.SeenSet) -> NftSet:
        bodies = self._list(look.list_elements(seen.name)) if seen.count != 0 else ()
        return look.parse_elements(seen, bodies)

    def _list(self, request: Request) -> Sequence[bytes]:
        return [each.body for each in self._kernel.dump(request) if each.kind != NLMSG_DONE]

    def _generation(self) -> bytes:
        return look.parse_generation(self._kernel.ask(look.ask_generation()).body)
