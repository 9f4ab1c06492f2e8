"""What keeps an agent from starting."""

from pathlib import Path

import pytest

from reconciler.agent.preflight import (
    NotFit,
    expect_settings,
    expect_state_directory,
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
    assert "mount /proc/sys/net for writing" in str(caught.value)


def test_settings_are_left_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "ipv4").mkdir()
    setting = tmp_path / "ipv4/ip_forward"
    setting.write_text("0\n")
    expect_settings(tmp_path)
    assert setting.read_text() == "0\n"
