"""An artifact to be installed by the second way, and what tests of it ask again and again."""

import os
import sys
import tempfile
import unittest

from make_artifact import Recipe, make_wheel, project_members
from support import SOURCES, run

sys.path.insert(0, SOURCES)


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
        'Demo_Pkg-1.0.data/purelib/with,comma ".py': b"",
        "Demo_Pkg-1.0.dist-info/RECORD.jws": b"{}",
    },
    modes={"demo/tool": 0o100755},
    entry_points="# comment\n[console_scripts]\ndemo = demo:cli.main [extra]\n[gui_scripts]\ndemo-gui=demo:cli.main\n[other]\nx = y\n",
)


def without_note(result):
    """Artifacts of these tests carry no bytecode, and each run says so."""
    told = "note: the artifact has no bytecode for Python "
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
