"""What the action plugins have in common."""

import os

from ansible.errors import AnsibleActionFail
from ansible_collections.wheelbarrow.deploy.plugins.module_utils.artifact import Artifact, NoArtifact


def find(action, src):
    """The path of a file of the controller: from where Ansible was started, else where Ansible looks for the files of a task."""
    src = os.path.expanduser(src)
    if not os.path.exists(src):
        src = action._find_needle("files", src)
    return action._loader.get_real_file(os.path.abspath(src), decrypt=False)


def open_artifact(action, src):
    """The artifact there, or the failure of the task."""
    try:
        return Artifact(find(action, src))
    except NoArtifact as error:
        raise AnsibleActionFail(str(error))
