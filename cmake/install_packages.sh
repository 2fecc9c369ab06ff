#!/bin/sh
# Installs the Debian packages of a list that are missing:
#   install_packages.sh LIST
# If all are installed, it does nothing and needs no root.
set -eu

fail() { echo "install_packages: $*" >&2; exit 1; }

list=$1

command -v dpkg-query >/dev/null 2>&1 || fail \
  "this is not a Debian system; install the equivalents of the packages in $list by hand, then run make with SKIP_PACKAGES=1"

missing=
for package in $(grep -v '^#' "$list"); do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null \
    | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
  as_root=
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
  as_root="sudo -n"
else
  fail "these packages are missing and installing them needs root: run 'sudo apt-get install$missing', then make again"
fi

echo "Installing Debian packages:$missing"
$as_root apt-get update -qq || fail \
  "the package lists could not be fetched; check the network, then run make again"
# shellcheck disable=SC2086  # the list is meant to split into words
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $missing >/dev/null || fail \
  "apt-get could not install$missing; see its message above"
