#!/bin/sh
# Starts Star's probes with an address each; all reach all.
set -eu
. "$(dirname "$0")/calls.sh"

put_group star
