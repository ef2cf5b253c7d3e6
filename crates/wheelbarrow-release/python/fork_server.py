"""Sets a Django site up once, and forks for each use of it. fork_server.rs has the requests. Follows check.py in one program."""

import array
import ast
import gc
import json
import os
import runpy
import signal
import socket
import sys

import __main__ as check

VARIABLE = "DJANGO_SETTINGS_MODULE"

# Bytes of a request.
MOST = 1 << 18

# All that a manage.py of `django-admin startproject` calls and imports.
CALLS = {"main", "execute_from_command_line", "os.environ.setdefault", "ImportError"}
MODULES = {"os", "sys", "django.core.management"}


def serve():
    server = ForkServer()
    server.answer(started=True)
    work = None
    while work is None:
        work = server.take(*server.receive())
    # In a fork, at the top of the program: it ends as any program does.
    work()


class ForkServer:
    def __init__(self):
        self.control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, os.dup(0))
        redirect(os.devnull, 0)
        if "" not in sys.path:
            sys.path.insert(0, "")
        # What a command finds, whatever the application changes when it is imported.
        self.environment, self.directory, self.umask = dict(os.environ), os.getcwd(), os.umask(0o22)
        os.umask(self.umask)
        self.name = self.application = None

    def receive(self):
        """A request and its streams. Ends when there are no more."""
        descriptors = array.array("i")
        text, sent, _, _ = self.control.recvmsg(MOST, socket.CMSG_SPACE(3 * descriptors.itemsize))
        if not text:
            leave()
        for level, kind, data in sent:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        return json.loads(text.decode("utf-8")), list(descriptors)

    def answer(self, **answer):
        try:
            self.control.send(json.dumps(answer).encode("utf-8"))
        except OSError:
            # Whoever asked is gone.
            leave()

    def take(self, request, streams):
        """Does what is asked for, and answers. In a fork: gives what is to be done there."""
        if "check" in request:
            reason = self.load(request["check"], streams)
            work = self.check
        else:
            reason = self.set_up(request["settings"]) or refuses(request.get("words"), self.directory)
            work = self.run
        if reason is None and has_threads():
            reason = "the site has started threads"
        if reason is None:
            return self.fork(work, request, streams)
        close(streams)
        self.answer(declined=reason)
        return None

    def load(self, request, streams):
        """Imports the application, and checks it here and for good if that cannot be done in a fork."""
        name = request["application"]
        if self.name is not None:
            return None if self.name == name else "another application"
        self.name, failed = name, None
        os.dup2(streams[2], 1)
        os.dup2(streams[2], 2)
        try:
            self.application = check.load(name)
        except check.Failed as error:
            failed = error
        if failed is None and check.is_django() and not has_threads():
            flush()
            redirect(os.devnull, 1)
            redirect(os.devnull, 2)
            return None
        check.respond(request, os.fdopen(streams[1], "w", encoding="utf-8"), self.application, failed)
        flush()
        self.answer(status=0, last=True)
        return leave()

    def check(self, request):
        out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        check.respond(request["check"], out, self.application)
        flush()
        leave()

    def set_up(self, settings):
        """Django, with these settings; why that cannot be."""
        module = settings or self.environment.get(VARIABLE)
        if not module:
            return "no settings are named"
        try:
            if not check.is_django():
                os.environ[VARIABLE] = module
            if check.settings_module() != module:
                return "other settings"
            import django
            from django.apps import apps

            if not apps.ready:
                django.setup()
        except BaseException:
            return "Django cannot be set up"
        return None

    def run(self, request):
        # What the settings have put into the environment stays: TZ is of Django itself.
        if request["settings"]:
            os.environ[VARIABLE] = request["settings"]
        if "script" in request:
            exec(compile(request["script"], "<string>", "exec"), {"__name__": "__main__"})
            flush()
            leave()
        words = request["words"]
        if words[0] == "django-admin":
            from django.core.management import execute_from_command_line

            sys.argv = [django_admin()] + words[1:]
            sys.exit(execute_from_command_line())
        sys.argv = words[1:]
        runpy.run_path("manage.py", run_name="__main__")

    def fork(self, work, request, streams):
        close_connections()
        flush()
        if hasattr(gc, "freeze"):
            # A fork that ends need not look at all objects. Since Python 3.7.
            gc.freeze()
        try:
            process = os.fork()
        except OSError as error:
            close(streams)
            self.answer(declined="no fork: %s" % error.strerror)
            return None
        if process == 0:
            self.become(streams)
            return lambda: work(request)
        close(streams)
        self.answer(status=wait_for(process))
        return None

    def become(self, streams):
        """Makes a process of its own of the fork."""
        os.setpgid(0, 0)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        close(streams)
        self.control.close()
        os.chdir(self.directory)
        os.umask(self.umask)
        forget_static_files()
        if "random" in sys.modules:
            # Before Python 3.7 it does so by itself.
            sys.modules["random"].seed()


def wait_for(process):
    """How it ended. Who asks this process to end asks the fork, which has a process group of its own."""
    asked = []

    def pass_on(number, _frame):
        asked.append(number)
        try:
            os.killpg(process, number)
        except OSError:
            pass

    before = signal.signal(signal.SIGTERM, pass_on)
    _, status = os.waitpid(process, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
    if asked:
        leave()
    return status


def refuses(words, directory):
    """Why a command needs a process of its own."""
    if words is None:
        return None
    if any(word.split("=")[0] in ("--settings", "--pythonpath") for word in words):
        return "it has settings of its own"
    if words[0] == "django-admin":
        text = text_of(django_admin())
        return None if "django.core.management" in text else "it is not the program of Django"
    return None if is_plain(text_of(os.path.join(directory, "manage.py"))) else "manage.py does more than Django's own"


def is_plain(text):
    """Whether a manage.py does what that of `startproject` does, and nothing else."""
    try:
        tree = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError):
        return False
    calls, modules = set(), set()
    for node in tree:
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.Delete)):
            return False
        if isinstance(node, ast.Call):
            calls.add(dotted(node.func))
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module)
        elif isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
    return "execute_from_command_line" in calls and calls <= CALLS and modules <= MODULES


def dotted(node):
    if isinstance(node, ast.Attribute):
        return "%s.%s" % (dotted(node.value), node.attr)
    return node.id if isinstance(node, ast.Name) else "?"


def django_admin():
    return os.path.join(os.path.dirname(sys.executable), "django-admin")


def text_of(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError):
        return ""


def has_threads():
    """Also those of libraries in C. A fork has only the one that forks."""
    return len(os.listdir("/proc/self/task")) > 1


def close_connections():
    """No two processes may talk to a database by one connection."""
    if "django.db" in sys.modules:
        try:
            from django.db import connections

            connections.close_all()
        except Exception as error:
            check.pass_over("the connections to databases", error)


def forget_static_files():
    """A manifest may have been read before there was one."""
    storage = sys.modules.get("django.contrib.staticfiles.storage")
    if storage is not None:
        from django.utils.functional import empty

        storage.staticfiles_storage._wrapped = empty
        storages = getattr(sys.modules.get("django.core.files.storage"), "storages", None)
        getattr(storages, "_storages", {}).pop("staticfiles", None)


def redirect(path, number):
    stream = os.open(path, os.O_RDWR)
    os.dup2(stream, number)
    os.close(stream)


def close(streams):
    for stream in streams:
        os.close(stream)


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass


def leave():
    """Threads that the site has started must not keep it."""
    os._exit(0)
