"""What every reading command shares: read the cluster, answer, print, exit."""

import functools
import sys
from collections.abc import Callable
from datetime import datetime
from typing import IO, Any, Concatenate, ParamSpec

import click

from calico.errors import DatastoreError
from reconciler.cli.options import EtcdSettings, etcd_options, output_option
from reconciler.cli.printing.render import Answer, clean, write
from reconciler.cli.reading.cluster import Cluster, read_cluster
from reconciler.runtime.clock import SYSTEM_CLOCK

Arguments = ParamSpec("Arguments")


class NoSuchThing(click.ClickException):
    """What was named does not exist, or is several things; exit code 2."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """One or more lines on stderr."""
        click.echo(_lines(self.message), file=file, err=True)


class Unreachable(click.ClickException):
    """The datastore did not answer or will not serve; exit code 3."""

    exit_code = 3

    def show(self, file: IO[Any] | None = None) -> None:
        """One line on stderr."""
        click.echo(f"Error: {clean(self.message)}", file=file, err=True)


def _lines(message: str) -> str:
    return "\n".join(clean(line) for line in f"Error: {message}".split("\n"))


def reads_cluster(
    judge: Callable[Concatenate[Cluster, datetime, Arguments], Answer],
) -> Callable[..., None]:
    """Turn a pure function of the cluster and the time into a command's callback."""

    def callback(
        etcd: EtcdSettings, output: str, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> None:
        show(judge(read(etcd), SYSTEM_CLOCK.wall(), *args, **kwargs), output)

    described: Callable[..., None] = functools.wraps(judge)(callback)
    return etcd_options(output_option(described))


def show(answer: Answer, output: str) -> None:
    """Print an answer and exit as it says."""
    write(answer, output, sys.stdout)
    if answer.note and output == "table":
        click.echo(clean(answer.note), err=True)
    click.get_current_context().exit(answer.exit_code)


def read(etcd: EtcdSettings) -> Cluster:
    """Read the cluster; raises Unreachable with one line that names URL and remedy."""
    try:
        return read_cluster(etcd.open())
    except DatastoreError as error:
        raise Unreachable(str(error)) from error
