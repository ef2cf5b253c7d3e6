//! Hooks of a Django site.

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
    }
}
