"""What the controller reads of artifacts."""

import hashlib
import json
import zipfile

import pytest

from ansible_collections.wheelbarrow.deploy.plugins.module_utils.artifact import Artifact, NoArtifact


def write(path, members):
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    # As the writer does it, with a line in front.
    path.write_bytes(b"#!/usr/bin/env python3\n" + path.read_bytes())
    return str(path)


def test_an_artifact_is_known_by_its_manifest(tmp_path):
    manifest = json.dumps({"name": "mysite", "version": "1"})
    members = {".wheelbarrow/manifest.json": manifest, ".wheelbarrow/native/linux-x86_64": b"\x7fELF"}
    artifact = Artifact(write(tmp_path / "a.zip", members))
    assert (artifact.name, artifact.version) == ("mysite", "1")
    assert artifact.manifest_sha256 == hashlib.sha256(manifest.encode()).hexdigest()
    assert artifact.machines == ["x86_64"]
    assert artifact.program("x86_64") == b"\x7fELF"
    with pytest.raises(NoArtifact, match="no program for aarch64"):
        artifact.program("aarch64")


@pytest.mark.parametrize("members", [{}, {".wheelbarrow/manifest.json": "{"}, {".wheelbarrow/manifest.json": "[]"}])
def test_what_is_none_is_told(tmp_path, members):
    with pytest.raises(NoArtifact, match="is no artifact"):
        Artifact(write(tmp_path / "a.zip", members))


def test_neither_is_a_file_of_another_kind(tmp_path):
    (tmp_path / "a.zip").write_text("hello")
    for path in ("a.zip", "missing.zip"):
        with pytest.raises(NoArtifact):
            Artifact(str(tmp_path / path))
