"""One cluster for all tests of a module, driven over REST."""

from collections.abc import Iterator

import pytest

from tests.cluster.harness import START_SECONDS, Drive, launched, wait_until

HOSTS = 2


def pytest_configure(config: pytest.Config) -> None:
    """What is marked slow may be left out where only a smoke test is wanted."""
    config.addinivalue_line("markers", "slow: takes tens of seconds")


@pytest.fixture(scope="module")
def drive(request: pytest.FixtureRequest) -> Iterator[Drive]:
    """A running cluster with every process; a module's `CLUSTER` says how it is started."""
    options: tuple[str, ...] = getattr(request.module, "CLUSTER", ())
    with launched(*options) as running, Drive.of(running.cluster) as drive:
        drive.marathon.wait(START_SECONDS)
        # Whose agent registers late gets none of the first tasks, or cannot attach them.
        wait_until(
            lambda: HOSTS == len(drive.marathon.agents()) == drive.watcher.hosts_ready(),
            "not all agents registered",
        )
        yield drive


@pytest.fixture(autouse=True)
def logs_of_failures(request: pytest.FixtureRequest) -> Iterator[None]:
    """Show what the cluster's processes wrote when a test of a shared cluster failed."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed and "drive" in request.fixturenames:
        request.getfixturevalue("drive").print_logs()
