"""The plugins as files that stand alone, and what runtimes must be told of them.

A plugin is the text of `plugin.py` between a line that names the interpreter,
without its site packages and deaf to the environment, and one that makes the
call: nothing else is loaded, so it starts as fast as the interpreter does.
"""

import json
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reconciler.attach import plugin

Role = Literal["cni", "netmodules"]

#: The plugin's file, and the `type` of networks that it serves.
PLUGIN = plugin.CNI
#: By which a file is known as one that we wrote.
MARK = "# A plugin of marathon-calico, written by its install command; changes are lost."
#: The form that Mesos reads; podman wants interfaces with their MAC addresses.
MESOS_VERSION, PODMAN_VERSION = "0.2.0", "0.4.0"
#: A kernel's longest first line, less what else stands there.
LONGEST_INTERPRETER = 240

_NETWORK = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}")


class NotInstalled(Exception):
    """Nothing was written; the message names what is in the way and the remedy."""


@dataclass(frozen=True, slots=True)
class File:
    """A file to be, and how one of ours is told from another's under the same name.

    `flag` is the one that said where.
    """

    flag: str
    path: Path
    text: str
    mode: int
    is_ours: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Installed:
    """What became of one file."""

    path: Path
    changed: bool

    def __str__(self) -> str:
        return f"{self.path}: {'written' if self.changed else 'unchanged'}"


def check_network(text: str) -> str:
    """The name of a network, which becomes that of a file; raises ValueError."""
    if not _NETWORK.fullmatch(text):
        raise ValueError(
            f"{text!r} is no name of a network: 1 to 63 of a-z A-Z 0-9 _ . -, a letter or digit"
            " first"
        )
    return text


def render_plugin(role: Role, socket: Path, interpreter: Path) -> str:
    """The text of a plugin's file; raises NotInstalled."""
    name = str(interpreter)
    if len(name) > LONGEST_INTERPRETER or any(each.isspace() for each in name):
        raise NotInstalled(
            f"{name}: the first line of a program cannot name this interpreter;"
            " use one with a shorter name"
        )
    source = Path(plugin.__file__).read_text()
    # _exit: there is nothing to tidy up, and tidying takes a quarter of the time.
    return f"#!{name} -IS\n{MARK}\n{source}\n\nposix._exit({role}({str(socket)!r}))\n"


def mesos_network(flag: str, directory: Path, network: str) -> File:
    """A network's configuration as Mesos reads it, to be installed."""
    config = {"cniVersion": MESOS_VERSION, "name": network, "type": PLUGIN}
    return _network_file(flag, directory / f"{network}.conf", config)


def podman_network(flag: str, directory: Path, network: str) -> File:
    """The same for podman, which reads lists of plugins only."""
    config = {"cniVersion": PODMAN_VERSION, "name": network, "plugins": [{"type": PLUGIN}]}
    return _network_file(flag, directory / f"{network}.conflist", config)


def _network_file(flag: str, path: Path, config: object) -> File:
    text = json.dumps(config, indent=2) + "\n"
    return File(flag, path, text, mode=0o644, is_ours=_is_our_network)


def plugin_file(flag: str, path: Path, text: str) -> File:
    """A plugin, to be installed."""
    return File(flag, path, text, mode=0o755, is_ours=_is_our_plugin)


def install(*files: File) -> tuple[Installed, ...]:
    """Write files in this order, or none of them where one is somebody else's.

    Raises NotInstalled.
    """
    found = [_read(each) for each in files]
    for each, text in zip(files, found, strict=True):
        if text is not None and not each.is_ours(text):
            raise NotInstalled(
                f"{each.flag} {each.path}: a file that is none of ours; move it away first"
            )
    return tuple(_write(each, text) for each, text in zip(files, found, strict=True))


def _is_our_plugin(text: str) -> bool:
    return text.split("\n", 2)[1:2] == [MARK]


def _is_our_network(text: str) -> bool:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        return False
    if not isinstance(config, dict):
        return False
    plugins = config.get("plugins", [config])
    return isinstance(plugins, list) and any(
        isinstance(each, dict) and each.get("type") == PLUGIN for each in plugins
    )


def _read(file: File) -> str | None:
    try:
        return file.path.read_text(errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _in_the_way(file, error) from error


def _in_the_way(file: File, error: OSError) -> NotInstalled:
    return NotInstalled(
        f"{file.flag} {file.path}: {error.strerror}; name a place that can be written to"
    )


def _write(file: File, found: str | None) -> Installed:
    path = file.path
    try:
        if found == file.text and path.stat().st_mode & 0o777 == file.mode:
            return Installed(path, changed=False)
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        # A runtime may start it at any moment: it finds the old file or the new one.
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as draft:
            try:
                draft.write(file.text)
                draft.flush()
                os.fchmod(draft.fileno(), file.mode)
                os.fsync(draft.fileno())
                Path(draft.name).replace(path)
            except OSError:
                Path(draft.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise _in_the_way(file, error) from error
    return Installed(path, changed=True)
