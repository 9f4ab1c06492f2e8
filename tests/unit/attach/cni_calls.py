"""CNI's calls as a runtime makes them, for tests of the translator."""

import json
import os
from typing import Any

from reconciler.attach.api import Attacher
from reconciler.attach.calls.cni import CniCalls

CONTAINER = "5baff64c-d028-47ba-864e-a5ee679fc069"
NETNS = "/run/mesos/isolators/network/cni/5baff64c/ns"


def call(
    attacher: Attacher,
    command: str,
    config: Any = None,
    *,
    namespace: str | None = "/",
    networks: frozenset[str] = frozenset(),
    **environment: str | None,
) -> tuple[int, Any]:
    """The exit code and what is printed, decoded; `None` takes a variable out.

    Any directory may stand for the namespace whose descriptor comes along.
    """
    variables: dict[str, str | None] = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": CONTAINER,
        "CNI_NETNS": NETNS,
        "CNI_IFNAME": "eth0",
        "CNI_PATH": "/opt/cni/bin",
    } | environment
    given = {name: value for name, value in variables.items() if value is not None}
    text = config if isinstance(config, str) else json.dumps(config or configured())
    request = {"environment": given, "input": text}
    descriptor = -1 if namespace is None else os.open(namespace, os.O_RDONLY)
    try:
        code, printed, *_ = CniCalls(networks).answer(request, attacher, descriptor)
    finally:
        if descriptor != -1:
            os.close(descriptor)
    return code, json.loads(printed) if printed else None


def configured(version: str | None = "0.4.0", **fields: Any) -> dict[str, Any]:
    """A network's configuration."""
    config = {"name": "calico", "type": "marathon-calico-cni", **fields}
    return config if version is None else {"cniVersion": version, **config}


def asked(**info: Any) -> dict[str, Any]:
    """A configuration with Mesos' NetworkInfo, for CNI 0.2.0."""
    return configured("0.2.0", args={"org.apache.mesos": {"network_info": info}})


def labels(*pairs: tuple[str, str]) -> dict[str, Any]:
    """Labels in Mesos' form."""
    return {"labels": [{"key": key, "value": value} for key, value in pairs]}
