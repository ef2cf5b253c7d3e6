"""Installing wheels into a tree: the binary distribution format, as docs/reference/format.md ("What an install leaves") sets it.

https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

import base64
import hashlib
import json
import os
import stat

import exact
import rules
import zips
from exits import BROKEN
from failure import Failure
from rules import broken

# What a wheel's .dist-info has is not the wheel's to say.
OF_INSTALLERS = ("RECORD", "RECORD.jws", "RECORD.p7s", "INSTALLER", "REQUESTED", "direct_url.json")
# The most bytes of the files of .dist-info that are read whole.
_LARGEST_RECORD, _LARGEST_METADATA, _LARGEST_TEXT = 32 << 20, 8 << 20, 1 << 20
# A larger script keeps its first line.
_LARGEST_SCRIPT = 8 << 20


# Reading them


class Window:
    """A part of a file as a file: a wheel is stored in the artifact as it is, and read where it lies."""

    def __init__(self, file, start, size):
        self.file, self.start, self.size, self.position = file, start, size, 0

    def seek(self, offset, whence=os.SEEK_SET):
        self.position = offset + (self.size if whence == os.SEEK_END else 0)
        return self.position

    def read(self, count):
        count = max(0, min(count, self.size - self.position))
        if count:
            self.file.seek(self.start + self.position)
        data = self.file.read(count)
        self.position += len(data)
        return data


class Wheel:
    """A wheel whose zip, name, places and texts are in order."""

    def __init__(self, file, path):
        self.file, self.what = file, path
        self.file_name = self.what.rpartition("/")[2]
        name = rules.name_of(self.file_name, self.what)
        try:
            self.members = zips.read(file)
        except zips.NotZip as error:
            raise broken(self.what, error) from None
        by_name = {member.name: member for member in self.members}
        self.dist_info = self._dist_info(name)

        def text(name, limit=_LARGEST_TEXT):
            member = by_name.get("%s/%s" % (self.dist_info, name))
            if member is None:
                raise broken(self.what, "it has no %s/%s" % (self.dist_info, name))
            return self.read_small(member, limit)

        rules.check_wheel_version(self._decoded("WHEEL", text("WHEEL")), self.what)
        self.scripts = {}
        if self.dist_info + "/entry_points.txt" in by_name:
            points = self._decoded("entry_points.txt", text("entry_points.txt"))
            self.scripts = rules.entry_points(points, self.what)
        text("METADATA", _LARGEST_METADATA)
        rows = text("RECORD", _LARGEST_RECORD)
        # Some rows are of directories, or of files that were left out.
        self.recorded = rules.record(self._decoded("RECORD", rows), self.what, 2 * len(self.members) + 1000)

    def _dist_info(self, name):
        """The one at the top, which must be of the distribution that the file name says."""
        tops = {member.name.split("/")[0] for member in self.members}
        found = [top for top in tops if top.endswith(".dist-info")]
        if len(found) != 1:
            raise broken(self.what, "it has %s .dist-info directories" % (len(found) or "no"))
        # Old wheels have dashes in the name, and some in the version: any of the splits may be the right one.
        parts = found[0].split("-")
        if name not in [rules.normalised("-".join(parts[:count])) for count in range(1, len(parts))]:
            raise broken(self.what, "%s is not of %s" % (found[0], name))
        return found[0]

    def _decoded(self, name, data):
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise broken(self.what, "%s is not UTF-8" % name) from None

    def chunks(self, member):
        """The bytes of a member, as many as its header says and with the CRC that it says."""
        try:
            for chunk in exact.contents(self.file, member):
                yield chunk
        except exact.NotExact as error:
            raise broken(self.what, error) from None

    def read_small(self, member, limit):
        if member.size > limit:
            raise broken(self.what, "%s is too large" % member.name)
        return b"".join(self.chunks(member))

    def files(self, layout):
        """What is to be installed as it is, or, from `scripts`, with another first line: the member, its path below DEST,
        and the scheme, None for what is at the top of the wheel."""
        own = {"%s/%s" % (self.dist_info, name) for name in OF_INSTALLERS}
        distribution = self.file_name.partition("-")[0]
        for member in self.members:
            name = member.name
            if not member.is_plain:
                kind = "a link" if stat.S_ISLNK(member.kind) else "neither a file nor an empty directory entry"
                raise broken(self.what, "%s is %s" % (name, kind))
            if "\\" in name or exact.has_control(name) or not exact.is_safe(name[:-1] if name.endswith("/") else name):
                raise broken(self.what, "a member has the name %a" % name)
            if member.is_directory or name in own:
                continue
            top, _, below = name.partition("/")
            if not below or not top.endswith(".data"):
                yield member, layout.site_packages + "/" + name, None
                continue
            scheme, _, rest = below.partition("/")
            path = layout.place(scheme, rest, distribution) if rest else None
            if path is None:
                raise broken(self.what, "%s is in no known scheme" % name)
            if scheme in ("scripts", "data") and rules.steers_python(path[len("venv/") :]):
                raise broken(self.what, "%s would change how Python starts, whatever its options" % name)
            if scheme == "scripts" and _is_wrapper(rest, self.scripts):
                continue
            yield member, path, scheme


# The tree


class Tree:
    """Files, links and directories below a new directory; paths are relative to it, with `/`. Each is written once."""

    def __init__(self, root):
        self.root = root
        self.owners = {}  # of files and links, by path
        self.digests = {}  # and size of every file, by path
        self.shared = set()  # paths of files of wheels, which another wheel may have too
        self.directories = {""}

    def at(self, path):
        return self.root + b"/" + path.encode("utf-8")

    def directory(self, path, owner):
        missing = []
        while path not in self.directories:
            if path in self.owners:
                raise self.conflict(path, owner)
            missing.append(path)
            path = path.rpartition("/")[0]
        for path in reversed(missing):
            os.mkdir(self.at(path))
            self.directories.add(path)

    def claim(self, path, owner):
        if path in self.owners or path in self.directories:
            raise self.conflict(path, owner)
        self.directory(path.rpartition("/")[0], owner)
        self.owners[path] = owner

    def conflict(self, path, owner):
        other = self.owners.get(path, "something else")
        hint = "it cannot be installed as it is; build it anew"
        return Failure(BROKEN, "the artifact is broken", "%s and %s both write %s" % (other, owner, path), hint)

    def link(self, path, target, owner):
        self.claim(path, owner)
        os.symlink(target.encode("utf-8"), self.at(path))

    def shared_file(self, path, chunks, owner, executable=False):
        """A file that another wheel may have written already, if the two are the same."""
        if path not in self.shared:
            written = self.file(path, chunks, owner, executable)
            self.shared.add(path)
            return written
        digest, size = hashlib.sha256(), 0
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
        if self.digests[path] != (digest.digest(), size):
            raise self.conflict(path, owner)
        if executable:
            self.make_executable(path)
        return digest.digest(), size

    def make_executable(self, path):
        umask = os.umask(0o077)
        os.umask(umask)
        os.chmod(self.at(path), 0o777 & ~umask)

    def file(self, path, chunks, owner, executable=False):
        """Writes a file; returns its SHA-256 and its size."""
        self.claim(path, owner)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        digest, size = hashlib.sha256(), 0
        try:
            with open(os.open(self.at(path), flags, 0o777 if executable else 0o666), "wb", buffering=0) as file:
                for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
                    rest = memoryview(chunk)
                    while rest:
                        rest = rest[file.write(rest) :]
        except OSError as error:
            # Those of writing and closing do not say in which file.
            error.filename = error.filename or self.at(path)
            raise
        self.digests[path] = digest.digest(), size
        return self.digests[path]

    def sums(self):
        """Every file so far, as sha256sum writes and checks them."""
        lines = []
        for path in sorted(self.digests, key=lambda path: path.encode("utf-8")):
            escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
            mark = "" if escaped == path else "\\"
            lines.append("%s%s  %s\n" % (mark, self.digests[path][0].hex(), escaped))
        return "".join(lines).encode("utf-8")


# Wheels


class Layout:
    """Where the parts of a wheel go, below DEST, and what its scripts start with."""

    def __init__(self, facts, destination):
        self.site_packages = "venv/" + facts["site_packages"]
        self.headers = "venv/" + facts["headers"]
        self.minor = facts["version"][1]
        self.python = destination + b"/venv/bin/python"
        self.links = dict(facts["virtualenv"]["links"])

    def shebang(self, rest=b""):
        """The first line of a script or, where the kernel would not read that, three that `sh` and Python both read."""
        line = b"#!" + self.python + rest
        if len(line) <= 127 and b" " not in self.python and b"\t" not in self.python:
            return line + b"\n"
        # A backslash is doubled between double quotes: that is one to the shell, and no escape sequence to Python.
        quoted = self.python.replace(b"'", b"'\"'\"'").replace(b"\\", b"'\"\\\\\"'")
        python = b"'" + quoted + b"'"
        return b"#!/bin/sh\n'''exec' " + python + rest + b' "$0" "$@"\n' + b"' '''\n"

    def place(self, scheme, rest, name):
        """Where a file of `NAME.data/SCHEME/` goes."""
        if scheme in ("purelib", "platlib"):
            return self.site_packages + "/" + rest
        if scheme == "scripts":
            return "venv/bin/" + rest
        if scheme == "headers":
            return "%s/%s/%s" % (self.headers, name, rest)
        if scheme == "data":
            # lib64 is a link to lib: a file has one path, or two wheels could write it unseen.
            top, _, below = rest.partition("/")
            return "venv/%s/%s" % (self.links[top], below) if below and self.links.get(top) == "lib" else "venv/" + rest
        return None

    def record_path(self, path):
        """As RECORD writes it: relative to site-packages."""
        if path.startswith(self.site_packages + "/"):
            return path[len(self.site_packages) + 1 :]
        return "../../../" + path[len("venv/") :]


class Record:
    """What is left to write when all wheels are there: RECORD, with the bytecode that could be made."""

    def __init__(self, path, owner, rows, sources, named):
        self.path, self.owner, self.rows = path, owner, rows
        self.sources = sources  # the modules, by path and size
        self.named = named  # their paths by the names of the wheel's members
        self.brought = []  # bytecode of them that another wheel has

    def write(self, tree, layout, bytecode):
        """`bytecode` gives the path of that of a module, for those that have one."""
        paths = self.brought + [bytecode[path] for path, _ in self.sources if path in bytecode]
        rows = self.rows + [(layout.record_path(path), "", "") for path in paths]
        tree.file(self.path, [record_of(rows, layout.record_path(self.path))], self.owner)


def install_wheel(file, described, layout, tree, winners, is_pip=False):
    """Installs one wheel of the manifest, given as an open file; `is_pip` for the bundled pip, which gets no bytecode.
    `winners` has the wheel that writes a path, by the path in RECORD, for paths that several wheels have.

    Gives its Record, which is not written yet."""
    wheel = Wheel(file, described["path"])
    what, rows, sources, named = wheel.what, [], [], {}

    def write(path, chunks, executable=False):
        """Gives whether it was written: another wheel may win the path."""
        recorded = layout.record_path(path)
        if winners.get(recorded, what) != what:
            return False
        digest, size = tree.shared_file(path, chunks, what, executable)
        rows.append((recorded, record_hash(digest), str(size)))
        return True

    for member, path, scheme in list(wheel.files(layout)):
        expected, size = wheel.recorded.get(member.name, (None, None))
        if size not in (None, member.size):
            raise broken(what, "RECORD is not true of %s: the file has another size" % member.name)
        chunks = _compared(wheel, member, expected)
        if scheme == "scripts" and member.size <= _LARGEST_SCRIPT:
            chunks = [_with_shebang(b"".join(chunks), layout)]
        written = write(path, chunks, scheme == "scripts" or member.is_executable)
        if written and not is_pip and member.name.endswith(".py") and scheme in (None, "purelib", "platlib"):
            sources.append((path, member.size))
            named[member.name] = path

    for name, (module, attribute) in sorted(scripts_of(wheel, layout, is_pip).items()):
        write("venv/bin/" + name, [script(layout.shebang(), module, attribute)], executable=True)
    generated = {"INSTALLER": b"wheelbarrow\n"}
    if not is_pip:
        generated["REQUESTED"] = b""
    if "direct_url" in described:
        generated["direct_url.json"] = compact_json(described["direct_url"])
    dist_info = "%s/%s/" % (layout.site_packages, wheel.dist_info)
    for name, content in sorted(generated.items()):
        write(dist_info + name, [content])
    return Record(dist_info + "RECORD", what, rows, sources, named)


def _compared(wheel, member, expected):
    """The bytes of a member, compared with the hash that RECORD has of it, if it has one."""
    digest = hashlib.sha256()
    for chunk in wheel.chunks(member):
        digest.update(chunk)
        yield chunk
    if expected is not None and record_hash(digest.digest()) != "sha256=" + expected:
        raise broken(wheel.what, "RECORD is not true of %s: the file has another hash" % member.name)


def scripts_of(wheel, layout, is_pip):
    """The scripts of its entry points."""
    if not is_pip:
        return wheel.scripts
    names = ("pip", "pip3", "pip3.%d" % layout.minor)
    return dict.fromkeys(names, wheel.scripts.get("pip", ("pip._internal.cli.main", "main")))


def first_pth(tree, layout, own):
    """Where `loadenv-init.pth` comes before all `.pth` files of wheels, which Python reads in the order of their names, and
    which may look into the environment; None where its own name does."""
    name = "loadenv-init.pth"
    places = (path.rpartition("/") for path in tree.owners if path.endswith(".pth"))
    names = [other for directory, _, other in places if directory == layout.site_packages and other not in (name, own)]
    if not names or name < min(names):
        return None
    other = min(names)
    first = [prefix + name for prefix in ("0-", "!") if prefix + name < other]
    # Nothing but a file that begins with as many of the first character comes before it.
    found = first[0] if first else "\1" * (len(other) - len(other.lstrip("\1")) + 1) + name
    return "%s/%s" % (layout.site_packages, found)


def script(shebang, module, attribute):
    source = 'import sys\nfrom {module} import {first}\nif __name__ == "__main__":\n    sys.exit({attribute}())\n'
    first = attribute.split(".")[0]
    return shebang + source.format(module=module, first=first, attribute=attribute).encode("utf-8")


def _is_wrapper(name, scripts):
    """Old setuptools put its own wrappers of entry points among the scripts; the entry point replaces them."""
    for end in ("-script.py", ".exe", ".pya"):
        if name.lower().endswith(end):
            name = name[: -len(end)]
            break
    return name in scripts


def _with_shebang(content, layout):
    """A script, with the interpreter's line in place of `#!python`."""
    if not content.startswith(b"#!python"):
        return content
    line, _, below = content[len(b"#!python") :].partition(b"\n")
    rest = line[1:] if line.startswith(b"w") else line
    return layout.shebang(rest.rstrip(b" \t\n\x0c\r")) + below


def record_hash(digest):
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def record_of(rows, record):
    """RECORD, by the paths' bytes, with itself in it but without its own hash."""
    lines = [(path, "%s,%s,%s\n" % (_cell(path), digest, size)) for path, digest, size in rows]
    lines.append((record, "%s,,\n" % _cell(record)))
    return "".join(line for _, line in sorted(lines, key=lambda row: row[0].encode("utf-8"))).encode("utf-8")


def _cell(text):
    if any(character in text for character in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def compact_json(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
