"""What an install holds beside what was installed: files that its site has written. Nothing removes them unasked.

A file counts as installed while it is older than the receipt, or has the bytes that the sums name. Of an install whose
receipt was altered, only the virtualenv is known. The native installer judges in the same way (`verify/data.rs`).
"""

import hashlib
import os
import re
import stat

import rules
import wheels
from exits import REFUSED
from failure import Failure, shown

# How many files are named, and how many are counted.
NAMED, COUNTED = 10, 10000
# Bytes. No receipt, list of sums or manifest is larger.
LARGEST_TEXT = 256 << 20
# Of a RECORD, and of a file of which nothing says the size: as many as a zip can say of a member, without zip64.
LARGEST_RECORD, LARGEST = 32 << 20, 0xFFFFFFFF
# Links to the interpreter in a virtualenv; 3.14 has one of its own.
PYTHON = re.compile("(python|𝜋thon)[0-9.tdm]*$".encode("utf-8"))
RECEIPT, SUMS, MANIFEST = (b".wheelbarrow/" + name for name in (b"receipt.json", b"SHA256SUMS", b"manifest.json"))


def check(destination, options):
    """Refuses to replace an install that holds such files, unless that is asked for."""
    if not options["replace"] or options.get("discard_data") or not os.path.lexists(os.path.join(destination, RECEIPT)):
        return
    names, count = find(destination)
    if count:
        named = ", ".join(shown(name).replace("\n", "\\n").replace("\r", "\\r") for name in names)
        more = count - len(names)
        if count >= COUNTED:
            named += " and more than %d more" % (COUNTED - NAMED - 1)
        elif more:
            named += " and %d more" % more
        raise Failure(
            REFUSED,
            "%s holds files that were written after the install: %s" % (shown(destination), named),
            hint="move the files that are needed to another place, or remove them with `--replace --discard-data`; files"
            " in `[release] static_root` do not count",
        )


def find(destination):
    """The first few such files, ordered, and how many there are. What cannot be listed may hold anything."""
    claims = Claims(destination)
    installed = changed_at(os.lstat(os.path.join(destination, RECEIPT)))
    found = []
    directories = [b""]
    while directories and len(found) < COUNTED:
        directory = directories.pop()
        try:
            names = os.listdir(os.path.join(destination, directory))
        except FileNotFoundError:
            continue
        except OSError:
            found.append(directory + b"/")
            continue
        for name in names:
            path = os.path.join(directory, name)
            absolute = os.path.join(destination, path)
            try:
                status = os.lstat(absolute)
            except FileNotFoundError:  # it was removed meanwhile
                continue
            if stat.S_ISDIR(status.st_mode):
                if path not in claims.made:
                    directories.append(path)
            elif is_data(path, absolute, status, claims, installed):
                found.append(path)
    found = found[:COUNTED]
    return sorted(found)[:NAMED], len(found)


def is_data(path, absolute, status, claims, installed):
    if path == b"environment.json":
        return False
    if stat.S_ISLNK(status.st_mode):
        name = os.path.basename(path)
        is_python = PYTHON.match(name) or name == os.path.basename(claims.executable)
        return not (path in claims.files or path == b"venv/lib64" or (os.path.dirname(path) == b"venv/bin" and is_python))
    if not stat.S_ISREG(status.st_mode):
        return False
    if not claims.files.get(path):
        parts = path.split(b"/")
        return not (parts[-1].endswith(b".pyc") and b"__pycache__" in parts[-2:-1])
    # Some file systems have whole seconds only: as old as the receipt may be younger.
    try:
        is_younger = changed_at(status) >= installed
        return is_younger and not (claims.may_be(path, status.st_size) and sha256(absolute, status.st_size) == claims.files[path])
    except (OSError, ValueError):
        return True  # it is something else meanwhile, or nobody may read it


class Claims:
    """The files that the sums name, with their sums, and the project's links with None; directories that are known to be
    made from the artifact; the interpreter."""

    def __init__(self, destination):
        self.destination, self._sizes, self._of_project = destination, None, {}
        try:
            self._read(destination)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self.files, self.made, self.executable = {}, {b".wheelbarrow", b"venv"}, b""

    def _read(self, destination):
        import json

        receipt = json.loads(read(destination, RECEIPT).decode("utf-8"))
        sums, text = read(destination, SUMS), read(destination, MANIFEST)
        if hashlib.sha256(sums).hexdigest() != receipt["sums_sha256"]:
            raise ValueError("altered")
        self.files = dict(map(parse, sums.split(b"\n")[:-1]))
        self.executable = receipt["interpreter"]["executable"].encode("utf-8")
        self.made = {b".wheelbarrow"}
        if hashlib.sha256(text).hexdigest() == receipt["manifest_sha256"]:
            manifest = json.loads(text.decode("utf-8"))
            for member in manifest["members"]:
                path = member["path"].encode("utf-8")
                self._of_project[path] = member["size"]
                if member["kind"] == "link":
                    self.files[path] = None
            below = (manifest.get("release") or {}).get("static_root")
            if below:
                self.made.add(os.path.join(manifest["project"]["directory"], below.rstrip("/")).encode("utf-8"))

    def may_be(self, path, size):
        """Whether a file of so many bytes may be the one that was installed: `verify/sizes.rs`."""
        if self._sizes is None:
            self._sizes = self._of_wheels()
            self._sizes.update(self._of_project)
        expected = self._sizes.get(path)
        return size <= LARGEST if expected is None else size == expected

    def _of_wheels(self):
        """By each RECORD that was not changed."""
        sizes = {}
        for record in [path for path in self.files if path.endswith(b".dist-info/RECORD")]:
            try:
                text = read(self.destination, record, LARGEST_RECORD)
                rows = rules.record(text.decode("utf-8"), shown(record), len(text))
            except (OSError, ValueError, Failure):
                continue
            if hashlib.sha256(text).hexdigest() != self.files[record]:
                continue
            for path, (digest, size) in rows.items():
                path = os.path.normpath(os.path.join(os.path.dirname(record), b"..", path.encode("utf-8")))
                expected = self.files.get(path)
                if expected and size is not None and wheels.record_hash(bytes.fromhex(expected)) == "sha256=%s" % digest:
                    sizes[path] = size
        return sizes


def parse(line):
    """A line as `sha256sum` writes it."""
    escaped = line.startswith(b"\\")
    sha256, path = line[escaped:].split(b"  ", 1)
    if escaped:
        # No path has a NUL.
        for text, plain in ((b"\\\\", b"\0"), (b"\\n", b"\n"), (b"\\r", b"\r"), (b"\0", b"\\")):
            path = path.replace(text, plain)
    return path, sha256.decode("ascii")


def read(destination, path, limit=LARGEST_TEXT):
    with regular(os.path.join(destination, path)) as file:
        text = file.read(limit + 1)
    if len(text) > limit:
        raise ValueError("too large")
    return text


def regular(path):
    """Opens a regular file, without waiting for what is none."""
    file = open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError("no regular file")
    return file


def sha256(path, size):
    """Of a file of so many bytes; it may grow meanwhile."""
    digest = hashlib.sha256()
    with regular(path) as file:
        for part in iter(lambda: file.read(1 << 18), b""):
            digest.update(part)
            size -= len(part)
            if size < 0:
                raise ValueError("larger meanwhile")
    return digest.hexdigest()


def changed_at(status):
    """When the bytes of a file were last changed. Linking a file changes its ctime too."""
    return status.st_ctime_ns if status.st_nlink == 1 else status.st_mtime_ns
