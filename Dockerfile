# The service, in a CUDA container.
#
#   docker compose up                                    with an NVIDIA GPU
#   docker compose -f docker-compose.yml -f docker-compose.cpu.yml up     without one
#
# The base has Python 3.12 and what NVIDIA's runtime looks for; torch brings its own CUDA libraries,
# for CUDA 13.0 (driver 580 or newer). For a CPU image name a plain base, and give pip an index or a
# folder of CPU wheels through its own configuration (the secret `pip_conf`).
ARG BASE_IMAGE=docker.io/nvidia/cuda:13.0.2-base-ubuntu24.04

FROM ${BASE_IMAGE}
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# Pins of the distribution's packages would break with its next security update.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libgomp1 python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# torch first and alone: gigabytes that change with its version only.
COPY constraints.txt /tmp/constraints.txt
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca_bundle,target=/run/secrets/ca_bundle \
    python3 -m venv /opt/venv \
    && pip install --no-cache-dir --constraint /tmp/constraints.txt torch

WORKDIR /srv
COPY pyproject.toml README.md LICENSE ./
COPY convlast ./convlast
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca_bundle,target=/run/secrets/ca_bundle \
    pip install --no-cache-dir --constraint /tmp/constraints.txt '.[service]' \
    && python3 -m compileall -q /opt/venv/lib
COPY service ./service

RUN useradd --uid 10001 --no-log-init --create-home convlast \
    && install -d -o convlast -g convlast -m 0700 /var/lib/convlast
USER 10001
VOLUME /var/lib/convlast

ENV CONVLAST_WORK_DIR=/var/lib/convlast
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s --retries=3 \
    CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
CMD ["python3", "-m", "service"]
