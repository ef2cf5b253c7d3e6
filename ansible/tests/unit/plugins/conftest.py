"""A wheelbarrow that says what a test wants, and modules run in this process."""

import json
import os

import pytest
from ansible.module_utils import basic


class Exit(Exception):
    """How a module ended."""

    def __init__(self, result):
        super().__init__(result)
        self.result = result


class Host:
    """A site root, and a program `wheelbarrow` that answers from a list and writes down what it was asked."""

    def __init__(self, directory, monkeypatch):
        self.directory, self.monkeypatch = directory, monkeypatch
        self.root = directory / "site"
        self.program = directory / "wheelbarrow"
        self.answers, self.asked, self.input = [], [], []

    def make_root(self):
        (self.root / ".wheelbarrow").mkdir(parents=True)

    def install(self):
        self.program.write_text("")
        self.program.chmod(0o755)

    def says(self, verb, answer, code=0, err=""):
        """What the next `wheelbarrow VERB` says."""
        out = json.dumps(answer) if not isinstance(answer, str) else answer
        self.answers.append((verb, (code, out, err)))

    def run_command(self, module, words, data=None, **_options):
        assert words[0] == str(self.program) or words[1].endswith(".zip"), words
        words = words[1:] if words[0] == str(self.program) else words[2:]
        verb, answer = self.answers.pop(0)
        assert words[0] == verb, "asked for %s and not %s" % (words, verb)
        assert words[-3:] == ["--root", str(self.root), "--json"]
        self.asked.append(" ".join(words[:-3]))
        self.input.append(data)
        return answer

    def run(self, main, check=False, **params):
        """Runs a module; its result, with `failed`."""
        params = dict(params, root=str(self.root), executable=str(self.program), _ansible_check_mode=check)
        text = json.dumps({"ANSIBLE_MODULE_ARGS": params}).encode()
        self.monkeypatch.setattr(basic, "_ANSIBLE_ARGS", text)
        # ansible-core 2.19 and later want to know how they are written.
        self.monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        patch = self.monkeypatch.setattr
        patch(basic.AnsibleModule, "exit_json", lambda module, **result: _exit(result, False))
        patch(basic.AnsibleModule, "fail_json", lambda module, **result: _exit(result, True))
        patch(basic.AnsibleModule, "run_command", self.run_command_of())
        try:
            main()
        except Exit as ended:
            assert self.answers == [], "not asked for"
            return ended.result
        raise AssertionError("the module has not ended")

    def run_command_of(self):
        def run_command(module, words, **options):
            return self.run_command(module, words, **options)

        return run_command


def _exit(result, failed):
    raise Exit(dict(result, failed=failed))


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A host with nothing on it."""
    os.makedirs(tmp_path, exist_ok=True)
    return Host(tmp_path, monkeypatch)


@pytest.fixture
def host(bare):
    """One with the program and a root."""
    bare.install()
    bare.make_root()
    return bare
