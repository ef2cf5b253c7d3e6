"""Thin artifacts: the native program comes out of a store, compared with the manifest; Python alone takes none."""

import hashlib
import json
import os
import platform
import sys
import unittest
import zipfile

from case import Case
from make_artifact import _info
from support import SOURCES, run

sys.path.insert(0, SOURCES)

import thin  # noqa: E402

NATIVE = b"#!/bin/sh\nprintf '%s\\n' \"$@\"; cat >/dev/null; exit 6\n"
MEMBER = ".wheelbarrow/native/linux-" + platform.machine()
NAME = hashlib.sha256(NATIVE).hexdigest()


class Thin(Case):
    def setUp(self):
        super().setUp()
        recipe = self.recipe(native=NATIVE)
        recipe.describe_members()
        del recipe.members[MEMBER]
        text = json.dumps({"format": 1, "left_out": [MEMBER]}).encode("ascii")
        recipe.write(self.zip, extra=[(_info(".wheelbarrow/thin.json", 0o100644, zipfile.ZIP_DEFLATED), text)])
        self.store = os.path.join(self.root, "site root", "store")
        os.makedirs(self.store + "/programs")

    def keep(self, data, name=NAME):
        with open(os.path.join(self.store, "programs", name), "wb") as file:
            file.write(data)

    def start(self, *arguments, **environment):
        return run([sys.executable, self.zip] + list(arguments), cwd=self.root, **environment)

    def test_commands_run_the_program_of_the_store(self):
        self.keep(NATIVE)
        root = os.path.dirname(self.store)
        for words, environment in (
            (["deploy", "--root", "site root"], {}),
            (["deploy", "--root=" + root], {}),
            (["status"], {"WHEELBARROW_ROOT": root}),
        ):
            with self.subTest(words=words):
                result = self.start(*words, **environment)
                self.assertEqual((result.code, result.out.splitlines()[2:]), (6, words), result)
        result = self.start("-d", self.dest, "--store", self.store)
        self.assertEqual((result.code, result.out, result.err), (6, "\n", ""), result)
        self.assertEqual(self.leftovers(), [])

    def test_nothing_is_run_that_is_another(self):
        self.keep(NATIVE.replace(b"exit 6", b"exit 7"))
        self.assertRefused(self.start("deploy", "--root", "site root"), 18, "thin", "the store of site root does not have it")
        for words in (["deploy"], ["deploy", "--root"], ["exec", "--", "--root", "site root"]):
            self.assertRefused(self.start(*words), 18, "--root is missing")
        result = self.start("-d", self.dest, "--store", self.store)
        self.assertEqual((result.code, result.out), (18, ""), result)
        self.assertIn("is thin", result.err)

    def test_only_a_regular_file_is_read(self):
        program = os.path.join(self.store, "programs", NAME)
        for make in (os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)):
            make(program)
            self.assertRefused(self.start("deploy", "--root", "site root"), 18, "thin", "does not have it")
            (os.rmdir if os.path.isdir(program) else os.unlink)(program)

    def test_another_thin_json(self):
        for code, text in (
            (3, '{"format": 1, "left_out": [], "left_out": ["%s"]}' % MEMBER),
            (3, '{"format": 2, "format": 1, "left_out": []}'),
            (3, '{"format": 1, "left_out": [], "more": 1}'),
            (3, '{"format": 1, "left_out": [null]}'),
            (3, '{"format": 1, "left_out": ["loadenv.py"]}'),
            (3, '{"format": true, "left_out": []}'),
            (3, "[" * 100000),
            (19, '{"format": 2, "left_out": {}}'),
        ):
            with self.subTest(text=text[:99]):
                data = text.encode("ascii")
                self.recipe().write(self.zip, extra=[(_info(".wheelbarrow/thin.json", 0o100644, zipfile.ZIP_DEFLATED), data)])
                self.assertRefused(self.install(), code)
                self.assertFalse(thin.is_thin(self.zip))

    def test_python_alone_takes_none(self):
        self.assertRefused(self.install(), 18, "is thin", "use the full artifact")
        result = self.start("-d", self.dest, "--check", "--bootstrap", "--json")
        self.assertEqual((result.code, json.loads(result.out)["findings"][0]["exit_code"]), (18, 18))

    def test_a_name_that_leads_elsewhere(self):
        with open(self.root + "/elsewhere", "wb") as file:
            file.write(NATIVE)
        recipe = self.recipe(native=NATIVE)
        recipe.describe_members()
        for member in recipe.manifest["members"]:
            if member["path"] == MEMBER:
                member["sha256"] = "../../elsewhere"
        recipe.write(self.zip, extra=[(_info(".wheelbarrow/thin.json", 0o100644, zipfile.ZIP_DEFLATED), b"{}")])
        self.assertIsNone(thin.program(self.zip, MEMBER.rsplit("/", 1)[1], self.store))

    def test_the_last_root_counts(self):
        self.assertEqual(thin.root_of(["deploy", "--root", "a", "--root=b"]), "b")
        self.assertEqual(thin.root_of(["deploy", "--rooted", "a"]), os.environ.get("WHEELBARROW_ROOT"))


if __name__ == "__main__":
    unittest.main()
