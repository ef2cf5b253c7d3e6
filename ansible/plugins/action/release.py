"""The controller's half of the module `release`: an artifact goes to a host only where the host lacks its release."""

import json
import os
import shutil
import subprocess
import tempfile

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible_collections.wheelbarrow.deploy.plugins.plugin_utils.controller import open_artifact

MODULE = "wheelbarrow.deploy.release"
# The exit code of a deploy of a thin artifact where something that it leaves out is not there.
LACKING = 18


class ActionModule(ActionBase):
    """Asks the host first, then copies and asks again."""

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
            result = self._bring(artifact, arguments, result.get("inventory"), transfer, task_vars)
        if not result.get("failed"):
            result.update(name=artifact.name, version=artifact.version)
        result["transfer"] = transfer
        return result

    @staticmethod
    def _is(value):
        return str(value).lower() in ("true", "yes", "1", "on")

    def _bring(self, artifact, arguments, inventory, transfer, task_vars):
        """Sends what a host with this inventory lacks, if that can be known and is wanted; else all of it."""
        wanted = arguments.get("transfer") or "auto"

        def send(path, mode):
            return self._send(artifact, path, mode, arguments, transfer, task_vars)

        if wanted == "full":
            return send(artifact.path, "full")
        directory = tempfile.mkdtemp(prefix="wheelbarrow-", dir=constants.DEFAULT_LOCAL_TMP)
        try:
            thin = os.path.join(directory, "thin.zip")
            problem = self._make_thin(artifact, arguments, inventory, thin)
            if problem is None:
                result = send(thin, "thin")
                if wanted == "thin" or not result.get("failed") or result.get("exit_code") != LACKING:
                    return result
                problem = "files of its inventory are missing on the host"
            if wanted == "thin":
                return {"failed": True, "msg": "no thin artifact can be sent: %s" % problem}
            self._display.vv("the whole artifact is sent: %s" % problem)
            return send(artifact.path, "full")
        finally:
            shutil.rmtree(directory)

    @staticmethod
    def _make_thin(artifact, arguments, inventory, thin):
        """Writes what the host lacks; gives the reason where that cannot be done."""
        if inventory is None:
            return "the host has no release yet"
        have = thin + ".json"
        with open(have, "w") as file:
            json.dump(inventory, file)
        program = arguments.get("controller_executable") or "wheelbarrow"
        command = [program, "thin", artifact.path, "--have", have, "--output", thin, "--quiet"]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        except OSError as error:
            return "%s on the controller: %s" % (program, error.strerror)
        if done.returncode:
            return done.stderr.decode("utf-8", "replace").strip() or "%s ended with %d" % (program, done.returncode)
        return None

    def _send(self, artifact, path, mode, arguments, transfer, task_vars):
        """Copies the artifact, all or thin, under its own name, and has the host make a release of it."""
        if self._connection._shell.tmpdir is None:
            self._make_tmp_path()
        try:
            name = os.path.basename(artifact.path)
            there = self._connection._shell.join_path(self._connection._shell.tmpdir, name)
            self._transfer_file(path, there)
            self._fixup_perms2((self._connection._shell.tmpdir, there))
            transfer.update(mode=mode, bytes=transfer["bytes"] + os.path.getsize(path))
            return self._execute_module(MODULE, dict(arguments, artifact=there), task_vars=task_vars)
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
