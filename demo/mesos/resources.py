"""What of its host an agent has to offer: of all of Mesos' resources only the ports."""

from __future__ import annotations

import re

from demo.mesos.records import PortRanges

_PORTS = re.compile(r"ports(?:\(\*\))?:\[(\d+-\d+(?:,\s*\d+-\d+)*)\]")


def parse_resources(text: str) -> PortRanges:
    """Mesos' `--resources`, such as `ports:[9000-9001,31000-32000]`; ValueError for others."""
    match = _PORTS.fullmatch(text.replace(" ", ""))
    if match is None:
        raise ValueError(f"resources: {text!r} is not like ports:[9000-9001,31000-32000]")
    ranges = []
    for part in match.group(1).split(","):
        first, _, last = part.partition("-")
        if not 1 <= int(first) <= int(last) <= 65535:
            raise ValueError(f"resources: {part} is no range of ports")
        ranges.append((int(first), int(last)))
    return tuple(ranges)
