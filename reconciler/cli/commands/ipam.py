"""`marathon-calico ipam`: who has which address, and whether the books agree."""

import time
from datetime import datetime

import click
from netaddr import IPAddress

from calico.addressing import ipam as blocks
from calico.addressing.addresses import Addresses
from calico.addressing.audit import AddressState, HeldAddress
from calico.errors import DatastoreError, InvalidValue
from reconciler.cli.command import NoSuchThing, Unreachable, read, reads_cluster, show
from reconciler.cli.flags import ADDRESS
from reconciler.cli.judging.addresses import (
    app_of,
    container_of,
    judge_address,
    judge_check,
    judge_show,
)
from reconciler.cli.options import EtcdSettings, etcd_options, output_option
from reconciler.cli.printing.render import Answer, Lines, joined
from reconciler.cli.reading.cluster import Cluster
from reconciler.cli.reading.usage import Usage, findings_of, has_block, pools_of, usage_of

#: What is being written right now looks wrong for an instant, so it is looked
#: at again after so many seconds.
SETTLE = 2.0
#: The exit code of a command that was not told to act.
WOULD_ACT = 2


@click.group()
def ipam() -> None:
    """Who has which address: show, check, release."""


@ipam.command("show", short_help="Pools and blocks, or who has one address.")
@click.argument("asked", metavar="[ADDRESS]", type=ADDRESS, required=False)
@click.option("--address", type=ADDRESS, help="The same as ADDRESS.")
@reads_cluster
def show_command(
    cluster: Cluster,
    now: datetime,  # noqa: ARG001 - a read has a time
    asked: IPAddress | None,
    address: IPAddress | None,
) -> Answer:
    """Pools and blocks with their use, or who has ADDRESS.

    An address is free, assigned (to a task, or kept for one, or of a container
    that is attached and not known to be a task yet), resting (its task
    ended: it is given again when every host let go of it and two minutes have
    passed), foreign (another orchestrator's) or leaked (held by somebody of
    whom there is no endpoint). Exits 2 if the address is in no pool.

    \b
    Fields of -o json:
      pools    pool, size, free, assigned, resting, foreign, leaked, blocks,
               options
      blocks   block, host (null for none), strict, free, assigned, resting,
               foreign, leaked; all null but block if it cannot be read
    With ADDRESS:
      address, state, pools, block, host, handle, attributes, endpoints (task,
      host), app, container (that it was given to before a task ran, or null)
    """
    if asked is not None and address not in (None, asked):
        raise click.UsageError(f"one address at a time: {asked} or --address {address}")
    usage = usage_of(cluster)
    chosen = asked if asked is not None else address
    return judge_show(cluster, usage) if chosen is None else judge_address(cluster, usage, chosen)


@ipam.command("check", short_help="Whether every address is accounted for.")
@etcd_options
@output_option
def check_command(etcd: EtcdSettings, output: str) -> None:
    """Whether every address is accounted for; exits 1 if anything is wrong.

    Counts what every address of every pool is, and looks for addresses that are
    leaked, used twice, used without being allocated or held by another, for
    blocks and handles that break Calico's rules, and for claims that lead
    nowhere. What is wrong only for an instant is not told: it looks twice. What
    writes that came to nothing leave is harmless, and no more than a note while
    a controller leads, which mends it within minutes.

    \b
    Fields of -o json:
      ok         whether nothing is wrong
      pools      as in `ipam show`; the states add up to size
      addresses  address, state, block, host, handle, attributes, endpoints
                 (task, host), app, container: each that is not free
      findings   subject, kind, reason, transient (no more than a note)
      waits_for  hosts that resting addresses wait for
    """
    cluster = read(etcd)
    usage = usage_of(cluster)
    findings = findings_of(cluster, usage)
    if findings:
        time.sleep(SETTLE)
        cluster = read(etcd)
        usage = usage_of(cluster)
        findings = tuple(each for each in findings_of(cluster, usage) if each in findings)
    show(judge_check(cluster, usage, findings), output)


@ipam.command("release", short_help="Take an address from an owner that is gone.")
@click.argument("address", type=ADDRESS)
@click.option("--yes", is_flag=True, help="Do it. Without, only tell what would be done.")
@etcd_options
@output_option
def release_command(etcd: EtcdSettings, output: str, address: IPAddress, yes: bool) -> None:
    """Take ADDRESS from an owner that is gone, so that it can be given again.

    This is for what another orchestrator left behind. One that an endpoint
    uses, that is kept for a task, or that rests is refused with exit code 1:
    addresses of ended tasks come back by themselves, and `hosts forget` ends
    the wait for a lost host. Nothing that holds it is told: be sure that its
    owner is gone. Without --yes it exits 2.

    \b
    Fields of -o json:
      address, action (released, would release, refused, nothing), handle,
      reason
    """
    cluster = read(etcd)
    usage = usage_of(cluster)
    answer = judge_release(cluster, usage, address)
    before = usage.held.get(address)
    if yes and answer.exit_code == WOULD_ACT:
        # Its owner may be about to write the endpoint.
        time.sleep(SETTLE)
        cluster = read(etcd)
        usage = usage_of(cluster)
        answer = judge_release(cluster, usage, address)
        found = usage.held.get(address)
        if answer.exit_code == WOULD_ACT and found is not None:
            answer = _release(etcd, found, unchanged=found == before)
    show(answer, output)


def _release(etcd: EtcdSettings, found: HeldAddress, *, unchanged: bool) -> Answer:
    handle = found.allocation.handle
    try:
        released = unchanged and Addresses(etcd.open()).release(handle, found.address)
    except DatastoreError as error:
        raise Unreachable(str(error)) from error
    except InvalidValue as error:
        return _outcome(found.address, "refused", handle, f"its block cannot be read: {error}", 1)
    if released:
        return _outcome(found.address, "released", handle, f"{_holder(handle)} held it", 0)
    return _outcome(found.address, "refused", handle, "its owner changed just now", 1)


def judge_release(cluster: Cluster, usage: Usage, address: IPAddress) -> Answer:
    """Whether an address may be taken from its owner; exit code 2 is that it may."""
    cidr = blocks.block_of(address)
    users = usage.who.users.get(address, ())
    if users:
        names = joined(f"{user.workload} on {user.host}" for user in users)
        return _outcome(address, "refused", None, f"{names} uses it", 1)
    if cluster.books.is_unreadable(cidr):
        return _outcome(address, "refused", None, f"its block {cidr} cannot be read", 1)
    found = usage.held.get(address)
    if found is None:
        if not has_block(cluster, address) and not pools_of(address, cluster.snapshot.pools):
            raise NoSuchThing(f"{address} is in no pool and in no block; see `ipam show`")
        return _outcome(address, "nothing", None, "it is free", 0)
    handle = found.allocation.handle
    if found.state is AddressState.ASSIGNED and found.allocation.unclaimed:
        reason = f"{container_of(found)} has it, and no task claimed it yet"
        return _outcome(address, "refused", handle, reason, 1)
    if found.state is AddressState.ASSIGNED:
        app = app_of(cluster, found)
        whose = f" of {app}" if app else ""
        reason = f"it is kept for task {handle}{whose}, which has no endpoint yet"
        return _outcome(address, "refused", handle, reason, 1)
    if found.state is AddressState.RESTING:
        reason = f"it was {handle}'s and {_how_it_comes_back(cluster, usage)}"
        return _outcome(address, "refused", handle, reason, 1)
    if usage.unclear:
        # Which addresses those have is unknown, and unknown is not none.
        reason = f"{usage.unclear[0]} cannot be read, so it may use it: correct that first"
        return _outcome(address, "refused", handle, reason, 1)
    reason = f"{_holder(handle)} holds it, and no endpoint has it"
    return _outcome(address, "would release", handle, reason, WOULD_ACT)


def _how_it_comes_back(cluster: Cluster, usage: Usage) -> str:
    """When an address that rests is given back, and what helps: nothing shortens its rest.

    How long it rested only the leading controller knows, and that no host has
    it any more only hosts do.
    """
    told = "rests: it comes back by itself two minutes after every host let go of it"
    if usage.waits_for:
        told += f"; {joined(usage.waits_for)} did not yet: if that host is gone, `hosts forget` it"
    if cluster.leader is None:
        told += "; no controller is active to give it back: start one"
    return told


def _outcome(
    address: IPAddress, action: str, handle: str | None, reason: str, exit_code: int
) -> Answer:
    data = {"address": str(address), "action": action, "handle": handle, "reason": reason}
    line = {
        "released": f"released {address}: {reason}",
        "would release": f"would release {address}: {reason}; --yes does it",
        "nothing": f"nothing to do for {address}: {reason}",
    }.get(action, f"REFUSED {address}: {reason}")
    return Answer(data, (Lines((line,)),), exit_code)


def _holder(handle: str | None) -> str:
    return handle or "an owner without a name (a host's tunnel, perhaps)"
