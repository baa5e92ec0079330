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

# pip, the builder of the wheel, and the writer of the SBOM. No layer of the image holds them.
FROM python AS tools
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/tools
RUN --mount=type=bind,source=deploy/image/tools.txt,target=/tmp/tools.txt \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca_bundle,target=/run/secrets/ca_bundle \
    /opt/tools/bin/pip install --no-cache-dir --only-binary :all: --no-deps --require-hashes \
        --requirement /tmp/tools.txt

# The root file system may be read-only, so all is compiled here. Equal files get equal times, and
# so a layer that a change leaves as it was keeps its digest, and is not shipped again.
FROM tools AS code
COPY pyproject.toml README.md LICENSE /src/
COPY convlast /src/convlast
RUN /opt/tools/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheels /src \
    && /opt/tools/bin/pip install --no-deps --no-index --no-compile \
        --target /opt/convlast/site-packages /wheels/convlast-*.whl \
    && mv /opt/convlast/site-packages/bin /opt/convlast/ \
    && sed -i '1s|^#!.*|#!/opt/venv/bin/python3|' /opt/convlast/bin/convlast
COPY --chmod=0755 deploy/pipelines/convert.sh /opt/convlast/bin/convlast-step
COPY service /srv/service
RUN find /opt/convlast /srv/service -exec touch -d @0 {} + \
    && PYTHONHASHSEED=0 python3 -m compileall -q /opt/convlast /srv/service \
    && mkdir -p /layers/first /layers/second /layers/service /layers/last \
    && package=/opt/convlast/site-packages/convlast \
    && cp -a --parents "$package"/checkpoints "$package"/report "$package"/smoke /layers/first \
    && rm -r "$package"/checkpoints "$package"/report "$package"/smoke \
    && cp -a --parents "$package" /layers/second \
    && rm -r "$package" \
    && cp -a --parents /srv/service /layers/service \
    && cp -a --parents /opt/convlast /layers/last \
    && find /layers -exec touch -d @0 {} +

FROM python AS environment
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV PATH=/opt/convlast/bin:/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN python3 -m venv --without-pip /opt/venv \
    && echo /opt/convlast/site-packages \
        >"$(echo /opt/venv/lib/python3*/site-packages)/convlast.pth" \
    && groupadd --gid 10001 convlast \
    && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home \
        --home-dir /var/lib/convlast --shell /usr/sbin/nologin convlast \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/convlast

# torch has a layer of its own: gigabytes that change only with its pins. TORCH_BUILD is the part of
# the wheel's version behind the plus, such as `cpu`: pip's configuration names an index that has
# it, and TORCH_SHA256 may give its hash. Empty: PyPI's wheel, for CUDA 13.0, whose hashes are here.
# The image has no compiler, so nothing in it can use torch's headers. Of `bin` torch needs one file.
ARG TORCH_BUILD=
ARG TORCH_SHA256=
RUN --mount=type=bind,from=tools,source=/opt/tools,target=/opt/tools \
    --mount=type=bind,source=deploy/image/torch.txt,target=/tmp/torch.txt \
    --mount=type=bind,source=deploy/image/torch-needs.txt,target=/tmp/torch-needs.txt \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca_bundle,target=/run/secrets/ca_bundle \
    /opt/tools/bin/pip --python /opt/venv install --no-cache-dir --only-binary :all: --no-deps \
        --require-hashes --requirement /tmp/torch-needs.txt \
    && if [ -z "${TORCH_BUILD}" ]; then \
        /opt/tools/bin/pip --python /opt/venv install --no-cache-dir --only-binary :all: --no-deps \
            --require-hashes --requirement /tmp/torch.txt; \
    else \
        hash=${TORCH_SHA256:+--hash=sha256:${TORCH_SHA256}} \
        && sed -n "s/^\(torch==[^ ]*\).*/\1+${TORCH_BUILD} ${hash}/p" /tmp/torch.txt \
        | /opt/tools/bin/pip --python /opt/venv install --no-cache-dir --only-binary :all: \
            --requirement /dev/stdin; \
    fi \
    && torch=$(echo /opt/venv/lib/python3*/site-packages/torch) \
    && rm -r "${torch:?}/include" "${torch:?}/test" \
    && find "${torch}/bin" -mindepth 1 ! -name torch_shm_manager -delete

RUN --mount=type=bind,from=tools,source=/opt/tools,target=/opt/tools \
    --mount=type=bind,source=deploy/image/packages.txt,target=/tmp/packages.txt \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca_bundle,target=/run/secrets/ca_bundle \
    /opt/tools/bin/pip --python /opt/venv install --no-cache-dir --only-binary :all: --no-deps \
        --require-hashes --requirement /tmp/packages.txt \
    && /opt/tools/bin/pip --python /opt/venv check

# RAY=1 adds Ray, the program that starts a part of a cluster, and the folders of what its parts share.
ARG RAY=
RUN --mount=type=bind,from=tools,source=/opt/tools,target=/opt/tools \
    --mount=type=bind,source=deploy/image/ray.txt,target=/tmp/ray.txt \
    --mount=type=bind,source=deploy/image/cluster.sh,target=/tmp/cluster.sh \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca_bundle,target=/run/secrets/ca_bundle \
    if [ -n "${RAY}" ]; then \
        /opt/tools/bin/pip --python /opt/venv install --no-cache-dir --only-binary :all: --no-deps \
            --require-hashes --requirement /tmp/ray.txt \
        && /opt/tools/bin/pip --python /opt/venv check \
        && install -m 0755 /tmp/cluster.sh /opt/venv/bin/cluster \
        && install -d -o 10001 -g 10001 -m 0700 /etc/convlast/ray /etc/convlast/store; \
    fi

# Frameworks whose models the smoke can run, such as `torchvision==0.28.0 monai`. What they need
# comes with them, and what is installed stays as it is.
ARG EXTRA_PACKAGES=
# The list is split into its words.
# hadolint ignore=SC2086
RUN --mount=type=bind,from=tools,source=/opt/tools,target=/opt/tools \
    --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca_bundle,target=/run/secrets/ca_bundle \
    if [ -n "${EXTRA_PACKAGES}" ]; then \
        /opt/tools/bin/pip --python /opt/venv list --format freeze \
        | /opt/tools/bin/pip --python /opt/venv install --no-cache-dir --only-binary :all: \
            --constraint /dev/stdin ${EXTRA_PACKAGES}; \
    fi

FROM code AS listing
RUN --mount=type=bind,from=environment,source=/opt/venv,target=/opt/venv \
    mkdir /layers/last/srv \
    && /opt/tools/bin/cyclonedx-py environment --output-reproducible --output-format JSON \
        --output-file /layers/last/srv/sbom.json /opt/venv/bin/python3 \
    && find /layers/last -exec touch -d @0 {} +

# What asks for a place for temporary files gets the work folder, which the service makes in the
# volume. convlast has two layers, so that a change of it ships half.
FROM environment AS service
COPY --from=code /layers/first /
COPY --from=code /layers/second /
COPY --from=code /layers/service /
COPY --from=listing /layers/last /
ENV CONVLAST_WORK_DIR=/var/lib/convlast/work \
    TMPDIR=/var/lib/convlast/work
WORKDIR /srv
USER 10001:10001
VOLUME /var/lib/convlast
EXPOSE 8000
STOPSIGNAL SIGTERM
# Every 2 s, so that `docker compose up --wait` ends soon after the service is ready: engines before
# 25 know no shorter interval for the start. Bash asks, since Python would take as long as 20 of it.
HEALTHCHECK --interval=2s --timeout=5s --start-period=180s --retries=15 CMD ["bash", "-c", "\
exec 3<>\"/dev/tcp/127.0.0.1/${CONVLAST_PORT:-8000}\" \
&& printf 'GET /readyz HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nConnection: close\\r\\n\\r\\n' >&3 \
&& read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
CMD ["python3", "-m", "service"]

ARG BASE_IMAGE
ARG VERSION=0.1.0
ARG REVISION=
ENV CONVLAST_REVISION=${REVISION}
LABEL org.opencontainers.image.title="convlast" \
      org.opencontainers.image.description="Converts the Conv3d weights of PyTorch checkpoints to channels_last_3d, and proves the result" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
