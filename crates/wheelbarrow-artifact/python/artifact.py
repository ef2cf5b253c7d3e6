"""Reading an artifact: docs/reference/format.md, format 1. Nothing is installed from one whose members were not all compared."""

import errno
import hashlib
import json
import os
import stat
import tempfile

import exact
import interpreter
import links
import rules
import wheels
from exact import MANIFEST, SIGNATURE, THIN, NotExact
from exits import LACKING, NEWER, UNFIT
from failure import Failure
from manifest import read_manifest
from rules import broken

LOADENV = ("loadenv.py", "loadenv-init.pth", "loadenv.start")
DOORS = ("__main__.py", "__main__.pyc")
# What the bundled interpreter says of itself, and the destination in it.
FACTS = "python/wheelbarrow.json"
PLACE = "/wheelbarrow.destination"
BUILD_WITH_PYTHON = (
    "build it for this system, with a Python for it: /etc/os-release names the system, `wheelbarrow targets` lists "
    "the values of `--target`"
)
LARGEST_FACTS = 1 << 20
LARGEST_MANIFEST = 32 << 20
LONGEST_PTH = 4096


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
            hint = "`deploy` accepts it for a site root that has the other files; otherwise use the full artifact"
            cause = "it leaves out files that a host has, which the fallback installer cannot use"
            raise Failure(LACKING, "%s is thin" % name, cause, hint)
        self.manifest_bytes = self.read_small(MANIFEST, LARGEST_MANIFEST)
        self.manifest = read_manifest(self.manifest_bytes, name)
        self.brings_python = False
        self._own = {self.manifest["project"]["directory"], "static.in"}
        if "interpreter" in self.manifest:
            self._own.add("python")
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
        if "interpreter" in self.manifest and members.get(FACTS, {}).get("kind") != "file":
            raise broken(self.name, "its interpreter has no %s" % FACTS)
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
            of_target = set(target["wheels"])
            if len(of_target) != len(target["wheels"]):
                raise broken(self.name, "a target has a wheel twice")
            if names[target["pip"]] != "pip":
                raise broken(self.name, "%s is not a wheel of pip" % target["pip"])
            for collision in target.get("collisions", ()):
                if collision["wheel"] not in of_target:
                    raise broken(self.name, "%s is not a wheel of its target" % collision["wheel"])

    def _check_place(self, path, kind):
        top = path.split("/")[0]
        code = top in self._own and "/" in path
        if kind == "link" and not code:
            raise broken(self.name, "%s is a link" % path)
        at_top = "/" not in path and (path in LOADENV + DOORS or path.endswith(".pth"))
        if not (code or at_top or (top in (".wheelbarrow", "wheels", "bootstrap_wheels") and "/" in path)):
            raise broken(self.name, "%s is in a place that format 1 does not have" % path)

    def facts(self, facts, destination):
        """Of the interpreter that it brings for this machine, else those of the one that runs."""
        own = self.manifest.get("interpreter")
        if own is None or own["machine"] != facts["machine"]:
            return facts
        quoted = json.dumps(destination, ensure_ascii=False)[1:-1]
        try:
            found = json.loads(self.read_small(FACTS, LARGEST_FACTS).decode("utf-8").replace(PLACE, quoted))
            paths = [str(found[key]) for key in ("site_packages", "headers", "cache_tag")]
            libc = found["libc"]["name"]
        except (KeyError, TypeError, ValueError) as error:
            raise broken(self.name, "%s cannot be understood: %s" % (FACTS, error)) from None
        if not all(map(exact.is_safe, paths)) or "/" in paths[2]:
            raise broken(self.name, "%s names a place outside of the virtualenv" % FACTS)
        musl = interpreter.musl(found["machine"]) if libc == "musl" else None
        found["libc"] = musl or facts["libc"]
        self.brings_python = True
        return found

    def is_of_python(self, path):
        return "interpreter" in self.manifest and path.startswith("python/")

    def compiles(self, path):
        """Whether an install compiles a member that it puts at `path`."""
        collected = self.manifest["project"].get("static_root")
        no_modules = ("static.in/",) + ((collected + "/",) if collected else ())
        return path.endswith(".py") and not path.startswith(no_modules) and not self.is_of_python(path)

    def place(self, path, layout):
        """Where a member goes in DEST; None for what is not installed as it is."""
        if self.is_of_python(path) and not self.brings_python:
            return None
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
        kind = {"glibc": "manylinux", "musl": "musllinux"}.get(facts["libc"]["name"])
        platform = "%s with an unknown C library" % facts["machine"]
        if kind:
            platform = "_".join([kind] + [str(number) for number in facts["libc"]["version"]] + [facts["machine"]])
        this = "%s %s (%s) on %s" % (implementation, python, facts["abi"], platform)
        hint = (
            "run it with one of the Pythons that it is for, as `python%s site.zip -d DEST`, or build it for this one: "
            "`--probe` prints its `--target`" % self.manifest["targets"][0]["python"]
        )
        if any((target["python"], target["abi"]) == (python, facts["abi"]) for target in self.manifest["targets"]):
            hint = "build it for this system: `--probe` prints its `--target`"
        if self.brings_python:
            hint = BUILD_WITH_PYTHON
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
