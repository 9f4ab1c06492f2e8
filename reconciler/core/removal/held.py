"""How what waits for an operator is named, so that exactly that can be approved."""

import hashlib
from collections.abc import Collection

from calico.cluster import HoldKind


def plan_name(kind: HoldKind, subjects: Collection[str]) -> str:
    """A name for letting exactly these go; other subjects have another one."""
    text = "\n".join((kind.value, *sorted(subjects)))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
