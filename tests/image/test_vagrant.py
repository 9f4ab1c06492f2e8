"""demo/Vagrantfile is only looked at: no virtual machine runs in a test."""

import re
import shutil
import subprocess

from tests.image.images import ROOT

FILE = ROOT / "demo/Vagrantfile"


def test_it_is_ruby() -> None:
    ruby = shutil.which("ruby")
    if ruby is not None:
        done = subprocess.run([ruby, "-c", str(FILE)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return
    # Without Ruby: every block that is opened is closed, and nothing else is.
    words = FILE.read_text().partition("<<~SHELL")
    rest = words[2].partition("\n  SHELL\n")[2]
    code = re.sub(r"#.*|\"[^\"]*\"", "", words[0] + rest)
    assert len(re.findall(r"\bdo\b", code)) == len(re.findall(r"\bend\b", code)) == 3


def test_it_installs_what_make_demo_would_ask_for() -> None:
    needed = re.findall(r'missing="\$missing ([a-z0-9-]+)"', _plain_part_of_prepare())

    assert {"python3-venv", "libnftables1"} <= {*needed}
    assert {*needed} <= {*FILE.read_text().split()}


def _plain_part_of_prepare() -> str:
    text = (ROOT / "demo/prepare.sh").read_text()
    return text.partition("# What plays another program in the tests")[0]
