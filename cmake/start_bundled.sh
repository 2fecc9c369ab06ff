#!/bin/sh
# Starts the program of this script's name from a bundle (cmake/bundle.py).
fail() { echo "dnnh: $*" >&2; exit 1; }

# readlink, uname and getconf may be missing.
self=$(readlink -f "$0" 2>/dev/null) || self=
name=${0##*/}
folder=${self:-$0}
case $folder in */*) folder=${folder%/*}/.. ;; *) folder=.. ;; esac

machine=$(uname -m 2>/dev/null || echo x86_64)
[ "$machine" = x86_64 ] || fail "this bundle is for x86-64 Linux; this machine is $machine"
[ -e /lib64/ld-linux-x86-64.so.2 ] || fail \
  "this bundle needs the C library glibc 2.@GLIBC@ or newer; this machine has none"
version=$(getconf GNU_LIBC_VERSION 2>/dev/null || echo "glibc 2.@GLIBC@")
[ "${version##*.}" -ge @GLIBC@ ] || fail \
  "this bundle needs glibc 2.@GLIBC@ or newer; this machine has $version: build from source there, or use a container"
[ -x "$folder/libexec/$name" ] || fail "there is no program $name in $folder/libexec"

# Settings of other Pythons.
unset PYTHONHOME PYTHONPATH
PYTHONNOUSERSITE=1
export PYTHONNOUSERSITE

# cuBLAS, cuDNN, cuRAND and NCCL: in cuda/ beside bin/, of the machine, or of the packages
# nvidia-* of its Python. (bin/ has no python3, which would be this script.)
if [ @CUDA@ = 1 ]; then
  packages=$(python3 -c 'import glob, nvidia
print(":".join(found for path in nvidia.__path__ for found in glob.glob(path + "/*/lib")))' 2>/dev/null || true)
  LD_LIBRARY_PATH=$folder/cuda${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}${packages:+:$packages}
  export LD_LIBRARY_PATH
fi

exec "$folder/libexec/$name" "$@"
