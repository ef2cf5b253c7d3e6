"""What the controller reads of artifacts."""

import hashlib
import json
import struct
import zipfile

import pytest
from ansible_collections.wheelbarrow.deploy.plugins.module_utils.artifact import Artifact, NoArtifact

MANIFEST = ".wheelbarrow/manifest.json"
PROGRAM = ".wheelbarrow/native/linux-x86_64"
ELF = b"\x7fELF" * 9


def write(path, members):
    """As the writer does it, with a line in front that the offsets count."""
    with open(str(path), "wb") as out:
        out.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(out, "w") as file:
            for name, data in members.items():
                info = zipfile.ZipInfo(name)
                info.create_system, info.external_attr = 3, 0o100644 << 16
                file.writestr(info, data)
    return str(path)


def manifest(program=ELF):
    described = {"path": PROGRAM, "sha256": hashlib.sha256(program).hexdigest()}
    return json.dumps({"name": "mysite", "version": "1", "members": [described]})


def ordinary(path):
    return write(path, {PROGRAM: ELF, MANIFEST: manifest()})


def test_an_artifact_is_known_by_its_manifest(tmp_path):
    artifact = Artifact(ordinary(tmp_path / "a.zip"))
    assert (artifact.name, artifact.version) == ("mysite", "1")
    assert artifact.manifest_sha256 == hashlib.sha256(manifest().encode()).hexdigest()
    assert artifact.machines == ["x86_64"]
    assert artifact.program("x86_64") == ELF
    with pytest.raises(NoArtifact, match="no program for aarch64"):
        artifact.program("aarch64")


def test_a_program_that_the_manifest_does_not_name_is_refused(tmp_path):
    artifact = Artifact(write(tmp_path / "a.zip", {PROGRAM: ELF, MANIFEST: manifest(b"another")}))
    with pytest.raises(NoArtifact, match="altered"):
        artifact.program("x86_64")


THIN = ".wheelbarrow/thin.json"


@pytest.mark.parametrize(
    "thin",
    [
        '{"format": 1, "left_out": [], "left_out": ["a"]}',
        '{"format": 2, "format": 1, "left_out": []}',
        '{"format": 1, "left_out": [], "more": 1}',
        '{"format": 1}',
        '{"format": 2, "left_out": []}',
        '{"format": true, "left_out": []}',
        '{"format": 1, "left_out": [1]}',
        '{"format": 1, "left_out": {}}',
        "[]",
        "no JSON",
    ],
)
def test_another_thin_json_is_refused(tmp_path, thin):
    Artifact(write(tmp_path / "good.zip", {THIN: '{"format": 1, "left_out": ["a"]}', MANIFEST: manifest()}))
    with pytest.raises(NoArtifact):
        Artifact(write(tmp_path / "bad.zip", {THIN: thin, MANIFEST: manifest()}))


def test_a_manifest_with_a_key_twice_is_refused(tmp_path):
    twice = manifest().replace('"name": "mysite"', '"name": "mysite", "name": "other"')
    with pytest.raises(NoArtifact, match="twice"):
        Artifact(write(tmp_path / "a.zip", {PROGRAM: ELF, MANIFEST: twice}))


def in_comment(whole, other):
    """The other zip in the comment of this one, where zipfile finds its end first."""
    return whole[:-2] + struct.pack("<H", len(other)) + other


def with_zip64_end(whole, other):
    """This zip's end, behind records that lead readers of zip64 to the other zip's directory."""
    count, length, offset = struct.unpack("<H2I", other[-12:-2])
    directory = other[offset : offset + length]
    at = len(whole) - 22
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, at)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, at + length, 1)
    return whole[:at] + directory + record + locator + whole[at:]


@pytest.mark.parametrize(
    "change",
    [
        in_comment,
        with_zip64_end,
        lambda whole, other: other + whole,
        lambda whole, other: b"#!/bin/sh\nexit\n" + whole,
        lambda whole, other: whole + b"more",
        lambda whole, other: whole[whole.index(b"\n") + 1 :],
        lambda whole, other: whole[:-1],
    ],
)
def test_all_that_another_reader_could_see_differently_is_refused(tmp_path, change):
    with open(ordinary(tmp_path / "a.zip"), "rb") as file:
        whole = file.read()
    other = write(tmp_path / "b.zip", {PROGRAM: b"#" * len(ELF), MANIFEST: manifest(b"#" * len(ELF))})
    with open(other, "rb") as file:
        changed = change(whole, file.read())
    (tmp_path / "a.zip").write_bytes(changed)
    with pytest.raises(NoArtifact):
        Artifact(str(tmp_path / "a.zip"))


@pytest.mark.parametrize("members", [{}, {".wheelbarrow/manifest.json": "{"}, {".wheelbarrow/manifest.json": "[]"}])
def test_what_is_none_is_told(tmp_path, members):
    with pytest.raises(NoArtifact, match="is no artifact"):
        Artifact(write(tmp_path / "a.zip", members))


def test_neither_is_a_file_of_another_kind(tmp_path):
    (tmp_path / "a.zip").write_text("hello")
    for path in ("a.zip", "missing.zip"):
        with pytest.raises(NoArtifact):
            Artifact(str(tmp_path / path))
