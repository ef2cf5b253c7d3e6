"""Puts DEST/environment.json into os.environ at every start of this virtualenv's Python.

One JSON object of strings, deployed apart from the site: gunicorn, mod_wsgi, cron and a shell all see the same. A missing
file is fine; a broken one stops the interpreter, because a site must not run without its settings. What is said about it
names file, line and key, never a value.

This runs before everything else, so it imports nothing that Python has not loaded by then: `json` brings in `re`, which
takes longer than all of the rest together. As only strings are allowed in the file, reading it takes a page of code.
"""

import os
import sys

# The builder writes the settings of the site here.
PRECEDENCE = "file"  # or "process": what the process inherited wins
REQUIRED = ()  # names that the file or the process must have
PRIVATE = False  # whether a file that everybody may read is refused

BROKEN = 7  # exit code, docs/reference/exit-codes.md
LARGEST = 1 << 20  # bytes of the file

_WHITESPACE = " \t\n\r"
_KINDS = {"{": "an object", "[": "an array", "t": "true", "f": "false", "n": "null"}
_done = False


class Broken(Exception):
    """What is wrong: a reason, and the line and the key where there are such."""

    def __init__(self, reason, line=None, key=None):
        Exception.__init__(self, reason)
        self.reason, self.line, self.key = reason, line, key

    def __str__(self):
        line = "" if self.line is None else ", line %d" % self.line
        key = "" if self.key is None else ' key "%s":' % _printable(self.key)
        return "%s:%s %s" % (line, key, self.reason)


def init():
    """Loads the environment once; ends the process if that cannot be done as it should."""
    global _done
    if _done:
        return  # the .pth and the .start file both call this
    _done = True
    destination = _destination()
    if destination is None:
        return
    _hold(destination)
    path = os.path.join(destination, "environment.json")
    try:
        values = check(read(path), os.environ)
        for key, value in values.items():
            if PRECEDENCE == "file" or key not in os.environ:
                # As bytes: in a locale that is not UTF-8 the text may have no other form.
                os.environb[key.encode("utf-8")] = value.encode("utf-8")
    except Broken as broken:
        _stop("loadenv: %s%s" % (path, broken))
    except Exception as error:
        # Only the kind of it: its message may hold a value.
        _stop("loadenv: %s: cannot be loaded (%s)" % (path, type(error).__name__))


def _hold(destination):
    """Of a release, keeps open as long as the process lives what tells /proc where the process has its modules from:

    its .wheelbarrow/release.json: the release that the interpreter was started from;
    a venv/pyvenv.cfg: the release that this very process, not the one it was forked from, first imported a dependency from;
    a .wheelbarrow/manifest.json: the same for the code of the site.
    """
    if _open(os.path.join(destination, ".wheelbarrow", "release.json")) is None:
        return  # an install that is no release
    for place, finder in enumerate(sys.meta_path):
        if getattr(finder, "__name__", None) == "PathFinder":
            sys.meta_path.insert(place, _Witness(finder, destination))
            return


def _open(path):
    """A descriptor of the file, which no program that is started inherits; None where there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    if descriptor <= 2:
        os.close(descriptor)  # the process was started without them, and must not find this in their place
        return None
    return descriptor


class _Witness:
    """Finds top-level modules as PathFinder does, and remembers where the first of each kind was.

    `current` may lead elsewhere by the time that a worker is forked, and reading it again tells nothing of what was
    imported before. So what a process inherited is what its parent imported, until it imports for itself.
    """

    def __init__(self, finder, destination):
        self._finder = finder
        self._releases = os.path.dirname(os.path.realpath(destination)) + os.sep
        self._virtualenv = os.path.join(destination, "venv") + os.sep
        self._library = os.path.dirname(os.__file__) + os.sep
        self._process = None
        self._awaited = set()
        self._held = {}

    def find_spec(self, name, path=None, target=None):
        if path is not None:
            return None
        process = os.getpid()
        if process != self._process:
            self._process, self._awaited = process, {"code", "dependencies"}
        if not self._awaited:
            return None
        spec = self._finder.find_spec(name, None, target)
        if spec is not None:
            try:
                self._see(spec)
            except Exception:
                pass  # the site is worth more than what is known of it
        return spec

    def _see(self, spec):
        places = [spec.origin] if spec.has_location else list(spec.submodule_search_locations or ())
        if not places or not places[0] or places[0].startswith(self._library):
            return
        if places[0].startswith(self._virtualenv):
            self._keep("dependencies", os.path.join(self._virtualenv, "pyvenv.cfg"))
            return
        path = os.path.realpath(places[0])
        if path.startswith(self._releases):
            release = path[len(self._releases) :].split(os.sep)[0]
            self._keep("code", os.path.join(self._releases, release, ".wheelbarrow", "manifest.json"))

    def _keep(self, kind, path):
        if kind not in self._awaited:
            return
        self._awaited.discard(kind)
        before = self._held.pop(kind, None)
        descriptor = _open(path)
        if descriptor is not None:
            status = os.fstat(descriptor)
            self._held[kind] = descriptor, status.st_dev, status.st_ino
        if before is not None:
            status = os.fstat(before[0])
            if (status.st_dev, status.st_ino) == before[1:]:  # a program that became a daemon may have closed it
                os.close(before[0])


def _destination():
    """The directory that holds the virtualenv; None outside of one."""
    if sys.prefix != sys.base_prefix:
        return os.path.dirname(sys.prefix)
    # A server that embeds Python may have been given only this site-packages directory.
    prefix = os.path.abspath(__file__)
    for _ in range(4):
        prefix = os.path.dirname(prefix)
    return os.path.dirname(prefix) if os.path.exists(os.path.join(prefix, "pyvenv.cfg")) else None


def read(path):
    """The bytes of the file, or None if there is none."""
    try:
        with open(path, "rb") as file:
            if PRIVATE and os.fstat(file.fileno()).st_mode & 0o004:
                raise Broken("every user may read it; use `chmod o-r`")
            return file.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Broken("cannot be read: %s" % (error.strerror or "unknown error"))


def check(data, inherited):
    """The variables that the file's bytes (None without a file) say, or Broken."""
    values = {} if data is None else parse(data)
    missing = [key for key in REQUIRED if key not in values and key not in inherited]
    if missing:
        others = "".join(', so is "%s"' % key for key in missing[1:])
        where = "the file does not exist" if data is None else "not in the file"
        them = "them" if others else "it"
        raise Broken("is required%s; %s, and the process has not inherited %s" % (others, where, them), None, missing[0])
    return values


def parse(data):
    """The variables that the bytes of an environment.json say, or Broken."""
    if len(data) > LARGEST:
        raise Broken("larger than 1 MB")
    if data[:3] == b"\xef\xbb\xbf":
        data = data[3:]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Broken("not UTF-8", data.count(b"\n", 0, error.start) + 1)
    values: dict = {}
    position = _skip(text, 0)
    if text[position : position + 1] != "{":
        raise _broken(text, position, "not a JSON object" if position < len(text) else "empty, not a JSON object")
    position = _skip(text, position + 1)
    if text[position : position + 1] == "}":
        position += 1
    else:
        more = True
        while more:
            position, more = _pair(text, position, values)
    position = _skip(text, position)
    if position != len(text):
        raise _broken(text, position, "something follows the object")
    return values


def _pair(text, start, values):
    """Reads `"KEY": "VALUE"` and what ends it; returns where the next begins and whether there is one."""
    if text[start : start + 1] != '"':
        raise _broken(text, start, 'expected a key in double quotes, as in {"KEY": "VALUE"}')
    key, position = _string(text, start, None)
    position = _skip(text, position)
    if text[position : position + 1] != ":":
        raise _broken(text, position, "expected a colon after the key", key)
    begin = position = _skip(text, position + 1)
    first = text[position : position + 1]
    if first != '"':
        kind = _KINDS.get(first) or ("a number" if first in tuple("-0123456789") else None)
        if kind is None:
            raise _broken(text, position, "expected a value in double quotes", key)
        raise _broken(text, position, "the value is %s; it must be a string in double quotes" % kind, key)
    value, position = _string(text, position, key)
    if not key or "=" in key or "\0" in key:
        raise _broken(text, start, "is empty" if not key else "has a character that no variable can have", key)
    if key in values:
        raise _broken(text, start, "is in the file twice", key)
    if "\0" in value:
        raise _broken(text, begin, "the value has a NUL character, which no variable can have", key)
    values[key] = value
    position = _skip(text, position)
    if text[position : position + 1] not in (",", "}"):
        raise _broken(text, position, "expected a comma or } after the value", key)
    more = text[position] == ","
    return (_skip(text, position + 1) if more else position + 1), more


def _string(text, start, key):
    """The JSON string at `start`, and where it ends."""
    end = text.find('"', start + 1)
    value = text[start + 1 : end]
    if end < 0 or "\\" in value:
        try:
            from _json import scanstring  # the scanner in C, without `json`
        except ImportError:
            from json.decoder import scanstring
        try:
            value, end = scanstring(text, start + 1, True)
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise _broken(text, start, "half of a surrogate pair is no character", key)
        except ValueError:
            raise _broken(text, start, "the string does not end, or has a wrong escape or a control character", key)
        return value, end
    if value and min(value) < " ":
        raise _broken(text, start, "the string has a control character (a line break is written \\n)", key)
    return value, end + 1


def _skip(text, position):
    while text[position : position + 1] in _WHITESPACE and position < len(text):
        position += 1
    return position


def _broken(text, position, reason, key=None):
    return Broken(reason, text.count("\n", 0, position) + 1, key)


def _printable(key):
    """The key for one line of a terminal. What stands behind a `=` may be a value."""
    name, equals, _ = key.partition("=")
    key = name + "=..." if equals else key
    key = "".join(character if character.isprintable() else "?" for character in key)
    return key if len(key) <= 80 else key[:80] + "..."


def _stop(line):
    """Says it and ends the process. An exception here would be printed and ignored, SystemExit buried in a traceback."""
    try:
        os.write(2, line.encode("utf-8", "backslashreplace") + b"\n")
    except OSError:
        pass
    os._exit(BROKEN)
