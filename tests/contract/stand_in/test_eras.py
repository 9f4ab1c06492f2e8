"""What differs between versions of Marathon, row by row, over HTTP."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests

from demo.marathon import Era, Standby
from demo.mesos.records import Json
from tests.contract.stand_in.era_world import ADDRESS, ERAS, SOON, app_of, marathon_of
from tests.contract.stand_in.stand_in_world import RawStream
from tests.unit.demo.apps import host_app, ip_app

every_era = pytest.mark.parametrize("era", ERAS, ids=str)


def since(*version: int) -> frozenset[Era]:
    """The eras from that version on."""
    return frozenset(era for era in ERAS if era.since(*version))


@every_era
def test_apps_network_form_in_replies(era: Era) -> None:
    with marathon_of(era) as marathon:
        marathon.start(app_of(era))
        app = marathon("GET", "/v2/apps/shop/web")["app"]
    assert ("networks" in app) is (era in since(1, 5))
    assert ("ipAddress" in app) is (era not in since(1, 5))
    assert ("uris" in app) is (era not in since(1, 5))


@every_era
def test_ip_address_groups_are_kept_or_dropped_silently(era: Era) -> None:
    address = {"groups": ["secret-group"], "networkName": "calico", "labels": {"a": "b"}}
    with marathon_of(era) as marathon:
        marathon.start(ip_app(ipAddress=address))
        text = marathon.answer("GET", "/v2/apps/shop/web").text
    assert ("secret-group" in text) is (era not in since(1, 5))
    assert '"a":"b"' in text


@every_era
def test_ip_address_network_name(era: Era) -> None:
    with marathon_of(era) as marathon:
        marathon.start(ip_app(ipAddress={"groups": ["a"], "networkName": "calico"}))
        app = marathon("GET", "/v2/apps/shop/web")["app"]
    if era.uses_networks:
        assert app["networks"][0]["name"] == "calico"
    else:
        assert app["ipAddress"].get("networkName") == ("calico" if era in since(1, 3) else None)


@every_era
def test_discovery_port_labels(era: Era) -> None:
    with marathon_of(era) as marathon:
        marathon.start(app_of(era))
        app = marathon("GET", "/v2/apps/shop/web")["app"]
    if era.uses_networks:
        assert app["container"]["portMappings"][0]["labels"] == {"tier": "front"}
        return
    (port,) = app["ipAddress"]["discovery"]["ports"]
    assert port.get("labels") == ({"tier": "front"} if era in since(1, 1) else None)


@every_era
def test_task_state_in_rest(era: Era) -> None:
    with marathon_of(era) as marathon:
        task = marathon.start(app_of(era))
    assert task.get("state") == ("TASK_RUNNING" if era in since(1, 1) else None)
    assert task["startedAt"] is not None


@every_era
def test_task_ip_addresses_when_none(era: Era) -> None:
    with marathon_of(era, lambda _order: ()) as marathon:
        task = marathon.start(app_of(era))
    absent = era.since(1, 1) and not era.since(1, 5)
    assert task.get("ipAddresses", "absent") == ("absent" if absent else [])


@every_era
def test_task_ip_addresses_when_assigned_except_for_the_defect_of_0_15(era: Era) -> None:
    with marathon_of(era) as marathon:
        task = marathon.start(app_of(era))
    wanted = [] if era == Era(0, 15) else [{"ipAddress": ADDRESS, "protocol": "IPv4"}]
    assert task["ipAddresses"] == wanted


@every_era
def test_event_ip_addresses_when_none_and_when_assigned(era: Era) -> None:
    def address_of(order: object) -> tuple[str, ...]:
        return (ADDRESS,) if "with." in str(order) else ()

    with marathon_of(era, address_of) as marathon, RawStream(marathon.url) as stream:
        marathon("POST", "/v2/apps", app_of(era, "/with"), status=201)
        told = stream.event("status_update_event", taskStatus="TASK_RUNNING")
        stream.event("deployment_success")
        marathon("POST", "/v2/apps", app_of(era, "/out"), status=201)
        silent = stream.event("status_update_event", taskStatus="TASK_RUNNING")
    assert told["ipAddresses"] == [{"ipAddress": ADDRESS, "protocol": "IPv4"}]
    absent = era.since(1, 1) and not era.since(1, 4)
    assert silent.get("ipAddresses", "absent") == ("absent" if absent else [])


@pytest.mark.parametrize("era", [*ERAS, Era(1, 3, 6), Era(1, 3, 7)], ids=lambda e: e.version)
def test_event_type_filter(era: Era) -> None:
    query = "?event_type=deployment_success"
    with marathon_of(era) as marathon, RawStream(marathon.url, query) as stream:
        marathon("POST", "/v2/apps", app_of(era), status=201)
        stream.event("deployment_success")
        only = set(stream.names()) == {"deployment_success"}
    assert only is era.since(1, 3, 7)


@pytest.mark.parametrize(
    ("era", "asked", "light"),
    [
        pytest.param(Era(1, 4), "light", False, id="ignored by 1.4"),
        pytest.param(Era(1, 5, 8), "light", False, id="ignored by 1.5.8"),
        pytest.param(Era(1, 5, 9), "light", True, id="honoured by 1.5.9"),
        pytest.param(Era(1, 5, 9), "", False, id="not asked for"),
        pytest.param(Era(1, 6, 321), "light", False, id="ignored by 1.6.321"),
        pytest.param(Era(1, 6, 322), "light", True, id="honoured by 1.6.322"),
        pytest.param(Era(1, 7), "", True, id="1.7's default"),
        pytest.param(Era(1, 7), "full", False, id="1.7's full one"),
        pytest.param(Era(1, 9), "full", True, id="always in 1.9"),
    ],
)
def test_plan_format(era: Era, asked: str, light: bool) -> None:
    with marathon_of(era) as marathon, RawStream(marathon.url, f"?plan-format={asked}") as stream:
        marathon("POST", "/v2/apps", app_of(era), status=201)
        plan = stream.event("deployment_info")["plan"]
    assert ({"original", "target"} & set(plan) == set()) is light


@every_era
def test_server_buffer_per_client(era: Era) -> None:
    assert era.outstanding_events == (1024 if era in since(1, 5) else 50)


@every_era
def test_slow_consumer(era: Era) -> None:
    with (
        marathon_of(era, event_buffer=1) as marathon,
        RawStream(marathon.url) as stream,
    ):
        stream.event("event_stream_attached")
        # One burst from the server's one thread: nobody reads as fast as it writes.
        apps = [{"id": f"web-{number}", "cmd": "sleep 1000"} for number in range(100)]
        marathon("PUT", "/v2/groups/shop", {"apps": apps})
        if era.since(1, 8):
            stream.rest()
            return
        assert len(marathon("GET", "/v2/tasks")["tasks"]) == 100
        marathon.stand_in.cut_streams()
        stream.rest()
        assert stream.names().count("status_update_event") < 100


@every_era
def test_non_leader_on_the_stream(era: Era) -> None:
    with marathon_of(era) as marathon, Standby(era, marathon.stand_in.address) as standby:
        headers = {"Accept": "text/event-stream"}
        url = f"{standby.url}/v2/events?event_type=deployment_success"
        with requests.get(
            url, headers=headers, timeout=SOON, allow_redirects=False, stream=True
        ) as reply:
            location = reply.headers.get("Location")
            status, via = reply.status_code, reply.headers.get("X-Marathon-Via")
    if era in since(1, 7):
        assert (status, location) == (
            302,
            f"{marathon.url}/v2/events?event_type=deployment_success",
        )
    else:
        assert (status, via) == (200, f"1.1 {standby.address}")


@every_era
def test_no_leader_known(era: Era) -> None:
    with Standby(era, None, look_seconds=0.0) as standby:
        reply = requests.get(f"{standby.url}/v2/apps", timeout=SOON)
    assert reply.status_code == (502 if era in since(1, 7) else 503)
    assert "Could not determine the current leader" in reply.text


@every_era
def test_instance_events_and_pods(era: Era) -> None:
    with marathon_of(era) as marathon, RawStream(marathon.url) as stream:
        marathon("POST", "/v2/apps", app_of(era), status=201)
        stream.event("deployment_success")
        pods = marathon.answer("HEAD", "/v2/pods").status_code
    assert ("instance_changed_event" in stream.names()) is (era in since(1, 4))
    assert pods == (200 if era in since(1, 4) else 404)


@every_era
def test_patch_of_apps(era: Era) -> None:
    with marathon_of(era) as marathon:
        marathon.start(app_of(era))
        status = marathon.answer("PATCH", "/v2/apps/shop/web", {"instances": 2}).status_code
        absent = marathon.answer("PATCH", "/v2/apps/nobody", {"instances": 2}).status_code
    assert (status, absent) == ((200, 404) if era in since(1, 4) else (405, 405))


class Callback:
    """A URL that is told of events."""

    def __init__(self) -> None:
        self.events: list[Json] = []
        self.told = threading.Condition()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler: BaseHTTPRequestHandler) -> None:
                body = handler.rfile.read(int(handler.headers["Content-Length"]))
                with self.told:
                    self.events.append(json.loads(body))
                    self.told.notify_all()
                handler.send_response(200)
                handler.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def __enter__(self) -> "Callback":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@every_era
def test_event_subscriptions(era: Era) -> None:
    with marathon_of(era) as marathon, Callback() as callback:
        path = f"/v2/eventSubscriptions?callbackUrl={callback.url}"
        reply = marathon.answer("POST", path)
        if era in since(1, 5):
            assert reply.status_code == 404
            return
        assert reply.json()["eventType"] == "subscribe_event"
        listed = marathon("GET", "/v2/eventSubscriptions")
        assert listed == {"callbackUrls": [callback.url]}
        marathon.start(app_of(era))
        with callback.told:
            callback.told.wait_for(
                lambda: any(e["eventType"] == "deployment_success" for e in callback.events), SOON
            )
        assert marathon("DELETE", path)["eventType"] == "unsubscribe_event"
        assert marathon("GET", "/v2/eventSubscriptions") == {"callbackUrls": []}
    assert callback.events[0]["eventType"] == "subscribe_event"
    assert callback.events[-1]["eventType"] in ("deployment_success", "unsubscribe_event")


@every_era
def test_region_zone_and_role_in_tasks(era: Era) -> None:
    with marathon_of(era) as marathon:
        task = marathon.start(app_of(era))
    assert {"region", "zone"} <= set(task) if era in since(1, 6) else not {"region"} & set(task)
    assert ("role" in task) is (era in since(1, 9))


@every_era
def test_task_ids_and_the_instances_they_belong_to(era: Era) -> None:
    with marathon_of(era) as marathon, RawStream(marathon.url) as stream:
        marathon("POST", "/v2/apps", app_of(era), status=201)
        task_id = stream.event("status_update_event", taskStatus="TASK_RUNNING")["taskId"]
        if era.since(1, 4):
            stream.event("deployment_success")
            changed = stream.received.split(b"event: instance_changed_event\r\ndata: ")[1]
            instance = json.loads(changed.split(b"\r\n")[0])["instanceId"]
    hexadecimal = "[0-9a-f-]{36}"
    if era.since(1, 8):
        assert_like(task_id, rf"shop_web\.instance-{hexadecimal}\._app\.1")
        assert task_id == f"{instance}._app.1"
    else:
        assert_like(task_id, rf"shop_web\.{hexadecimal}")
        if era.since(1, 4):
            assert instance == task_id.replace("shop_web.", "shop_web.marathon-")


@every_era
def test_the_id_of_a_task_that_takes_the_place_of_one_that_failed(era: Era) -> None:
    with marathon_of(era) as marathon, RawStream(marathon.url) as stream:
        marathon("POST", "/v2/apps", app_of(era, backoffSeconds=0), status=201)
        old = stream.event("status_update_event", taskStatus="TASK_RUNNING")["taskId"]
        stream.event("deployment_success")
        marathon.agent.end(old)
        new = stream.event("status_update_event", taskStatus="TASK_RUNNING")["taskId"]
        marathon.agent.kill(new)
        killed = stream.event("status_update_event", taskStatus="TASK_RUNNING")["taskId"]
    if era.since(1, 8):
        # The same instance, once more.
        assert new == old.removesuffix("1") + "2"
        assert killed == old.removesuffix("1") + "3"
    else:
        assert len({old, new, killed}) == 3


def assert_like(text: str, pattern: str) -> None:
    """The whole text fits the pattern."""
    assert re.fullmatch(pattern, text), text


@every_era
def test_the_environment_of_a_task(era: Era) -> None:
    with marathon_of(era) as marathon:
        task = marathon.start(app_of(era, labels={"team-a": "x"}, env={"MINE": "1"}))
        (order,) = marathon.agent.orders.values()
        version = marathon("GET", "/v2/apps/shop/web")["app"]["version"]
    env = order.env
    assert env["MESOS_TASK_ID"] == task["id"]
    assert env["MARATHON_APP_ID"] == "/shop/web"
    assert env["MARATHON_APP_VERSION"] == version
    assert env["HOST"] == "host-1"
    assert env["MINE"] == "1"
    assert (env["MARATHON_APP_LABELS"], env["MARATHON_APP_LABEL_TEAM_A"]) == ("TEAM_A", "x")
    assert ("MARATHON_APP_RESOURCE_GPUS" in env) is (era in since(1, 3))
    # A container's port is told where it is a mapping, not where it is discovery.
    assert env.get("PORT_STATUS") == ("9000" if era in since(1, 5) else None)


@every_era
def test_an_app_on_its_hosts_network_is_told_its_ports(era: Era) -> None:
    with marathon_of(era) as marathon:
        task = marathon.start(host_app())
        (order,) = marathon.agent.orders.values()
        app = marathon("GET", "/v2/apps/plain")["app"]
    assert order.env["PORT0"] == order.env["PORT"] == str(task["ports"][0])
    assert ("portDefinitions" in app) is (era in since(1, 1))
    assert ("ports" in app) is (era not in since(1, 5))


@every_era
def test_what_cannot_be_is_refused_in_the_eras_words(era: Era) -> None:
    with marathon_of(era) as marathon:
        reply = marathon("POST", "/v2/apps", host_app("/Bad"), status=422)
    if era in since(1, 1):
        assert reply["details"][0]["path"] == "/id"
    else:
        assert reply["message"] == "Bean is not valid"
        assert reply["errors"][0]["attribute"] == "id"


@every_era
def test_an_app_that_has_no_tasks_is_asked_for_them(era: Era) -> None:
    with marathon_of(era) as marathon:
        marathon("POST", "/v2/apps", host_app(instances=0), status=201)
        status = marathon.answer("GET", "/v2/apps/plain/tasks").status_code
    assert status == (200 if era in since(1, 1) else 404)


@every_era
def test_the_server_names_its_version_and_the_headers_of_its_era(era: Era) -> None:
    with marathon_of(era) as marathon:
        created = marathon.answer("POST", "/v2/apps", host_app())
        version = marathon("GET", "/v2/info")["version"]
    assert version.startswith(f"{era}.")
    assert ("Marathon-Deployment-Id" in created.headers) is (era in since(1, 4))
    assert created.headers["Content-Type"] == (
        "application/json" if era in since(1, 5) else "application/json; qs=2"
    )


@every_era
def test_a_field_that_an_era_does_not_know_is_passed_over_without_a_word(era: Era) -> None:
    networks = [{"mode": "container", "name": "calico"}]
    with marathon_of(era) as marathon:
        task = marathon.start(host_app(networks=networks, surprise=1))
        (order,) = marathon.agent.orders.values()
        app = marathon("GET", "/v2/apps/plain")["app"]
    assert "surprise" not in app
    # Up to 1.4 such an app runs on its host's network, as on a real one.
    assert str(order.isolation) == ("namespace" if era in since(1, 5) else "host")
    assert bool(task["ports"]) is (era not in since(1, 5))
