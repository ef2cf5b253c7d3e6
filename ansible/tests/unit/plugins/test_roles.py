"""Rules of roles that are more than words for Ansible."""

import os
import re

import yaml

ROLES = os.path.join(os.path.dirname(__file__), "..", "..", "..", "roles")


def test_nothing_beside_a_directory_is_served():
    with open(os.path.join(ROLES, "host", "tasks", "nginx.yml")) as file:
        first = yaml.safe_load(file)[0]["ansible.builtin.assert"]["that"]
    patterns = [re.search("'match', '(.*)'", rule).group(1) for rule in first]
    assert len(patterns) == 2
    for pattern in patterns:
        for good in ("/", "/static/", "/srv/mysite/shared/media/"):
            assert re.match(pattern, good)
        for bad in ("", "/static", "static/", "= /static/", "/srv/mysite/shared/media"):
            assert not re.match(pattern, bad)
