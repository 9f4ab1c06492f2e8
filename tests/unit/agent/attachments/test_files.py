"""The files that containers' networks are kept in."""

from dataclasses import replace
from pathlib import Path

import pytest

from calico.model import BootId, ContainerId
from reconciler.agent.attachments.files import (
    AttachmentFiles,
    KeptAttachment,
    parse_attachment,
    render_attachment,
)
from reconciler.agent.state_file import StateFileError, seal
from tests.unit.agent.attachments.samples import attachment

BOOT = BootId("boot-1")
BARE = replace(attachment("c-1", "192.168.0.1", "fd80::1"), runs="web.1")
WIRED = replace(attachment("x.json.new", "192.168.0.2", inode=7), known_as="other", claimed=True)
GONE = replace(attachment(".hidden", "192.168.0.3", inode=8), detached=True)


@pytest.mark.parametrize("each", [BARE, WIRED, GONE])
def test_what_is_written_is_read_back(tmp_path: Path, each: KeptAttachment) -> None:
    files = AttachmentFiles(tmp_path / "made", BOOT)

    files.write(replace(each, since="before"))
    files.write(each)

    (found,) = files.read()
    assert found == each
    if each.namespace is not None and found.namespace is not None:
        assert (found.namespace.cookie, found.namespace.path) == (
            each.namespace.cookie,
            each.namespace.path,
        )


def test_what_is_removed_is_gone_and_removing_twice_is_fine(tmp_path: Path) -> None:
    files = AttachmentFiles(tmp_path, BOOT)
    for each in (BARE, WIRED):
        files.write(each)

    for _ in range(2):
        files.remove(BARE.container)

    assert files.read() == (WIRED,)


def test_a_reboot_has_detached_every_container(tmp_path: Path) -> None:
    AttachmentFiles(tmp_path, BOOT).write(WIRED)

    assert AttachmentFiles(tmp_path, BootId("boot-2")).read() == (replace(WIRED, detached=True),)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(seal(render_attachment(BARE, BOOT))[:-30], id="torn"),
        pytest.param(seal(render_attachment(BARE, BOOT)).replace(b"192", b"193"), id="edited"),
        pytest.param(seal(b"{}"), id="of another form"),
        pytest.param(
            seal(render_attachment(BARE, BOOT).replace(b'"version":1', b'"version":9')),
            id="of a later version",
        ),
        pytest.param(
            seal(render_attachment(replace(BARE, container=ContainerId("../x")), BOOT)),
            id="of a container that cannot be",
        ),
    ],
)
def test_a_file_that_cannot_be_believed_is_thrown_away(tmp_path: Path, content: bytes) -> None:
    files = AttachmentFiles(tmp_path, BOOT)
    files.write(WIRED)
    (tmp_path / "c-1.json").write_bytes(content)
    (tmp_path / "c-9.json.new").write_bytes(b"left by a crash")

    assert files.read() == (WIRED,)
    assert [path.name for path in tmp_path.iterdir()] == ["x.json.new.json"]


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    AttachmentFiles(tmp_path / "made", BOOT).write(BARE)

    (path,) = (tmp_path / "made").iterdir()
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_a_number_in_the_place_of_a_text_is_refused() -> None:
    with pytest.raises(StateFileError):
        parse_attachment(render_attachment(BARE, BOOT).replace(b'"c-1"', b"1"))
