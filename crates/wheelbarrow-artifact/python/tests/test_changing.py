"""Who else may write the artifact: it is read once, into a copy that nobody else reaches."""

import os
import sys
import unittest

from case import Case
from support import SOURCES, run

sys.path.insert(0, SOURCES)
import artifact  # noqa: E402

# Exchanges the bytes of the artifact once it was opened, as whoever may write it can.
CHANGING = """
import runpy, sys
zip = sys.argv[1]
sys.path.insert(0, sys.argv[2])
import artifact
opened = artifact.opened
def changing(path):
    file = opened(path)
    with open(zip, "r+b") as written:
        written.truncate(0)
        written.write(b"another" * 100)
    return file
artifact.opened = changing
import bootstrap, interpreter
facts = interpreter.facts(sys.argv[3] + "/venv")
options = {"destination": sys.argv[3], "replace": False, "pip": True, "compile": "never", "quiet": True, "json": False}
sys.exit(bootstrap.install(zip, facts, options))
"""


class Changing(Case):
    def opened(self):
        file = artifact.opened(self.zip)
        self.addCleanup(file.close)
        file.seek(0)
        return file

    def is_copied(self):
        file = self.opened()
        self.assertEqual(file.read(), b"the good bytes")
        return os.fstat(file.fileno()).st_ino != os.stat(self.zip).st_ino

    def setUp(self):
        super().setUp()
        # Below /tmp, where everybody may write, but nobody may exchange what is another's.
        os.chmod(self.root, 0o755)
        with open(self.zip, "wb") as file:
            file.write(b"the good bytes")

    def test_what_nobody_else_may_write_is_read_itself(self):
        self.assertFalse(self.is_copied())
        os.chmod(self.root, 0o1777)
        self.assertFalse(self.is_copied(), "a directory that is sticky")

    def test_what_somebody_else_may_write_is_copied(self):
        for mode in (0o664, 0o646):
            os.chmod(self.zip, mode)
            self.assertTrue(self.is_copied(), oct(mode))
        os.chmod(self.zip, 0o644)
        for mode in (0o775, 0o757):
            os.chmod(self.root, mode)
            self.assertTrue(self.is_copied(), oct(mode))
        os.chmod(self.root, 0o755)
        if os.geteuid() == 0:
            os.chown(self.root, 4321, -1)
            self.assertTrue(self.is_copied())
            os.chown(self.root, 0, -1)
            os.chown(self.zip, 4321, -1)
            self.assertTrue(self.is_copied())

    def test_a_copy_has_no_name_and_stays_as_it_was(self):
        os.chmod(self.zip, 0o666)
        os.environ["TMPDIR"] = self.root
        self.addCleanup(os.environ.pop, "TMPDIR")
        before = os.listdir(self.root)
        file = self.opened()
        self.assertEqual(os.listdir(self.root), before)
        self.assertEqual(os.fstat(file.fileno()).st_mode & 0o077, 0)
        with open(self.zip, "wb") as written:
            written.write(b"other bytes")
        self.assertEqual(file.read(), b"the good bytes")

    def test_only_a_regular_file_is_opened(self):
        os.remove(self.zip)
        os.mkfifo(self.zip)
        for path in (self.zip, "/dev/null"):
            with self.assertRaises(OSError) as raised:
                artifact.opened(path)
            self.assertIn("not a regular file", str(raised.exception))

    def test_what_is_judged_is_installed(self):
        self.make()
        os.chmod(self.zip, 0o666)
        result = run([sys.executable, "-B", "-c", CHANGING, self.zip, SOURCES, self.dest])
        self.assertEqual(result.code, 0, result)
        with open(self.zip, "rb") as file:
            self.assertTrue(file.read().startswith(b"another"), "it was changed")
        self.assertEqual(run([self.dest + "/venv/bin/demo"]).out, "demo runs\n")


if __name__ == "__main__":
    unittest.main()
