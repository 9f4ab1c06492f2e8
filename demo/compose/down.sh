#!/bin/sh
# Ends the compose cluster; what it kept goes too if VOLUMES is not empty.
set -eu
. "$(dirname "$0")/compose.sh"

compose down --remove-orphans ${VOLUMES:+--volumes}
