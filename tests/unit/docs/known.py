"""Commands of the pages that somebody else's program reads, and who runs them."""

from dataclasses import dataclass

_CLUSTER = "tests/cluster/test_pages.py"
_HAND = "tests/image/test_by_hand.py"
_IMAGE = "tests/image/test_image.py"

#: Test -> beginnings of the commands that it takes from a page and runs.
RUN = {
    f"{_CLUSTER}::test_the_app_of_readme_gets_its_addresses": (
        'eval "$(.venv/bin/python -m demo env)"',
        'curl -fsS -X PUT "$MARATHON_URL/v2/apps/shop/web"',
    ),
    f"{_CLUSTER}::test_operators_commands_answer_as_written": (
        'curl -fsS "$ETCD/v2/keys/marathon-calico/v1/applied/HOST"',
    ),
    f"{_CLUSTER}::test_the_stand_ins_page_is_as_written": (
        'curl -X PUT "$MARATHON_URL/v2/apps/marathon-calico/agent"',
    ),
    f"{_CLUSTER}::test_the_charts_walk_through_upgrades_and_ends_the_demos_own": (
        'curl -fsS "$MARATHON_URL/v2/deployments"',
        "for app in agent controller; do curl -fsS -X PUT",
        'curl -fsS -X DELETE "$MARATHON_URL/v2/apps/marathon-calico/',
        'curl -X DELETE "$MARATHON_URL/v2/apps/marathon-calico/',
        'curl -fsS -X PUT "$MARATHON_URL/v2/apps/marathon-calico/agent"',
    ),
    "tests/cluster/test_holds_page.py::test_a_hold_is_seen_and_approved_as_the_page_says": (
        ".venv/bin/python -m demo up --background --supervised",
        ".venv/bin/python -m demo stop ",
        ".venv/bin/python -m demo start ",
        'curl -fsS -X PUT "$MARATHON_URL/v2/apps/many"',
        'curl -fsS -X DELETE "$MARATHON_URL/v2/apps/many"',
    ),
    f"{_HAND}::test_a_host_is_set_up_upgraded_and_cleared_by_hand": (
        "etcd --enable-v2=true",
        "python3 -m venv /opt/marathon-calico",
        "pip install .",
        "/opt/marathon-calico/bin/pip install .",
        "rm -rf /var/lib/marathon-calico /run/marathon-calico",
        "rm -f /opt/cni/bin/marathon-calico-cni",
        "rm -rf /opt/marathon-calico",
    ),
    f"{_HAND}::test_stars_programs_start_as_its_page_says": (
        ".venv/bin/python -m demo.star.probe",
        ".venv/bin/python -m demo.star.collect",
    ),
    f"{_HAND}::test_a_file_of_credentials_is_one_that_a_controller_reads": (
        "install -m 600 /dev/null marathon.credentials",
        "printf",
        "marathon-calico controller --marathon https://",
    ),
    f"{_IMAGE}::test_the_agent_runs_as_the_page_on_docker_says": (
        "docker rm -f marathon-calico-agent",
        "docker run -d --name marathon-calico-agent",
    ),
    f"{_IMAGE}::test_the_image_puts_the_plugin_on_a_host_and_goes_as_the_pages_say": (
        "docker build -t marathon-calico .",
        "docker rmi marathon-calico",
        "docker run --rm --user 0",
    ),
    "tests/contract/test_charts_page.py::test_the_pages_commands_do_what_it_says": (
        "cp charts/values.example.json values.json",
        ".venv/bin/python -m charts render --values values.json --out apps",
    ),
    "tests/kernel/test_etcd_roles.py::test_an_agent_does_all_its_work_and_nobody_elses": (
        *("etcdctl user add", "etcdctl user grant", "etcdctl role add", "etcdctl role grant"),
        "etcdctl auth enable",
    ),
    "tests/kernel/test_uninstall_page.py::test_the_pages_commands_leave_nothing": (
        "nft delete table inet marathon-calico",
        "ip route flush",
        "ip rule del",
        "ip -6 route flush",
        "ip -6 rule del",
        "ip link del group 80",
        'curl -X DELETE "$ETCD/v2/keys/',
    ),
    "tests/kernel/test_firewalls.py::test_what_other_firewalls_drop_is_told_and_the_remedy_helps": (
        "iptables -I DOCKER-USER",
    ),
}


@dataclass(frozen=True, slots=True)
class NotRun:
    """Why no test runs some commands, and with which words their page says so."""

    why: str
    said: str
    commands: tuple[str, ...]


NOT_RUN = (
    NotRun(
        "a test's machine has no systemd as its first process",
        "was not run",
        ("systemctl daemon-reload", "systemctl disable", "systemctl restart", "journalctl -u"),
    ),
    NotRun(
        "tests ask the name server themselves, without this program",
        "bind9-dnsutils",
        ("dig @127.0.0.1",),
    ),
    NotRun(
        "there is no DC/OS", "no DC/OS to run this on", ("dcos security", "pip install '.[dcos]'")
    ),
)

#: Names of commands, rather than commands: a sentence speaks of them.
NAMES = frozenset(
    {
        *("docker run", "docker build", "docker compose", "docker rm -f"),
        *("docker inspect X", "ip -batch", "nft -f -", "python3 -m http.server PORT"),
        "docker run --security-opt systempaths=unconfined",
    }
)
