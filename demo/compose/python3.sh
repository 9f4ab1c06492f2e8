#!/bin/sh
# Runs the Python of another root directory with that root's own loader and
# libraries, whatever those of this system are.
root=/opt/marathon-calico/root
interpreter=$root$(cat /opt/marathon-calico/cni/interpreter)
libraries=
for each in "$root"/lib/*-linux-gnu "$root"/usr/lib/*-linux-gnu "$root"/usr/local/lib "${interpreter%/bin/*}/lib"; do
    [ ! -d "$each" ] || libraries=$libraries:$each
done
for loader in "$root"/lib/*-linux-gnu/ld-linux-*.so.* "$root"/lib/ld-linux-*.so.* "$root"/lib64/ld-linux-*.so.*; do
    [ ! -x "$loader" ] || exec "$loader" --library-path "${libraries#:}" "$interpreter" "$@"
done
echo "no loader of programs below $root" >&2
exit 127
