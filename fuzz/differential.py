"""What Python's readers say of inputs: `python differential.py environment|artifact|wheel SOURCES`.

Inputs come on standard input, each behind its length (four bytes, little-endian). Of each a line of JSON is printed:

* environment: what loadenv.py says, as text;
* artifact: for artifact.py, the Ansible collection, zipfile and zipimport a SHA-256 over names and contents, or null if it
  is refused.
* wheel: a SHA-256 over the paths, modes and contents that wheels.py installs, or null if it is refused.

SOURCES is the directory of loadenv.py and artifact.py.
"""

import hashlib
import io
import json
import os
import sys
import tempfile
import zipfile
import zipimport


def inputs(stream):
    while True:
        length = stream.read(4)
        if len(length) < 4:
            return
        yield stream.read(int.from_bytes(length, "little"))


def environment(sources):
    import loadenv

    def judge(data):
        try:
            return "sets " + " ".join(loadenv.check(data, {}))
        except loadenv.Broken as broken:
            return str(broken)

    return judge


def digest(members):
    """Of names and contents, as `differential.rs` has it."""
    total = hashlib.sha256()
    for line in sorted(b"%s\0%s\n" % (name, hashlib.sha256(content).hexdigest().encode("ascii")) for name, content in members):
        total.update(line)
    return total.hexdigest()


def artifact(sources):
    import artifact as module

    place = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    path = os.path.join(place, "a.zip")
    # The names by which ansible-core finds it.
    os.makedirs(os.path.join(place, "ansible_collections", "wheelbarrow"))
    os.symlink(os.path.join(sources, "../../../ansible"), os.path.join(place, "ansible_collections", "wheelbarrow", "deploy"))
    sys.path.insert(0, place)
    from ansible_collections.wheelbarrow.deploy.plugins.module_utils import artifact as collection

    def written(data):
        with open(path, "wb") as file:
            file.write(data)
        return path

    def ours(data):
        with io.BytesIO(data) as file:
            opened = module.Artifact(file, "a.zip")
            opened.verify()
            with zipfile.ZipFile(file) as archive:
                return listed(archive)

    def listed(archive):
        return digest([(info.filename.encode("utf-8"), archive.read(info)) for info in archive.infolist()])

    def by_collection(data):
        collection.Artifact(written(data))
        with io.BytesIO(data) as file:
            members = collection.exact.read(file)[1]
            contents = [
                (name.encode("utf-8"), b"".join(collection.exact.contents(file, member))) for name, member in members.items()
            ]
        return digest(contents)

    def by_zipfile(data):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return listed(archive)

    def by_zipimport(data):
        written(data)
        zipimport._zip_directory_cache.clear()
        importer = zipimport.zipimporter(path)
        files = importer._get_files() if hasattr(importer, "_get_files") else importer._files
        # Since Python 3.12 directories that are only implied are listed.
        names = [name for name, entry in files.items() if entry is not None]
        return digest([(name.encode("utf-8", "surrogateescape"), importer.get_data(os.path.join(path, name))) for name in names])

    def attempt(reader, data):
        try:
            return reader(data)
        except Exception:
            return None

    return lambda data: [attempt(reader, data) for reader in (ours, by_collection, by_zipfile, by_zipimport)]


def wheel(sources):
    import wheels
    from failure import Failure

    class Layout:
        site_packages = "site-packages"

        def place(self, scheme, rest, name):
            places = {
                "purelib": "site-packages",
                "platlib": "site-packages",
                "scripts": "bin",
                "data": "data",
                "headers": "headers",
            }
            return "%s/%s" % (places[scheme], rest) if scheme in places else None

    def judge(data):
        found = []
        try:
            opened = wheels.Wheel(io.BytesIO(data), "wheels/demo-1-py3-none-any.whl")
            for member, path, scheme in opened.files(Layout()):
                expected, size = opened.recorded.get(member.name, (None, None))
                if size not in (None, member.size):
                    return None
                executable = scheme == "scripts" or member.is_executable
                content = b"".join(wheels._compared(opened, member, expected))
                found.append((b"%d%s" % (executable, path.encode("utf-8")), content))
        except Failure:
            return None
        for name, object_named in opened.scripts.items():
            found.append((name.encode("utf-8"), ":".join(object_named).encode("utf-8")))
        return digest(found)

    return judge


def main():
    what, sources = sys.argv[1:]
    sys.dont_write_bytecode = True
    sys.path.insert(0, sources)
    judge = {"environment": environment, "artifact": artifact, "wheel": wheel}[what](sources)
    for data in inputs(sys.stdin.buffer):
        sys.stdout.write(json.dumps(judge(data)) + "\n")


if __name__ == "__main__":
    main()
