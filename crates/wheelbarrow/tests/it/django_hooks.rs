//! Hooks of a Django site, and what a deploy says of it.

use crate::django::{place, run, version};

/// A dump of a large database takes long, and most deploys change no table.
#[test]
fn a_hook_before_migrations_runs_only_if_one_is_pending() {
    let place = place();
    let first = ("0001_first", "migrations.RunSQL('CREATE TABLE a (x)', 'DROP TABLE a')");
    let second = ("0002_second", "migrations.RunSQL('CREATE TABLE b (x)', 'DROP TABLE b')");
    let told = place.path().join("told");
    let purged =
        "python -c 'import django; django.setup(); from django.core.cache import cache; cache.clear()'";
    let hooks = format!(
        "[release.hooks]\nbefore_migrate = [['sh', '-c', 'cat > {}']]\nafter_switch = [\"{purged}\"]\n",
        told.display()
    );
    for (number, migrations, pending) in [
        ("1", vec![first], Some("[\"mysite.0001_first\"]")),
        ("2", vec![first], None),
        ("3", vec![first, second], Some("[\"mysite.0002_second\"]")),
    ] {
        let Some(artifact) = version(&place, number, &hooks, &migrations) else { return };
        let said = run(&place, &["deploy", &artifact.display().to_string(), "--without-pip"]);
        assert!(said.code == 0 && !said.err.contains("the hook"), "{}", said.all());
        let text = fs_err::read_to_string(&told).ok();
        let _ = fs_err::remove_file(&told);
        let found = text
            .map(|text| serde_json::from_str::<serde_json::Value>(&text).unwrap()["migrations"].to_string());
        assert_eq!(found.as_deref(), pending, "{number}");
        assert_eq!(said.err.contains("hook before_migrate"), pending.is_some(), "{}", said.all());
    }
}

/// What `check --deploy` finds is news once.
#[test]
fn findings_that_the_live_release_has_too_are_a_count() {
    let place = place();
    let long = "n0t-a-w0rd-".repeat(8);
    place.write("root/shared/environment.json", &format!("{{\"SECRET_KEY\": \"{long}\"}}"));
    let first = ("0001_first", "migrations.RunSQL('CREATE TABLE a (x)', 'DROP TABLE a')");
    let Some(artifact) = version(&place, "1", "", &[first]) else { return };
    let artifact = artifact.display().to_string();
    let findings = |said: &str| -> Vec<String> {
        let lines = said.lines().filter_map(|line| line.split_once("check --deploy: "));
        lines.map(|(_, finding)| finding.split(' ').next().unwrap().to_owned()).collect()
    };
    let said = run(&place, &["deploy", &artifact, "--without-pip"]);
    let all = findings(&said.err);
    assert!(said.code == 0 && all.len() > 2 && all.iter().all(|id| id.contains('.')), "{}", said.all());
    for part in ["distributions  + ", "Django 4.2.16", "migrations     mysite.0001_first", "static files"] {
        assert!(said.out.to_lowercase().contains(&part.to_lowercase()), "{part}: {}", said.all());
    }

    // Another release of the same, and a key that is short.
    place.write("root/shared/environment.json", "{\"SECRET_KEY\": \"a-secret-of-the-test\"}");
    let said = run(&place, &["deploy", &artifact, "--without-pip"]);
    let count = all.len().to_string();
    assert_eq!(findings(&said.err), ["security.W009", count.as_str()], "{}", said.all());
    assert!(!said.out.contains("distributions") && !said.out.contains("migrations"), "{}", said.all());
    let said = run(&place, &["deploy", &artifact, "--without-pip", "--verbose"]);
    let mut listed = findings(&said.err);
    assert_eq!(listed.pop(), Some((all.len() + 1).to_string()), "{}", said.all());
    listed.sort();
    let mut known = [all, vec!["security.W009".to_owned()]].concat();
    known.sort();
    assert_eq!(listed, known);
    let said = run(&place, &["deploy", &artifact, "--without-pip", "--json"]);
    let deployed: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let findings = &deployed["changes"]["findings"];
    assert_eq!(
        (findings["known"].as_u64(), &findings["new"]),
        (Some(known.len() as u64), &serde_json::json!([]))
    );
}
