"""How much room an install takes, compared with what it has taken, and with what there is."""

import json
import os
import shutil
import sys
import unittest

from case import DEMO, Case
from make_artifact import make_wheel
from support import SOURCES, run, tree

sys.path.insert(0, SOURCES)

import interpreter  # noqa: E402
import space  # noqa: E402
from artifact import Artifact  # noqa: E402

BLOCK = 4096


def taken(root):
    """Bytes of whole blocks and inodes of a tree, the root's inode included."""
    size, inodes = 0, 1
    for directory, directories, files in os.walk(root):
        for name in directories + files:
            path = os.path.join(directory, name)
            inodes += 1
            if os.path.isdir(path) and not os.path.islink(path):
                size += BLOCK
            elif not os.path.islink(path):
                size += -(-os.path.getsize(path) // BLOCK) * BLOCK
    return size, inodes


class Space(Case):
    def needed(self, **options):
        facts = interpreter.facts(self.dest + "/venv")
        options = dict({"destination": self.dest, "compile": "auto", "pip": True}, **options)
        with open(self.zip, "rb") as file:
            archive = Artifact(file, "site.zip")
            room = space.needed(archive, archive.target(facts), facts, options, BLOCK)
        return room.bytes, room.inodes

    def test_what_an_install_takes(self):
        modules = {"many/m%d.py" % number: b"x = %d\n" % number * 900 for number in range(200)}
        self.make([DEMO, make_wheel("many", "1", modules)])
        for arguments, options in (
            (["--compile", "auto"], {}),
            (["--compile", "never"], {"compile": "never"}),
            (["--compile", "never", "--without-pip"], {"compile": "never", "pip": False}),
        ):
            self.assertInstalled(self.install(*arguments))
            size, inodes = taken(self.dest)
            told = self.needed(**options)
            # What a module compiles to is as large as it by and large; these are nearly that.
            self.assertLess(abs(told[0] / size - 1), 0.35 if options == {} else 0.01, (arguments, told, size))
            self.assertLessEqual(abs(told[1] - inodes), 2, (arguments, told, inodes))
            shutil.rmtree(self.dest)

    @unittest.skipUnless(os.getuid() == 0 and shutil.which("mount"), "needs root")
    def test_too_little(self):
        small = os.path.join(self.root, "small")
        os.mkdir(small)
        if run(["mount", "-t", "tmpfs", "-o", "size=2m,nr_inodes=20", "tmpfs", small]).code:
            self.skipTest("cannot mount a tmpfs")
        self.addCleanup(run, ["umount", "-l", small])
        self.make([make_wheel("big", "1", {"big.py": b"\0" * (8 << 20)})])
        self.dest = small + "/dest"
        result = run([sys.executable, self.zip, "-d", self.dest, "--check", "--json", "--bootstrap"])
        told = [finding["what"].split(" in ")[0] for finding in json.loads(result.out)["findings"]]
        self.assertEqual((result.code, told), (6, ["not enough space", "not enough inodes"]))
        result = self.install()
        self.assertEqual((result.code, tree(small)), (6, {}), result)
        self.assertIn("error: not enough space in ", result.err)


if __name__ == "__main__":
    unittest.main()
