"""What keeps an agent from starting."""

from pathlib import Path

import pytest

from reconciler.agent.preflight import (
    NotFit,
    expect_no_felix,
    expect_settings,
    expect_state_directory,
    felix_processes,
    missing_capabilities,
)


@pytest.mark.parametrize(
    ("effective", "missing"),
    [
        pytest.param("000001ffffffffff", (), id="root"),
        pytest.param("0000000000001000", ("CAP_SYS_ADMIN", "CAP_SYS_PTRACE"), id="network only"),
        pytest.param("0000000000201000", ("CAP_SYS_PTRACE",), id="no other user's processes"),
        pytest.param(
            "0000000000000000", ("CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE"), id="nobody"
        ),
    ],
)
def test_missing_capabilities_are_named(effective: str, missing: tuple[str, ...]) -> None:
    status = f"Name:\tpython\nCapInh:\t0000000000000000\nCapEff:\t{effective}\n"

    assert missing_capabilities(status) == missing


def test_a_state_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    obstacle = tmp_path / "file"
    obstacle.touch()

    with pytest.raises(NotFit, match="--state-dir"):
        expect_state_directory(obstacle / "state")


def test_a_state_directory_is_made_and_left_empty(tmp_path: Path) -> None:
    expect_state_directory(tmp_path / "a" / "b")

    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_settings_that_cannot_be_written_are_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(NotFit, match="cannot be written") as caught:
        expect_settings(tmp_path)
    assert "--security-opt systempaths=unconfined" in str(caught.value)


def test_settings_are_left_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "ipv4").mkdir()
    setting = tmp_path / "ipv4/ip_forward"
    setting.write_text("0\n")
    expect_settings(tmp_path)
    assert setting.read_text() == "0\n"


def process(root: Path, pid: str, *command: str, network: str = "") -> None:
    """A process as /proc shows it, in our network namespace or another."""
    (root / pid / "ns").mkdir(parents=True)
    (root / pid / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in command))
    target = root / (network or "ours")
    target.touch()
    (root / pid / "ns/net").hardlink_to(target)


@pytest.mark.parametrize(
    ("command", "found"),
    [
        pytest.param(("calico-felix",), True, id="binary"),
        pytest.param(("/usr/bin/python", "-s", "/usr/bin/calico-felix"), True, id="script"),
        pytest.param(("/bin/calico-node", "-felix"), True, id="part of calico-node"),
        pytest.param(("calico-node", "-bird"), False, id="another part"),
        pytest.param(("tail", "-f", "/var/log", "calico-felix"), False, id="only named"),
        pytest.param((), False, id="thread of the kernel"),
    ],
)
def test_felix_is_known_by_its_command(
    tmp_path: Path, command: tuple[str, ...], found: bool
) -> None:
    process(tmp_path, "self", "agent")
    process(tmp_path, "12", *command)

    assert list(felix_processes(tmp_path)) == ([12] if found else [])


def test_felix_of_another_network_is_no_rival(tmp_path: Path) -> None:
    process(tmp_path, "self", "agent")
    process(tmp_path, "12", "calico-felix", network="theirs")

    expect_no_felix((), tmp_path)


def test_felix_is_refused_with_the_remedy(tmp_path: Path) -> None:
    process(tmp_path, "self", "agent")
    with pytest.raises(NotFit, match=r"cali-FORWARD.*remove its chains"):
        expect_no_felix(("cali-FORWARD",), tmp_path)

    process(tmp_path, "12", "calico-felix")
    with pytest.raises(NotFit, match=r"process 12.*stop it first"):
        expect_no_felix((), tmp_path)
