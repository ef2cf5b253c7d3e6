"""What was verified is what is used."""

import os
import sys

import pytest
from ansible_collections.wheelbarrow.deploy.plugins.plugin_utils.verified import NotVerified, main, verified

# Exchanges the artifact once it has verified a file, as whoever may write there can.
EXCHANGING = """#!%s
import sys
if open(sys.argv[2]).read() != "signed" or sys.argv[1::2] != ["verify", "--allowed-signers=SIGNERS"]:
    sys.exit("error: " + sys.argv[2] + " is not signed")
with open(%r, "w") as file:
    file.write("exchanged")
"""


@pytest.fixture
def artifact(tmp_path):
    path = tmp_path / "site.zip"
    path.write_text("signed")
    return str(path)


@pytest.fixture
def executable(tmp_path, artifact):
    path = tmp_path / "wheelbarrow"
    path.write_text(EXCHANGING % (sys.executable, artifact))
    path.chmod(0o755)
    return str(path)


def test_an_artifact_that_is_exchanged_after_the_verification_is_not_used(tmp_path, artifact, executable):
    with verified(artifact, "SIGNERS", executable, str(tmp_path)) as copy:
        with open(artifact) as file:
            assert file.read() == "exchanged"
        with open(copy) as file:
            assert file.read() == "signed"
        assert os.path.basename(copy) == "site.zip"
        assert os.stat(os.path.dirname(copy)).st_mode & 0o777 == 0o700
    assert not os.path.exists(os.path.dirname(copy))


def test_a_command_gets_the_copy(artifact, executable, capfd):
    code = "import sys; print(open(sys.argv[1]).read(), sys.argv[2])"
    words = ["SIGNERS", executable, artifact, sys.executable, "-c", code, "{}", "unit"]
    assert main(words) == 0
    assert capfd.readouterr().out == "signed unit\n"
    # Now it is another.
    assert main(words) == 17
    out, err = capfd.readouterr()
    assert (out, err) == ("", "error: %s is not signed\n" % artifact)


def test_nothing_is_used_without_a_verification(tmp_path, artifact):
    with pytest.raises(NotVerified, match="No such file"):
        with verified(artifact, "SIGNERS", str(tmp_path / "missing")):
            raise AssertionError("not verified")
    os.unlink(artifact)
    with pytest.raises(NotVerified, match="site.zip cannot be copied"):
        with verified(artifact, "SIGNERS", str(tmp_path / "missing")):
            raise AssertionError("not verified")
