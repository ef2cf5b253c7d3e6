"""The door: what it tells the native installer, where that cannot run, and how it ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest

from case import Case, without_note
from support import SOURCES, clean_environment, interpreters, run

# A native installer for these tests; the kernel runs a script from a memfd as it does a program.
NATIVE = b"""#!/bin/sh
cat > "$REQUEST"
ls -l /proc/self/fd > "$REQUEST.open" 2>&1
readlink "$0" > "$REQUEST.path"
echo result; echo note >&2
exit ${CODE:-0}
"""

TAKING = """
import os, subprocess
start = subprocess.Popen.__init__
def taken(self, *arguments, **keywords):
    start(self, *arguments, **keywords)
    os.waitpid(self.pid, 0)
subprocess.Popen.__init__ = taken
"""

# Whoever may write in a directory puts his own program there before the installer starts.
EXCHANGING = """
import os, subprocess
start = subprocess.Popen.__init__
def exchange(self, *arguments, **keywords):
    root = %r
    for name in os.listdir(root):
        if "wheelbarrow-" in name:
            os.rename(os.path.join(root, name), os.path.join(root, "exchanged"))
            os.mkdir(os.path.join(root, name))
            for program in ("installer", "wheelbarrow"):
                with open(os.path.join(root, name, program), "w", opener=lambda path, flags: os.open(path, flags, 0o755)) as file:
                    file.write("#!/bin/sh\\necho another\\n")
    start(self, *arguments, **keywords)
subprocess.Popen.__init__ = exchange
"""


class Door(Case):
    def start(self, *arguments, **environment):
        environment.setdefault("REQUEST", os.path.join(self.root, "request"))
        return run([sys.executable, self.zip] + list(arguments), **environment)

    def request(self):
        with open(os.path.join(self.root, "request"), "rb") as file:
            request, facts = (json.loads(line) for line in file.read().decode("ascii").splitlines())
        return dict(request, interpreter=facts)

    def test_a_host_that_may_have_signers(self):
        signers = os.path.join(self.root, "etc", "signers")
        recipe = self.recipe()
        door = recipe.members["__main__.py"][0].replace(b"/etc/wheelbarrow/allowed_signers", signers.encode("utf-8"))
        recipe.members["__main__.py"] = (door, "file")
        recipe.write(self.zip)
        above = os.path.dirname(signers)

        def file():
            os.mkdir(above)
            open(signers, "w").close()

        def link_to_nowhere():
            os.mkdir(above)
            os.symlink("nowhere", signers)

        def below_a_file():
            open(above, "w").close()

        # As where the directory may not be searched, also for root.
        def in_a_loop():
            os.symlink("etc", above)

        for make in (file, link_to_nowhere, below_a_file, in_a_loop):
            with self.subTest(make.__name__):
                make()
                self.assertRefused(self.install(), 17, "accepts signed artifacts only", signers)
                shutil.rmtree(above) if os.path.isdir(above) else os.unlink(above)
        self.assertInstalled(self.install())

    def test_the_request(self):
        self.make(native=NATIVE)
        for arguments, wanted in [
            ([], {"replace": False, "pip": True, "check": False, "quiet": False, "json": False}),
            (
                ["--replace", "--without-pip", "--quiet", "--json"],
                {"replace": True, "pip": False, "check": False, "quiet": True, "json": True},
            ),
            (
                ["--check", "--compile=never"],
                {"replace": False, "pip": True, "compile": "never", "check": True, "quiet": False, "json": False},
            ),
            (
                ["--store", self.root + "/x/../store", "--link-mode=copy"],
                {
                    "replace": False,
                    "pip": True,
                    "check": False,
                    "quiet": False,
                    "json": False,
                    "store": self.root + "/store",
                    "link_mode": "copy",
                },
            ),
        ]:
            wanted.setdefault("compile", "auto")
            wanted.setdefault("store", None)
            wanted.setdefault("link_mode", "hardlink")
            result = self.start("-d", self.dest, *arguments)
            if wanted["check"] and not hasattr(os, "memfd_create"):
                # A check writes no program; without a memfd (Python 3.6 and 3.7) it is Python that checks.
                self.assertIn("fallback installer", result.err)
                continue
            self.assertEqual(result, (0, "result\n", "note\n"))
            request = self.request()
            self.assertEqual(set(request), {"artifact", "interpreter", "options"})
            self.assertEqual(request["artifact"], self.zip)
            self.assertEqual(request["options"], dict(wanted, destination=self.dest))
            self.assertEqual(request["interpreter"]["virtualenv"]["path"], self.dest + "/venv")

    def test_paths_are_absolute_and_of_the_file_that_was_started(self):
        self.make(native=NATIVE)
        os.symlink("site.zip", self.root + "/link.zip")
        environment = clean_environment(REQUEST=self.root + "/request")
        for name in ("site.zip", "./site.zip", "link.zip"):
            result = run([sys.executable, name, "-d", "x/../dest/"], environment=environment, cwd=self.root)
            self.assertEqual(result.code, 0, result)
            request = self.request()
            self.assertEqual(request["artifact"], os.path.join(self.root, os.path.basename(name)))
            self.assertEqual(request["options"]["destination"], self.dest)
        os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
        if run(["sh", "-c", "python3 -V"]).code == 0:
            self.assertEqual(run(["./site.zip", "-d", "dest"], environment=environment, cwd=self.root).code, 0)

    def test_exit_codes_pass(self):
        self.make(native=NATIVE)
        for code in (0, 1, 3, 5, 77, 130):
            self.assertEqual(self.start("-d", self.dest, CODE=str(code)).code, code)

    def test_runs_from_memory_and_leaves_nothing(self):
        self.make(native=NATIVE)
        self.assertEqual(self.start("-d", self.dest).code, 0)
        with open(self.root + "/request.path") as file:
            path = file.read()
        self.assertEqual("memfd:" in path, hasattr(os, "memfd_create"), path)
        self.assertEqual(self.leftovers(), [])

    def start_from_a_file(self, code, *arguments):
        """Where no program can be run from memory. `code` goes before all."""
        code += "import os, runpy, sys\nif hasattr(os, 'memfd_create'):\n    def refuse(*_):\n        raise OSError(1, 'no')\n"
        code += "    os.memfd_create = refuse\nsys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
        environment = {"REQUEST": self.root + "/request", "TMPDIR": self.root}
        return run([sys.executable, "-c", code, self.zip] + list(arguments), **environment)

    def test_from_a_private_file(self):
        self.make(native=NATIVE)
        self.assertEqual(self.start_from_a_file("", "-d", self.dest), (0, "result\n", "note\n"))
        self.assertEqual(self.leftovers(), [])

    def test_a_private_file_that_is_exchanged_is_not_run(self):
        self.make(native=NATIVE)
        for arguments in (["-d", self.dest], ["status", "--root", "x"]):
            self.assertEqual(self.start_from_a_file(EXCHANGING % self.root, *arguments), (0, "result\n", "note\n"))
            self.assertTrue(os.path.exists(self.root + "/exchanged"))
            shutil.rmtree(self.root + "/exchanged")

    def test_what_cannot_run_here(self):
        dying = b"#!/bin/sh\nkill -%s $$\n"
        broken_elf = b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\2\0\xff\xff" + b"\0" * 100
        for native in (None, b"not a program", broken_elf, dying % b"SYS", dying % b"ILL"):
            with self.subTest(native=native):
                self.make(native=native)
                result = without_note(self.start("-d", self.dest, "--replace", "--compile", "never"))
                self.assertEqual((result.code, result.err.count("\n")), (0, 1), result)
                self.assertTrue(result.err.startswith("note: "), result.err)
                self.assertEqual(result.out, "installed mysite 1.0 in %s (1 wheel)\n" % self.dest)
                self.assertEqual(self.leftovers(), [])
        self.make(native=dying % b"KILL")
        self.assertEqual(self.start("-d", self.dest).code, 137)

    def test_forced(self):
        self.make(native=NATIVE)
        result = without_note(self.start("-d", self.dest, "--bootstrap"))
        self.assertEqual((result.code, result.err), (0, ""))
        self.assertFalse(os.path.exists(self.root + "/request"))
        result = without_note(self.start("-d", self.dest, "--bootstrap", "--replace", "--store", "store"))
        self.assertEqual(
            (result.code, result.err), (0, "note: the fallback installer does not use a store: store is left as it is\n")
        )

    def test_commands_are_done_by_the_native_program(self):
        self.make(native=b"#!/bin/sh\nprintf '%s\\n' \"$@\"; exit 6\n")
        result = self.start("deploy", "--root", "a b")
        self.assertEqual((result.code, result.err), (6, ""), result)
        lines = result.out.splitlines()
        self.assertEqual((lines[0], lines[2:]), (self.zip, ["deploy", "--root", "a b"]))
        self.assertTrue(os.access(lines[1], os.X_OK), lines)
        self.assertEqual(self.leftovers(), [])
        self.make(native=None)
        result = self.start("status", "--root", "x")
        self.assertEqual((result.code, result.err.count("\n")), (4, 3), result)
        self.assertIn("-d DEST installs", result.err)

    def test_usage(self):
        self.make()
        for arguments in ([], ["--nonsense", "-d", "x"], ["-d"], ["--dest", "x"]):
            result = self.start(*arguments)
            self.assertEqual((result.code, result.out), (2, ""), result)
            self.assertTrue(result.err.startswith("error: "), result.err)
            self.assertEqual(result.err.count("\n"), 2)
        result = self.start("--help")
        self.assertEqual((result.code, result.err), (0, ""))
        self.assertIn("site.zip -d /srv/site", result.out)
        self.assertEqual(self.start("--version"), (0, "mysite 1.0 (tests 0)\n", ""))
        self.assertEqual(run(["sh", "-c", '"$0" "$1" --help | head -1 >/dev/null', sys.executable, self.zip]).err, "")

    def test_words_that_are_no_commands(self):
        self.make()
        for word, hint in [
            ("depoly", "did you mean `deploy`?"),
            ("build", "`wheelbarrow build` is a command of the program that builds, not of an artifact"),
            ("qqqq", "the commands are: deploy, activate, "),
        ]:
            result = self.start(word, "--root", "x")
            self.assertEqual((result.code, result.out), (2, ""), result.err)
            self.assertIn("error: unrecognized subcommand '%s'\nhint: %s" % (word, hint), result.err)
        told = self.start("--help").out
        self.assertEqual(told.count("rollback"), 1, told)
        self.assertIn("\ncommands: deploy, activate, ", told)

    def test_hostile_surroundings(self):
        # A read-only file, no HOME, no standard streams, a site named like a module of Python.
        shutil.copytree(self.project, self.root + "/other")
        members = {"mysite.pth": (b"", "file"), "json.pth": (b"../../../../json\n", "file")}
        for shadow in ("json", "zipfile", "argparse", "ensurepip"):
            self.project = self.root + "/other"
            recipe = self.recipe(members=members)
            recipe.members = {path.replace("mysite/", shadow + "/"): value for path, value in recipe.members.items()}
            recipe.members[shadow + "/__init__.py"] = (b"raise SystemExit('shadowed')\n", "file")
            recipe.manifest["project"].update(directory=shadow, import_path=shadow)
            recipe.write(self.zip)
            self.assertEqual(self.start("-d", self.dest, "--bootstrap", "--replace", "--quiet").err, "")
        self.make(native=NATIVE)
        os.chmod(self.zip, 0o444)
        os.chmod(self.root, 0o755)
        environment = {"PATH": os.environ["PATH"], "REQUEST": self.root + "/request"}
        for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            os.path.exists(self.root + "/request") and os.remove(self.root + "/request")
            result = run(
                ["sh", "-c", '"$0" "$1" -d "$2" ' + closed, sys.executable, self.zip, self.dest], environment=environment
            )
            self.assertEqual(result.code, 0, (closed, result))
            self.request()
        result = run(["sh", "-c", '"$0" "$1" -d "$2" --bootstrap --replace <&- >&- 2>&-', sys.executable, self.zip, self.dest])
        self.assertEqual(result.code, 0)
        self.assertTrue(os.path.exists(self.dest + "/venv/bin/demo"))

    def start_in_removed_directory(self, *arguments, **environment):
        os.mkdir(self.root + "/gone")
        code = 'cd "$1/gone" && rmdir ../gone && shift && exec "$0" "$@"'
        environment.setdefault("REQUEST", os.path.join(self.root, "request"))
        result = without_note(run(["sh", "-c", code, sys.executable, self.root] + list(arguments), **environment))
        # Which the native installer of these tests is a script of.
        return result._replace(err=result.err.replace("sh: 0: getcwd() failed: No such file or directory\n", ""))

    def test_a_working_directory_that_was_removed(self):
        self.make(native=NATIVE)
        os.mkdir(self.root + "/x")
        for artifact, destination in ((self.zip, self.dest), ("../site.zip", "../dest"), ("../x/../site.zip", "../x/../dest")):
            self.assertEqual(self.start_in_removed_directory(artifact, "-d", destination), (0, "result\n", "note\n"))
            self.assertEqual(self.request()["artifact"], self.zip)
            self.assertEqual(self.request()["options"]["destination"], self.dest)
            result = self.start_in_removed_directory(
                artifact, "-d", destination, "--bootstrap", "--replace", "--compile", "never"
            )
            self.assertInstalled(result)
            self.assertEqual(run([self.dest + "/venv/bin/demo"]).out, "demo runs\n")
        for destination in ("dest", "./dest", "."):
            for extra in ([], ["--bootstrap"], ["--check"]):
                result = self.start_in_removed_directory("../site.zip", "-d", destination, *extra)
                self.assertEqual((result.code, result.out, result.err.count("\n")), (5, "", 3), result)
                self.assertIn("the working directory was removed, and %s is relative to it" % destination, result.err)

    def test_commands_in_a_working_directory_that_was_removed(self):
        self.make(native=b"#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
        result = self.start_in_removed_directory("../site.zip", "status", "--root", "../r")
        self.assertEqual((result.code, result.err), (0, ""), result)
        self.assertEqual(result.out.splitlines()[0], self.zip)

    def test_the_working_directory_is_the_destination(self):
        self.make()
        self.assertInstalled(self.install())
        command = [sys.executable, "../site.zip", "-d", ".", "--bootstrap", "--replace", "--compile", "never"]
        result = without_note(run(command, cwd=self.dest))
        self.assertEqual((result.code, result.out), (0, "installed mysite 1.0 in %s (1 wheel)\n" % self.dest), result)
        self.assertEqual(
            result.err, "note: the working directory was replaced: run `cd '%s'` to enter the new install\n" % self.dest
        )
        self.assertEqual(without_note(run(command + ["--quiet"], cwd=self.dest)).err, "")
        self.assertEqual(run([self.dest + "/venv/bin/demo"]).out, "demo runs\n")

    def test_no_bytecode_is_written(self):
        self.make()
        environment = clean_environment()
        self.assertNotIn("PYTHONDONTWRITEBYTECODE", environment)
        run([sys.executable, self.zip, "-d", self.dest, "--bootstrap", "--compile", "never"], environment=environment)
        for directory, directories, _ in os.walk(self.root):
            self.assertNotIn("__pycache__", directories, directory)

    def test_not_utf8(self):
        self.make()
        result = run([os.fsencode(sys.executable), os.fsencode(self.zip), b"-d", os.fsencode(self.root) + b"/\xff"])
        self.assertEqual((result.code, result.err.count("\n")), (5, 2), result)

    def test_not_a_zip(self):
        result = run([sys.executable, os.path.join(SOURCES, "__main__.py"), "-d", self.dest])
        self.assertNotEqual(result.code, 0)

    def test_signals_reach_the_installer_and_are_waited_for(self):
        waiting = b"#!/bin/sh\ntrap 'echo cleaned; exit 9' INT TERM HUP\necho started\nwhile :; do sleep 0.05; done\n"
        self.make(native=waiting)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process = subprocess.Popen([sys.executable, self.zip, "-d", self.dest], env=clean_environment(),
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip
            self.assertEqual(process.stdout.readline(), b"started\n")
            process.send_signal(number)
            out, err = process.communicate(timeout=30)
            self.assertEqual((process.returncode, out, err), (128 + number, b"cleaned\n", b""))

    def test_signals_that_the_parent_ignores_or_blocks(self):
        def inherit():
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD])

        status = b"grep -E '^Sig(Blk|Ign)' /proc/self/status >&2\nexit 5\n"
        for native in (b"#!/bin/sh\n" + status, None):
            self.make(native=native)
            os.makedirs(os.path.join(self.dest, "held"), exist_ok=True)
            command = [sys.executable, self.zip, "-d", self.dest]
            process = subprocess.Popen(
                command, env=clean_environment(), preexec_fn=inherit, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            out, err = process.communicate()
            self.assertEqual(process.returncode, 5, err)
            for line in err.decode().splitlines():
                if line.startswith("Sig"):
                    self.assertEqual(int(line.split()[1], 16) & (1 << 14 | 1 << 16), 0, line)

    def test_a_status_that_somebody_else_has_taken(self):
        self.make(native=b"#!/bin/sh\nexit 0\n")
        # A thread that waits for any child, as a sitecustomize of an init or a test runner may do.
        with open(os.path.join(self.root, "sitecustomize.py"), "w") as file:
            file.write(TAKING)
        result = self.start("-d", self.dest, PYTHONPATH=self.root)
        self.assertEqual((result.code, "exit status" in result.err), (1, True), result.err)

    def test_interrupt_at_any_time_has_no_traceback(self):
        self.make(native=b"#!/bin/sh\nexec sleep 5\n")
        for delay in range(0, 30, 5):
            process = subprocess.Popen(
                [sys.executable, self.zip, "-d", self.dest], env=clean_environment(), stderr=subprocess.PIPE
            )
            time.sleep(0.05 + delay / 100)
            process.send_signal(signal.SIGINT)
            err = process.communicate(timeout=30)[1]
            if process.returncode != 130 or err:  # Python itself, before it came to the door
                self.assertNotIn(b"site.zip/", err)


class OldPython(Case):
    def test_python_2(self):
        old = [path for path in sorted(os.listdir(os.path.expanduser("~/.pyenv/versions"))) if path.startswith("2.")] if os.path.isdir(
            os.path.expanduser("~/.pyenv/versions")) else []  # fmt: skip
        if not old:
            self.skipTest("no Python 2")
        self.make()
        python = os.path.expanduser("~/.pyenv/versions/%s/bin/python" % old[-1])
        result = run([python, self.zip, "-d", self.dest])
        self.assertEqual((result.code, result.out, result.err.count("\n")), (2, "", 1), result)
        self.assertIn("needs Python 3.6 or newer", result.err)
        self.assertFalse(os.path.exists(self.dest))

    def test_finds_interpreters(self):
        self.assertTrue(interpreters())


if __name__ == "__main__":
    unittest.main()
