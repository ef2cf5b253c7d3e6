"""The facts: compared with what the interpreter's own `python -m venv` and sysconfig say."""

import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import unittest

from support import SOURCES, clean_environment, interpreters, run

sys.path.insert(0, SOURCES)

import interpreter  # noqa: E402


def ask(python, *arguments, **environment):
    """As Rust asks it."""
    with open(os.path.join(SOURCES, "interpreter.py")) as file:
        return run([python, "-I", "-S", "-c", file.read()] + list(arguments), **environment)


def build(description):
    """The tree that a description says, as `tree_of` gives it."""
    found = dict.fromkeys(description["directories"], ("directory",))
    found.update({name: ("link", target) for name, target in description["links"]})
    for file in description["files"]:
        found[file["path"]] = ("file", file["executable"], file["text"])
    return found


def tree_of(root):
    found = {}
    for directory, directories, files in os.walk(root):
        for name in directories + files:
            path = os.path.join(directory, name)
            relative = os.path.relpath(path, root)
            if os.path.islink(path):
                found[relative] = ("link", os.readlink(path))
            elif os.path.isdir(path):
                found[relative] = ("directory",)
            else:
                with open(path, encoding="utf-8", newline="") as file:
                    found[relative] = ("file", bool(os.stat(path).st_mode & 0o100), file.read())
    return found


class InDirectory(unittest.TestCase):
    def setUp(self):
        keep = tempfile.TemporaryDirectory()
        self.addCleanup(keep.cleanup)
        self.root = os.path.realpath(keep.name)


class Virtualenv(InDirectory):
    maxDiff = None

    def compare(self, path, python=sys.executable, **environment):
        result = ask(python, path, **environment)
        self.assertEqual((result.code, result.err), (0, ""), result)
        self.assertFalse(os.path.lexists(path))
        facts = json.loads(result.out)
        made = run([sys.executable, "-m", "venv", "--without-pip", path])
        self.assertEqual(made.code, 0, made)
        real = tree_of(path)
        kind, executable, text = real["pyvenv.cfg"]
        real["pyvenv.cfg"] = (kind, executable, text.replace(" -m venv --without-pip ", " -m venv "))
        self.assertEqual(build(facts["virtualenv"]), real)
        self.assertEqual(facts["virtualenv"]["path"], path)
        return facts

    def test_is_what_venv_makes(self):
        for name in ("plain", "with space", "ünïcode €", "quote'd", "do$lar", 'double"d', "back\\slash", "a&b;c"):
            with self.subTest(name=name):
                os.mkdir(os.path.join(self.root, name))
                self.compare(os.path.join(self.root, name, "venv"))

    def test_in_the_c_locale(self):
        self.compare(os.path.join(self.root, "ünïcode"), LC_ALL="C", PYTHONCOERCECLOCALE="0")

    def test_from_inside_virtualenvs(self):
        # The base interpreter, not the one of the virtualenv, which will not be there for ever.
        first, second = os.path.join(self.root, "first"), os.path.join(self.root, "second")
        subprocess.check_call([sys.executable, "-m", "venv", "--without-pip", first], env=clean_environment())
        subprocess.check_call([first + "/bin/python", "-m", "venv", "--without-pip", second], env=clean_environment())
        for directory in (first, second):
            facts = json.loads(ask(directory + "/bin/python", os.path.join(self.root, "venv")).out)
            self.assertEqual(os.path.realpath(facts["executable"]), os.path.realpath(sys.executable))
            self.assertFalse(facts["executable"].startswith(self.root), facts["executable"])
            links = dict(facts["virtualenv"]["links"])
            self.assertIn(facts["executable"], links.values())
            self.assertNotIn(self.root + "/first", json.dumps(facts))
            self.assertNotIn(self.root + "/second", json.dumps(facts))

    def test_from_a_virtualenv_of_copies(self):
        first = os.path.join(self.root, "first")
        subprocess.check_call([sys.executable, "-m", "venv", "--copies", "--without-pip", first], env=clean_environment())
        facts = json.loads(ask(first + "/bin/python").out)
        self.assertEqual(os.path.realpath(facts["executable"]), os.path.realpath(sys.executable))

    def named(self, name, python=sys.executable, **environment):
        """The facts of a Python whose argv[0] is `name`."""
        with open(os.path.join(SOURCES, "interpreter.py")) as file:
            code = file.read()
        command = ["bash", "-c", 'exec -a "$1" "$0" "${@:2}"', python, name, "-I", "-S", "-c", code, self.root + "/venv"]
        result = run(command, **environment)
        self.assertEqual((result.code, result.err), (0, ""))
        return json.loads(result.out)

    def write(self, name, text):
        path = os.path.join(self.root, name)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o755)
        return path

    def assertRunning(self, facts):
        program = os.path.realpath(sys.executable)
        self.assertEqual(os.path.realpath(facts["executable"]), program)
        self.assertIn(facts["executable"], dict(facts["virtualenv"]["links"]).values())
        texts = {file["path"]: file["text"] for file in facts["virtualenv"]["files"]}
        self.assertIn("home = %s\n" % os.path.dirname(facts["executable"]), texts["pyvenv.cfg"])

    def test_is_of_the_python_that_runs(self):
        others = [path for path in interpreters() if os.path.realpath(path) != os.path.realpath(sys.executable)]
        script = self.write("python", "#!/bin/sh\nexit 0\n")
        for name in others[:2] + [script, self.root + "/missing", ""]:
            with self.subTest(name=name):
                self.assertRunning(self.named(name))
                self.assertRunning(self.named(sys.executable, PYTHONEXECUTABLE=name))

    def test_from_a_virtualenv_under_the_name_of_another(self):
        other = ([path for path in interpreters() if os.path.realpath(path) != os.path.realpath(sys.executable)] + ["/missing"])[
            0
        ]
        for copies in ("--copies", "--symlinks"):
            first = os.path.join(self.root, copies)
            subprocess.check_call([sys.executable, "-m", "venv", copies, "--without-pip", first], env=clean_environment())
            facts = self.named(first + "/bin/python", first + "/bin/python", PYTHONEXECUTABLE=other)
            self.assertRunning(facts)

    def test_a_script_that_sets_up_this_python_stays(self):
        script = self.write("wrapped", '#!/bin/bash\nexec -a "$0" \'%s\' "$@"\n' % sys.executable)
        facts = self.named(script)
        self.assertEqual(facts["executable"], script)

    def test_started_by_the_loader(self):
        _, loader = interpreter._program_header(os.path.realpath(sys.executable))
        result = run([loader, sys.executable, "-I", "-S", os.path.join(SOURCES, "interpreter.py")])
        self.assertEqual(json.loads(result.out)["executable"], sys.executable, result)

    def test_what_is_there_already_changes_nothing(self):
        path = os.path.join(self.root, "venv")
        before = json.loads(ask(sys.executable, path).out)
        os.makedirs(path + "/bin")
        with open(path + "/bin/python", "w") as file:
            file.write("old")
        os.symlink("nowhere", path + "/lib64")
        self.assertEqual(json.loads(ask(sys.executable, path).out), before)
        with open(path + "/bin/python") as file:
            self.assertEqual(file.read(), "old")

    def test_paths_that_cannot_be(self):
        result = ask(sys.executable, self.root + "/line\nbreak")
        self.assertEqual(result.code, 1)
        self.assertEqual(result.err.count("\n"), 1, result.err)
        result = run([sys.executable, "-I", "-S", os.path.join(SOURCES, "interpreter.py"), b"/tmp/\xff"])
        self.assertEqual((result.code, result.err.count("\n")), (1, 1), result)

    def test_leaves_the_interpreter_as_it_was(self):
        import venv

        before = (sys.executable, getattr(sys, "_base_executable", None), venv.os, venv.shutil)
        interpreter.facts(os.path.join(self.root, "venv"))
        self.assertEqual((sys.executable, getattr(sys, "_base_executable", None), venv.os, venv.shutil), before)
        self.assertNotIn("open", vars(venv))

    def test_refuses_what_it_cannot_record(self):
        recorder = interpreter._Recorder(os.path.join(self.root, "venv"))
        for name in ("rename", "unlink", "execv", "spawnl", "fork", "open"):
            with self.assertRaises(OSError):
                getattr(recorder.os, name)
        with self.assertRaises(OSError):
            recorder.os.makedirs(self.root + "/elsewhere")


class Facts(InDirectory):
    def test_variables_without_which_it_does_not_start(self):
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        needy = os.path.join(directory, "python")
        with open(needy, "w") as file:
            file.write('#!/bin/sh\n[ "$LD_LIBRARY_PATH" ] && exec "%s" "$@"\nexit 127\n' % sys.executable)
        os.chmod(needy, 0o755)
        before = os.environ.pop("LD_LIBRARY_PATH", None)
        try:
            self.assertEqual(interpreter._environment(needy), {})
            os.environ["LD_LIBRARY_PATH"] = "/opt/a/lib64"
            self.assertEqual(interpreter._environment(needy), {"LD_LIBRARY_PATH": "/opt/a/lib64"})
            self.assertEqual(interpreter._environment(sys.executable), {})
            self.assertNotIn("environment", interpreter.facts())
        finally:
            os.environ.pop("LD_LIBRARY_PATH")
            if before is not None:
                os.environ["LD_LIBRARY_PATH"] = before

    def test_keys(self):
        facts = json.loads(ask(sys.executable).out)
        self.assertEqual(set(facts), set("executable version implementation cache_tag magic abi machine libc site_packages"
                                         " headers".split()))  # fmt: skip
        self.assertEqual(facts["version"], list(sys.version_info[:3]))
        self.assertEqual(facts["cache_tag"], "cpython-%d%d" % sys.version_info[:2])
        self.assertEqual(len(facts["magic"]), 8)
        self.assertEqual(facts["executable"], sys.executable)

    def test_are_told_as_json_would(self):
        value = {"b": ['\u00e9\n"\\', "\udcff", 0, -3, True, False], "a": {}, "\u20ac": [], "c": [("x", "y")]}
        self.assertEqual(interpreter.dump(value), json.dumps(value, sort_keys=True))
        answer = ask(sys.executable, os.path.join(self.root, "\u00e9"))
        self.assertEqual(answer.out, json.dumps(json.loads(answer.out), sort_keys=True) + "\n")

    def test_abi_is_that_of_extension_modules(self):
        abi = json.loads(ask(sys.executable).out)["abi"]
        self.assertEqual("cpython-" + abi[2:], "-".join(sysconfig.get_config_var("SOABI").split("-")[:2]))

    def test_places(self):
        facts = json.loads(ask(sys.executable).out)
        scheme = "venv" if "venv" in sysconfig.get_scheme_names() else "posix_prefix"
        base = {"base": "/v", "platbase": "/v", "installed_base": "/v", "installed_platbase": "/v"}
        self.assertEqual("/v/" + facts["site_packages"], sysconfig.get_path("purelib", scheme, base))

    def test_packaging_agrees(self):
        try:
            from pip._vendor.packaging import tags
        except ImportError:
            self.skipTest("no pip")
        facts = interpreter.facts()
        supported = set(map(str, tags.sys_tags()))
        tag = "cp%d%d-%s-" % (sys.version_info[0], sys.version_info[1], facts["abi"])
        platform = "manylinux_%d_%d_%s" % (tuple(facts["libc"]["version"]) + (facts["machine"],))
        if facts["libc"]["name"] == "glibc" and not any("manylinux_2_" in name for name in supported):
            self.skipTest("a packaging too old for manylinux_2_N")
        self.assertIn(tag + platform, supported)

    def test_libc(self):
        self.assertEqual(interpreter._two_numbers("2.17-c758a686"), [2, 17])
        self.assertEqual(interpreter._two_numbers("1.2.3"), [1, 2])
        self.assertEqual(interpreter._two_numbers(""), [0, 0])
        loader = os.path.join(self.root, "ld-musl-x86_64.so.1")
        with open(loader, "w") as file:
            file.write("#!/bin/sh\nprintf 'musl libc (x86_64)\\nVersion 1.2.3\\nDynamic Program Loader\\n' >&2; exit 1\n")
        os.chmod(loader, 0o755)
        self.assertEqual(interpreter._musl_version(loader), [1, 2])
        confstr = os.confstr
        try:
            os.confstr = lambda name: (_ for _ in ()).throw(ValueError("unrecognized configuration name"))
            self.assertEqual(interpreter._libc(loader), {"name": "musl", "version": [1, 2]})
            self.assertEqual(interpreter._libc(None), {"name": "unknown", "version": [0, 0]})
        finally:
            os.confstr = confstr

    def test_program_header(self):
        machine, loader = interpreter._program_header(os.path.realpath(sys.executable))
        self.assertEqual(machine, os.uname().machine)
        self.assertTrue(os.path.exists(loader), loader)
        narrow = bytearray(84 + 32)
        narrow[:6] = b"\x7fELF\x01\x01"
        narrow[18:20] = (3).to_bytes(2, "little")
        narrow[28:32] = (52).to_bytes(4, "little")
        narrow[42:44], narrow[44:46] = (32).to_bytes(2, "little"), (1).to_bytes(2, "little")
        narrow[52:56], narrow[56:60], narrow[68:72] = b"\3\0\0\0", b"\x60\0\0\0", b"\x05\0\0\0"
        narrow[0x60:0x65] = b"/lib\0"
        self.assertEqual(interpreter._parse_elf(io.BytesIO(bytes(narrow))), ("i686", "/lib"))
        self.assertEqual(interpreter._program_header(__file__), (None, None))

    def test_real_musl(self):
        loader = shutil.which("ld-musl-x86_64.so.1", path="/lib")
        if not loader:
            self.skipTest("no musl")
        self.assertGreater(interpreter._musl_version(loader), [1, 0])


if __name__ == "__main__":
    unittest.main()
