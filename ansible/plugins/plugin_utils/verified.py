"""A private copy of an artifact that `wheelbarrow verify` has accepted.

Whoever can write where the artifact is can exchange it after it was verified. So the copy is verified, and only the copy is used.

As a program, verified.py SIGNERS EXECUTABLE ARTIFACT COMMAND...: run COMMAND with the path of the copy in place of the word {}.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile

PLACE = "{}"
# Of `wheelbarrow verify`, for an artifact that nobody allowed has signed.
NOT_SIGNED = 17


class NotVerified(Exception):
    """The artifact is not signed by an allowed signer, or was not verified."""


@contextlib.contextmanager
def verified(artifact, signers, executable, directory=None):
    """The path of the copy, which lasts as long as the context; made in `directory`, else where temporary files are."""
    place = tempfile.mkdtemp(prefix="wheelbarrow-", dir=directory)
    try:
        copy = os.path.join(place, os.path.basename(artifact))
        try:
            shutil.copyfile(artifact, copy)
        except OSError as error:
            raise NotVerified("%s cannot be copied: %s" % (artifact, error.strerror or error))
        _verify(copy, artifact, signers, executable)
        yield copy
    finally:
        shutil.rmtree(place)


def _verify(copy, artifact, signers, executable):
    command = [executable, "verify", copy, "--allowed-signers=%s" % signers]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    except OSError as error:
        raise NotVerified("%s on the controller: %s" % (executable, error.strerror))
    if done.returncode:
        printed = done.stderr.decode("utf-8", "replace").strip().replace(copy, artifact)
        raise NotVerified(printed or "%s ended with %d" % (executable, done.returncode))


def main(words):
    signers, executable, artifact = words[:3]
    try:
        with verified(artifact, signers, executable) as copy:
            return subprocess.call([copy if word == PLACE else word for word in words[3:]])
    except NotVerified as error:
        sys.stderr.write("%s\n" % error)
        return NOT_SIGNED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
