"""Renders a host only when something that is rendered changed."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from calico.dataplane.render.host import Rendered, RenderMemory, render_host
from calico.dataplane.state import TASK_INTERFACE, HostConfig, Link
from calico.model import InterfaceName, Snapshot

#: No link has another name inside than the usual one.
USUAL: Mapping[InterfaceName, str] = MappingProxyType({})


class Rendering:
    """Rendering is the dearest step on a large cluster, so it is done once."""

    def __init__(self) -> None:
        self._last: tuple[Snapshot, HostConfig, Mapping[InterfaceName, str], Rendered] | None = None
        self._memory = RenderMemory()

    def of(
        self, snapshot: Snapshot, config: HostConfig, devices: Mapping[InterfaceName, str] = USUAL
    ) -> Rendered:
        """What this host should hold; `devices` are what links are called inside."""
        unusual = {each: name for each, name in devices.items() if name != TASK_INTERFACE}
        if self._last is not None:
            of_snapshot, with_config, with_devices, rendered = self._last
            same = with_config is config or with_config == config
            same = same and with_devices == unusual
            if same and _same_parts(of_snapshot, snapshot):
                return rendered
        rendered = render_host(snapshot, config, self._memory)
        if unusual:
            links = {name: _named(link, unusual) for name, link in rendered.state.links.items()}
            rendered = replace(rendered, state=replace(rendered.state, links=links))
        self._last = (snapshot, config, unusual, rendered)
        return rendered


def _named(link: Link, devices: Mapping[InterfaceName, str]) -> Link:
    if link.wiring is None or link.name not in devices:
        return link
    return replace(link, wiring=replace(link.wiring, device=devices[link.name]))


def _same_parts(one: Snapshot, other: Snapshot) -> bool:
    """Whether nothing that is rendered changed; the mirror keeps what did not."""
    if one is other:
        return True
    same = (
        one.specs is other.specs
        and one.pools is other.pools
        and one.block_hosts is other.block_hosts
        and one.hosts is other.hosts
        and one.policies is other.policies
        and one.host_endpoints is other.host_endpoints
    )
    return same and (one.profiles is other.profiles or _same_used_profiles(one, other))


def _same_used_profiles(one: Snapshot, other: Snapshot) -> bool:
    """Whether every profile that an endpoint names is the same object in both.

    A new app's profile comes before its endpoints, when there is most to do.
    """
    used = {name for each in one.members() for name in each.profiles}
    return all(one.profiles.get(name) is other.profiles.get(name) for name in used)
