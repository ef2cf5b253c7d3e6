"""Who runs what only one host may run."""

from __future__ import annotations

from ansible_collections.wheelbarrow.deploy.plugins.filter.singletons_host import singletons_host


def host(runs=True, said_by="nobody", since=None):
    return {"runs": runs, "said_by": said_by, "since": since, "services": ["beat"]}


def told(runs, since):
    return host(runs, "command", since)


def test_the_first_host_has_it_and_keeps_it():
    assert singletons_host({"web1": host(), "web2": host()}) == "web1"
    assert singletons_host({"web1": told(False, 5), "web2": told(True, 5)}) == "web2"
    assert singletons_host({"web0": host(), "web2": told(True, 5)}) == "web2"


def test_it_moves_where_its_host_is_gone():
    assert singletons_host({"web2": told(False, 5), "web3": told(False, 5)}) == "web2"


def test_a_host_that_is_back_does_not_take_it_again():
    assert singletons_host({"web1": told(True, 5), "web2": told(True, 9)}) == "web2"


def test_settings_of_a_host_count():
    never, always = host(False, "settings"), host(True, "settings")
    assert singletons_host({"web1": never, "web2": host()}) == "web2"
    assert singletons_host({"web1": told(True, 5), "web2": always}) == "web2"
    assert singletons_host({"web1": never}) == ""


def test_nobody_takes_it_from_a_host_that_was_not_asked():
    assert singletons_host({"web2": told(False, 5)}, ["web1"]) == ""
    assert singletons_host({"web2": told(True, 5)}, ["web1"]) == "web2"
