"""The second way to install: what it leaves."""

import csv
import glob
import hashlib
import json
import os
import shutil
import sys
import unittest
import zipfile

from case import DEMO, MINOR, SITE, Case
from make_artifact import Recipe, make_wheel
from support import SOURCES, run, tree

sys.path.insert(0, SOURCES)

import interpreter  # noqa: E402
import wheels as wheels_module  # noqa: E402
from artifact import platform_fits  # noqa: E402


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
        files = {
            os.path.relpath(path, SITE) for path, entry in tree(self.dest).items() if path.startswith(SITE) and entry[0] == "file"
        }
        info = "Demo_Pkg-1.0.dist-info/"
        expected = {info + name for name in ("METADATA", "WHEEL", "RECORD", "INSTALLER", "REQUESTED", "entry_points.txt")}
        # A `.pth` of a wheel would be read before ours.
        expected |= {"loadenv.py", "loadenv-init.pth", "0-loadenv-init.pth", "loadenv.start", "mysite.pth", "demo.pth", "demo/__init__.py", "demo/tool",
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
        for name in ("dest", "x" * 120, "qu'ote", "b \\x \\N \\u \\U \\'s\\"):
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

    def test_the_environment_is_there_before_any_file_of_a_wheel_looks(self):
        for name in ("early.pth", "0.pth", "!.pth", " .pth"):
            line = b"import os; os.environ['SEEN'] = os.environ.get('SETTING', 'nothing')\n"
            self.make([make_wheel("early", "1", {name: line})])
            self.assertInstalled(self.install(*["--replace"] * os.path.exists(self.dest)))
            with open(self.dest + "/environment.json", "w") as file:
                file.write('{"SETTING": "from the host"}')
            code = "import os; print(os.environ['SEEN'])"
            self.assertEqual(run([self.dest + "/venv/bin/python", "-c", code]).out, "from the host\n", name)
        self.make([make_wheel("late", "1", {"z.pth": b""})])
        self.assertInstalled(self.install("--replace"))
        self.assertEqual([name for name in os.listdir(self.dest + "/" + SITE) if name.endswith("init.pth")], ["loadenv-init.pth"])

    def test_the_receipt(self):
        self.make()
        self.assertInstalled(self.install("--without-pip"))
        text = self.read(".wheelbarrow/receipt.json")
        receipt = json.loads(text)
        self.assertEqual(text, json.dumps(receipt, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
        self.assertEqual(
            set(receipt),
            set("bytecode format name version manifest_sha256 sums_sha256 target interpreter method pip wheels".split()),
        )
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
        name, data = make_wheel(
            "pip", "1.0", {"pip/__init__.py": b"own = 1\n"}, entry_points="[console_scripts]\npip = pip:own\n"
        )
        self.make([DEMO, (name, data)])
        self.assertInstalled(self.install())
        self.assertTrue(os.path.exists(self.dest + "/" + SITE + "/pip-1.0.dist-info/REQUESTED"))
        self.assertFalse(os.path.exists(self.dest + "/" + SITE + "/pip-99.0.dist-info"))

    def test_lib64_is_lib(self):
        name, data = make_wheel("wide", "1", {"wide-1.data/data/lib64/wide.so": b"x"})
        self.make([(name, data)])
        self.assertInstalled(self.install())
        # A virtualenv has no such link from Python 3.15 on.
        library = "lib" if os.path.islink(self.dest + "/venv/lib64") else "lib64"
        self.assertIn("../../../%s/wide.so," % library, self.read(SITE + "/wide-1.dist-info/RECORD"))
        self.assertTrue(os.path.exists("%s/venv/%s/wide.so" % (self.dest, library)))

    @unittest.skipUnless(os.environ.get("WHEELBARROW_TEST_WHEELS") and glob.glob(os.environ.get("WHEELBARROW_TEST_WHEELS", "") + "/*.whl"), "no real wheels")  # fmt: skip
    def test_real_wheels_as_pip_installs_them(self):
        # Equal but for what docs/reference/format.md says differs.
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
        pip = [
            other + "/venv/bin/python",
            "-m",
            "pip",
            "--disable-pip-version-check",
            "install",
            "--no-index",
            "--no-deps",
            "--no-compile",
        ]
        self.assertEqual(run(pip + paths).code, 0)
        shutil.rmtree(other + "/venv/" + "lib/%s/site-packages/setuptools" % MINOR, ignore_errors=True)

        def ignored(path):
            name = os.path.basename(path)
            beside = path.split("/")[-1 if "site-packages" not in path else 4 :]
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
        self.assertIn(
            "only the standalone binary can read the bytecode in the artifact for Python "
            if same
            else " has the magic number cb0d0d0a, this Python's",
            result.err,
        )

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


if __name__ == "__main__":
    unittest.main()
