"""What the tests share: children without the machine's own settings, and pictures of trees."""

import collections
import hashlib
import os
import signal
import stat
import subprocess
import sys

SOURCES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
# Who runs the tests in the background of a shell, or by nohup, ignores them for all that is started here.
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)

Result = collections.namedtuple("Result", "code out err")


def clean_environment(**extra):
    """This process's environment without what would change how a child installs or starts."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "PYTHON", "VIRTUAL_ENV"))}
    kept.setdefault("LC_ALL", "C.UTF-8")
    kept.update(extra)
    return kept


def run(command, timeout=120, environment=None, cwd=None, **extra):
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(**extra) if environment is None else environment,
        cwd=cwd,
    )
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Result(process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))


def out_of_reach(*paths):
    """Why a test cannot be run as user 65534 (nobody), for whom it needs these paths; an empty text where it can."""
    code = "import os, sys; os.setuid(65534); sys.exit(not os.access(sys.argv[1], os.X_OK))"
    hidden = [path for path in paths if run([sys.executable, "-c", code, path]).code]
    return "another user cannot enter %s" % ", ".join(hidden) if hidden else ""


def tree(root, ignored=lambda path: False):
    """Every path below root: for a directory its mode, for a link its target, for a file mode and SHA-256."""
    found = {}
    for directory, directories, files in os.walk(root):
        for name in directories + files:
            path = os.path.join(directory, name)
            relative = os.path.relpath(path, root)
            if ignored(relative):
                continue
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                found[relative] = ("link", os.readlink(path))
            elif stat.S_ISDIR(mode):
                found[relative] = ("directory", oct(stat.S_IMODE(mode)))
            else:
                with open(path, "rb") as file:
                    found[relative] = ("file", oct(stat.S_IMODE(mode)), hashlib.sha256(file.read()).hexdigest())
    return found


def interpreters():
    """Every CPython 3 found on this machine, by pyenv and by the system."""
    found = []
    versions = os.path.expanduser("~/.pyenv/versions")
    if os.path.isdir(versions):
        for name in sorted(
            os.listdir(versions), key=lambda name: [int(part) if part.isdigit() else 0 for part in name.split(".")]
        ):
            path = os.path.join(versions, name, "bin", "python")
            if os.access(path, os.X_OK):
                found.append(path)
    if os.access("/usr/bin/python3", os.X_OK):
        found.append("/usr/bin/python3")
    return found
