#!/usr/bin/env bash
# Everything that a GPU should show, within a few minutes, on a machine with CUDA 13 and PyTorch
# that needs nothing else:
#   tests/on_gpu.sh dnnh-gpu-check.tar.xz results/gpu               12 minutes
#   tests/on_gpu.sh dnnh-gpu-check.tar.xz results/gpu --seconds 540
#   tests/on_gpu.sh dnnh-gpu-check.tar.xz results/gpu --rehearse    on the CPU, with tiny numbers
# 'make gpu-bundle' makes the archive. Results: gpu.json, gpu.md, and the model that was trained.
set -euo pipefail

if [ $# -lt 2 ]; then
  sed -n 's/^#   //p' "$0" >&2
  exit 2
fi
archive=$1 output=$2
shift 2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -W ignore -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' \
  "$archive" "$folder"
python3 "$folder/dnnh/on_gpu.py" "$folder/dnnh" "$output" "$@"
