# One image for every role; the command says which. Packages are the pinned ones that roles need, nothing to develop
# with and no embedded server.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS packages
WORKDIR /build
COPY requirements.runtime.lock .
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps \
      --require-hashes --only-binary :all: -r requirements.runtime.lock \
 && /opt/venv/bin/pip uninstall --quiet --yes pip setuptools

FROM python:${PYTHON}
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /nonexistent sagapay \
 && install --directory --owner sagapay --group sagapay --mode 0700 /var/lib/sagapay
COPY --from=packages /opt/venv /opt/venv
WORKDIR /opt/sagapay
COPY activities/ activities/
COPY api/ api/
COPY bank_adapters/ bank_adapters/
COPY commands/ commands/
COPY domain/ domain/
COPY events/ events/
COPY infra/ infra/
COPY ledger/ ledger/
COPY migrations/ migrations/
COPY workflows/ workflows/
COPY cli.py worker.py ./
COPY --chmod=0755 deploy/docker/sagapay.py /usr/local/bin/sagapay
COPY --chmod=0755 deploy/docker/healthy.py /usr/local/bin/sagapay-healthy
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/sagapay \
    PYTHONUNBUFFERED=1 \
    SAGAPAY_STATE_DIR=/var/lib/sagapay
RUN python -m compileall -q /opt/sagapay
USER sagapay
ENTRYPOINT ["sagapay"]
CMD ["--help"]
