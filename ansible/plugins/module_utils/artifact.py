"""What the controller must know of an artifact: its manifest, and the programs in it. docs/format.md is the format."""

import hashlib
import json
import zipfile

MANIFEST = ".wheelbarrow/manifest.json"
PROGRAM = ".wheelbarrow/native/linux-%s"


class NoArtifact(Exception):
    """The file is not one, or lacks what was asked for."""


class Artifact(object):
    """An artifact, opened to read a member or two. It is the host that verifies it as a whole."""

    def __init__(self, path):
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
            text = self._zip.read(MANIFEST)
            manifest = json.loads(text.decode("utf-8"))
            self.name, self.version = manifest["name"], manifest.get("version")
        except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
            raise NoArtifact("%s is no artifact: %s" % (path, error))
        self.manifest_sha256 = hashlib.sha256(text).hexdigest()

    def program(self, machine):
        """The bytes of the program for x86_64 or aarch64."""
        try:
            return self._zip.read(PROGRAM % machine)
        except KeyError:
            raise NoArtifact("%s has no program for %s" % (self.path, machine))

    @property
    def machines(self):
        begin = PROGRAM % ""
        names = self._zip.namelist()
        return sorted(name[len(begin):] for name in names if name.startswith(begin))
