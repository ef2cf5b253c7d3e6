"""Makes artifacts of format 1 in plain Python, and wheels to put into them: what the tests here install from.

    python make_artifact.py OUTPUT NAME PROJECT_DIRECTORY WHEEL... [--native FILE]

The first wheel named pip-*.whl is the bundled pip. The artifact is for the Python that runs this. See docs/reference/format.md.
"""

import argparse
import base64
import csv
import hashlib
import io
import json
import os
import platform
import stat
import sys
import zipfile

SOURCES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYTHON_MEMBERS = ("artifact.py", "bootstrap.py", "bytecode.py", "calls.py", "compile.py", "data.py", "exact.py", "exits.py", "interpreter.py", "limits.py",
                  "beneath.py", "destination.py", "failure.py", "links.py", "manifest.py", "mounts.py", "needs.py", "policy.py", "preflight.py", "printing.py", "probe.py", "rules.py", "staging.py", "thin.py", "wheels.py", "zips.py")  # fmt: skip
MANIFEST = ".wheelbarrow/manifest.json"
MODES = {"file": 0o100644, "executable": 0o100755, "link": 0o120777}


def source(name):
    with open(os.path.join(SOURCES, name), "rb") as file:
        return file.read()


def make_wheel(name, version, files, modes=None, entry_points=None, wheel_version="1.0"):
    """The bytes of a wheel with these files (name to bytes), and its file name."""
    stem = "%s-%s" % (name, version)
    dist_info = stem + ".dist-info"
    files = dict(files)
    metadata = "Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (name, version)
    files.setdefault(dist_info + "/METADATA", metadata.encode("utf-8"))
    wheel = "Wheel-Version: %s\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n" % wheel_version
    files.setdefault(dist_info + "/WHEEL", wheel.encode("utf-8"))
    if entry_points:
        files[dist_info + "/entry_points.txt"] = entry_points.encode("utf-8")
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    rows.writerows((path, _record_hash(data), len(data)) for path, data in files.items())
    rows.writerow((dist_info + "/RECORD", "", ""))
    files.setdefault(dist_info + "/RECORD", record.getvalue().encode("utf-8"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, data in files.items():
            archive.writestr(_info(path, (modes or {}).get(path, 0o100644), zipfile.ZIP_DEFLATED), data)
    return "%s-py3-none-any.whl" % stem, buffer.getvalue()


def _record_hash(data):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode("ascii")


def _info(path, mode, method):
    info = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
    info.external_attr, info.create_system, info.compress_type = mode << 16, 3, method
    return info


def project_members(directory, name):
    """The members NAME/** of a directory: path to (bytes, kind)."""
    found = {}
    for root, directories, files in os.walk(directory):
        for entry in directories + files:
            path = os.path.join(root, entry)
            member = "%s/%s" % (name, os.path.relpath(path, directory).replace(os.sep, "/"))
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                found[member] = (os.readlink(path).encode("utf-8"), "link")
            elif stat.S_ISREG(mode):
                with open(path, "rb") as file:
                    found[member] = (file.read(), "executable" if mode & 0o111 else "file")
    return found


class Recipe:
    """All of an artifact before it is written; tests change it to make broken ones."""

    def __init__(self, name, project, wheels, pip, version="1.0", native=None, platform_tag="any", members=None):
        abi = "cp%d%d%s" % (sys.version_info[0], sys.version_info[1], sys.abiflags)
        self.members = {"__main__.py": (source("__main__.py"), "file")}
        for path in PYTHON_MEMBERS:
            self.members[".wheelbarrow/python/" + path] = (source(path), "file")
        if native is not None:
            self.members[".wheelbarrow/native/linux-" + platform.machine()] = (native, "executable")
        for path in ("loadenv.py", "loadenv-init.pth", "loadenv.start"):
            self.members[path] = (source(path), "file")
        self.members[name + ".pth"] = (b"../../../../%s\n" % name.encode("utf-8"), "file")
        described, paths = [], []
        for folder, (file_name, data) in [("bootstrap_wheels", pip)] + [("wheels", wheel) for wheel in wheels]:
            path = "%s/%s" % (folder, file_name)
            self.members[path] = (data, "file")
            distribution, number = file_name.split("-")[:2]
            distribution = "-".join(part for part in distribution.lower().replace(".", "_").split("_") if part)
            described.append({"path": path, "name": distribution, "version": number})
            paths.append(path)
        self.members.update(project)
        self.members.update(members or {})
        self.manifest = {
            "format": 1,
            "name": name.lower().replace("_", "-"),
            "version": version,
            "built_by": "tests 0",
            "project": {"directory": name, "import_path": name, "digest": self._digest(name)},
            "targets": [
                {
                    "python": "%d.%d" % sys.version_info[:2],
                    "abi": abi,
                    "platform": platform_tag,
                    "wheels": sorted(paths[1:]),
                    "pip": paths[0],
                    "unpacked": {"bytes": sum(len(data) for data, _ in self.members.values()), "inodes": 100},
                }
            ],
            "environment": {"precedence": "file", "required": [], "private": False},
            "wheels": sorted(described, key=lambda wheel: wheel["path"]),
        }
        if version is None:
            del self.manifest["version"]
        self.manifest_bytes = None  # set to write just these

    def _digest(self, name):
        digest = hashlib.sha256()
        for path, (data, kind) in sorted(self.members.items(), key=lambda item: item[0].encode("utf-8")):
            if path.split("/")[0] in (name, "static.in") and "/" in path:
                digest.update(("%s\0%s\0%s\n" % (path, kind, hashlib.sha256(data).hexdigest())).encode("utf-8"))
        return digest.hexdigest()

    def describe_members(self):
        self.manifest["members"] = [
            {"path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "kind": kind}
            for path, (data, kind) in sorted(self.members.items(), key=lambda item: item[0].encode("utf-8"))
        ]

    def write(self, output, shebang="#!/usr/bin/env python3", extra=()):
        """Writes the artifact; `extra` are members (ZipInfo, bytes) that the manifest does not know."""
        if "members" not in self.manifest:
            self.describe_members()
        with open(output, "wb") as file:
            file.write(shebang.encode("utf-8") + b"\n")
            with zipfile.ZipFile(file, "w") as archive:
                for path, (data, kind) in self.members.items():
                    method = zipfile.ZIP_STORED if path.endswith(".whl") else zipfile.ZIP_DEFLATED
                    archive.writestr(_info(path, MODES[kind], method), data)
                for info, data in extra:
                    archive.writestr(info, data)
                manifest = self.manifest_bytes
                if manifest is None:
                    manifest = json.dumps(self.manifest, ensure_ascii=False).encode("utf-8")
                archive.writestr(_info(MANIFEST, 0o100644, zipfile.ZIP_DEFLATED), manifest)
        os.chmod(output, 0o755)
        return output


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("output", "name", "project"):
        parser.add_argument(name)
    parser.add_argument("wheels", nargs="+")
    parser.add_argument("--native")
    parser.add_argument("--platform", default="any")
    options = parser.parse_args()
    wheels = []
    for path in options.wheels:
        with open(path, "rb") as file:
            wheels.append((os.path.basename(path), file.read()))
    pip = [wheel for wheel in wheels if wheel[0].startswith("pip-")]
    if not pip:
        parser.error("one of the wheels must be pip's")
    native = None
    if options.native:
        with open(options.native, "rb") as file:
            native = file.read()
    project = project_members(options.project, options.name)
    others = [wheel for wheel in wheels if wheel is not pip[0]]
    recipe = Recipe(options.name, project, others, pip[0], native=native, platform_tag=options.platform)
    print(recipe.write(options.output))


if __name__ == "__main__":
    main()
