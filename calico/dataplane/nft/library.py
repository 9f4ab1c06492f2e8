"""The one door to libnftables: our table read, and changed in one transaction.

Driven through its JSON interface by ctypes, with one context kept open: a
change costs some 50 microseconds, where a subprocess costs milliseconds.
"""

import ctypes
import os
import socket
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress

from calico.dataplane.changes import CommitTable
from calico.dataplane.netlink.batches import NETLINK_NETFILTER, sendable, widen
from calico.dataplane.nft.expr import (
    ACCEPT,
    MASQUERADE,
    address,
    assign,
    by_connection,
    concat,
    dropping,
    hop_limit,
    label,
    labelled,
    matches,
    meta,
    payload,
    rule,
    set_mark,
    strays,
    verdict_of,
)
from calico.dataplane.nft.library_json import (
    decode_drops,
    decode_table,
    decode_table_names,
    encode_commit,
    encode_list,
    encode_list_tables,
)
from calico.dataplane.state import TABLE, BaseHook, Chain, NftSet
from calico.errors import DataplaneError, DataplaneUnsupported

LIBRARY = "libnftables.so.1"
DESCRIPTORS = "/proc/self/fd"

_OUTPUT_JSON = 1 << 4
_EMPTY = '{"nftables":[]}'
#: What the library keeps for all of its contexts is not made for two threads.
_LIBRARY = threading.Lock()

#: A little of everything that our rules use, to be tried and not kept.
_FEATURES = CommitTable(
    chains=(
        Chain("probe-end", (dropping(),)),
        Chain(
            "probe-filter",
            (
                rule(by_connection(ACCEPT, "probe-end")),
                rule(set_mark(1)),
                dropping(strays()),
                rule(labelled(1), label(1)),
                rule(assign(hop_limit(4), 1)),
                rule(verdict_of(address(4, "daddr"), "probe-map")),
                dropping(
                    matches(
                        concat(meta("iifname"), payload("ether", "saddr"), address(4, "saddr")),
                        "@probe-concat",
                    )
                ),
                dropping(matches(address(6, "saddr"), "@probe-interval")),
            ),
            BaseHook("filter", "prerouting", 0, "accept"),
        ),
        Chain("probe-nat", (rule(MASQUERADE),), BaseHook("nat", "postrouting", 100, "accept")),
    ),
    sets=(
        NftSet("probe-concat", ("ifname", "ether_addr", "ipv4_addr"), frozenset()),
        NftSet(
            "probe-interval", ("ipv6_addr",), frozenset({("prefix", "fd00::", 8)}), interval=True
        ),
        NftSet(
            "probe-map",
            ("ipv4_addr",),
            frozenset({("127.0.0.1", ("goto", "probe-end"))}),
            verdicts=True,
        ),
    ),
)


class NftTable:
    """Our nftables table in one network namespace.

    The namespace is that of the thread that calls `open`, for good: the
    library's socket is made there. One thread at a time may use it.
    """

    def __init__(self, library: str = LIBRARY) -> None:
        self._library = library
        self._functions: ctypes.CDLL | None = None
        self._context: int | None = None
        #: Bytes that one transaction may have.
        self.room = 0

    def open(self) -> None:
        """Load the library and see that the kernel can do what we need.

        Raises DataplaneUnsupported with the remedy.
        """
        try:
            functions = ctypes.CDLL(self._library)
        except OSError as error:
            raise DataplaneUnsupported(
                f"nftables' library is missing ({error}): install the package libnftables1"
            ) from error
        _declare_functions(functions)
        self._functions = functions
        with _LIBRARY:
            others = _sockets()
            self._context = functions.nft_ctx_new(0)
            self.room = _widen(_sockets() - others)
        functions.nft_ctx_output_set_flags(self._context, _OUTPUT_JSON)
        functions.nft_ctx_buffer_output(self._context)
        functions.nft_ctx_buffer_error(self._context)
        try:
            self._try_features()
        except DataplaneError as error:
            self.close()
            raise DataplaneUnsupported(
                f"the kernel does not take our nftables rules ({error}): it needs Linux 5.10 "
                "or later with nf_tables and its fib, nf_conntrack and its labels, and the "
                "capability NET_ADMIN"
            ) from error

    def close(self) -> None:
        """Give the context back; the table stays as it is."""
        if self._functions is not None and self._context is not None:
            with _LIBRARY:
                self._functions.nft_ctx_free(self._context)
        self._context = None

    def read(self) -> tuple[Mapping[str, Chain], Mapping[str, NftSet]]:
        """Our chains and sets; empty if someone took the table away."""
        return decode_table(self._listing())

    def drops(self) -> Mapping[str, int]:
        """Packets dropped so far, by chain; a chain whose rules change begins anew."""
        return decode_drops(self._listing())

    def ask(self, request: str) -> str:
        """The answer to a request that changes nothing, both in libnftables' JSON."""
        return self._run(request)

    def commit(self, change: CommitTable) -> None:
        """Make all of a change true at one instant, or raise and change nothing."""
        self._run(encode_commit(change))

    def command(self, text: str) -> None:
        """Carry out one transaction in nftables' own language; raises DataplaneError.

        What it makes with an owner is owned by this table's socket.
        """
        self._run(text)

    def _listing(self) -> str:
        # The library tells an absent table only by a text for people; so ask
        # for the names, and again if the table came or went in between.
        try:
            return self._run(encode_list())
        except DataplaneError:
            if TABLE in decode_table_names(self._run(encode_list_tables())):
                raise
            return _EMPTY

    def _try_features(self) -> None:
        functions = self._loaded()
        functions.nft_ctx_set_dry_run(self._context, True)
        try:
            self._run(encode_commit(_FEATURES))
        finally:
            functions.nft_ctx_set_dry_run(self._context, False)

    def _loaded(self) -> ctypes.CDLL:
        if self._functions is None or self._context is None:
            raise DataplaneError("nftables is used before it was opened")
        return self._functions

    def _run(self, text: str) -> str:
        functions = self._loaded()
        with _LIBRARY:
            failed = functions.nft_run_cmd_from_buffer(self._context, text.encode())
        # Reading a buffer also empties it.
        output: bytes = functions.nft_ctx_get_output_buffer(self._context)
        errors: bytes = functions.nft_ctx_get_error_buffer(self._context)
        if failed:
            raise DataplaneError(_one_line(errors) or "nftables refused without a reason")
        return output.decode() or _EMPTY


def _sockets() -> frozenset[int]:
    """Descriptors of all sockets of this process."""
    found = set()
    for name in os.listdir(DESCRIPTORS):
        with suppress(OSError):
            if os.readlink(f"{DESCRIPTORS}/{name}").startswith("socket:"):
                found.add(int(name))
    return frozenset(found)


def _widen(opened: Iterable[int]) -> int:
    """Let the library send as much at once as the kernel permits; how many bytes.

    It sees to that itself, but only by a right that an ordinary user lacks.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as ordinary:
        room = sendable(ordinary)
    for descriptor in opened:
        with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as each:
            # Another thread may just have opened one too: it takes no harm.
            if (each.family, each.proto) == (socket.AF_NETLINK, NETLINK_NETFILTER):
                room = widen(each)
    return room


def _declare_functions(functions: ctypes.CDLL) -> None:
    context = ctypes.c_void_p
    functions.nft_ctx_new.argtypes = [ctypes.c_uint32]
    functions.nft_ctx_new.restype = context
    functions.nft_ctx_free.argtypes = [context]
    functions.nft_ctx_free.restype = None
    functions.nft_ctx_output_set_flags.argtypes = [context, ctypes.c_uint]
    functions.nft_ctx_set_dry_run.argtypes = [context, ctypes.c_bool]
    functions.nft_ctx_buffer_output.argtypes = [context]
    functions.nft_ctx_buffer_error.argtypes = [context]
    functions.nft_run_cmd_from_buffer.argtypes = [context, ctypes.c_char_p]
    functions.nft_run_cmd_from_buffer.restype = ctypes.c_int
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(functions, name).argtypes = [context]
        getattr(functions, name).restype = ctypes.c_char_p


def _one_line(errors: bytes) -> str:
    """The library's complaint without the copies of our JSON and the markers."""
    lines = (line.strip() for line in errors.decode(errors="replace").splitlines())
    return "; ".join(dict.fromkeys(line for line in lines if "rror:" in line))[:500]
