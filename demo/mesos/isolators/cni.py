"""The `network/cni` isolator: calls the operator's plugins as Mesos calls them.

What it keeps of a container lies where Mesos keeps it, for the programs of
others to find: `<root>/<container id>/ns` holds the network namespace,
`<network>/network.conf` what the plugin was given and
`<network>/<interface>/network.info` what it answered.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from demo.mesos.isolators.api import Attached, IsolationFailed, with_addresses
from demo.mesos.isolators.mounts import bind, is_mounted, unbind
from demo.mesos.records import Json

log = logging.getLogger(__name__)

RESERVED = "org.apache.mesos"
#: Mesos' own, where the agent has none.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UNREADABLE = (OSError, msgspec.DecodeError, KeyError)


class _Config(msgspec.Struct):
    """What Mesos wants of every network's configuration."""

    name: str
    type: str


class CniIsolator:
    """Joins containers to named networks by the plugins of an operator."""

    name = "network/cni"

    def __init__(
        self, config_dir: Path, plugins_dir: str, root: Path, strips_ipv6: bool = True
    ) -> None:
        self._config_dir = config_dir
        self._plugins_dir = plugins_dir
        self._root = root
        self._strips_ipv6 = strips_ipv6
        self._paths: dict[str, Path] = {}

    def start(self) -> None:
        """Learn the networks and make the place for their containers; raises OSError."""
        if not self._config_dir.is_dir():
            raise NotADirectoryError(
                f"{self._config_dir}: not a directory of CNI network configurations"
            )
        self._paths = self._learn()
        self._root.mkdir(parents=True, exist_ok=True)
        if not is_mounted(self._root):
            # A mount of its own, so that containers can let go of all handles at once.
            bind(str(self._root), self._root)

    @property
    def root(self) -> Path:
        """Where the containers' state lies."""
        return self._root

    def attach(self, container_id: str, pid: int, networks: tuple[Json, ...]) -> Attached:
        """See Isolator; all named networks are tried before a failure is told."""
        named = [info for info in networks if info.get("name")]
        names = [info["name"] for info in named]
        for name in names:
            if names.count(name) > 1:
                raise IsolationFailed(f"Attempted to join CNI network '{name}' multiple times")
            self._config(name)
        try:
            self._hold(container_id, pid)
        except OSError as error:
            raise IsolationFailed(
                f"Failed to mount the network namespace handle: {error}"
            ) from error
        results: list[tuple[Json, Json]] = []
        failures = []
        for index, info in enumerate(named):
            try:
                results.append((info, self._add(container_id, f"eth{index}", info)))
            except (IsolationFailed, OSError) as error:
                failures.append(str(error))
        if failures:
            raise IsolationFailed("\n".join(failures))
        files = self._write_files(container_id, [result for _, result in results])
        infos = tuple(with_addresses(info, self._reported(result)) for info, result in results)
        # Reset, so that the task may bind to the address that it was given.
        return Attached(infos, {"LIBPROCESS_IP": "0.0.0.0"}, files)

    def detach(self, container_id: str) -> None:
        """See Isolator."""
        directory = self._root / container_id
        if not directory.is_dir():
            return
        failures = []
        for config in sorted(directory.glob("*/network.conf")):
            for interface in sorted(each for each in config.parent.iterdir() if each.is_dir()):
                try:
                    self._del(container_id, interface, config)
                except (IsolationFailed, *UNREADABLE) as error:
                    failures.append(str(error))
        if failures:
            raise IsolationFailed("\n".join(failures))
        try:
            unbind(directory / "ns")
            shutil.rmtree(directory)
        except OSError as error:
            raise IsolationFailed(f"Failed to remove the container directory: {error}") from error

    def leftovers(self) -> frozenset[str]:
        """See Isolator."""
        return frozenset(each.name for each in self._root.iterdir() if each.is_dir())

    def _learn(self) -> dict[str, Path]:
        paths: dict[str, Path] = {}
        for path in sorted(self._config_dir.glob("*.conf")):
            try:
                config = _parse(path)
                self._plugin(config["type"])
                if "ipam" in config:
                    self._plugin(config["ipam"]["type"])
            except (*UNREADABLE, TypeError, IsolationFailed) as error:
                log.warning("network skipped", extra={"file": path, "reason": repr(error)})
                continue
            if config["name"] in paths:
                log.warning("network skipped", extra={"file": path, "reason": "known already"})
            else:
                paths[config["name"]] = path
        return paths

    def _config(self, name: str) -> Json:
        """What the network's file says now; a file that is new or renamed is found."""
        try:
            path = self._paths.get(name)
            config = None if path is None else _parse(path)
            if config is None or config["name"] != name:
                self._paths = self._learn()
                config = _parse(self._paths[name])
        except UNREADABLE as error:
            raise IsolationFailed(f"Unknown CNI network '{name}'") from error
        return config

    def _plugin(self, kind: str) -> str:
        found = shutil.which(kind, path=self._plugins_dir)
        if found is None:
            raise IsolationFailed(f"Unable to find the plugin {kind} in '{self._plugins_dir}'")
        return found

    def _hold(self, container_id: str, pid: int) -> None:
        directory = self._root / container_id
        directory.mkdir()
        handle = directory / "ns"
        handle.touch()
        bind(f"/proc/{pid}/ns/net", handle)

    def _add(self, container_id: str, interface: str, info: Json) -> Json:
        name = info["name"]
        config = self._config(name)
        args = config.get("args", {})
        if not isinstance(args, dict):
            raise IsolationFailed(f"Invalid 'args' found in the configuration of network '{name}'")
        if RESERVED in args:
            raise IsolationFailed(
                f"'{RESERVED}' in 'args' should not be set in CNI network configuration file. "
                "It is reserved by Mesos"
            )
        config = {**config, "args": {**args, RESERVED: {"network_info": info}}}
        plugin = self._plugin(config["type"])
        directory = self._root / container_id / name / interface
        directory.mkdir(parents=True)
        saved = directory.parent / "network.conf"
        saved.write_bytes(msgspec.json.encode(config))
        status, output, errors = self._call("ADD", container_id, interface, plugin, saved)
        if status != 0:
            raise IsolationFailed(
                f"The CNI plugin '{plugin}' failed to attach container {container_id} to CNI "
                f"network '{name}': stdout='{output}', stderr='{errors}'"
            )
        try:
            result = msgspec.json.decode(output, type=dict[str, Any])
            _addresses(result)
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            raise IsolationFailed(
                f"Failed to parse the output of the CNI plugin '{plugin}': {error}"
            ) from error
        (directory / "network.info").write_text(output)
        return result

    def _del(self, container_id: str, interface: Path, config: Path) -> None:
        plugin = self._plugin(_parse(config)["type"])
        status, output, errors = self._call("DEL", container_id, interface.name, plugin, config)
        if status != 0:
            raise IsolationFailed(
                f"The CNI plugin '{plugin}' failed to detach container {container_id} from CNI "
                f"network '{config.parent.name}': stdout='{output}', stderr='{errors}'"
            )
        shutil.rmtree(interface)

    def _call(
        self, command: str, container_id: str, interface: str, plugin: str, config: Path
    ) -> tuple[int, str, str]:
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container_id,
            "CNI_PATH": self._plugins_dir,
            "CNI_IFNAME": interface,
            "PATH": os.environ.get("PATH", DEFAULT_PATH),
        }
        handle = self._root / container_id / "ns"
        if is_mounted(handle):
            # After a reboot there is no namespace to name any more.
            environment["CNI_NETNS"] = str(handle)
        with config.open("rb") as given:
            done = subprocess.run(
                [plugin],
                stdin=given,
                capture_output=True,
                text=True,
                errors="replace",
                env=environment,
                check=False,
            )
        return done.returncode, done.stdout, done.stderr

    def _reported(self, result: Json) -> tuple[tuple[str, str], ...]:
        """The addresses as Mesos shows them, which long kept the prefix length of an IPv6 one."""
        return tuple(
            (name, address.partition("/")[0] if name == "IPv4" or self._strips_ipv6 else address)
            for name, address in _addresses(result)
        )

    def _write_files(self, container_id: str, results: Sequence[Json]) -> dict[str, str]:
        """The container's own host name and network files, as Mesos makes them."""
        directory = self._root / container_id
        addresses = [address for result in results for _, address in _addresses(result)]
        own = [f"{addresses[0].partition('/')[0]} {container_id}"] if addresses else []
        contents = {
            "hostname": container_id,
            "hosts": "\n".join(("127.0.0.1 localhost", *own, "")),
        }
        if servers := [s for r in results for s in r.get("dns", {}).get("nameservers", ())]:
            contents["resolv.conf"] = "".join(f"nameserver {server}\n" for server in servers)
        for name, content in contents.items():
            (directory / name).write_text(content)
        return {f"/etc/{name}": str(directory / name) for name in contents}


def _addresses(result: Json) -> tuple[tuple[str, str], ...]:
    """What Mesos reads of a plugin's answer: `ip4` and `ip6`, never `ips`."""
    families = (("IPv4", "ip4"), ("IPv6", "ip6"))
    return tuple((name, str(result[key]["ip"])) for name, key in families if key in result)


def _parse(path: Path) -> Json:
    """A network's configuration; raises msgspec.DecodeError without a name or a type."""
    content = path.read_bytes()
    msgspec.json.decode(content, type=_Config)
    config: Json = msgspec.json.decode(content)
    return config
