"""The controller's half of the module `release`: an artifact goes to a host only where the host lacks its release."""

import os

from ansible.plugins.action import ActionBase

from ansible_collections.wheelbarrow.deploy.plugins.plugin_utils.controller import open_artifact

MODULE = "wheelbarrow.deploy.release"


class ActionModule(ActionBase):
    """Asks the host first, then copies and asks again."""

    TRANSFERS_FILES = True

    def run(self, tmp=None, task_vars=None):
        super(ActionModule, self).run(tmp, task_vars)
        arguments = self._task.args.copy()
        is_here = arguments.get("state", "present") == "present" and not self._is(arguments.get("remote_src"))
        if not is_here or not arguments.get("src"):
            return self._execute_module(MODULE, arguments, task_vars=task_vars)
        artifact = open_artifact(self, arguments["src"])
        arguments["manifest_sha256"] = artifact.manifest_sha256
        result = self._execute_module(MODULE, arguments, task_vars=task_vars)
        transfer = {"mode": "none", "bytes": 0, "full_bytes": os.path.getsize(artifact.path)}
        if not result.get("failed") and result.get("id") is None and not self._task.check_mode:
            result = self._send(artifact, arguments, transfer, task_vars)
        if not result.get("failed"):
            result.update(name=artifact.name, version=artifact.version)
        result["transfer"] = transfer
        return result

    @staticmethod
    def _is(value):
        return str(value).lower() in ("true", "yes", "1", "on")

    def _send(self, artifact, arguments, transfer, task_vars):
        """Copies the artifact, and has the host make a release of it."""
        self._make_tmp_path()
        try:
            there = self._connection._shell.join_path(self._connection._shell.tmpdir, "artifact.zip")
            self._transfer_file(artifact.path, there)
            self._fixup_perms2((self._connection._shell.tmpdir, there))
            transfer.update(mode="full", bytes=transfer["full_bytes"])
            return self._execute_module(MODULE, dict(arguments, artifact=there), task_vars=task_vars)
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
