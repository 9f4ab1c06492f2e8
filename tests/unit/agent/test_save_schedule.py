"""How often a state is saved of which nothing changed but the index of the store."""

from calico.datastore.api import Revision
from calico.keys import CALICO
from reconciler.agent.reconciliation.save_schedule import INDEX_AFTER, IndexSchedule


def saves_of_a_day(schedule: IndexSchedule, begin: float) -> list[float]:
    """When an index is saved that moves on every second, while nothing else happens."""
    saved = []
    for now in range(int(begin), int(begin) + 24 * 3600):
        reached = {CALICO: Revision(now)}
        if schedule.is_due(reached, now):
            schedule.note(reached, now, anew=False)
            saved.append(now - begin)
    return saved


def test_an_index_alone_is_saved_the_more_rarely_the_longer_nothing_else_changes() -> None:
    schedule = IndexSchedule()
    schedule.note({CALICO: Revision(1)}, 100.0, anew=True)

    saved = saves_of_a_day(schedule, 100.0)

    assert saved[:3] == [INDEX_AFTER, 3 * INDEX_AFTER, 7 * INDEX_AFTER]
    assert len(saved) == 10


def test_an_index_is_saved_soon_again_after_a_change() -> None:
    schedule = IndexSchedule()
    schedule.note({CALICO: Revision(1)}, 0.0, anew=True)
    saves_of_a_day(schedule, 0.0)

    schedule.note({CALICO: Revision(10**6)}, 90_000.0, anew=True)

    assert saves_of_a_day(schedule, 90_000.0)[0] == INDEX_AFTER


def test_an_index_that_is_saved_is_not_saved_again() -> None:
    schedule = IndexSchedule()
    schedule.note({CALICO: Revision(1)}, 0.0, anew=True)

    assert not schedule.is_due({CALICO: Revision(1)}, 1e9)
    assert schedule.is_due({CALICO: Revision(2)}, 1e9)
