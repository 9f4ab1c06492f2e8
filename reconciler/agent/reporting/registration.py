"""Who this host is: what an agent registers of it and how it says it is alive."""

import json
from datetime import datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from netaddr import IPAddress

from calico.datastore.api import Key
from calico.identifiers import check_host
from calico.keys import FELIX
from calico.model import BootId, HostName, HostRecord
from reconciler.runtime.clock import rfc3339

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
MACHINE_ID = Path("/etc/machine-id")
#: Seconds that the sign of life outlives its last renewal, and between renewals.
ALIVE_TTL = 90
ALIVE_EVERY = 30.0


def read_boot_id() -> BootId:
    """The kernel's id of this boot; raises OSError."""
    return BootId(BOOT_ID.read_text().strip())


def read_machine_id() -> str:
    """The machine's own id; empty where there is none, as in many containers."""
    try:
        return MACHINE_ID.read_text().strip()
    except OSError:
        return ""


@cache
def own_version() -> str:
    """The version of this program."""
    try:
        return version("marathon-calico")
    except PackageNotFoundError:
        return "unknown"


def host_record(
    host: HostName, address: IPAddress, others: tuple[IPAddress, ...], boot_id: BootId
) -> HostRecord:
    """What is registered of this host; the same at every start in one boot."""
    return HostRecord(
        name=host,
        address=address,
        boot_id=boot_id,
        machine_id=read_machine_id(),
        version=own_version(),
        others=others,
    )


def last_reported_key(host: HostName) -> Key:
    """Where it stays readable when an agent last said that it is alive."""
    return Key(f"{FELIX}/{check_host(host)}/last_reported_status")


def render_alive(now: datetime, uptime: float, first: bool, boot_id: BootId) -> str:
    """Felix's sign of life, as its readers know it, and beside it whose it is."""
    fields = {
        "time": rfc3339(now),
        "uptime": round(uptime, 1),
        "first_update": first,
        "boot_id": boot_id,
    }
    return json.dumps(fields, sort_keys=True)
