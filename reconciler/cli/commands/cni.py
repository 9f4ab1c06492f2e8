"""`marathon-calico cni` and `netmodules`: put the plugins where Mesos calls them."""

import json
import sys
from pathlib import Path

import click

from reconciler.attach import plugin
from reconciler.attach.install import (
    PLUGIN,
    File,
    NotInstalled,
    Role,
    install,
    mesos_network,
    plugin_file,
    podman_network,
    render_plugin,
)
from reconciler.cli.flags import NETWORK_NAME, SOCKET_PATH
from reconciler.core.tasks.profiles import NETWORK

MESOS = """
The Mesos agent's flags, beside its others:
  --isolation=...,filesystem/linux,network/cni
  --network_cni_plugins_dir={plugins}
  --network_cni_config_dir={configs}
Early versions of Mesos read configurations only when they start.
Marathon from 1.5 on: --default_network_name={network}"""
PODMAN = """
In containers.conf:
  [network]
  network_backend = "cni"
  cni_plugin_dirs = ["{plugins}"]
  network_config_dir = "{configs}"
Then: podman run --network {network} ..."""

#: Where net-modules' library is in its packages.
LIBRARY = "/opt/net-modules/libmesos_network_isolator.so"

_DIRECTORY = click.Path(file_okay=False, readable=False, path_type=Path)
_socket_option = click.option(
    "--socket",
    type=SOCKET_PATH,
    default=plugin.SOCKET,
    show_default=True,
    help="The agent's socket, as its own --socket says.",
)
_interpreter_option = click.option(
    "--interpreter",
    type=click.Path(dir_okay=False, readable=False, path_type=Path),
    help="The Python that runs the plugin, by its path where that is called.  [default: this one]",
)


@click.group()
def cni() -> None:
    """The CNI plugin of Mesos 1.0 and newer, and of podman."""


@cni.command("install", short_help="Write the plugin and a network's configuration.")
@click.option("--plugins-dir", type=_DIRECTORY, required=True, help="Where runtimes find plugins.")
@click.option("--config-dir", type=_DIRECTORY, required=True, help="Where they find networks.")
@click.option(
    "--network",
    type=NETWORK_NAME,
    default=NETWORK,
    show_default=True,
    help="The network's name, one of the controller's --network.",
)
@_socket_option
@click.option(
    "--runtime",
    type=click.Choice(["mesos", "podman"]),
    default="mesos",
    show_default=True,
    help="Whose form the configuration has.",
)
@_interpreter_option
def install_command(
    plugins_dir: Path,
    config_dir: Path,
    network: str,
    socket: Path,
    runtime: str,
    interpreter: Path | None,
) -> None:
    """Write the plugin and a network's configuration; again, it changes nothing.

    The plugin is one file that needs a Python and nothing else. Exits 1,
    having written nothing, if there is a file of somebody else's.
    """
    plugins, configs = _absolute(plugins_dir), _absolute(config_dir)
    of_runtime, told = {"mesos": (mesos_network, MESOS), "podman": (podman_network, PODMAN)}[
        runtime
    ]
    _install(
        # The network last: without its plugin it would be a broken one.
        plugin_file("--plugins-dir", plugins / PLUGIN, _render("cni", socket, interpreter)),
        of_runtime("--config-dir", configs, network),
    )
    click.echo(told.format(plugins=plugins, configs=configs, network=network))


@click.group()
def netmodules() -> None:
    """The plugin of net-modules, for Mesos 0.26 to 0.28."""


@netmodules.command("install", short_help="Write the plugin.")
@click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, readable=False, path_type=Path),
    default=Path("/calico/calico_mesos"),
    show_default=True,
    help="What modules.json names as isolator_command and ipam_command.",
)
@_socket_option
@_interpreter_option
def install_netmodules_command(path: Path, socket: Path, interpreter: Path | None) -> None:
    """Write the plugin in place of calico_mesos; again, it changes nothing.

    Exits 1, having written nothing, if there is a file of somebody else's,
    such as calico_mesos itself.
    """
    path = _absolute(path)
    _install(plugin_file("--file", path, _render("netmodules", socket, interpreter)))
    commands = [{"key": f"{each}_command", "value": str(path)} for each in ("isolator", "ipam")]
    modules = [
        {"name": "com_mesosphere_mesos_NetworkIsolator", "parameters": commands},
        {"name": "com_mesosphere_mesos_NetworkHook"},
    ]
    listed = json.dumps({"libraries": [{"file": LIBRARY, "modules": modules}]}, indent=2)
    click.echo(
        f"\nmodules.json:\n{listed}\n\nThe Mesos agent's flags, beside its others:\n"
        f"  --modules=file://{path.with_name('modules.json')}\n"
        "  --isolation=com_mesosphere_mesos_NetworkIsolator\n"
        "  --hooks=com_mesosphere_mesos_NetworkHook"
    )


def _render(role: Role, socket: Path, interpreter: Path | None) -> str:
    # Not the virtual environment's name for it, which may go with that. One that
    # is named may be another machine's: it is not looked for here.
    python = Path(sys.executable).resolve() if interpreter is None else _absolute(interpreter)
    try:
        return render_plugin(role, _absolute(socket), python)
    except NotInstalled as error:
        raise click.ClickException(str(error)) from error


def _install(*files: File) -> None:
    try:
        done = install(*files)
    except NotInstalled as error:
        raise click.ClickException(str(error)) from error
    for each in done:
        click.echo(each)


def _absolute(path: Path) -> Path:
    return Path.cwd() / path
