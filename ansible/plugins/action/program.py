"""The module `program`: takes the program out of an artifact, and has it copied."""

import os
import tempfile

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.wheelbarrow.deploy.plugins.module_utils.artifact import NoArtifact
from ansible_collections.wheelbarrow.deploy.plugins.plugin_utils.controller import find, open_artifact
from ansible_collections.wheelbarrow.deploy.plugins.plugin_utils.verified import NotVerified, verified

ELF = b"\x7fELF"
DEST = "/usr/local/bin/wheelbarrow"
ARGUMENTS = {
    "src": {"type": "path", "required": True},
    "dest": {"type": "path", "default": DEST},
    "machine": {"type": "str"},
    "signature": {"type": "str", "choices": ["optional", "required"], "default": "optional"},
    "signers": {"type": "path", "default": "/etc/wheelbarrow/allowed_signers"},
    "controller_executable": {"type": "str", "default": "wheelbarrow"},
}


class ActionModule(ActionBase):
    """`ansible.builtin.copy` does what is to be done on the host, by its own rules for check mode and differences."""

    TRANSFERS_FILES = True

    def run(self, tmp=None, task_vars=None):
        super(ActionModule, self).run(tmp, task_vars)
        arguments = self.validate_argument_spec(ARGUMENTS)[1]
        src = find(self, arguments["src"])
        if arguments["signature"] == "optional":
            return self._put(src, arguments, task_vars)
        signers, executable = arguments["signers"], arguments["controller_executable"]
        try:
            with verified(src, signers, executable, constants.DEFAULT_LOCAL_TMP) as copy:
                return self._put(copy, arguments, task_vars)
        except NotVerified as error:
            raise AnsibleActionFail(str(error))

    def _put(self, src, arguments, task_vars):
        """Nobody else can write `src`, if it must be signed."""
        with open(src, "rb") as file:
            is_program = file.read(len(ELF)) == ELF
        if is_program:
            return self._copy(src, arguments["dest"], task_vars)
        machine = arguments["machine"] or (task_vars or {}).get("ansible_facts", {}).get("architecture")
        if not machine:
            raise AnsibleActionFail("the CPU of the host is unknown: gather facts, or set `machine`")
        try:
            program = open_artifact(self, src).program(machine)
        except NoArtifact as error:
            raise AnsibleActionFail(str(error))
        handle, path = tempfile.mkstemp(prefix="wheelbarrow-", dir=constants.DEFAULT_LOCAL_TMP)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(program)
            return self._copy(path, arguments["dest"], task_vars)
        finally:
            os.unlink(path)

    def _copy(self, src, dest, task_vars):
        task = self._task.copy()
        task.args = {"src": src, "dest": dest, "mode": "0755"}
        copy = self._shared_loader_obj.action_loader.get(
            "ansible.builtin.copy",
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        result = copy.run(task_vars=task_vars)
        keys = ("changed", "failed", "msg", "checksum", "diff", "dest", "exception", "unreachable")
        result = {key: result[key] for key in keys if key in result}
        result.setdefault("dest", dest)
        # A program is nothing to look at.
        for one in result["diff"] if isinstance(result.get("diff"), list) else []:
            one.pop("before", None)
            one.pop("after", None)
        return result
