"""Asks a site's application for one page, in process. check.rs has the request and the answers. From Python 3.6 on."""

import importlib
import inspect
import io
import json
import os
import sys
import traceback
from wsgiref.util import FileWrapper

# Characters of an exception: more than are shown, since secrets are hidden before it is cut.
LONGEST = 1 << 16


class Failed(Exception):
    """The application could not be asked, or did not answer."""

    def __init__(self, stage, error):
        Exception.__init__(self, error)
        self.stage, self.error = stage, error


def main():
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    if "" not in sys.path:
        sys.path.insert(0, "")
    application = failed = None
    try:
        application = load(request["application"])
    except Failed as error:
        failed = error
    respond(request, out, application, failed)
    sys.stderr.flush()
    # Threads that the application has started must not keep it.
    os._exit(0)


def respond(request, out, application, failed=None):
    """Writes the answer, a line each."""
    try:
        if failed is not None:
            raise failed
        answer = ask(request, application)
    except Failed as error:
        answer = {"stage": error.stage, "error": error.error}
    out.write(json.dumps(answer) + "\n")
    out.flush()
    if request["django"] and "stage" not in answer and is_django():
        out.write(json.dumps(dict(ask_django(request["install"]), settings=settings_module())) + "\n")
    out.close()


def ask(request, application):
    if not request["ask"]:
        return {"imported": True}
    interface = request["interface"] or ("asgi" if is_asgi(application) else "wsgi")
    host = request["host"] or allowed_host()
    get = get_asgi if interface == "asgi" else get_wsgi
    raised = []
    if is_django():
        tell_of_errors(raised)
    try:
        status, location = get(application, request["path"], host, request["scheme"])
    except Failed:
        raise
    except BaseException as error:
        traceback.print_exc()
        raise Failed("request", describe(error))
    return {
        "interface": interface,
        "host": host,
        "status": status,
        "location": location,
        "raised": raised[-1] if raised else None,
    }


def load(name):
    """The object that `module:object` names; `module:make()` calls it, as gunicorn does."""
    module, _, expression = name.partition(":")
    expression = expression or "application"
    try:
        found = importlib.import_module(module)
        for part in expression.replace("()", "").split("."):
            found = getattr(found, part)
        return found() if expression.endswith("()") else found
    except BaseException as error:
        traceback.print_exc()
        raise Failed("import", describe(error))


def is_asgi(application):
    if any(map(inspect.iscoroutinefunction, [application, getattr(application, "__call__", None)])):  # noqa: B004
        return True
    try:
        # A plain function that gives what an application returns.
        return list(inspect.signature(application).parameters)[-3:] == ["scope", "receive", "send"]
    except (TypeError, ValueError):
        return False


def allowed_host():
    """A host that Django will not refuse, where the site is Django's."""
    settings = getattr(sys.modules.get("django.conf"), "settings", None)
    try:
        hosts = settings.ALLOWED_HOSTS if settings is not None and settings.configured else []
    except Exception:
        hosts = []
    for host in hosts:
        if host and isinstance(host, str) and host != "*":
            return host.lstrip(".")
    return "localhost"


def is_django():
    settings = getattr(sys.modules.get("django.conf"), "settings", None)
    return settings is not None and settings.configured


def named(message):
    """What a finding is about, as Django prints it; many findings have the same text."""
    about = getattr(message, "obj", None)
    if about is None:
        return ""
    meta = getattr(about, "_meta", None)
    return "%s: " % (about if meta is None else getattr(meta, "label", about))


def ask_django(install):
    said = {"checks": [], "migrations": [], "irreversible": [], "applied": [], "unknown": None, "broken": None}
    said["inside"] = []
    try:
        import django
        from django.core import checks

        django.setup()
        for message in checks.run_checks(include_deployment_checks=True):
            if not message.is_silenced():
                text = " ".join((named(message) + str(message.msg)).split())
                said["checks"].append({"level": message.level, "id": message.id or "", "message": text})
    except Exception as error:
        traceback.print_exc()
        said["broken"] = describe(error)
    said["inside"] = inside(install)
    for one in said["inside"]:
        if one["setting"] == "DATABASES.default" and not os.path.exists(os.path.join(install, one["path"])):
            # SQLite would make an empty file.
            said["unknown"] = "%s is not there yet" % one["path"]
            return said
    try:
        from django.db import DEFAULT_DB_ALIAS, connections
        from django.db.migrations.executor import MigrationExecutor

        executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
        for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes()):
            name = "%s.%s" % (migration.app_label, migration.name)
            said["migrations"].append(name)
            if not all(operation.reversible for operation in migration.operations):
                said["irreversible"].append(name)
        said["applied"] = sorted("%s.%s" % key for key in executor.loader.applied_migrations)
    except Exception as error:
        said["unknown"] = describe(error)
    return said


def settings_module():
    from django.conf import settings

    return getattr(settings, "SETTINGS_MODULE", None)


def inside(install):
    """What the site writes into the release: data, of which it must not lose any, and the rest."""
    from django.conf import settings

    release, found = os.path.realpath(install), {}
    for collect, is_data in ((uploads, True), (databases, True), (unnamed_uploads, False), (other_files, False)):
        try:
            written = list(collect(settings))
        except Exception as error:
            pass_over(collect.__name__, error)
            continue
        for setting, path in written:
            path = os.path.realpath(str(path)) if path else ""
            # The first that names a path counts: MEDIA_ROOT comes before the fields that use it.
            if path.startswith(release + os.sep):
                path = os.path.relpath(path, release)
                found.setdefault(path, {"setting": setting, "path": path, "is_data": is_data})
    return list(found.values())


def uploads(settings):
    """Directories of storages that keep uploads in files: those that settings name, and those that fields bring."""
    try:
        from django.core.files.storage import FileSystemStorage, default_storage
    except ImportError:
        return [("MEDIA_ROOT", getattr(settings, "MEDIA_ROOT", None))]
    named = [("MEDIA_ROOT", lambda: default_storage)]
    for alias in sorted(getattr(settings, "STORAGES", None) or {}):
        # What collectstatic makes, it can make again.
        if alias not in ("default", "staticfiles"):
            named.append(("STORAGES.%s" % alias, lambda alias=alias: storage_of(alias)))
    for field in file_fields():
        named.append(("%s.%s" % (field.model._meta.label, field.name), lambda field=field: field.storage))
    found = []
    for setting, storage in named:
        try:
            storage = storage()
            if isinstance(storage, FileSystemStorage):
                found.append((setting, storage.base_location))
        except Exception as error:
            # The site cannot write to a storage that does not load. Django's checks report it.
            pass_over(setting, error)
    return found


def pass_over(what, error):
    """A line for the log. A traceback would hide others."""
    print("not looked at: %s: %s" % (what, describe(error)), file=sys.stderr)


def unnamed_uploads(settings):
    """Where uploads go without MEDIA_ROOT."""
    if not getattr(settings, "MEDIA_ROOT", None):
        for field in file_fields():
            if getattr(field.storage, "base_location", None) == "":
                yield "MEDIA_ROOT, which is empty,", os.getcwd()


def file_fields():
    try:
        from django.apps import apps
        from django.db.models import FileField
    except ImportError:
        return []
    fields = [field for model in apps.get_models() for field in model._meta.local_fields]
    return [field for field in fields if isinstance(field, FileField)]


def storage_of(alias):
    from django.core.files.storage import storages

    return storages[alias]


def databases(settings):
    for alias, database in sorted((getattr(settings, "DATABASES", None) or {}).items()):
        if is_of_sqlite(alias, database.get("ENGINE", "")):
            yield "DATABASES.%s" % alias, sqlite_path(str(database.get("NAME") or ""))


def is_of_sqlite(alias, engine):
    if "sqlite" in engine or "spatialite" in engine:
        return True
    try:
        from django.db import connections

        return connections[alias].vendor == "sqlite"
    except Exception as error:
        pass_over("DATABASES.%s" % alias, error)
        return False


def sqlite_path(name):
    """The file of a database that is written; none of one in memory. <https://www.sqlite.org/uri.html>"""
    if name.startswith("file:"):
        from urllib.parse import parse_qs, unquote

        name, _, query = name[len("file:") :].partition("#")[0].partition("?")
        query = parse_qs(query)
        if query.get("mode", [""])[-1] in ("memory", "ro") or query.get("immutable", ["0"])[-1] == "1":
            return None
        if name.startswith("//"):
            name = "/" + name[2:].partition("/")[2]
        name = unquote(name)
    return None if name.startswith(":") else name


def other_files(settings):
    """Files that the site can do without."""
    import tempfile

    for alias, cache in sorted((getattr(settings, "CACHES", None) or {}).items()):
        if "filebased" in cache.get("BACKEND", "") or "diskcache" in cache.get("BACKEND", ""):
            yield "CACHES.%s" % alias, cache.get("LOCATION")
    if getattr(settings, "SESSION_ENGINE", "").endswith(".file"):
        yield "SESSION_FILE_PATH", getattr(settings, "SESSION_FILE_PATH", None) or tempfile.gettempdir()
    handlers = (getattr(settings, "LOGGING", None) or {}).get("handlers") or {}
    for name, handler in sorted(handlers.items()):
        yield "LOGGING.%s" % name, handler.get("filename")
    if "filebased" in getattr(settings, "EMAIL_BACKEND", ""):
        yield "EMAIL_FILE_PATH", getattr(settings, "EMAIL_FILE_PATH", None)


def tell_of_errors(raised):
    """Django answers an error with a page, and tells nobody why where DEBUG is off."""
    try:
        from django.core.signals import got_request_exception
    except ImportError:
        return

    def tell(**_):
        raised.append(describe(sys.exc_info()[1]))
        traceback.print_exc()

    got_request_exception.connect(tell, weak=False)


def get_wsgi(application, path, host, scheme):
    answer = []

    def start_response(status, headers, exc_info=None):
        answer[:] = [status, headers]
        return lambda data: None

    path, _, query = path.partition("?")
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": host,
        "SERVER_PORT": "443" if scheme == "https" else "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "wheelbarrow-check",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "0",
        "HTTP_HOST": host,
        "HTTP_USER_AGENT": "wheelbarrow-check",
        "HTTP_X_FORWARDED_PROTO": scheme,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": True,
        "wsgi.file_wrapper": FileWrapper,
    }
    body = application(environ, start_response)
    try:
        for _ in body:
            pass
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()
    if not answer:
        raise Failed("request", "the application has not called start_response")
    return int(answer[0].split(" ", 1)[0]), find_location(answer[1])


def get_asgi(application, path, host, scheme):
    import asyncio

    path, _, query = path.partition("?")
    headers = [("host", host), ("user-agent", "wheelbarrow-check"), ("x-forwarded-proto", scheme)]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": scheme,
        "path": path,
        "raw_path": path.encode("ascii", "ignore"),
        "query_string": query.encode("ascii", "ignore"),
        "root_path": "",
        "headers": [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers],
        "client": ("127.0.0.1", 0),
        "server": (host, 443 if scheme == "https" else 80),
    }
    answer, state = {}, {}

    async def converse():
        ended = asyncio.Event()
        asked = []

        async def receive():
            if not asked:
                asked.append(True)
                return {"type": "http.request", "body": b"", "more_body": False}
            await ended.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            if message["type"] == "http.response.start":
                answer.update(message)
            elif message["type"] == "http.response.body" and not message.get("more_body", False):
                ended.set()

        await live(application, state, lambda: application(dict(scope, state=state.copy()), receive, send))

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(converse())
    if "status" not in answer:
        raise Failed("request", "the application has sent no response")
    return answer["status"], find_location(answer.get("headers", ()))


async def live(application, state, request):
    """Runs a request in the lifespan of the application, if it knows of one: `state` is of both."""
    import asyncio

    heard, said = asyncio.Queue(), asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
    task = asyncio.ensure_future(application(scope, heard.get, said.put))
    await heard.put({"type": "lifespan.startup"})
    first = asyncio.ensure_future(said.get())
    await asyncio.wait([task, first], return_when=asyncio.FIRST_COMPLETED)
    if not first.done():
        # It ended without a word: it does not know the protocol, which is allowed.
        first.cancel()
        if not task.cancelled():
            task.exception()
        await request()
        return
    message = first.result()
    if message["type"] == "lifespan.startup.failed":
        # Most raise the exception again after they have sent it as text.
        await asyncio.wait([task], timeout=1)
        if task.done() and not task.cancelled() and task.exception() is not None:
            raise task.exception()
        text = message.get("message", "").strip() or "it gave no reason"
        print(text, file=sys.stderr)
        raise Failed("request", text.splitlines()[-1])
    await request()
    await heard.put({"type": "lifespan.shutdown"})
    await asyncio.wait([task], timeout=5)


def find_location(headers):
    for name, value in headers:
        name = name.decode("latin-1") if isinstance(name, bytes) else name
        if name.lower() == "location":
            return value.decode("latin-1") if isinstance(value, bytes) else value
    return None


def describe(error):
    """`ValueError: not today (mysite/settings.py, line 12)`"""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame[0].startswith("<")]
    own = [frame for frame in frames if os.path.abspath(frame[0]).startswith(os.getcwd() + os.sep)]
    place = " (%s, line %d)" % (os.path.relpath(own[-1][0]), own[-1][1]) if own else ""
    text = "".join(traceback.format_exception_only(type(error), error)).strip()[:LONGEST] + place
    first = error
    for _ in range(100):
        first = first if first.__cause__ is None else first.__cause__
    cause = "".join(traceback.format_exception_only(type(first), first)).strip()[:LONGEST]
    message = cause.partition(": ")[2]
    return text if message in text else "%s; caused by %s" % (text, cause)
