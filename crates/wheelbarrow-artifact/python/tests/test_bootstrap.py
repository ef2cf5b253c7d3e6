"""The second way to install: what it leaves, what it refuses, and what it leaves behind when it is stopped."""

import csv
import fcntl
import glob
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile

from make_artifact import Recipe, _info, make_wheel, project_members
from support import SOURCES, Result, clean_environment, run, tree

sys.path.insert(0, SOURCES)

import bootstrap  # noqa: E402
import interpreter  # noqa: E402
import wheels as wheels_module  # noqa: E402
from artifact import link_stays_inside, platform_fits, read_manifest  # noqa: E402
from staging import Failure, Staging, _rename_exchange  # noqa: E402

MINOR = "python%d.%d" % sys.version_info[:2]
SITE = "venv/lib/%s/site-packages" % MINOR
PIP = make_wheel("pip", "99.0", {"pip/__init__.py": b"", "pip/_internal/__init__.py": b"", "pip/_internal/cli/__init__.py": b"",
                 "pip/_internal/cli/main.py": b"def main():\n    print('pip 99')\n"},
                 entry_points="[console_scripts]\npip = pip._internal.cli.main:main\npip3 = pip._internal.cli.main:main\n")  # fmt: skip
DEMO = make_wheel(
    "Demo_Pkg",
    "1.0",
    {
        "demo/__init__.py": b"class cli:\n    @staticmethod\n    def main():\n        print('demo runs')\n",
        "demo/tool": b"#!/bin/sh\n",
        "demo.pth": b"import demo\n",
        "Demo_Pkg-1.0.data/scripts/hello": b"#!python -s\nimport sys; print('hello', sys.flags.no_user_site, sys.argv[1:])\n",
        "Demo_Pkg-1.0.data/scripts/shell": b"#!/bin/sh\necho shell\n",
        "Demo_Pkg-1.0.data/scripts/window": b"#!pythonw\r\nprint('window')\n",
        "Demo_Pkg-1.0.data/scripts/demo": b"#!python\nprint('must not win')\n",
        "Demo_Pkg-1.0.data/data/share/demo/data.txt": b"data",
        "Demo_Pkg-1.0.data/headers/demo.h": b"/* */",
        "Demo_Pkg-1.0.data/platlib/plat.py": b"",
        "Demo_Pkg-1.0.data/purelib/with,comma \".py": b"",
        "Demo_Pkg-1.0.dist-info/RECORD.jws": b"{}",
    },
    modes={"demo/tool": 0o100755},
    entry_points="# comment\n[console_scripts]\ndemo = demo:cli.main [extra]\n[gui_scripts]\ndemo-gui=demo:cli.main\n[other]\nx = y\n",
)


def without_note(result):
    """Artifacts of these tests carry no bytecode, and each run says so."""
    told = "note: the artifact carries no bytecode for Python "
    return result._replace(err="".join(line for line in result.err.splitlines(True) if not line.startswith(told)))


class Case(unittest.TestCase):
    def setUp(self):
        keep = tempfile.TemporaryDirectory()
        self.addCleanup(keep.cleanup)
        self.root = os.path.join(os.path.realpath(keep.name), "ä b")
        os.mkdir(self.root)
        self.zip = os.path.join(self.root, "site.zip")
        self.dest = os.path.join(self.root, "dest")
        self.project = os.path.join(self.root, "project")
        os.makedirs(self.project + "/app")
        self.put("app/settings.py", "NAME = 'é'\n")
        self.put("app/manage.py", "#!/usr/bin/env python3\n", 0o755)
        os.symlink("settings.py", self.project + "/app/link.py")

    def put(self, name, text, mode=0o644):
        with open(os.path.join(self.project, name), "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(os.path.join(self.project, name), mode)

    def recipe(self, wheels=(DEMO,), **keywords):
        members = {"static.in/0/logo.svg": (b"<svg/>", "file")}
        members.update(keywords.pop("members", {}))
        return Recipe("mysite", project_members(self.project, "mysite"), wheels, PIP, members=members, **keywords)

    def install(self, *arguments, **environment):
        command = [sys.executable, self.zip, "-d", self.dest, "--bootstrap"]
        command += [] if "--compile" in arguments else ["--compile", "never"]
        return without_note(run(command + list(arguments), **environment))

    def make(self, *arguments, **keywords):
        return self.recipe(*arguments, **keywords).write(self.zip)

    def leftovers(self):
        return [name for name in os.listdir(self.root) if name.startswith(".")]

    def assertInstalled(self, result):
        result = without_note(result)
        self.assertEqual((result.code, result.err), (0, ""), result)
        self.assertTrue(os.path.exists(self.dest + "/.wheelbarrow/receipt.json"))
        self.assertEqual(self.leftovers(), [])

    def assertRefused(self, result, code, *words):
        self.assertEqual((result.code, result.out), (code, ""), result)
        self.assertTrue(result.err.startswith("error: "), result.err)
        self.assertNotIn("Traceback", result.err)
        for word in words:
            self.assertIn(word, result.err)
        self.assertFalse(os.path.exists(self.dest + "/.wheelbarrow"))
        self.assertEqual(self.leftovers(), [])

    def read(self, name):
        with open(os.path.join(self.dest, name), encoding="utf-8", newline="") as file:
            return file.read()


class Install(Case):
    maxDiff = None

    def test_the_tree(self):
        self.make()
        result = self.install()
        self.assertInstalled(result)
        self.assertEqual(result.out, "installed mysite 1.0 in %s (1 wheel)\n" % self.dest)
        self.assertEqual(set(os.listdir(self.dest)), {"venv", "mysite", "static.in", ".wheelbarrow"})
        self.assertEqual(os.stat(self.dest).st_mode & 0o777, 0o755)
        self.assertEqual(os.readlink(self.dest + "/mysite/app/link.py"), "settings.py")
        executables = {path for path, entry in tree(self.dest).items() if entry[0] == "file" and entry[1] == "0o755"}
        scripts = {"venv/bin/" + name for name in "pip pip3 demo demo-gui hello shell window".split()}
        scripts.add("venv/bin/pip3.%d" % sys.version_info[1])
        self.assertEqual(executables, scripts | {"mysite/app/manage.py", SITE + "/demo/tool"})
        files = {os.path.relpath(path, SITE) for path, entry in tree(self.dest).items() if path.startswith(SITE) and entry[0] == "file"}
        info = "Demo_Pkg-1.0.dist-info/"
        expected = {info + name for name in ("METADATA", "WHEEL", "RECORD", "INSTALLER", "REQUESTED", "entry_points.txt")}
        expected |= {"loadenv.py", "loadenv-init.pth", "loadenv.start", "mysite.pth", "demo.pth", "demo/__init__.py", "demo/tool",
                     "plat.py", 'with,comma ".py'}  # fmt: skip
        self.assertEqual({name for name in files if not name.startswith("pip")}, expected)
        self.assertEqual(self.read(SITE + "/" + info + "INSTALLER"), "wheelbarrow\n")
        self.assertEqual(self.read(SITE + "/" + info + "REQUESTED"), "")
        self.assertFalse(os.path.exists(self.dest + "/" + SITE + "/pip-99.0.dist-info/REQUESTED"))
        self.assertTrue(os.path.exists(self.dest + "/venv/include/site/" + MINOR + "/Demo_Pkg/demo.h"))
        self.assertEqual(self.read("venv/share/demo/data.txt"), "data")

    def test_record_lists_every_file_with_its_hash(self):
        self.make()
        self.assertInstalled(self.install())
        text = self.read(SITE + "/Demo_Pkg-1.0.dist-info/RECORD")
        rows = {row[0]: row[1:] for row in csv.reader(text.splitlines())}
        self.assertEqual(rows["Demo_Pkg-1.0.dist-info/RECORD"], ["", ""])
        for name, (digest, size) in rows.items():
            if not digest:
                continue
            with open(os.path.join(self.dest, SITE, name), "rb") as file:
                data = file.read()
            self.assertEqual(digest, wheels_module.record_hash(hashlib.sha256(data).digest()), name)
            self.assertEqual(int(size), len(data))
        self.assertIn("../../../bin/demo", rows)
        self.assertIn("../../../include/site/%s/Demo_Pkg/demo.h" % MINOR, rows)
        lines = text.splitlines()
        names = [next(csv.reader([line]))[0] for line in lines]
        self.assertEqual(names, sorted(names))
        self.assertEqual(lines[0], "../../../bin/demo," + ",".join(rows["../../../bin/demo"]))

    def test_scripts_run(self):
        self.make()
        for name in ("dest", "x" * 120, "qu'ote"):
            self.dest = os.path.join(self.root, name)
            self.assertInstalled(self.install())
            binaries = self.dest + "/venv/bin/"
            self.assertEqual(run([binaries + "demo"]).out, "demo runs\n")
            self.assertEqual(run([binaries + "demo-gui"]).out, "demo runs\n")
            self.assertEqual(run([binaries + "hello", "a b", "c"]).out, "hello 1 ['a b', 'c']\n")
            self.assertEqual(run([binaries + "window"]).out, "window\n")
            self.assertEqual(run([binaries + "shell"]).out, "shell\n")
            self.assertEqual(run([binaries + "pip3.%d" % sys.version_info[1]]).out, "pip 99\n")
            # Python reads what sh reads.
            self.assertEqual(run([binaries + "python", binaries + "hello"]).out, "hello 0 []\n")

    def test_the_text_of_scripts(self):
        layout = wheels_module.Layout.__new__(wheels_module.Layout)
        layout.python = b"/srv/site/venv/bin/python"
        self.assertEqual(
            wheels_module.script(layout.shebang(), "demo", "cli.main"),
            b'#!/srv/site/venv/bin/python\nimport sys\nfrom demo import cli\nif __name__ == "__main__":\n    sys.exit(cli.main())\n',
        )
        self.assertEqual(layout.shebang(b" -E"), b"#!/srv/site/venv/bin/python -E\n")
        layout.python = b"/srv/my site/venv/bin/python"
        self.assertEqual(layout.shebang(b" -E"), b"#!/bin/sh\n'''exec' '/srv/my site/venv/bin/python' -E \"$0\" \"$@\"\n' '''\n")
        layout.python = b"/" + b"x" * 124
        self.assertEqual(len(layout.shebang()), 128)
        layout.python += b"x"
        self.assertTrue(layout.shebang().startswith(b"#!/bin/sh\n"))

    def test_the_site_imports_its_code_and_reads_its_environment(self):
        self.make()
        os.mkdir(self.dest)
        with open(self.dest + "/environment.json", "w") as file:
            file.write('{"SETTING": "from the host"}')
        os.chmod(self.dest + "/environment.json", 0o600)
        self.assertInstalled(self.install())
        code = "import os, app.settings; print(app.settings.NAME, os.environ['SETTING'])"
        self.assertEqual(run([self.dest + "/venv/bin/python", "-c", code]).out, "é from the host\n")
        self.assertEqual(os.stat(self.dest + "/environment.json").st_mode & 0o777, 0o600)

    def test_the_receipt(self):
        self.make()
        self.assertInstalled(self.install("--without-pip"))
        text = self.read(".wheelbarrow/receipt.json")
        receipt = json.loads(text)
        self.assertEqual(text, json.dumps(receipt, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
        self.assertEqual(set(receipt), set("bytecode format name version manifest_sha256 sums_sha256 target interpreter method pip wheels".split()))
        self.assertEqual((receipt["method"], receipt["pip"], receipt["wheels"]), ("bootstrap", False, ["wheels/" + DEMO[0]]))
        self.assertEqual(receipt["interpreter"]["version"], "%d.%d.%d" % sys.version_info[:3])
        with zipfile.ZipFile(self.zip) as archive:
            self.assertEqual(archive.read(".wheelbarrow/manifest.json").decode(), self.read(".wheelbarrow/manifest.json"))
        sums = self.read(".wheelbarrow/SHA256SUMS")
        self.assertEqual(receipt["sums_sha256"], hashlib.sha256(sums.encode("utf-8")).hexdigest())
        if shutil.which("sha256sum"):
            checked = run(["sha256sum", "--strict", "--quiet", "-c", ".wheelbarrow/SHA256SUMS"], cwd=self.dest)
            self.assertEqual(checked, (0, "", ""))
        files = {path for path, entry in tree(self.dest).items() if entry[0] == "file"}
        self.assertEqual({line[66:] for line in sums.splitlines()},
                         files - {".wheelbarrow/SHA256SUMS", ".wheelbarrow/receipt.json"})  # fmt: skip
        self.assertFalse(os.path.exists(self.dest + "/venv/bin/pip"))
        self.assertFalse(os.path.exists(self.dest + "/" + SITE + "/pip"))

    def test_output(self):
        self.make(version=None)
        result = self.install("--json")
        self.assertEqual(json.loads(result.out), {"destination": self.dest, "name": "mysite", "version": None, "wheels": 1,
                                                  "bytecode": "none", "method": "bootstrap"})  # fmt: skip
        self.assertEqual(self.install("--replace").out, "installed mysite in %s (1 wheel)\n" % self.dest)
        self.assertEqual(self.install("--replace", "--quiet"), (0, "", ""))

    def test_umask_and_locale_and_home(self):
        self.make()
        command = 'umask 077; exec "$0" "$1" --bootstrap -d "$2"'
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
        self.assertInstalled(run(["sh", "-c", command, sys.executable, self.zip, self.dest], environment=environment))
        for path, entry in tree(self.dest).items():
            if entry[0] != "link":
                self.assertEqual(int(entry[1], 8) & 0o077, 0, path)
        self.assertEqual(os.stat(self.dest).st_mode & 0o777, 0o700)
        self.assertEqual(run([self.dest + "/venv/bin/demo"]).out, "demo runs\n")

    def test_the_same_twice(self):
        self.make()
        self.assertInstalled(self.install())
        first = tree(self.dest)
        self.assertInstalled(self.install("--replace"))
        self.assertEqual(tree(self.dest), first)

    def test_direct_url(self):
        recipe = self.recipe()
        recipe.manifest["wheels"][1]["direct_url"] = {"vcs_info": {"vcs": "git", "commit_id": "é"}, "url": "https://x/y"}
        recipe.write(self.zip)
        self.assertInstalled(self.install())
        text = self.read(SITE + "/Demo_Pkg-1.0.dist-info/direct_url.json")
        self.assertEqual(text, '{"url":"https://x/y","vcs_info":{"commit_id":"é","vcs":"git"}}')

    def test_a_site_that_depends_on_pip_keeps_its_own(self):
        name, data = make_wheel("pip", "1.0", {"pip/__init__.py": b"own = 1\n"}, entry_points="[console_scripts]\npip = pip:own\n")
        self.make([DEMO, (name, data)])
        self.assertInstalled(self.install())
        self.assertTrue(os.path.exists(self.dest + "/" + SITE + "/pip-1.0.dist-info/REQUESTED"))
        self.assertFalse(os.path.exists(self.dest + "/" + SITE + "/pip-99.0.dist-info"))

    def test_lib64_is_lib(self):
        name, data = make_wheel("wide", "1", {"wide-1.data/data/lib64/wide.so": b"x"})
        self.make([(name, data)])
        self.assertInstalled(self.install())
        self.assertIn("../../../lib/wide.so,", self.read(SITE + "/wide-1.dist-info/RECORD"))
        self.assertTrue(os.path.exists(self.dest + "/venv/lib/wide.so"))

    @unittest.skipUnless(os.environ.get("WHEELBARROW_TEST_WHEELS") and glob.glob(os.environ.get("WHEELBARROW_TEST_WHEELS", "") + "/*.whl"), "no real wheels")  # fmt: skip
    def test_real_wheels_as_pip_installs_them(self):
        # Equal but for what docs/format.md says differs.
        try:
            from ensurepip import version
        except ImportError:
            self.skipTest("no ensurepip")
        name = "pip-%s-*.whl" % version()
        bundled = glob.glob(os.path.join(os.path.dirname(os.__file__), "ensurepip", "_bundled", name))
        paths = sorted(glob.glob(os.environ["WHEELBARROW_TEST_WHEELS"] + "/*.whl"))
        if not bundled:
            self.skipTest("ensurepip brings no wheel of pip")
        wheels = []
        for path in bundled + paths:
            with open(path, "rb") as file:
                wheels.append((os.path.basename(path), file.read()))
        Recipe("mysite", {"mysite/x.py": (b"", "file")}, wheels[1:], wheels[0]).write(self.zip)
        self.assertInstalled(self.install())
        other = os.path.join(self.root, "peer")
        os.mkdir(other)
        self.assertEqual(run([sys.executable, "-m", "venv", other + "/venv"]).code, 0)
        pip = [other + "/venv/bin/python", "-m", "pip", "--disable-pip-version-check", "install", "--no-index", "--no-deps", "--no-compile"]
        self.assertEqual(run(pip + paths).code, 0)
        shutil.rmtree(other + "/venv/" + "lib/%s/site-packages/setuptools" % MINOR, ignore_errors=True)

        def ignored(path):
            name = os.path.basename(path)
            beside = path.split("/")[-1 if "site-packages" not in path else 4:]
            return (name in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "__pycache__", "pyvenv.cfg") or name.endswith(".pyc")
                    or name.startswith(("activate", "Activate", "easy_install")) or path.startswith(("mysite", ".wheelbarrow"))
                    or "site-packages" in path and beside[:1] and beside[0].startswith(("setuptools", "pkg_resources", "_distutils_hack",
                    "distutils-precedence", "loadenv", "mysite", "easy_install")))  # fmt: skip

        ours, theirs = tree(self.dest, ignored), tree(other, ignored)
        scripts = {path for path in ours if path.startswith("venv/bin/") and ours[path][0] == "file"}
        for path in scripts:  # their text differs, their being there and their mode must not
            if path in theirs:
                ours[path], theirs[path] = ours[path][:2], theirs[path][:2]
        self.assertEqual(ours, theirs)
        listed = json.loads(run([self.dest + "/venv/bin/pip", "list", "--format=json", "--disable-pip-version-check"]).out)
        self.assertEqual(len(listed), len(wheels))
        self.assertIn("3.2.25", run([self.dest + "/venv/bin/django-admin", "--version"]).out)


class Destination(Case):
    def setUp(self):
        super().setUp()
        self.make()

    def test_not_empty(self):
        os.mkdir(self.dest)
        with open(self.dest + "/x", "w"):
            pass
        self.assertRefused(self.install(), 5, "not empty", "hint: `--replace`")
        self.assertRefused(self.install("--replace"), 5, "not an install", "move the rest away")
        self.assertEqual(os.listdir(self.dest), ["x"])

    def test_replace_an_install(self):
        self.assertInstalled(self.install())
        with open(self.dest + "/x", "w"):
            pass
        self.assertInstalled(self.install("--replace"))
        self.assertFalse(os.path.exists(self.dest + "/x"))

    def test_empty(self):
        os.mkdir(self.dest)
        self.assertInstalled(self.install())

    def test_no_parent(self):
        self.dest += "/a/b"
        result = self.install()
        self.assertEqual((result.code, result.out), (5, ""), result)
        self.assertIn("hint: mkdir -p", result.err)

    def test_file_and_links(self):
        with open(self.dest, "w"):
            pass
        self.assertRefused(self.install("--replace"), 5, "not a directory")
        os.remove(self.dest)
        os.mkdir(self.root + "/real")
        os.symlink("real", self.dest)
        self.assertRefused(self.install("--replace"), 5, "symbolic link")

    def test_relative_and_odd(self):
        result = run([sys.executable, self.zip, "--bootstrap", "-d", "./dest/"], cwd=self.root)
        self.assertInstalled(result)
        self.assertIn(" in %s (" % self.dest, result.out)
        self.assertEqual(run([sys.executable, self.zip, "--bootstrap", "-d", "/"]).code, 5)

    def test_environment_is_kept(self):
        self.assertInstalled(self.install())
        path = self.dest + "/environment.json"
        with open(path, "w") as file:
            file.write("{}")
        os.chmod(path, 0o604)
        if os.getuid() == 0:
            os.chown(path, 12, 34)
        before = os.stat(path)
        self.assertInstalled(self.install("--replace"))
        after = os.stat(path)
        self.assertEqual((after.st_mode, after.st_uid, after.st_gid), (before.st_mode, before.st_uid, before.st_gid))
        os.remove(path)
        os.symlink("../shared.json", path)
        self.assertInstalled(self.install("--replace"))
        self.assertEqual(os.readlink(path), "../shared.json")

    def test_no_space(self):
        for key, word in (("bytes", "space"), ("inodes", "inodes")):
            recipe = self.recipe()
            recipe.manifest["targets"][0]["unpacked"][key] = 1 << 60
            recipe.write(self.zip)
            if key == "inodes" and not os.statvfs(self.root).f_files:
                continue
            self.assertRefused(self.install(), 6, word)

    @unittest.skipUnless(os.getuid() == 0, "needs root")
    def test_no_right(self):
        os.chmod(os.path.dirname(self.root), 0o755)
        reach = run([sys.executable, "-c", "import os, sys; os.setuid(65534); sys.exit(not os.access(sys.executable, os.X_OK))"])
        if reach.code:
            self.skipTest("another user cannot run %s" % sys.executable)
        code = "import os, sys; os.setuid(65534); os.execv(sys.argv[1], sys.argv[1:])"
        result = run([sys.executable, "-c", code, sys.executable, self.zip, "--bootstrap", "-d", self.dest])
        self.assertRefused(result, 5, "no right to write")


class Broken(Case):
    """Each is refused with 3 before DEST exists."""

    def refuse(self, recipe, *words, **keywords):
        recipe.write(self.zip, **keywords)
        self.assertRefused(self.install(), 3, *words)

    def install(self):
        """In this process: there are many of them."""
        options = {"destination": self.dest, "replace": False, "pip": True, "compile": "never", "quiet": False, "json": False}
        facts = interpreter.facts(self.dest + "/venv")
        before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        try:
            code = bootstrap.install(self.zip, facts, options)
            out, err = (stream.buffer.getvalue().decode("utf-8") for stream in (sys.stdout, sys.stderr))
        finally:
            sys.stdout, sys.stderr = before
        return without_note(Result(code, out, err))

    def test_altered_bytes(self):
        self.make()
        with open(self.zip, "rb") as file:
            data = bytearray(file.read())
        with zipfile.ZipFile(self.zip) as archive:
            infos = archive.infolist()
        for info in infos:
            place = info.header_offset + 30 + len(info.filename) + info.compress_size // 2
            if info.compress_size < 3:
                continue
            data[place] ^= 0x55
            with open(self.zip, "wb") as file:
                file.write(data)
            self.assertRefused(self.install(), 3)
            data[place] ^= 0x55

    def test_truncated_or_longer(self):
        self.make()
        with open(self.zip, "rb") as file:
            data = file.read()
        with open(self.zip, "ab") as file:
            file.write(b"x")
        self.assertRefused(self.install(), 3, "appended")
        with open(self.zip, "wb") as file:
            file.write(b"#!/bin/sh\n" + data)
        self.assertRefused(self.install(), 3)

    def test_member_replaced_with_right_crc(self):
        recipe = self.recipe()
        recipe.describe_members()
        recipe.members["mysite/app/settings.py"] = (b"NAME = 'x'\n ", "file")
        self.refuse(recipe, "settings.py", "SHA-256")

    def test_member_missing_or_unknown(self):
        recipe = self.recipe()
        recipe.describe_members()
        del recipe.members["mysite/app/settings.py"]
        self.refuse(recipe, "the zip does not have it")
        recipe = self.recipe()
        self.refuse(recipe, "the manifest does not name it", extra=[(_info("mysite/more.py", 0o100644, 8), b"")])

    def test_kinds(self):
        recipe = self.recipe()
        recipe.describe_members()
        data, _ = recipe.members["mysite/app/settings.py"]
        recipe.members["mysite/app/settings.py"] = (data, "executable")
        self.refuse(recipe, "kind")
        self.refuse(self.recipe(members={"loadenv.py": (b"x", "link")}), "is a link")

    def test_names(self):
        for name in ("mysite/../../x", "/etc/x", "mysite//x", "mysite/./x", "..", "other/x", "README"):
            with self.subTest(name=name):
                self.refuse(self.recipe(members={name: (b"", "file")}))

    def test_duplicates_and_directories(self):
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.refuse(self.recipe(), "two members", extra=[(_info("mysite/app/settings.py", 0o100644, 8), b"")])
        self.refuse(self.recipe(), "directory", extra=[(_info("mysite/empty/", 0o040755, 0), b"")])

    def test_methods_and_encryption(self):
        self.refuse(self.recipe(), "compression method 12", extra=[(_info("mysite/x.py", 0o100644, zipfile.ZIP_BZIP2), b"x" * 99)])
        self.make()
        with open(self.zip, "rb") as file:
            data = bytearray(file.read())
        start = data.rindex(b"PK\1\2", 0, data.rindex(b"mysite/app/settings.py"))
        data[start + 8] |= 1
        with open(self.zip, "wb") as file:
            file.write(data)
        self.assertRefused(self.install(), 3, "encrypted")

    def test_overlap(self):
        self.make()
        with open(self.zip, "rb") as file:
            data = bytearray(file.read())
        first = data.rindex(b"PK\1\2", 0, data.rindex(b"mysite/app/settings.py"))
        second = data.rindex(b"PK\1\2", 0, data.rindex(b"static.in/0/logo.svg"))
        data[second + 42 : second + 46] = data[first + 42 : first + 46]
        with open(self.zip, "wb") as file:
            file.write(data)
        self.assertRefused(self.install(), 3)

    def test_links(self):
        for target in (b"/etc/passwd", b"../../x", b"../../../x", b"", b"a\0b", b"x/../../../y"):
            with self.subTest(target=target):
                self.refuse(self.recipe(members={"mysite/app/l": (target, "link")}))
        recipe = self.recipe(members={"mysite/app/l": (b".", "link"), "mysite/app/l/x": (b"", "file")})
        self.refuse(recipe, "both write")
        self.assertTrue(link_stays_inside("mysite/app/l", b"../x/../y"))
        self.assertFalse(link_stays_inside("mysite/l", b".."))
        self.assertTrue(link_stays_inside("mysite/a/l", b".."))

    def test_manifests(self):
        for words, edit in [
            ("unknown format 2", lambda manifest: manifest.update(format=2)),
            ("unknown key 'extra'", lambda manifest: manifest.update(extra=1)),
            ("lacks name", lambda manifest: manifest.pop("name")),
            ("targets[0].python", lambda manifest: manifest["targets"][0].update(python=3)),
            ("unknown key", lambda manifest: manifest["targets"][0].update(more=3)),
            ("no target", lambda manifest: manifest.update(targets=[])),
            ("no number", lambda manifest: manifest["members"][0].update(size=True)),
            ("no number", lambda manifest: manifest["members"][0].update(size=-1)),
            ("no SHA-256", lambda manifest: manifest["members"][0].update(sha256="00")),
            ("none of", lambda manifest: manifest["members"][0].update(kind="pipe")),
            ("none of", lambda manifest: manifest["environment"].update(precedence="no")),
            ("project.directory", lambda manifest: manifest["project"].update(directory="..")),
            ("twice", lambda manifest: manifest["members"].append(manifest["members"][0])),
            ("not in it", lambda manifest: manifest["wheels"][0].update(path="wheels/x.whl")),
            ("not described", lambda manifest: manifest["targets"][0].update(pip="bootstrap_wheels/x.whl")),
        ]:
            with self.subTest(words=words):
                recipe = self.recipe()
                recipe.describe_members()
                edit(recipe.manifest)
                self.refuse(recipe, words)
        for data in (b"", b"[]", b"{", b'{"format": 1, "format": 1}', b"\xff", b"[" * 100000):
            with self.assertRaises(Failure):
                read_manifest(data, "x")

    def test_hostile_wheels(self):
        bad = {
            "parent": {"../../../../../x": b""},
            "absolute": {"/tmp/x": b""},
            "escape": {"evil-1.data/data/../../../x": b""},
            "scheme": {"evil-1.data/unknown/x": b""},
            "bare": {"evil-1.data/x": b""},
            "python": {"evil-1.data/scripts/python": b""},
            "cfg": {"evil-1.data/data/pyvenv.cfg": b""},
            "through a link": {"evil-1.data/scripts/python3/x": b""},
            "file and directory": {"a": b"", "a/b": b""},
            "loadenv": {"loadenv.py": b""},
            "backslash": {"..\\x": b""},
            "two infos": {"other-1.dist-info/METADATA": b""},
        }
        for reason, files in bad.items():
            with self.subTest(reason=reason):
                self.refuse(self.recipe([make_wheel("evil", "1", files)]))
        with self.subTest(reason="link"):
            self.refuse(self.recipe([make_wheel("evil", "1", {"l": b"/etc"}, modes={"l": 0o120777})]), "is a link")
        for text in ("../x = a:b", "x = a", "x = a:b;import os", "x = a b:c", "= a:b", "x = a:b.", "/x = a:b"):
            with self.subTest(entry=text):
                self.refuse(self.recipe([make_wheel("evil", "1", {}, entry_points="[console_scripts]\n" + text)]), "entry point")
        for wheel_version in ("2.0", "x"):
            self.refuse(self.recipe([make_wheel("evil", "1", {}, wheel_version=wheel_version)]), "Wheel-Version")
        self.refuse(self.recipe([("evil-1-py3-none-any.whl", b"no zip")]), "evil-1-py3-none-any.whl")
        name, data = make_wheel("other", "1", {})
        self.refuse(self.recipe([("evil-1-py3-none-any.whl", data)]), "not of evil")

    def test_wheel_with_bad_crc_or_cut(self):
        name, data = make_wheel("evil", "1", {"evil.py": b"x" * 1000})
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            place = archive.getinfo("evil.py").header_offset
        for change in (14, 22):
            bad = bytearray(data)
            bad[place + change] ^= 1
            central = bad.index(b"PK\1\2")
            bad[central + change + 2] ^= 1
            with self.subTest(change=change):
                self.refuse(self.recipe([(name, bytes(bad))]), name)
        self.refuse(self.recipe([(name, data[:-30])]), name)

    def test_two_wheels_write_one_path(self):
        one, two = make_wheel("one", "1", {"same.py": b"1"}), make_wheel("two", "1", {"same.py": b"2"})
        self.refuse(self.recipe([one, two]), "wheels/one", "wheels/two", "same.py")
        entry = "[console_scripts]\nsame = %s:main\n"
        one = make_wheel("one", "1", {}, entry_points=entry % "one")
        two = make_wheel("two", "1", {}, entry_points=entry % "two")
        self.refuse(self.recipe([one, two]), "venv/bin/same")
        # The same bytes are no quarrel; both list them.
        one, two = make_wheel("one", "1", {"same.py": b"1"}), make_wheel("two", "1", {"same.py": b"1"})
        self.recipe([one, two]).write(self.zip)
        self.assertInstalled(self.install())
        for name in ("one", "two"):
            self.assertIn("same.py,sha256=", self.read(SITE + "/%s-1.dist-info/RECORD" % name))


class Target(Case):
    FACTS = {"machine": "x86_64", "libc": {"name": "glibc", "version": [2, 28]}}

    def test_platforms(self):
        for platform, fits in [
            ("any", True), ("manylinux_2_28_x86_64", True), ("manylinux_2_29_x86_64", False), ("manylinux_2_17_x86_64", True),
            ("manylinux_2_17_aarch64", False), ("manylinux2014_x86_64", True), ("manylinux1_i686", False), ("manylinux_3_0_x86_64", False),
            ("musllinux_1_1_x86_64", False), ("linux_x86_64", True), ("linux_i686", False), ("win_amd64", False), ("manylinux_x_1_y", False),
        ]:  # fmt: skip
            self.assertEqual(platform_fits(platform, self.FACTS), fits, platform)
        musl = {"machine": "aarch64", "libc": {"name": "musl", "version": [1, 2]}}
        self.assertTrue(platform_fits("musllinux_1_1_aarch64", musl))
        self.assertFalse(platform_fits("musllinux_1_3_aarch64", musl))
        self.assertFalse(platform_fits("manylinux_2_5_aarch64", musl))

    def test_bytecode_that_travels_is_passed_over(self):
        recipe = self.recipe(members={".wheelbarrow/bytecode/cpython-312/x.pack": (b"x", "file")})
        recipe.manifest["targets"][0]["bytecode"] = {"cache_tag": "cpython-312", "magic": "cb0d0d0a"}
        recipe.write(self.zip)
        result = self.install("--compile", "auto")
        self.assertEqual((result.code, result.err.count("\n")), (0, 1), result)
        same = interpreter.facts()["magic"] == "cb0d0d0a"
        self.assertIn("by the native installer only; compiling " if same else " has the magic number cb0d0d0a, this Python's", result.err)

    def test_what_does_not_fit_is_named(self):
        for key, value in (("python", "3.5"), ("abi", "cp35m"), ("platform", "manylinux_9_99_riscv64")):
            recipe = self.recipe()
            recipe.manifest["targets"][0][key] = value
            recipe.write(self.zip)
            hint = "hint: build it for this system" if key == "platform" else "hint: run it with one of the Pythons"
            self.assertRefused(self.install(), 4, value, "this is Python %d.%d" % sys.version_info[:2], hint)

    def test_the_first_that_fits(self):
        recipe = self.recipe()
        target = recipe.manifest["targets"][0]
        recipe.manifest["targets"] = [dict(target, python="3.5"), dict(target, platform="manylinux_2_5_x86_64"), target]
        recipe.write(self.zip)
        self.assertInstalled(self.install())
        self.assertIn(json.loads(self.read(".wheelbarrow/receipt.json"))["target"]["platform"], ("manylinux_2_5_x86_64", "any"))


class Stopped(Case):
    """Wherever it is stopped: DEST is complete or as before, and the next run cleans up."""

    def big(self):
        files = {"big/m%d.py" % number: b"#" * 2000 for number in range(3000)}
        self.make([make_wheel("big", "1", files)])

    def start(self, *arguments):
        command = [sys.executable, self.zip, "-d", self.dest, "--bootstrap"]
        return subprocess.Popen(command + list(arguments), env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def stop_while_writing(self, number, *arguments):
        process = self.start(*arguments)
        deadline = time.time() + 60
        while time.time() < deadline and process.poll() is None:
            if glob.glob(glob.escape(self.root) + "/.dest.wheelbarrow-*/" + SITE + "/big/m9.py"):
                process.send_signal(number)
                break
            time.sleep(0.001)
        out, err = process.communicate()
        self.assertEqual((out, err), (b"", b""))
        return process.returncode

    def test_signals(self):
        self.big()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self.assertEqual(self.stop_while_writing(number), 128 + number)
            self.assertEqual((os.path.exists(self.dest), self.leftovers()), (False, []))

    def test_killed(self):
        self.big()
        self.assertEqual(self.stop_while_writing(signal.SIGKILL), -9)
        self.assertFalse(os.path.exists(self.dest))
        self.assertEqual(len(self.leftovers()), 1)
        self.assertInstalled(self.install())
        before = tree(self.dest)
        self.assertEqual(self.stop_while_writing(signal.SIGKILL, "--replace"), -9)
        self.assertEqual(tree(self.dest), before)
        self.assertInstalled(self.install("--replace"))

    def test_two_at_once(self):
        self.big()
        first, second = self.start("--replace"), self.start("--replace")
        results = [process.communicate() + (process.returncode,) for process in (first, second)]
        self.assertEqual([result[2] for result in results], [0, 0], results)
        self.assertEqual(self.leftovers(), [])

    def test_two_at_once_without_replace(self):
        self.big()
        processes = [self.start(), self.start()]
        results = sorted((process.communicate() + (process.returncode,) for process in processes), key=lambda result: result[2])
        self.assertEqual([result[2] for result in results], [0, 5], results)
        self.assertIn(b"not empty", results[1][1])
        self.assertEqual(self.leftovers(), [])

    def test_what_is_held_or_foreign_stays(self):
        self.make()
        held, foreign, free = [os.path.join(self.root, ".dest.wheelbarrow-" + name) for name in ("aaaaaaaa", "notes", "bbbbbbbb")]
        for path in (held, foreign, free):
            os.mkdir(path)
        os.symlink("/etc", os.path.join(self.root, ".dest.wheelbarrow-cccccccc"))
        lock = os.open(held, os.O_RDONLY)
        self.addCleanup(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        self.assertEqual(self.install().code, 0)
        self.assertEqual(sorted(self.leftovers()), [".dest.wheelbarrow-" + name for name in ("aaaaaaaa", "cccccccc", "notes")])

    def test_without_the_exchanging_rename(self):
        import staging

        original = staging._rename_exchange
        staging._rename_exchange = lambda first, second: False
        try:
            dest = os.fsencode(self.dest)

            def fill(directory, name):
                os.makedirs(directory + b"/.wheelbarrow")
                for path in (b"/.wheelbarrow/receipt.json", b"/" + name):
                    with open(directory + path, "w"):
                        pass

            fill(dest, b"old")
            with Staging(dest) as work:
                fill(work.path, b"new")
                work.publish(replace=True)
            self.assertEqual((sorted(os.listdir(self.dest)), self.leftovers()), ([".wheelbarrow", "new"], []))
            # Killed between the two renames: the old tree comes back.
            os.rename(dest, os.fsencode(self.root) + b"/.dest.wheelbarrow-old")
            with Staging(dest):
                self.assertEqual(sorted(os.listdir(self.dest)), [".wheelbarrow", "new"])
            self.assertEqual(self.leftovers(), [])
            # The second rename fails.
            with self.assertRaises(OSError):
                with Staging(dest) as work:
                    shutil.rmtree(work.path)
                    work.publish(replace=True)
            self.assertEqual((sorted(os.listdir(self.dest)), self.leftovers()), ([".wheelbarrow", "new"], []))
        finally:
            staging._rename_exchange = original

    def test_exchange(self):
        first, second = (os.path.join(os.fsencode(self.root), name) for name in (b"one", b"two"))
        os.mkdir(first)
        os.mkdir(second)
        inode = os.stat(first).st_ino
        if not _rename_exchange(first, second):
            self.skipTest("no exchanging rename here")
        self.assertEqual(os.stat(second).st_ino, inode)

    def test_full_disk(self):
        if os.getuid() != 0 or not shutil.which("mount"):
            self.skipTest("needs root")
        small = os.path.join(self.root, "small")
        os.mkdir(small)
        if run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", small]).code:
            self.skipTest("cannot mount a tmpfs")
        self.addCleanup(run, ["umount", "-l", small])
        self.recipe([make_wheel("big", "1", {"big.py": b"\0" * (8 << 20)})]).write(self.zip)
        self.dest = small + "/dest"
        result = self.install()
        self.assertEqual((result.code, os.listdir(small)), (6, []), result)
        self.assertIn("error: cannot install to", result.err)


class Names(unittest.TestCase):
    def test_normalised(self):
        for name, wanted in (("Foo.Bar", "foo-bar"), ("a__b-.c", "a-b-c"), ("x", "x")):
            self.assertEqual(wheels_module.normalised(name), wanted)


if __name__ == "__main__":
    unittest.main()
