#!/bin/sh
# Starts the compose cluster from images that `make images` built.
set -eu
. "$(dirname "$0")/compose.sh"

compose up --detach --remove-orphans
cat <<END
Marathon    http://127.0.0.1:${MARATHON_PORT:-8080}
Mesos       http://127.0.0.1:${MESOS_PORT:-5050}
the page    http://127.0.0.1:${PAGE_PORT:-9001}
status      $COMPOSE exec controller-1 marathon-calico status
END
