#!/bin/sh
# Stops what launch-probes-before.sh started.
set -eu
. "$(dirname "$0")/calls.sh"

delete_group star-before
