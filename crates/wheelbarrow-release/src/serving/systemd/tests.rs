//! Units as systemd shows them.

use wheelbarrow_base::progress::Silent;
use wheelbarrow_testing::mounts::{SilentMount, in_time};

use super::*;

/// As a service that asks for more and more time to end.
#[test]
fn a_job_that_does_not_end_is_not_waited_for() {
    let said = |script: &str| {
        let mut shell = Command::new("sh");
        attempt(shell.args(["-c", script]), Duration::from_millis(100), &Silent)
    };
    assert_eq!(said("true"), None);
    assert_eq!(said("echo no such unit >&2; exit 5").as_deref(), Some("no such unit"));
    assert_eq!(said("exec sleep 100").as_deref(), Some("not done after 0 s"));
}

#[test]
fn hints_work_before_the_first_release() {
    let missing = UnitProblem::Missing.hint();
    assert!(missing.contains("`wheelbarrow unit ARTIFACT --root ROOT`"), "{missing}");
    let other = UnitProblem::OtherRoot("/srv/a".into()).hint();
    assert!(other.starts_with("is `--root` right?"), "{other}");
}

#[test]
fn the_roots_in_a_unit_are_found() {
    let text = "{ path=/bin/sh ; argv[]=/bin/sh -c exec \"$(readlink -f /srv/a/current/venv)/bin/python\" }\n\
                A=/srv/b/current B=/opt/x/bin:/srv/c/releases/1-1a2b3c4d/venv /srv/d/currently /current/x";
    let roots = ["/srv/a", "/srv/b", "/srv/c"].map(PathBuf::from);
    assert_eq!(roots_in(text), roots);
}

#[test]
fn a_unit_that_is_restarted_again_and_again_is_in_trouble() {
    let state = |active: &str, sub: &str, restarts, age, has_socket| UnitState {
        sub: sub.to_owned(),
        restarts,
        has_socket,
        age: Some(age),
        ..UnitState::example("a.service", active, "exit-code")
    };
    let trouble = |state: UnitState| state.trouble().unwrap_or_default();
    assert_eq!(trouble(state("failed", "failed", 0, 0, true)), "a.service has failed (exit-code)");
    let again = "a.service ends and is restarted again and again";
    assert_eq!(trouble(state("activating", "auto-restart", 0, 0, false)), format!("{again} (exit-code)"));
    assert_eq!(
        trouble(state("activating", "start", 7, 0, false)),
        format!("{again}, 7 times so far (exit-code)")
    );
    assert_eq!(trouble(state("active", "running", 7, 2, false)), format!("{again}, 7 times so far"));
    assert_eq!(trouble(state("inactive", "dead", 0, 0, false)), "a.service is not running");
    for well in [
        state("active", "running", 0, 2, false),
        // It has ended now and then, over weeks.
        state("active", "running", 7, 4000, false),
        state("activating", "start", 0, 0, false),
        state("inactive", "dead", 0, 0, true),
    ] {
        assert_eq!(well.trouble(), None, "{well:?}");
    }
}

#[test]
fn a_unit_of_another_virtualenv_is_found() {
    let place = tempfile::tempdir().unwrap();
    let root = Root::create(&place.path().join("site")).unwrap();
    let old = place.path().join("old/venv");
    let found = |program: &str, arguments: &str, more: &str| {
        let path = old.join("bin").join(program);
        let command = format!("{{ path={0} ; argv[]={0} {arguments} ; ignore_errors=no }}", path.display());
        other_virtualenv(&root, &command, &format!("{command}\n{more}\n"))
    };
    assert_eq!(found("gunicorn", "a.wsgi", ""), None, "no virtualenv");
    fs_err::create_dir_all(old.join("bin")).unwrap();
    fs_err::write(old.join("pyvenv.cfg"), "").unwrap();
    assert_eq!(found("gunicorn", "a.wsgi", ""), Some(old.clone()));
    assert_eq!(found("python3", "-m uvicorn a.asgi", ""), Some(old.clone()));
    assert_eq!(found("python3", "-m gunicorn a.wsgi", &format!("{}/x", root.path().display())), None);
    for (other, words) in [("supervisord", ""), ("python", "start.py"), ("uwsgi", "--ini /etc/x.ini")] {
        assert_eq!(found(other, words, ""), None, "{other}");
    }
    assert_eq!(other_virtualenv(&root, "{ path=/usr/sbin/apache2 ; argv[]=apache2 }", ""), None);
}

/// The user of a unit may have written it, or have mounted what it names.
#[test]
fn nothing_that_a_unit_names_is_waited_for() {
    let place = tempfile::tempdir().unwrap();
    let root = Root::create(&place.path().join("site")).unwrap();
    let mounted = place.path().join("mounted");
    fs_err::create_dir(&mounted).unwrap();
    let Some(_mount) = SilentMount::at(&mounted) else { return };
    in_time(move || {
        let path = mounted.display();
        assert_eq!(other_root(&root, &format!("{path}/x/current/venv/bin/python")), None);
        let command = format!("{{ path={path}/venv/bin/gunicorn ; argv[]=gunicorn a.wsgi }}");
        assert_eq!(other_virtualenv(&root, &command, &command), None);
    });
}

#[test]
fn units_of_other_roots_differ_from_units_without_a_root() {
    let place = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| Root::create(&place.path().join(name)).unwrap());
    let names = |root: &Root| format!("{}/current/venv/bin/python", root.path().display());
    assert_eq!(other_root(&one, &names(&one)), None);
    assert_eq!(other_root(&one, &names(&other)), Some(other.path().to_path_buf()));
    assert_eq!(other_root(&one, &format!("{} {}", names(&other), names(&one))), None);
    assert_eq!(other_root(&one, "/usr/sbin/apache2 -k start"), None);
    // One that is spelt wrongly.
    let wrong = place.path().join("on");
    assert_eq!(other_root(&one, &format!("{}/current/x", wrong.display())), Some(wrong));
    std::os::unix::fs::symlink("one", place.path().join("link")).unwrap();
    let link = place.path().join("link");
    assert_eq!(other_root(&one, &format!("{}/current/x", link.display())), None);
}
