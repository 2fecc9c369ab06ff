#!/bin/bash
# Runs a bundle (`make bundle`) in a root file system that has nothing but it, a shell and
# glibc's libraries:
#   tests/in_bare_root.sh build/dnnh-0.2.0-linux-x86_64.tar.xz [COMMAND...]
# COMMANDs take the place of the demo and `caffe time`. Needs root.
set -eu

fail() { echo "in_bare_root: $*" >&2; exit 1; }

[ $# -ge 1 ] || fail "usage: tests/in_bare_root.sh ARCHIVE [COMMAND...]"
archive=$1
shift
[ $# -gt 0 ] || set -- \
  "./bin/python tools/demo.py" \
  "./bin/caffe time -model results/demo_digits/train_test.prototxt -iterations 1"
[ "$(id -u)" = 0 ] || fail "chroot needs root"
if [ -z "${IN_BARE_ROOT:-}" ]; then
  IN_BARE_ROOT=1 exec unshare --mount --propagation private --pid --fork --kill-child \
    bash "$0" "$archive" "$@"
fi

chroot=$(command -v chroot)
root=$(mktemp -d)
trap 'umount "$root/proc" || :; umount -R "$root/dev" || :; rm -rf --one-file-system "$root"' EXIT
mkdir -p "$root/bin" "$root/lib64" "$root/lib/x86_64-linux-gnu" "$root/tmp" "$root/dev" "$root/proc"
cp -L /bin/dash "$root/bin/sh"
cp -L /lib64/ld-linux-x86-64.so.2 "$root/lib64/"
for name in c m mvec pthread dl rt resolv util anl; do
  cp -L /lib/x86_64-linux-gnu/lib$name.so.[0-9] "$root/lib/x86_64-linux-gnu/"
done
mount --rbind --make-rslave /dev "$root/dev"
mount -t proc proc "$root/proc"
tar -xJf "$archive" -C "$root"
for command in "$@"; do
  echo "\$ $command"
  env -i PATH=/bin HOME=/tmp "$chroot" "$root" /bin/sh -c "cd /dnnh && $command" ||
    fail "'$command' ended with $?"
done
