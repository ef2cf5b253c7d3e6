"""Runs wheelbarrow on a host and reads the JSON that it prints. Runs on Python 3.6 and later."""

import json
import os

from ansible.module_utils.basic import AnsibleModule

# Where programs are put that no distribution has brought.
USUAL_PLACES = ["/usr/local/bin"]

COMMON = {
    "root": {"type": "path", "required": True},
    "executable": {"type": "str", "default": "wheelbarrow"},
}
CHANGES = {
    "wait": {"type": "int", "default": 60},
    "deploy_id": {"type": "str"},
}
# What a host knows of services that only one host of a fleet may run.
SINGLETONS = ("runs", "said_by", "since", "services")


class Failed(Exception):
    """wheelbarrow ended with an exit code; `failure` is what it says of that."""

    def __init__(self, failure):
        Exception.__init__(self, failure["error"])
        self.failure = failure


class Runner(object):
    """A module, and the wheelbarrow that does its work."""

    def __init__(self, module, artifact=None, python=None):
        self.module = module
        self.root = module.params["root"]
        self.command = self._find(artifact, python)

    @classmethod
    def of(cls, arguments, **options):
        """A module with these arguments beside the common ones; all of them can be asked what they would do."""
        spec = dict(COMMON, **arguments)
        return cls(AnsibleModule(argument_spec=spec, supports_check_mode=True, **options))

    def _find(self, artifact, python):
        """The words that start it: the program that is there, else the artifact by itself; none where there is neither."""
        executable = os.path.expanduser(self.module.params["executable"])
        if os.sep in executable:
            found = executable if os.access(executable, os.X_OK) else None
        else:
            found = self.module.get_bin_path(executable, opt_dirs=USUAL_PLACES)
        if found:
            return [found]
        return [python or "python3", artifact] if artifact else None

    @property
    def is_there(self):
        return self.command is not None

    def has_root(self):
        return os.path.isdir(os.path.join(self.root, ".wheelbarrow"))

    def run(self, words, data=None):
        """What `wheelbarrow WORDS --root ROOT --json` prints; the module fails where that fails."""
        try:
            return self.attempt(words, data)
        except Failed as failed:
            self.fail(failed.failure)

    def attempt(self, words, data=None):
        """The same; raises Failed."""
        if self.command is None:
            executable = self.module.params["executable"]
            raise Failed(
                {
                    "error": "%s was not found on the host" % executable,
                    "hint": "the module wheelbarrow.deploy.program installs it",
                    "exit_code": 127,
                }
            )
        command = self.command + list(words) + ["--root", self.root, "--json"]
        code, out, err = self.module.run_command(command, data=data, binary_data=False)
        try:
            said = json.loads(out)
        except ValueError:
            said = None
        if code == 0 and said is not None:
            self.notes(err)
            return said
        failure = said.get("failure") if isinstance(said, dict) else None
        raise Failed(failure or self._unexplained(code, out, err))

    def change(self, words, data=None):
        """Something that is written down: who waits for whom, and for which deploy."""
        more = ["--wait", str(self.module.params["wait"])]
        if self.module.params["deploy_id"]:
            more += ["--deploy-id", self.module.params["deploy_id"]]
        return self.run(list(words) + more, data)

    def singletons(self, release=None):
        """Of a release, or of the live one."""
        said = self.run(["singletons"] + (["--release", release] if release else []))
        return {key: said[key] for key in SINGLETONS}

    def notes(self, err):
        """What wheelbarrow tells people beside its result."""
        for line in err.splitlines():
            if line.startswith("note: "):
                self.module.debug(line)

    @staticmethod
    def _unexplained(code, out, err):
        lines = (err.strip() or out.strip()).splitlines()
        errors = [line for line in lines if line.startswith("error: ")] or lines[-1:] or ["it printed nothing"]
        causes = [line for line in lines if line != errors[0]]
        return {"error": "wheelbarrow ended with exit code %d: %s" % (code, errors[0]), "exit_code": code, "causes": causes}

    def fail(self, failure):
        """Ends the module, with all that wheelbarrow knows of the failure."""
        causes = failure.get("causes") or []
        message = ": ".join([failure["error"]] + causes[:1])
        if failure.get("hint"):
            message += " (hint: %s)" % failure["hint"]
        fields = ("phase", "outcome", "hint", "docs", "exit_code", "causes", "server_log")
        known = {key: failure.get(key) for key in fields}
        self.module.fail_json(msg=message, failed_release=failure.get("id"), **known)

    def done(self, changed, **result):
        self.module.exit_json(changed=changed, **result)


def difference(header, before, after):
    """For `--diff`, of a few words by name."""

    def lines(values):
        return "".join("%s: %s\n" % (key, values[key]) for key in sorted(values) if values[key] is not None)

    return {
        "before_header": header,
        "after_header": header,
        "before": lines(before),
        "after": lines(after),
    }
