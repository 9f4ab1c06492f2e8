"""Options that several commands share, and what they mean for the cluster's processes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import click

from demo.embedded.directory import default_directory
from demo.embedded.hosts import HOST_LIMIT
from demo.marathon.era import DEFAULT_ERA, Era, parse_era

#: The ports of more would be those of others.
SEVERAL_LIMIT = 5
PORT = click.IntRange(0, 65535)

HOSTS = click.option(
    "--hosts",
    type=click.IntRange(1, HOST_LIMIT),
    default=2,
    show_default=True,
    help="Hosts that run tasks.",
)

ETCD_MEMBERS = click.option(
    "--etcd-members",
    type=click.IntRange(1, SEVERAL_LIMIT),
    default=1,
    show_default=True,
    help="Members of etcd; several with --supervised only.",
)

CONTROLLERS = click.option(
    "--controllers",
    type=click.IntRange(1, SEVERAL_LIMIT),
    default=1,
    show_default=True,
    help="Controllers on several hosts, of which one leads; with --supervised only, else Marathon "
    "runs two.",
)

APART = click.option(
    "--apart",
    type=click.IntRange(0, 50000),
    default=0,
    hidden=True,
    help="etcd and Marathon listen so many ports higher than all look for them.",
)

DIRECTORY = click.option(
    "--directory",
    type=click.Path(path_type=Path),
    default=default_directory,
    show_default="per user",
    help="Where the cluster keeps its control socket.",
)


ERA = click.option(
    "--era",
    default=str(DEFAULT_ERA),
    show_default=True,
    help="The version of Marathon to be, from 0.14 to 1.9; or in full, such as 1.3.6.",
)

ISOLATION = click.option(
    "--isolation",
    type=click.Choice(["netmodules"]),
    help="Attach tasks on unnamed networks before they run, as Mesos 0.26 did with net-modules.",
)


def parse_era_option(text: str) -> Era:
    """The era that an option names."""
    try:
        return parse_era(text)
    except ValueError as error:
        raise click.UsageError(f"--era {text}: {error}") from error


def render_arguments(
    era: Era, isolation: str | None, hosts: int, additions: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """What makes the cluster one of that era; what was added has the last word."""
    arguments: dict[str, tuple[str, ...]] = {"marathon": ("--era", era.version)}
    if isolation is not None:
        for number in range(1, hosts + 1):
            # The last Mesos that net-modules were made for.
            mesos = ("--isolation", isolation, "--mesos-version", "0.28")
            arguments[f"mesos-host-{number}"] = mesos
        # What a plugin attaches needs no search, and must not get a second address.
        arguments["agent"] = ("--locator", "none")
    for name, more in additions.items():
        arguments[name] = (*arguments.get(name, ()), *more)
    return arguments


def parse_additions(additions: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """What each `--add` adds, by process."""
    arguments: dict[str, tuple[str, ...]] = {}
    for addition in additions:
        name, equals, more = addition.partition("=")
        if not equals:
            raise click.UsageError(f"--add {addition}: PROCESS=ARGUMENTS is meant")
        arguments[name] = (*arguments.get(name, ()), *shlex.split(more))
    return arguments
