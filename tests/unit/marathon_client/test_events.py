"""What an event hints at."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from marathon_client.events import (
    EVENT_TYPES,
    AppChanged,
    AppTerminated,
    EverythingChanged,
    Ignored,
    MarathonEvent,
    Subscribed,
    TaskStatus,
    Unreadable,
    parse_event,
)
from marathon_client.models import AppId, TaskId, TaskState

FIXTURES = Path(__file__).parent / "fixtures"
WEB = AppId("/shop/web")
TASK = TaskId("shop_web.2f8a1c44-5b1e-11e6-8d2b-0242ac110002")
CACHE = AppId("/shop/cache")
INSTANCE = TaskId("shop_cache.instance-2f8a1c44-5b1e-11e6-8d2b-0242ac110002")
STATUS = {"appId": WEB, "taskId": TASK, "taskStatus": "TASK_KILLED", "host": "agent3"}
PLAN = {
    "steps": [
        {"actions": [{"type": "StartApplication", "app": "/shop/web"}]},
        {"actions": [{"action": "ScalePod", "pod": "/shop/cache"}, {"app": "/shop/web"}]},
    ]
}


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        pytest.param(
            "status_update_event", STATUS,
            TaskStatus(WEB, TASK, TaskState.KILLED, "agent3"), id="task status",
        ),
        *(
            pytest.param(
                "status_update_event", STATUS | {"timestamp": timestamp},
                TaskStatus(WEB, TASK, TaskState.KILLED, "agent3", told), id=f"at {timestamp}",
            )
            for timestamp, told in (
                ("1970-01-01T00:01:00.500Z", 60.5),
                ("1970-01-01T02:01:00+02:00", 60.0),
                ("yesterday", None),
                (60, None),
                (None, None),
            )
        ),
        pytest.param(
            "status_update_event", STATUS | {"host": "", "taskStatus": "TASK_TELEPORTED"},
            TaskStatus(WEB, TASK, TaskState.UNKNOWN, None), id="unknown state, no host",
        ),
        pytest.param(
            "instance_changed_event", {"runSpecId": WEB, "agentId": None, "host": None},
            AppChanged((WEB,)), id="instance",
        ),
        pytest.param(
            "instance_changed_event",
            {"runSpecId": CACHE, "instanceId": INSTANCE, "condition": "Killed", "host": "agent3"},
            TaskStatus(CACHE, INSTANCE, TaskState.KILLED, "agent3", of_instance=True),
            id="an instance ended",
        ),
        pytest.param(
            "instance_changed_event",
            {"runSpecId": CACHE, "instanceId": INSTANCE, "condition": "running"},
            TaskStatus(CACHE, INSTANCE, TaskState.RUNNING, None, of_instance=True),
            id="an instance, in lower case",
        ),
        pytest.param(
            "instance_changed_event",
            {"runSpecId": CACHE, "instanceId": INSTANCE, "condition": "Provisioned"},
            TaskStatus(CACHE, INSTANCE, TaskState.STAGING, None, of_instance=True),
            id="an instance before it runs",
        ),
        pytest.param(
            "instance_changed_event",
            {"runSpecId": CACHE, "instanceId": INSTANCE, "condition": "UnreachableInactive"},
            TaskStatus(CACHE, INSTANCE, TaskState.UNREACHABLE, None, of_instance=True),
            id="an unreachable instance",
        ),
        pytest.param(
            "instance_changed_event",
            {"runSpecId": CACHE, "instanceId": INSTANCE, "condition": "Dreaming"},
            TaskStatus(CACHE, INSTANCE, TaskState.UNKNOWN, None, of_instance=True),
            id="a condition of the future",
        ),
        pytest.param(
            "unknown_instance_terminated_event", {"runSpecId": WEB}, AppChanged((WEB,)),
            id="unknown instance",
        ),
        pytest.param(
            "unknown_instance_terminated_event",
            {"runSpecId": CACHE, "instanceId": INSTANCE, "condition": "Gone"},
            TaskStatus(CACHE, INSTANCE, TaskState.GONE, None, of_instance=True),
            id="unknown instance, with its end",
        ),
        pytest.param(
            "api_post_event", {"uri": "/v2/apps//typed", "appDefinition": {"id": WEB}},
            AppChanged((WEB,)), id="the definition's id, not the uri as typed",
        ),
        pytest.param("app_terminated_event", {"appId": WEB}, AppTerminated(WEB), id="terminated"),
        pytest.param(
            "pod_created_event", {"uri": "/v2/pods//shop/cache"},
            AppChanged((CACHE,)), id="pod created",
        ),
        pytest.param(
            "pod_updated_event", {"uri": "/v2/pods/shop/cache?force=true"},
            AppChanged((CACHE,)), id="pod updated",
        ),
        pytest.param(
            "pod_deleted_event", {"uri": "/v2/pods//shop/cache/"},
            AppChanged((CACHE,)), id="pod deleted",
        ),
        pytest.param(
            "status_update_event",
            {"appId": CACHE, "taskId": f"{INSTANCE}.redis", "taskStatus": "TASK_RUNNING"},
            TaskStatus(CACHE, TaskId(f"{INSTANCE}.redis"), TaskState.RUNNING, None),
            id="a container of a pod",
        ),
        pytest.param(
            "deployment_success", {"plan": PLAN}, AppChanged((WEB, AppId("/shop/cache"))),
            id="deployment names its subjects once",
        ),
        pytest.param(
            "deployment_failed", {"plan": {"steps": []}},
            EverythingChanged("a deployment ended"), id="deployment without steps",
        ),
        pytest.param(
            "group_change_success", {"groupId": "/shop"},
            EverythingChanged("group /shop changed"), id="group",
        ),
        pytest.param(
            "scheduler_registered_event", {"master": "m"},
            EverythingChanged("Marathon registered with Mesos"), id="registered",
        ),
        pytest.param(
            "event_stream_attached", {"remoteAddress": "10.0.0.9"}, Subscribed(),
            id="attached",
        ),
        pytest.param("health_status_changed_event", {"appId": 5},
            Ignored("health_status_changed_event"), id="health",
        ),
        pytest.param("never_heard_of", {}, Ignored("never_heard_of"), id="unknown type"),
    ],
)  # fmt: skip
def test_each_type_is_reduced_to_its_hint(
    name: str, body: dict[str, object], expected: MarathonEvent
) -> None:
    assert parse_event(name, json.dumps({"eventType": name, **body})) == expected
    assert parse_event(name, json.dumps(body)) == expected


@pytest.mark.parametrize(
    "data",
    [
        pytest.param('{"appId": "/shop/web"', id="cut"),
        pytest.param('{"appId": "/shop/web"}', id="key missing"),
        pytest.param('{"appId": 5, "taskId": "t", "taskStatus": "TASK_LOST"}', id="wrong type"),
        pytest.param("[]", id="no object"),
        pytest.param("", id="empty"),
        pytest.param("[" * 200_000, id="deep"),
    ],
)
def test_a_hint_that_cannot_be_read_is_said_to_be_lost(data: str) -> None:
    event = parse_event("status_update_event", data)
    assert isinstance(event, Unreadable)
    assert event.event_type == "status_update_event"
    assert event.reason.isprintable()


def _line(name: str, **body: object) -> str:
    return json.dumps({"eventType": name, **body})


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(
            [_line("status_update_event", **STATUS), _line("health_status_changed_event")],
            TaskStatus(WEB, TASK, TaskState.KILLED, "agent3"),
            id="one that tells something",
        ),
        pytest.param(
            [_line("app_terminated_event", appId="/b"), _line("status_update_event", **STATUS)],
            AppChanged((AppId("/b"), WEB)),
            id="two apps",
        ),
        pytest.param(
            [_line("app_terminated_event", appId="/b"), _line("group_change_success")],
            EverythingChanged("group / changed"),
            id="everything swallows one app",
        ),
        pytest.param(
            [_line("app_terminated_event", appId="/b"), "{"],
            EverythingChanged("one of several x is unreadable"),
            id="one is cut",
        ),
        pytest.param(
            [_line("failed_health_check_event"), _line("deployment_info")],
            Ignored("failed_health_check_event"),
            id="nothing that counts",
        ),
    ],
)
def test_several_json_lines_in_one_event_are_merged(
    lines: list[str], expected: MarathonEvent
) -> None:
    assert parse_event("x", "\n".join(lines)) == expected


def test_a_json_body_over_several_lines_is_one_event() -> None:
    assert parse_event("x", json.dumps({"eventType": "t"}, indent=1)) == Ignored("t")


def test_documented_events_are_read() -> None:
    bodies = json.loads((FIXTURES / "events-documented-1.9.json").read_bytes())
    events = [parse_event("message", json.dumps(body)) for body in bodies]
    assert not [event for event in events if isinstance(event, Unreadable)]
    assert any(isinstance(event, TaskStatus) for event in events)


def test_every_type_subscribed_to_means_something() -> None:
    for name in EVENT_TYPES:
        assert not isinstance(parse_event(name, "{}"), Ignored)


NAMES = st.sampled_from(EVENT_TYPES) | st.text()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(
                ["eventType", "appId", "taskId", "taskStatus", "plan", "steps", "actions", "uri"]
            ),
            inner,
        )
    ),
    max_leaves=15,
)


@given(NAMES, VALUES)
def test_random_json_never_raises(name: str, value: object) -> None:
    parse_event(name, json.dumps(value))


@given(NAMES, st.text(st.characters()))
@example("status_update_event", "\ud800")
def test_random_text_never_raises(name: str, data: str) -> None:
    parse_event(name, data)
