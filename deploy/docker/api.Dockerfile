# The api service. Built from the root of the repository:
#   docker build --file deploy/docker/api.Dockerfile --tag likeness-api .

FROM python:3.11.14-slim-bookworm AS build
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /app
COPY requirements/uv.txt requirements/
RUN python -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --require-hashes -r requirements/uv.txt

# What we depend on changes less often than our code: its layer comes first and is kept.
COPY requirements/api.txt requirements/build.txt requirements/
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv venv /opt/venv \
    && /opt/uv/bin/uv pip install --python /opt/venv --no-build --require-hashes -r requirements/api.txt

# Installed in place: the migrations are found beside the code.
COPY pyproject.toml README.md LICENSE ./
COPY alembic/ alembic/
COPY common/ common/
COPY api/ api/
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv pip install --python /opt/venv --no-deps --build-constraints requirements/build.txt --editable . \
    && /opt/venv/bin/python -m compileall -q alembic common api
COPY deploy/docker/healthcheck.py ./

FROM python:3.11.14-slim-bookworm
# Python's own modules come without bytecode, and nothing in here may write it later.
RUN python -m compileall -q -x site-packages "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && groupadd --system --gid 10001 likeness \
    && useradd --system --uid 10001 --gid likeness --no-create-home --home-dir /tmp likeness
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    HTTP__HOST=0.0.0.0 \
    HTTP__PORT=8000
WORKDIR /srv
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "/app/healthcheck.py", "8000", "/health"]
CMD ["python", "-m", "api.main"]
