"""One engine and one build for all tests here; each test has its own host."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.harness import Host, running_host
from tests.image.images import build_images, copy_sources, fetch_wheels, load_bases, storage
from tests.kernel.docker import Docker, running_docker


@pytest.fixture(scope="session")
def source() -> Iterator[Path]:
    """A copy of what images are made of, with wheels."""
    directory = Path(tempfile.mkdtemp(prefix="mc-image-", dir="/tmp"))
    try:
        copy_sources(directory)
        fetch_wheels(directory)
        yield directory
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def engine() -> Iterator[Docker]:
    """An engine that knows stand-ins for what is pulled elsewhere."""
    with running_docker(storage()) as docker:
        load_bases(docker)
        yield docker


@pytest.fixture(scope="session")
def product(engine: Docker, source: Path) -> Docker:
    """An engine that has the product's images."""
    build_images(engine, source)
    return engine


@pytest.fixture(scope="session")
def machine(product: Docker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host on which containers come and go."""
    with running_host(product, tmp_path_factory.mktemp("host")) as made:
        yield made


@pytest.fixture
def host(machine: Host) -> Iterator[Host]:
    """The host, without the containers of earlier tests."""
    yield machine
    machine.end()
