"""What one rendering hands on to the next, so that little is made twice.

A mirror replaces only the endpoints and profiles that changed, so on a large
host nearly all parts are known already. They are recognised by the identity of
the objects that they were made from; the result is that of rendering anew.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

from calico.closing import Direction
from calico.dataplane.render.policy import ProfileChain, render_chain
from calico.dataplane.state import Chain
from calico.model import EndpointSpec, Profile, ProfileId

Listed = tuple[ProfileId, ...]
Part = TypeVar("Part")


class PartMemory(Generic[Part]):
    """One part for each endpoint, made anew when the endpoint is another object."""

    def __init__(self) -> None:
        self._context: Hashable = None
        #: By the identity of an endpoint, which nothing else has while it is held here.
        self._last: dict[int, tuple[EndpointSpec, Part]] = {}

    def of(
        self,
        specs: Iterable[EndpointSpec],
        context: Hashable,
        make: Callable[[EndpointSpec], Part],
    ) -> list[tuple[EndpointSpec, Part]]:
        """Each endpoint with its part; `context` is what else the parts depend on."""
        last = self._last if context == self._context else {}
        fresh = {}
        for spec in specs:
            known = last.get(id(spec))
            if known is None:
                known = (spec, make(spec))
            fresh[id(spec)] = known
        self._context, self._last = context, fresh
        return list(fresh.values())


class Remembered(Generic[Part]):
    """One part, made anew when what it depends on changes."""

    def __init__(self) -> None:
        self._last: tuple[Hashable, Part] | None = None

    def of(self, context: Hashable, make: Callable[[], Part]) -> Part:
        """The part for this context."""
        if self._last is None or self._last[0] != context:
            self._last = (context, make())
        return self._last[1]


class ChainMemory:
    """Both chains of each list of profiles, made anew when a profile is another object."""

    def __init__(self) -> None:
        self._last: dict[
            Listed, tuple[tuple[Profile | None, ...], Mapping[Direction, ProfileChain]]
        ] = {}
        #: The chains that are the same whatever the endpoints are.
        self.fixed: Remembered[tuple[Chain, ...]] = Remembered()

    def of(
        self, lists: Iterable[Listed], profiles: Mapping[ProfileId, Profile]
    ) -> Mapping[tuple[Listed, Direction], ProfileChain]:
        """The chains of these lists, by list and direction."""
        fresh = {}
        for listed in lists:
            found = tuple(profiles.get(name) for name in listed)
            known = self._last.get(listed)
            if known is None or any(a is not b for a, b in zip(known[0], found, strict=True)):
                chains = {each: render_chain(listed, profiles, each) for each in Direction}
                known = (found, chains)
            fresh[listed] = known
        self._last = fresh
        return {
            (listed, direction): chain
            for listed, (_, chains) in fresh.items()
            for direction, chain in chains.items()
        }
