# One image for every role; the command says which. Packages are the pinned ones that roles need, nothing to develop
# with and no embedded server.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS packages
WORKDIR /build
COPY requirements.runtime.lock requirements.lock ./
# What builds our own package is pinned by the lock of everybody.
RUN python -m venv /opt/venv \
 && awk '/^[^ #]/ {take = /^setuptools==/} take' requirements.lock > build.lock \
 && /opt/venv/bin/pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps \
      --require-hashes --only-binary :all: -r requirements.runtime.lock -r build.lock

FROM python:${PYTHON}
RUN groupadd --system --gid 10001 sagapay \
 && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent sagapay \
 && install --directory --owner sagapay --group sagapay --mode 0700 /var/lib/sagapay
COPY --from=packages /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SAGAPAY_STATE_DIR=/var/lib/sagapay
WORKDIR /opt/sagapay
# .dockerignore is a list of what may come here.
COPY . .
RUN pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps --no-build-isolation --editable . \
 && python -m compileall -q . \
 && pip uninstall --quiet --yes setuptools pip
USER sagapay
ENTRYPOINT ["sagapay"]
CMD ["--help"]
