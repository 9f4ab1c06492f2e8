"""Whether another machine goes by this host's name, as a cloned or renamed one does.

Both would speak for all tasks of that name: what one of them has let go of, the
other may still have. So an agent tells nothing under a name that lives on
another machine.
"""

import json
from contextlib import suppress
from dataclasses import dataclass

from calico.codec import decode_host
from calico.datastore.api import Datastore, Stored
from calico.errors import CalicoError, InvalidValue
from calico.keys import felix_status_key
from calico.model import BootId, HostName
from reconciler.agent.reporting.registration import ALIVE_TTL


class NameTaken(CalicoError):
    """Another machine, whose agent lives, has registered under this host's name."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What tells this machine from others; a `machine_id` that is empty tells nothing."""

    boot_id: BootId
    machine_id: str


def expect_own_name(
    datastore: Datastore, host: HostName, own: Machine, registered: Stored | None
) -> None:
    """Raise NameTaken if another machine is `registered` and its agent lives.

    A machine that was rebooted has its id still. One that was installed anew
    has another, and has the name once the last sign of life of the one before
    has expired, or an operator declared that one gone. Raises DatastoreError.
    """
    if registered is None or not own.machine_id:
        return
    try:
        other = decode_host(host, registered.value)
    except InvalidValue:
        return
    if other.boot_id == own.boot_id or other.machine_id in ("", own.machine_id):
        return
    if other.forgotten:
        return
    alive = datastore.get(felix_status_key(host))
    if alive is None or _boot_of(alive.value) == own.boot_id:
        return
    raise NameTaken(
        f"{host} is the name of another machine, whose agent at {other.address} was alive within"
        f" the last {ALIVE_TTL} seconds: stop that agent, or give this host a name of its own"
        " by --host"
    )


def _boot_of(alive: str) -> object:
    """The boot in which an agent gave a sign of life; None if that does not tell."""
    with suppress(ValueError):
        fields = json.loads(alive)
        if isinstance(fields, dict):
            return fields.get("boot_id")
    return None
