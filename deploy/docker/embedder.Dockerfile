# The embedder service. Built from the root of the repository:
#   docker build --file deploy/docker/embedder.Dockerfile --tag likeness-embedder .

# cuda: the package index's torch, locked by hashes, which runs on CPUs as well. cpu: PyTorch's own build for CPUs, from
# its index and by version alone, a sixth of the size.
ARG TORCH=cuda

FROM python:3.11.14-slim-bookworm AS build
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /app
COPY requirements/uv.txt requirements/
RUN python -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --require-hashes -r requirements/uv.txt

# What we depend on changes less often than our code: its layer comes first and is kept.
FROM build AS dependencies-cuda
COPY requirements/embedder.txt requirements/build.txt requirements/
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv venv /opt/venv \
    && /opt/uv/bin/uv pip install --python /opt/venv --no-build --require-hashes -r requirements/embedder.txt

FROM build AS dependencies-cpu
COPY requirements/embedder.txt requirements/embedder-cpu.txt requirements/build.txt requirements/
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv venv /opt/venv \
    && /opt/uv/bin/uv pip install --python /opt/venv --no-build --no-deps \
        --require-hashes -r requirements/embedder-cpu.txt \
    && /opt/uv/bin/uv pip install --python /opt/venv --no-build --no-deps --no-verify-hashes --torch-backend cpu \
        --constraints requirements/embedder.txt torch torchvision

# hadolint ignore=DL3006
FROM dependencies-${TORCH} AS project
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY common/ common/
COPY embedder/ embedder/
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv pip install --python /opt/venv --no-deps --build-constraints requirements/build.txt --editable . \
    && /opt/venv/bin/python -m compileall -q common embedder
COPY deploy/docker/healthcheck.py ./

FROM python:3.11.14-slim-bookworm
# Python's own modules come without bytecode, and nothing in here may write it later.
RUN python -m compileall -q -x site-packages "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && groupadd --system --gid 10001 likeness \
    && useradd --system --uid 10001 --gid likeness --no-create-home --home-dir /tmp likeness \
    && install --directory --owner likeness --group likeness /models
COPY --from=project /opt/venv /opt/venv
COPY --from=project /app /app
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    EMBEDDER__HOST=0.0.0.0 \
    EMBEDDER__PORT=8100 \
    HF_HOME=/models
WORKDIR /srv
USER 10001:10001
EXPOSE 8100
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "/app/healthcheck.py", "8100", "/health"]
CMD ["python", "-m", "embedder"]
