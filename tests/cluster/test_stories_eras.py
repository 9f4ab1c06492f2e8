"""The stories on other Marathons than the demo's, and with other ways to a network."""

import pytest

from demo.marathon.era import Era
from demo.stories.told.programme import tell
from tests.cluster.harness import Drive, launched
from tests.cluster.storytelling import quiet, start_again_at_once

pytestmark = pytest.mark.slow
NEWEST, OTHERS = Era(1, 9), (Era(0, 14), Era(1, 5))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The newest form always, the others in long runs: each takes half a minute."""
    if "told_era" in metafunc.fixturenames:
        more = OTHERS if metafunc.config.getoption("--soak") else ()
        metafunc.parametrize("told_era", (NEWEST, *more), ids=str)


@pytest.mark.parametrize(
    ("era", "more"),
    [
        pytest.param(Era(1, 9), (), id="1.9 by CNI"),
        pytest.param(Era(0, 15), ("--isolation", "netmodules"), id="0.15 by net-modules"),
    ],
)
def test_also_where_a_plugin_attaches_tasks(era: Era, more: tuple[str, ...]) -> None:
    with launched("--era", str(era), *more) as running, Drive.of(running.cluster) as drive:
        start_again_at_once(quiet(drive, era), "star")


@pytest.mark.soak
def test_the_stories_are_told_in_each_era(told_era: Era) -> None:
    with launched("--era", str(told_era)) as running, Drive.of(running.cluster) as drive:
        tell(quiet(drive, told_era))
