#!/bin/sh
# Ends the embedded cluster that launch-cluster.sh started, with all that runs on
# it. Arguments are those of `python -m demo down`.
set -eu
cd "$(dirname "$0")/.."

if [ ! -x .venv/bin/python ]; then
    echo "stop-cluster.sh: there is no .venv, so no cluster was started from here" >&2
    exit 3
fi
exec .venv/bin/python -m demo down "$@"
