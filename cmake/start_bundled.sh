#!/bin/sh
# Starts the program of this script's name from a bundle (cmake/bundle.py).
fail() { echo "dnnh: $*" >&2; exit 1; }

# Of these programs, a machine may have none.
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

# cuBLAS, cuDNN, cuRAND and NCCL: in cuda/ beside bin/, of the machine, or of the Python
# packages nvidia-*-cu13 that its Python has.
if [ @CUDA@ = 1 ]; then
  packages=$(python3 -c 'import glob, nvidia
print(":".join(found for path in nvidia.__path__ for found in glob.glob(path + "/*/lib")))' 2>/dev/null || true)
  LD_LIBRARY_PATH=$folder/cuda:${LD_LIBRARY_PATH:-}:$packages
  export LD_LIBRARY_PATH
fi

# Settings of other Pythons.
unset PYTHONHOME PYTHONPATH
PYTHONNOUSERSITE=1
export PYTHONNOUSERSITE
exec "$folder/libexec/$name" "$@"
