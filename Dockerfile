# One image for operator and workers, and the examples to try them with.

# What to install is taken out of pyproject.toml first: changing anything else in that file keeps the large layer below.
FROM docker.io/library/python:3.11-slim AS requirements
COPY pyproject.toml /
RUN python3 -c "import tomllib; project = tomllib.load(open('/pyproject.toml', 'rb'))['project']; \
        print(*project['dependencies'], *project['optional-dependencies']['operator'], sep='\n')" > /requirements.txt

FROM docker.io/library/python:3.11-slim

# Where packages come from is up to the builder: pip's own settings are honored as build arguments.
ARG PIP_NO_INDEX
ARG PIP_FIND_LINKS
ARG PIP_INDEX_URL

ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/venv \
 && groupadd --gid 65532 longshore \
 && useradd --system --uid 65532 --gid 65532 --create-home --home-dir /home/longshore longshore

COPY --from=requirements /requirements.txt /build/
RUN pip install --requirement /build/requirements.txt

COPY pyproject.toml README.md LICENSE /build/
COPY runtime /build/runtime
COPY operator /build/operator
RUN pip install --no-deps /build && rm -r /build

COPY docs/examples /app
WORKDIR /app
ENV PYTHONPATH=/app

# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
CMD ["longshore", "--help"]
