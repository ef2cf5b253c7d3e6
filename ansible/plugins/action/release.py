"""The controller's half of the module `release`: an artifact goes to a host only where the host lacks its release."""

import json
import os
import shutil
import subprocess
import tempfile

from ansible.plugins.action import ActionBase

from ansible_collections.wheelbarrow.deploy.plugins.plugin_utils.controller import open_artifact

MODULE = "wheelbarrow.deploy.release"
# The exit code of a deploy of a thin artifact where something that it leaves out is not there.
LACKING = 18


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
            result = self._bring(artifact, arguments, transfer, task_vars)
        if not result.get("failed"):
            result.update(name=artifact.name, version=artifact.version)
        result["transfer"] = transfer
        return result

    @staticmethod
    def _is(value):
        return str(value).lower() in ("true", "yes", "1", "on")

    def _bring(self, artifact, arguments, transfer, task_vars):
        """Sends what the host lacks, if that can be known and is wanted; else all of it."""
        wanted = arguments.get("transfer") or "auto"
        if wanted == "full":
            return self._send(artifact.path, "full", arguments, transfer, task_vars)
        directory = tempfile.mkdtemp(prefix="wheelbarrow-")
        try:
            thin = os.path.join(directory, "thin.zip")
            problem = self._make_thin(artifact, arguments, thin, directory, task_vars)
            if problem is None:
                result = self._send(thin, "thin", arguments, transfer, task_vars)
                if wanted == "thin" or not result.get("failed") or result.get("exit_code") != LACKING:
                    return result
                problem = "the host lacks what its inventory had"
            if wanted == "thin":
                return {"failed": True, "msg": "no thin artifact can be sent: %s" % problem}
            self._display.vv("the whole artifact is sent: %s" % problem)
            return self._send(artifact.path, "full", arguments, transfer, task_vars)
        finally:
            shutil.rmtree(directory)

    def _make_thin(self, artifact, arguments, thin, directory, task_vars):
        """Writes what the host lacks; gives the reason where that cannot be done."""
        asked = self._execute_module(MODULE, dict(arguments, inventory=True), task_vars=task_vars)
        if asked.get("failed"):
            return asked.get("msg")
        if asked.get("inventory") is None:
            return "the host has no release yet"
        have = os.path.join(directory, "have.json")
        with open(have, "w") as file:
            json.dump(asked["inventory"], file)
        program = arguments.get("controller_executable") or "wheelbarrow"
        command = [program, "thin", artifact.path, "--have", have, "--output", thin, "--quiet"]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        except OSError as error:
            return "%s on the controller: %s" % (program, error.strerror)
        if done.returncode:
            return done.stderr.decode("utf-8", "replace").strip() or "%s ended with %d" % (program, done.returncode)
        return None

    def _send(self, path, mode, arguments, transfer, task_vars):
        """Copies the artifact, and has the host make a release of it."""
        self._make_tmp_path()
        try:
            there = self._connection._shell.join_path(self._connection._shell.tmpdir, "artifact.zip")
            self._transfer_file(path, there)
            self._fixup_perms2((self._connection._shell.tmpdir, there))
            transfer.update(mode=mode, bytes=transfer["bytes"] + os.path.getsize(path))
            return self._execute_module(MODULE, dict(arguments, artifact=there), task_vars=task_vars)
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
