"""App bodies that the tests send."""

from demo.mesos.records import Json


def ip_app(app_id: str = "/shop/web", **fields: object) -> Json:
    """An app with an address per task, as up to Marathon 1.4."""
    return {
        "id": app_id,
        "cmd": "star-probe --port 9000",
        "cpus": 0.1,
        "mem": 64,
        "ipAddress": {
            "groups": ["web"],
            "discovery": {"ports": [{"number": 9000, "name": "status", "protocol": "tcp"}]},
        },
        **fields,
    }


def host_app(app_id: str = "/plain", **fields: object) -> Json:
    """An app on its host's network."""
    return {"id": app_id, "cmd": "sleep 1000", **fields}
