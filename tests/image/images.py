"""Builds the images on the test's own engine, by the same files as everybody does."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.image.base import foreign_tree, python_tree
from tests.kernel.docker import Docker

ROOT = Path(__file__).parents[2]
SOURCES = ("calico", "marathon_client", "reconciler", "demo")
FILES = (
    "Dockerfile",
    "docker-compose.yml",
    ".dockerignore",
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "setup.cfg",
)
#: Longest that one command may take.
PATIENCE = 240.0

BASE, FOREIGN = "marathon-calico/base:1", "marathon-calico/foreign:1"
IMAGE, STAR, MESOS_AGENT = (
    "marathon-calico:test",
    "marathon-calico/star:1",
    "marathon-calico/mesos:1",
)
PATH = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Whatever it is told to do.
IDLE = 'ENTRYPOINT ["sh", "-c", "exec sleep 300", "idle"]'


def copy_sources(target: Path) -> None:
    """What a fresh clone holds of what images are made of."""
    for name in FILES:
        shutil.copy(ROOT / name, target)
    for name in SOURCES:
        shutil.copytree(
            ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True
        )


def fetch_wheels(source: Path) -> None:
    """Everything that pip needs to install the product without an index, in `wheels/`."""
    wheels = str(source / "wheels")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"),
            *("--wheel-dir", wheels, str(source), "setuptools>=68"),
        ],
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE,
        check=True,
    )
    # The product itself is built where its image is.
    for own in (source / "wheels").glob("marathon_calico-*.whl"):
        own.unlink()
    shutil.rmtree(source / "build", ignore_errors=True)


def storage() -> str:
    """How an engine below /tmp should keep images: overlays do not lie on overlays."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    kinds = {point: kind for _, point, kind, *_ in mounts}
    kind = kinds.get("/tmp", kinds.get("/", ""))
    known = "\toverlay\n" in Path("/proc/filesystems").read_text()
    return "overlay2" if known and kind in ("ext4", "xfs", "btrfs") else "vfs"


def load_bases(docker: Docker) -> None:
    """The stand-ins for images that are pulled elsewhere."""
    call(docker, "import", "--change", PATH, "-", BASE, given=python_tree())
    changes = ("--change", PATH, "--change", IDLE)
    call(docker, "import", *changes, "-", FOREIGN, given=foreign_tree())


def build_images(docker: Docker, source: Path) -> None:
    """The images that `make images` builds, by its own script; nothing is pulled."""
    own = {
        "BASE": BASE,
        "MARATHON_CALICO_IMAGE": IMAGE,
        "STAR_IMAGE": STAR,
        "MESOS_AGENT_IMAGE": FOREIGN,
        "MESOS_AGENT_BUILT_IMAGE": MESOS_AGENT,
        "DOCKER_BUILD_FLAGS": "--network none --build-arg PIP_NO_INDEX=1",
    }
    done = subprocess.run(
        [str(source / "demo/compose/images.sh")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
        env=environment(docker) | own,
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()[-3000:]


def call(docker: Docker, *words: str, given: bytes = b"") -> str:
    """What a longer command of Docker's says."""
    done = subprocess.run(
        ["docker", *words],
        input=given,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
        env=environment(docker),
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()[-3000:]
    return done.stdout.decode().strip()


def environment(docker: Docker) -> dict[str, str]:
    """Under which Docker's commands reach this engine."""
    return {
        "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
        "HOME": str(docker.directory),
        "DOCKER_CONFIG": str(docker.directory),
        "DOCKER_HOST": f"unix://{docker.socket}",
        # The builder that every engine has.
        "DOCKER_BUILDKIT": "0",
    }
