#!/bin/sh
# star-probe and star-collect, by the name that this file is called by. A file of
# resources is looked for among the demo's apps.
name=${0##*/star-}
root=/opt/marathon-calico/root/opt/star
cd "$root/demo/apps" || exit
PYTHONPATH=$root exec /opt/marathon-calico/python3 -m "demo.star.$name" "$@"
