# One image for all commands: marathon-calico is its entry point.
#
#   docker build -t marathon-calico .
#
# The base needs Python 3.11 or newer, and libnftables or an apt-get to install
# it. Wheels that lie in wheels/ are taken from there; with PIP_NO_INDEX=1,
# nothing is taken from anywhere else.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
# pip reads these by itself.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_NO_INDEX
# dcos: for service accounts of DC/OS.
ARG EXTRAS=
COPY . /build
RUN python3 -m venv /opt/marathon-calico \
 && /opt/marathon-calico/bin/pip install --no-cache-dir --disable-pip-version-check \
      --find-links /build/wheels "/build${EXTRAS:+[$EXTRAS]}" \
 && /opt/marathon-calico/bin/pip uninstall --yes --quiet setuptools pip

FROM ${BASE}
LABEL org.opencontainers.image.title="marathon-calico" \
      org.opencontainers.image.description="An address and group isolation for every Marathon task" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN python3 -c 'import ctypes; ctypes.CDLL("libnftables.so.1")' 2>/dev/null \
 || { apt-get update \
   && apt-get install --yes --no-install-recommends libnftables1 \
   && rm -rf /var/lib/apt/lists/*; }
COPY --from=build /opt/marathon-calico /opt/marathon-calico
ENV PATH=/opt/marathon-calico/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1
# Nobody in particular. The agent alone is started with --user 0.
USER 10001:10001
# Each command serves /healthz at a port of its own, so a health check belongs to
# who starts it: controller 9401, agent 9402, dns 9403.
EXPOSE 9401 9402 9403 53/udp 53/tcp
ENTRYPOINT ["marathon-calico"]
CMD ["--help"]
