"""What all tests share: how often they repeat things."""

import pytest
from hypothesis import settings

from tests.counts import FEW, MANY, Counts

#: Seconds that one test may take under --soak.
SOAK_TIMEOUT = 1800
#: What takes longest begins first, or else a run's last minute has one test only.
LONGEST = (
    "tests/cluster/test_pages.py",
    "tests/cluster/test_attached.py",
    "tests/cluster/test_kills.py",
    "tests/cluster/test_chaos.py",
    "tests/cluster/test_stories.py",
    "tests/cluster/test_eras.py",
    "tests/cluster/test_isolation.py",
    "tests/cluster/test_restore.py",
    "tests/cluster/test_start_order.py",
    "tests/cluster/test_stories_eras.py",
    "tests/cluster/test_as_apps.py",
    "tests/cluster/test_late_word.py",
    "tests/cluster/test_lifetime.py",
    "tests/contract/attach/test_attach_kills.py",
    "tests/contract/controllers/test_leadership.py",
    "tests/contract/controllers/test_held.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--soak", action="store_true", help="repeat the tests marked `soak` more often, for long"
    )


def pytest_configure(config: pytest.Config) -> None:
    # How long one example takes says more of the machine than of the law.
    settings.register_profile("any machine", deadline=None)
    settings.load_profile("any machine")
    config.addinivalue_line("markers", "soak: repeats something, under --soak many times")
    config.addinivalue_line("markers", "only_soak: takes too long to run without --soak")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=_turn)
    if config.getoption("--soak"):
        for item in items:
            if item.get_closest_marker("soak"):
                item.add_marker(pytest.mark.timeout(SOAK_TIMEOUT))
        return
    longest = [item for item in items if item.get_closest_marker("only_soak")]
    if longest:
        config.hook.pytest_deselected(items=longest)
        items[:] = [item for item in items if item not in longest]


def _turn(item: pytest.Item) -> int:
    file = item.nodeid.partition("::")[0]
    return LONGEST.index(file) if file in LONGEST else len(LONGEST)


@pytest.fixture(scope="session")
def counts(pytestconfig: pytest.Config) -> Counts:
    """How often to repeat."""
    return MANY if pytestconfig.getoption("--soak") else FEW
