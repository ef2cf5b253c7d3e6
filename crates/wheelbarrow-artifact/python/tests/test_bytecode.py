"""Compiling at the install, and that the same module always gives the same bytes."""

import csv
import glob
import importlib.util
import io
import json
import marshal
import os
import struct
import subprocess
import sys
import zipfile
import zlib

from case import SITE, Case
from make_artifact import make_wheel
from support import SOURCES, clean_environment, run

TAG = sys.implementation.cache_tag
MODULES = {
    "pkg/__init__.py": b"x = 1\n",
    "pkg/deep/module.py": b"def f():\n    return __file__\n",
    "pkg/template.py": b"class {{ name }}:\n",
    "pkg/old.py": b"print 'Python 2'\n",
    "pkg/latin.py": b"# -*- coding: latin-1 -*-\nx = '\xe4'\n",
    "pkg/only/broken.py": b"(\n",
}


class BytecodeCase(Case):
    def auto(self, *arguments, **environment):
        return self.install("--compile", "auto", "--quiet", *arguments, **environment)

    def pycs(self):
        found = glob.glob(self.dest + "/**/*.pyc", recursive=True)
        return {os.path.relpath(path, self.dest) for path in found if "/lib64/" not in path}


class Compiling(BytecodeCase):
    def test_what_compiles_does_and_nothing_else(self):
        wheel = make_wheel("pkg", "1", MODULES)
        self.put("app/broken.py", "(")
        self.make([wheel])
        self.assertEqual(self.auto(), (0, "", ""))
        names = ["__pycache__/__init__", "deep/__pycache__/module", "__pycache__/latin"]
        wanted = {"%s/pkg/%s.%s.pyc" % (SITE, name, TAG) for name in names}
        wanted |= {"mysite/app/__pycache__/%s.%s.pyc" % (name, TAG) for name in ("settings", "manage")}
        wanted.add("%s/__pycache__/loadenv.%s.pyc" % (SITE, TAG))
        self.assertEqual(self.pycs(), wanted)
        self.assertFalse(os.path.exists(self.dest + "/" + SITE + "/pkg/only/__pycache__"))
        rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(self.read(SITE + "/pkg-1.dist-info/RECORD")))}
        self.assertEqual({path for path in rows if path.endswith(".pyc")}, {"pkg/%s.%s.pyc" % (name, TAG) for name in names})
        self.assertEqual(rows["pkg/__pycache__/latin.%s.pyc" % TAG], ["", ""])
        self.assertEqual(json.loads(self.read(".wheelbarrow/receipt.json"))["bytecode"], "compiled")
        self.assertEqual(run(["sha256sum", "--quiet", "-c", ".wheelbarrow/SHA256SUMS"], cwd=self.dest), (0, "", ""))

    def test_python_takes_it_and_sees_edits(self):
        self.make([make_wheel("pkg", "1", MODULES)])
        self.assertEqual(self.auto(), (0, "", ""))
        python, code = self.dest + "/venv/bin/python", "import pkg.deep.module as m; print(m.f(), m.f.__code__.co_filename)"
        path = self.dest + "/" + SITE + "/pkg/deep/module.py"
        result = run([python, "-v", "-c", code])
        self.assertEqual(result.out, "%s %s\n" % (path, path))
        self.assertNotIn("# wrote", result.err)
        self.assertIn("# code object from '%s" % os.path.dirname(path), result.err)
        self.assertNotIn("# code object from %s" % path, result.err)
        with open(path, "a") as file:
            file.write("f = lambda: 'edited'\n")
        self.assertTrue(run([python, "-c", code]).out.startswith("edited "))

    def test_a_wheel_that_brings_its_own(self):
        own = "pkg/__pycache__/__init__.%s.pyc" % TAG
        self.make([make_wheel("pkg", "1", {"pkg/__init__.py": b"", own: b"its own"})])
        self.assertEqual(self.auto(), (0, "", ""))
        self.assertEqual(self.read(SITE + "/" + own), "its own")
        self.assertEqual(self.read(SITE + "/pkg-1.dist-info/RECORD").count(own), 1)

    def test_pip(self):
        self.make([make_wheel("pkg", "1", MODULES)])
        self.assertEqual(self.auto(), (0, "", ""))
        self.assertFalse([path for path in self.pycs() if "/pip/" in path])
        self.assertNotIn(".pyc", self.read(SITE + "/pip-99.0.dist-info/RECORD"))
        # One that the site names is a wheel like any other.
        self.make([make_wheel("pip", "98", {"pip/__init__.py": b""})])
        self.assertEqual(self.auto("--replace"), (0, "", ""))
        self.assertIn("%s/pip/__pycache__/__init__.%s.pyc" % (SITE, TAG), self.pycs())

    def test_never(self):
        self.make()
        result = run([sys.executable, self.zip, "-d", self.dest, "--bootstrap", "--compile=never"])
        self.assertIn("each start compiles what it imports", result.err)
        self.assertEqual((result.code, self.pycs()), (0, set()))
        result = run([sys.executable, self.zip, "-d", self.dest, "--replace", "--compile=sometimes"])
        self.assertEqual(result.code, 2)

    def test_a_process_that_dies(self):
        self.make()
        preload = "import runpy, sys; sys.argv = sys.argv[1:]; import subprocess; real = subprocess.Popen\n"
        preload += "def fake(command, **given):\n"
        # Not where it looks whether this Python starts without LD_LIBRARY_PATH.
        preload += "    return real(['/bin/sh', '-c', END] if given.get('stdin') == subprocess.PIPE else command, **given)\n"
        preload += "subprocess.Popen = fake\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
        for end, told in (
            ("kill -9 $$", "signal: 9"),
            ("echo reason >&2; exit 3", "reason"),
            ("printf '\\5\\0\\0\\0x'", "status: 0"),
        ):
            code = preload.replace("END", repr(end))
            result = run([sys.executable, "-c", code, self.zip, "-d", self.dest, "--bootstrap"])
            self.assertRefused(result._replace(err=result.err.partition("\n")[2]), 1, "cannot compile", told, "--compile never")


# Stands for the module of Python 3.14: what it inflates is compressed by zlib.
STAND_IN = """
import zlib
class ZstdError(Exception):
    pass
class DecompressionParameter:
    window_log_max = 1
class ZstdDecompressor:
    def __init__(self, options=None):
        pass
    def decompress(self, data, max_length=-1):
        try:
            return zlib.decompressobj().decompress(data, max(max_length, 0))
        except zlib.error as error:
            raise ZstdError(error)
"""


class Packed(BytecodeCase):
    """Packs, which a Python reads that has `compression.zstd`."""

    def setUp(self):
        super().setUp()
        directory = os.path.join(self.root, "modules", "compression")
        os.makedirs(directory)
        for name, text in (("__init__.py", ""), ("zstd.py", STAND_IN)):
            with open(os.path.join(directory, name), "w") as file:
                file.write(text)
        self.modules = os.path.dirname(directory)

    def pack(self, modules, magic=None):
        frames, index = [], {"magic": magic or importlib.util.MAGIC_NUMBER.hex(), "frames": []}
        for half in (modules[::2], modules[1::2]):
            plain = b"".join(code for _, code in half)
            frames.append(zlib.compress(plain))
            files = [[name, len(code)] for name, code in half]
            index["frames"].append({"compressed": len(frames[-1]), "size": len(plain), "files": files})
        index = zlib.compress(json.dumps(index).encode("utf-8"))
        return b"WBCODE1\n" + struct.pack("<I", len(index)) + index + b"".join(frames)

    def make_packed(self, change=lambda pack: pack, magic=None):
        code = {
            "pkg/__init__.py": marshal.dumps(compile("x = 'packed'", "pkg", "exec")),
            "pkg/deep/module.py": marshal.dumps(compile("def f(): return 'packed'", "module", "exec")),
            "pkg/not/there.py": b"of no module",
        }
        wheel = make_wheel("pkg", "1", MODULES)
        place = ".wheelbarrow/bytecode/%s/%s.pack"
        settings = marshal.dumps(compile("NAME = 'packed'", "settings", "exec"))
        recipe = self.recipe(
            [wheel],
            members={
                place % (TAG, wheel[0]): (change(self.pack(sorted(code.items()))), "file"),
                place % (TAG, "project"): (self.pack([("mysite/app/settings.py", settings)]), "file"),
            },
        )
        magic = magic or importlib.util.MAGIC_NUMBER.hex()
        recipe.manifest["targets"][0]["bytecode"] = {"cache_tag": TAG, "magic": magic}
        recipe.write(self.zip)

    def packed(self, *arguments):
        return self.install("--quiet", *arguments, PYTHONPATH=self.modules)

    def test_they_are_unpacked(self):
        self.make_packed()
        self.assertEqual(self.packed(), (0, "", ""))
        names = ["%s/pkg/__pycache__/__init__", "%s/pkg/deep/__pycache__/module"]
        wanted = {name % SITE + ".%s.pyc" % TAG for name in names} | {"mysite/app/__pycache__/settings.%s.pyc" % TAG}
        self.assertEqual(self.pycs(), wanted)
        self.assertEqual(json.loads(self.read(".wheelbarrow/receipt.json"))["bytecode"], "carried")
        record = self.read(SITE + "/pkg-1.dist-info/RECORD")
        self.assertIn("pkg/__pycache__/__init__.%s.pyc,,\n" % TAG, record)
        self.assertEqual(record.count(".pyc"), 2)
        python = self.dest + "/venv/bin/python"
        code = "import pkg, pkg.deep.module as m, app.settings as s; print(pkg.x, m.f(), s.NAME)"
        self.assertEqual(run([python, "-c", code], cwd=self.dest + "/mysite").out, "packed packed packed\n")
        with open("%s/%s/pkg/deep/module.py" % (self.dest, SITE), "a") as file:
            file.write("def f(): return 'edited'\n")
        self.assertEqual(run([python, "-c", "import pkg.deep.module as m; print(m.f())"]).out, "edited\n")

    def test_those_of_another_python_are_not(self):
        self.make_packed(magic="00000000")
        self.assertEqual(self.packed(), (0, "", ""))
        self.assertEqual(self.pycs(), set())

    def test_a_damaged_one_is_refused(self):
        for change, told in (
            (lambda pack: b"X" + pack[1:], "does not begin as a pack"),
            (lambda pack: pack[:-1], "cut off"),
            (lambda pack: pack[:12] + b"\0" * 8 + pack[20:], "damaged"),
        ):
            self.make_packed(change)
            self.assertRefused(self.packed(), 3, "pkg-1-py3-none-any.whl.pack is damaged", told)


class Steady(BytecodeCase):
    """The same modules give the same bytes in every process."""

    SETS = b"""
def f(x):
    return x in {None, 'a', 1, (None, 2, ('b', ...)), ...} or x in {'alpha', 'beta', 'gamma', None, b'x', 1.5}
def g(x, names={'id', 'name', 'alpha'}):
    return [name for name in ('id', 'name', 'never seen before') if x in {name, None, 8}]
class C:
    def __init__(self):
        self.one = self.two = self.three = None
"""

    def answers(self, modules, **environment):
        """Of one process."""
        environment = clean_environment(PYTHONHASHSEED="0", PYTHONUTF8="1", **environment)
        with open(os.path.join(SOURCES, "compile.py")) as file:
            command = [sys.executable, "-s", "-S", "-B", "-c", file.read()]
        question = b"".join(struct.pack("<I", len(part)) + part for pair in modules for part in pair)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=self.root)
        stream = io.BytesIO(process.communicate(question)[0])
        return {name: stream.read(struct.unpack("<I", stream.read(4))[0]) for name, _ in modules}

    def modules(self):
        found = [(b"sets.py", self.SETS)]
        directory = os.path.dirname(os.__file__)
        for path in sorted(glob.glob(directory + "/*.py") + glob.glob(directory + "/asyncio/*.py")):
            with open(path, "rb") as file:
                found.append((os.path.basename(path).encode(), file.read()))
        for path in glob.glob(os.environ.get("WHEELBARROW_TEST_WHEELS", "") + "/[Dds]*.whl"):
            with zipfile.ZipFile(path) as wheel:
                found += [(name.encode(), wheel.read(name)) for name in wheel.namelist() if name.endswith(".py")]
        return found

    def test_surroundings_make_no_difference(self):
        modules = self.modules()
        first = self.answers(modules)
        self.assertGreater(sum(bool(code) for code in first.values()), 150)
        for _ in range(2):  # addresses change from one to the next
            second = self.answers(modules, LC_ALL="C", TMPDIR="/nowhere", ANY="thing", HOME=self.root)
            self.assertEqual([name for name, code in second.items() if code != first[name]], [])

    def test_the_code_is_as_it_was(self):
        spec = importlib.util.spec_from_file_location("compile", os.path.join(SOURCES, "compile.py"))
        compiler = importlib.util.module_from_spec(spec)
        before = list(sys.path)
        spec.loader.exec_module(compiler)
        sys.path[:] = before
        for name, source in self.modules():
            data = compiler.compiled(name, source)
            if data:
                self.assertEqual(marshal.loads(data), compile(source, name.decode(), "exec", dont_inherit=True), name)
        names = {}
        exec(marshal.loads(compiler.compiled(b"sets.py", self.SETS)), names)
        wanted = {None: True, "a": True, (None, 2, ("b", ...)): True, ...: True, b"x": True, "c": False, 2.5: False}
        self.assertEqual({value: names["f"](value) for value in wanted}, wanted)
