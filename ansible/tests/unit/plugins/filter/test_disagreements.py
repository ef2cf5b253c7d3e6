"""In what hosts differ."""

from __future__ import annotations

import hashlib

from ansible_collections.wheelbarrow.deploy.plugins.filter.disagreements import disagreements


def info(code="a" * 64, packages=("django==4.2",), environment="e" * 64, schema="s" * 64, python="3.11", **more):
    fingerprint = {
        "python": python,
        "code": code,
        "dependencies": hashlib.sha256(repr(packages).encode()).hexdigest(),
        "distributions": list(packages),
        "environment": environment,
        "schema": schema and {"sha256": schema, "due": [], "unknown": None},
    }
    host = {"live": {"id": "1-x"}, "serving": {"verdict": "one", "id": "1-x"}, "fingerprint": fingerprint}
    return dict(host, **more)


def test_equal_hosts_agree():
    assert disagreements({"web1": info(), "web2": info()}) == []


def test_who_differs_in_what_is_told():
    hosts = {"web1": info(), "web2": info(code="b" * 64), "web3": info(packages=("django==4.2", "psycopg==3"))}
    lines = disagreements(hosts)
    assert lines[0] == "code: web1, web3 have aaaaaaaaaaaa; web2 has bbbbbbbbbbbb"
    assert lines[1].startswith("dependencies: web1, web2 have ")
    assert lines[2] == "dependencies: only web3 has psycopg==3"


def test_no_digit_of_an_environment_is_told():
    def lines(**environments):
        return disagreements({host: info(environment=value) for host, value in environments.items()})

    one, two = "1" * 64, "2" * 64
    assert lines(a=one, b=one, c=two) == ["environment: a, b have the same; c has another"]
    assert lines(a=one, b=two) == ["environment: a has one; b has another"]
    assert lines(a=one, b=None) == ["environment: a has one; b has none"]
    assert lines(a=None, b=None, c=one) == ["environment: a, b have none; c has another"]
    assert lines(a=None, b=None) == []


def test_an_environment_that_was_not_read_is_told():
    hidden = info(environment=None)
    hidden["fingerprint"]["environment_hidden"] = True
    line = "%s: its environment was not compared, since the user may not read it: run it with become"
    assert disagreements({"a": hidden, "b": hidden}) == [line % "a", line % "b"]
    assert disagreements({"a": hidden, "b": info()}) == [line % "a"]


def test_hosts_with_other_pythons_may_have_other_dependencies():
    old = info(packages=("django==4.2", "typing-extensions==4"), python="3.9")
    assert disagreements({"web1": old, "web2": info()}) == []
    lines = disagreements({"web1": old, "web2": info(), "web3": info(packages=("django==5",))})
    assert len(lines) == 3 and all("web1" not in line for line in lines)


def test_what_is_wrong_with_one_is_told():
    due = info()
    due["fingerprint"]["schema"] = {"sha256": "s" * 64, "due": ["news.0002"], "unknown": None}
    assert disagreements({"web1": due}) == ["web1: pending migrations: news.0002"]
    other = info(serving={"verdict": "several", "ids": []}, interrupted=True)
    lines = disagreements({"web1": other})
    assert "do not all run 1-x" in lines[0] and "interrupted" in lines[1]
    idle = info(serving={"verdict": "nothing"})
    assert disagreements({"web1": idle, "web2": idle}) == []
    assert disagreements({"web1": info(), "web2": idle}) == ["web2: no process serves it, as others do"]
    gone = {"web1": {"live": None, "fingerprint": None}}
    assert disagreements(gone) == ["web1: no release is live"]


def test_services_are_told():
    def on(runs):
        return info(singletons={"runs": runs, "services": ["beat"]})

    assert disagreements({"web1": on(True), "web2": on(False)}) == []
    assert disagreements({"web1": on(False), "web2": on(False)}) == ["services: no host runs beat"]
    both = ["services: web1 and web2 run beat, which only one may run"]
    assert disagreements({"web1": on(True), "web2": on(True)}) == both
    down = info(services=[{"name": "web"}, {"name": "worker", "trouble": "x has failed"}])
    assert disagreements({"web1": down}) == ["web1: the service worker: x has failed"]
