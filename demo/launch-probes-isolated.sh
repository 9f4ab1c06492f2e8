#!/bin/sh
# Starts Star's probes in two groups that do not reach each other.
set -eu
. "$(dirname "$0")/calls.sh"

put_group star-iso
