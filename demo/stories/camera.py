"""Takes pictures of Star's page, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from demo.stories.narrator import Narrator

SECONDS = 60.0
PROGRAM = (sys.executable, "-m", "demo.screenshots")


class CameraError(Exception):
    """There is no picture, for the reason given."""


class Camera:
    """Writes pictures into a directory; without one it takes none."""

    def __init__(self, directory: Path | None, star_url: str, narrator: Narrator) -> None:
        self._directory = directory
        self._star_url = star_url
        self._narrator = narrator

    def take(self, name: str) -> None:
        """A picture of the page as it is now; raises CameraError."""
        if self._directory is None:
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        file = self._directory / f"{name}.png"
        with self._narrator.step(f"a picture of the page: {file}"):
            _run(self._star_url, str(file))


def check_camera() -> None:
    """Raises CameraError if this machine cannot take pictures."""
    _run("--check")


def _run(*arguments: str) -> None:
    try:
        done = subprocess.run(
            (*PROGRAM, *arguments),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CameraError(f"no picture within {SECONDS:.0f} s") from error
    if done.returncode != 0:
        raise CameraError(done.stderr.strip() or f"no picture: exit code {done.returncode}")
