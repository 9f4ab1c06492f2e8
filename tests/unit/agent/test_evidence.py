"""When a task is proven gone."""

from collections.abc import Iterable

from calico.dataplane.changes import NamespaceRef
from calico.model import TaskId
from reconciler.agent.observation.evidence import Evidence

WEB, DB = TaskId("web.1"), TaskId("db.1")
REF, OTHER = NamespaceRef(100, 1, 4026), NamespaceRef(200, 2, 4027)


class Processes:
    """The namespaces that processes are in."""

    def __init__(self, *inodes: int) -> None:
        self.inodes = set(inodes)

    def __call__(self, asked: Iterable[NamespaceRef]) -> set[NamespaceRef]:
        return {ref for ref in asked if ref.inode in self.inodes}


def test_a_task_is_gone_when_link_and_namespace_are() -> None:
    evidence = Evidence(Processes())
    evidence.wired(WEB, REF)

    evidence.weigh(desired=[WEB], linked=[])

    assert evidence.gone == {WEB}


def test_a_task_that_deleted_its_interface_is_not_gone() -> None:
    evidence = Evidence(Processes(REF.inode))
    evidence.wired(WEB, REF)

    evidence.weigh(desired=[WEB], linked=[])

    assert evidence.gone == frozenset()


def test_a_task_with_a_link_is_not_asked_about() -> None:
    evidence = Evidence(Processes())
    evidence.wired(WEB, REF)

    evidence.weigh(desired=[WEB], linked=[WEB])

    assert evidence.gone == frozenset()


def test_a_task_that_was_never_wired_is_not_gone() -> None:
    evidence = Evidence(Processes())

    evidence.weigh(desired=[WEB], linked=[])

    assert evidence.gone == frozenset()


def test_a_reused_namespace_number_does_not_keep_the_dead_alive() -> None:
    evidence = Evidence(Processes(REF.inode))
    evidence.wired(WEB, REF)
    evidence.wired(DB, NamespaceRef(300, 9, REF.inode))

    evidence.weigh(desired=[WEB, DB], linked=[DB])

    assert evidence.gone == {WEB}
    assert evidence.owner(REF.inode) == DB


def test_a_task_that_is_wired_anew_owns_a_reused_number() -> None:
    evidence = Evidence(Processes(REF.inode))
    evidence.wired(WEB, OTHER)
    evidence.wired(DB, REF)
    evidence.wired(WEB, NamespaceRef(300, 9, REF.inode))

    evidence.weigh(desired=[WEB, DB], linked=[WEB])

    assert evidence.gone == {DB}


def test_gone_lasts_until_the_task_is_withdrawn() -> None:
    processes = Processes()
    evidence = Evidence(processes)
    evidence.wired(WEB, REF)
    evidence.weigh(desired=[WEB], linked=[])

    processes.inodes.add(REF.inode)
    evidence.weigh(desired=[WEB], linked=[])
    assert evidence.gone == {WEB}

    evidence.weigh(desired=[], linked=[])
    assert (evidence.gone, evidence.attached) == (frozenset(), {})


def test_after_a_reboot_every_namespace_of_before_has_ended() -> None:
    evidence = Evidence(Processes(REF.inode, OTHER.inode))
    evidence.restore({WEB: REF}, same_boot=False)

    evidence.weigh(desired=[WEB], linked=[])

    assert evidence.gone == {WEB}


def test_a_restarted_agent_knows_what_it_wired() -> None:
    evidence = Evidence(Processes(REF.inode))
    evidence.restore({WEB: REF, DB: OTHER}, same_boot=True)

    evidence.weigh(desired=[WEB, DB], linked=[])

    assert evidence.gone == {DB}
