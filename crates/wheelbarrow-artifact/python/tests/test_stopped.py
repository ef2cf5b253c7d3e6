"""An install that is stopped, and what it leaves."""

import fcntl
import glob
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest

from case import SITE, Case
from make_artifact import make_wheel
from support import SOURCES, clean_environment, tree

sys.path.insert(0, SOURCES)

import beneath  # noqa: E402
import staging  # noqa: E402
from calls import exchange_directories  # noqa: E402
from failure import Failure  # noqa: E402
from staging import Staging  # noqa: E402


class Stopped(Case):
    """Wherever it is stopped: DEST is complete or as before, and the next run cleans up."""

    def big(self):
        files = {"big/m%d.py" % number: b"#" * 2000 for number in range(3000)}
        self.make([make_wheel("big", "1", files)])

    def start(self, *arguments):
        command = [sys.executable, self.zip, "-d", self.dest, "--bootstrap"]
        return subprocess.Popen(
            command + list(arguments), env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

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

    @unittest.skipUnless(os.getuid() == 0, "only root makes directories of another user")
    def test_what_another_user_made_takes_the_place_of_nothing(self):
        self.make()
        ends = ("00000001", "next", "old")
        for owner, mode in ((0, 0o1777), (0, 0o777), (4321, 0o755)):
            os.chown(self.root, owner, -1)
            os.chmod(self.root, mode)
            for end in ends:
                os.makedirs("%s/.dest.wheelbarrow-%s/theirs" % (self.root, end))
                os.chown("%s/.dest.wheelbarrow-%s" % (self.root, end), 4321, -1)
            if mode == 0o1777:
                Staging(os.fsencode(self.dest)).put_right()
                self.assertFalse(os.path.exists(self.dest))
            os.mkdir(self.dest)
            self.assertEqual(self.install().code, 0)
            self.assertTrue(os.path.exists(self.dest + "/.wheelbarrow"))
            self.assertEqual(sorted(self.leftovers()), [".dest.wheelbarrow-" + end for end in ends])
            for name in self.leftovers() + ["dest"]:
                shutil.rmtree(os.path.join(self.root, name))

    def test_a_leftover_that_is_deep(self):
        self.make()
        os.chdir(self.root)
        self.addCleanup(os.chdir, SOURCES)
        os.mkdir(".dest.wheelbarrow-00000001")
        os.chdir(".dest.wheelbarrow-00000001")
        for _ in range(1500):
            os.mkdir("deep")
            os.chdir("deep")
        os.chdir(self.root)
        result = self.install()
        self.assertInstalled(result)
        # What its site made there later.
        os.chdir(self.dest + "/.wheelbarrow")
        for _ in range(1500):
            os.mkdir("deep")
            os.chdir("deep")
        os.chdir(self.root)
        self.assertInstalled(self.install("--replace"))
        self.assertFalse(os.path.lexists(self.dest + "/.wheelbarrow/deep"))

    def test_what_cannot_be_removed_stays(self):
        tree = os.path.join(self.root, "tree")
        os.makedirs(tree + "/a/b/c")
        os.symlink(self.project, tree + "/a/b/link")
        for name in ("one", "a/two", "a/b/c/three"):
            with open(os.path.join(tree, name), "w"):
                pass
        patience, beneath.PATIENCE = beneath.PATIENCE, 0
        beneath.remove(os.fsencode(tree))
        self.assertTrue(os.path.exists(tree + "/a/b/c/three"), "there was no time")
        beneath.PATIENCE = patience
        beneath.remove(os.fsencode(tree))
        self.assertFalse(os.path.lexists(tree))
        self.assertTrue(os.path.exists(self.project + "/app/settings.py"))
        for path in ("link", "zip"):
            os.symlink(self.project, os.path.join(self.root, "link")) if path == "link" else self.make()
            beneath.remove(os.fsencode(self.zip if path == "zip" else os.path.join(self.root, "link")))
        self.assertTrue(os.path.lexists(self.root + "/link") and os.path.exists(self.zip))

    def test_a_lock_that_is_exchanged_or_leased_all_the_time(self):
        self.make()
        locked, lock = staging._Locked(os.fsencode(self.root) + b"/.dest.wheelbarrow-lock"), self.root + "/.dest.wheelbarrow-lock"
        locked.PATIENCE = 0.2
        if hasattr(fcntl, "F_SETLEASE"):
            held = os.open(lock, os.O_RDWR | os.O_CREAT)
            before = signal.signal(signal.SIGIO, signal.SIG_IGN)
            self.addCleanup(signal.signal, signal.SIGIO, before)
            fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            started = time.time()
            with self.assertRaises(Failure) as caught:
                locked.__enter__()
            self.assertEqual((caught.exception.code, time.time() - started < 5), (15, True))
            os.close(held)
            os.unlink(lock)
        # By whoever may write beside it.
        flock = fcntl.flock
        self.addCleanup(setattr, fcntl, "flock", flock)

        def exchange(held, flags):
            flock(held, flags)
            os.rename(lock, lock + "ed")
            with open(lock, "w"):
                pass

        fcntl.flock = exchange
        with self.assertRaises(Failure) as caught:
            locked.__enter__()
        self.assertEqual(caught.exception.code, 15)

    def test_without_the_exchanging_rename(self):
        import calls

        original = calls.exchange_directories
        calls.exchange_directories = lambda first, second: False
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
            calls.exchange_directories = original

    def test_exchange(self):
        first, second = (os.path.join(os.fsencode(self.root), name) for name in (b"one", b"two"))
        os.mkdir(first)
        os.mkdir(second)
        inode = os.stat(first).st_ino
        if not exchange_directories(first, second):
            self.skipTest("no exchanging rename here")
        self.assertEqual(os.stat(second).st_ino, inode)


if __name__ == "__main__":
    unittest.main()
