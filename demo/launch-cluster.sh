#!/bin/sh
# Starts the embedded cluster in the background: Marathon on port 8080 of this
# machine's loopback, or on that of $MARATHON_URL, and Star's page on 9001, or
# $STAR_PORT. Arguments are those of `python -m demo up`.
set -eu
cd "$(dirname "$0")/.."

url=${MARATHON_URL:-http://127.0.0.1:8080}
place=${url#http://}
place=${place%%/*}
case $place in
127.0.0.1:* | localhost:*) port=${place##*:} ;;
*)
    printf '%s\n' "launch-cluster.sh: the embedded cluster's Marathon is on 127.0.0.1, not at $url:" \
        "unset MARATHON_URL, or set it to such as http://127.0.0.1:8080" >&2
    exit 2
    ;;
esac
demo/prepare.sh
exec .venv/bin/python -m demo up --background --port "$port" --page-port "${STAR_PORT:-9001}" "$@"
