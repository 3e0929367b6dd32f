# Fine-tuning and export; on a GPU with `--device cuda`, the driver from the host, by NVIDIA's container toolkit.
# From the root of the repository: docker build -f docker/train.Dockerfile -t usert:train .
FROM python:3.12.13-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY docker/build.txt docker/train.txt docker/
RUN python -m venv --without-pip /opt/usert \
    && pip install --require-hashes --only-binary :all: -r docker/build.txt \
    && pip --python /opt/usert install --require-hashes --only-binary :all: -r docker/train.txt
COPY . .
# hadolint ignore=DL3013
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
    && pip --python /opt/usert install --no-index --find-links /dist 'usert[train,export]' \
    && pip --python /opt/usert check

FROM python:3.12.13-slim-bookworm
RUN useradd --uid 10001 --create-home usert \
    && install --directory --owner usert --group usert --mode 700 /var/lib/usert
COPY --from=build /opt/usert /opt/usert
ENV PATH=/opt/usert/bin:$PATH PYTHONUNBUFFERED=1
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001
WORKDIR /var/lib/usert
HEALTHCHECK NONE
ENTRYPOINT ["usert"]
CMD ["train", "--help"]
