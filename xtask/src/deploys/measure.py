"""measure.py ROUNDS: deploys versions 1 and 2 of a site by turns, in each way, and prints the seconds as JSON.

It runs as root on a machine with systemd that has nothing else to do. Each way has a database, a port and a unit of its own.
The time is that from the command to the end of both the command and the wait for the page of the new version.
"""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

VERSIONS = "/versions"
ENVIRONMENT = {
    "ALLOWED_HOSTS": "127.0.0.1",
    "DJANGO_SETTINGS_MODULE": "mysite.settings.deployed",
    "SECRET_KEY": "only for measurements on the loopback interface",
}
UNIT = """[Service]
ExecStart=%(python)s -m gunicorn mysite.wsgi --workers 2 --bind 127.0.0.1:%(port)d
WorkingDirectory=%(directory)s
%(environment)s
"""
BY_HAND = """set -eu
release=%(root)s/releases/$(date +%%s%%N)
mkdir -p "$release"
tar -xf %(versions)s/%(version)s.tar -C "$release"
%(install)s
cd "$release"
set -a
. %(root)s/shared/env
set +a
venv/bin/python manage.py migrate --noinput --verbosity=0
venv/bin/python manage.py collectstatic --noinput --verbosity=0
ln -s "$release" %(root)s/new
mv -T %(root)s/new %(root)s/current
systemctl restart %(unit)s
cd %(root)s/releases
ls -t | tail -n +6 | xargs -r rm -rf
"""
PIP = """python3 -m venv "$release/venv"
"$release/venv/bin/pip" --quiet --disable-pip-version-check install --no-index --find-links /versions/wheels \\
    -r "$release/requirements.txt" """
UV = """uv venv --quiet "$release/venv"
uv pip install --quiet --python "$release/venv" --compile-bytecode -r "$release/requirements.txt" """
FUJIN_UNIT = """[Service]
User={app_user}
EnvironmentFile={install_dir}/.env
ExecStart={install_dir}/.venv/bin/gunicorn mysite.wsgi --workers 2 --bind 127.0.0.1:%d

[Install]
WantedBy=multi-user.target
"""
FUJIN = """app = "mysite"
version = "%(version)s.0"
build_command = "true"
distfile = "/versions/dist/mysite-{version}-py3-none-any.whl"
requirements = "/versions/requirements.txt"
installation_mode = "python-package"
python_version = "3.11"

[hooks]
post_install = ["python -m django migrate --noinput --verbosity=0", "python -m django collectstatic --noinput --verbosity=0"]

[[hosts]]
address = "127.0.0.1"
user = "deploy"
key_filename = "/root/.ssh/id_ed25519"
envfile = "env"
"""


def run(*words, **options):
    result = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if result.returncode != 0:
        sys.exit("%s failed:\n%s" % (" ".join(words), result.stdout))


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)


def environment(shared):
    own = {name: os.path.join(shared, name.lower()) for name in ("DATABASE", "MEDIA_ROOT", "STATIC_ROOT")}
    return dict(ENVIRONMENT, **own)


def as_lines(shared):
    return "".join('%s="%s"\n' % pair for pair in environment(shared).items())


def answers(port, version):
    try:
        with urllib.request.urlopen("http://127.0.0.1:%d/version/" % port, timeout=10) as page:
            return page.read().decode() == "version %s" % version
    except (OSError, urllib.error.URLError):
        return False


def wait(port, version):
    deadline = time.monotonic() + 60
    while not answers(port, version):
        if time.monotonic() > deadline:
            sys.exit("port %d does not answer with version %s" % (port, version))
        time.sleep(0.005)


def unit(name, python, directory, port, environment_lines=""):
    write(
        "/etc/systemd/system/%s.service" % name,
        UNIT
        % {
            "python": python,
            "directory": directory,
            "port": port,
            "environment": environment_lines,
        },
    )
    run("systemctl", "daemon-reload")


class Wheelbarrow:
    def __init__(self, name, port, artifact, **variables):
        self.name, self.root, self.port, self.artifact = name, "/srv/" + name, port, artifact
        shared = self.root + "/shared"
        write(shared + "/environment.json", json.dumps(dict(environment(shared), **variables)), 0o600)
        write(
            shared + "/wheelbarrow.toml",
            (
                "[release]\n[release.server]\nkind = 'systemd'\nunit = '%s.service'\n"
                "[release.probe]\nurl = 'http://127.0.0.1:%d/version/'\n" % (name, port)
            ),
        )
        unit(name, self.root + "/current/venv/bin/python", "/", port)

    def deploy(self, version):
        artifact = self.artifact % version
        run("wheelbarrow", "--quiet", "deploy", "%s/%s" % (VERSIONS, artifact), "--root", self.root)


class ByHand:
    def __init__(self, name, port, install):
        self.name, self.root, self.port, self.install = name, "/srv/" + name, port, install
        shared = self.root + "/shared"
        write(shared + "/env", as_lines(shared))
        current = self.root + "/current"
        unit(name, current + "/venv/bin/python", current, port, "EnvironmentFile=%s/env" % shared)

    def deploy(self, version):
        script = BY_HAND % {
            "root": self.root,
            "versions": VERSIONS,
            "version": version,
            "install": self.install,
            "unit": self.name,
        }
        run("bash", "-c", script)


class Fujin:
    port, place, shared = 8104, "/root/fujin", "/srv/fujin"

    def __init__(self):
        run("python3", "-m", "venv", "/root/tools")
        run("/root/tools/bin/pip", "install", "--quiet", "--no-index", "--find-links", VERSIONS + "/fujin", "fujin-cli")
        run("useradd", "--create-home", "--shell", "/bin/bash", "deploy")
        write("/etc/sudoers.d/deploy", "deploy ALL=(ALL) NOPASSWD: ALL\n", 0o440)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/.ssh/id_ed25519")
        with open("/root/.ssh/id_ed25519.pub") as key:
            write("/home/deploy/.ssh/authorized_keys", key.read())
        run("install", "-D", VERSIONS + "/uv", "/home/deploy/.local/bin/uv")
        run("chown", "-R", "deploy:", "/home/deploy")
        run("systemctl", "start", "ssh")
        # It would fetch a Python; this one is there already.
        install = "/opt/fujin/mysite/.install"
        os.makedirs(install)
        run("uv", "venv", "--quiet", "--python", "/usr/bin/python3", install + "/.venv")
        run("chown", "-R", "deploy:", "/opt/fujin")
        os.makedirs(self.shared)
        os.chmod(self.shared, 0o777)
        write(self.place + "/env", as_lines(self.shared))
        write(self.place + "/.fujin/systemd/web.service", FUJIN_UNIT % self.port)
        with open("/root/.ssh/known_hosts", "w") as known:
            subprocess.run(["ssh-keyscan", "127.0.0.1"], stdout=known, stderr=subprocess.DEVNULL, check=True)

    def deploy(self, version):
        write(self.place + "/fujin.toml", FUJIN % {"version": version})
        run("/root/tools/bin/fujin", "deploy", "--no-input", cwd=self.place)


def main(rounds):
    write("/etc/uv/uv.toml", 'offline = true\nno-index = true\nfind-links = ["/versions/wheels"]\n')
    os.symlink(VERSIONS + "/uv", "/usr/local/bin/uv")
    ways = {
        "Wheelbarrow": Wheelbarrow("wheelbarrow", 8101, "%s.zip"),
        "Wheelbarrow, collected at build": Wheelbarrow(
            "collected", 8105, "%s-collected.zip", DJANGO_SETTINGS_MODULE="mysite.settings.collected"
        ),
        "Capistrano's steps, pip": ByHand("by-pip", 8102, PIP),
        "Capistrano's steps, uv": ByHand("by-uv", 8103, UV),
        "fujin": Fujin(),
    }
    times = {name: [] for name in [*ways, "setup", "restart"]}
    # The first is not counted: it fills stores and caches.
    for number in range(rounds + 1):
        version = 1 + number % 2
        for name, way in ways.items():
            begun = time.monotonic()
            way.deploy(version)
            wait(way.port, version)
            times[name].append(time.monotonic() - begun)
            print("%s: %.2f s" % (name, times[name][-1]), file=sys.stderr)
        way = ways["Wheelbarrow"]
        begun = time.monotonic()
        run(way.root + "/current/venv/bin/python", "-c", "import django; django.setup()", cwd="/")
        times["setup"].append(time.monotonic() - begun)
        begun = time.monotonic()
        run("systemctl", "restart", "wheelbarrow")
        wait(way.port, version)
        times["restart"].append(time.monotonic() - begun)
    json.dump({name: list_[1:] for name, list_ in times.items()}, sys.stdout)


main(int(sys.argv[1]))
