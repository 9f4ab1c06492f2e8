"""What a person is told where no picture can be taken."""

import os
import subprocess
import sys
from pathlib import Path

from demo.embedded.processes import PROJECT


def without_chromium(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module where no program is found, hence no browser."""
    return subprocess.run(
        (sys.executable, "-m", *arguments),
        cwd=PROJECT,
        env={**os.environ, "PATH": str(path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_a_browser_it_is_said_what_to_install(tmp_path: Path) -> None:
    done = without_chromium(tmp_path, "demo.screenshots", "--check")

    assert done.returncode == 1
    assert "pictures need" in done.stderr
    assert "apt-get install chromium" in done.stderr


def test_no_cluster_is_started_for_pictures_that_cannot_be_taken(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    done = without_chromium(tmp_path, "demo", "run", "--screenshots", str(pictures))

    assert done.returncode == 2
    assert "apt-get install chromium" in done.stderr
    assert "started" not in done.stdout
    assert not pictures.exists()
