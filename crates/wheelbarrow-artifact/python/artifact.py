"""Reading an artifact: docs/format.md, format 1. Nothing is installed from one whose members were not all compared."""

import errno
import hashlib
import json
import os
import re
import stat
import sys
import tempfile

import exact
import links
import rules
import wheels
from exact import MANIFEST, SIGNATURE, THIN, NotExact, has_control, is_safe
from exits import LACKING, NEWER, UNFIT
from failure import Failure
from rules import broken

LOADENV = ("loadenv.py", "loadenv-init.pth", "loadenv.start")
DOORS = ("__main__.py", "__main__.pyc")
LARGEST_MANIFEST = 32 << 20
# Bytes that it takes as text in memory.
LARGEST_TEXT = 48 << 20
# More values would take much more memory than their text. 65,535 members have two thirds of them.
MOST_VALUES = 500000
LONGEST_PTH = 4096
# What is at the top of an artifact or an install and not the project's.
TAKEN = (".wheelbarrow", "bootstrap_wheels", "environment.json", "static.in", "venv", "wheels")


class Artifact:
    """An artifact whose manifest is understood and names exactly the members that are there."""

    def __init__(self, file, name):
        self.file, self.name = file, name
        try:
            self.members = exact.read(file)[1]
        except exact.Newer as error:
            hint = "install it with the program that built it, or a newer one"
            raise Failure(NEWER, "%s was built by a newer program" % name, error, hint) from None
        except NotExact as error:
            raise broken(name, error) from None
        if THIN in self.members:
            hint = "`deploy --root ROOT` takes it, under a root that has the rest; for all else, take the full artifact"
            cause = "it leaves out what a host has, and Python alone cannot take that from there"
            raise Failure(LACKING, "%s is thin" % name, cause, hint)
        self.manifest_bytes = self.read_small(MANIFEST, LARGEST_MANIFEST)
        self.manifest = read_manifest(self.manifest_bytes, name)
        self._compare()

    def _compare(self):
        members = {member["path"]: member for member in self.manifest["members"]}
        if len(members) != len(self.manifest["members"]):
            raise broken(self.name, "the manifest names a member twice")
        present = set(self.members) - {MANIFEST, SIGNATURE}
        for path in sorted(present.symmetric_difference(members)):
            where = "the manifest does not name it" if path in present else "the zip does not have it"
            raise broken(self.name, "%s: %s" % (path, where))
        for path, member in members.items():
            there = self.members[path]
            if there.size != member["size"]:
                raise broken(self.name, "%s has %d bytes, not %d" % (path, there.size, member["size"]))
            if there.kind != member["kind"]:
                raise broken(self.name, "%s is not of the kind that the manifest says" % path)
            self._check_place(path, member["kind"])
        self._check_wheels(members)

    def _check_wheels(self, members):
        names = {}
        for wheel in self.manifest["wheels"]:
            path = wheel["path"]
            top, _, file_name = path.partition("/")
            is_wheel = top in ("wheels", "bootstrap_wheels") and "/" not in file_name
            if not is_wheel or path not in members or members[path]["kind"] != "file":
                raise broken(self.name, "%s is not in it" % path)
            if self.members[path].method != exact.STORED:
                raise broken(self.name, "%s is not stored" % path)
            if rules.name_of(file_name, path) != wheel["name"]:
                raise broken(self.name, "%s is not of %s" % (path, wheel["name"]))
            if path in names:
                raise broken(self.name, "its manifest describes %s twice" % path)
            names[path] = wheel["name"]
        for target in self.manifest["targets"]:
            for path in target["wheels"] + [target["pip"]]:
                if path not in names:
                    raise broken(self.name, "%s is not described" % path)
            if len(set(target["wheels"])) != len(target["wheels"]):
                raise broken(self.name, "a target has a wheel twice")
            if names[target["pip"]] != "pip":
                raise broken(self.name, "%s is not a wheel of pip" % target["pip"])
            for collision in target.get("collisions", ()):
                if collision["wheel"] not in target["wheels"]:
                    raise broken(self.name, "%s is not a wheel of its target" % collision["wheel"])

    def _check_place(self, path, kind):
        top = path.split("/")[0]
        code = top in (self.manifest["project"]["directory"], "static.in") and "/" in path
        if kind == "link" and not code:
            raise broken(self.name, "%s is a link" % path)
        at_top = "/" not in path and (path in LOADENV + DOORS or path.endswith(".pth"))
        if not (code or at_top or (top in (".wheelbarrow", "wheels", "bootstrap_wheels") and "/" in path)):
            raise broken(self.name, "%s is in no place that format 1 knows" % path)

    def place(self, path, layout):
        """Where a member goes in DEST; None for what is not installed as it is."""
        top, _, below = path.partition("/")
        if not below:
            return None if path in DOORS else layout.site_packages + "/" + path
        return None if top in (".wheelbarrow", "wheels", "bootstrap_wheels") else path

    def read(self, path):
        """The bytes of a member, in pieces."""
        try:
            for chunk in exact.contents(self.file, self.members[path]):
                yield chunk
        except NotExact as error:
            raise broken(self.name, error) from None

    def read_small(self, path, limit):
        if self.members[path].size > limit:
            raise broken(self.name, "%s is too large" % path)
        return b"".join(self.read(path))

    def verify(self):
        """Reads every member once and compares it with the manifest, before anything is written."""
        targets = {}
        for member in self.manifest["members"]:
            path, digest, content = member["path"], hashlib.sha256(), b""
            for chunk in self.read(path):
                digest.update(chunk)
                if member["kind"] == "link":
                    content += chunk[: links.LONGEST + 1]
            if digest.hexdigest() != member["sha256"].lower():
                raise broken(self.name, "%s is not what the manifest says: its SHA-256 differs" % path)
            if member["kind"] == "link":
                targets[path] = content
        try:
            links.check(exact.tree_of(self.members), targets)
        except links.BadLink as error:
            raise broken(self.name, error) from None

    def window(self, path):
        """A wheel as a file of its own."""
        member = self.members[path]
        return wheels.Window(self.file, member.start, member.size)

    def target(self, facts):
        """Of the targets that this interpreter is, the one whose platform is the best tag that it takes."""
        python = "%d.%d" % tuple(facts["version"][:2])
        fitting = [
            target
            for target in self.manifest["targets"]
            if facts["implementation"] == "cpython" and target["python"] == python and target["abi"] == facts["abi"]
            and platform_fits(target["platform"], facts)
        ]  # fmt: skip
        if fitting:
            # They all have the libc of this interpreter: a newer one is the better tag. Among equals the first counts.
            return max(fitting, key=lambda target: libc_version(target["platform"]))
        has = [
            "Python %s (%s) on %s" % (target["python"], target["abi"], _system(target["platform"]))
            for target in self.manifest["targets"]
        ]
        implementation = "Python" if facts["implementation"] == "cpython" else facts["implementation"]
        kind = "musllinux" if facts["libc"]["name"] == "musl" else "manylinux"
        platform = "_".join([kind] + [str(number) for number in facts["libc"]["version"]] + [facts["machine"]])
        this = "%s %s (%s) on %s" % (implementation, python, facts["abi"], platform)
        hint = (
            "run it with one of the Pythons that it is for, as `python%s site.zip -d DEST`, or build it for this one"
            % self.manifest["targets"][0]["python"]
        )
        if any((target["python"], target["abi"]) == (python, facts["abi"]) for target in self.manifest["targets"]):
            hint = "build it for this system: `--probe` says what `wheelbarrow build --target` takes for it"
        cause = "it is for %s; this is %s" % (" or ".join(has), this)
        raise Failure(UNFIT, "%s cannot be installed here" % self.name, cause, hint)


def opened(path):
    """The file, for reading: itself if nobody but root and this user can write it or put another in its place, else a copy of it
    without a name. So what is verified is what is installed."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", path)
    if is_out_of_reach(file):
        return file
    with file:
        left = os.fstat(file.fileno()).st_size
        if left > exact.LARGEST:
            raise OSError(errno.EFBIG, "no artifact has 4 GB", path)
        # Not /tmp: that may be memory.
        place = None if os.environ.get("TMPDIR") or not os.path.isdir("/var/tmp") else "/var/tmp"
        copy = tempfile.TemporaryFile(dir=place)
        while left > 0:  # it may grow meanwhile
            data = file.read(min(left, exact.CHUNK))
            if not data:
                break
            copy.write(data)
            left -= len(data)
        return copy


def is_out_of_reach(file):
    def holds_still(status, is_directory=True):
        mode, is_ours = status.st_mode, status.st_uid in (0, os.geteuid())
        return is_ours and (not mode & 0o022 or (is_directory and bool(mode & stat.S_ISVTX)))

    try:
        directory = os.path.dirname(os.readlink("/proc/self/fd/%d" % file.fileno()))
        if not holds_still(os.fstat(file.fileno()), is_directory=False):
            return False
        while holds_still(os.lstat(directory)):
            if directory == "/":
                return True
            directory = os.path.dirname(directory)
    except OSError:
        pass
    return False


def _system(platform):
    return "any system" if platform == "any" else platform


# https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/
_LEGACY = {"manylinux1_": (2, 5), "manylinux2010_": (2, 12), "manylinux2014_": (2, 17)}


def platform_fits(platform, facts):
    """Whether what needs this platform tag runs here."""
    if platform in ("any", "linux_" + facts["machine"]):
        return True
    needs, libc = parse_platform(platform), facts["libc"]
    if needs is None:
        return False
    name, version, machine = needs
    has = tuple(libc["version"])
    return machine == facts["machine"] and libc["name"] == name and has[0] == version[0] and has >= version


def libc_version(platform):
    """What the tag asks of the C library, for comparing; nothing asks the least."""
    needs = parse_platform(platform)
    return needs[1] if needs else (0, 0)


def parse_platform(platform):
    """The C library, its version and the machine of a tag."""
    for prefix, version in _LEGACY.items():
        if platform.startswith(prefix):
            return "glibc", version, platform[len(prefix) :]
    for prefix, name in (("manylinux_", "glibc"), ("musllinux_", "musl")):
        if platform.startswith(prefix):
            major, minor, machine = (platform[len(prefix) :].split("_", 2) + ["", ""])[:3]
            if major.isdigit() and minor.isdigit():
                return name, (int(major), int(minor)), machine
    return None


# The manifest: a dictionary is an object with just these keys (`?` marks those that may be missing), a list an array.

DIGITS = set("0123456789")
MACHINE = DIGITS | set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_NEEDS = {"glibc?": str, "libraries?": [str]}
# PEP 610; `*` stands for any key.
_DIRECT_URL = {
    "url": str,
    "archive_info?": {"hash?": str, "hashes?": {"*?": str}},
    "dir_info?": {"editable?": bool},
    "subdirectory?": str,
    "vcs_info?": {"vcs": str, "commit_id": str, "requested_revision?": str},
}


def _below(limit):
    return lambda value: type(value) is int and 0 <= value < limit


def _is_command(value):
    """A list of words, or a text of them, in which quotes hold a word together."""
    if isinstance(value, str):
        quotes = re.findall(r"\"[^\"]*\"|'[^']*'|[\"']", value)
        words = value.split()
        if any(len(quote) == 1 for quote in quotes) or not words or re.match(r"(\"\"|'')+(\s|$)", words[0]):
            return False
        value = words
    return (
        isinstance(value, list)
        and value[:1] not in ([], [""])
        and all(isinstance(word, str) and "\0" not in word for word in value)
    )


def _is_allowance(value):
    """The ID of a check of Django, or ID=reason."""
    if not isinstance(value, str):
        return False
    name, equals, reason = (part.strip() for part in value.partition("="))
    return bool(name) and not any(character.isspace() for character in name) and (not equals or bool(reason))


def _is_server(value):
    kinds = {
        "command": {"kind": str, "command": _is_command},
        "touch": {"kind": str, "path": str},
        "systemd": {"kind": str, "unit": str, "action?": ("restart", "reload")},
    }
    kind = value.get("kind") if isinstance(value, dict) else None
    return kind == "none" or (isinstance(kind, str) and kind in kinds and mismatch(value, kinds[kind], "") is None)


def _is_hook(value):
    return _is_command(value) or mismatch(value, {"run": _is_command, "required?": bool, "timeout?": int}, "") is None


def _are_hooks(value):
    """A list of hooks; one alone is a text or a table."""
    return all(_is_hook(hook) for hook in value) if isinstance(value, list) else _is_hook(value)


def _is_check(value):
    return isinstance(value, bool) or mismatch(value, _CHECK, "") is None


# The forms of `facts.rs`.
def _is_number(text):
    return 0 < len(text) < 10 and not set(text) - DIGITS and (text == "0" or text[0] != "0")


def _is_minor_version(value):
    parts = value.split(".") if isinstance(value, str) else []
    return len(parts) == 2 and all(_is_number(part) for part in parts)


def _is_abi_tag(value):
    rest = value[2:].rstrip("abcdefghijklmnopqrstuvwxyz") if isinstance(value, str) else ""
    return rest != "" and value[:2] == "cp" and not set(rest) - DIGITS


def _is_required_platform(value):
    parts = value.split("_", 3) if isinstance(value, str) else []
    if len(parts) < 4:
        return value == "any"
    is_machine = parts[3] != "" and not set(parts[3]) - MACHINE
    return parts[0] in ("manylinux", "musllinux") and is_machine and _is_number(parts[1]) and _is_number(parts[2])


_U16, _U32 = _below(1 << 16), _below(1 << 32)
_CHECK = {"enabled?": bool, "path?": str, "host?": str, "scheme?": str, "expected?": [_U16], "allow?": [_is_allowance]}
_HOOK_NAMES = ("before_migrate?", "after_switch?", "on_failure?", "after_rollback?")
_HOOKS = dict.fromkeys(_HOOK_NAMES + tuple(name.replace("_", "-") for name in _HOOK_NAMES), _are_hooks)
# docs/settings.md. Nothing here is used by an install, but it must be what a deploy understands.
_RELEASE = {
    "settings?": str,
    "application?": str,
    "prepare?": [_is_command],
    "hooks?": _HOOKS,
    "shared?": [str],
    "owner?": str,
    "group?": str,
    "pass_environment?": [str],
    "static_root?": str,
    "keep_static?": _U32,
    "keep?": int,
    "server?": _is_server,
    "check?": _is_check,
    "probe?": {"url": str, "socket?": str, "host?": str, "expected?": [_U16], "successes?": _U32, "deadline?": int},
    "timeouts?": {"check?": int, "prepare?": int, "reload?": int, "hook?": int},
}
# Each may be spelled with dashes.
_RELEASE.update({key.replace("_", "-"): part for key, part in _RELEASE.items()})
_MANIFEST = {
    "format": int,
    "name": str,
    "version?": str,
    "built_by": str,
    "project": {"directory": str, "import_path": str, "digest": "sha256"},
    "targets": [
        {
            "python": _is_minor_version,
            "abi": _is_abi_tag,
            "platform": _is_required_platform,
            "wheels": [str],
            "pip": str,
            "unpacked": {"bytes": int, "inodes": int},
            # Compressed by zstd, which Python can read from 3.14 on.
            "bytecode?": {"cache_tag": str, "magic": str},
            "needs?": _NEEDS,
            "collisions?": [{"path": str, "wheel": str}],
        }
    ],
    "environment": {"precedence?": ("file", "process"), "required?": [str], "private?": bool},
    "release?": _RELEASE,
    "wheels": [{"path": str, "name": str, "version": str, "direct_url?": _DIRECT_URL, "built?": bool, "needs?": _NEEDS}],
    "allowed?": [{"rule": str, "name": str, "reason?": str}],
    "members": [{"path": str, "size": int, "sha256": "sha256", "kind": ("file", "executable", "link")}],
}


def read_manifest(data, name):
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > MOST_VALUES:
        raise broken(name, "its manifest has more than %d values" % MOST_VALUES)
    try:
        text = data.decode("utf-8")
        # A single character may make all others take four bytes.
        if sys.getsizeof(text) > LARGEST_TEXT:
            raise broken(name, "its manifest takes more than %d MB of memory" % (LARGEST_TEXT >> 20))
        # Another format may have other rules, so its number is looked at first.
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise broken(name, "its manifest is not JSON: %s" % error) from None
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if type(version) is int and version > 1:
        hint = "install it with the program that built it, or a newer one"
        built_by = manifest.get("built_by")
        message = "%s has format %d: it was built by %s, and this is an older program" % (name, version, built_by)
        raise Failure(NEWER, message, hint=hint)
    if type(version) is int and version != 1:
        raise broken(name, "its manifest has the unknown format %d" % version)
    del manifest
    try:
        manifest = json.loads(text, object_pairs_hook=_object, parse_int=_int, parse_constant=_no_constant)
        del text
        # Half of a surrogate pair, which only an escape can be, cannot be written as UTF-8.
        if b"\\u" in data:
            json.dumps(manifest, ensure_ascii=False).encode("utf-8")
    except ValueError as error:
        raise broken(name, "its manifest is not JSON: %s" % error) from None
    problem = mismatch(manifest, _MANIFEST, "") or _problem(manifest)
    if problem:
        raise broken(name, "its manifest: %s" % problem)
    return manifest


def _problem(manifest):
    project = manifest["project"]
    directory, import_path = project["directory"], project["import_path"]
    if not manifest["targets"]:
        return "it has no target"
    release = manifest.get("release", {})
    if len({key.replace("-", "_") for key in release}) != len(release):
        return "release has a key in two spellings"
    if not is_safe(directory) or has_control(directory) or "/" in directory or directory in TAKEN:
        return "project.directory cannot be the name of the directory with the code"
    if not is_safe(import_path) or has_control(import_path) or import_path.split("/")[0] != directory:
        return "project.import_path is not in project.directory"
    return None


def _object(pairs):
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice in one object")
    if None in result.values():
        raise ValueError("a value is null")
    return result


def _int(text):
    if text == "-0":
        raise ValueError("the number -0 is not allowed")
    return int(text)


def _no_constant(text):
    raise ValueError("%s is not a number" % text)


def mismatch(value, schema, where):
    """What is wrong with a value, or None."""
    here = where or "it"
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            return "%s is not an object" % here
        expected = {key.rstrip("?"): part for key, part in schema.items()}
        if "*" in expected:
            expected = dict.fromkeys(value, expected["*"])
        for key in value:
            if key not in expected:
                return "%s has the unknown key %a" % (here, key)
        for key in schema:
            if not key.endswith("?") and key not in value:
                return "%s lacks %s" % (here, key)
        below = ((value[key], part, (where + "." + key).lstrip(".")) for key, part in expected.items() if key in value)
    elif isinstance(schema, list):
        if not isinstance(value, list):
            return "%s is not an array" % here
        below = ((item, schema[0], "%s[%d]" % (where, index)) for index, item in enumerate(value))
    elif isinstance(schema, tuple):
        return None if isinstance(value, str) and value in schema else "%s is none of %s" % (here, ", ".join(schema))
    elif schema == "sha256":
        right = isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdefABCDEF")
        return None if right else "%s is not a SHA-256" % here
    elif schema is int:
        return None if type(value) is int and 0 <= value < 1 << 64 else "%s is not a whole number of 64 bits" % here
    elif not isinstance(schema, type):
        return None if schema(value) else "%s is not as it must be" % here
    else:
        return None if isinstance(value, schema) else "%s is not of its type" % here
    for item, part, path in below:
        problem = mismatch(item, part, path)
        if problem:
            return problem
    return None
