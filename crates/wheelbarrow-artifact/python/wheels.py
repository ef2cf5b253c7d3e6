"""Installing wheels into a tree: the binary distribution format, as docs/format.md ("What an install leaves") sets it.

https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

import base64
import hashlib
import io
import json
import os
import stat
import zipfile
import zlib

from staging import BROKEN, Failure

CHUNK = 1 << 20
# What a wheel's .dist-info has is not the wheel's to say.
OF_INSTALLERS = ("RECORD", "RECORD.jws", "RECORD.p7s", "INSTALLER", "REQUESTED", "direct_url.json")
# What a broken or hostile zip makes zipfile raise.
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError, ValueError)


def broken(what, why):
    return Failure(BROKEN, "%s is broken" % what, why, "get the file again from where it was built")


# Zips


class Window(io.RawIOBase):
    """A part of a file as a file: a wheel is stored in the artifact as it is, and read where it lies."""

    def __init__(self, file, start, size):
        super().__init__()
        self.file, self.start, self.size, self.position = file, start, size, 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def tell(self):
        return self.position

    def seek(self, offset, whence=io.SEEK_SET):
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        if position < 0:
            raise ValueError("a position before the start")
        self.position = position
        return position

    def readinto(self, buffer):
        self.file.seek(self.start + self.position)
        data = self.file.read(max(0, min(len(buffer), self.size - self.position)))
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)


def is_safe(path):
    """Relative, and no part of it leads elsewhere."""
    return "\0" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


def members_of(archive, what):
    """The members that are no directories, each proven to be harmless by its name and its place in the zip."""
    found, names, spans = [], set(), []
    for info in archive.infolist():
        name = info.orig_filename
        if info.filename != name or not is_safe(name[:-1] if name.endswith("/") else name):
            raise broken(what, "a member has the name %a" % name)
        if name in names:
            raise broken(what, "it has two members %a" % name)
        names.add(name)
        if info.flag_bits & 0x1:
            raise broken(what, "%s is encrypted" % name)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise broken(what, "%s has the unknown compression method %d" % (name, info.compress_type))
        if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
            raise broken(what, "%s is stored in another size than its own" % name)
        length = len(name.encode("utf-8")) if info.flag_bits & 0x800 else len(name)
        spans.append((info.header_offset, info.header_offset + 30 + length + info.compress_size, name))
        if not name.endswith("/"):
            found.append(info)
    spans.sort()
    starts = [span[0] for span in spans[1:]] + [archive.start_dir]
    for (_, end, name), following in zip(spans, starts):
        if end > following:
            raise broken(what, "%s overlaps what follows it" % name)
    return found


def chunks_of(archive, info, what):
    """The bytes of a member, as many as its header says and with the CRC that it says."""
    count = 0
    try:
        with archive.open(info) as member:
            while True:
                chunk = member.read(CHUNK)
                if not chunk:
                    break
                count += len(chunk)
                yield chunk
    except ZIP_ERRORS as error:
        raise broken(what, "%s: %s" % (info.filename, error)) from None
    if count != info.file_size:
        raise broken(what, "%s is shorter than its header says" % info.filename)


def read_text(archive, info, what):
    try:
        return b"".join(chunks_of(archive, info, what)).decode("utf-8")
    except UnicodeDecodeError:
        raise broken(what, "%s is not UTF-8" % info.filename) from None


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
        if path in self.directories:
            return
        if path in self.owners:
            raise self.conflict(path, owner)
        self.directory(path.rpartition("/")[0], owner)
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


def normalised(name):
    """PEP 503."""
    result = ""
    for character in name.lower():
        character = "-" if character in "-_." else character
        if character != "-" or not result.endswith("-"):
            result += character
    return result


class Record:
    """What is left to write when all wheels are there: RECORD, with the bytecode that could be made."""

    def __init__(self, path, owner, rows, sources):
        self.path, self.owner, self.rows = path, owner, rows
        self.sources = sources  # the modules, by path and size
        self.brought = []  # bytecode of them that another wheel has

    def write(self, tree, layout, bytecode):
        """`bytecode` gives the path of that of a module, for those that have one."""
        paths = self.brought + [bytecode[path] for path, _ in self.sources if path in bytecode]
        rows = self.rows + [(layout.record_path(path), "", "") for path in paths]
        tree.file(self.path, [record_of(rows, layout.record_path(self.path))], self.owner)


def install_wheel(file, wheel, layout, tree, winners, is_pip=False):
    """Installs one wheel of the manifest, given as an open file; `is_pip` for the one that nobody asked for by name.
    `winners` has the wheel that writes a path, by the path in RECORD, for paths that several wheels have.

    Gives its Record, which is not written yet."""
    what = wheel["path"]
    try:
        archive = zipfile.ZipFile(file)
    except ZIP_ERRORS as error:
        raise broken(what, error) from None
    with archive:
        members = members_of(archive, what)
        by_name = {info.filename: info for info in members}
        dist_info = _dist_info(by_name, wheel, what)
        _check_wheel_version(read_text(archive, by_name[dist_info + "/WHEEL"], what), what)
        scripts = {}
        if dist_info + "/entry_points.txt" in by_name:
            scripts = entry_points(read_text(archive, by_name[dist_info + "/entry_points.txt"], what), what)
        if is_pip:
            entry = scripts.get("pip", ("pip._internal.cli.main", "main"))
            scripts = dict.fromkeys(("pip", "pip3", "pip3.%d" % layout.minor), entry)

        rows, sources = [], []

        def write(path, chunks, executable=False):
            """Gives whether it was written: another wheel may win the path."""
            recorded = layout.record_path(path)
            if winners.get(recorded, what) != what:
                return False
            digest, size = tree.shared_file(path, chunks, what, executable)
            rows.append((recorded, record_hash(digest), str(size)))
            return True

        own = {dist_info + "/" + name for name in OF_INSTALLERS}
        generated = {dist_info + "/INSTALLER": b"wheelbarrow\n"}
        if not is_pip:
            generated[dist_info + "/REQUESTED"] = b""
        if wheel.get("direct_url") is not None:
            generated[dist_info + "/direct_url.json"] = compact_json(wheel["direct_url"])

        # As in the file's name, where pip too has it from.
        distribution = what.rpartition("/")[2].partition("-")[0]
        for info in members:
            name, mode = info.filename, info.external_attr >> 16
            if name in own:
                continue
            if "\\" in name:
                raise broken(what, "a member has the name %a" % name)
            if stat.S_ISLNK(mode):
                raise broken(what, "%s is a link" % name)
            executable = stat.S_ISREG(mode) and bool(mode & 0o111)
            chunks = chunks_of(archive, info, what)
            top, _, below = name.partition("/")
            is_module = name.endswith(".py")
            if below and top.endswith(".data"):
                scheme, _, rest = below.partition("/")
                is_module = is_module and scheme in ("purelib", "platlib")
                path = layout.place(scheme, rest, distribution) if rest else None
                if path is None:
                    raise broken(what, "%s is in no known scheme" % name)
                if scheme == "scripts":
                    if _is_wrapper(rest, scripts):
                        continue
                    executable, chunks = True, _with_shebang(chunks, layout)
            else:
                path = layout.site_packages + "/" + name
            if write(path, chunks, executable) and is_module:
                sources.append((path, info.file_size))

        for name, (module, attribute) in sorted(scripts.items()):
            write("venv/bin/" + name, [script(layout.shebang(), module, attribute)], executable=True)
        for name, content in sorted(generated.items()):
            write(layout.site_packages + "/" + name, [content])
        return Record("%s/%s/RECORD" % (layout.site_packages, dist_info), what, rows, sources)


def _dist_info(names, wheel, what):
    """The one directory NAME-VERSION.dist-info at the top."""
    found = {name.split("/")[0] for name in names if "/" in name and name.split("/")[0].endswith(".dist-info")}
    if len(found) != 1:
        raise broken(what, "it has %s .dist-info directories" % (len(found) or "no"))
    dist_info = found.pop()
    # Old wheels have dashes in the name, and some in the version: any of the splits may be the right one.
    if wheel["name"] not in [normalised(dist_info[:at]) for at, character in enumerate(dist_info) if character == "-"]:
        raise broken(what, "%s is not of %s" % (dist_info, wheel["name"]))
    for needed in ("WHEEL", "RECORD"):
        if dist_info + "/" + needed not in names:
            raise broken(what, "it has no %s/%s" % (dist_info, needed))
    return dist_info


def _check_wheel_version(text, what):
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip().lower() == "wheel-version":
            if value.strip().split(".")[0] in ("0", "1"):
                return
            raise broken(what, "Wheel-Version %s is not known" % value.strip())
    raise broken(what, "it does not say its Wheel-Version")


def entry_points(text, what):
    """The console and gui scripts: name to (module, object).

    https://packaging.python.org/en/latest/specifications/entry-points/
    """
    section, found = None, {}
    for line in text.lstrip("\ufeff").splitlines():
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
            continue
        if section not in ("console_scripts", "gui_scripts"):
            continue
        name, _, value = line.partition("=")
        for mark in (" #", "\t#", " ;", "\t;"):
            value = value.partition(mark)[0]
        module, _, attribute = value.partition("[")[0].partition(":")
        name, module, attribute = name.strip(), module.strip(), attribute.strip()
        if not is_safe(name) or "/" in name:
            raise broken(what, "an entry point has the name %a" % name)
        # These become Python source, so nothing but dotted names may pass.
        for dotted in (module, attribute):
            if not all(part.isidentifier() for part in dotted.split(".")):
                raise broken(what, "the entry point %s names no object: %a" % (name, value.strip()))
        found[name] = (module, attribute)
    return found


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


def _with_shebang(chunks, layout):
    """The chunks of a script, with the interpreter's line in place of `#!python`."""
    chunks = iter(chunks)
    first = next(chunks, b"")
    if first.startswith(b"#!python"):
        line, end, below = first.partition(b"\n")
        rest = line[len(b"#!python") :].rstrip()
        if rest.startswith(b"w"):
            rest = rest[1:]
        first = layout.shebang(rest) + (below if end else b"")
    yield first
    for chunk in chunks:
        yield chunk


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
