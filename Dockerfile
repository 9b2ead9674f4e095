# Patchwork serving one repository, /repo, on port 8080.
#
#   docker build -t patchwork .
#   docker run --device /dev/fuse --cap-add SYS_ADMIN --security-opt apparmor=unconfined \
#       -v "$PWD/repo:/repo" -p 8080:8080 patchwork
#
# The device and the capability are what mounting takes. The API's token is /repo/.patchwork/token.

FROM debian:bookworm-slim AS build
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        gcc libc6-dev libfuse3-dev pkg-config python3 python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/patchwork
WORKDIR /src
# As a constraint the lock pins what Patchwork needs at run time and leaves its tools out.
ENV PIP_CONSTRAINT=/src/requirements.lock PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# The libraries come before the code, so that a change of the code does not fetch them again.
COPY pyproject.toml requirements.lock ./
RUN /opt/patchwork/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' > needed.txt \
    && /opt/patchwork/bin/pip install -r needed.txt
COPY . .
RUN /opt/patchwork/bin/pip install .

FROM debian:bookworm-slim
# A checkout that is mounted on /repo mostly belongs to another user than root.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates fuse3 git python3 \
    && rm -rf /var/lib/apt/lists/* \
    && git config --system --add safe.directory /repo
COPY --from=build /opt/patchwork /opt/patchwork
COPY docker/entrypoint.sh /usr/local/bin/patchwork-entrypoint
ENV PATH=/opt/patchwork/bin:$PATH PYTHONUNBUFFERED=1
VOLUME /repo
EXPOSE 8080
# `status` starts a daemon where none runs, which must not happen while `init` still imports /repo.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10m \
    CMD test -e /repo/.patchwork/daemon.json && patchwork -C /repo status
ENTRYPOINT ["patchwork-entrypoint"]
