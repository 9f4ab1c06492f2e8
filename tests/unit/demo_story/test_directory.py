"""What is left of a cluster's directory once the cluster has ended."""

import os
from pathlib import Path

import pytest

from demo.embedded.directory import LOG_NAME, STATE_NAME
from demo.embedded.locked import AlreadyRunningError, LaunchError, remove, take


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory as a cluster leaves it."""
    directory = tmp_path / "cluster"
    os.close(take(directory))
    for name in (LOG_NAME, STATE_NAME):
        (directory / name).write_text("{}")
    return directory


def test_nothing_is_left_of_what_a_cluster_made(place: Path) -> None:
    remove(place)

    assert not place.exists()


def test_what_is_somebody_elses_stays_with_the_directory(place: Path) -> None:
    (place / "notes").write_text("mine")

    remove(place)

    assert [each.name for each in place.iterdir()] == ["notes"]


def test_a_directory_in_which_the_next_cluster_starts_is_left_alone(place: Path) -> None:
    lock = take(place)
    try:
        remove(place)

        assert (place / LOG_NAME).exists()
        with pytest.raises(AlreadyRunningError):
            take(place)
    finally:
        os.close(lock)


def test_a_directory_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(LaunchError, match="only its owner"):
        take(tmp_path)
