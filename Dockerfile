# Images of this repository:
#
#   docker build --target cpu -t dnnh .            docker run --rm dnnh make demo
#   docker build --target serve -t dnnh-serve .    the search page; see docs/install.md
#   docker build --target gpu -t dnnh-gpu .        docker run --rm --gpus all dnnh-gpu caffe train ...
#
# With --build-arg DEBIAN=bookworm-slim on Debian 12.
ARG DEBIAN=trixie-slim

FROM debian:${DEBIAN} AS cpu
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates git make \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /dnnh
# These change less often than the code.
COPY cmake/packages.txt cmake/install_packages.sh cmake/
RUN cmake/install_packages.sh cmake/packages.txt && rm -rf /var/lib/apt/lists/*
COPY . .
RUN make && rm -rf /root/.cache build/caffe-download
ENV PATH=/dnnh/.venv/bin:$PATH
CMD ["make", "demo"]

FROM cpu AS serve
RUN make .venv/installed-serve && rm -rf /root/.cache
EXPOSE 8000
ENTRYPOINT ["python", "tools/serve.py", "--host", "0.0.0.0"]
CMD ["--index", "/index/images.index.h5"]

# The bundle is made on the older glibc, for NVIDIA's image has an older one than Debian 13.
FROM debian:bookworm-slim AS cuda-build
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates git make \
 && rm -rf /var/lib/apt/lists/*
COPY --from=nvidia/cuda:13.0.1-devel-ubuntu24.04 /usr/local/cuda-13.0 /usr/local/cuda
WORKDIR /dnnh
COPY . .
RUN PATH=/usr/local/cuda/bin:$PATH make bundle CUDA=1 \
 && mkdir /opt/dnnh \
 && tar -xJf build-cuda/dnnh-*.tar.xz -C /opt

FROM nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04 AS gpu
COPY --from=cuda-build /opt/dnnh /opt/dnnh
ENV PATH=/opt/dnnh/bin:$PATH
WORKDIR /opt/dnnh
CMD ["caffe", "device_query", "-gpu", "0"]
