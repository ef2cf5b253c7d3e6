"""Builds a wheel by the hooks of PEP 517, with nothing but the standard library and what it is given; does not travel.

python backend.py unpack FILE DIRECTORY      any archive that Python can read
python backend.py build REQUEST              a JSON file, see `build`
python backend.py tag WHEEL PLATFORM         puts a platform tag in the place of linux_MACHINE
"""

import base64
import hashlib
import json
import os
import subprocess
import sys


def build(path):
    """Makes a virtualenv with the wheels of the request, and lets the backend build in it.

    The request has `source`, the directory; `virtualenv` and `out`, to be made; `pip` and `wheels`, files; `backend` and
    `backend_path` as in pyproject.toml; `platform`, a tag or null; `settled`, whether the backend was asked already what
    else it needs; and `answer`, the file to be written: {"requires": [...]} or {"wheel": NAME}.
    """
    import venv

    with open(path, encoding="utf-8") as file:
        request = json.load(file)
    place = request["virtualenv"]
    venv.EnvBuilder(symlinks=True, with_pip=False, clear=True).create(place)
    python = os.path.join(place, "bin", "python")
    if request["wheels"]:
        pip = [python, os.path.join(request["pip"], "pip"), "install", "--quiet", "--no-index", "--no-deps", "--no-cache-dir"]
        pip += ["--disable-pip-version-check", "--no-warn-script-location", "--no-compile"]
        subprocess.check_call(pip + request["wheels"])
    os.makedirs(request["out"], exist_ok=True)
    environment = dict(os.environ, VIRTUAL_ENV=place)
    environment["PATH"] = os.path.join(place, "bin") + os.pathsep + environment.get("PATH", os.defpath)
    subprocess.check_call([python, os.path.abspath(__file__), "hooks", path], cwd=request["source"], env=environment)


def hooks(path):
    """Runs in the virtualenv."""
    import importlib

    with open(path, encoding="utf-8") as file:
        request = json.load(file)
    # Not this file's directory, but where the backend may be.
    sys.path[:1] = [os.path.join(request["source"], part) for part in request["backend_path"]]
    module, _, attribute = request["backend"].partition(":")
    backend = importlib.import_module(module)
    for part in filter(None, attribute.split(".")):
        backend = getattr(backend, part)
    answer = {}
    if not request["settled"] and hasattr(backend, "get_requires_for_build_wheel"):
        answer["requires"] = list(backend.get_requires_for_build_wheel({}))
    if not answer.get("requires"):
        name = backend.build_wheel(request["out"], {}, None)
        if request["platform"]:
            name = os.path.basename(tag(os.path.join(request["out"], name), request["platform"]))
        answer = {"wheel": name}
    with open(request["answer"], "w", encoding="utf-8") as file:
        json.dump(answer, file)


def tag(wheel, platform):
    """Writes the wheel anew under its new name, which it returns; one without linux_MACHINE stays as it is.

    https://packaging.python.org/en/latest/specifications/binary-distribution-format/
    """
    import zipfile

    directory, name = os.path.split(wheel)
    stem, _, platforms = name[: -len(".whl")].rpartition("-")
    if not any(part.startswith("linux_") for part in platforms.split(".")):
        return wheel
    new = os.path.join(directory, "%s-%s.whl" % (stem, _with_platform(platforms, platform)))
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(new, "w") as file:
        infos = old.infolist()
        info = [info for info in infos if info.filename.endswith(".dist-info/WHEEL") and info.filename.count("/") == 1][0]
        lines = old.read(info).decode("utf-8").splitlines()
        content = ("\n".join(_line(line, platform) for line in lines) + "\n").encode("utf-8")
        record = info.filename[: -len("WHEEL")] + "RECORD"
        for member in infos:
            data = old.read(member)
            if member.filename == info.filename:
                data = content
            elif member.filename == record:
                data = _record(data.decode("utf-8"), info.filename, content).encode("utf-8")
            file.writestr(member, data, member.compress_type)
    os.remove(wheel)
    return new


def _line(line, platform):
    key, colon, value = line.partition(":")
    if key.strip().lower() != "tag" or not colon:
        return line
    start, _, platforms = value.strip().rpartition("-")
    return "Tag: %s-%s" % (start, _with_platform(platforms, platform))


def _with_platform(platforms, platform):
    parts = [platform if part.startswith("linux_") else part for part in platforms.split(".")]
    return ".".join(sorted(set(parts), key=parts.index))


def _record(text, path, content):
    """RECORD with another hash and size for one path."""
    import csv
    import io

    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode("ascii")
    new = io.StringIO()
    writer = csv.writer(new, lineterminator="\n")
    for row in csv.reader(io.StringIO(text)):
        writer.writerow([path, "sha256=" + digest, len(content)] if row and row[0] == path else row)
    return new.getvalue()


def unpack(file, directory):
    import shutil
    import tarfile

    # As pip: no devices and pipes, and no links that lead out. Python has it since 3.12, and in later patches of others.
    safe = {"filter": "data"} if hasattr(tarfile, "data_filter") and not file.endswith(".zip") else {}
    shutil.unpack_archive(file, directory, **safe)


if __name__ == "__main__":
    {"unpack": unpack, "build": build, "hooks": hooks, "tag": tag}[sys.argv[1]](*sys.argv[2:])
