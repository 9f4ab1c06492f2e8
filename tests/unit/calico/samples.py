"""Calico's own JSON, read from the fixtures."""

import json
from pathlib import Path
from typing import Any

_FIXTURES = Path(__file__).parent / "fixtures"


def sample(name: str) -> Any:
    """One fixture, as plain values."""
    return json.loads((_FIXTURES / f"{name}.json").read_text())
