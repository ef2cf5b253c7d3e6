"""The facts that only a running interpreter knows of itself, for the installer.

`facts()` gives them as plain data; run by itself (`python -I -S -c SOURCE [VIRTUALENV]`) this file prints them as one
line of JSON. Paths are text in UTF-8 whatever the locale, so that a Python 3.6 in the C locale tells the same.
"""

import os
import sys


class Unusable(Exception):
    """A virtualenv that cannot be at the path asked about."""


def facts(virtualenv=None):
    """What this interpreter is and, given an absolute path, what `python -m venv` would make there."""
    from importlib._bootstrap_external import MAGIC_NUMBER  # importlib.util has it too, and imports a lot

    executable = base_executable()
    machine, loader = _program_header()
    python = "python%d.%d" % sys.version_info[:2]
    result = {
        "executable": text(executable),
        "version": list(sys.version_info[:3]),
        "implementation": sys.implementation.name,
        "cache_tag": sys.implementation.cache_tag or "",
        "magic": MAGIC_NUMBER.hex(),
        # The flags are those of the ABI tag in every version: `m` up to 3.7, `t` without the GIL, `d` for debugging.
        "abi": "cp%d%d%s" % (sys.version_info[0], sys.version_info[1], getattr(sys, "abiflags", "")),
        "machine": machine or os.uname().machine,
        "libc": _libc(loader),
        "site_packages": "lib/%s/site-packages" % python,
        "headers": "include/site/%s" % python,
    }
    environment = _environment(executable)
    if environment:
        result["environment"] = environment
    if virtualenv is not None:
        result["virtualenv"] = _virtualenv(virtualenv, executable)
    return result


def machine():
    """`machine` of the facts, alone."""
    return _program_header()[0] or os.uname().machine


def text(path):
    """The path as UTF-8 says it: the file system encoding may be ASCII."""
    try:
        return os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        raise Unusable("the path %a is not UTF-8" % path) from None


# The base interpreter


def base_executable():
    """The interpreter outside every virtualenv. A virtualenv made from one inside another would die with that one."""
    executable = running_executable()
    for _ in range(8):
        home = _virtualenv_home(executable)
        if home is None:
            break
        # 3.11 and later know it by themselves; 3.8 to 3.10 answer with the virtualenv's own, 3.6 and 3.7 not at all.
        known = getattr(sys, "_base_executable", None)
        if executable == sys.executable and known and known != executable and _virtualenv_home(known) is None:
            # In a virtualenv of copies it is found by the name of the copy, which may be another version's outside.
            versioned = os.path.join(os.path.dirname(known), "python%d.%d" % sys.version_info[:2])
            is_other = os.access(versioned, os.X_OK) and os.path.realpath(versioned) != os.path.realpath(known)
            return versioned if is_other and os.path.basename(known) in ("python", "python3") else known
        names = ["python%d.%d" % sys.version_info[:2], os.path.basename(executable), "python3", "python"]
        found = [path for path in (os.path.join(home, name) for name in names) if os.access(path, os.X_OK)]
        same = [path for path in found if os.path.realpath(path) == os.path.realpath(executable)]
        if not found:
            break
        executable = (same or found)[0]
    return executable


def running_executable():
    """The path that starts the Python that runs here.

    `sys.executable` comes from PYTHONEXECUTABLE or argv[0] (`exec -a`), and both may name something else: another
    Python, nothing, or a script that sets up this one."""
    named = sys.executable or ""
    try:
        program = os.path.realpath("/proc/self/exe")
        os.stat(program)
    except OSError:  # no /proc, or the program was removed meanwhile
        program = None
    try:
        if os.path.isabs(named) and (program is None or os.path.samefile(named, program)):
            return named
    except OSError:
        pass
    answers = {path: _identity(path) for path in (named, program) if path and os.path.isabs(path)}
    for path in answers:
        if answers[path] == (program, path, sys.version):
            return path
    # Started by `ld.so PYTHON`: the running program is the loader.
    if answers.get(named) and answers[named][1:] == (named, sys.version):
        return named
    raise Unusable("no path starts the Python that runs this: %a, of PYTHONEXECUTABLE or argv[0], does not" % named)


def _identity(path):
    """What a path starts: the program, the name that it has for itself, and its version. None for what is no Python."""
    import subprocess

    code = "import os, sys; names = os.path.realpath('/proc/self/exe'), sys.executable, sys.version\n"
    code += "os.write(1, b'\\0'.join(map(os.fsencode, names)))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "__PYVENV"))}
    try:
        process = subprocess.Popen([path, "-I", "-S", "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, env=environment)  # fmt: skip
    except OSError:
        return None
    try:
        answer = process.communicate(timeout=10)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    return tuple(map(os.fsdecode, answer.split(b"\0")))


def _virtualenv_home(executable):
    """`home` of the pyvenv.cfg that makes this executable one of a virtualenv (PEP 405), or None."""
    directory = os.path.dirname(executable)
    for path in (os.path.join(directory, "pyvenv.cfg"), os.path.join(os.path.dirname(directory), "pyvenv.cfg")):
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                lines = file.read().split("\n")
        except OSError:
            continue
        for line in lines:
            key, _, value = line.partition("=")
            if key.strip().lower() == "home":
                return os.fsdecode(value.strip().encode("utf-8", "surrogateescape"))
    return None


# The system, as the running program itself says it: the kernel may be wider (32 bit Python, 64 bit kernel)

_MACHINES = {3: "i686", 21: "ppc64", 22: "s390x", 40: "armv7l", 62: "x86_64", 183: "aarch64", 243: "riscv64",
             258: "loongarch64"}  # fmt: skip


def _program_header(path=None):
    """Machine and dynamic loader from the ELF header of the running program; None for what it does not tell."""
    for candidate in [path] if path else ["/proc/self/exe", sys.executable]:
        try:
            with open(candidate, "rb") as file:
                return _parse_elf(file)
        except (OSError, ValueError, IndexError):
            continue
    return None, None


def _parse_elf(file):
    ident = file.read(16)
    if ident[:4] != b"\x7fELF":
        raise ValueError("not ELF")
    wide = ident[4] == 2
    order = "little" if ident[5] == 1 else "big"

    def number(data, offset, size):
        return int.from_bytes(data[offset : offset + size], order)

    header = file.read(48)
    kind = number(header, 2, 2)
    machine = _MACHINES.get(kind)
    if kind == 21 and order == "little":
        machine = "ppc64le"
    if kind == 40 and os.uname().machine in ("armv6l", "armv7l"):
        machine = os.uname().machine
    if kind == 243 and not wide:
        machine = "riscv32"
    table, entry_size, entries = (
        (number(header, 16, 8), number(header, 38, 2), number(header, 40, 2))
        if wide
        else (number(header, 12, 4), number(header, 26, 2), number(header, 28, 2))
    )
    for index in range(entries):
        file.seek(table + index * entry_size)
        entry = file.read(entry_size)
        if number(entry, 0, 4) == 3:  # PT_INTERP
            offset, size = (number(entry, 8, 8), number(entry, 32, 8)) if wide else (number(entry, 4, 4), number(entry, 16, 4))
            file.seek(offset)
            return machine, os.fsdecode(file.read(size).strip(b"\0"))
    return machine, None


def _libc(loader):
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, ValueError, OSError):
        name = version = ""
    if name == "glibc":
        return {"name": "glibc", "version": _two_numbers(version)}
    if loader and "musl" in os.path.basename(loader):
        return {"name": "musl", "version": _musl_version(loader)}
    return {"name": "unknown", "version": [0, 0]}


def musl(machine):
    """This machine's musl, if it has one."""
    loader = "/lib/ld-musl-%s.so.1" % machine
    return {"name": "musl", "version": _musl_version(loader)} if os.path.exists(loader) else None


def _musl_version(loader):
    """musl has no call for it, but its loader says it when run alone (PEP 656)."""
    import subprocess

    try:
        process = subprocess.Popen([loader], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    except OSError:
        return [0, 0]
    for line in process.communicate()[1].decode("utf-8", "replace").splitlines():
        if line.startswith("Version "):
            return _two_numbers(line[len("Version ") :])
    return [0, 0]


def _two_numbers(version):
    """[2, 36] of "2.36"; vendors append to it ("2.17-c758a686")."""
    numbers = []
    for part in version.split(".")[:2]:
        digits = ""
        for character in part:
            if not character.isdigit():
                break
            digits += character
        numbers.append(int(digits or 0))
    return (numbers + [0, 0])[:2]


# Variables of the dynamic loader, without which the interpreter or its own modules do not start: `scl enable` sets them


def _environment(executable):
    value = os.environ.get("LD_LIBRARY_PATH")
    if not value:
        return {}
    without = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    modules = "import ssl, sqlite3, ctypes"
    is_needed = not _starts(executable, "", without) or (
        _starts(executable, modules, os.environ) and not _starts(executable, modules, without)
    )
    return {"LD_LIBRARY_PATH": text(value)} if is_needed else {}


def _starts(executable, code, environment):
    import subprocess

    command = [executable, "-I", "-B", "-c", code]
    streams = dict.fromkeys(["stdin", "stdout", "stderr"], subprocess.DEVNULL)
    try:
        return subprocess.call(command, env=environment, **streams) == 0
    except OSError:
        return False


# The virtualenv. `venv` itself is run, with a recorder in place of its file system: what a distribution or a version
# changed in it (quoting, names of links, a .gitignore) comes out right without a line about it here.


def _virtualenv(path, executable):
    import venv

    # Nothing of it touches the disk, so in here the path may be text that the file system encoding does not know.
    path = text(path)
    if any(character in path for character in "\n\r\0"):
        raise Unusable("a virtualenv cannot be in a path with a line break: %a" % path)
    recorder = _Recorder(path)

    class Builder(venv.EnvBuilder):
        def _setup_pip(self, context):
            """pip comes from the artifact, but pyvenv.cfg must read as for a virtualenv with pip."""

    options = {"symlinks": True, "with_pip": True}
    if sys.version_info >= (3, 13):
        options["scm_ignore_files"] = frozenset(["git"])
    # The module looks these up as globals, and the interpreter under the names that a run outside a virtualenv has.
    replaced = [(venv, "os", recorder.os), (venv, "shutil", recorder.shutil), (venv, "open", recorder.open)]
    replaced += [(sys, "executable", executable), (sys, "_base_executable", executable)]
    missing = object()
    before = [(owner, name, owner.__dict__.get(name, missing)) for owner, name, _ in replaced]
    try:
        for owner, name, value in replaced:
            setattr(owner, name, value)
        Builder(**options).create(path)
    except ValueError as error:
        raise Unusable(str(error)) from None
    finally:
        for owner, name, value in before:
            if value is missing:
                delattr(owner, name)
            else:
                setattr(owner, name, value)
    return recorder.description()


class _Recorder:
    """Stands in for `os`, `shutil` and `open`: writes below `root` are remembered, all other reads are real."""

    # What changes the disk and is not stood in for must fail, not happen.
    FORBIDDEN = frozenset(
        "chflags chown lchmod lchown link mkfifo mknod open popen posix_spawn remove removedirs rename renames replace"
        " rmdir setxattr removexattr system truncate unlink utime".split()
    )

    def __init__(self, root):
        self.root = root
        self.made = {root: ("directory", None)}
        self.executable = set()
        self.os = _Overlay(os, self._os(), self.FORBIDDEN)
        self.shutil = _Overlay(__import__("shutil"), {name: getattr(self, name) for name in
                               ("copyfile", "copymode", "copy", "copy2")}, frozenset(["rmtree", "move", "copytree",
                               "chown", "copystat"]))  # fmt: skip

    def _os(self):
        path = _Overlay(os.path, {"exists": self.exists, "lexists": self.exists, "islink": self.kind_is("link"),
                        "isdir": self.kind_is("directory"), "isfile": self.kind_is("file")}, frozenset())  # fmt: skip
        return {"path": path, "mkdir": self.makedirs, "makedirs": self.makedirs, "symlink": self.symlink,
                "chmod": self.chmod}  # fmt: skip

    def inside(self, path):
        return path == self.root or path.startswith(self.root.rstrip("/") + "/")

    def exists(self, path):
        return path in self.made if self.inside(path) else os.path.exists(path)

    def kind_is(self, kind):
        real = {"link": os.path.islink, "directory": os.path.isdir, "file": os.path.isfile}[kind]
        return lambda path: self.made.get(path, (None,))[0] == kind if self.inside(path) else real(path)

    def record(self, path, kind, value):
        if not self.inside(path):
            raise OSError("venv wants to write outside of the virtualenv: %a" % path)
        self.made[path] = (kind, value)

    def makedirs(self, path, mode=0o777, exist_ok=False):
        parent = os.path.dirname(path)
        if self.inside(parent) and parent not in self.made:
            self.makedirs(parent)
        if path not in self.made:
            self.record(path, "directory", None)

    def symlink(self, target, path):
        self.record(path, "link", target)

    def open(self, path, mode="r", *arguments, **keywords):
        if "w" not in mode:
            return open(path, mode, *arguments, **keywords)
        return _RecordedFile(self, path)

    def chmod(self, path, mode):
        if mode & 0o111:
            self.executable.add(path)
        else:
            self.executable.discard(path)

    def copymode(self, source, path):
        self.chmod(path, os.stat(source).st_mode)

    def copyfile(self, source, path):
        with open(source, "rb") as file:
            self.record(path, "file", file.read())

    def copy2(self, source, path):
        self.copyfile(source, path)
        self.copymode(source, path)

    copy = copy2

    def description(self):
        directories, links, files = [], [], []
        for path, (kind, value) in self.made.items():
            name = os.path.relpath(path, self.root)
            if kind == "directory" and path != self.root:
                directories.append(name)
            elif kind == "link":
                links.append([name, text(value)])
            elif kind == "file":
                content = value.decode("utf-8")
                files.append({"path": name, "text": content, "executable": path in self.executable})
        return {
            "path": self.root,
            "directories": sorted(directories),
            "links": sorted(links),
            "files": sorted(files, key=lambda file: file["path"]),
        }


class _Overlay:
    """A module with some names replaced and some forbidden."""

    def __init__(self, module, names, forbidden):
        self.__dict__.update(names)
        self._module, self._forbidden = module, forbidden

    def __getattr__(self, name):
        if name in self._forbidden or name.startswith(("exec", "spawn", "fork")):
            raise OSError("venv of this Python uses %s, which is not expected" % name)
        return getattr(self._module, name)


class _RecordedFile:
    def __init__(self, recorder, path):
        self.recorder, self.path, self.content = recorder, path, b""

    def write(self, data):
        # Text is UTF-8 as venv asks for; escaped bytes of the interpreter's path become themselves again.
        self.content += data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.recorder.record(self.path, "file", self.content)


def dump(value):
    """As `json.dumps` says it. Importing json takes longer than all else that is done here."""
    from _json import encode_basestring_ascii as quoted

    if isinstance(value, dict):
        return "{%s}" % ", ".join("%s: %s" % (quoted(key), dump(value[key])) for key in sorted(value))
    if isinstance(value, (list, tuple)):
        return "[%s]" % ", ".join(map(dump, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else quoted(value)


def main():
    sys.dont_write_bytecode = True  # the standard library's directory is not ours to write to
    try:
        result = facts(*sys.argv[1:2])
    except Unusable as error:
        sys.exit(str(error))
    sys.stdout.write(dump(result) + "\n")


if __name__ == "__main__":
    main()
