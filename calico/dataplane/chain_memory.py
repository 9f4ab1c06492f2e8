"""Chains of the last rendering, kept while their profiles are the same objects.

A mirror replaces only the profiles that changed, so on a large host nearly all
chains are known already. The result is that of rendering everything anew.
"""

from collections.abc import Iterable, Mapping

from calico.dataplane.render_policy import Direction, ProfileChain, render_chain
from calico.model import Profile, ProfileId

Listed = tuple[ProfileId, ...]


class ChainMemory:
    """Remembers one rendering; each call forgets what it did not use."""

    def __init__(self) -> None:
        self._last: dict[
            Listed, tuple[tuple[Profile | None, ...], Mapping[Direction, ProfileChain]]
        ] = {}

    def render(
        self, lists: Iterable[Listed], profiles: Mapping[ProfileId, Profile]
    ) -> Mapping[tuple[Listed, Direction], ProfileChain]:
        """Both chains of each list of profiles."""
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
