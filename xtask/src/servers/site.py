"""site.py DIRECTORY NUMBER KIND SYSTEM: a site whose page says of which version its code and its dependency are.

Every process of it can be told apart by asking it, without any proof: so the proof can be compared with it. SYSTEM is the
target. KIND is `good`, `import` (it cannot be imported), `served` (it answers in process, and 500 where a server runs it), or
one with services: `services` (web, two workers of Celery, beat, a timer), `worker`, `beat` or `no-web` (that one does not
start), `probe` (web answers 500), `hook` or `migration` (that one fails), `web` (nothing but web), `queues` (workers of huey,
RQ, Django's tasks), `reports` (a process that reports to the watchdog), `hangs` (one that stops to do so), `gunicorn-26` or
`granian` (good, with that server).
"""

import os
import sys
import zipfile

PAGE = '''"""The page."""

import os
import sys

import dependency
import markupsafe._speedups  # a compiled module, so that the kernel has one mapped

SITE = %(number)d
BROKEN = %(broken)r
TEXT = ("site %%d, dependency %%d" %% (SITE, dependency.VERSION)).encode()


def status(agent):
    if not BROKEN or agent == "wheelbarrow-check":
        return "200 OK"
    print("the database of site %%d is gone" %% SITE, file=sys.stderr, flush=True)
    return "500 Internal Server Error"


def application(environ, start_response):
    line = status(environ.get("HTTP_USER_AGENT"))
    if environ["REQUEST_METHOD"] == "POST" and line == "200 OK":
        directory = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "media")
        with open(directory + environ["PATH_INFO"], "ab") as file:
            file.write(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    start_response(line, [("Content-Type", "text/plain"), ("Content-Length", str(len(TEXT)))])
    return [TEXT]


def make():
    return application


async def asgi(scope, receive, send):
    while scope["type"] == "lifespan":
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
    line = status(dict(scope["headers"]).get(b"user-agent", b"").decode())
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(TEXT)).encode())]
    await send({"type": "http.response.start", "status": int(line[:3]), "headers": headers})
    await send({"type": "http.response.body", "body": TEXT})


def make_asgi():
    return asgi
'''

SETTINGS = """name = "mysite"
version = "%(number)d"
target = [{ target = "%(system)s" }]
find-links = ["wheels"]
exclude = ["/wheels/"]

[release]
application = "mysite.wsgi:application"
"""

TASKS = '''"""A queue, and what its tasks leave: a line in a file of their own, each time they end."""

import os
import time

import celery

import dependency

app = celery.Celery("mysite", broker="redis://127.0.0.1:6379/0")
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)
app.conf.beat_schedule = {"tick": {"task": "mysite.tasks.tick", "schedule": 1.0}}
SHARED = "/srv/services/shared"


@app.task(bind=True)
def work(self, number, seconds):
    begun = time.time()
    time.sleep(seconds)
    said = (dependency.VERSION, os.getpid(), self.request.hostname, begun, time.time(), self.request.delivery_info)
    with open(os.path.join(SHARED, "tasks", str(number)), "a") as file:
        file.write("site %%d, process %%d of %%s, from %%.3f to %%.3f, %%s\\n" %% said)


@app.task
def tick():
    with open(os.path.join(SHARED, "run", "ticks"), "a") as file:
        file.write("%%f\\n" %% time.time())
'''

WEB = """shared = ["media"]

[[release.service]]
name = "web"
run = "gunicorn %(web)s --workers 2"
socket = true
probe = { path = "/", deadline = 30 }
"""

OTHERS = """
[[release.service]]
name = "worker"
run = "sh ops/worker.sh"
instances = 2
handover = "drain"
stop = { timeout = 60 }

[[release.service]]
name = "beat"
run = "celery --app %(beat)s beat --pidfile /srv/services/shared/run/beat.pid --schedule /srv/services/shared/run/beat"
hosts = "one"

[[release.service]]
name = "timer"
run = "touch /srv/services/shared/run/timer"
schedule = "*:*:0/2"
"""

HOOK = """
[release.hooks]
after_switch = { run = ["sh", "-c", "echo nobody answers >&2; exit 1"], required = true }
"""

MIGRATION = """prepare = [["sh", "-c", "echo no such table >&2; exit 1"]]
"""

QUEUES = """settings = "mysite.settings"
prepare = ["python manage.py migrate --noinput"]

[[release.service]]
name = "huey"
run = "huey_consumer mysite.tasks.huey --workers 2 --no-periodic"
handover = "drain"
stop = { signal = "INT", timeout = 60 }
stays-up = 1

[[release.service]]
name = "rq"
run = "rq worker --config mysite.rq mysite"
instances = 2
handover = "drain"
stop = { timeout = 60 }
stays-up = 1

[[release.service]]
name = "django"
run = "python manage.py db_worker --interval 0.2"
instances = 2
handover = "drain"
stop = { timeout = 60 }
stays-up = 1
"""

WATCHED = """
[[release.service]]
name = "watched"
run = "python -m mysite.watched"
watchdog = 2
"""

REPORTS = '''"""Tells systemd that it works, %d times."""

import os
import socket
import time

import dependency

client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
address = os.environ["NOTIFY_SOCKET"].replace("@", "\\0", 1)
client.sendto(b"READY=1", address)
for _ in range(%d):
    client.sendto(b"WATCHDOG=1", address)
    time.sleep(0.5)
time.sleep(3600)
'''

RQ = """import mysite.tasks

REDIS_URL = "redis://127.0.0.1:6379/2"
"""

DJANGO = """SECRET_KEY = "not a secret"
INSTALLED_APPS = ["django_tasks", "django_tasks_db"]
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "/srv/queues/shared/run/db.sqlite3",
        "OPTIONS": {"timeout": 30, "transaction_mode": "IMMEDIATE"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
"""

MANAGE = """import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
execute_from_command_line(sys.argv)
"""

QUEUED = '''"""Three queues, and what their tasks leave: a line in a file of their own, each time they end."""

import os
import time

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
import django
from django.apps import apps

if not apps.apps_ready:
    django.setup()

import redis
import rq
from django_tasks import task
from huey import RedisHuey

import dependency

huey = RedisHuey("mysite", url="redis://127.0.0.1:6379/1")
queue = rq.Queue("mysite", connection=redis.Redis.from_url("redis://127.0.0.1:6379/2"))


def do(number, seconds):
    time.sleep(seconds)
    with open(os.path.join("/srv/queues/shared/tasks", str(number)), "a") as file:
        file.write("%d\\n" % dependency.VERSION)


by_huey = huey.task()(do)


@task
def by_django(number, seconds):
    do(number, seconds)


class work:
    @staticmethod
    def delay(number, seconds):
        [by_huey, lambda *words: queue.enqueue(do, *words), by_django.enqueue][number % 3](number, seconds)
'''

METADATA = "Metadata-Version: 2.1\nName: dependency\nVersion: %d\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: site.py\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


def wheel(directory, number):
    """A distribution that knows its version."""
    import base64
    import hashlib

    info = "dependency-%d.dist-info" % number
    files = {
        "dependency/__init__.py": "VERSION = %d\n" % number,
        info + "/METADATA": METADATA % number,
        info + "/WHEEL": WHEEL,
    }
    record = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record.append("%s,sha256=%s,%d\n" % (path, digest, len(text)))
    files[info + "/RECORD"] = "".join(record) + "%s/RECORD,,\n" % info
    os.makedirs(directory, exist_ok=True)
    with zipfile.ZipFile(os.path.join(directory, "dependency-%d-py3-none-any.whl" % number), "w") as file:
        for path, text in files.items():
            file.writestr(path, text)


def modules(kind):
    """What each service of a site imports."""
    values = {"web": "mysite.wsgi", "worker": "mysite.tasks", "beat": "mysite.tasks"}
    broken = {"worker": "worker", "beat": "beat", "no-web": "web"}
    return dict(values, **({broken[kind]: "mysite.no_such_module"} if kind in broken else {}))


def script_of_worker(kind):
    """The guide's, for this site."""
    with open(os.path.join(os.path.dirname(__file__), "configuration", "worker.sh")) as file:
        text = file.read()
    text = text.replace("-A mysite", "-A " + modules(kind)["worker"])
    return text.replace(" worker -n", " worker --concurrency 4 --loglevel INFO -n")


def release(kind):
    """What stands in `[release]`, and below it."""
    values = modules(kind)
    if kind == "queues":
        return QUEUES
    if kind == "web":
        return WEB % values
    if kind in ("reports", "hangs"):
        return WATCHED
    if kind not in ("services", "worker", "beat", "no-web", "probe", "hook", "migration"):
        return ""
    begin = MIGRATION if kind == "migration" else ""
    return begin + (WEB + OTHERS) % values + (HOOK if kind == "hook" else "")


def queue_of_django(system):
    """Django has an interface for tasks since 6.0, which needs Python 3.12."""
    return ["django>=5.2,<5.3", "django-tasks-db[compat]"] if system == "debian-12" else ["django>=6.0", "django-tasks-db"]


def main(directory, number, kind, system):
    values = {"number": int(number), "system": system, "broken": kind in ("served", "probe")}
    wheel(os.path.join(directory, "wheels"), int(number))
    missing = "import no_such_module\n" if kind == "import" else ""
    write(os.path.join(directory, "mysite", "__init__.py"), "")
    write(os.path.join(directory, "mysite", "page.py"), PAGE % values)
    write(os.path.join(directory, "mysite", "wsgi.py"), missing + "from mysite.page import application\n")
    write(os.path.join(directory, "mysite", "asgi.py"), missing + "from mysite.page import asgi as application\n")
    write(os.path.join(directory, "wheelbarrow.toml"), SETTINGS % values + release(kind))
    requirements = ["dependency==%s" % number, "markupsafe", "uvicorn", "uvicorn-worker"]
    requirements.append({"gunicorn-26": "gunicorn<27", "granian": "granian"}.get(kind, "gunicorn"))
    if kind == "queues":
        requirements += ["huey", "redis", "rq", *queue_of_django(system)]
        package = os.path.join(directory, "mysite")
        for name, text in (("tasks", QUEUED), ("rq", RQ), ("settings", DJANGO)):
            if system != "debian-12":
                text = text.replace("from django_tasks import", "from django.tasks import").replace('"django_tasks", ', "")
            write(os.path.join(package, name + ".py"), text)
        write(os.path.join(directory, "manage.py"), MANAGE)
    elif kind in ("reports", "hangs"):
        times = (10**6, 10**6) if kind == "reports" else (1, 1)
        write(os.path.join(directory, "mysite", "watched.py"), REPORTS % times)
    elif release(kind):
        requirements.append("celery[redis]")
        write(os.path.join(directory, "mysite", "tasks.py"), TASKS.replace("%%", "%"))
        write(os.path.join(directory, "ops", "worker.sh"), script_of_worker(kind))
    write(os.path.join(directory, "requirements.txt"), "\n".join(requirements) + "\n")


main(*sys.argv[1:])
