"""release.py ROOT NUMBER WHEELS LOADENV: a release by hand, of a site whose pages say which release code and dependency are of.

Every process of it can be told apart by asking it, without any proof: so the proof can be compared with it.
"""

import glob
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile

CODE = """
import dependency

SITE = %d
TEXT = ("site %%d, dependency %%d" %% (SITE, dependency.VERSION)).encode()


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(TEXT)))])
    return [TEXT]


async def asgi(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": TEXT})
    while scope["type"] == "lifespan":
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            break
"""

SCRIPT = "#!%s\nimport sys\nfrom %s import %s as main\nsys.exit(main())\n"


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)


def virtualenv(release, number, wheels, loadenv):
    directory = os.path.join(release, "venv")
    subprocess.check_call([sys.executable, "-m", "venv", "--without-pip", directory])
    packages = glob.glob(os.path.join(directory, "lib", "python3*", "site-packages"))[0]
    for wheel in glob.glob(os.path.join(wheels, "*.whl")):
        with zipfile.ZipFile(wheel) as file:
            file.extractall(packages)
    python = os.path.join(directory, "bin", "python")
    for name, module, function in [("gunicorn", "gunicorn.app.wsgiapp", "run"), ("uvicorn", "uvicorn.main", "main")]:
        write(os.path.join(directory, "bin", name), SCRIPT % (python, module, function), 0o755)
    shutil.copy(loadenv, os.path.join(packages, "loadenv.py"))
    write(os.path.join(packages, "loadenv-init.pth"), "import loadenv; loadenv.init()\n")
    compiled = glob.glob(os.path.join(sysconfig.get_path("platstdlib"), "lib-dynload", "_json.*.so"))
    write(os.path.join(packages, "dependency", "__init__.py"), "VERSION = %d\n" % number)
    for module in compiled:  # a compiled module of the dependency
        shutil.copy(module, os.path.join(packages, "dependency"))
        write(os.path.join(packages, "dependency", "__init__.py"), "from . import _json\nVERSION = %d\n" % number)


def main(root, number, wheels, loadenv):
    number = int(number)
    name = "%d-%08x" % (number, number)
    release = os.path.join(root, "releases", name)
    virtualenv(release, number, wheels, loadenv)
    write(os.path.join(release, "site", "app.py"), CODE % number)
    write(os.path.join(release, "site", "wsgi.py"), "from app import application\n")
    write(os.path.join(release, ".wheelbarrow", "manifest.json"), "{}")
    record = {"format": 1, "id": name, "name": "demo", "version": str(number), "manifest_sha256": "0" * 64, "parent": None,
              "environment_sha256": None, "made_at": 0}  # fmt: skip
    write(os.path.join(release, ".wheelbarrow", "release.json"), json.dumps(record))
    os.makedirs(os.path.join(root, "shared"), exist_ok=True)
    os.makedirs(os.path.join(root, ".wheelbarrow"), exist_ok=True)
    if not os.path.lexists(os.path.join(root, "current")):
        os.symlink(os.path.join("releases", name), os.path.join(root, "current"))


main(*sys.argv[1:])
