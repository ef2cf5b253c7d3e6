"""What the modules ask wheelbarrow for, and what they make of its answers."""

import json

import pytest
from ansible_collections.wheelbarrow.deploy.plugins.modules import (
    activate,
    environment,
    migrate,
    prune,
    release,
    release_info,
    rollback,
    singletons,
)

ONE, TWO = "1-0f1e2d3c", "2-1a2b3c4d"


def status(live=ONE, interrupted=False, serving=None):
    return {
        "live": live and {"id": live, "version": "1"},
        "interrupted": interrupted,
        "serving": serving or ({"verdict": "one", "id": live} if live else {"verdict": "nothing"}),
        "fingerprint": None,
        "last": None,
    }


def plan(release, previous=ONE):
    return {"id": release, "previous": previous, "milliseconds": 5}


def test_what_is_live_is_left_alone(host):
    host.says("status", status(TWO))
    host.says("activate", plan(TWO, TWO))
    result = host.run(activate.main, release="2")
    assert (result["changed"], result["id"]) == (False, TWO)
    assert host.asked[1] == "activate 2 --dry-run"


def test_another_release_is_made_live_by_its_deploy(host):
    host.says("status", status())
    host.says("activate", plan(TWO))
    host.says("activate", plan(TWO))
    host.says("status", dict(status(TWO), services=[{"name": "worker"}]))
    result = host.run(activate.main, release="2", migrations=False, deploy_id="d1", wait=5)
    assert result["services"] == [{"name": "worker"}]
    assert (result["changed"], result["id"], result["previous"]) == (True, TWO, ONE)
    assert host.asked[2] == "activate 2 --no-migrate --wait 5 --deploy-id d1"
    assert (result["diff"]["before"], result["diff"]["after"]) == ("live: %s\n" % ONE, "live: %s\n" % TWO)


def test_check_mode_only_asks(host):
    host.says("status", status())
    host.says("activate", plan(TWO))
    assert host.run(activate.main, check=True, release="2")["changed"]
    assert host.asked[-1].endswith("--dry-run")


@pytest.mark.parametrize("serving", [{"verdict": "one", "id": ONE}, {"verdict": "several", "ids": [ONE, TWO]}])
def test_a_server_that_runs_another_release_is_told(host, serving):
    host.says("status", status(TWO, serving=serving))
    host.says("activate", plan(TWO, TWO))
    host.says("activate", plan(TWO, TWO))
    host.says("status", status(TWO))
    assert host.run(activate.main, release="2")["changed"]


def test_what_a_killed_command_has_left_is_put_right_first(host):
    host.says("status", status(TWO, interrupted=True))
    host.says("recover", {})
    host.says("activate", plan(TWO, TWO))
    host.says("activate", plan(TWO, TWO))
    host.says("status", status(TWO))
    assert host.run(activate.main, release="2")["changed"]


def test_a_failure_has_phase_and_hint(host):
    failure = {
        "error": "the release failed at the probe; 1 is live again",
        "causes": ["503"],
        "hint": "look",
        "docs": "https://example.org/#exit-13",
        "server_log": {"log": "the journal of site.service", "lines": ["KeyError"], "more": "journalctl --unit=site.service"},
        "exit_code": 13,
        "id": TWO,
        "phase": "probe",
        "outcome": "reverted",
    }
    host.says("status", status())
    host.says("activate", plan(TWO))
    host.says("activate", {"failure": failure}, code=13, err="error: ...")
    result = host.run(activate.main, release="2")
    assert result["failed"]
    assert result["msg"] == "the release failed at the probe; 1 is live again: 503 (hint: look)"
    assert [result[key] for key in ("phase", "outcome", "hint", "exit_code")] == ["probe", "reverted", "look", 13]
    assert result["docs"] == "https://example.org/#exit-13"
    assert result["server_log"]["lines"] == ["KeyError"]
    assert result["failed_release"] == TWO


def test_what_is_no_json_is_told_too(host):
    host.says("status", "Segmentation fault", code=139, err="Segmentation fault\n")
    result = host.run(activate.main, release="2")
    assert result["failed"] and "exit code 139: Segmentation fault" in result["msg"]


def test_an_error_without_json_is_the_message(host):
    host.says("status", "", code=2, err="note: a\nerror: unknown option\nhint: --help\n")
    result = host.run(activate.main, release="2")
    assert "exit code 2: error: unknown option" in result["msg"] and result["causes"] == ["note: a", "hint: --help"]


def test_a_bare_host_can_be_asked_what_would_be(bare):
    assert bare.run(activate.main, check=True, release="2")["changed"]
    assert bare.run(migrate.main, check=True, release="2")["changed"]
    assert bare.run(environment.main, check=True, values={"A": "1"})["difference"]["added"] == ["A"]
    assert bare.run(release.main, check=True, src="x.zip", manifest_sha256="ab")["changed"]
    assert not bare.run(singletons.main, check=True)["changed"]
    for main in (rollback.main, prune.main, release_info.main):
        assert not bare.run(main, check=True)["changed"]
    result = bare.run(activate.main, release="2")
    assert result["failed"] and "wheelbarrow.deploy.program" in result["hint"]


def test_an_environment_that_the_user_may_not_read_is_told(host, monkeypatch):
    def is_hidden(digest):
        host.says("status", dict(status(), fingerprint={"code": "c", "environment": digest}))
        host.says("list", [])
        fingerprint = host.run(release_info.main)["fingerprint"]
        assert (fingerprint["code"], fingerprint["environment"]) == ("c", digest)
        return fingerprint["environment_hidden"]

    assert not is_hidden(None)
    path = host.root / "current" / "environment.json"
    path.parent.mkdir()
    path.write_text("{}")
    assert not is_hidden(None) and not is_hidden("e")
    # Root may read everything.
    monkeypatch.setattr(release_info.os, "access", lambda asked, _mode: asked != str(path))
    assert is_hidden(None) and not is_hidden("e")


def test_migrations_run_once(host):
    answer = {"is_changed": True, "migrations": ["news.0002"], "irreversible": [], "commands": ["x"]}
    host.says("migrate", answer)
    result = host.run(migrate.main, release="2", deploy_id="d1")
    assert result["changed"] and result["diff"]["after"] == "news.0002: applied\n"
    assert host.asked == ["migrate 2 --wait 60 --deploy-id d1"]
    host.says("migrate", dict(answer, is_changed=False, migrations=[], commands=[]))
    assert not host.run(migrate.main, check=True, release="2")["changed"]
    assert host.asked[1] == "migrate 2 --dry-run"


def test_a_deploy_is_taken_back_once(host):
    for live, target in ((TWO, ONE), (ONE, ONE)):
        host.says("status", status(live))
        host.says("rollback", plan(target, live))
        if target != live:
            host.says("rollback", plan(target, live))
        result = host.run(rollback.main, deploy_id="d1")
        assert (result["changed"], result["id"]) == (target != live, ONE)
    assert "rollback --wait 60 --deploy-id d1" in host.asked


@pytest.mark.parametrize("params", [{"to": "1"}, {"to": ONE}, {"leave": "2"}, {"leave": TWO}])
def test_where_it_should_be_already_nothing_goes_back(host, params):
    host.says("status", status())
    assert not host.run(rollback.main, **params)["changed"]


def test_what_was_interrupted_is_a_change_when_it_is_made_good(host):
    host.says("status", status(TWO, interrupted=True))
    host.says("recover", {})
    host.says("status", status())
    assert host.run(rollback.main, to="1")["changed"]
    host.says("status", status(interrupted=True))
    assert not host.run(rollback.main, check=True, to="1")["changed"], "nothing was recovered"


def test_only_what_is_named_is_left(host):
    host.says("status", status(TWO))
    host.says("rollback", plan(ONE, TWO))
    host.says("rollback", plan(ONE, TWO))
    assert host.run(rollback.main, leave="1", force=True)["changed"], "1 is its version"
    assert host.asked[-1] == "rollback --force --wait 60"


def test_nothing_to_prune_is_no_change(host):
    host.says("prune", {"removed": [], "kept": {ONE: "live"}})
    assert not host.run(prune.main)["changed"]
    for _step in range(2):
        host.says("prune", {"removed": [ONE], "kept": {TWO: "live"}})
    result = host.run(prune.main, keep=1)
    assert result["changed"] and result["removed"] == [ONE]
    assert host.asked == ["prune --dry-run", "prune --keep 1 --dry-run", "prune --keep 1 --wait 60"]


def test_values_go_to_standard_input_and_nowhere_else(host):
    secret = "correct-horse-battery"
    difference = {"added": ["B"], "removed": ["A"], "changed": ["KEY"]}
    host.says("env", {"is_changed": True, "is_pending": True, "difference": difference})
    host.says("env", {"id": TWO})
    result = host.run(environment.main, values={"KEY": secret, "B": "1"}, apply=True)
    assert result["changed"] and result["id"] == TWO and not result["is_pending"]
    assert host.asked == ["env write --wait 60", "env apply --wait 60"]
    assert json.loads(host.input[0]) == {"KEY": secret, "B": "1"}
    assert secret not in json.dumps(result)
    assert result["diff"]["before"] == "A\nKEY=(a value)\n"
    assert result["diff"]["after"] == "B\nKEY=(another value)\n"


SINGLETONS = {"runs": True, "said_by": "nobody", "since": None, "services": ["beat"]}


def test_a_release_that_is_there_needs_no_artifact(host):
    host.says("find", {"id": TWO, "state": "live", "live": TWO})
    host.says("singletons", SINGLETONS)
    result = host.run(release.main, src="x.zip", manifest_sha256="ab")
    assert (result["changed"], result["id"], result["is_live"]) == (False, TWO, True)
    host.says("find", {"id": TWO, "state": "staged", "live": ONE})
    host.says("check", {"due": ["news.0002"]})
    host.says("singletons", SINGLETONS)
    result = host.run(release.main, src="x.zip", manifest_sha256="ab")
    assert (result["changed"], result["due"]) == (False, ["news.0002"])
    assert result["singletons"] == SINGLETONS


def test_an_artifact_is_staged_and_checked(host):
    host.says("find", {"id": None, "state": None, "live": ONE})
    host.says("deploy", {"id": TWO, "is_new": True})
    host.says("check", {"due": []})
    host.says("singletons", dict(SINGLETONS, is_changed=False))
    result = host.run(release.main, src="x.zip", manifest_sha256="ab", artifact="/tmp/a.zip", deploy_id="d1")
    assert (result["changed"], result["id"], result["is_new"]) == (True, TWO, True)
    assert host.asked[1] == "deploy /tmp/a.zip --stage --reuse --python python3 --wait 60 --deploy-id d1"
    assert (host.asked[-1], result["singletons"]) == ("singletons --release %s" % TWO, SINGLETONS)


def test_an_artifact_does_it_where_there_is_no_program(bare):
    bare.says("deploy", {"id": ONE, "is_new": True})
    bare.says("check", {"due": []})
    bare.says("singletons", SINGLETONS)
    assert bare.run(release.main, src="x.zip", artifact="/tmp/a.zip")["id"] == ONE


def test_a_release_is_removed_once(host):
    host.says("list", [{"id": ONE}, {"id": TWO}])
    host.says("remove", {"id": ONE})
    assert host.run(release.main, state="absent", release="1")["changed"]
    host.says("list", [{"id": TWO}])
    assert not host.run(release.main, state="absent", release="1")["changed"]


def test_info_is_what_status_says(host):
    host.says("status", status())
    host.says("list", [{"id": ONE}])
    result = host.run(release_info.main, schema=True)
    assert not result["changed"] and result["live"]["id"] == ONE and result["releases"] == [{"id": ONE}]
    assert host.asked[0] == "status --schema"


def test_what_a_host_has_is_told_to_the_controller(host):
    def run(stock=None, code=0, **more):
        host.says("find", {"id": None, "live": None})
        if stock is not None:
            host.says("store", stock, code)
        return host.run(release.main, src="x.zip", manifest_sha256="ab", **more)

    assert run({"format": 1})["inventory"] == {"format": 1}
    assert "inventory" not in run(check=True)
    assert "inventory" not in run(transfer="full")
    failure = {"failure": {"error": "a shelf is gone", "exit_code": 1}}
    assert run(failure, 1)["inventory"] is None
    assert run(failure, 1, transfer="thin")["msg"] == "a shelf is gone"


def test_signatures_that_nobody_can_judge_are_missed_before_anything_is_sent(host, tmp_path):
    signers = tmp_path / "allowed_signers"
    words = {"src": "x.zip", "manifest_sha256": "ab", "signature": "required", "allowed_signers": str(signers)}
    result = host.run(release.main, **words)
    assert result["failed"] and result["exit_code"] == 17 and str(signers) in result["msg"]
    signers.write_text("")
    host.says("find", {"id": None, "live": None})
    host.says("store", {"format": 1})
    assert host.run(release.main, **words)["is_new"]
    host.program.unlink()
    assert "that could verify signatures" in host.run(release.main, **words)["msg"]


def test_who_may_sign_is_asked_by_the_host(host, tmp_path):
    signers = str(tmp_path / "signers")
    (tmp_path / "signers").write_text("")
    host.says("find", {"id": None, "live": None})
    host.says("deploy", {"id": TWO, "is_new": True})
    host.says("check", {"due": []})
    host.says("singletons", SINGLETONS)
    host.run(release.main, src="x.zip", artifact="/tmp/a.zip", allowed_signers=signers)
    assert " --allowed-signers " + signers in host.asked[1]


@pytest.mark.parametrize("by", ["name", "the host", "a link to nowhere", "a path in a loop of links", "a path below a file"])
def test_an_artifact_never_judges_itself(bare, tmp_path, monkeypatch, by):
    signers = tmp_path / "signers"
    signers.write_text("")
    more = {"allowed_signers": str(signers)} if by == "name" else {}
    if by == "the host":
        monkeypatch.setattr(release, "HOST_SIGNERS", str(signers))
    if by == "a link to nowhere":
        (tmp_path / "link").symlink_to("nowhere")
        monkeypatch.setattr(release, "HOST_SIGNERS", str(tmp_path / "link"))
    if by == "a path in a loop of links":
        (tmp_path / "loop").symlink_to("loop")
        monkeypatch.setattr(release, "HOST_SIGNERS", str(tmp_path / "loop/signers"))
    if by == "a path below a file":
        monkeypatch.setattr(release, "HOST_SIGNERS", str(signers / "signers"))
    result = bare.run(release.main, src="x.zip", artifact="/tmp/a.zip", **more)
    assert result["failed"] and "that could verify signatures" in result["msg"]
    # It will have one where it will have been made ready.
    assert bare.run(release.main, check=True, src="x.zip", manifest_sha256="ab", **more)["changed"]


def test_one_host_runs_what_only_one_may_run(host):
    found = dict(SINGLETONS, is_changed=False)
    host.says("singletons", found)
    result = host.run(singletons.main, release="2")
    assert (result["changed"], result["services"]) == (False, ["beat"])
    host.says("singletons", found)
    host.says("singletons", dict(found, runs=False, said_by="command", since=5, is_changed=True))
    result = host.run(singletons.main, runs=False, deploy_id="d1")
    assert (result["changed"], result["runs"], result["since"]) == (True, False, 5)
    assert result["diff"]["after"] == "singletons: run elsewhere\n"
    assert host.asked == ["singletons --release 2", "singletons", "singletons no --wait 60 --deploy-id d1"]
    host.says("singletons", found)
    assert host.run(singletons.main, check=True, runs=True)["changed"], "it was not told yet"
