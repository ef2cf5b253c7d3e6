#!/bin/bash
# trial.sh SCENE FIRST SECOND: on a host without Python, artifacts of versions 1 and 2 that bundle these Pythons.
# trial.sh refused PYTHON WORDS: an artifact for the other C library.
# Where the host has musl, busybox runs this: no arrays, no `[[`.
set -euo pipefail
scene=$1 first=${2%-musl} second=${3%-musl}
one=/artifacts/1-$2.zip two=/artifacts/2-$3.zip
root=/srv/mysite
export HOME=/root
cd /

step() { printf -- '-- %s (%d s)\n' "$*" "${SECONDS:-0}"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
expect() { case $1 in *"$2"*) ;; *) fail "no \"$2\" in: $1" ;; esac; }

# shellcheck source=/dev/null
. /etc/os-release
found=$(find /bin/ /usr/bin/ /usr/local/bin/ -name 'python*')
[ -z "$found" ] || fail "this host has $found"

# What the server of the live release answers.
page() {
    local bin=$root/current/venv/bin server ask
    case $scene in
    musl) "$bin/waitress-serve" --listen=127.0.0.1:8000 app:application & ;;
    *) "$bin/gunicorn" app:application --log-level warning --bind 127.0.0.1:8000 & ;;
    esac
    server=$!
    ask='import time, urllib.request
for attempt in range(200):
    try:
        print(urllib.request.urlopen("http://127.0.0.1:8000/").read().decode())
        break
    except OSError:
        time.sleep(0.1)'
    "$one" exec --root "$root" -- python -c "$ask"
    kill "$server"
    wait "$server" || true
}

# expect_live VERSION PYTHON: by a page, by the status, and by the files.
expect_live() {
    local release
    release=$(readlink -f "$root/current")
    expect "$(page)" "site $1, Python $2 in $release/python"
    expect "$("$one" status --root "$root" --json)" "\"path\": \"$release/python\""
    "$one" verify --root "$root" >/dev/null
}

# Both versions, one after the other and back.
releases() {
    step "$PRETTY_NAME, no Python, $(readlink -f /bin/sh)"
    "$one" -d /srv/test --check
    [ ! -e /srv/test ] || fail "a check leaves a directory"
    "$one" deploy --root "$root"
    expect_live 1 "$first"
    step "the second release"
    "$two" deploy --root "$root"
    expect_live 2 "$second"
    step "rollback"
    "$two" rollback --root "$root"
    expect_live 1 "$first"
    "$one" activate 2 --root "$root"
    expect_live 2 "$second"
    "$two" store verify "$root/store"
}

expect_no_temporary_files() {
    local left
    left=$(find /tmp /var/tmp /dev/shm /run -name 'wheelbarrow*' 2>/dev/null)
    [ -z "$left" ] || fail "temporary files are left: $left"
}

case $scene in
releases)
    releases
    step "by bash"
    bash "$one" deploy --root /srv/by-bash >/dev/null
    expect "$(/srv/by-bash/current/venv/bin/python -c 'import app; print(app.VERSION)')" 1
    step "by busybox, and nothing but busybox"
    mkdir /opt/busybox
    busybox --install -s /opt/busybox
    PATH=/opt/busybox /bin/busybox sh "$one" deploy --root /srv/by-busybox >/dev/null
    expect "$(/srv/by-busybox/current/venv/bin/python -c 'import app; print(app.VERSION)')" 1
    step "by a user who is not root"
    install -d -o 1234 -g 1234 /home/somebody
    setpriv --reuid=1234 --regid=1234 --clear-groups env -i HOME=/home/somebody PATH=/usr/bin:/bin \
        "$one" -d /home/somebody/site >/dev/null
    expect "$(/home/somebody/site/venv/bin/python -c 'import app; print(app.VERSION)')" 1
    expect_no_temporary_files
    ;;
musl)
    releases
    "$two" doctor --root "$root"
    expect "$("$root/current/venv/bin/python" "$two" --probe)" alpine-3.22:3.11
    step "by a user who is not root"
    su somebody -c "HOME=/home/somebody $one deploy --root /home/somebody/site" >/dev/null
    expect "$(/home/somebody/site/current/venv/bin/python -c 'import app; print(app.VERSION)')" 1
    expect_no_temporary_files
    ;;
refused)
    step "$PRETTY_NAME: refuse $one"
    for asked in "-d /srv/test --check" "-d /srv/test" "deploy --root $root"; do
        code=0
        # shellcheck disable=SC2086
        said=$("$one" $asked 2>&1) || code=$?
        [ "$code" = 4 ] || fail "exit code $code: $said"
        expect "$said" "this is Python $first (cp${first%.*}${first#*.}) on $3"
    done
    left=$(find /srv -path '*/releases/*' -o -path /srv/test)
    [ -z "$left" ] || fail "a refused artifact leaves $left"
    ;;
noexec)
    step "$PRETTY_NAME, temporary directories without programs"
    code=0
    said=$("$one" deploy --root "$root" 2>&1) || code=$?
    [ "$code" = 4 ] || fail "exit code $code: $said"
    expect "$said" "cannot be run from a temporary directory: /tmp /var/tmp /dev/shm /run"
    TMPDIR=/root "$one" deploy --root "$root" >/dev/null
    export TMPDIR=/root
    expect_live 1 "$first"
    ;;
*) fail "unknown scene $scene" ;;
esac
step "done"
