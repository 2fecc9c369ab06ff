#!/bin/bash
# Runs `make demo` and `make test` in a pristine Debian, and prints their times:
#   tests/in_distribution.sh SUITE [FOLDER [COMMAND...]]
# SUITE is bookworm or trixie. FOLDER (default /var/tmp/dnnh-SUITE) receives the root file
# system, which is made anew, and what apt and pip download, which is kept. COMMANDs take the
# place of these two. It runs the last commit of this repository, needs root and debootstrap,
# and uses this machine's package settings: Debian archive, apt's options, proxies,
# certificates, and pip's settings.
set -eu

fail() { echo "in_distribution: $*" >&2; exit 1; }

[ $# -ge 1 ] || fail "usage: tests/in_distribution.sh SUITE [FOLDER [COMMAND...]]"
suite=$1
folder=${2:-/var/tmp/dnnh-$suite}
shift $(($# < 2 ? $# : 2))
[ $# -gt 0 ] || set -- "make demo" "make test"
[ "$(id -u)" = 0 ] || fail "a root file system can only be made as root"
command -v debootstrap >/dev/null || fail "debootstrap is missing; install it first"

# In namespaces of their own, mounts and processes end with this script.
if [ -z "${IN_DISTRIBUTION:-}" ]; then
  IN_DISTRIBUTION=1 exec unshare --mount --propagation private --pid --fork --kill-child \
    bash "$0" "$suite" "$folder" "$@"
fi

repository=$(cd "$(dirname "$0")/.." && pwd)
archive=$(apt-get indextargets --no-release-info --format '$(REPO_URI) $(COMPONENT)' \
  | awk '$2 == "main" {print $1; exit}')
[ -n "$archive" ] || fail "the machine's apt sources name no Debian archive (component main)"
root=$folder/root
rm -rf "$root"
mkdir -p "$root" "$folder/apt" "$folder/pip"
echo "Making a pristine $suite in $root"
debootstrap --variant=minbase --cache-dir="$(realpath "$folder/apt")" "$suite" "$root" "$archive" \
  >"$folder/debootstrap.log" 2>&1 || fail "debootstrap failed; see $folder/debootstrap.log"

cp /etc/resolv.conf /etc/hosts "$root/etc/"
# By convention, what an administrator adds to apt's options begins with 9.
for file in /etc/apt/apt.conf.d/9* /etc/apt/apt.conf.d/*proxy* /etc/pip.conf; do
  if [ -e "$file" ]; then cp "$file" "$root$file"; fi
done
# Under another name: the package ca-certificates replaces what has its own.
certificates=/etc/ssl/machine.crt
mkdir -p "$root/etc/ssl"
cp "${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}" "$root$certificates"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount --rbind /dev "$root/dev"
mkdir -p "$root/root/.cache/pip" "$root/var/cache/apt/archives"
mount --bind "$folder/pip" "$root/root/.cache/pip"
mount --bind "$folder/apt" "$root/var/cache/apt/archives"

settings="PIP_CERT=$certificates $(env \
  | grep -E '^(PIP_(INDEX_URL|DEFAULT_TIMEOUT)|OPENBLAS_[A-Z0-9_]+|[a-zA-Z_]+_proxy|[A-Z_]+_PROXY)=' || true)"
inside() {
  # shellcheck disable=SC2086  # one setting, one word
  env -i HOME=/root LANG=C.UTF-8 TERM=dumb PATH=/usr/sbin:/usr/bin:/sbin:/bin $settings \
    chroot "$root" bash -c "$1"
}

# What the README asks for before the first command.
inside 'apt-get update -qq && apt-get install -y -qq --no-install-recommends git make >/dev/null 2>&1' ||
  fail "git and make could not be installed"
git clone --quiet "$repository" "$root/root/dnnh"
inside '. /etc/os-release; echo "$PRETTY_NAME, $(nproc) processors"'
status=0
for command in "$@"; do
  begin=$(date +%s)
  inside "cd /root/dnnh && $command" || status=$?
  echo "$suite: '$command' took $(($(date +%s) - begin)) s and ended with $status"
  [ $status = 0 ] || exit $status
done
