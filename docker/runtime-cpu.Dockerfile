# The live server on a CPU. From the root of the repository: docker build -f docker/runtime-cpu.Dockerfile -t usert .
FROM python:3.12.13-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY docker/build.txt docker/runtime-cpu.txt docker/
RUN python -m venv --without-pip /opt/usert \
    && pip install --require-hashes --only-binary :all: -r docker/build.txt \
    && pip --python /opt/usert install --require-hashes --only-binary :all: -r docker/runtime-cpu.txt
COPY . .
# hadolint ignore=DL3013
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
    && pip --python /opt/usert install --no-index --find-links /dist 'usert[cpu,view]' \
    && pip --python /opt/usert check

FROM python:3.12.13-slim-bookworm
RUN useradd --uid 10001 --create-home usert \
    && install --directory --owner usert --group usert --mode 700 /run/usert /var/lib/usert /var/cache/usert
COPY --from=build /opt/usert /opt/usert
ENV PATH=/opt/usert/bin:$PATH XDG_CACHE_HOME=/var/cache/usert PYTHONUNBUFFERED=1
USER 10001
WORKDIR /var/lib/usert
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s CMD ["python", "-c", "\
from http.client import HTTPConnection as H; \
c = H('127.0.0.1', 9464, timeout=5); \
c.request('GET', '/health'); \
raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["usert"]
CMD ["serve", "--config", "/etc/usert/site.toml", "--monitor", "127.0.0.1:9464"]
