#!/bin/sh
# Fetches BVLC Caffe's source, verifies it and unpacks it:
#   fetch_caffe.sh WORK_DIR SOURCE_DIR
# It comes from the first that has it: the machine's Debian archive, or Caffe's
# public repository. WORK_DIR receives apt's private state and what is downloaded.
# SOURCE_DIR is created only on success; where it is this version, nothing is
# done. The machine's own apt sources are read to find its archive, and are not
# changed. CAFFE_REPOSITORY names a mirror of the repository.
set -eu

# BVLC Caffe at commit 99bd997 (2018-08-21), upstream's last that changes code. Debian
# 11 (bullseye) ships the same files.
suite=bullseye
version=1.0.0+git20180821.99bd997-8
tarball=caffe_1.0.0+git20180821.99bd997.orig.tar.gz
tarball_sha256=e0eb3f06794f7402c77b7dec8e8480273ee1a1bb192e9122b621a69d4147ad0c
repository=${CAFFE_REPOSITORY:-https://github.com/BVLC/caffe.git}
commit=99bd99795dcdf0b1d3086a8d67ab1782a8a08383
files_sha256=40e059ef5413038c0efa9460777fb94fabca35676804d6409491a49e909849a5
own_checkout="give your own checkout of BVLC Caffe with CAFFE_SOURCE_DIR=/path/to/caffe"

fail() { echo "fetch_caffe: $*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }
sha256() { sha256sum "$1" | cut -d' ' -f1; }

[ $# = 2 ] || fail "usage: fetch_caffe.sh WORK_DIR SOURCE_DIR"
mkdir -p "$1" || fail "the folder $1 cannot be made"
work=$(cd "$1" && pwd)
source_dir=$2
fetched=$source_dir.sha256  # of the files when they were fetched
# Each file's name and content.
hash_of() {
  (cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) \
    | sha256sum | cut -d' ' -f1
}
if [ -d "$source_dir" ]; then
  [ -f "$fetched" ] || hash_of "$source_dir" > "$fetched"
  [ "$(cat "$fetched")" != "$files_sha256" ] || exit 0
fi
echo "Fetching Caffe's source"
unpacked=$source_dir.unpacking
clone=$work/git
trap 'rm -rf "$unpacked" "$clone"' EXIT
trap 'exit 130' INT TERM

private_apt() {
  apt-get -q \
    -o Dir::State="$work/apt" -o Dir::State::status="$work/apt/status" \
    -o Dir::Cache="$work/apt/cache" -o Debug::NoLocking=true \
    -o Dir::Etc::sourcelist="$work/apt/sources.list" \
    -o Dir::Etc::sourceparts=/dev/null -o APT::Sandbox::User="$(id -un)" "$@"
}

# On failure, each function sets `reason`.
download_from_debian() {
  reason="apt-get is not on this machine"
  has apt-get || return 1
  # Download into another folder: an interrupted download must not be used.
  downloads=$work/apt/downloads
  rm -rf "$downloads"
  mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$downloads"
  : > "$work/apt/status"
  : > "$work/apt/log"
  # Without its lists, as in images, apt knows the archives all the same.
  archives=$(apt-get indextargets --no-release-info --format '$(REPO_URI) $(COMPONENT)' \
    | awk '$2 == "main" {print $1}' | sort -u)
  reason="the machine's apt sources name no Debian archive (component main)"
  [ -n "$archives" ] || return 1
  reason="no archive of the machine's apt sources gave the source package caffe $version (suite $suite; apt's output is in $work/apt/log)"
  for archive in $archives; do
    echo "deb-src $archive $suite main" > "$work/apt/sources.list"
    if private_apt update >>"$work/apt/log" 2>&1 &&
       (cd "$downloads" && private_apt source --download-only "caffe=$version") \
         >>"$work/apt/log" 2>&1 &&
       [ "$(sha256 "$downloads/$tarball")" = "$tarball_sha256" ]; then
      mv "$downloads/$tarball" "$work/$tarball"
      return 0
    fi
  done
  return 1
}

unpack_from_git() {
  reason="git is not on this machine"
  has git || return 1
  reason="git could not fetch commit $commit from $repository (its output is in $work/git.log)"
  rm -rf "$clone"
  # A hook of git has them set, for another repository.
  unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
  GIT_TERMINAL_PROMPT=0; export GIT_TERMINAL_PROMPT
  { git init --quiet "$clone" && git -C "$clone" -c http.lowSpeedLimit=1000 -c http.lowSpeedTime=60 \
      fetch --quiet --depth 1 "$repository" "$commit"; } >"$work/git.log" 2>&1 || return 1
  actual=$(git -C "$clone" rev-parse FETCH_HEAD)
  reason="$repository gave commit $actual, not $commit"
  [ "$actual" = "$commit" ] || return 1
  reason="the files of $repository could not be written to $unpacked; is the disk full?"
  git -C "$clone" -c core.autocrlf=false archive --output="$clone/files.tar" FETCH_HEAD &&
    tar -xmf "$clone/files.tar" -C "$unpacked" || return 1
}

rm -rf "$unpacked"
mkdir -p "$unpacked" || fail "the folder $unpacked cannot be made"
if [ -f "$work/$tarball" ] || download_from_debian; then
  from=$work/$tarball
  actual=$(sha256 "$from")
  [ "$actual" = "$tarball_sha256" ] || fail \
    "$from has sha256 $actual, not $tarball_sha256; delete it and run make again, or $own_checkout"
  # -m: the files are newer than what was compiled of another version.
  tar -xmzf "$from" -C "$unpacked" || fail \
    "$from could not be unpacked into $unpacked; is the disk full?"
else
  no_debian=$reason
  from="commit $commit of $repository"
  unpack_from_git || fail \
    "Caffe's source could not be fetched: $no_debian; $reason; check the network, put $tarball into $work, or $own_checkout"
fi

actual=$(hash_of "$unpacked")
[ "$actual" = "$files_sha256" ] || fail \
  "the files of $from have the hash $actual, not $files_sha256; run make again, or $own_checkout"
rm -rf "$source_dir" "$fetched"
mv "$unpacked" "$source_dir"
echo "$files_sha256" > "$fetched"
