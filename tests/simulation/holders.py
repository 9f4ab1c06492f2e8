"""Who has each address, by the blocks, and how long one rests that a task had."""

from collections.abc import Callable
from dataclasses import dataclass

from netaddr import IPAddress, IPNetwork

from calico.codec.ipam import decode_block
from calico.model import HandleId
from tests.simulation.foreign import FOREIGN

#: Seconds for which nobody gets an address that a task had.
RESTS = 120.0


@dataclass(frozen=True, slots=True)
class _Holders:
    """Who has each address of a block, None for nobody."""

    block: IPNetwork
    handles: tuple[HandleId | None, ...]

    def of(self, address: IPAddress) -> HandleId | None:
        """Who has an address of it; None also for those of other blocks."""
        ordinal = int(address) - self.block.first
        return self.handles[ordinal] if 0 <= ordinal < len(self.handles) else None


class Holders:
    """Follows the blocks, and which addresses tasks have left."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._by_block: dict[IPNetwork, _Holders] = {}
        #: Since when nobody has an address that a task had, and which task.
        self._left: dict[int, tuple[float, str]] = {}

    def of(self, address: IPAddress) -> HandleId | None:
        """Who has an address; None for nobody."""
        return next(filter(None, (each.of(address) for each in self._by_block.values())), None)

    def note_left(self, address: IPAddress, task: str) -> None:
        """A task's endpoint that had the address is gone."""
        self._left[int(address)] = (self._now(), task)

    def read(self, block: IPNetwork, text: str | None, *, rests: bool) -> str:
        """Take a block in, None for one that is gone; what is wrong with who has it now.

        What a task had rests before another one gets it, unless nothing `rests`
        any more; others' addresses stay.
        """
        before = self._by_block.pop(block, None) or _Holders(block, (None,) * block.size)
        if text is None:
            return ""
        allocations = decode_block(block, text).allocations
        handles = tuple(None if each is None else each.handle for each in allocations)
        after = self._by_block[block] = _Holders(block, handles)
        for ordinal, (had, has) in enumerate(zip(before.handles, after.handles, strict=True)):
            if had == has:
                continue
            if had is not None and had.startswith(FOREIGN):
                return f"{block[ordinal]} was {had}'s and is {has}'s"
            when, task = self._left.get(block.first + ordinal, (float("-inf"), ""))
            rested = self._now() - when
            if has is not None and has != task and rested < RESTS and rests:
                return f"{block[ordinal]} was given to {has} {rested:.0f} s after {task}"
        return ""
