"""A minute of what `make chaos` does for ten."""

import pytest

from tests.chaos.plan import draw_plan
from tests.chaos.run import chaos

pytestmark = [pytest.mark.slow, pytest.mark.timeout(360)]
SEED, SECONDS = 2, 60.0


def test_nothing_leaks_and_no_connection_suffers_whatever_is_killed_stopped_or_cut() -> None:
    plan = draw_plan(SEED, SECONDS)
    print(*plan.lines(), sep="\n")

    with chaos(plan, print) as run:
        run.settle()
        run.wreak()
        run.converge()

    print(*run.figures.lines(), sep="\n")
    assert run.figures.actions == len(plan.actions)
    assert run.figures.forbidden > 1000
    assert run.figures.arrived > 1000
    assert len(run.figures.echoed) > 10
