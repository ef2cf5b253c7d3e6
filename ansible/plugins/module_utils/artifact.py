"""What the controller must know of an artifact: its manifest, and the programs in it. docs/reference/format.md is the format."""

import hashlib
import json

from ansible_collections.wheelbarrow.deploy.plugins.module_utils import exact

PROGRAM = ".wheelbarrow/native/linux-%s"
# No manifest is larger, nor a program.
LARGEST = 64 << 20


class NoArtifact(Exception):
    """The file is not one, or lacks what was asked for."""


class Artifact(object):
    """An artifact, opened to read a member or two. It is the host that verifies it as a whole."""

    def __init__(self, path):
        self.path = path
        try:
            with open(path, "rb") as file:
                self._members = exact.read(file)[1]
            text = self._read(exact.MANIFEST)
            manifest = json.loads(text.decode("utf-8"), object_pairs_hook=exact.unambiguous)
            self.name, self.version = manifest["name"], manifest.get("version")
            self._sha256 = {member["path"]: member["sha256"] for member in manifest["members"]}
        except (OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise NoArtifact("%s is no artifact: %s" % (path, error))
        self.manifest_sha256 = hashlib.sha256(text).hexdigest()

    def program(self, machine):
        """The bytes of the program for x86_64 or aarch64."""
        name = PROGRAM % machine
        if name not in self._members:
            raise NoArtifact("%s has no program for %s" % (self.path, machine))
        try:
            program = self._read(name)
        except (OSError, ValueError) as error:
            raise NoArtifact("%s is no artifact: %s" % (self.path, error))
        if hashlib.sha256(program).hexdigest() != self._sha256.get(name):
            raise NoArtifact("%s was altered: the program for %s is not what its manifest says" % (self.path, machine))
        return program

    @property
    def machines(self):
        begin = PROGRAM % ""
        return sorted(name[len(begin) :] for name in self._members if name.startswith(begin))

    def _read(self, name):
        member = self._members[name]
        if member.size > LARGEST:
            raise exact.NotExact("%s is too large" % name)
        with open(self.path, "rb") as file:
            return b"".join(exact.contents(file, member))
