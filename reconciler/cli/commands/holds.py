"""`marathon-calico holds` and `cluster`: what waits for an operator, and the operator's word."""

import re
from datetime import datetime

import click

from calico.cluster import HoldRecord
from calico.errors import DatastoreError
from reconciler.cli.command import Unreachable, read, reads_cluster, show
from reconciler.cli.flags import Parsed
from reconciler.cli.judging.held import (
    adoptable,
    changed,
    done,
    list_holds,
    nothing_to_adopt,
    one_hold,
    show_cluster,
    show_holds,
    unreadable,
    would,
)
from reconciler.cli.options import EtcdSettings, etcd_options, output_option
from reconciler.cli.printing.render import Answer
from reconciler.cli.reading.cluster import Cluster
from reconciler.controller.pinned import pin_anew
from reconciler.controller.removal.approval import approve

_PLAN = re.compile(r"[0-9a-f]{12}")


def _parse_plan(text: str) -> str:
    if not _PLAN.fullmatch(text):
        raise ValueError(f"{text!r} is no plan")
    return text


PLAN = Parsed("PLAN", _parse_plan, "`holds` shows it: 12 of the characters 0-9 and a-f")


class ListedByDefault(click.Group):
    """A group that lists when it is told nothing else."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`holds -o json` is `holds list -o json`."""
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=ListedByDefault)
def holds() -> None:
    """What waits for an operator: list, show, approve. Without a command: list."""


@holds.command("list", short_help="What waits, and why.")
@reads_cluster
def list_command(cluster: Cluster, now: datetime) -> Answer:
    """What waits for an operator's word, and why; exits 0 also if something does.

    What is held is not lost: tasks keep their networks until a hold ends.

    \b
    Fields of -o json, a list of objects:
      kind (tasks, framework, groups, store), plan, subjects, reason, since,
      approved, remedy (the command that lets it go)
    """
    return list_holds(cluster, now)


@holds.command("show", short_help="One hold, with everything that waits.")
@click.argument("plan", type=PLAN, required=False)
@reads_cluster
def show_command(cluster: Cluster, now: datetime, plan: str | None) -> Answer:
    """The hold of that PLAN, or every one, with all that waits.

    \b
    Fields of -o json, a list of objects: as of `holds list`, and
      tasks   task, app, host, addresses and status (up, down, error or null)
              of each task whose removal waits
    """
    return show_holds(cluster, now, plan)


@holds.command("approve", short_help="Approve exactly one plan.")
@click.argument("plan", type=PLAN)
@click.option("--yes", is_flag=True, help="Do it. Without, only tell what would be done.")
@etcd_options
@output_option
def approve_command(etcd: EtcdSettings, output: str, plan: str, yes: bool) -> None:
    """Let exactly what waits under PLAN go, as `holds show PLAN` has it.

    If more, fewer or others wait by then, that is another plan, and nothing
    happens. The controller acts with its next list, within a minute.

    Exits 1 if something else waits by now, 2 without --yes and if there is no
    such plan.

    \b
    Fields of -o json:
      action (approved, would approve, refused), plans, reason
    """
    found = (one_hold(read(etcd), plan),)
    show(_let_go(etcd, found, "approved") if yes else would("approve", found), output)


@click.group()
def cluster() -> None:
    """What is pinned for the cluster as a whole: show, adopt."""


@cluster.command("show", short_help="Framework, takeovers, who is let in.")
@reads_cluster
def show_cluster_command(cluster: Cluster, now: datetime) -> Answer:  # noqa: ARG001 - a read has a time
    """What was decided once for the cluster as a whole.

    \b
    Fields of -o json:
      uuid, schema, framework (Marathon's, pinned by its first answer),
      marathon (the highest version seen), allow_from (who reaches the ports of
      each task, in any group), takeovers (a count that grows when a controller
      begins to lead, or has imported what agents held), adopted (ClusterGUIDs
      of etcd before it was emptied, set back or replaced, where what agents
      held of it was imported), holds (those that `cluster adopt` releases, as
      `holds list` has them)
    """
    return show_cluster(cluster)


@cluster.command("adopt", short_help="Accept another Marathon or etcd than before.")
@click.option("--yes", is_flag=True, help="Do it. Without, only tell what would be done.")
@etcd_options
@output_option
def adopt_command(etcd: EtcdSettings, output: str, yes: bool) -> None:
    """Accept that Marathon answers as another framework, or that etcd is another one.

    Lets the holds of kind framework and store go, and writes anew what is
    pinned for the cluster if that cannot be read. Tasks of ours that a new
    Marathon does not name stay held: `holds approve` is for them.

    Exits 1 if something else waits by now, 2 without --yes.

    \b
    Fields of -o json:
      action (adopted, would adopt, nothing to adopt, refused), plans, reason
    """
    state = read(etcd)
    found, anew = adoptable(state), unreadable(state)
    if not (found or anew):
        answer = nothing_to_adopt()
    else:
        answer = _let_go(etcd, found, "adopted", anew) if yes else would("adopt", found, anew)
    show(answer, output)


def _let_go(
    etcd: EtcdSettings, found: tuple[HoldRecord, ...], acted: str, anew: tuple[str, ...] = ()
) -> Answer:
    datastore = etcd.open()
    try:
        written = [pin_anew(datastore) for _ in anew]
        written.extend(approve(datastore, hold) for hold in found)
    except DatastoreError as error:
        raise Unreachable(str(error)) from error
    return done(acted, found, anew) if all(written) else changed(found)
