#!/usr/bin/env bash
# Compiles our CUDA code, all in one, where there is a CUDA compiler. It needs neither the
# libraries of a CUDA build nor a GPU. ctest runs it in a build without CUDA, with the folders
# of that build's headers:
#   tests/compile_cuda.sh build/generated/patched/*/include build/generated ...
set -euo pipefail

nvcc=${CUDACXX:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
if ! command -v "$nvcc" >/dev/null; then
  echo "There is no CUDA compiler; the CUDA code is not compiled"
  exit 77
fi
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
(cd "$root" && printf '#include "%s"\n' layers/gpu/*.c* \
  layers/data/triplet_data_layer.cpp) > "$folder/all.cu"
"$nvcc" -std=c++17 -arch=sm_80 -DDNNH_OLDEST_GPU=80 -Xcompiler -Wno-deprecated-declarations \
  -I"$root" "${@/#/-I}" -Xcompiler -idirafter,"$root/tests/layers/gpu/stubs" \
  -c "$folder/all.cu" -o "$folder/all.o"
echo "Compiled $(grep -c . "$folder/all.cu") files with $("$nvcc" --version | grep -o 'release [^,]*')"
