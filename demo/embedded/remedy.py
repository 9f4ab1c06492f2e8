"""Why a machine refuses namespaces, and what its owner can do about it."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path

from demo.embedded.namespaces import Refusal


@dataclass(frozen=True, slots=True)
class Machine:
    """What decides about namespaces; None where the kernel has no such switch."""

    apparmor_restricts: bool | None = None
    clone_allowed: bool | None = None
    namespaces_allowed: int | None = None
    container: bool = False


def read_machine() -> Machine:
    """Look at the switches of this machine."""
    restricted = _read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
    allowed = _read("/proc/sys/kernel/unprivileged_userns_clone")
    limit = _read("/proc/sys/user/max_user_namespaces")
    return Machine(
        apparmor_restricts=None if restricted is None else restricted != 0,
        clone_allowed=None if allowed is None else allowed != 0,
        namespaces_allowed=limit,
        container=any(Path(path).exists() for path in ("/.dockerenv", "/run/.containerenv")),
    )


def explain(refusal: Refusal, machine: Machine) -> str:
    """One message: what was refused, why most likely, and the command that allows it."""
    refused = (
        f"This machine refuses the cluster its {_describe(refusal.step)} "
        f"({errno.errorcode.get(refusal.code, refusal.code)})."
    )
    return f"{refused}\n{_remedy(refusal, machine)}"


def _describe(step: str) -> str:
    match step:
        case "user mapping":
            return "user namespace's mapping"
        case "mount /proc":
            return "own /proc"
        case "mount /run":
            return "own /run"
        case _:
            return step


def _remedy(refusal: Refusal, machine: Machine) -> str:
    if machine.namespaces_allowed == 0 or refusal.code == errno.ENOSPC:
        return "Allow user namespaces: sudo sysctl user.max_user_namespaces=15000"
    if machine.clone_allowed is False:
        return (
            "Unprivileged user namespaces are off (Debian 10 and earlier): "
            "sudo sysctl kernel.unprivileged_userns_clone=1"
        )
    if machine.apparmor_restricts:
        return (
            "AppArmor restricts unprivileged user namespaces (Ubuntu 23.10 and later):\n"
            "  sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0\n"
            "or give this Python an AppArmor profile with the rule `userns,`."
        )
    if refusal.step == "mount /proc":
        return (
            "Parts of /proc are masked, as in most containers: start the container with\n"
            "  docker run --security-opt systempaths=unconfined ...   or\n"
            "  podman run --security-opt unmask=ALL ..."
        )
    return (
        "In a container, start it with\n"
        "  --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
        "--security-opt systempaths=unconfined\n"
        "(and --cap-add SYS_ADMIN --cap-add NET_ADMIN where user namespaces are off), "
        "or use a machine of your own."
        if machine.container
        else "A seccomp filter or security module denies it; "
        "run on a plain Linux machine or virtual machine."
    )


def _read(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None
