#!/bin/sh
# Stops what launch-probes-isolated.sh started.
set -eu
. "$(dirname "$0")/calls.sh"

delete_group star-iso
