#!/usr/bin/python
"""Puts wheelbarrow onto a host."""

DOCUMENTATION = r"""
module: program
short_description: Put wheelbarrow onto a host
version_added: 0.1.0
author: The Wheelbarrow developers (@wheelbarrow)
description:
  - Copies the program that travels in every artifact to the host, where the other modules run it. It is one static file, and
    needs no Python. It can do everything with releases, and cannot build.
  - It is chosen by the host's machine, so facts must have been gathered.
options:
  src:
    description: The artifact, on the controller; or a C(wheelbarrow) program, as it is.
    type: path
    required: true
  dest:
    description: Where it is put on the host.
    type: path
    default: /usr/local/bin/wheelbarrow
  machine:
    description: The machine of the host, such as V(x86_64); else what its facts say.
    type: str
  signature:
    description:
      - With V(required), O(src) must be an artifact that one of O(signers) has signed. The controller verifies a private copy of it, and
        takes the program out of that copy.
    type: str
    choices: [optional, required]
    default: optional
  signers:
    description: The file of allowed signers, on the controller.
    type: path
    default: /etc/wheelbarrow/allowed_signers
  controller_executable:
    description: C(wheelbarrow) on the controller, which verifies the artifact.
    type: str
    default: wheelbarrow
attributes:
  check_mode:
    support: full
    description: Says whether the host has another one.
  diff_mode:
    support: full
    description: It is a program, so that only sizes differ to the eye.
"""

EXAMPLES = r"""
- name: The host can be asked about releases
  wheelbarrow.deploy.program:
    src: dist/mysite-1.5.zip
"""

RETURN = r"""
dest:
  description: Where it is.
  returned: success
  type: str
  sample: /usr/local/bin/wheelbarrow
checksum:
  description: The SHA-1 of the program.
  returned: success
  type: str
"""

# The action plugin of the same name does the work, on the controller.
