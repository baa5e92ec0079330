# The service as an image: see README.md for its use, docs/container.md for the reasons.
#
# Needed on the machine: an NVIDIA driver of branch 580 or newer (580.65.06), which CUDA 13.0 asks
# for, and NVIDIA's container toolkit. Without a GPU: docker-compose.cpu.yml.

# Has what NVIDIA's toolkit looks for, and Python 3.12 in its distribution. torch brings its own
# CUDA libraries: those of 13.0.3, says the metadata of its wheel, so the base has that version.
ARG BASE_IMAGE=nvidia/cuda:13.0.3-base-ubuntu24.04

FROM ${BASE_IMAGE} AS python
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# A pin of a distribution's package breaks with its next security update.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libgomp1 python3 \
    && rm -rf /var/lib/apt/lists/*

# pip, and what builds a wheel: mounted below where they are needed, and in no layer of the image.
FROM python AS tools
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/tools
RUN --mount=type=bind,source=constraints.txt,target=/tmp/constraints.txt \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca_bundle,target=/run/secrets/ca_bundle \
    /opt/tools/bin/pip install --no-cache-dir --constraint /tmp/constraints.txt hatchling
COPY pyproject.toml README.md LICENSE /src/
COPY convlast /src/convlast
RUN /opt/tools/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheels /src

FROM python AS service
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN python3 -m venv --without-pip /opt/venv

# torch first and alone: gigabytes that change with constraints.txt only. TORCH_BUILD is the part of
# the wheel's version behind the plus, such as `cpu`: pip's configuration names an index that has
# it. Empty: the wheel that pip finds first, on PyPI the one for CUDA 13.0.
ARG TORCH_BUILD=
RUN --mount=type=bind,from=tools,source=/opt/tools,target=/opt/tools \
    --mount=type=bind,source=constraints.txt,target=/tmp/constraints.txt \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca_bundle,target=/run/secrets/ca_bundle \
    version=$(sed -n 's/^torch==//p' /tmp/constraints.txt) \
    && /opt/tools/bin/pip --python /opt/venv install --no-cache-dir \
        --constraint /tmp/constraints.txt "torch==${version}${TORCH_BUILD:++${TORCH_BUILD}}"

RUN --mount=type=bind,from=tools,source=/opt/tools,target=/opt/tools \
    --mount=type=bind,from=tools,source=/wheels,target=/wheels \
    --mount=type=bind,source=constraints.txt,target=/tmp/constraints.txt \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca_bundle,target=/run/secrets/ca_bundle \
    /opt/tools/bin/pip --python /opt/venv install --no-cache-dir \
        --constraint /tmp/constraints.txt "$(echo /wheels/convlast-*.whl)[service]"

# The root file system may be read-only: nothing is compiled when it runs, and what asks for a place
# for temporary files gets the work folder, which the service makes in the volume.
COPY service /srv/service
RUN python3 -m compileall -q /srv/service \
    && groupadd --gid 10001 convlast \
    && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home \
        --home-dir /var/lib/convlast --shell /usr/sbin/nologin convlast \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/convlast
ENV CONVLAST_WORK_DIR=/var/lib/convlast/work \
    TMPDIR=/var/lib/convlast/work
WORKDIR /srv
USER 10001:10001
VOLUME /var/lib/convlast
EXPOSE 8000
STOPSIGNAL SIGTERM
# Not with urllib, which would ask a proxy that is in the environment.
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s --retries=3 CMD ["python3", "-I", "-c", "\
import http.client, os, sys\n\
port = int(os.environ.get('CONVLAST_PORT', '8000'))\n\
service = http.client.HTTPConnection('127.0.0.1', port, timeout=4)\n\
service.request('GET', '/readyz')\n\
sys.exit(service.getresponse().status != 200)"]
CMD ["python3", "-m", "service"]

ARG BASE_IMAGE
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="convlast" \
      org.opencontainers.image.description="Converts the Conv3d weights of PyTorch checkpoints to channels_last_3d, and proves the result" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
