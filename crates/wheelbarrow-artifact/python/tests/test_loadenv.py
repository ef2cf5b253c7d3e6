"""loadenv: what it accepts, what it says of the rest, and that it says it in time."""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

from support import SOURCES, clean_environment, out_of_reach, run

sys.path.insert(0, SOURCES)

import loadenv  # noqa: E402


def expected(data):
    """What json says of the same bytes, by the rules of environment.json; None where it must be refused."""

    def unique(pairs):
        if len(dict(pairs)) != len(pairs):
            raise ValueError("duplicate")
        return dict(pairs)

    try:
        values = json.loads(data.decode("utf-8-sig"), object_pairs_hook=unique)
        if not isinstance(values, dict):
            return None
        for key, value in values.items():
            if not isinstance(value, str) or not key or "=" in key or "\0" in key + value:
                return None
            (key + value).encode("utf-8")
    except ValueError:
        return None
    return values


# Imports the server, then the code where it is told to; forks after `current` has changed.
MASTER = """
import os, sys

def show():
    found = {}
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            path = os.readlink("/proc/self/fd/" + descriptor)
        except OSError:
            continue
        if "/releases/" in path:
            found[os.path.basename(path)] = path.split("/releases/")[1].split("/")[0]
    print(*[found.get(name, "-") for name in ("release.json", "manifest.json", "pyvenv.cfg")])
    sys.stdout.flush()

current, code, preload = sys.argv[1:]
sys.path.insert(0, code)
import server
if preload:
    import view
show()
os.remove(current)
os.symlink("releases/2", current)
if os.fork() == 0:
    show()
    import view
    show()
    import lazy
    show()
else:
    os.wait()
"""


def found(data):
    try:
        return loadenv.parse(data)
    except loadenv.Broken:
        return None


class Parse(unittest.TestCase):
    CASES = [
        b"{}", b" { } \n", b"", b"   ", b"[]", b'"x"', b"nul", b'{"A": "b"}', b'\xef\xbb\xbf{"A": "b"}', b'{"A": "b",}',
        b'{"A": "b" "C": "d"}', b'{"A" "b"}', b"{'A': 'b'}", b'{A: "b"}', b'{"A": 1}', b'{"A": null}', b'{"A": {"B": "c"}}',
        b'{"A": ["x"]}', b'{"A": true}', b'{"A": NaN}', b'{"A": "b"} x', b'{"A": "b"}}', b'{"A": "b", "A": "c"}',
        b'{"": "b"}', b'{"A=B": "c"}', b'{"A": "\\u0000"}', b'{"A\\u0000": "x"}', b'{"A": "\\ud83d\\ude00"}',
        b'{"A": "\\ud83d"}', b'{"A": "\\udc80"}', b'{"A": "\\x"}', b'{"A": "\\u12"}', b'{"A": "a\nb"}', b'{"A": "a\tb"}',
        b'{"A": "\\n\\t\\"\\\\\\/"}', b'{"A": "b', b'{"A": "b\\', b'{"A": "b\\"', b'{"A', b"{", b'{"A":', b'{"A": "b"',
        '{"Ä": "ü€😀"}'.encode("utf-8"), b'{"A": "\xff"}', b"\xff\xfe{\x00}\x00", b'{"A": ""}', b'{"A": "\x7f"}',
        b"\x0b{}", b"\xc2\xa0{}", b'{"A"\r\n:\t"b"\r\n}', b'{,}', b'{"A": "b",,}', b'{"A": tru}', b'{"A": -}',
        b'{"A": "\xed\xa0\x80"}', "{\"A\": \"\u2028\"}".encode("utf-8"),
    ]  # fmt: skip

    def test_agrees_with_json_on_known_documents(self):
        for data in self.CASES:
            with self.subTest(data=data):
                self.assertEqual(found(data), expected(data))

    def test_agrees_with_json_on_generated_documents(self):
        chance = random.Random(7)
        pieces = ['"', "{", "}", ":", ",", "\\", "\\u", "d83d", "\\ude00", " ", "\n", "\t", "A", "=", "é", "1", "\\n", "\0",
                  "[", "]", "null", '"A"', '"B"', '": "', '", "', "\ufeff"]  # fmt: skip
        agreed = 0
        for _ in range(20000):
            keys = ["".join(chance.choice(pieces[5:]) for _ in range(chance.randrange(4))) for _ in range(chance.randrange(5))]
            values = ["".join(chance.choice(pieces) for _ in range(chance.randrange(6))) for _ in keys]
            text = json.dumps(dict(zip(keys, values)), ensure_ascii=chance.random() < 0.5, indent=chance.choice([None, 2]))
            for _ in range(chance.randrange(3)):  # wound it
                place = chance.randrange(len(text) + 1)
                text = text[:place] + chance.choice(pieces + [""]) + text[place + chance.randrange(3) :]
            data = text.encode("utf-8", "surrogatepass")
            want = expected(data)
            self.assertEqual(found(data), want, data)
            agreed += want is not None
        self.assertGreater(agreed, 2000)  # else this compared little but refusals

    def test_names_line_and_key_and_no_value(self):
        for data, line, key in [
            (b'{\n "A": "SECRET",\n "B": 17\n}', 3, "B"),
            (b'{\n "A": "SECRET",\n "A": "SECRET"\n}', 3, "A"),
            (b'{\n "A": "SECRET\n', 2, "A"),
            (b'{\n "A": "SEC\\xRET"\n', 2, "A"),
            (b'{\n "A":\n "SECRET"\n "B": "SECRET"}', 4, "A"),
            (b'{\n "A": "\\ud800SECRET"}', 2, "A"),
            (b'{\n "A": "SECRET"}\nSECRET', 3, None),
            (b'{\n\n "A": "SECRET\xff"}', 3, None),
            (b'["SECRET"]', 1, None),
            (b'{\n "A=B": "SECRET"}', 2, "A=B"),
            (b'{\n "A": SECRET}', 2, "A"),
            (b'{\n "A=SECRET": "1"}', 2, "A=SECRET"),
        ]:
            with self.subTest(data=data):
                with self.assertRaises(loadenv.Broken) as caught:
                    loadenv.parse(data)
                self.assertEqual((caught.exception.line, caught.exception.key), (line, key))
                self.assertNotIn("SECRET", str(caught.exception))

    def test_required(self):
        loadenv.REQUIRED = ("A", "B")
        try:
            self.assertEqual(loadenv.check(b'{"A": "1"}', {"B": "2"}), {"A": "1"})
            self.assertEqual(loadenv.check(None, {"A": "", "B": ""}), {})
            for data in (None, b'{"A": "1"}'):
                with self.assertRaises(loadenv.Broken):
                    loadenv.check(data, {})
        finally:
            loadenv.REQUIRED = ()


class Start(unittest.TestCase):
    """In a real virtualenv."""

    @classmethod
    def setUpClass(cls):
        cls.keep = tempfile.TemporaryDirectory()
        cls.root = os.path.join(os.path.realpath(cls.keep.name), "with späce")
        os.mkdir(cls.root)
        subprocess.check_call([sys.executable, "-m", "venv", "--without-pip", os.path.join(cls.root, "venv")],
                              env=clean_environment(LC_ALL="C.UTF-8"))  # fmt: skip
        cls.python = os.path.join(cls.root, "venv", "bin", "python")
        cls.site = os.path.join(cls.root, "venv", "lib", "python%d.%d" % sys.version_info[:2], "site-packages")

    @classmethod
    def tearDownClass(cls):
        cls.keep.cleanup()

    def setUp(self):
        self.configure()
        self.file = os.path.join(self.root, "environment.json")
        if os.path.lexists(self.file):
            os.remove(self.file)

    def configure(self, **constants):
        with open(os.path.join(SOURCES, "loadenv.py")) as file:
            lines = file.read().split("\n")
        for name, value in constants.items():
            index = [number for number, line in enumerate(lines) if line.startswith(name + " = ")]
            self.assertEqual(len(index), 1)
            lines[index[0]] = "%s = %r" % (name, value)
        self.put("loadenv.py", "\n".join(lines))
        for name in ("loadenv-init.pth", "loadenv.start"):
            with open(os.path.join(SOURCES, name)) as file:
                self.put(name, file.read())

    def put(self, name, text):
        with open(os.path.join(self.site, name), "w") as file:
            file.write(text)

    def write(self, data, mode=0o640):
        with open(self.file, "wb") as file:
            file.write(data)
        os.chmod(self.file, mode)

    def start(self, code, flags=(), **environment):
        return run([self.python] + list(flags) + ["-c", code], **environment)

    def assertStops(self, result, *words):
        self.assertEqual(result.code, 7, result)
        self.assertEqual(result.out, "")
        self.assertEqual(result.err.count("\n"), 1, result.err)
        self.assertTrue(result.err.startswith("loadenv: " + self.file), result.err)
        for word in words:
            self.assertIn(word, result.err)

    SHOW = "import os; print(ascii(os.fsencode(os.environ.get('SETTING', '-')).decode('utf-8')))"

    def test_reaches_every_start(self):
        self.assertEqual(self.start(self.SHOW).out, "'-'\n")
        self.write('{"SETTING": "é"}'.encode("utf-8"))
        for flags in ([], ["-I"], ["-E"], ["-s"], ["-O"], ["-W", "error"]):
            result = self.start(self.SHOW, flags)
            self.assertEqual((result.out, result.err), ("'\\xe9'\n", ""), flags)
        self.assertEqual(self.start(self.SHOW, LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0").out, "'\\xe9'\n")
        self.assertEqual(self.start("import os; os.system('echo $SETTING')").out, "é\n")

    def test_precedence(self):
        self.write(b'{"SETTING": "file"}')
        self.assertEqual(self.start(self.SHOW, SETTING="process").out, "'file'\n")
        self.configure(PRECEDENCE="process")
        self.assertEqual(self.start(self.SHOW, SETTING="process").out, "'process'\n")
        self.assertEqual(self.start(self.SHOW).out, "'file'\n")

    def test_stops_at_what_is_broken(self):
        self.write(b'{\n  "A": "x",\n  "SETTING": 5\n}')
        self.assertStops(self.start(self.SHOW), ', line 3: key "SETTING": ', "number")
        self.write(b"{}")
        self.configure(REQUIRED=("SETTING",))
        self.assertStops(self.start(self.SHOW), 'key "SETTING":', "required")
        self.assertEqual(self.start(self.SHOW, SETTING="1").code, 0)
        os.remove(self.file)
        self.assertStops(self.start(self.SHOW), "does not exist")
        self.configure(PRIVATE=True)
        self.write(b"{}", 0o644)
        self.assertStops(self.start(self.SHOW), "chmod")
        self.write(b"{}", 0o640)
        self.assertEqual(self.start(self.SHOW).code, 0)
        os.remove(self.file)
        os.mkdir(self.file)
        try:
            self.assertStops(self.start(self.SHOW), "cannot be read")
        finally:
            os.rmdir(self.file)

    def test_stops_with_closed_streams(self):
        self.write(b"broken")
        for closed in ("2>&-", ">&- 2>&-", "2>/dev/full"):
            result = run(["sh", "-c", '"$0" -c "print(1)" ' + closed, self.python])
            self.assertEqual((result.code, result.out), (7, ""), closed)

    def test_holds_the_record_of_a_release(self):
        record = os.path.join(os.path.dirname(self.file), ".wheelbarrow", "release.json")
        show = (
            "import os; names = [os.readlink('/proc/self/fd/' + fd) for fd in os.listdir('/proc/self/fd')"
            " if os.path.exists('/proc/self/fd/' + fd)]; print([name for name in names if name.endswith('release.json')])"
        )
        self.assertEqual(self.start(show).out, "[]\n")
        os.mkdir(os.path.dirname(record))
        with open(record, "w") as file:
            file.write("{}")
        self.assertEqual(self.start(show).out, "['%s']\n" % os.path.realpath(record))
        forked = "import os\nif os.fork() == 0:\n    " + show.replace("; ", "\n    ") + "\nelse:\n    os.wait()"
        self.assertEqual(self.start(forked).out, "['%s']\n" % os.path.realpath(record))
        other = "import os, sys; os.execv(%r, [%r, '-I', '-S', '-c', sys.argv[1]])" % (sys.executable, sys.executable)
        result = run([self.python, "-c", other, show])
        self.assertEqual(result.out, "[]\n")
        # A daemon that was started without streams must not find the record in their place.
        first = "import os; print('release' in (os.path.exists('/proc/self/fd/0') and os.readlink('/proc/self/fd/0') or ''))"
        self.assertEqual(run(["sh", "-c", '"$0" -c "$1" <&-', self.python, first]).out, "False\n")

    def test_tells_where_a_process_has_its_modules_from(self):
        root = os.path.join(self.keep.name, "root")
        for release in ("1", "2"):
            destination = os.path.join(root, "releases", release)
            shutil.copytree(os.path.join(self.root, "venv"), os.path.join(destination, "venv"), symlinks=True)
            packages = os.path.join(destination, os.path.relpath(self.site, self.root))
            modules = [os.path.join(packages, name) for name in ("server.py", "dependency.py", "lazy.py")]
            for path in modules + [".wheelbarrow/release.json", ".wheelbarrow/manifest.json", "code/nothing"]:
                path = os.path.join(destination, path)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                open(path, "w").close()
            with open(os.path.join(destination, "code", "view.py"), "w") as file:
                file.write("import dependency")
        current = os.path.join(root, "current")
        # Of the master, of a worker when it is forked, when it has imported the code, and when it imports one thing more:
        # where the interpreter was started, and where code and dependencies are from.
        for start, code, preload, expected in [
            ("releases/1", "releases/1", "", ["1 - 1", "1 - 1", "1 1 1", "1 1 1"]),
            ("releases/1", "current", "", ["1 - 1", "1 - 1", "1 2 1", "1 2 1"]),
            ("current", "current", "", ["1 - 1", "1 - 1", "1 2 2", "1 2 2"]),
            ("current", "current", "preload", ["1 1 1", "1 1 1", "1 1 1", "1 1 2"]),
        ]:
            with self.subTest(start=start, code=code, preload=preload):
                if os.path.lexists(current):
                    os.remove(current)
                os.symlink("releases/1", current)
                python = os.path.join(root, start, "venv", "bin", "python")
                result = run([python, "-c", MASTER, current, os.path.join(root, code, "code"), preload])
                self.assertEqual(result.out.splitlines(), expected, result.err)

    @unittest.skipUnless(os.getuid() == 0, "needs root")
    def test_other_users(self):
        os.chmod(self.keep.name, 0o755)
        self.write(b'{"SETTING": "1"}', 0o600)
        code = "import os, sys; os.setuid(65534); os.execv(sys.argv[1], [sys.argv[1], '-c', 'print(1)'])"
        hidden = out_of_reach(sys.executable, self.root)
        if hidden:
            self.skipTest(hidden)
        self.assertStops(run([sys.executable, "-c", code, self.python]), "cannot be read")

    def test_called_twice_reads_once(self):
        self.write(b'{"SETTING": "file"}')
        code = "import os, loadenv; os.environ['SETTING'] = 'changed'; loadenv.init(); " + self.SHOW
        self.assertEqual(self.start(code).out, "'changed'\n")

    def test_outside_a_virtualenv_nothing_happens(self):
        self.write(b"broken")
        code = "import sys; sys.path.insert(0, %r); import loadenv; loadenv.init(); print(1)" % SOURCES
        self.assertEqual(run([sys.executable, "-c", code]).out, "1\n")

    def test_embedded_with_only_the_site_packages(self):
        self.write(b'{"SETTING": "file"}')
        code = "import site; site.addsitedir(%r); %s" % (self.site, self.SHOW)
        self.assertEqual(run([sys.executable, "-I", "-c", code]).out, "'file'\n")

    def test_subinterpreter(self):
        self.write(b'{"SETTING": "file"}')
        code = (
            "import os; os.environ.pop('SETTING')\n"
            "try:\n    import _testcapi\n    run = _testcapi.run_in_subinterp\n"
            "except (ImportError, AttributeError):\n    print('none')\n"
            "else:\n    run(%r)\n" % self.SHOW
        )
        result = self.start(code)
        if result.out == "none\n":
            self.skipTest("no _testcapi")
        self.assertEqual(result.out, "'file'\n", result)

    def test_imports_nothing_heavy(self):
        self.write(b'{"SETTING": "a", "OTHER": "b"}')
        show = "import sys; print(' '.join(sorted(sys.modules)))"
        modules = set(self.start(show).out.split())
        os.remove(self.file)
        # Reading a .pth at all has its own imports, which differ between versions.
        self.put("loadenv-init.pth", "import sys\n")
        # From 3.15 on, site imports pkgutil for whatever such a file names (PEP 829).
        self.put("loadenv.start", "os:getcwd\n")
        self.assertEqual(modules - set(self.start(show).out.split()), {"loadenv"})

    def test_fast(self):
        values = {"VARIABLE_%d" % number: "value of the variable %d" % number for number in range(50)}
        self.write(json.dumps(values, indent=2).encode("utf-8"))
        code = (
            "import sys, time; sys.path.insert(0, %r); import loadenv; data = open(%r, 'rb').read(); best = 1\n"
            "for _ in range(20):\n"
            "    start = time.perf_counter(); loadenv.check(data, {}); best = min(best, time.perf_counter() - start)\n"
            "print(best)" % (SOURCES, self.file)
        )
        self.assertLess(float(run([sys.executable, "-I", "-c", code]).out), 0.001)


if __name__ == "__main__":
    unittest.main()
