"""`marathon-calico diags`: one file for whoever looks for a fault from elsewhere."""

import errno
import os
from pathlib import Path
from typing import BinaryIO

import click

from reconciler.cli.diags.bundle import Bundle, write_file
from reconciler.cli.diags.collecting import about, collect
from reconciler.cli.diags.redaction import Redaction
from reconciler.cli.options import EtcdSettings, etcd_options
from reconciler.cli.printing.render import clean
from reconciler.runtime.clock import SYSTEM_CLOCK


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The file, a tar.gz.",
)
@click.option("--force", is_flag=True, help="Also if there is such a file.")
@etcd_options
def diags(etcd: EtcdSettings, output: Path, force: bool) -> None:
    """Collect what shows a fault into one file, without secrets.

    All keys of the cluster, status, diff, holds and ipam check as JSON, the
    pages of all agents, and, with the rights of an agent, the nftables, links,
    routes and rules of the host that it runs on. What cannot be had is noted in
    about.json. Takes no longer than two minutes. Passwords, keys and tokens are
    masked; names of apps, hosts and groups, and addresses, are not.

    Exits 0 if the file was written, whatever is missing in it, else 2.
    """
    if not force and os.path.lexists(output):
        raise _refused(f"there is a file {str(output)!r}: name another, or give --force")
    now = SYSTEM_CLOCK.wall()
    redaction = Redaction(etcd.secrets)

    def fill(file: BinaryIO) -> None:
        bundle = Bundle(file, redaction, SYSTEM_CLOCK, now.timestamp())
        collect(bundle, etcd.open(), redaction, now)
        bundle.close(about(now, str(etcd)))
        for each in bundle.notes:
            if each.reason:
                click.echo(clean(f"{each.part}: {each.reason}"), err=True)

    try:
        write_file(output, fill, force=force)
    except OSError as error:
        why = "there is one now" if error.errno == errno.EEXIST else error.strerror
        raise _refused(f"{str(output)!r} cannot be written: {why}") from error
    click.echo(f"wrote {clean(str(output.absolute()))}")


def _refused(why: str) -> click.BadParameter:
    return click.BadParameter(why, param_hint="'-o' / '--output'")
