//! Hooks: what runs when, what it is given, and what its failure does. `docs/guides/hooks.md` is the specification.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::root::{Place, Version, deploy_words};
use super::site::{self, Site};

/// A hook that writes down what it is given.
fn tell(place: &Place) -> String {
    let told = place.path().join("told").display().to_string();
    format!("['sh', '-c', 'cat >> {told}; echo >> {told}']")
}

/// What hooks were given since this was asked for last.
fn told(place: &Place) -> Vec<Value> {
    let path = place.path().join("told");
    let text = fs_err::read_to_string(&path).unwrap_or_default();
    let _ = fs_err::remove_file(&path);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// `[hook, release number, previous number, phase, outcome]`
fn short(facts: &[Value]) -> Vec<Value> {
    let number = |id: &Value| id.as_str().map(|id| id.split('-').next().unwrap().to_owned());
    let row = |facts: &Value| {
        json!([
            facts["hook"],
            number(&facts["release"]),
            number(&facts["previous"]),
            facts["phase"],
            facts["outcome"]
        ])
    };
    facts.iter().map(row).collect()
}

/// A version with `prepare` and these hooks beside those that tell.
fn version(place: &Place, name: &str, prepare: &str, after_switch: &str) -> Version {
    let tell = tell(place);
    let settings = format!(
        "prepare = [{prepare}]\n[hooks]\nbefore_migrate = [{tell}]\nafter_switch = [{tell}, {after_switch}]\n\
         on_failure = [{tell}]\nafter_rollback = [{tell}]\n"
    );
    Version::with(name, &settings)
}

fn last(place: &Place) -> Value {
    let stories: Value = serde_json::from_str(&place.run(&["history", "--json"]).out).unwrap();
    stories.as_array().unwrap().last().unwrap().clone()
}

#[test]
fn hooks_run_at_every_moment() {
    let place = Place::new();
    let words = deploy_words(&place.artifact(&version(&place, "1", "'true'", "")));
    let mut words: Vec<_> = words.iter().map(String::as_str).collect();
    words.extend(["--deploy-id", "D7"]);
    let said = place.run(&words);
    assert!(said.code == 0 && !said.err.contains("the hook"), "{}", said.all());
    let facts = told(&place);
    let root = place.root().display().to_string();
    let operator = last(&place)["by"].clone();
    let release = last(&place)["id"].clone();
    assert!(facts[0]["milliseconds"].is_u64());
    let mut first = facts[0].clone();
    first["milliseconds"] = json!(0);
    assert_eq!(
        first,
        json!({"hook": "before_migrate", "operation": "deploy", "release": release, "name": "site", "version": "1",
               "previous": null, "phase": "prepare", "outcome": null, "error": null, "migrations": null, "root": root,
               "deploy": "D7", "by": operator, "milliseconds": 0})
    );
    let both = [
        json!(["before_migrate", "1", null, "prepare", null]),
        json!(["after_switch", "1", null, "commit", "live"]),
    ];
    assert_eq!(short(&facts), both);

    // Nothing was switched.
    let said = place.deploy(&version(&place, "2", "'false'", ""));
    assert_eq!(said.code, 12, "{}", said.all());
    let facts = told(&place);
    let failed = json!(["on_failure", "2", "1", "prepare", "unchanged"]);
    assert_eq!(short(&facts), [json!(["before_migrate", "2", "1", "prepare", null]), failed]);
    assert_eq!(facts[1]["error"], "`false` ended with exit code 1");

    // A required hook has the release rolled back.
    let said = place.deploy(&version(&place, "3", "", "{ run = 'false', required = true }"));
    assert!(said.code == 13 && said.err.contains("the hook after_switch: `false` ended"), "{}", said.all());
    assert_eq!(place.live(), Some(1));
    let rolled_back = [
        json!(["on_failure", "3", "1", "commit", "reverted"]),
        json!(["after_rollback", "1", "3", "commit", "live"]),
    ];
    assert_eq!(short(&told(&place)), rolled_back);

    // Any other is a note, and those after it run.
    let said = place.deploy(&version(&place, "4", "", "'false', ['sh', '-c', 'echo hello']"));
    assert_eq!((said.code, place.live()), (0, Some(4)), "{}", said.all());
    assert!(
        said.err.contains("note: the hook after_switch: `false` ended with exit code 1"),
        "{}",
        said.all()
    );
    assert!(said.err.contains("4-") && said.err.contains("after_switch-2.log"), "{}", said.all());
    assert_eq!(short(&told(&place)), [json!(["after_switch", "4", "1", "commit", "live"])]);
    let log = place.root().join("current/.wheelbarrow/logs/after_switch-3.log");
    assert_eq!(fs_err::read_to_string(log).unwrap(), "hello\n");

    assert_eq!(place.run(&["rollback"]).code, 0);
    assert_eq!(short(&told(&place)), [json!(["after_rollback", "1", "4", "commit", "live"])]);
    assert_eq!(place.run(&["activate", "4"]).code, 0);
    assert_eq!(short(&told(&place)), [json!(["after_switch", "4", "1", "commit", "live"])]);
    // It is live already, and no release is there any more that could have made this one fail.
    assert_eq!(place.run(&["activate", "4"]).code, 0);
    assert_eq!(told(&place), Vec::<Value>::new());
}

#[test]
fn the_journal_has_every_hook_with_its_time_and_its_log() {
    let place = Place::new();
    let after = "['sh', '-c', 'sleep 0.2; exit 3']";
    assert_eq!(place.deploy(&version(&place, "1", "'true'", after)).code, 0);
    let story = last(&place);
    assert_eq!(story["commands"].as_array().unwrap().len(), 1, "only `prepare`: {story}");
    let runs = story["runs"].as_array().unwrap();
    let row = |run: &Value| json!([run["hook"], run["log"], run["problem"]]);
    let id = story["id"].as_str().unwrap();
    let log = |name: &str| format!("releases/{id}/.wheelbarrow/logs/{name}.log");
    let problem = "`sh -c 'sleep 0.2; exit 3'` ended with exit code 3";
    assert_eq!(
        runs.iter().map(row).collect::<Vec<_>>(),
        [
            json!(["before_migrate", log("before_migrate-1"), null]),
            json!([null, log("prepare-1"), null]),
            json!(["after_switch", log("after_switch-1"), null]),
            json!(["after_switch", log("after_switch-2"), problem]),
        ]
    );
    assert!(runs[3]["milliseconds"].as_u64() >= Some(200), "{story}");
    assert!(runs.iter().all(|run| place.root().join(run["log"].as_str().unwrap()).is_file()));
}

#[test]
fn a_failing_hook_before_migrations_changes_nothing() {
    let place = Place::new();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    let touched = place.path().join("migrated");
    let settings = format!(
        "prepare = [['touch', '{}']]\n[hooks]\nbefore_migrate = 'false'\non_failure = [{}]\n",
        touched.display(),
        tell(&place)
    );
    let said = place.deploy(&Version::with("2", &settings));
    assert!(said.code == 12 && said.err.contains("the hook before_migrate: `false` ended"), "{}", said.all());
    assert!(said.err.contains("failed at the prepare; nothing was switched"), "{}", said.all());
    assert!(said.err.contains("before_migrate-1.log"), "{}", said.all());
    assert_eq!((place.live(), touched.exists()), (Some(1), false));
    assert_eq!(short(&told(&place)), [json!(["on_failure", "2", "1", "prepare", "unchanged"])]);
    // It was never live, and is prepared now; without commands nothing is migrated.
    let said = place.run(&["activate", "2", "--no-prepare"]);
    assert_eq!((said.code, place.live()), (0, Some(2)), "{}", said.all());
}

/// What never became a release has no commands.
#[test]
fn the_live_release_runs_on_failure_of_a_failed_install() {
    let place = Place::new();
    assert_eq!(place.deploy(&version(&place, "1", "", "")).code, 0);
    told(&place);
    let live = last(&place)["id"].clone();
    let journal = place.root().join(".wheelbarrow/journal.jsonl");
    let text = fs_err::read_to_string(&journal).unwrap();
    let begun = json!({"at": 1, "by": "x", "event": "begun", "operation": "deploy", "id": "2-1a2b3c4d", "live": live});
    let staged = json!({"at": 1, "by": "x", "event": "phase", "phase": "preflight", "milliseconds": 1});
    fs_err::write(&journal, format!("{text}{begun}\n{staged}\n")).unwrap();
    assert_eq!(place.run(&["recover"]).code, 0);
    let facts = told(&place);
    assert_eq!(short(&facts), [json!(["on_failure", "2", "1", "stage", "unchanged"])]);
    assert_eq!((&facts[0]["name"], &facts[0]["version"]), (&json!("site"), &Value::Null));
}

#[test]
fn hooks_have_the_environment_and_show_no_secret() {
    let place = Place::new();
    fs_err::create_dir_all(place.root().join("shared")).unwrap();
    let environment = r#"{"WEBHOOK_TOKEN": "kA7f3PqX9zkB8g", "STAGE": "production", "PATH": "/nowhere"}"#;
    fs_err::write(place.root().join("shared/environment.json"), environment).unwrap();
    let copy = place.path().join("copy").display().to_string();
    let script = format!("echo \"$STAGE $WEBHOOK_TOKEN\"; echo \"$WEBHOOK_TOKEN\" > {copy}; exit 1");
    let settings = format!("[hooks]\nafter_switch = [['sh', '-c', '{script}', 'kA7f3PqX9zkB8g']]\n");
    let said = place.deploy(&Version::with("1", &settings));
    assert_eq!(said.code, 0, "{}", said.all());
    assert_eq!(fs_err::read_to_string(&copy).unwrap(), "kA7f3PqX9zkB8g\n");
    let log = fs_err::read_to_string(place.root().join("current/.wheelbarrow/logs/after_switch-1.log"));
    assert_eq!(log.unwrap(), "production ***\n");
    assert!(said.err.contains("production ***"), "{}", said.all());
    let journal = fs_err::read_to_string(place.root().join(".wheelbarrow/journal.jsonl")).unwrap();
    for text in [&said.err, &said.out, &journal, &place.run(&["history", "--json"]).out] {
        assert!(!text.contains("kA7f3PqX9zkB8g"), "{text}");
    }

    // In what a hook is told of a failure neither.
    let settings = format!(
        "prepare = [['sh', '-c', 'exit 4', 'kA7f3PqX9zkB8g']]\n[hooks]\non_failure = [{}]\n",
        tell(&place)
    );
    let said = place.deploy(&Version::with("2", &settings));
    assert!(said.code == 12 && !said.err.contains("kA7f3PqX9zkB8g"), "{}", said.all());
    assert_eq!(told(&place)[0]["error"], "`sh -c 'exit 4' ***` ended with exit code 4");
}

#[test]
fn a_hook_that_hangs_is_stopped() {
    let place = Place::new();
    let hanging = "[hooks]\nafter_switch = { run = 'sleep 60', timeout = 1 }\n";
    let begun = Instant::now();
    let said = place.deploy(&Version::with("1", hanging));
    assert_eq!((said.code, place.live()), (0, Some(1)), "{}", said.all());
    assert!(said.err.contains("`sleep 60` was stopped after 1 s, its timeout"), "{}", said.all());
    let hanging = "prepare = ['true']\ntimeouts = { hook = 1 }\n[hooks]\nbefore_migrate = 'sleep 60'\n";
    let said = place.deploy(&Version::with("2", hanging));
    assert_eq!((said.code, place.live()), (12, Some(1)), "{}", said.all());
    let hanging = "timeouts = { hook = 1 }\n[hooks]\nafter_switch = { run = 'sleep 60', required = true }\n\
                   on_failure = 'sleep 60'\n";
    let said = place.deploy(&Version::with("3", hanging));
    assert_eq!((said.code, place.live()), (13, Some(1)), "{}", said.all());
    assert!(said.err.contains("note: the hook on_failure: `sleep 60` was stopped"), "{}", said.all());
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
}

/// Starts a deploy, and kills it when its hook has begun.
fn kill_in_hook(place: &Place, version: &Version) {
    let words = deploy_words(&place.artifact(version));
    let mut command = place.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !place.path().join("begun").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no hook began");
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    fs_err::remove_file(place.path().join("begun")).unwrap();
    place.check_current().unwrap();
}

#[test]
fn a_deploy_that_is_killed_in_a_hook_is_put_right() {
    let place = Place::new();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    let slow = format!("['sh', '-c', 'touch {}; sleep 0.5']", place.path().join("begun").display());
    let tell = tell(&place);

    // Before the switch: nothing was switched.
    let settings = format!("prepare = ['true']\n[hooks]\nbefore_migrate = [{slow}]\non_failure = [{tell}]\n");
    kill_in_hook(&place, &Version::with("2", &settings));
    let said = place.run(&["recover", "--wait", "20"]);
    assert_eq!((said.code, place.live()), (0, Some(1)), "{}", said.all());
    let facts = told(&place);
    assert_eq!(short(&facts), [json!(["on_failure", "2", "1", "prepare", "unchanged"])]);
    assert_eq!(facts[0]["error"], "it was interrupted");

    // After it: the release is proved, and the hook that was not over runs again.
    let settings = format!(
        "[hooks]\nafter_switch = [{{ run = {slow}, required = true }}, {{ run = {tell}, required = true }}]\n"
    );
    kill_in_hook(&place, &Version::with("3", &settings));
    assert_eq!(told(&place), Vec::<Value>::new());
    let said = place.run(&["recover", "--wait", "20"]);
    assert_eq!((said.code, place.live()), (0, Some(3)), "{}", said.all());
    assert_eq!(short(&told(&place)), [json!(["after_switch", "3", "1", "commit", "live"])]);
    assert_eq!(last(&place)["end"]["result"], "done");

    // After the end: it was over.
    fs_err::remove_file(place.path().join("begun")).unwrap();
    let settings = format!("[hooks]\nafter_switch = [{slow}, {tell}]\n");
    kill_in_hook(&place, &Version::with("4", &settings));
    let said = place.run(&["recover", "--wait", "20"]);
    assert_eq!((said.code, place.live()), (0, Some(4)), "{}", said.all());
    assert_eq!((told(&place), &last(&place)["end"]["result"]), (Vec::new(), &json!("done")));
}

#[test]
fn a_plan_names_them_and_older_programs_read_the_journal() {
    let place = Place::new();
    let first = version(&place, "1", "'true'", "{ run = 'true', required = true }");
    let words = deploy_words(&place.artifact(&first));
    let plan = |flags: &[&str]| {
        let words: Vec<_> = words.iter().map(String::as_str).chain(["--dry-run", "--json"]).collect();
        let said = place.run(&[&words, flags].concat());
        let plan: Value = serde_json::from_str(&said.out).unwrap();
        let lines: Vec<_> =
            plan["steps"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect();
        lines
            .iter()
            .filter_map(|line| Some(line.strip_prefix("hook ")?.split(':').next()?.to_owned()))
            .collect::<Vec<_>>()
    };
    let rest = ["after_switch", "after_switch", "on_failure", "after_rollback"];
    assert_eq!(plan(&[]), [&["before_migrate"][..], &rest].concat());
    assert_eq!(plan(&["--no-prepare"]), rest);
    assert!(!place.root().exists());

    assert_eq!(place.deploy(&first).code, 0);
    // What was there in 0.1.0 is there as it was: a hook is a command with keys that may be passed over.
    let journal = fs_err::read_to_string(place.root().join(".wheelbarrow/journal.jsonl")).unwrap();
    for line in journal.lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        let event = entry["event"].as_str().unwrap();
        assert!(["begun", "phase", "command", "switched", "done"].contains(&event), "{line}");
        if event == "command" {
            assert!(entry["command"].is_string() && entry["milliseconds"].is_u64(), "{line}");
        }
        let phases = ["preflight", "stage", "configure", "check", "prepare", "switch", "reload", "probe"];
        let phases = [&phases[..], &["commit", "prune"]].concat();
        assert!(event != "phase" || phases.contains(&entry["phase"].as_str().unwrap()), "{line}");
    }
}

const GUIDE: &str = include_str!("../../../../../docs/guides/hooks.md");

/// The script of the guide that a sentence there calls by this name.
fn of_guide(name: &str) -> String {
    let (_, rest) = GUIDE.split_once(&format!("`{name}`")).unwrap();
    let (_, rest) = rest.split_once("```").unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    rest.split_once("\n```").unwrap().0.to_owned() + "\n"
}

/// Answers one request, and gives its body.
fn listen() -> (String, std::thread::JoinHandle<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook/T0", listener.local_addr().unwrap());
    let answer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = String::new();
        let length = |text: &str| {
            let (head, body) = text.split_once("\r\n\r\n")?;
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "))?;
            Some((length.parse::<usize>().unwrap(), body.to_owned()))
        };
        loop {
            let mut bytes = [0; 4096];
            let count = stream.read(&mut bytes).unwrap();
            text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
            if let Some((_, body)) = length(&text).filter(|(length, body)| body.len() >= *length) {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .unwrap();
                return body;
            }
        }
    });
    (url, answer)
}

/// A stand-in for a program that is not here: it writes its arguments down, and makes the file of `--file=`.
const STAND_IN: &str = "#!/bin/sh\necho \"$(basename \"$0\") $*\" >> CALLS\nfor word; do case $word in --file=*) echo dump > \"${word#--file=}\";; esac; done\n";

#[test]
fn the_scripts_of_the_guide_run() {
    if !wheelbarrow_testing::has("curl") {
        return;
    }
    let place = Place::new();
    let (url, body) = listen();
    let bin = place.path().join("bin");
    let calls = place.path().join("calls");
    fs_err::create_dir_all(&bin).unwrap();
    for name in ["pg_dump", "sentry-cli"] {
        let text = STAND_IN.replace("CALLS", &calls.display().to_string());
        fs_err::write(bin.join(name), text).unwrap();
        fs_err::set_permissions(bin.join(name), PermissionsExt::from_mode(0o755)).unwrap();
    }
    fs_err::create_dir_all(place.root().join("shared")).unwrap();
    let environment =
        json!({"DATABASE_URL": "postgres://site@db/site", "CHAT_WEBHOOK": url, "STAGE": "staging"});
    fs_err::write(place.root().join("shared/environment.json"), environment.to_string()).unwrap();
    let settings = "shared = ['dumps']\nprepare = ['true']\n[hooks]\nbefore_migrate = 'sh ops/dump.sh'\n\
                    after_switch = ['sh ops/tell.sh', 'sh ops/sentry.sh']\n";
    let scripts = ["ops/dump.sh", "ops/tell.sh", "ops/sentry.sh"];
    let mut code: Vec<_> = scripts.into_iter().map(|name| (name, of_guide(name))).collect();
    code.push(("app.py", String::new()));
    let artifact = Site { version: "1.4", release: site::settings(settings), code }.write(&place.path());
    let words = deploy_words(&artifact);
    let mut command = place.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let path = std::env::var("PATH").unwrap();
    let said = place.finish(command.env("PATH", format!("{}:{path}", bin.display())));
    assert!(said.code == 0 && !said.err.contains("the hook "), "{}", said.all());
    let id = last(&place)["id"].as_str().unwrap().to_owned();
    assert_eq!(fs_err::read_to_string(place.root().join("shared/dumps").join(&id)).unwrap(), "dump\n");
    let told: Value = serde_json::from_str(&body.join().unwrap()).unwrap();
    let by = last(&place)["by"].as_str().unwrap().to_owned();
    assert_eq!(told, json!({ "text": format!("site {id} is live ({by})") }));
    let calls = fs_err::read_to_string(calls).unwrap();
    let lines: Vec<_> = calls.lines().collect();
    assert!(lines[0].starts_with("pg_dump --format=custom --file=dumps/1-"), "{calls}");
    assert_eq!(
        lines[1..],
        [
            "sentry-cli releases new site@1.4",
            "sentry-cli releases finalize site@1.4",
            "sentry-cli deploys new --release site@1.4 --env staging",
        ]
    );
}
