# The calls of Marathon that the scripts beside this one share. They read it; it
# does nothing by itself. They work with any Marathon, at $MARATHON_URL.

MARATHON_URL=${MARATHON_URL:-http://127.0.0.1:8080}
MARATHON_URL=${MARATHON_URL%/}
apps=$(dirname "$0")/apps
# Where the apps in demo/apps expect Star's facts: the embedded cluster's master.
facts=http://172.31.80.10:9004

say() { printf '%s\n' "$*"; }
fail() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

command -v curl >/dev/null || fail "curl is not installed"
reply=$(mktemp)
trap 'rm -f "$reply"' EXIT

# call METHOD PATH [BODY]: sets $code to the status; the answer is in "$reply".
call() {
    code=$(curl --silent --show-error --noproxy 127.0.0.1,localhost --max-time 30 \
        --header 'Accept: application/json' --header 'Content-Type: application/json' \
        --output "$reply" --write-out '%{http_code}' \
        --request "$1" ${3+--data "$3"} "$MARATHON_URL$2") ||
        fail "no Marathon answers at $MARATHON_URL; set MARATHON_URL, or run demo/launch-cluster.sh"
}

# True from Marathon 1.5 on: it takes networks, and loses the groups of ipAddress.
uses_networks() {
    call GET /v2/info
    [ "$code" = 200 ] || fail "GET $MARATHON_URL/v2/info: $code $(cat "$reply")"
    version=$(sed -n 's/.*"version" *: *"\([0-9]*\.[0-9]*\).*/\1/p' "$reply" | head -n 1)
    [ -n "$version" ] || fail "what answers at $MARATHON_URL tells no version of Marathon"
    [ "${version%.*}" -gt 1 ] || { [ "${version%.*}" -eq 1 ] && [ "${version#*.}" -ge 5 ]; }
}

# put_group NAME: creates or replaces the group of demo/apps/NAME.json.
put_group() {
    file=$apps/$1.json
    if uses_networks && [ -f "$apps/networks/$1.json" ]; then
        file=$apps/networks/$1.json
    fi
    case ${STAR_FACTS_URL-$facts} in
    '') change="s| --facts $facts||" ;;
    *) change="s|$facts|${STAR_FACTS_URL-$facts}|" ;;
    esac
    call PUT "/v2/groups/$1?force=true" "$(sed "$change" "$file")"
    case $code in
    200 | 201) say "/$1 is being started by Marathon $version at $MARATHON_URL" ;;
    *) fail "PUT $MARATHON_URL/v2/groups/$1: $code $(cat "$reply")" ;;
    esac
}

# delete_group NAME: deletes the group with all its apps; it may be gone already.
delete_group() {
    call DELETE "/v2/groups/$1?force=true"
    case $code in
    200) say "/$1 is being stopped by Marathon at $MARATHON_URL" ;;
    404) say "/$1 does not run at $MARATHON_URL" ;;
    *) fail "DELETE $MARATHON_URL/v2/groups/$1: $code $(cat "$reply")" ;;
    esac
}
