"""What the pages have an operator do by hand, done as written on a machine of the test's own."""

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.embedded.etcd_binary import find_etcd
from tests.image.spare import ETCD, HOST, MARATHON, SpareMachine, running_spare_machine
from tests.pages import PAGES, ROOT, block_with, blocks, commands_of, told

pytestmark = pytest.mark.timeout(300)

PATIENCE = 30.0
HAND, SYSTEMD, UNINSTALL, UPGRADE, STAR = (
    f"docs/{name}.md" for name in ("real-cluster", "systemd", "uninstall", "upgrade", "star")
)
UNIT = "/etc/systemd/system/marathon-calico-agent.service"
OPT = "/opt/marathon-calico/bin"


@pytest.fixture
def machine(source: Path, tmp_path: Path) -> Iterator[SpareMachine]:
    """One with the sources, and an index of packages that is a directory."""
    place = tmp_path / "sources"
    shutil.copytree(source, place, symlinks=True)
    (place / ".venv").symlink_to(ROOT / ".venv")
    environment = {
        **{"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(source / "wheels")},
        **{"PIP_DISABLE_PIP_VERSION_CHECK": "1", "ETCD_DATA_DIR": "/var/tmp/etcd"},
    }
    with running_spare_machine(tmp_path / "root", place, environment) as made:
        yield made


def one_told(page: str, beginning: str) -> str:
    """The page's one command in a sentence that begins so."""
    (found,) = (each for each in told(page) if each.startswith(beginning))
    return found


def until(machine: SpareMachine, command: str, said: str) -> None:
    """Wait until a command says something."""
    deadline = time.monotonic() + PATIENCE
    while re.search(said, answer := machine.attempt(command)[0]) is None:
        logs = machine.attempt("tail -n 5 /var/tmp/*.log")[0]
        assert time.monotonic() < deadline, f"{command}\n{answer}\n{logs}"
        time.sleep(0.1)


def test_a_host_is_set_up_upgraded_and_cleared_by_hand(machine: SpareMachine) -> None:
    # given etcd, and the program with its service
    machine.run(f"PATH=$PATH:{Path(find_etcd()).parent}:{OPT}")
    machine.begin(one_told(HAND, "etcd "), "etcd.log")
    stand_in = f"--listen {MARATHON}:8080 --state /var/tmp/m.json --agent {HOST}=http://{HOST}:5051"
    machine.begin(f".venv/bin/python -m demo.marathon {stand_in}", "marathon.log")
    install = block_with(HAND, "python3 -m venv")
    assert install in block_with(SYSTEMD, "systemctl")
    machine.run(install)
    unit = blocks(SYSTEMD, "ini")[0]
    machine.write(UNIT, unit)
    machine.write("/etc/default/marathon-calico-agent", block_with(SYSTEMD, "AGENT_HOST"))
    check_service(machine)

    # when its agent and a controller run
    (start,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    machine.run("set -a; . /etc/default/marathon-calico-agent; set +a")
    machine.begin(start, "agent.log")
    machine.run("agent=$!")
    machine.begin(one_told(HAND, "marathon-calico controller"), "controller.log")
    machine.run("controller=$!")

    # then the operator is told so
    until(machine, one_told(HAND, "marathon-calico status"), "hosts +1/1 reporting")
    until(machine, "nft list tables", "inet marathon-calico\n")

    # and the plugins are where they were asked for
    cni, modules = (one_told(HAND, f"marathon-calico {each} ") for each in ("cni", "netmodules"))
    machine.run(cni)
    assert "/calico/modules.json" in machine.run(modules)
    assert "unchanged" in machine.run(cni)
    version = "CNI_COMMAND=VERSION /opt/cni/bin/marathon-calico-cni"
    assert "supportedVersions" in machine.run(version)

    # and all of it can be done again, and be taken off
    machine.run(one_told(UPGRADE, "/opt/marathon-calico/bin/pip install"))
    assert machine.run(commands_of(block_with(UNINSTALL, "get tasks"))[0]).split() == [
        "no",
        "tasks",
    ]
    machine.run("kill $agent $controller; wait $agent $controller", code=0)
    machine.attempt(block_with(UNINSTALL, "nft delete table"))
    machine.run(block_with(UNINSTALL, "rm -f"))
    machine.run(f"ETCD=http://{ETCD}:2379; {block_with(UNINSTALL, '/v2/keys/')}")
    machine.run(one_told(UNINSTALL, "rm -rf /opt"))
    assert machine.run("nft list tables").split() == []
    left = machine.run("find /opt/cni /calico /etc/mesos /var/lib /run -name '*calico*'")
    assert left.split() == ["/calico"]


def test_a_file_of_credentials_is_one_that_a_controller_reads(machine: SpareMachine) -> None:
    *make, start = commands_of(block_with("docs/credentials.md", "install -m"))
    machine.run(f"PATH={ROOT}/.venv/bin:$PATH")

    for command in make:
        machine.run(command)
    machine.begin(f"MARATHON_CALICO_ETCD=http://{ETCD}:2379 {start}", "controller.log")

    until(machine, "cat /var/tmp/controller.log", '"command": "controller"')
    machine.run("chmod 644 marathon.credentials")
    assert "chmod 600" in machine.run(start, code=2)


def check_service(machine: SpareMachine) -> None:
    """What can be known of it where systemd is not the first process."""
    if shutil.which("systemd-analyze") is not None:
        said = machine.run(f"systemd-analyze verify {UNIT}")
        assert "marathon-calico" not in said, said
    if shutil.which("systemctl") is not None:
        # It makes its links then, and starts nothing: that it is not asked for.
        machine.run("export SYSTEMD_OFFLINE=1")
        machine.run(commands_of(block_with(SYSTEMD, "systemctl"))[-1].replace(" --now", ""))
        wanted = "/etc/systemd/system/multi-user.target.wants/marathon-calico-agent.service"
        machine.run(f"test -L {wanted}")
        machine.run(one_told(UPGRADE, "systemctl restart"))
        machine.run(one_told(UNINSTALL, "systemctl disable").replace(" --now", ""))
        machine.run(f"test -L {wanted}", code=1)


def test_stars_programs_start_as_its_page_says(machine: SpareMachine) -> None:
    machine.run(f"PATH=$PATH:{Path(find_etcd()).parent}")
    machine.begin(one_told(HAND, "etcd "), "etcd.log")
    machine.run('echo \'[{"id": "P", "url": "http://10.0.0.7:9000/status"}]\' >resources.json')

    for number, command in enumerate(commands_of(block_with(STAR, "demo.star.probe"))):
        machine.begin(command, f"star-{number}.log")

    until(machine, "curl -fsS http://10.0.0.7:9000/status", '"reachable": *true')
    until(machine, "curl -fsS http://10.0.0.7:9001/responses", '"statusCode": *200')
    until(machine, "curl -fsS http://10.0.0.1:9004/facts", '"hosts"')
    assert "facts" in PAGES[STAR]
