"""Apps rendered from values: valid, and nothing in a value escapes its place."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from charts import NAMES, InvalidApp, InvalidValues, render_app
from charts.__main__ import main
from charts.render import HERE, check_app, parse_strictly
from demo.marathon.definitions.apps import parse_app
from demo.marathon.era import parse_era
from reconciler.cli.main import COMMANDS

FORMS = ("ipaddress", "networks")
MINIMAL = {
    "etcd": ["http://10.0.0.1:2379"],
    "controller": {"marathon": ["http://10.0.0.1:8080"]},
}
IMAGE = {**MINIMAL, "image": "local/marathon-calico:1"}
HOSTILE = (
    'a"b',
    "a\\",
    "a\nb",
    "a\tb\x1b",
    '", "instances": 99, "x": "',
    "{{id}} {{{env}}} {{#image}}",
    "</script>&amp;<>",
    "'; rm -rf / #$(reboot)`id`",
    "\u2028 \U0001f600",
)


def example() -> dict[str, Any]:
    """The values that the page for operators begins with."""
    return parse_strictly((HERE / "values.example.json").read_text())


def parameters(app: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What Docker is told beside the image."""
    return [(each["key"], each["value"]) for each in app["container"]["docker"]["parameters"]]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "values",
    [
        pytest.param(example(), id="example"),
        pytest.param(MINIMAL, id="minimal"),
        pytest.param(IMAGE, id="image"),
    ],
)
def test_every_app_is_one_that_marathon_takes(
    name: str, form: str, values: Mapping[str, Any]
) -> None:
    app = render_app(name, {**values, "form": form})
    assert app["id"] == f"/marathon-calico/{name}"
    assert ("networks" in app) is (form == "networks")
    for era in ("0.14", "1.1", "1.4") if form == "ipaddress" else ("1.5", "1.9"):
        parse_app(app, "/", parse_era(era))


@pytest.mark.parametrize("name", NAMES)
def test_without_an_image_a_program_of_the_hosts_is_started(name: str) -> None:
    app = render_app(name, {**MINIMAL, "command": "/opt/mc/bin/marathon-calico"})
    assert app["cmd"] == f"/opt/mc/bin/marathon-calico {name}"
    assert "container" not in app


def test_the_forms_differ_in_ports_and_network_only() -> None:
    old, new = (render_app("agent", {**IMAGE, "form": form}) for form in FORMS)
    assert old.pop("ports") == [9402]
    assert old["container"]["docker"].pop("network") == "HOST"
    assert new.pop("networks") == [{"mode": "host"}]
    assert [each["port"] for each in new.pop("portDefinitions")] == [9402]
    assert old == new


def test_the_agent_has_what_it_needs_and_no_more() -> None:
    app = render_app("agent", IMAGE)
    assert app["container"]["docker"]["privileged"] is False
    assert sorted(value for key, value in parameters(app) if key == "cap-add") == [
        "NET_ADMIN",
        "SYS_ADMIN",
        "SYS_PTRACE",
    ]
    assert ("cap-drop", "ALL") in parameters(app)
    assert ("pid", "host") in parameters(app)
    assert app["container"]["volumes"] == [
        {"hostPath": path, "containerPath": path, "mode": "RW"}
        for path in ("/run/marathon-calico", "/var/lib/marathon-calico")
    ]


def test_the_controller_has_no_capability_and_sees_nothing_of_its_host() -> None:
    app = render_app("controller", IMAGE)
    assert parameters(app) == [("cap-drop", "ALL"), ("security-opt", "no-new-privileges")]
    assert app["container"]["volumes"] == []


@pytest.mark.parametrize(
    ("locators", "more"),
    [
        pytest.param(["mesos", "docker"], ["/var/run/docker.sock"], id="docker"),
        pytest.param(["mesos"], [], id="mesos"),
    ],
)
def test_dockers_socket_is_shown_to_who_asks_docker(locators: list[str], more: list[str]) -> None:
    app = render_app("agent", {**IMAGE, "agent": {"locators": locators}})
    shown = [volume["hostPath"] for volume in app["container"]["volumes"]]
    assert shown[2:] == more
    assert app["env"]["MARATHON_CALICO_AGENT_LOCATOR"] == " ".join(locators)


def test_reading_environments_of_other_users_needs_one_capability_more() -> None:
    app = render_app("agent", {**IMAGE, "agent": {"locators": ["proc"]}})
    assert ("cap-add", "DAC_READ_SEARCH") in parameters(app)


@pytest.mark.parametrize("instances", range(2, 40))
def test_an_upgrade_ends_agents_one_by_one(instances: int) -> None:
    app = render_app("agent", {**MINIMAL, "agent": {"instances": instances}})
    strategy = app["upgradeStrategy"]
    assert strategy["maximumOverCapacity"] == 0
    kept = instances * strategy["minimumHealthCapacity"]
    # Marathon rounds up; if all were to stay, none could make room for its successor.
    assert instances - 2 < kept <= instances - 1


@pytest.mark.parametrize(
    ("name", "instances", "expected"),
    [
        pytest.param("controller", 2, 0.5, id="two controllers"),
        pytest.param("controller", 1, 0, id="a lone controller"),
        pytest.param("agent", 1, 0, id="a lone agent"),
        pytest.param("agent", 0, 0, id="no agent"),
    ],
)
def test_one_task_may_always_end(name: str, instances: int, expected: float) -> None:
    values = {**MINIMAL, name: {**MINIMAL.get(name, {}), "instances": instances}}
    strategy = render_app(name, values)["upgradeStrategy"]
    assert strategy == {"minimumHealthCapacity": expected, "maximumOverCapacity": 0}


def test_the_name_server_asks_for_both_of_its_ports() -> None:
    values = {**IMAGE, "dns": {"dns_port": 5353}}
    assert render_app("dns", values)["ports"] == [9403, 5353]
    [_, asked] = render_app("dns", {**values, "form": "networks"})["portDefinitions"]
    assert (asked["port"], asked["protocol"]) == (5353, "udp")
    app = render_app("dns", values)
    assert app["env"]["MARATHON_CALICO_DNS_LISTEN_DNS"] == ":5353"
    assert ("cap-add", "NET_BIND_SERVICE") in parameters(app)


def test_the_controller_is_told_whose_instances_it_keeps() -> None:
    section = {
        "marathon": ["http://10.0.0.1:8080"],
        "scale_agents": "/marathon-calico/agent",
        "mesos_masters": ["http://10.0.0.1:5050", "http://10.0.0.2:5050"],
    }
    env = render_app("controller", {**MINIMAL, "controller": section})["env"]
    assert env["MARATHON_CALICO_CONTROLLER_SCALE_AGENTS"] == "/marathon-calico/agent"
    masters = "http://10.0.0.1:5050 http://10.0.0.2:5050"
    assert env["MARATHON_CALICO_CONTROLLER_MESOS_MASTER"] == masters


@pytest.mark.parametrize("name", NAMES)
def test_one_of_a_kind_on_a_host_and_checked_where_it_listens(name: str) -> None:
    section = {**MINIMAL.get(name, {}), "port": 19000, "constraints": [["rack", "GROUP_BY"]]}
    app = render_app(name, {**MINIMAL, name: section})
    assert app["constraints"] == [["hostname", "UNIQUE"], ["rack", "GROUP_BY"]]
    assert app["requirePorts"] is True
    assert app["ports"][0] == 19000
    assert app["env"][f"MARATHON_CALICO_{name.upper()}_LISTEN"] == ":19000"
    [check] = app["healthChecks"]
    assert (check["protocol"], check["path"], check["portIndex"]) == ("HTTP", "/healthz", 0)


def test_an_app_without_health_check_if_asked_for() -> None:
    app = render_app("agent", {**MINIMAL, "health": {"protocol": "none"}})
    assert app["healthChecks"] == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_a_value_escapes_its_place(text: str, form: str) -> None:
    plain = render_app("agent", {**IMAGE, "form": form})
    app = render_app(
        "agent",
        {
            **IMAGE,
            "form": form,
            "env": {"X": text},
            "labels": {text: text},
            "agent": {"arguments": ["--protect", text], "constraints": [["rack", "LIKE", text]]},
            "secrets": {"Y": text},
        },
    )
    assert app["env"]["X"] == text
    assert app["labels"] == {text: text}
    assert app["args"] == ["agent", "--protect", text]
    assert app["constraints"][1] == ["rack", "LIKE", text]
    assert app["secrets"] == {"y": {"source": text}}
    assert set(app) - set(plain) == {"secrets"}
    assert app["instances"] == plain["instances"]
    assert app["container"] == plain["container"]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_shell_would_read_is_quoted(text: str) -> None:
    app = render_app("agent", {**MINIMAL, "agent": {"arguments": [text]}})
    assert shlex.split(app["cmd"]) == ["marathon-calico", "agent", text]


def test_passwords_are_in_no_command_line() -> None:
    values = {
        "etcd": ["http://user:pass@10.0.0.1:2379"],
        "controller": {"marathon": ["http://user:pass@10.0.0.1:8080"]},
    }
    for name in NAMES:
        app = render_app(name, values)
        assert "pass" not in app["cmd"]
        assert "user:pass@" in app["env"]["MARATHON_CALICO_ETCD"]


def test_a_secret_stands_in_place_of_a_url() -> None:
    secrets = {"MARATHON_CALICO_CONTROLLER_MARATHON": "mc/marathon"}
    app = render_app("controller", {"etcd": MINIMAL["etcd"], "controller": {"secrets": secrets}})
    name = "marathon-calico-controller-marathon"
    assert app["env"]["MARATHON_CALICO_CONTROLLER_MARATHON"] == {"secret": name}
    assert app["secrets"] == {name: {"source": "mc/marathon"}}


def test_certificates_are_named_and_shown_to_a_container() -> None:
    files = {"etcd_ca": "/etc/mc/ca.pem", "etcd_cert": "/etc/mc/c.pem", "etcd_key": "/etc/mc/k.pem"}
    app = render_app("controller", {**IMAGE, **files})
    assert app["env"]["MARATHON_CALICO_ETCD_KEY"] == "/etc/mc/k.pem"
    shown = [(each["containerPath"], each["mode"]) for each in app["container"]["volumes"]]
    assert shown == [(path, "RO") for path in files.values()]


@pytest.mark.parametrize(
    ("name", "own"),
    [
        pytest.param("controller", ("marathon", "mesos"), id="controller"),
        pytest.param("agent", ("mesos",), id="agent"),
        pytest.param("dns", (), id="dns"),
    ],
)
def test_each_app_gets_the_files_of_whom_it_talks_to(name: str, own: tuple[str, ...]) -> None:
    values = {
        **IMAGE,
        "etcd_credentials": "/etc/mc/etcd",
        "mesos_credentials": "/etc/mc/mesos",
        "controller": {
            "marathon": ["https://10.0.0.1:8443"],
            "marathon_credentials": "/etc/mc/marathon",
            "marathon_ca": "/etc/mc/ca.pem",
        },
    }
    app = render_app(name, values)
    files = {
        "MARATHON_CALICO_ETCD_CREDENTIALS": "/etc/mc/etcd",
        **{
            f"MARATHON_CALICO_{name.upper()}_{each.upper()}_CREDENTIALS": f"/etc/mc/{each}"
            for each in own
        },
    }
    assert {key: text for key, text in app["env"].items() if key.endswith("CREDENTIALS")} == files
    shown = {each["containerPath"] for each in app["container"]["volumes"]}
    assert shown >= set(files.values())
    assert ("/etc/mc/ca.pem" in shown) == (name == "controller")


@pytest.mark.parametrize(
    ("values", "line"),
    [
        pytest.param({"etdc": []}, "etdc: there is no such value", id="a slip"),
        pytest.param({"a\nb": 1}, "a?b: there is no such value", id="a key of two lines"),
        pytest.param({"agent": {"cpu": 1}}, "agent.cpu: there is no such value", id="in a part"),
        pytest.param({"agent": {"marathon": []}}, "agent.marathon: there is no", id="another's"),
        pytest.param({"port": 1}, "port: there is no such value", id="what only a part has"),
        pytest.param({"health": {"grace": 1, "x": 1}}, "health.x: there is no", id="deep"),
        pytest.param({"etcd": []}, "etcd: name at least one", id="no etcd"),
        pytest.param({"etcd": "http://x:1"}, "etcd: not a list", id="no list"),
        pytest.param({"etcd": ["x:1"]}, "etcd[0]: not a URL", id="no scheme"),
        pytest.param({"etcd": ["http://a:1 http://b:1"]}, "etcd[0]: there must be no", id="blank"),
        pytest.param({"agent": {"instances": "3"}}, "agent.instances: not a whole", id="text"),
        pytest.param({"agent": {"instances": True}}, "agent.instances: not a whole", id="bool"),
        pytest.param({"agent": {"port": 70000}}, "agent.port: must be within", id="port"),
        pytest.param({"agent": {"cpus": -1}}, "agent.cpus: must not be negative", id="negative"),
        pytest.param({"agent": {"mem": float("nan")}}, "agent.mem: not a number", id="NaN"),
        pytest.param({"agent": {"minimum_health": 2}}, "agent.minimum_health: must", id="share"),
        pytest.param({"form": "new"}, "form: must be one of ipaddress, networks", id="form"),
        pytest.param({"agent": {"id": "agent"}}, "agent.id: not an app id", id="relative id"),
        pytest.param({"agent": {"locators": ["all"]}}, "agent.locators[0]: must be", id="locator"),
        pytest.param({"agent": {"locators": ["none", "proc"]}}, "agent.locators: none", id="none"),
        pytest.param({"env": {"A B": "x"}}, "env: 'A B' is no name", id="variable"),
        pytest.param({"env": {"A": 1}}, "env.A: not a text", id="a number in the environment"),
        pytest.param({"env": {"A": "\0"}}, "env.A: not a text", id="NUL"),
        pytest.param({"env": {"A": "x"}, "secrets": {"A": "s"}}, "A stands in env and", id="twice"),
        pytest.param(
            {"env": {"MARATHON_CALICO_AGENT_LISTEN": ":1"}},
            "follows from agent.port",
            id="port env",
        ),
        pytest.param(
            {"agent": {"arguments": ["--etcd=http://u:p@x:1"]}},
            "agent.arguments[0]: a URL with a password",
            id="password in an argument",
        ),
        pytest.param({"etcd_key": "/k"}, "etcd_cert and etcd_key belong together", id="key alone"),
        pytest.param({"agent": {"state_dir": "x"}}, "agent.state_dir: not an absolute", id="path"),
        pytest.param({"agent": []}, "agent: not an object", id="no object"),
    ],
)
def test_what_is_unknown_or_wrong_is_refused_in_one_line(values: Any, line: str) -> None:
    with pytest.raises(InvalidValues) as refused:
        render_app("agent", {**MINIMAL, **values})
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "u:p@" not in str(refused.value)


def test_a_controller_needs_a_marathon() -> None:
    with pytest.raises(InvalidValues, match=r"controller\.marathon: name at least one"):
        render_app("controller", {"etcd": MINIMAL["etcd"]})


def test_masters_without_an_app_to_scale_are_a_slip() -> None:
    section = {"marathon": ["http://x:1"], "mesos_masters": ["http://x:1"]}
    with pytest.raises(InvalidValues, match=r"controller\.mesos_masters: of use only"):
        render_app("controller", {**MINIMAL, "controller": section})


def test_an_app_that_is_not_rendered_here_is_named() -> None:
    with pytest.raises(InvalidValues, match="dnss: there is no such app"):
        render_app("dnss", MINIMAL)


@pytest.mark.parametrize(
    ("change", "form"),
    [
        pytest.param({"instances": "2"}, "ipaddress", id="a wrong type"),
        pytest.param({"surprise": 1}, "ipaddress", id="an unknown field"),
        pytest.param({"networks": [{"mode": "host"}]}, "ipaddress", id="the newer form"),
        pytest.param({"networks": [{"mode": "container"}]}, "networks", id="another network"),
        pytest.param({"ports": [1]}, "networks", id="the older form"),
    ],
)
def test_the_check_of_apps_can_fail(change: Mapping[str, Any], form: Any) -> None:
    app = render_app("agent", {**MINIMAL, "form": form})
    with pytest.raises(InvalidApp):
        check_app({**app, **change}, form)


@pytest.mark.parametrize("name", NAMES)
def test_each_app_runs_a_command_that_there_is_with_variables_that_it_reads(name: str) -> None:
    assert name in COMMANDS
    app = render_app(name, {**IMAGE, "agent": {"locators": ["docker"]}})
    read = {f"MARATHON_CALICO_{flag}" for flag in ("ETCD", "ETCD_CA", "ETCD_CERT", "ETCD_KEY")}
    read |= {f"MARATHON_CALICO_{name.upper()}_{flag}" for flag in _flags_of(name)}
    assert set(app["env"]) <= read


def _flags_of(name: str) -> list[str]:
    shown = CliRunner().invoke(_command(), [name, "--help"]).output
    words = [word.rstrip(",") for word in shown.split() if word.startswith("--")]
    return [word.removeprefix("--").replace("-", "_").upper() for word in words]


def _command() -> Any:
    from reconciler.cli.main import main as product  # noqa: PLC0415 - it has the same name

    return product


def run(*words: str) -> Result:
    """`python -m charts`, in this process."""
    return CliRunner().invoke(main, list(words))


def test_one_command_renders_all(tmp_path: Path) -> None:
    result = run("render", "--out", str(tmp_path / "apps"))
    assert result.exit_code == 0
    for name in NAMES:
        app = json.loads((tmp_path / "apps" / f"{name}.json").read_text())
        assert app == render_app(name, example())


def test_one_app_is_an_object_and_several_are_a_list() -> None:
    assert json.loads(run("render", "agent").output)["id"] == "/marathon-calico/agent"
    assert len(json.loads(run("render").output)) == len(NAMES)


def test_the_flag_says_which_form() -> None:
    assert "networks" in json.loads(run("render", "--form", "networks", "agent").output)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param('{"etdc": 1}', "etdc: there is no such value", id="unknown"),
        pytest.param('{"etcd": [], "etcd": []}', "stands twice", id="twice"),
        pytest.param("[]", "not a JSON object", id="a list"),
        pytest.param("{", "Expecting", id="no JSON"),
    ],
)
def test_wrong_values_are_a_usage_error_that_names_the_file(
    tmp_path: Path, text: str, line: str
) -> None:
    (tmp_path / "values.json").write_text(text)
    result = run("render", "--values", str(tmp_path / "values.json"))
    assert result.exit_code == 2
    assert line in result.output
    assert "values.json" in result.output
