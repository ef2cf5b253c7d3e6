"""Artifacts and wheels that are broken or hostile, and refused."""

import io
import os
import shutil
import sys
import unittest
import zipfile

from case import SITE, Case, without_note
from make_artifact import _info, make_wheel
from support import SOURCES, Result

sys.path.insert(0, SOURCES)

import bootstrap  # noqa: E402
import interpreter  # noqa: E402
from failure import Failure  # noqa: E402
from manifest import read_manifest  # noqa: E402


class Broken(Case):
    """Each is refused with 3 before DEST exists."""

    def refuse(self, recipe, *words, **keywords):
        recipe.write(self.zip, **keywords)
        self.assertRefused(self.install(), 3, *words)

    def install(self):
        """In this process: there are many of them."""
        options = {"destination": self.dest, "replace": False, "pip": True, "compile": "never", "quiet": False, "json": False}
        facts = interpreter.facts(self.dest + "/venv")
        before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        try:
            code = bootstrap.install(self.zip, facts, options)
            out, err = (stream.buffer.getvalue().decode("utf-8") for stream in (sys.stdout, sys.stderr))
        finally:
            sys.stdout, sys.stderr = before
        return without_note(Result(code, out, err))

    def test_altered_bytes(self):
        self.make()
        with open(self.zip, "rb") as file:
            data = bytearray(file.read())
        with zipfile.ZipFile(self.zip) as archive:
            infos = archive.infolist()
        for info in infos:
            place = info.header_offset + 30 + len(info.filename) + info.compress_size // 2
            if info.compress_size < 3:
                continue
            data[place] ^= 0x55
            with open(self.zip, "wb") as file:
                file.write(data)
            self.assertRefused(self.install(), 3)
            data[place] ^= 0x55

    def test_many_terabytes_are_not_copied(self):
        self.make()
        os.chmod(self.zip, 0o666)  # what others may write is copied before it is read
        os.truncate(self.zip, 1 << 42)
        self.assertRefused(self.install(), 1, "no artifact has 4 GB")

    def test_truncated_or_longer(self):
        self.make()
        with open(self.zip, "rb") as file:
            data = file.read()
        with open(self.zip, "ab") as file:
            file.write(b"x")
        self.assertRefused(self.install(), 3, "appended")
        with open(self.zip, "wb") as file:
            file.write(b"#!/bin/sh\n" + data)
        self.assertRefused(self.install(), 3)

    def test_member_replaced_with_right_crc(self):
        recipe = self.recipe()
        recipe.describe_members()
        recipe.members["mysite/app/settings.py"] = (b"NAME = 'x'\n ", "file")
        self.refuse(recipe, "settings.py", "SHA-256")

    def test_member_missing_or_unknown(self):
        recipe = self.recipe()
        recipe.describe_members()
        del recipe.members["mysite/app/settings.py"]
        self.refuse(recipe, "the zip does not have it")
        recipe = self.recipe()
        self.refuse(recipe, "the manifest does not name it", extra=[(_info("mysite/more.py", 0o100644, 8), b"")])

    def test_kinds(self):
        recipe = self.recipe()
        recipe.describe_members()
        data, _ = recipe.members["mysite/app/settings.py"]
        recipe.members["mysite/app/settings.py"] = (data, "executable")
        self.refuse(recipe, "kind")
        self.refuse(self.recipe(members={"loadenv.py": (b"x", "link")}), "is a link")

    def test_names(self):
        for name in ("mysite/../../x", "/etc/x", "mysite//x", "mysite/./x", "..", "other/x", "README"):
            with self.subTest(name=name):
                self.refuse(self.recipe(members={name: (b"", "file")}))

    def test_duplicates_and_directories(self):
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.refuse(self.recipe(), "two members", extra=[(_info("mysite/app/settings.py", 0o100644, 8), b"")])
        self.refuse(self.recipe(), "empty/", extra=[(_info("mysite/empty/", 0o040755, 0), b"")])

    def test_methods_and_encryption(self):
        self.refuse(
            self.recipe(), "compression method 12", extra=[(_info("mysite/x.py", 0o100644, zipfile.ZIP_BZIP2), b"x" * 99)]
        )
        self.make()
        with open(self.zip, "rb") as file:
            data = bytearray(file.read())
        start = data.rindex(b"PK\1\2", 0, data.rindex(b"mysite/app/settings.py"))
        data[start + 8] |= 1
        with open(self.zip, "wb") as file:
            file.write(data)
        self.assertRefused(self.install(), 3, "encrypted")

    def test_overlap(self):
        self.make()
        with open(self.zip, "rb") as file:
            data = bytearray(file.read())
        first = data.rindex(b"PK\1\2", 0, data.rindex(b"mysite/app/settings.py"))
        second = data.rindex(b"PK\1\2", 0, data.rindex(b"static.in/0/logo.svg"))
        data[second + 42 : second + 46] = data[first + 42 : first + 46]
        with open(self.zip, "wb") as file:
            file.write(data)
        self.assertRefused(self.install(), 3)

    def test_links(self):
        for target in (b"/etc/passwd", b"../../x", b"../../../x", b"", b"a\0b", b"x/../../../y"):
            with self.subTest(target=target):
                self.refuse(self.recipe(members={"mysite/app/l": (target, "link")}))
        recipe = self.recipe(members={"mysite/app/l": (b".", "link"), "mysite/app/l/x": (b"", "file")})
        self.refuse(recipe, "mysite/app/l is both a directory and a file or link")

    def test_links_by_other_links(self):
        out, name = "the link leads out of the project", "`..` behind a name that is not a directory"
        for words, links in (
            (out, {"l": ".."}),
            (out, {"s": ".", "t": "s/s/../etc"}),
            (out, {"s": ".", "t": "s/s/s/s/../../../../etc"}),
            (out, {"app/up": "..", "t": "app/up/../x"}),
            (name, {"l": "gone/../app"}),
            (name, {"l": "app/settings.py/../x"}),
            (name, {"l": "m/../app", "m": "gone"}),
            ("more than 40 links", {"a": "b/x", "b": "a/x"}),
            (
                "more than 40 links",
                dict({"n0": "."}, **{"n%d" % n: "n%d/n%d/." % (n - 1, n - 1) for n in range(1, 9)}, t="n8/app"),
            ),
        ):
            with self.subTest(links=links):
                members = {"mysite/" + path: (target.encode("ascii"), "link") for path, target in links.items()}
                self.refuse(self.recipe(members=members), words)
        links = {"l": "m/../app/settings.py", "m": "app", "app/up": "..", "n": "app/up/app", "a": "b", "b": "a", "g": "gone/x"}
        members = {"mysite/" + path: (target.encode("ascii"), "link") for path, target in links.items()}
        self.recipe(members=members).write(self.zip)
        self.assertInstalled(self.install())
        for path, target in links.items():
            self.assertEqual(os.readlink("%s/mysite/%s" % (self.dest, path)), target)

    def test_a_chain_of_links(self):
        for length, taken in ((40, True), (41, False)):
            links = {"l%d" % n: "l%d/../app" % (n - 1) for n in range(1, length + 1)}
            links["l0"] = "app"
            members = {"mysite/" + path: (target.encode("ascii"), "link") for path, target in links.items()}
            if taken:
                self.recipe(members=members).write(self.zip)
                self.assertInstalled(self.install())
                shutil.rmtree(self.dest)
            else:
                self.refuse(self.recipe(members=members), "more than 40 links")

    def test_directories_that_are_files_too(self):
        for paths in (["mysite/sub", "mysite/sub/x"], ["mysite/sub/x/y", "mysite/sub"], [".wheelbarrow/manifest.json/x"]):
            with self.subTest(paths=paths):
                self.refuse(self.recipe(members=dict.fromkeys(paths, (b"", "file"))), "is both a directory and a file")

    def test_control_characters_in_names(self):
        for name in (
            "mysite/\x01ctl",
            "mysite/a\nb",
            "mysite/\x7f",
            "mysite/\x9b",
            "mysite/\u202e",
            "mysite/\u2069",
            "\u2028.pth",
        ):
            with self.subTest(name=ascii(name)):
                self.refuse(self.recipe(members={name: (b"", "file")}), "a member has the name")
        for name in ("esc\x1b.py", "a\nb.py", "\u202e.py", "demo-1.data/data/\x1b"):
            with self.subTest(wheel=ascii(name)):
                self.refuse(self.recipe([make_wheel("evil", "1", {name: b""})]), "evil", "a member has the name")
        for key in ("directory", "import_path"):
            recipe = self.recipe()
            recipe.manifest["project"][key] = "mysite" if key == "directory" else "mysite/\x1b"
            if key == "directory":
                recipe.manifest["project"].update(directory="my\x1bsite", import_path="my\x1bsite")
            self.refuse(recipe, "project." + key)

    def test_manifests(self):
        for words, edit in [
            ("unknown format 0", lambda manifest: manifest.update(format=0)),
            ("unknown key 'extra'", lambda manifest: manifest.update(extra=1)),
            ("lacks name", lambda manifest: manifest.pop("name")),
            ("targets[0].python", lambda manifest: manifest["targets"][0].update(python=3)),
            ("unknown key", lambda manifest: manifest["targets"][0].update(more=3)),
            ("no target", lambda manifest: manifest.update(targets=[])),
            ("whole number", lambda manifest: manifest["members"][0].update(size=True)),
            ("whole number", lambda manifest: manifest["members"][0].update(size=-1)),
            ("not a SHA-256", lambda manifest: manifest["members"][0].update(sha256="00")),
            ("not one of", lambda manifest: manifest["members"][0].update(kind="pipe")),
            ("not one of", lambda manifest: manifest["environment"].update(precedence="no")),
            ("project.directory", lambda manifest: manifest["project"].update(directory="..")),
            ("twice", lambda manifest: manifest["members"].append(manifest["members"][0])),
            ("not in it", lambda manifest: manifest["wheels"][0].update(path="wheels/x.whl")),
            ("not described", lambda manifest: manifest["targets"][0].update(pip="bootstrap_wheels/x.whl")),
        ]:
            with self.subTest(words=words):
                recipe = self.recipe()
                recipe.describe_members()
                edit(recipe.manifest)
                self.refuse(recipe, words)
        recipe = self.recipe()
        recipe.describe_members()
        recipe.manifest.update(format=2, built_by="wheelbarrow 9.0.0", more=1)
        recipe.write(self.zip)
        self.assertRefused(self.install(), 19, "has format 2", "wheelbarrow 9.0.0")
        for data in (b"", b"[]", b"{", b'{"format": 1, "format": 1}', b"\xff", b"[" * 100000):
            with self.assertRaises(Failure):
                read_manifest(data, "x")
        with self.assertRaises(Failure) as refused:
            read_manifest(b'{"format": 1, "members": [%s0]}' % (b"0," * 600000), "x")
        self.assertIn("more than 500000 values", refused.exception.cause)

    def test_hostile_wheels(self):
        bad = {
            "large": {"evil-1.dist-info/entry_points.txt": b"#" * (2 << 20)},
            "parent": {"../../../../../x": b""},
            "absolute": {"/tmp/x": b""},
            "escape": {"evil-1.data/data/../../../x": b""},
            "scheme": {"evil-1.data/unknown/x": b""},
            "bare": {"evil-1.data/x": b""},
            "python": {"evil-1.data/scripts/python": b""},
            "cfg": {"evil-1.data/data/pyvenv.cfg": b""},
            "cfg beside Python": {"evil-1.data/scripts/PyVenv.cfg": b""},
            "pth of Python": {"evil-1.data/data/bin/python._pth": b""},
            "pth of another Python": {"evil-1.data/data/Bin/Python3.12._PTH": b""},
            "build of Python": {"evil-1.data/scripts/pybuilddir.txt": b""},
            "through a link": {"evil-1.data/scripts/python3/x": b""},
            "file and directory": {"a": b"", "a/b": b""},
            "loadenv": {"loadenv.py": b""},
            "backslash": {"..\\x": b""},
            "two infos": {"other-1.dist-info/METADATA": b""},
        }
        for reason, files in bad.items():
            with self.subTest(reason=reason):
                self.refuse(self.recipe([make_wheel("evil", "1", files)]))
        with self.subTest(reason="link"):
            self.refuse(self.recipe([make_wheel("evil", "1", {"l": b"/etc"}, modes={"l": 0o120777})]), "is a link")
        for text in (
            "../x = a:b",
            "x = a",
            "x = a:b;import os",
            "x = a b:c",
            "= a:b",
            "x = a:b.",
            "/x = a:b",
            "Python._pth = a:b",
            "pyvenv.cfg = a:b",
        ):
            with self.subTest(entry=text):
                self.refuse(self.recipe([make_wheel("evil", "1", {}, entry_points="[console_scripts]\n" + text)]), "entry point")
        for wheel_version in ("2.0", "x", "1\n .0"):
            self.refuse(self.recipe([make_wheel("evil", "1", {}, wheel_version=wheel_version)]), "Wheel-Version")
        self.refuse(self.recipe([("evil-1-py3-none-any.whl", b"no zip")]), "evil-1-py3-none-any.whl")
        name, data = make_wheel("other", "1", {})
        self.refuse(self.recipe([("evil-1-py3-none-any.whl", data)]), "not of evil")

    def test_wheel_with_bad_crc_or_cut(self):
        name, data = make_wheel("evil", "1", {"evil.py": b"x" * 1000})
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            place = archive.getinfo("evil.py").header_offset
        for change in (14, 22):
            bad = bytearray(data)
            bad[place + change] ^= 1
            central = bad.index(b"PK\1\2")
            bad[central + change + 2] ^= 1
            with self.subTest(change=change):
                self.refuse(self.recipe([(name, bytes(bad))]), name)
        self.refuse(self.recipe([(name, data[:-30])]), name)

    def test_two_wheels_write_one_path(self):
        one, two = make_wheel("one", "1", {"same.py": b"1"}), make_wheel("two", "1", {"same.py": b"2"})
        self.refuse(self.recipe([one, two]), "wheels/one", "wheels/two", "same.py")
        entry = "[console_scripts]\nsame = %s:main\n"
        one = make_wheel("one", "1", {}, entry_points=entry % "one")
        two = make_wheel("two", "1", {}, entry_points=entry % "two")
        self.refuse(self.recipe([one, two]), "venv/bin/same")
        # The same bytes are no quarrel; both list them.
        one, two = make_wheel("one", "1", {"same.py": b"1"}), make_wheel("two", "1", {"same.py": b"1"})
        self.recipe([one, two]).write(self.zip)
        self.assertInstalled(self.install())
        for name in ("one", "two"):
            self.assertIn("same.py,sha256=", self.read(SITE + "/%s-1.dist-info/RECORD" % name))


if __name__ == "__main__":
    unittest.main()
