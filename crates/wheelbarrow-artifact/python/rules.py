"""Rules for the name and texts of a wheel: docs/reference/format.md, "Wheels". The crate wheelbarrow-wheel has the same rules.

What white space, a line and a letter is differs between languages and between versions of Python, so it goes by ASCII here.
"""

import re

from exact import has_control, is_safe
from exits import BROKEN
from failure import Failure

_TAGS = r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*"
# https://packaging.python.org/en/latest/specifications/binary-distribution-format/#file-name-convention
_FILE_NAME = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9._]*[A-Za-z0-9])?)-([A-Za-z0-9.!+_]+)(?:-[0-9]{1,18}(?![0-9])[A-Za-z0-9_.]*)?"
    r"-(%s)-(%s)-(%s)\.whl" % (_TAGS, _TAGS, _TAGS)
)
# https://packaging.python.org/en/latest/specifications/version-specifiers/#appendix-parsing-version-strings-with-regular-expressions
_VERSION = re.compile(
    r"v?(?:[0-9]{1,18}!)?[0-9]{1,18}(?:\.[0-9]{1,18})*(?:[._]?(?:alpha|a|beta|b|preview|pre|c|rc)[._]?(?:[0-9]{1,18})?)?"
    r"(?:[._]?(?:post|rev|r)[._]?(?:[0-9]{1,18})?)?(?:[._]?dev[._]?(?:[0-9]{1,18})?)?(?:\+[a-z0-9]+(?:[._][a-z0-9]+)*)?"
)
_DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_PLAIN_FIELD, _PLAIN_FIELDS = re.compile('[^",\r\n]*'), re.compile('(?:[^"\r\n]*,)?')
_LINE_END = re.compile("\r?\n+")
# More than any wheel has.
MOST_TAGS = 256
# Bytes of a field of RECORD: PATH_MAX of Linux.
_LONGEST_FIELD = 4096


def broken(what, why):
    return Failure(BROKEN, "%s is broken" % what, why, "get the file again from where it was built")


def lower(text):
    """Of ASCII letters only."""
    return text.encode("utf-8").lower().decode("utf-8")


def normalised(name):
    """PEP 503."""
    return lower(re.sub("[-_.]+", "-", name))


def name_of(file_name, what):
    """The normalised name of the distribution in the file name of a wheel."""
    match = _FILE_NAME.fullmatch(file_name)
    if not match:
        raise broken(what, "%a is not the name of a wheel" % file_name)
    if not _VERSION.fullmatch(lower(match.group(2))):
        raise broken(what, "%a is not a version" % match.group(2))
    count = 1
    for tags in match.groups()[2:]:
        count *= len(tags.split("."))
    if count > MOST_TAGS:
        raise broken(what, "its name has more than %d tags" % MOST_TAGS)
    return normalised(match.group(1))


def _lines(text):
    return text.lstrip("\ufeff").split("\n")


def _strip(text):
    return text.strip(" \t\r")


def check_wheel_version(text, what):
    """WHEEL: its headers end at the first line that is not a header."""
    values, key = [], None
    for line in _lines(text):
        if line[:1] in (" ", "\t"):
            if key is None:
                break
            if key == "wheel-version":
                values[-1] = _strip(values[-1] + " " + _strip(line))
            continue
        key, colon, value = line.partition(":")
        if not colon or not key or not all("!" <= character <= "~" for character in key):
            break
        key = lower(key)
        if key == "wheel-version":
            values.append(_strip(value))
    if not values:
        raise broken(what, "it does not say its Wheel-Version")
    if len(values) != 1 or not re.fullmatch(r"0{0,8}[01](?:\.[0-9]{1,9})*", values[0]):
        raise broken(what, "Wheel-Version %s is not known" % ", ".join(values))


def steers_python(path):
    """Whether Python reads the file at this path, below a virtualenv, when it starts: before its options, so that -I and -S do
    not keep it from running what the file names (Modules/getpath.py of CPython). File systems may not tell cases apart."""
    path = lower(path)
    name = path[len("bin/") :] if path.startswith("bin/") else path
    return name in ("pyvenv.cfg", "pybuilddir.txt") or (name.endswith("._pth") and "/" not in name)


def entry_points(text, what):
    """The console and gui scripts: name to (module, object).

    https://packaging.python.org/en/latest/specifications/entry-points/
    """
    section, found = None, {"console_scripts": {}, "gui_scripts": {}}
    for line in _lines(text):
        line = _strip(line)
        if not line or line[0] in "#;":
            continue
        if line.startswith("[") and line.endswith("]"):
            section = _strip(line[1:-1])
            continue
        if section not in found:
            continue
        name, _, value = line.partition("=")
        for mark in (" #", "\t#", " ;", "\t;"):
            value = value.partition(mark)[0]
        module, _, attribute = value.partition("[")[0].partition(":")
        name, module, attribute = _strip(name), _strip(module), _strip(attribute)
        if not is_safe(name) or "/" in name or has_control(name):
            raise broken(what, "an entry point has the name %a" % name)
        if steers_python("bin/" + name):
            raise broken(what, "an entry point has the name %a, which would change how Python starts" % name)
        # These become Python source, so nothing but dotted names may pass.
        if not _DOTTED.fullmatch(module) or not _DOTTED.fullmatch(attribute):
            raise broken(what, "the entry point %s names no object: %a" % (name, value))
        found[section][name] = (module, attribute)
    # Of two with one name the one for windows counts.
    found["console_scripts"].update(found["gui_scripts"])
    return found["console_scripts"]


def _field(text, at):
    """A field of a row, and where it ends. One whose quote is not closed ends where it begins.

    A regular expression would need memory for each doubled quote."""
    if text[at : at + 1] != '"':
        end = _PLAIN_FIELD.match(text, at).end()
        return text[at:end], end
    end = text.find('"', at + 1)
    while end >= 0 and text[end + 1 : end + 2] == '"':
        end = text.find('"', end + 2)
    return (text[at + 1 : end].replace('""', '"'), end + 1) if end >= 0 else ("", at)


def record(text, what, most):
    """RECORD: by path the SHA-256, as it is written there, and the size; None for either that is not there."""
    found, count, at = {}, 0, int(text.startswith("\ufeff"))

    def wrong(why):
        return broken(what, "RECORD, row %d: %s" % (count, why))

    while at < len(text):
        end = _LINE_END.match(text, at)
        if end:
            at = end.end()
            continue
        count += 1
        if count > most:
            raise wrong("many more rows than there are files")
        fields = []
        while True:
            field, at = _field(text, at)
            if len(fields) < 3:
                fields.append(field)
            if text[at : at + 1] != ",":
                break
            at += 1
            if len(fields) == 3:  # more are skipped
                at = _PLAIN_FIELDS.match(text, at).end()
        end = _LINE_END.match(text, at)
        if at < len(text) and not end:
            raise wrong("a quote or a carriage return is where none can be")
        at = end.end() if end else at
        path, value, size = (fields + ["", ""])[:3]
        # Characters first: of a long field no copy is made.
        long = (len(field) > _LONGEST_FIELD or len(field.encode("utf-8")) > _LONGEST_FIELD for field in (path, value, size))
        if any(long):
            raise wrong("a field has more than %d bytes" % _LONGEST_FIELD)
        if not path or path.startswith("\ufeff"):
            raise wrong("it has the path %a" % path)
        if value and "=" not in value:
            raise wrong("%a is not a hash" % value)
        if size and not re.fullmatch("[0-9]{1,18}", size):
            raise wrong("%a is not a size" % size)
        algorithm, _, digest = value.partition("=")
        row = (lower(algorithm), digest.rstrip("="), int(size) if size else None)
        if found.setdefault(path, row) != row:
            raise wrong("another row has something else for %s" % path)
    known = ((path, row) for path, row in found.items())
    return {path: (digest if algorithm == "sha256" else None, size) for path, (algorithm, digest, size) in known}
