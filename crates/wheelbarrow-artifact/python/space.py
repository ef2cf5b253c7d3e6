"""How much room an install takes, in bytes of whole blocks and in inodes, by what is in the artifact.

The manifest's own figures are of the site's wheels and code; pip, bytecode and the virtualenv come on top of them.
"""

from bytecode import LARGEST_MODULE
from destination import block_of, check_bytes, check_inodes
from wheels import Layout, Wheel, scripts_of

PYC_HEADER = 16
# A line of SHA256SUMS without its path.
SUM = 67


def check(parent, archive, target, facts, options):
    for failure in failures(parent, archive, target, facts, options):
        raise failure


def failures(parent, archive, target, facts, options):
    """What there is too little of in the directory `parent`."""
    room = needed(archive, target, facts, options, block_of(parent))
    found = [check_bytes(parent, room.bytes), check_inodes(parent, room.inodes)]
    return [failure for failure in found if failure is not None]


def needed(archive, target, facts, options, block):
    """The room of a whole install."""
    room = Room(block, facts["cache_tag"] if options["compile"] == "auto" else None)
    layout = Layout(facts, options["destination"].encode("utf-8"))
    virtualenv = facts["virtualenv"]
    for path in virtualenv["directories"]:
        room.directory("venv/" + path)
    for path, _ in virtualenv["links"]:
        room.file("venv/" + path, 0)
    for file in virtualenv["files"]:
        room.file("venv/" + file["path"], len(file["text"].encode("utf-8")))
    modules = []
    for member in archive.manifest["members"]:
        path = archive.place(member["path"], layout)
        if path is not None:
            room.file(path, 0 if member["kind"] == "link" else member["size"])
            if path.endswith(".py") and member["kind"] != "link" and not path.startswith("static.in/"):
                modules.append((path, member["size"]))
    room.compiled(modules)
    for path, is_pip in wheels_of(archive.manifest, target, options):
        _add_wheel(room, Wheel(archive.window(path), path), layout, is_pip)
    sums = sum(SUM + len(path.encode("utf-8")) for path in room.files if not path.endswith(".pyc"))
    room.file(".wheelbarrow/manifest.json", len(archive.manifest_bytes))
    room.file(".wheelbarrow/SHA256SUMS", sums)
    room.file(".wheelbarrow/receipt.json", 1)
    return room


def wheels_of(manifest, target, options):
    """The paths of the wheels that are installed, each with whether it is the bundled pip, which gets no bytecode."""
    by_path = {wheel["path"]: wheel for wheel in manifest["wheels"]}
    # A site that depends on pip brings its own.
    bundled = options["pip"] and not any(by_path[path]["name"] == "pip" for path in target["wheels"])
    paths = target["wheels"] + ([target["pip"]] if bundled else [])
    return [(path, path == target["pip"]) for path in paths]


class Room:
    def __init__(self, block, cache_tag):
        self.block, self.cache_tag = block, cache_tag
        self.bytes, self.inodes = 0, 1
        self.files, self.directories = set(), {""}

    def directory(self, path):
        while path not in self.directories:
            self.directories.add(path)
            self._add(self.block)
            path = path.rpartition("/")[0]

    def file(self, path, size):
        # Two wheels may have the same.
        if path not in self.files:
            self.files.add(path)
            self.directory(path.rpartition("/")[0])
            self._add(size)

    def compiled(self, modules):
        """As large as its source is what a module compiles to, by and large."""
        for path, size in modules:
            if self.cache_tag is not None and size <= LARGEST_MODULE:
                directory, slash, name = path.rpartition("/")
                place = "%s%s__pycache__/%s.%s.pyc" % (directory, slash, name[: -len(".py")], self.cache_tag)
                self.file(place, size + PYC_HEADER)

    def _add(self, size):
        self.bytes += -(-size // self.block) * self.block
        self.inodes += 1


def _add_wheel(room, wheel, layout, is_pip):
    """The files of a wheel, by the sizes that its zip tells."""
    modules = []
    for member, path, scheme in wheel.files(layout):
        room.file(path, member.size)
        if not is_pip and path.endswith(".py") and scheme in (None, "purelib", "platlib"):
            modules.append((path, member.size))
    for name in scripts_of(wheel, layout, is_pip):
        room.file("venv/bin/" + name, 1)
    dist_info = "%s/%s/" % (layout.site_packages, wheel.dist_info)
    for name, size in (("RECORD", wheel.record_size), ("INSTALLER", 1)) + (() if is_pip else (("REQUESTED", 0),)):
        room.file(dist_info + name, size)
    room.compiled(modules)
