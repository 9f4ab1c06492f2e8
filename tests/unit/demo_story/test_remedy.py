"""What a person is told where namespaces are refused."""

import errno

import pytest

from demo.embedded.namespaces import Refusal
from demo.embedded.remedy import Machine, explain


@pytest.mark.parametrize(
    ("refusal", "machine", "remedy"),
    [
        pytest.param(
            Refusal("user mapping", errno.EPERM),
            Machine(apparmor_restricts=True),
            "kernel.apparmor_restrict_unprivileged_userns=0",
            id="Ubuntu's AppArmor",
        ),
        pytest.param(
            Refusal("user namespace", errno.EPERM),
            Machine(clone_allowed=False),
            "kernel.unprivileged_userns_clone=1",
            id="an old Debian",
        ),
        pytest.param(
            Refusal("user namespace", errno.ENOSPC),
            Machine(namespaces_allowed=0),
            "user.max_user_namespaces",
            id="none allowed",
        ),
        pytest.param(
            Refusal("mount /proc", errno.EPERM),
            Machine(container=True),
            "systempaths=unconfined",
            id="a container that masks /proc",
        ),
        pytest.param(
            Refusal("user namespace", errno.EPERM),
            Machine(container=True),
            "seccomp=unconfined",
            id="a container's seccomp filter",
        ),
        pytest.param(
            Refusal("user namespace", errno.EPERM), Machine(), "virtual machine", id="unknown"
        ),
    ],
)
def test_a_refusal_names_its_remedy(refusal: Refusal, machine: Machine, remedy: str) -> None:
    message = explain(refusal, machine)

    assert remedy in message
    assert errno.errorcode[refusal.code] in message
