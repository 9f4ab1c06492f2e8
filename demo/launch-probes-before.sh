#!/bin/sh
# Starts Star's probes on their hosts' network: some wait, their port is taken.
set -eu
. "$(dirname "$0")/calls.sh"

put_group star-before
