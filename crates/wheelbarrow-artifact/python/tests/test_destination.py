"""What may stand at the destination of an install, and what has no room there."""

import os
import shutil
import sys
import unittest

from case import SITE, Case
from support import SOURCES, out_of_reach, run, tree

sys.path.insert(0, SOURCES)


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
        os.makedirs(self.dest + "/mysite/__pycache__", exist_ok=True)
        with open(self.dest + "/mysite/__pycache__/x.cpython-312.pyc", "w"):
            pass
        self.assertInstalled(self.install("--replace"))

    def assertHeld(self, named):
        result = self.install("--replace")
        self.assertEqual((result.code, result.out, self.leftovers()), (5, "", []), result)
        self.assertIn("holds files that were written after the install: " + named, result.err)
        self.assertIn("--discard-data", result.err)

    def test_replace_what_was_written(self):
        self.assertInstalled(self.install())
        for name in ["/db.sqlite3", "/mysite/a\\b", "/" + SITE + "/loadenv.py"]:
            with open(self.dest + name, "a") as file:
                file.write("#")
        os.symlink("x", self.dest + "/mysite/link")
        before = tree(self.dest)
        named = "db.sqlite3, mysite/a\\b, mysite/link, %s/loadenv.py" % SITE
        self.assertHeld(named)
        self.assertEqual(self.install("--discard-data").code, 2)
        checked = self.install("--replace", "--check")
        self.assertEqual(checked.code, 5, checked)
        self.assertIn(named, checked.out)
        self.assertEqual(tree(self.dest), before)
        self.assertInstalled(self.install("--replace", "--discard-data"))
        self.assertFalse(os.path.exists(self.dest + "/db.sqlite3"))

    def test_a_file_that_vanishes_meanwhile(self):
        import data

        self.assertInstalled(self.install())
        os.makedirs(self.dest + "/cache/inner")
        listdir = os.listdir
        self.addCleanup(setattr, os, "listdir", listdir)
        os.listdir = lambda path: listdir(path) + [b"gone"]
        self.assertEqual(data.find(os.fsencode(self.dest)), ([], 0))

        def vanish(path):
            names = listdir(path)
            if b"cache" in names:
                os.removedirs(self.dest + "/cache/inner")
            return names

        os.listdir = vanish
        self.assertEqual(data.find(os.fsencode(self.dest)), ([], 0))

    def test_what_has_another_size_is_not_read(self):
        self.assertInstalled(self.install())
        (record,) = [name for name in os.listdir(os.path.join(self.dest, SITE)) if name.lower().startswith("demo_pkg")]
        for name in ["mysite/app/settings.py", SITE + "/demo/__init__.py", SITE + "/%s/RECORD" % record, "venv/pyvenv.cfg"]:
            path = os.path.join(self.dest, name)
            size = os.stat(path).st_size
            os.truncate(path, 1 << 42)  # nobody could wait for that
            self.assertHeld(name)
            os.truncate(path, size)
        self.assertInstalled(self.install("--replace"))

    def test_replace_an_install_with_an_altered_receipt(self):
        self.assertInstalled(self.install())
        with open(self.dest + "/.wheelbarrow/receipt.json", "w") as file:
            file.write("{}")
        self.assertHeld("mysite/")
        self.assertInstalled(self.install("--replace", "--discard-data"))

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

    def test_large_environment(self):
        self.assertInstalled(self.install())
        path = self.dest + "/environment.json"
        with open(path, "w") as file:
            file.truncate(1 << 42)
        for arguments in (["--replace"], ["--replace", "--check"]):
            result = self.install(*arguments)
            self.assertEqual((result.code, self.leftovers()), (7, []), result)
            self.assertIn("environment.json is larger than 1 MB", result.err + result.out)
        os.truncate(path, 1 << 20)
        self.assertInstalled(self.install("--replace"))
        self.assertEqual(os.stat(path).st_size, 1 << 20)
        # One that becomes so large once it was looked at.
        with open(path, "a") as file:
            file.write("x")
        copy = os.path.join(self.root, "copy")
        os.mkdir(copy)
        import bootstrap
        import failure

        with self.assertRaises(failure.Failure) as caught:
            bootstrap._keep_environment(os.fsencode(self.dest), os.fsencode(copy))
        self.assertEqual(caught.exception.code, 7)

    @unittest.skipUnless(os.getuid() == 0, "needs root")
    def test_another_users_directory_where_everybody_may_write(self):
        os.mkdir(self.dest)
        os.chown(self.dest, 4321, 4321)
        os.chmod(self.root, 0o1777)
        for content in (None, "environment.json", ".wheelbarrow/receipt.json"):
            if content:
                os.makedirs(os.path.dirname(os.path.join(self.dest, content)), exist_ok=True)
                with open(os.path.join(self.dest, content), "w") as file:
                    file.write("{}")
            result = self.install("--replace")
            self.assertEqual((result.code, result.out, self.leftovers()), (5, "", []), result)
            self.assertIn("belongs to another user (4321)", result.err)
            checked = self.install("--replace", "--check")
            self.assertIn("belongs to another user (4321)", checked.out, checked)
        shutil.rmtree(self.dest)
        # Elsewhere the owner stays, and that of the directory around it anywhere.
        for parent, mode in ((0, 0o755), (4321, 0o1777)):
            os.chown(self.root, parent, -1)
            os.chmod(self.root, mode)
            os.mkdir(self.dest)
            os.chown(self.dest, 4321, 4321)
            self.assertInstalled(self.install())
            self.assertEqual(os.stat(self.dest).st_uid, 4321)
            shutil.rmtree(self.dest)

    @unittest.skipUnless(os.getuid() == 0, "needs root")
    def test_no_right(self):
        os.chmod(os.path.dirname(self.root), 0o755)
        hidden = out_of_reach(sys.executable, self.root)
        if hidden:
            self.skipTest(hidden)
        code = "import os, sys; os.setuid(65534); os.execv(sys.argv[1], sys.argv[1:])"
        result = run([sys.executable, "-c", code, sys.executable, self.zip, "--bootstrap", "-d", self.dest])
        self.assertRefused(result, 5, "no right to write")


if __name__ == "__main__":
    unittest.main()
