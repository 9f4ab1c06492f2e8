"""The last good state on disk."""

import hashlib
import os
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico.dataplane.changes import NamespaceRef
from calico.datastore.api import Key, Listing, Revision, Stored
from calico.keys import CALICO, READY
from calico.model import BootId, HostName, TaskId
from reconciler.agent.state_file import (
    RETRY_EVERY,
    WRITE_EVERY,
    SavedState,
    StateFileError,
    StateSaver,
    StateWritten,
    parse_state,
    read_state,
    render_state,
    seal,
    unseal,
    write_state,
)

HOST = HostName("h1")
STATE = SavedState(
    HOST,
    BootId("boot"),
    {CALICO: Listing(Revision(7), (Stored(READY, "true", Revision(3)),))},
    {TaskId("web.1"): NamespaceRef(100, 5, 4026)},
)

texts = st.text(max_size=20)
states = st.builds(
    SavedState,
    st.just(HOST),
    texts.map(BootId),
    st.dictionaries(
        texts.map(Key),
        st.builds(
            Listing,
            st.integers(0, 2**40).map(Revision),
            st.lists(
                st.builds(Stored, texts.map(Key), texts, st.integers(0, 99).map(Revision)),
                max_size=3,
            ).map(tuple),
        ),
        max_size=3,
    ),
    doubted=texts,
)


@given(states)
def test_what_is_written_is_read_back(state: SavedState) -> None:
    assert parse_state(render_state(state)) == state


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_file_with_one_wrong_byte_is_refused(position: int, flip: int) -> None:
    content = bytearray(render_state(STATE))[:-1]
    content[position % len(content)] ^= flip

    with pytest.raises(StateFileError):
        parse_state(bytes(content))


@given(st.binary(max_size=200))
def test_foreign_content_is_refused(content: bytes) -> None:
    with pytest.raises(StateFileError):
        parse_state(content)


def test_a_bottomless_nest_is_no_state() -> None:
    body = b'{"newer":' + b"[" * 100_000
    with pytest.raises(StateFileError, match="not a state file"):
        parse_state(hashlib.sha256(body).hexdigest().encode() + b"\n" + body + b"\n")


def test_a_file_of_before_doubts_were_saved_has_none() -> None:
    body = unseal(render_state(STATE)).replace(b',"doubted":""', b"")
    assert b"doubted" not in body
    assert parse_state(seal(body)) == STATE


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "below" / "state"
    write_state(path, render_state(STATE))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["state"]
    assert read_state(path, HOST) == STATE


def test_a_file_is_on_the_disk_before_and_after_it_takes_the_place_of_the_last(
    tmp_path: Path,
) -> None:
    done: list[str] = []

    def note(_: FrameType | None, event: str, function: object) -> None:
        if event == "c_call":
            done.append(getattr(function, "__name__", ""))

    sys.setprofile(note)
    try:
        write_state(tmp_path / "state", render_state(STATE))
    finally:
        sys.setprofile(None)

    order = [each for each in done if each in ("write", "flush", "fsync", "replace")]
    assert order == ["write", "flush", "fsync", "replace", "fsync"]


def test_a_torn_write_of_before_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "state"
    (tmp_path / "state.new").write_bytes(b"torn")

    write_state(path, render_state(STATE))

    assert read_state(path, HOST) == STATE


def ignore(_: StateWritten) -> None:
    """Nobody is told."""


def test_no_file_is_no_state(tmp_path: Path) -> None:
    assert read_state(tmp_path / "state", HOST) is None


def test_the_state_of_another_host_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_state(path, render_state(STATE))

    with pytest.raises(StateFileError, match="h1"):
        read_state(path, HostName("h2"))


def test_a_path_that_is_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(StateFileError, match="directory"):
        read_state(tmp_path, HOST)


def test_an_equal_state_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "state"
    saver = StateSaver(path, ignore)
    saver.write(STATE)
    before = path.stat().st_ino

    saver.write(STATE)

    assert path.stat().st_ino == before


def test_a_directory_that_vanished_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "state" / "file"
    saver = StateSaver(path, ignore)
    saver.write(STATE)
    path.unlink()
    path.parent.rmdir()

    saver.write(SavedState(HOST, BootId("other")))

    assert read_state(path, HOST) == SavedState(HOST, BootId("other"))


def test_a_write_that_fails_does_no_harm_and_is_tried_again(tmp_path: Path) -> None:
    obstacle = tmp_path / "obstacle"
    obstacle.touch()
    told: list[StateWritten] = []
    saver = StateSaver(obstacle / "state", told.append)
    # it is told once, with what to do
    assert not saver.write(STATE)
    assert not saver.write(STATE)
    (problem,) = told
    assert f"cannot be saved to {obstacle}/state: File exists; make room" in problem.problem
    obstacle.unlink()

    # and that it is over
    assert saver.write(STATE)
    assert saver.write(STATE)
    assert told == [problem, StateWritten()]
    assert read_state(obstacle / "state", HOST) == STATE


class Turns(threading.Event):
    """Lets a thread turn as often as something is to happen: each while it waits."""

    def __init__(self, *happens: Callable[[], None]) -> None:
        super().__init__()
        self._happens, self._left = list(happens), len(happens)
        self.waited: list[float | None] = []

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout)
        self._happens.pop(0)()
        return False


def test_what_could_not_be_written_is_tried_again_though_nothing_is_new(tmp_path: Path) -> None:
    # given a state that is posted once, while it cannot be written
    obstacle = tmp_path / "obstacle"
    obstacle.touch()
    saver = StateSaver(obstacle / "state", ignore)
    saver.post(STATE)
    turns = Turns(obstacle.unlink, lambda: None)

    saver.run(turns)

    assert turns.waited == [RETRY_EVERY, WRITE_EVERY]
    assert read_state(obstacle / "state", HOST) == STATE


def test_a_state_that_is_on_the_disk_already_ends_the_trouble(tmp_path: Path) -> None:
    # given a state that was saved, and a newer one that cannot be
    told: list[StateWritten] = []
    path = tmp_path / "folder" / "state"
    saver = StateSaver(path, told.append)
    saver.write(STATE)
    path.with_name("state.new").mkdir()
    assert not saver.write(SavedState(HOST, BootId("other")))
    # when that is of no interest any more
    assert saver.write(STATE)
    assert [bool(each.problem) for each in told] == [True, False]
