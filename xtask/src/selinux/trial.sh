#!/bin/bash
# In the virtual machine, as root: a site behind nginx with SELinux enforcing, before and after what `doctor` and
# docs/guides/enterprise-linux.md name; then the same with fapolicyd. Ends with 1 if anything is otherwise than expected.
export TERM=dumb SYSTEMD_PAGER=cat SYSTEMD_COLORS=0 LC_ALL=C.UTF-8 HOME=/root
failures=0
cd /
uptime=$(cut -d. -f1 /proc/uptime)
step() { printf -- '-- %s (%d s)\n' "$*" $(($(cut -d. -f1 /proc/uptime) - uptime)); }
# expect WHAT TEXT PATTERN: the text has the extended regular expression.
expect() {
    if grep -qE -- "$3" <<<"$2"; then
        echo "ok: $1"
    else
        echo "FAILED: $1: no \"$3\" in:"
        printf '%s\n' "$2"
        failures=$((failures + 1))
    fi
}
wheelbarrow() { /usr/local/bin/wheelbarrow --color never "$@" 2>&1 | cat; return "${PIPESTATUS[0]}"; }
page() { curl -sS "http://127.0.0.1:$1/" 2>&1; }
status() { curl -sS -o /dev/null -w '%{http_code}' "http://127.0.0.1:$1/$2" 2>&1; }
labels() { stat -c '%C %n' "$@" 2>&1; }
# denials [SINCE]: what the kernel has refused since then, each once.
denials() {
    ausearch --message AVC --start "${1:-boot}" 2>/dev/null | grep denied |
        sed -E 's/.*denied +\{ (.*) \}.*comm="([^"]*)".*scontext=[^:]*:[^:]*:([^:]*).*tcontext=[^:]*:[^:]*:([^:]*).*tclass=([^ ]*).*/\2 (\3): \1 of \5 \4/' |
        grep -v '^systemd-getty\|^agetty' | sort | uniq -c
}
# finding ROOT RULE PART: what doctor says.
finding() {
    wheelbarrow doctor --root "$1" --json |
        python3 -c 'import json, sys; print(*(f[sys.argv[2]] for f in json.load(sys.stdin)["findings"] if f["rule"] == sys.argv[1]), sep="\n")' "$2" "$3"
}
# front NAME ROOT PORT: nginx in front of a root.
front() {
    sed "s,ROOT,$2,; s/PORT/$3/; s/NAME/$1/" /opt/trial/nginx.conf >"/etc/nginx/sites-enabled/$1"
    systemctl restart nginx
}

step "SELinux: $(getenforce), policy $(sestatus | awk '/policy name/ { print $4 }'), $(id -Z)"
install /opt/trial/wheelbarrow /usr/local/bin/
root=/srv/mysite
mkdir -p $root/shared
wheelbarrow unit /opt/trial/1.zip --root $root --only server --write /etc/systemd/system
systemctl daemon-reload
systemctl enable --quiet --now mysite.socket
step "the first deploy, below /srv"
wheelbarrow deploy /opt/trial/1.zip --root $root
front mysite $root 80
expect "the services start in enforcing mode" "$(curl -sS --unix-socket /run/mysite.sock http://localhost/)" '^site 1 as system_u:system_r:initrc_t'
expect "nginx may not connect to the socket" "$(status 80)" 502
expect "nginx may not read static files" "$(status 80 static/style.css)" 403
expect "doctor reads the mode" "$(wheelbarrow doctor --root $root)" 'SELinux is enforcing'
expect "doctor finds the static files" "$(finding $root selinux-label what)" "$root/releases/1-[0-9a-f]*/mysite/static has the type var_t:"
enforces='SELinux enforces its policy, and files that are made in /root have the type [a-z_]*home'
expect "--check knows the types of homes" "$(wheelbarrow install /opt/trial/plain.zip -d /root/site --check)" "$enforces"
expect "--check in Python does, too" "$(python3 /opt/trial/plain.zip -d /root/site --check --bootstrap)" "$enforces"
expect "--check has nothing against /srv" "$(wheelbarrow install /opt/trial/plain.zip -d /srv/other --check | grep -c SELinux)" '^0$'
denials

step "what doctor names"
hint=$(finding $root selinux-label hint)
sh -xc "$hint" 2>&1
expect "static files of the site's user wait for the next deploy" "$(status 80 static/style.css)" 403
expect "doctor is content" "$(wheelbarrow doctor --root $root)" 'nothing is wrong'
step "what the guide names for the socket"
semanage fcontext -a -t httpd_var_run_t '/run/mysite\.sock'
systemctl stop mysite.service
systemctl restart mysite.socket
labels /run/mysite.sock
echo "nginx now gets $(status 80)"
denials recent
echo '(allow httpd_t initrc_t (unix_stream_socket (connectto)))' >/root/mysite.cil
semodule -i /root/mysite.cil
expect "nginx connects to the socket" "$(page 80)" '^site 1 as'

step "a second deploy, in two parts"
since=$(date '+%H:%M:%S')
staged=$(wheelbarrow deploy /opt/trial/2.zip --root $root --stage)
echo "$staged"
release=$(echo $root/releases/2-*)
expect "programs are labelled before the switch" "$(labels "$release"/venv/bin/gunicorn)" ':bin_t:'
expect "static files are labelled before the switch" "$(labels "$release"/mysite/static/style.css)" ':httpd_sys_content_t:'
wheelbarrow activate 2 --root $root
expect "the new release is served" "$(page 80)" '^site 2 as'
expect "its static files are served" "$(status 80 static/style.css)" 200
expect "\`current\` is labelled" "$(labels $root/current)" ':httpd_sys_content_t:'
for _ in $(seq 100); do [ -s $root/shared/media/finished ] && break; sleep 0.5; done
expect "the worker of the first release has finished" "$(cat $root/shared/media/finished 2>&1)" '^1$'
step "a release that fails, and a rollback"
expect "it is rolled back" "$(wheelbarrow deploy /opt/trial/3.zip --root $root; echo "exit code $?")" 'exit code 13'
expect "the release of before is served" "$(page 80)" '^site 2 as'
wheelbarrow rollback --root $root
expect "after a rollback, the first release is served" "$(page 80)" '^site 1 as'
expect "doctor is content" "$(wheelbarrow doctor --root $root)" 'nothing is wrong'
refused=$(denials "$since")
[ -z "$refused" ] && refused=nothing
expect "nothing is refused any more" "$refused" '^nothing$'

step "a root with labels that nothing may use, and a bundled Python"
systemctl stop mysite.socket mysite.service 'mysite-worker@*'
own=/data/mysite
mkdir -p $own/shared
cat >$own/shared/wheelbarrow.toml <<'TOML'
[release.server]
kind = "systemd"
unit = "own.service"
[release.probe]
url = "http://localhost/"
socket = "/run/own.sock"
deadline = 60
TOML
wheelbarrow unit /opt/trial/own.zip --root $own --name own --only server --write /etc/systemd/system
systemctl daemon-reload
systemctl enable --quiet --now own.socket
/opt/trial/own.zip deploy --root $own >/tmp/said 2>&1
echo "exit code $?: $(tail -n 3 /tmp/said)"
labels $own $own/current $own/current/python/bin/python3.11
expect "doctor finds the bundled Python" "$(finding $own selinux-label what)" "$own/releases/1-[0-9a-f]*/python/bin has the type default_t"
sh -xc "$(finding $own selinux-label hint)" 2>&1
labels $own $own/current $own/current/python/bin/python3.11
/opt/trial/own.zip deploy --root $own >/tmp/said 2>&1
echo "exit code $?: $(tail -n 3 /tmp/said)"
expect "its own Python serves" "$(curl -sS --unix-socket /run/own.sock http://localhost/ 2>&1)" "^site 1 as .* by Python in $own/releases/"
expect "doctor finds nothing" "$(finding $own selinux-label what)" '^$'
systemctl stop own.socket own.service

step "a restorecon that fails is reported"
contexts=/etc/selinux/default/contexts/files/file_contexts
mkdir /root/contexts
mv $contexts $contexts.bin /root/contexts/
expect "a note has its reason" "$(wheelbarrow deploy /opt/trial/plain.zip --root /srv/plain)" 'note: .restorecon -R /srv/plain/releases/[^ ]*.: .*[Nn]o such file'
mv /root/contexts/* ${contexts%/*}/

step "fapolicyd, SELinux permissive: Debian's policy does not let fapolicyd watch files"
root=/srv/plain
# logged TEXT: waits until fapolicyd has written it since it was started.
logged() {
    for _ in $(seq 120); do
        journalctl --quiet _SYSTEMD_INVOCATION_ID="$(systemctl show --property=InvocationID --value fapolicyd)" | grep -q "$1" && return
        sleep 1
    done
    echo "fapolicyd does not log: $1"
}
# The page of the live release, by a server that runs as the user of the site.
served() {
    systemd-run --quiet --collect --unit=plain --uid=www-data $root/current/venv/bin/gunicorn app:application --bind 127.0.0.1:8000
    for _ in $(seq 60); do
        page 8000 | grep '^site' && break
        systemctl --quiet is-active plain || { echo "no server runs"; break; }
        sleep 1
    done
    systemctl --quiet stop plain 2>/dev/null
}
setenforce 0
expect "doctor reads the mode" "$(wheelbarrow doctor --root $root)" 'SELinux is permissive'
expect "doctor finds nothing while fapolicyd does not run" "$(finding $root fapolicyd what)" '^$'
expect "the site is served while fapolicyd does not run" "$(served)" '^site 1 as'
systemctl start fapolicyd
logged 'Starting to listen'
cp /bin/true /srv/untrusted
refused=$(setpriv --reuid=www-data --regid=www-data --clear-groups /srv/untrusted 2>&1; echo "exit code $?")
expect "fapolicyd refuses an untrusted program" "$refused" 'exit code 126'
expect "fapolicyd refuses the site" "$(served)" '^no server runs'
refused=$(wheelbarrow deploy /opt/trial/plain.zip --root $root; echo "exit code $?")
expect "--check knows it" "$(wheelbarrow install /opt/trial/plain.zip -d /srv/other --check)" 'fapolicyd runs, .* nothing in it names /srv/other'
expect "a deploy is refused" "$refused" 'cannot be read by the user 33: a security policy of the host denies it'
expect "the hint names doctor" "$refused" '^hint: .wheelbarrow doctor --root [^ ]*. reports fapolicyd'
expect "nothing was switched" "$refused" '^exit code 11'
refused=$(wheelbarrow deploy /opt/trial/own.zip --root /srv/own; echo "exit code $?")
expect "a bundled Python is refused" "$refused" '/srv/own/releases/[^ ]*/venv/bin/python, cannot be started: Operation not permitted'
expect "the hint names doctor" "$refused" '^hint: .wheelbarrow doctor --root [^ ]*. reports fapolicyd'

step "the rule that doctor names"
hint=$(finding $root fapolicyd hint)
sh -xc "$(cut -d'`' -f2 <<<"$hint")" 2>&1
logged 'Starting to listen'
expect "a deploy ends well" "$(wheelbarrow deploy /opt/trial/plain.zip --root $root; echo "exit code $?")" '^exit code 0'
expect "the site is served" "$(served)" '^site 1 as'
expect "doctor is content" "$(finding $root fapolicyd what)" '^$'

step "the files that doctor names"
rm /etc/fapolicyd/rules.d/35-wheelbarrow.rules
systemctl restart fapolicyd
logged 'Starting to listen'
expect "fapolicyd refuses the site without the rule" "$(served)" '^no server runs'
wheelbarrow deploy /opt/trial/plain.zip --root $root --stage
release=$(find $root/releases -maxdepth 1 -name '[0-9]*' -printf '%f\n' | sort -V | tail -n 1)
sh -xc "$(cut -d'`' -f4 <<<"$hint")" 2>&1
logged 'Updated'
expect "the staged release is activated" "$(wheelbarrow activate "$release" --root $root; echo "exit code $?")" '^exit code 0'
expect "it is live" "$(readlink $root/current)" "$release"
expect "the site is served" "$(served)" '^site 1 as'

step "done"
[ "$failures" = 0 ]
