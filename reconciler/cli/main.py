"""`marathon-calico`: the group of all commands, each imported when it is called.

The agent must start without rich, and `--help` must work on a machine that
lacks what one of the commands needs.
"""

import importlib

import click

ENVIRONMENT_PREFIX = "MARATHON_CALICO"

#: Command -> where among the modules of `commands` it is defined, and its line in `--help`.
COMMANDS = {
    "agent": ("agent:agent", "Make this host's kernel hold what etcd asks for."),
    "cluster": (
        "holds:cluster",
        "What is pinned for the whole, and to accept another Marathon or etcd.",
    ),
    "cni": ("cni:cni", "Put the CNI plugin where Mesos or podman calls it."),
    "controller": (
        "controller:controller",
        "Follow Marathon and write each task's network into etcd.",
    ),
    "describe": ("describe:describe", "All about one task: desired and actual."),
    "diags": ("diags:diags", "One file for whoever looks for a fault, without secrets."),
    "diff": ("diff:diff", "Where what agents report differs from what is desired."),
    "dns": ("dns:dns", "Answer for the names of tasks, and pass other questions on."),
    "get": ("get:get", "List tasks, hosts, groups or pools."),
    "holds": ("holds:holds", "What waits for an operator, and how to approve it."),
    "hosts": ("hosts:hosts", "List hosts, or forget one that is gone."),
    "ipam": ("ipam:ipam", "Who has which address, and whether all are accounted for."),
    "netmodules": ("cni:netmodules", "Put the plugin where net-modules calls it."),
    "status": ("status:status", "Whether all is as it should be, on one screen."),
    "why": ("why:why", "Whether one task reaches another, and what decides it."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports only the one called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names in the order of `--help`."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import a command; None if there is no such."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(
            importlib.import_module(f"reconciler.cli.commands.{module}"), attribute
        )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """The list in `--help`, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in sorted(COMMANDS.items())])


def _print_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        # Slow to import, and asked for by people only.
        from importlib.metadata import version  # noqa: PLC0415 - see above

        click.echo(f"marathon-calico {version('marathon-calico')}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={
        "auto_envvar_prefix": ENVIRONMENT_PREFIX,
        "help_option_names": ["-h", "--help"],
    },
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version and exit.",
)
def main() -> None:
    """An address and group isolation for every Marathon task.

    Exit codes: 0 as it should be, 1 it is not, 2 usage or no such thing,
    3 unreachable or unknown.
    """
