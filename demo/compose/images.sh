#!/bin/sh
# Builds the product's image and, from it, what the compose cluster needs besides.
# Names are overridden as in docker-compose.yml; BASE is the product's base.
set -eu
cd "$(dirname "$0")/../.."

product=${MARATHON_CALICO_IMAGE:-marathon-calico:latest}
build() { docker build ${DOCKER_BUILD_FLAGS:-} "$@"; }

build --tag "$product" ${BASE:+--build-arg "BASE=$BASE"} .
for target in star mesos-agent; do
    case $target in
    star) name=${STAR_IMAGE:-marathon-calico/star:latest} ;;
    mesos-agent) name=${MESOS_AGENT_BUILT_IMAGE:-marathon-calico/mesos-agent:latest} ;;
    esac
    build --tag "$name" --target "$target" --file demo/compose/Dockerfile \
        --build-arg "MARATHON_CALICO_IMAGE=$product" \
        ${MESOS_AGENT_IMAGE:+--build-arg "MESOS_AGENT_IMAGE=$MESOS_AGENT_IMAGE"} demo
done
