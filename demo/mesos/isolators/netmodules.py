"""net-modules, the network isolator of Mesos 0.26 to 0.28: calls the operator's RPC programs.

As the module itself it keeps what it knows of its containers in memory only, so
that after a restart of the agent it neither releases nor cleans up for those
that were started before.
"""

from __future__ import annotations

import json
import logging
import subprocess
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.mesos.isolators.api import Attached, IsolationFailed, with_addresses
from demo.mesos.records import Json

log = logging.getLogger(__name__)

MODULE = "com_mesosphere_mesos_NetworkIsolator"


@dataclass(frozen=True, slots=True)
class Programs:
    """The two programs of `modules.json`; usually they are one."""

    ipam: str
    isolator: str


def read_modules(path: Path) -> Programs:
    """The programs that an operator's `modules.json` names; raises ValueError."""
    try:
        libraries = json.loads(path.read_text())["libraries"]
        (found,) = [
            {entry["key"]: entry["value"] for entry in module["parameters"]}
            for library in libraries
            for module in library["modules"]
            if module["name"] == MODULE
        ]
        return Programs(found["ipam_command"], found["isolator_command"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no {MODULE} with ipam_command and isolator_command") from error


class NetModulesIsolator:
    """Gives containers on an unnamed network one IPv4 address each."""

    name = "netmodules"

    def __init__(self, programs: Programs, hostname: str) -> None:
        self._programs = programs
        self._hostname = hostname
        # Mesos calls the module from one actor: its containers wait for each other.
        self._turn = threading.Lock()
        self._addresses: dict[str, tuple[str, ...]] = {}

    def attach(self, container_id: str, pid: int, networks: tuple[Json, ...]) -> Attached:
        """See Isolator: prepare, then isolate."""
        info = networks[0]
        with self._turn:
            addresses = self._prepare(info)
            self._addresses[container_id] = addresses
            self._ask(
                self._programs.isolator,
                "isolate",
                "Error running isolate command",
                {
                    "hostname": self._hostname,
                    "container_id": container_id,
                    "pid": pid,
                    "ipv4_addrs": list(addresses),
                    "ipv6_addrs": [],
                    **_described(info),
                },
            )
        pairs = tuple(("IPv4", address) for address in addresses)
        return Attached((with_addresses(info, pairs),), {"LIBPROCESS_IP": addresses[0]})

    def detach(self, container_id: str) -> None:
        """See Isolator: release the addresses, then clean up; in this order."""
        with self._turn:
            addresses = self._addresses.get(container_id)
            if addresses is None:
                log.warning("cleanup of an unknown container", extra={"container": container_id})
                return
            self._ask(
                self._programs.ipam,
                "release",
                "Error releasing IP from IPAM",
                {"ips": list(addresses)},
            )
            self._ask(
                self._programs.isolator,
                "cleanup",
                "Error doing cleanup",
                {"hostname": self._hostname, "container_id": container_id},
            )
            del self._addresses[container_id]

    def leftovers(self) -> frozenset[str]:
        """See Isolator: it knows of none."""
        return frozenset()

    def _prepare(self, info: Json) -> tuple[str, ...]:
        wanted = info.get("ip_addresses") or [{"protocol": "IPv4"}]
        given = [entry["ip_address"] for entry in wanted if entry.get("ip_address")]
        common: Json = {
            "hostname": self._hostname,
            "uid": str(uuid.uuid4()),
            **_described(info),
        }
        if given:
            self._ask(
                self._programs.ipam,
                "reserve",
                "Error reserving IPs from IPAM",
                {**common, "ipv4_addrs": given, "ipv6_addrs": []},
            )
        count = len(wanted) - len(given)
        if count == 0:
            return tuple(given)
        answer = self._ask(
            self._programs.ipam,
            "allocate",
            "Error allocating IP from IPAM",
            {**common, "num_ipv4": count, "num_ipv6": 0},
        )
        allocated = answer.get("ipv4") or []
        if not allocated:
            raise IsolationFailed("No IPv4 addresses received from IPAM.")
        return (*given, *map(str, allocated))

    def _ask(self, program: str, command: str, trouble: str, args: Json) -> Json:
        request = json.dumps({"command": command, "args": args})
        try:
            done = subprocess.run(
                [program],
                input=request,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
            answer: Any = json.loads(done.stdout)
        except OSError as error:
            raise IsolationFailed(f"{trouble}: {error}") from error
        except ValueError as error:
            raise IsolationFailed(
                f"{trouble}: Error parsing output '{done.stdout}' to JSON string{done.stderr}"
            ) from error
        # The exit status is not looked at, nor what is written to stderr.
        if not isinstance(answer, dict) or answer.get("error") is not None:
            told = answer.get("error") if isinstance(answer, dict) else answer
            raise IsolationFailed(f"{trouble}: {program} returned error: {json.dumps(told)}")
        return answer


def _described(info: Json) -> Json:
    labels = (info.get("labels") or {}).get("labels") or []
    return {"netgroups": list(info.get("groups") or []), "labels": list(labels)}
