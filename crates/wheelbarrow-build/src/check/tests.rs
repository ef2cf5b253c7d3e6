use std::sync::Mutex;

use wheelbarrow_audit::{Floor, ProjectStatus, StatusMarker};
use wheelbarrow_base::progress::{Silent, Unit};

use super::testing::{lying_wheel, request, target, wheel};
use super::*;

const PIP: &str = "pip-25.0-py3-none-any.whl";

/// Checks wheels, each given by its name and files, for one target.
fn check_wheels(wheels: &[(&str, &[(&str, &str)])]) -> Result<CheckedTarget, CheckError> {
    let place = tempfile::tempdir().unwrap();
    let made = wheels.iter().map(|(filename, files)| wheel(place.path(), filename, files)).collect();
    let pip = wheel(place.path(), PIP, &[("pip/__init__.py", "")]);
    let target = target("3.12", "cp312", made, pip);
    check(&request(&[target], "mysite.pth"), &Silent).map(|mut checked| checked.targets.remove(0))
}

fn refusal(wheels: &[(&str, &[(&str, &str)])]) -> String {
    let CheckError::Refused { reports } = check_wheels(wheels).unwrap_err() else {
        panic!("not by the audit")
    };
    let findings = reports.into_iter().flat_map(|report| report.findings);
    findings.map(|finding| finding.what).collect::<Vec<_>>().join("\n")
}

#[test]
fn wheels_of_one_target_write_different_paths() {
    let checked = check_wheels(&[
        ("a-1-py3-none-any.whl", &[("ns/__init__.py", ""), ("ns/a.py", "1")]),
        ("b-1-cp312-cp312-manylinux_2_17_x86_64.whl", &[("ns/__init__.py", ""), ("ns/b.py", "1")]),
    ]);
    assert_eq!(checked.unwrap().platform, "manylinux_2_17_x86_64");
}

#[test]
fn two_wheels_that_write_one_path_are_refused() {
    insta::assert_snapshot!(refusal(&[
        ("a-1-py3-none-any.whl", &[("ns/__init__.py", "a")]),
        ("b-1-py3-none-any.whl", &[("ns/__init__.py", "b")]),
    ]), @"a-1-py3-none-any.whl and b-1-py3-none-any.whl both write lib/python3.12/site-packages/ns/__init__.py, and not the same");
    insta::assert_snapshot!(refusal(&[
        ("a-1-py3-none-any.whl", &[("a-1.data/scripts/run", "#!python\n")]),
        ("b-1-py3-none-any.whl", &[("b-1.data/data/bin/run", "#!python\n")]),
    ]), @"a-1-py3-none-any.whl and b-1-py3-none-any.whl both write bin/run, and not the same");
    insta::assert_snapshot!(refusal(&[("a-1-py3-none-any.whl", &[("pip/__init__.py", "mine")])]), @"a-1-py3-none-any.whl and pip-25.0-py3-none-any.whl both write lib/python3.12/site-packages/pip/__init__.py, and not the same");
}

#[test]
fn modes_do_not_make_equal_files_different() {
    let checked = check_wheels(&[
        ("a-1-py3-none-any.whl", &[("a-1.data/scripts/run", "#!/bin/sh\n")]),
        ("b-1-py3-none-any.whl", &[("b-1.data/data/bin/run", "#!/bin/sh\n")]),
    ]);
    assert!(checked.unwrap().collisions.is_empty());
}

#[test]
fn an_allowed_collision_has_a_winner() {
    let place = tempfile::tempdir().unwrap();
    let wheels = ["b", "a"].map(|name| {
        let files = [("LICENSE", name), ("tests/x.py", name), (&*format!("{name}-1.data/scripts/run"), name)];
        wheel(place.path(), &format!("{name}-1-py3-none-any.whl"), &files)
    });
    let mut wheels = wheels.to_vec();
    wheels.sort_by(|one, other| one.filename.cmp(&other.filename));
    let targets = [target("3.12", "cp312", wheels, wheel(place.path(), PIP, &[]))];
    let texts = ["collision:LICENSE=x", "collision:tests=x", "collision:bin/run=x"];
    let allowances: Vec<Allowance> = texts.iter().map(|text| text.parse().unwrap()).collect();
    let request = CheckRequest { allowances: &allowances, ..request(&targets, "s.pth") };
    let checked = check(&request, &Silent).unwrap();
    let winners: Vec<_> =
        checked.targets[0].collisions.iter().map(|it| format!("{} {}", it.path, it.wheel)).collect();
    let wheel = "wheels/a-1-py3-none-any.whl";
    assert_eq!(winners, ["../../../bin/run", "LICENSE", "tests/x.py"].map(|path| format!("{path} {wheel}")));
    assert_eq!(checked.allowed.len(), 3);
}

#[test]
fn a_site_may_depend_on_another_pip_than_the_one_that_is_bundled() {
    let own = [
        ("pip/__init__.py", "newer"),
        ("pip-26.0.dist-info/entry_points.txt", "[console_scripts]\npip = pip:main\n"),
    ];
    assert!(check_wheels(&[("pip-26.0-py3-none-any.whl", &own)]).is_ok());
}

#[test]
fn a_file_of_lib64_is_one_of_lib() {
    insta::assert_snapshot!(refusal(&[
        ("a-1-py3-none-any.whl", &[("a.py", "a")]),
        ("b-1-py3-none-any.whl", &[("b-1.data/data/lib64/python3.12/site-packages/a.py", "b")]),
    ]), @"a-1-py3-none-any.whl and b-1-py3-none-any.whl both write lib/python3.12/site-packages/a.py, and not the same");
}

#[test]
fn files_that_an_install_writes_are_accepted() {
    insta::assert_snapshot!(refusal(&[("a-1-py3-none-any.whl", &[("loadenv.py", "")])]), @"wheelbarrow and a-1-py3-none-any.whl both write lib/python3.12/site-packages/loadenv.py, and not the same");
    insta::assert_snapshot!(refusal(&[("a-1-py3-none-any.whl", &[("mysite.pth", "")])]), @"wheelbarrow and a-1-py3-none-any.whl both write lib/python3.12/site-packages/mysite.pth, and not the same");
    insta::assert_snapshot!(refusal(&[("a-1-py3-none-any.whl", &[("a-1.data/scripts/python3.12", "")])]), @"the virtualenv and a-1-py3-none-any.whl both write bin/python3.12, and not the same");
}

#[test]
fn names_that_differ_by_case_are_refused_between_wheels_only() {
    insta::assert_snapshot!(refusal(&[
        ("a-1-py3-none-any.whl", &[("ns/Mod.py", "")]),
        ("b-1-py3-none-any.whl", &[("ns/mod.py", "")]),
    ]), @"a-1-py3-none-any.whl and b-1-py3-none-any.whl write lib/python3.12/site-packages/ns/Mod.py and lib/python3.12/site-packages/ns/mod.py: the names differ only by case");
    assert!(check_wheels(&[("a-1-py3-none-any.whl", &[("A.py", ""), ("a.py", "")])]).is_ok());
}

#[test]
fn a_file_and_a_directory_of_one_name_are_refused() {
    insta::assert_snapshot!(refusal(&[
        ("a-1-py3-none-any.whl", &[("ns", "")]),
        ("b-1-py3-none-any.whl", &[("ns/b.py", "")]),
    ]), @"a-1-py3-none-any.whl writes the file lib/python3.12/site-packages/ns, and b-1-py3-none-any.whl writes into a directory of that name");
}

#[test]
fn a_wheel_for_another_python_is_refused() {
    insta::assert_snapshot!(refusal(&[("a-1-cp311-cp311-linux_x86_64.whl", &[("a.py", "")])]), @"it is for Python cp311, this is CPython 3.12");
}

#[test]
fn a_false_record_is_refused_and_a_true_one_remembered() {
    let place = tempfile::tempdir().unwrap();
    let cache = place.path().join("cache");
    let pip = wheel(place.path(), PIP, &[]);
    let good = wheel(place.path(), "a-1-py3-none-any.whl", &[("a.py", "")]);
    let bad = lying_wheel(place.path(), "b-1-py3-none-any.whl", &[("b.py", "")]);
    let run = |wheels| {
        let targets = [target("3.12", "cp312", wheels, pip.clone())];
        check(&CheckRequest { cache: Some(&cache), ..request(&targets, "s.pth") }, &Silent)
    };
    assert!(run(vec![good.clone()]).is_ok());
    assert_eq!(
        walkdir::WalkDir::new(cache.join("audited"))
            .into_iter()
            .filter(|e| e.as_ref().unwrap().file_type().is_file())
            .count(),
        2
    );
    let error = run(vec![good, bad]).unwrap_err();
    assert!(error.to_string().contains("its RECORD is not true"), "{error}");
    assert_eq!(error.exit_code(), 3);
}

/// Remembers what is told.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Progress for Notes {
    fn begin(&self, _what: &str, _total: u64, _unit: Unit) {}
    fn advance(&self, _amount: u64) {}
    fn end(&self) {}
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

#[test]
fn yanked_versions_are_packed_with_a_note() {
    let place = tempfile::tempdir().unwrap();
    let pip = wheel(place.path(), PIP, &[]);
    let targets = [target("3.12", "cp312", vec![wheel(place.path(), "a-1-py3-none-any.whl", &[])], pip)];
    let told = |version: &str, allow: &[&str]| {
        let yanked = BTreeMap::from([(("a".to_owned(), version.to_owned()), "it eats files".to_owned())]);
        let allowances: Vec<_> = allow.iter().map(|text| text.parse().unwrap()).collect();
        let mut request = request(&targets, "s.pth");
        (request.yanked, request.allowances) = (&yanked, &allowances);
        let notes = Notes::default();
        let checked = check(&request, &notes).unwrap();
        (notes.0.into_inner().unwrap(), checked.allowed.len())
    };
    let message = "yanked:a: its authors took this version back: it eats files";
    assert_eq!(told("1", &[]), (vec![message.to_owned()], 0));
    assert_eq!(told("2", &[]), (vec![], 0));
    assert_eq!(told("1", &["yanked:a=it does not here"]), (vec![], 1));
}

#[test]
fn programs_of_services_come_with_a_wheel() {
    let place = tempfile::tempdir().unwrap();
    let pip = || {
        wheel(
            place.path(),
            PIP,
            &[("pip-25.0.dist-info/entry_points.txt", "[console_scripts]\npip = pip:main\n")],
        )
    };
    let points = "[console_scripts]\ngunicorn = gunicorn:run\n";
    let files = [("gunicorn.py", "def run(): pass\n"), ("gunicorn-1.dist-info/entry_points.txt", points)];
    let gunicorn = wheel(place.path(), "gunicorn-1-py3-none-any.whl", &files);
    let files = [("uwsgi-1.data/scripts/uwsgi", "#!/bin/sh\n"), ("uwsgi-1.data/data/bin/other", "")];
    let uwsgi = wheel(place.path(), "uwsgi-1-py3-none-any.whl", &files);
    let targets = [
        target("3.11", "cp311", vec![uwsgi.clone()], pip()),
        target("3.12", "cp312", vec![gunicorn, uwsgi], pip()),
    ];
    let told = |runs: &[&str]| {
        let services: Vec<_> =
            runs.iter().map(|run| serde_json::json!({"name": "web", "run": run})).collect();
        let release = serde_json::from_value(serde_json::json!({ "service": services })).unwrap();
        let programs = ServiceProgram::all(Some(&release));
        let notes = Notes::default();
        check(&CheckRequest { programs: &programs, ..request(&targets, "s.pth") }, &notes).unwrap();
        notes.0.into_inner().unwrap()
    };
    let good = [
        "uwsgi --ini x",
        "other",
        "pip list",
        "python -m a",
        "python3 b.py",
        "sh c.sh",
        "/usr/bin/d",
        "bin/e",
    ];
    assert_eq!(told(&good), [""; 0]);
    insta::assert_snapshot!(told(&["celery -A site worker", "gunicorn site", "python3.11 b.py"]).join("\n"), @r#"
    the service web runs celery, and no wheel has a program of that name: add its package to the requirements; if the server has it, give its path, as `run = "/usr/bin/celery ..."`
    the service web runs gunicorn, and no wheel for Python 3.11 on manylinux_2_28_x86_64 has a program of that name: add its package to the requirements; if the server has it, give its path, as `run = "/usr/bin/gunicorn ..."`
    the service web runs python3.11, and no wheel for Python 3.12 on manylinux_2_28_x86_64 has a program of that name: add its package to the requirements; if the server has it, give its path, as `run = "/usr/bin/python3.11 ..."`
    "#);
}

#[test]
fn a_service_cannot_run_what_no_unit_can_hold() {
    for run in ["sh -c 'echo $HOME'", "echo `id`", "echo 'a\nb'"] {
        let service = serde_json::json!({ "service": [{"name": "web", "run": run}] });
        let release = serde_json::from_value(service).unwrap();
        let refused = refuse_unfit_services(Some(&release)).unwrap_err();
        assert!(
            refused.exit() == Exit::Project && refused.to_string().contains("web cannot run"),
            "{refused}"
        );
    }
}

#[test]
fn a_schedule_is_a_calendar_of_systemd() {
    let refused = |schedule: &str| {
        let service = serde_json::json!({ "service": [{"name": "job", "run": "job", "schedule": schedule}] });
        refuse_unfit_services(Some(&serde_json::from_value(service).unwrap())).err()
    };
    for schedule in [
        "daily",
        "Weekly UTC",
        "semi-annually",
        "Mon..Fri 02:30",
        "monday",
        "Sat,Sun",
        "*:0/15",
        "2026-12-24 18:00:00",
    ] {
        assert!(refused(schedule).is_none(), "{schedule}");
    }
    for schedule in ["dayly", "every day", "monthy"] {
        let error = refused(schedule).unwrap();
        let expected = format!("the times `{schedule}` of the service `job` are not a calendar of systemd");
        assert!(error.exit() == Exit::Project && error.to_string() == expected, "{error}");
    }
}

/// PEP 792: what the index says is told, and a project that it holds to be unsafe is refused.
#[test]
fn projects_are_judged_by_their_status() {
    let place = tempfile::tempdir().unwrap();
    let pip = wheel(place.path(), PIP, &[]);
    let targets = [target("3.12", "cp312", vec![wheel(place.path(), "a_b-1-py3-none-any.whl", &[])], pip)];
    let judged = |marker: Option<StatusMarker>, reason: &str, allow: &[&str]| {
        let status = |marker| ("a-b".to_owned(), ProjectStatus { marker, reason: reason.to_owned() });
        let statuses = marker.map(status).into_iter().collect();
        let allowances: Vec<_> = allow.iter().map(|text| text.parse().unwrap()).collect();
        let mut request = request(&targets, "s.pth");
        (request.statuses, request.allowances) = (&statuses, &allowances);
        let notes = Notes::default();
        let checked = check(&request, &notes);
        let found = checked.map(|checked| (checked.findings.len(), checked.allowed.len()));
        (found.map_err(|error| (error.to_string(), error.hint().unwrap())), notes.0.into_inner().unwrap())
    };
    for (marker, word) in [(StatusMarker::Archived, "archived"), (StatusMarker::Deprecated, "deprecated")] {
        let told = format!("project-status:a-b: the project is {word} on its index: it moved");
        assert_eq!(judged(Some(marker), "it moved", &[]), (Ok((1, 0)), vec![told]));
    }
    let (refused, _) = judged(Some(StatusMarker::Quarantined), "", &[]);
    let (message, hint) = refused.unwrap_err();
    assert!(message.contains("project-status:a-b  the project is quarantined on its index\n"), "{message}");
    assert!(hint.contains("--allow project-status:a-b=REASON"), "{hint}");
    let allow = ["project-status:A_b=we have looked at it"];
    assert_eq!(judged(Some(StatusMarker::Quarantined), "x", &allow), (Ok((1, 1)), vec![]));
    // The artifact is the same if the index did not answer.
    assert_eq!(judged(None, "", &allow), (Ok((0, 1)), vec![]));
    let (found, told) = judged(None, "", &["project-status:other=x"]);
    assert_eq!((found, told.len()), (Ok((0, 0)), 1));
}

/// PEP 770.
#[test]
fn what_a_wheel_says_it_is_made_of_is_in_the_bill() {
    let place = tempfile::tempdir().unwrap();
    let sbom = r#"{"bomFormat": "CycloneDX", "components": [{"type": "library", "name": "zlib", "bom-ref": "z", "version": "1.3"}]}"#;
    let files =
        [("a-1.dist-info/sboms/auditwheel.cdx.json", sbom), ("a-1.dist-info/sboms/other.spdx", "text")];
    let own = wheel(place.path(), "a-1-py3-none-any.whl", &files);
    let targets = [target("3.12", "cp312", vec![own], wheel(place.path(), PIP, &[]))];
    let checked = check(&request(&targets, "s.pth"), &Silent).unwrap();
    let bill: serde_json::Value = serde_json::from_slice(&checked.sbom).unwrap();
    let wheel = bill["components"].as_array().unwrap().iter().find(|it| it["name"] == "a").unwrap();
    assert_eq!(wheel["components"][0]["version"], "1.3");
    let reference = "wheels/a-1-py3-none-any.whl!a-1.dist-info/sboms/auditwheel.cdx.json#0";
    assert_eq!(wheel["components"][0]["bom-ref"], reference);
    let named = wheel["properties"].as_array().unwrap().iter().filter(|it| it["name"] == "wheelbarrow:sbom");
    assert_eq!(named.count(), 2);
}

/// What is found out depends on the wheels, not on the system that they were looked at for.
#[test]
fn newer_systems_give_the_same_bill_for_the_same_wheels() {
    let place = tempfile::tempdir().unwrap();
    let (pip, tag) = (wheel(place.path(), PIP, &[]), "a-1-cp312-cp312-manylinux_2_17_x86_64.whl");
    let own = wheel(place.path(), tag, &[("a.py", "")]);
    let checked = |platform: &str| {
        let mut target = target("3.12", "cp312", vec![own.clone()], pip.clone());
        target.floor = Floor::new((3, 12), "cp312", Platform::parse(platform));
        check(&request(&[target], "s.pth"), &Silent).unwrap()
    };
    let (old, new) = (checked("manylinux_2_28_x86_64"), checked("manylinux_2_41_x86_64"));
    assert_eq!(old, new);
    assert!(String::from_utf8(old.sbom).unwrap().contains("Python 3.12 on manylinux_2_17_x86_64"));
}

/// What was found good is not looked at again, and gives and tells the same; whatever may change it makes another check.
#[test]
fn a_check_is_made_once_for_each_request() {
    let place = tempfile::tempdir().unwrap();
    let [cache, elsewhere] = ["cache", "elsewhere"].map(|name| place.path().join(name));
    let pip = wheel(place.path(), PIP, &[]);
    let own = wheel(place.path(), "a-1-py3-none-any.whl", &[("a.py", "")]);
    let targets = [target("3.12", "cp312", vec![own.clone()], pip.clone())];
    let (nothing, because) = (BTreeMap::new(), "it eats files".to_owned());
    let yanked = BTreeMap::from([(("a".to_owned(), "1".to_owned()), because)]);
    let base = || CheckRequest { cache: Some(&cache), yanked: &yanked, ..request(&targets, "s.pth") };
    let checked = |request: &CheckRequest<'_>| {
        let notes = Notes::default();
        let checked = check(request, &notes).map_err(|error| error.to_string());
        (checked, notes.0.into_inner().unwrap())
    };
    let first = checked(&base());
    assert_eq!((first.0.is_ok(), first.1.len()), (true, 1));
    // Without the wheel nothing can be looked at.
    fs_err::remove_file(&own.path).unwrap();
    assert_eq!(checked(&base()), first);

    let allowances = ["yanked:a=it does not here".parse().unwrap()];
    let archived = ProjectStatus { marker: StatusMarker::Archived, reason: String::new() };
    let statuses = BTreeMap::from([("a".to_owned(), archived)]);
    let another = |python, abi, own| [target(python, abi, vec![own], pip.clone())];
    let older = another("3.11", "cp311", own.clone());
    let built = another("3.12", "cp312", PackedWheel { built: true, ..own.clone() });
    let changed = another("3.12", "cp312", PackedWheel { sha256: pip.sha256, ..own });
    let others = [
        CheckRequest { cache: Some(&elsewhere), ..base() },
        CheckRequest { name: "other", ..base() },
        CheckRequest { version: Some("1"), ..base() },
        CheckRequest { pth: "t.pth", ..base() },
        CheckRequest { time: DosTime::from_epoch(1_000_000_000).unwrap(), ..base() },
        CheckRequest { yanked: &nothing, ..base() },
        CheckRequest { statuses: &statuses, ..base() },
        CheckRequest { allowances: &allowances, ..base() },
        CheckRequest { targets: &older, ..base() },
        CheckRequest { targets: &built, ..base() },
        CheckRequest { targets: &changed, ..base() },
    ];
    for other in &others {
        assert!(matches!(check(other, &Silent), Err(CheckError::Read { .. })), "{other:?}");
    }
}

/// A plugin that asks for the site itself: nothing that could be added is missing.
#[test]
fn a_site_that_is_required_is_not_installed() {
    let place = tempfile::tempdir().unwrap();
    let text = "Metadata-Version: 2.1\nName: plugin\nVersion: 1\nRequires-Dist: Site[web]>=2\nRequires-Dist: other\n";
    let plugin = wheel(place.path(), "plugin-1-py3-none-any.whl", &[("plugin-1.dist-info/METADATA", text)]);
    let targets = [target("3.12", "cp312", vec![plugin], wheel(place.path(), PIP, &[]))];
    let message = check(&request(&targets, "s.pth"), &Silent).unwrap_err().to_string();
    let of_site = "it requires Site[web]>=2, which is not there\n      that is the site itself, whose own distribution is not installed";
    assert!(message.contains(of_site), "{message}");
    assert!(
        message.contains("it requires other, which is not there\n      add the missing distribution"),
        "{message}"
    );
}

/// What is refused is refused each time.
#[test]
fn a_refusal_is_not_remembered() {
    let place = tempfile::tempdir().unwrap();
    let (pip, own) =
        (wheel(place.path(), PIP, &[]), lying_wheel(place.path(), "a-1-py3-none-any.whl", &[("a.py", "")]));
    let targets = [target("3.12", "cp312", vec![own], pip)];
    let mut request = request(&targets, "s.pth");
    request.cache = Some(place.path());
    for _ in 0..2 {
        assert!(matches!(check(&request, &Silent), Err(CheckError::Refused { .. })));
    }
    assert!(!place.path().join(memory::DIRECTORY).exists());
}

/// Whatever rule it is of, what was let pass stands in the manifest with its reason; what is not allowed is refused.
#[test]
fn allowed_findings_keep_their_reason() {
    let place = tempfile::tempdir().unwrap();
    let wheels = [
        lying_wheel(place.path(), "a-1-py3-none-any.whl", &[("Shared/a.py", "")]),
        wheel(place.path(), "b-1-cp311-cp311-linux_x86_64.whl", &[("shared/a.py", "")]),
    ];
    let targets = [target("3.12", "cp312", wheels.to_vec(), wheel(place.path(), PIP, &[]))];
    let texts = ["record:a=the author was told", "tag:b=it was renamed", "case-clash:b=nobody reads it"];
    let allowances: Vec<Allowance> = texts.iter().map(|text| text.parse().unwrap()).collect();
    let all = CheckRequest { allowances: &allowances, ..request(&targets, "s.pth") };
    let kept = check(&all, &Silent).unwrap().allowed;
    let kept =
        kept.iter().map(|it| format!("{}:{}={}", it.rule, it.name, it.reason.as_deref().unwrap_or("")));
    assert_eq!(kept.collect::<Vec<_>>(), texts);
    for (lacking, text) in texts.iter().enumerate() {
        let mut others = allowances.clone();
        others.remove(lacking);
        let request = CheckRequest { allowances: &others, ..request(&targets, "s.pth") };
        assert!(matches!(check(&request, &Silent), Err(CheckError::Refused { .. })), "{text}");
    }
}
