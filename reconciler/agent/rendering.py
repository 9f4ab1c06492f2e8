"""Renders a host only when something that is rendered changed."""

from calico.dataplane.render.host import Rendered, RenderMemory, render_host
from calico.dataplane.state import HostConfig
from calico.model import Snapshot


class Rendering:
    """Rendering is the dearest step on a large cluster, so it is done once."""

    def __init__(self) -> None:
        self._last: tuple[Snapshot, HostConfig, Rendered] | None = None
        self._memory = RenderMemory()

    def of(self, snapshot: Snapshot, config: HostConfig) -> Rendered:
        """What this host should hold."""
        if self._last is not None:
            of_snapshot, with_config, rendered = self._last
            if _same_parts(of_snapshot, snapshot) and with_config == config:
                return rendered
        rendered = render_host(snapshot, config, self._memory)
        self._last = (snapshot, config, rendered)
        return rendered


def _same_parts(one: Snapshot, other: Snapshot) -> bool:
    """Whether nothing that is rendered changed; the mirror keeps what did not."""
    same = all(
        getattr(one, part) is getattr(other, part)
        for part in ("specs", "pools", "block_hosts", "hosts", "policies", "host_endpoints")
    )
    return same and (one.profiles is other.profiles or _same_used_profiles(one, other))


def _same_used_profiles(one: Snapshot, other: Snapshot) -> bool:
    """Whether every profile that an endpoint names is the same object in both.

    A new app's profile comes before its endpoints, when there is most to do.
    """
    used = {name for each in one.members() for name in each.profiles}
    return all(one.profiles.get(name) is other.profiles.get(name) for name in used)
