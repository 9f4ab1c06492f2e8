# Sourced: goes to the repository's root and finds Compose, new or old.
cd "$(dirname "$0")/../.."
if docker compose version >/dev/null 2>&1; then
    COMPOSE="docker compose"
elif command -v docker-compose >/dev/null; then
    COMPOSE=docker-compose
else
    echo "no Compose: apt-get install docker-compose" >&2
    exit 2
fi
compose() { $COMPOSE "$@"; }
