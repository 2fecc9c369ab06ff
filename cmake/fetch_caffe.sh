#!/bin/sh
# Fetches BVLC Caffe's source, verifies it and unpacks it:
#   fetch_caffe.sh WORK_DIR SOURCE_DIR
# WORK_DIR receives apt's private state and the download. SOURCE_DIR is created
# only on success. The machine's own apt sources are read to find its archive, and
# are not changed.
set -eu

# BVLC Caffe at commit 99bd997 (2018-08-21), the last one upstream, as Debian
# 11 (bullseye) ships it.
suite=bullseye
version=1.0.0+git20180821.99bd997-8
tarball=caffe_1.0.0+git20180821.99bd997.orig.tar.gz
sha256=e0eb3f06794f7402c77b7dec8e8480273ee1a1bb192e9122b621a69d4147ad0c
own_checkout="or give your own checkout of BVLC Caffe with CAFFE_SOURCE_DIR=/path/to/caffe"

fail() { echo "fetch_caffe: $*" >&2; exit 1; }

[ $# = 2 ] || fail "usage: fetch_caffe.sh WORK_DIR SOURCE_DIR"
mkdir -p "$1"
work=$(cd "$1" && pwd)
source_dir=$2

verified() { echo "$sha256  $1" | sha256sum --status --check -; }

private_apt() {
  apt-get -q \
    -o Dir::State="$work/apt" -o Dir::State::status="$work/apt/status" \
    -o Dir::Cache="$work/apt/cache" -o Debug::NoLocking=true \
    -o Dir::Etc::sourcelist="$work/apt/sources.list" \
    -o Dir::Etc::sourceparts=/dev/null -o APT::Sandbox::User="$(id -un)" "$@"
}

if [ ! -f "$work/$tarball" ]; then
  command -v apt-get >/dev/null 2>&1 || fail \
    "apt-get, which fetches Caffe's source, is not on this machine; put $tarball into $work yourself, $own_checkout"
  # Download under another folder: an interrupted download must not be used.
  downloads=$work/apt/downloads
  rm -rf "$downloads"
  mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$downloads"
  : > "$work/apt/status"
  archives=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' \
    | awk '$2 == "main" {print $1}' | sort -u)
  : > "$work/apt/log"
  [ -n "$archives" ] || fail \
    "the machine's apt sources name no Debian archive (component main); put $tarball into $work yourself, $own_checkout"
  for archive in $archives; do
    echo "deb-src $archive $suite main" > "$work/apt/sources.list"
    if private_apt update >>"$work/apt/log" 2>&1 &&
       (cd "$downloads" && private_apt source --download-only "caffe=$version") \
         >>"$work/apt/log" 2>&1 && verified "$downloads/$tarball"; then
      mv "$downloads/$tarball" "$work/$tarball"
      break
    fi
  done
  [ -f "$work/$tarball" ] || fail \
    "no archive of this machine's apt sources gave the source package caffe $version (suite $suite): check the network (apt's output is in $work/apt/log), $own_checkout"
fi
verified "$work/$tarball" || {
  actual=$(sha256sum "$work/$tarball" | cut -d' ' -f1)
  fail "$work/$tarball has sha256 $actual, not $sha256; delete it and run make again, $own_checkout"
}

unpacked=$source_dir.unpacking
rm -rf "$unpacked" "$source_dir"
mkdir -p "$unpacked"
tar -xzf "$work/$tarball" -C "$unpacked" || fail \
  "$work/$tarball could not be unpacked into $unpacked; is the disk full?"
mv "$unpacked" "$source_dir"
