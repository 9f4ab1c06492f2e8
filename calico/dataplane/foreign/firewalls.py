"""Reads what other programs filter by, in nftables and in the older iptables."""

from contextlib import ExitStack

from calico.dataplane.foreign import xtables
from calico.dataplane.foreign.nft import (
    decode_chain_names,
    decode_foreign_table,
    decode_forwarding,
    encode_list_chains,
    encode_list_table,
)
from calico.dataplane.foreign.rules import ForeignRules, ForeignTable, felix_chains
from calico.dataplane.netlink.batches import NETLINK_NETFILTER, NetlinkSocket
from calico.dataplane.nft import look as nft_look
from calico.dataplane.nft.library import NftTable
from calico.errors import DataplaneError


class KernelFirewalls:
    """Implements `Firewalls` for the namespace of the thread that opens it."""

    def __init__(self) -> None:
        self._held = ExitStack()
        self._library = NftTable()
        self._kernel = NetlinkSocket(protocol=NETLINK_NETFILTER)
        self._generation = b""
        self._nftables: tuple[tuple[ForeignTable, ...], frozenset[str]] = ((), frozenset())

    def open(self) -> None:
        """Open in the namespace of the calling thread; raises DataplaneError."""
        with ExitStack() as held:
            for each in (self._library, self._kernel):
                each.open()
                held.callback(each.close)
            self._generation = b""
            self._held = held.pop_all()

    def close(self) -> None:
        """Let go of the kernel."""
        self._held.close()

    def read(self) -> ForeignRules:
        """All that is filtered by where packets are forwarded; raises DataplaneError."""
        tables, chains = self._read_nftables()
        older = tuple(xtables.read_tables())
        names = chains.union(*(table.chains for table in older))
        return ForeignRules((*tables, *older), felix_chains(names))

    def _read_nftables(self) -> tuple[tuple[ForeignTable, ...], frozenset[str]]:
        generation = nft_look.parse_generation(self._kernel.ask(nft_look.ask_generation()).body)
        # A large ruleset takes long to list, and as a rule nothing has changed.
        if generation != self._generation:
            try:
                listed = self._library.ask(encode_list_chains())
                self._nftables = (
                    tuple(
                        decode_foreign_table(self._library.ask(encode_list_table(place)), place)
                        for place in decode_forwarding(listed)
                    ),
                    decode_chain_names(listed),
                )
            except (KeyError, TypeError, ValueError) as error:
                raise DataplaneError(f"nftables tells of other programs' rules: {error}") from error
            self._generation = generation
        return self._nftables
