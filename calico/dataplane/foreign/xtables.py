"""The filter table of the older iptables, which nftables does not show.

The kernel gives it as one block of memory: entries that name each other by
their offsets. Its tables are looked at only where they exist: to ask for one
would make it.
"""

import ctypes
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from calico.dataplane.foreign.rules import Act, ForeignRule, ForeignTable, InterfaceMatch, Scope
from calico.errors import DataplaneError

TABLE = b"filter"
SO_GET_INFO, SO_GET_ENTRIES = 64, 65
FORWARD, HOOKS = 2, ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
NO_HOOK = 0xFFFFFFFF
#: Bytes of entries up to which a table is judged; it is read again and again.
LARGEST = 1 << 20

_INFO = struct.Struct("=32sI5I5III")
#: Before the entries: the name, their size, and four bytes of padding.
_ENTRIES_HEAD = 40
_INTERFACES = struct.Struct("=16s16s16s16s")
_FLAGS = struct.Struct("=BB")
_OFFSETS = struct.Struct("=HH")
_TARGET = struct.Struct("=H29sB")
_VERDICT = struct.Struct("=i")

INVERT_IN, INVERT_OUT = 0x01, 0x02
#: Verdicts are negative; others are the offsets of chains.
VERDICTS = {-1: Act.DROP, -2: Act.ACCEPT, -5: Act.RETURN}


@dataclass(frozen=True, slots=True)
class Form:
    """How one family lays its entries out; offsets are from an entry's start."""

    family: str
    names: Path
    domain: int
    level: int
    tool: str
    interfaces: int
    protocol: int
    flags: int
    goto: int
    offsets: int
    size: int


IPV4 = Form(
    family="ip",
    names=Path("/proc/thread-self/net/ip_tables_names"),
    domain=socket.AF_INET,
    level=socket.IPPROTO_IP,
    tool="iptables-legacy",
    interfaces=16,
    protocol=80,
    flags=82,
    goto=0x02,
    offsets=88,
    size=112,
)
IPV6 = Form(
    family="ip6",
    names=Path("/proc/thread-self/net/ip6_tables_names"),
    domain=socket.AF_INET6,
    level=socket.IPPROTO_IPV6,
    tool="ip6tables-legacy",
    interfaces=64,
    protocol=128,
    flags=131,
    goto=0x04,
    offsets=140,
    size=168,
)


def read_tables() -> Iterator[ForeignTable]:
    """The filter tables that exist in the calling thread's namespace; raises DataplaneError."""
    for form in (IPV4, IPV6):
        try:
            existing = form.names.read_bytes().split()
        except OSError:
            # This kernel has none of the older iptables, or does not tell.
            continue
        if TABLE in existing:
            info, entries = _read_blocks(form)
            yield parse_table(form, info, entries)


def _read_blocks(form: Form) -> tuple[bytes, bytes]:
    """What the kernel says of a table, and its entries."""
    with socket.socket(form.domain, socket.SOCK_DGRAM) as sock:
        info = _ask(sock, form, SO_GET_INFO, bytes(_INFO.size))
        size = _INFO.unpack(info)[-1]
        if size > LARGEST:
            return info, b""
        head = TABLE.ljust(32, b"\0") + struct.pack("=I", size)
        return info, _ask(sock, form, SO_GET_ENTRIES, head + bytes(4 + size))[_ENTRIES_HEAD:]


def _ask(sock: socket.socket, form: Form, option: int, question: bytes) -> bytes:
    # Python's own getsockopt cannot say which table is meant.
    library = ctypes.CDLL(None, use_errno=True)
    answer = ctypes.create_string_buffer(TABLE.ljust(32, b"\0") + question[32:], len(question))
    length = ctypes.c_uint32(len(question))
    if library.getsockopt(sock.fileno(), form.level, option, answer, ctypes.byref(length)) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise DataplaneError(f"read the rules of {form.tool}: {reason}")
    return answer.raw


def parse_table(form: Form, info: bytes, entries: bytes) -> ForeignTable:
    """The table in two blocks of memory."""
    fields = _INFO.unpack(info)
    names = {
        offset: name for name, offset in zip(HOOKS, fields[2:7], strict=True) if offset != NO_HOOK
    }
    found: dict[str, list[_Entry]] = {}
    chain = ""
    for entry in _entries(form, entries):
        chain = names.get(entry.offset, chain)
        if entry.target == "ERROR":
            # The head of a chain that somebody made; its rules follow.
            names[entry.next] = entry.label
        else:
            found.setdefault(chain, []).append(entry)
    return ForeignTable(
        tool=form.tool,
        family=form.family,
        name=TABLE.decode(),
        chains={name: tuple(_rule(entry, names) for entry in each) for name, each in found.items()},
        # Its policy is the last of its rules.
        forwarding={HOOKS[FORWARD]: Act.ACCEPT},
    )


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry; `verdict` counts for the target without a name, `label` for ERROR."""

    offset: int
    next: int
    inputs: tuple[InterfaceMatch, ...]
    outputs: tuple[InterfaceMatch, ...]
    scope: Scope
    goes: bool
    target: str
    verdict: int
    label: str


def _entries(form: Form, block: bytes) -> Iterator[_Entry]:
    offset = 0
    while offset + form.size <= len(block):
        target_at, size = _OFFSETS.unpack_from(block, offset + form.offsets)
        if size < form.size or offset + size > len(block):
            return
        entry = block[offset : offset + size]
        flags, inverted = _FLAGS.unpack_from(entry, form.flags)
        iifname, oifname, in_mask, out_mask = _INTERFACES.unpack_from(entry, form.interfaces)
        _, target, _ = _TARGET.unpack_from(entry, target_at)
        rest = entry[target_at + _TARGET.size :]
        yield _Entry(
            offset=offset,
            next=offset + size,
            inputs=_interface(iifname, in_mask, negated=bool(inverted & INVERT_IN)),
            outputs=_interface(oifname, out_mask, negated=bool(inverted & INVERT_OUT)),
            scope=_scope(form, entry, target_at),
            goes=bool(flags & form.goto),
            target=_text(target),
            verdict=_VERDICT.unpack_from(rest)[0],
            label=_text(rest),
        )
        offset += size


def _rule(entry: _Entry, chains: Mapping[int, str]) -> ForeignRule:
    act, target = Act.CONTINUE, ""
    if entry.target == "REJECT":
        act = Act.DROP
    elif not entry.target and entry.verdict < 0:
        act = VERDICTS.get(entry.verdict, Act.CONTINUE)
    elif not entry.target and entry.verdict != entry.next:
        act, target = Act.GOTO if entry.goes else Act.JUMP, chains.get(entry.verdict, "")
    return ForeignRule(
        act=act, target=target, inputs=entry.inputs, outputs=entry.outputs, scope=entry.scope
    )


def _interface(name: bytes, mask: bytes, *, negated: bool) -> tuple[InterfaceMatch, ...]:
    length = len(mask.rstrip(b"\0"))
    if length == 0:
        return ()
    text = _text(name)
    # The mask covers the byte that ends the name, unless it is a prefix.
    pattern = text if length > len(text) else f"{text[:length].removesuffix('+')}*"
    return (InterfaceMatch((pattern,), negated),)


def _scope(form: Form, entry: bytes, target_at: int) -> Scope:
    matches = list(_matches(entry[form.size : target_at]))
    protocol = entry[form.protocol : form.protocol + 2]
    if protocol != b"\0\0" or any(name not in ("comment", "mark") for name in matches):
        return Scope.NARROW
    # Source and destination, then what counts of them.
    counting = entry[form.interfaces // 2 : form.interfaces]
    return Scope.SOME if any(counting) or "mark" in matches else Scope.ALL


def _matches(block: bytes) -> Iterator[str]:
    offset = 0
    while offset + _TARGET.size <= len(block):
        size, name, _ = _TARGET.unpack_from(block, offset)
        if size < _TARGET.size:
            return
        yield _text(name)
        offset += size


def _text(value: bytes) -> str:
    return value.partition(b"\0")[0].decode(errors="replace")
