"""site.py DIRECTORY NUMBER KIND: a site whose page says of which version its code and its dependency are.

Every process of it can be told apart by asking it, without any proof: so the proof can be compared with it. KIND is `good`,
`import` (it cannot be imported), `served` (it answers in process, and 500 where a server runs it), or one with services:
`services` (web, two workers of Celery, beat, a timer), `worker` or `beat` (that one does not start), `web` (nothing but web).
"""

import os
import sys
import zipfile

PAGE = '''"""The page."""

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
target = [{ target = "debian-12" }]
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


@app.task
def work(number, seconds):
    time.sleep(seconds)
    with open(os.path.join(SHARED, "tasks", str(number)), "a") as file:
        file.write("%%d\\n" %% dependency.VERSION)


@app.task
def tick():
    pass
'''

WEB = """
[[release.service]]
name = "web"
run = "gunicorn mysite.wsgi --workers 2"
socket = true
probe = { path = "/", deadline = 30 }
"""

OTHERS = """
[[release.service]]
name = "worker"
run = "celery --app %(worker)s worker --concurrency 4 --loglevel INFO"
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


def services(kind):
    apps = {"worker": "mysite.tasks", "beat": "mysite.tasks"}
    if kind in apps:
        apps[kind] = "mysite.no_such_module"
    elif kind == "web":
        return WEB
    elif kind != "services":
        return ""
    return WEB + OTHERS % apps


def main(directory, number, kind):
    values = {"number": int(number), "broken": kind == "served"}
    wheel(os.path.join(directory, "wheels"), int(number))
    missing = "import no_such_module\n" if kind == "import" else ""
    write(os.path.join(directory, "mysite", "__init__.py"), "")
    write(os.path.join(directory, "mysite", "page.py"), PAGE % values)
    write(os.path.join(directory, "mysite", "wsgi.py"), missing + "from mysite.page import application\n")
    write(os.path.join(directory, "mysite", "asgi.py"), missing + "from mysite.page import asgi as application\n")
    write(os.path.join(directory, "wheelbarrow.toml"), SETTINGS % values + services(kind))
    requirements = ["dependency==%s" % number, "gunicorn", "markupsafe", "uvicorn", "uvicorn-worker"]
    if services(kind):
        requirements.append("celery[redis]")
        write(os.path.join(directory, "mysite", "tasks.py"), TASKS.replace("%%", "%"))
    write(os.path.join(directory, "requirements.txt"), "\n".join(requirements) + "\n")


main(*sys.argv[1:])
