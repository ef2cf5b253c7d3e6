#!/bin/bash
# In a bare container: installs the packages in /dist, each by its own installer, and makes a running site with them.
set -euo pipefail
version=$1
machine=$(uname -m)
cd /root
# shellcheck source=/dev/null
. /etc/os-release
step() { printf -- '-- %s (%d s)\n' "$*" "$SECONDS"; }
same() { [ "$1" = "$2" ] || { echo "error: $1 is not $2" >&2; exit 1; }; }

step "$PRETTY_NAME: pip install"
python3 -m venv /opt/tools
pip() { /opt/tools/bin/python -m pip --quiet --disable-pip-version-check "$@"; }
pip install --find-links /dist "wheelbarrow==$version"
wheel=/opt/tools/bin/wheelbarrow
same "$($wheel --version)" "wheelbarrow $version"
test -e /opt/tools/share/man/man1/wheelbarrow-build.1

step "uv tool install, uvx"
export UV_TOOL_DIR=/opt/uv-tools UV_TOOL_BIN_DIR=/opt/uv-bin UV_PYTHON_DOWNLOADS=never
uv() { /opt/tools/bin/uv --quiet "$@"; }
uv tool install --find-links /dist "wheelbarrow==$version"
same "$(/opt/uv-bin/wheelbarrow --version)" "wheelbarrow $version"
same "$(uv tool run --find-links /dist "wheelbarrow@$version" --version)" "wheelbarrow $version"

step "apt install"
debian=$(dpkg --print-architecture)
apt-get install --quiet=2 --no-install-recommends --yes "/dist/wheelbarrow_${version}_$debian.deb" >/dev/null
same "$(wheelbarrow --version)" "wheelbarrow $version"
same "$(command -v wheelbarrow)" /usr/bin/wheelbarrow
test -d /etc/wheelbarrow
test -e /usr/share/man/man1/wheelbarrow-deploy.1.gz
bash -c '. /usr/share/bash-completion/completions/wheelbarrow && complete -p wheelbarrow' >/dev/null

# No such system is here: its package is looked at, and its files are used.
step "the rpm"
package=/dist/wheelbarrow-$version-1.$machine.rpm
rpm -K --nosignature "$package"
rpm -qp --list "$package" >/tmp/listed
for path in /usr/bin/wheelbarrow /etc/wheelbarrow /usr/share/man/man1/wheelbarrow-deploy.1.gz \
    /usr/share/bash-completion/completions/wheelbarrow; do
    grep -qx "$path" /tmp/listed || { echo "error: $package has no $path" >&2; exit 1; }
done
same "$(rpm -qp --queryformat '%{VERSION}-%{RELEASE} %{ARCH}' "$package")" "$version-1 $machine"
mkdir /opt/rpm
# It also compares the size with one that the package does not have.
rpm2cpio "$package" >/tmp/files || true
(cd /opt/rpm && cpio --quiet --extract --make-directories </tmp/files)
same "$(/opt/rpm/usr/bin/wheelbarrow --version)" "wheelbarrow $version"

step "the archive"
mkdir /opt/archive
tar -xzf "$(echo "/dist/wheelbarrow-$version-$machine"-*linux*.tar.gz)" -C /opt/archive --strip-components=1
same "$(/opt/archive/wheelbarrow --version)" "wheelbarrow $version"
(cd /dist && sha256sum --quiet --check SHA256SUMS)

step "build"
mkdir -p site/mysite
printf 'django\ngunicorn\n' > site/requirements.txt
cat > site/mysite/__init__.py < /dev/null
cat > site/mysite/settings.py <<'PY'
import os

SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "mysite.urls"
WSGI_APPLICATION = "mysite.wsgi.application"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PY
cat > site/mysite/urls.py <<'PY'
from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("", lambda request: HttpResponse("packed by wheelbarrow"))]
PY
cat > site/mysite/wsgi.py <<'PY'
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
PY
cat > site/wheelbarrow.toml <<'TOML'
name = "mysite"
version = "1.0"

[environment]
required = ["DATABASE", "DJANGO_SETTINGS_MODULE", "SECRET_KEY"]

[release]
prepare = ["django-admin migrate --noinput --verbosity=0"]
TOML
# uv is found beside the program, and not on PATH.
(cd site && $wheel --quiet build --output /root/wheel.zip)
(cd site && UV=/opt/tools/bin/uv wheelbarrow --quiet build --output /root/deb.zip)
cmp wheel.zip deb.zip

step "deploy"
mkdir -p /srv/site/shared
cat > /srv/site/shared/environment.json <<'JSON'
{"DATABASE": "/srv/site/shared/db.sqlite3", "DJANGO_SETTINGS_MODULE": "mysite.settings", "SECRET_KEY": "only for a trial on loopback"}
JSON
chmod 600 /srv/site/shared/environment.json
wheelbarrow --quiet deploy deb.zip --root /srv/site
wheelbarrow status --root /srv/site

step "serve"
# The container has this machine's network, so the kernel chooses a free port.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
(cd / && exec /srv/site/current/venv/bin/gunicorn mysite.wsgi --log-level warning --bind "127.0.0.1:$port") &
server=$!
page=$(curl --silent --show-error --retry 20 --retry-delay 1 --retry-connrefused "http://127.0.0.1:$port/")
same "$page" "packed by wheelbarrow"
kill "$server"
wait "$server" || true
step "done"
