#!/usr/bin/python
"""Makes a release of an artifact."""

DOCUMENTATION = r"""
module: release
short_description: Make a release of an artifact, without making it live
version_added: 0.1.0
author: The Wheelbarrow developers (@wheelbarrow)
description:
  - Installs an artifact as a release under a site root, by C(wheelbarrow deploy --stage), and checks it by C(wheelbarrow check),
    which imports the application and runs the checks of Django. M(wheelbarrow.deploy.activate) makes it live.
  - An existing good release of the same artifact, with the current environment and the same Python, is reused. Then no artifact is
    copied to the host.
  - The artifact is read on the controller. The copy on the host is removed when its release exists.
options:
  src:
    description:
      - The artifact that C(wheelbarrow build) wrote, on the controller, or on the host with O(remote_src=true).
      - Required with O(state=present).
    type: path
  remote_src:
    description: Whether O(src) is on the host already.
    type: bool
    default: false
  state:
    description: V(absent) removes the release O(release), unless it is live, pinned, or a process runs from it.
    type: str
    choices: [present, absent]
    default: present
  release:
    description: With O(state=absent), the release to remove, by its id or its number.
    type: str
  check:
    description: Check a release that is not live, and fail if it could not be made live.
    type: bool
    default: true
  python:
    description: The Python on the host that the site will run on.
    type: str
    default: python3
  without_pip:
    description: Leave pip out of the virtualenv.
    type: bool
    default: false
  transfer:
    description:
      - What is sent to a host that has no release of this artifact. V(thin) sends the files that the host does not have, by its
        inventory; V(full) sends all; V(auto) sends a thin artifact if it can be made, else all.
      - To make a thin artifact, the controller needs C(wheelbarrow), see O(controller_executable).
    type: str
    choices: [auto, full, thin]
    default: auto
  controller_executable:
    description: C(wheelbarrow) on the controller, by its name or its path.
    type: str
    default: wheelbarrow
  signature:
    description:
      - V(required) fails if the host has no C(wheelbarrow) of its own, or no file of allowed signers. Nothing of an artifact without
        a signature by one of them is run or written.
      - With V(optional), a host that has C(/etc/wheelbarrow/allowed_signers) requires signatures too.
    type: str
    choices: [optional, required]
    default: optional
  allowed_signers:
    description: The file of allowed signers on the host. The default is C(/etc/wheelbarrow/allowed_signers).
    type: path
  manifest_sha256:
    description: The SHA-256 of the manifest of the artifact. Set by the action plugin.
    type: str
  artifact:
    description: The path of the artifact on the host. Set by the action plugin.
    type: path
extends_documentation_fragment:
  - wheelbarrow.deploy.common
  - wheelbarrow.deploy.common.changes
attributes:
  check_mode:
    support: full
    description: Reports whether a release would be made, and copies nothing.
  diff_mode:
    support: full
    description: Shows the release that would be made.
"""

EXAMPLES = r"""
- name: Stage and check version 1.5
  wheelbarrow.deploy.release:
    root: /srv/mysite
    src: dist/mysite-1.5.zip
    deploy_id: "{{ deploy_id }}"
  register: staged

- name: Remove a release
  wheelbarrow.deploy.release:
    root: /srv/mysite
    release: 3-0f1e2d3c
    state: absent
"""

RETURN = r"""
id:
  description: The release; null in check mode if it would be made.
  returned: success
  type: str
  sample: 7-1a2b3c4d
is_live:
  description: Whether the release is live already.
  returned: with O(state=present)
  type: bool
is_new:
  description: Whether the release was made now, or would be.
  returned: with O(state=present)
  type: bool
name:
  description: The name of the site in the artifact.
  returned: with O(state=present) and O(remote_src=false)
  type: str
version:
  description: The version of the site.
  returned: with O(state=present) and O(remote_src=false)
  type: str
due:
  description: The pending migrations, if the release was checked and the site is a Django site.
  returned: with O(state=present)
  type: list
  elements: str
singletons:
  description: Whether this host runs services that only one host of a fleet may run, as M(wheelbarrow.deploy.singletons) returns it.
  returned: with O(state=present) if the release exists
  type: dict
  sample: {"runs": true, "said_by": "command", "since": 1796000000, "services": ["beat"]}
transfer:
  description: What was sent to the host.
  returned: with O(state=present) and O(remote_src=false)
  type: dict
  contains:
    mode:
      description: V(full) for the whole artifact, V(thin) for a thin one, V(none) if no artifact was needed.
      type: str
    bytes:
      description: The size of the copied file in bytes.
      type: int
    full_bytes:
      description: The size of the artifact in bytes.
      type: int
"""

import errno
import os

from ansible_collections.wheelbarrow.deploy.plugins.module_utils.runner import (
    CHANGES,
    Failed,
    Runner,
    difference,
)

HOST_SIGNERS = "/etc/wheelbarrow/allowed_signers"
ARGUMENTS = {
    "src": {"type": "path"},
    "remote_src": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "release": {"type": "str"},
    "check": {"type": "bool", "default": True},
    "python": {"type": "str", "default": "python3"},
    "without_pip": {"type": "bool", "default": False},
    "manifest_sha256": {"type": "str"},
    "artifact": {"type": "path"},
    "transfer": {"type": "str", "choices": ["auto", "full", "thin"], "default": "auto"},
    "controller_executable": {"type": "str", "default": "wheelbarrow"},
    "signature": {"type": "str", "choices": ["optional", "required"], "default": "optional"},
    "allowed_signers": {"type": "path"},
}
RULES = [("state", "present", ["src"]), ("state", "absent", ["release"])]


def main():
    runner = Runner.of(dict(CHANGES, **ARGUMENTS), required_if=RULES)
    params = runner.module.params
    if params["state"] == "absent":
        remove(runner)
    if params["signature"] == "required" or params["allowed_signers"] or may_exist(HOST_SIGNERS):
        insist(runner)
    artifact = params["src"] if params["remote_src"] else params["artifact"]
    if artifact:
        runner = Runner(runner.module, artifact, params["python"])
    found = find(runner, params["manifest_sha256"] or artifact)
    if found["id"] is None:
        if artifact is None or (runner.module.check_mode and not runner.is_there):
            would(runner)
        make(runner, artifact)
    take(runner, found)


def may_exist(path):
    """Whether something is there, a link without a target too. What cannot be looked at may be there."""
    try:
        os.lstat(path)
    except OSError as error:
        return error.errno != errno.ENOENT
    return True


def insist(runner):
    """Before anything is sent: it is not for an artifact to say who has signed it. Where nothing will be sent, nobody has to."""
    signers = runner.module.params["allowed_signers"] or HOST_SIGNERS
    if not runner.is_there and runner.module.check_mode:
        return
    if not runner.is_there:
        problem = "the host has no %s that could verify signatures" % runner.module.params["executable"]
    elif not os.path.isfile(signers):
        problem = "the host has no file of allowed signers, %s" % signers
    else:
        return
    runner.fail({"error": "signatures are required, and " + problem, "exit_code": 17})


def find(runner, what):
    """The release that is there already, where anybody can say."""
    if what is None or not (runner.is_there and runner.has_root()):
        return {"id": None, "live": None}
    return runner.run(["find", what, "--python", runner.module.params["python"]])


def would(runner):
    """There is none, and no artifact to make it of: in check mode, or because the action plugin asks first, what is here."""
    params = runner.module.params
    diff = difference(runner.root, {"staged": None}, {"staged": params["manifest_sha256"] or "a new release"})
    result = {"id": None, "is_new": True, "is_live": False, "due": [], "diff": diff}
    if not runner.module.check_mode and params["transfer"] != "full" and runner.is_there and runner.has_root():
        result["inventory"] = take_stock(runner)
    runner.done(True, **result)


def take_stock(runner):
    """What the host has; where that cannot be said, it is sent everything, unless only the thin artifact is wanted."""
    if runner.module.params["transfer"] == "thin":
        return runner.run(["store", "inventory"])
    try:
        return runner.attempt(["store", "inventory"])
    except Failed:
        return None


def make(runner, artifact):
    params = runner.module.params
    words = ["deploy", artifact, "--stage", "--reuse", "--python", params["python"]]
    words += ["--without-pip"] if params["without_pip"] else []
    words += ["--allowed-signers", params["allowed_signers"]] if params["allowed_signers"] else []
    if runner.module.check_mode:
        plan = runner.run(words + ["--dry-run"])
        diff = difference(runner.root, {"staged": None}, {"staged": plan["id"]})
        runner.done(True, id=None, is_new=True, is_live=False, due=[], diff=diff)
    staged = runner.change(words)
    diff = difference(runner.root, {"staged": None}, {"staged": staged["id"]})
    due = look(runner, staged["id"])
    result = {"id": staged["id"], "is_new": staged["is_new"], "is_live": False, "due": due}
    runner.done(True, diff=diff, singletons=runner.singletons(staged["id"]), **result)


def take(runner, found):
    is_live = found["id"] == found["live"]
    due = [] if is_live or runner.module.check_mode else look(runner, found["id"])
    result = {"id": found["id"], "is_new": False, "is_live": is_live, "due": due}
    runner.done(False, singletons=runner.singletons(found["id"]), **result)


def look(runner, release):
    if not runner.module.params["check"]:
        return []
    return runner.change(["check", release])["due"]


def remove(runner):
    release = runner.module.params["release"]
    if not (runner.is_there and runner.has_root()):
        runner.done(False, id=release)
    listed = [one["id"] for one in runner.run(["list"])]
    found = [name for name in listed if release in (name, name.split("-")[0])]
    if not found:
        runner.done(False, id=release)
    diff = difference(runner.root, {found[0]: "there"}, {})
    words = ["remove", found[0]]
    if runner.module.check_mode:
        runner.run(words + ["--dry-run"])
    else:
        runner.change(words)
    runner.done(True, id=found[0], diff=diff)


if __name__ == "__main__":
    main()
