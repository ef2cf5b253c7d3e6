"""Runs these tests under every Python of this machine: those of pyenv and the system's. A line for each.

Where pyenv is, fewer than three minor versions are a failure: the promise is about versions.
`WHEELBARROW_TURN=1/3` leaves out all but every third, from the second on, of those between the oldest and the newest.
"""

import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile

from support import clean_environment, interpreters, run

HERE = os.path.dirname(os.path.abspath(__file__))
# Real wheels that every Python from 3.6 on can have; installed by pip and by us, and compared.
WHEELS = ["Django==3.2.25", "asgiref==3.4.1", "sqlparse==0.4.4", "pytz==2024.1", "typing_extensions==4.1.1", "gunicorn==21.2.0"]


def fetch(directory):
    """Real wheels, if an index can be reached; the tests that want them are skipped without."""
    environment = clean_environment()
    environment.update({name: value for name, value in os.environ.items() if name in ("PIP_CERT", "PIP_INDEX_URL")})
    environment["PIP_FIND_LINKS"] = ""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", directory]
    command += ["--disable-pip-version-check", "--python-version=3.6", "--timeout=20", "--retries=1"]
    try:
        result = run(command + WHEELS, timeout=120, environment=environment)
    except subprocess.TimeoutExpired:
        return "no answer from the index"
    return "" if result.code == 0 else (result.err.strip().splitlines() or ["pip failed"])[-1]


def test(python, wheels, names):
    command = [python, "-m", "unittest", "-v"] + names
    environment = clean_environment(WHEELBARROW_TEST_WHEELS=wheels, PYTHONDONTWRITEBYTECODE="1")
    return run(command, timeout=900, environment=environment, cwd=HERE)


def version_of(python):
    return run([python, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"]).out.strip()


def number(version):
    return tuple(map(int, version.split(".")))


def taking_turns(found):
    """All of them, or those whose turn it is; the oldest and the newest in any case."""
    if "WHEELBARROW_TURN" not in os.environ:
        return found
    first, of = map(int, os.environ["WHEELBARROW_TURN"].split("/"))
    turns = []
    for place, (python, version) in enumerate(found):
        if place in (0, len(found) - 1) or (place - 1) % of == first:
            turns.append((python, version))
        else:
            print("%-8s skipped: it is not its turn (WHEELBARROW_TURN)  %s" % (version, python))
    return turns


def main():
    names = sys.argv[1:] or sorted(name[:-3] for name in os.listdir(HERE) if re.match(r"test_.*\.py$", name))
    found = [(python, version_of(python)) for python in interpreters()]
    found = [(python, version) for python, version in found if number(version) >= (3, 6)]
    found = taking_turns(sorted(found, key=lambda one: number(one[1])))
    failed, minors = [], set()
    with tempfile.TemporaryDirectory() as wheels:
        problem = fetch(wheels)
        if problem:
            print("real wheels: skipped, %s" % problem)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            pythons = {pool.submit(test, python, wheels, names): (python, version) for python, version in found}
            for future in concurrent.futures.as_completed(pythons):
                python, version = pythons[future]
                result = future.result()
                minors.add(version.rsplit(".", 1)[0])
                ran = re.search(r"Ran (\d+) tests? in (\S+)", result.err)
                skipped = re.findall(r"^(\w+) .*skipped (['\"])(.*)\2$", result.err, re.MULTILINE)
                print(
                    "%-8s %s  %s tests in %s  %s" % (
                        version, "ok    " if result.code == 0 else "FAILED", ran.group(1) if ran else "no",
                        ran.group(2) if ran else "-", python,
                    ),
                    flush=True,
                )  # fmt: skip
                for name, _, reason in skipped:
                    print("           skipped %s: %s" % (name, reason))
                if result.code:
                    failed.append(version)
                    print(result.err)
    if failed:
        sys.exit("failed under %s" % ", ".join(sorted(failed)))
    if not minors:
        sys.exit("no Python 3.6 or later was found")
    if os.path.isdir(os.path.expanduser("~/.pyenv/versions")) and len(minors) < 3:
        sys.exit("only %s ran, though pyenv is here" % ", ".join(sorted(minors)))


if __name__ == "__main__":
    main()
