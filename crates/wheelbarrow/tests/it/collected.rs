//! Static files of a Django site that are collected at build: `[build] collectstatic`.

use std::path::Path;

use fs_err as fs;
use serde_json::Value;

use crate::django::{self, build, deploy, is_served, run, style, write};
use crate::support::{Place, Said, wheelbarrow};

const SECRET: &str = "only-for-the-build-1";

fn settings(more: &str) -> String {
    format!("[build]\ncollectstatic = true\nenvironment = {{ SECRET_KEY = '{SECRET}' }}\n{more}")
}

/// A version whose STATIC_ROOT may be set, with whitenoise's storage; the project has files of an earlier run in it.
fn write_version(place: &Place, version: &str, more: &str) {
    write(place, version, &settings(more), &[]);
    let text = place.read("project/mysite/settings.py");
    let text = text
        .replace(
            "django.contrib.staticfiles.storage.ManifestStaticFilesStorage",
            "whitenoise.storage.CompressedManifestStaticFilesStorage",
        )
        .replace("BASE_DIR / \"static\"", "os.environ.get('STATIC_ROOT') or BASE_DIR / 'static'");
    place.write("project/mysite/settings.py", &text);
    for name in ["stale.css", "stale.py"] {
        place.write(&format!("project/static/{name}"), "x = 1\n");
    }
    for name in ["b", "a", "c"] {
        place.write(
            &format!("project/mysite/static/{name}/{name}.js"),
            &format!("let {name} = 1\n").repeat(99),
        );
    }
    place.write("project/mysite/static/code.py", "x = 1\n");
}

/// None without uv and an index.
fn fails(place: &Place) -> Option<Said> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    let mut command = wheelbarrow(&place.path());
    let said = place.finish(command.args(["build", "project", "--cache-dir"]).arg(cache));
    if said.err.contains("uv was not found") || said.code == 9 || said.err.contains("Failed to fetch") {
        assert!(std::env::var_os("CI").is_none(), "CI must have uv and an index: {}", said.err);
        return None;
    }
    assert_eq!(said.code, 8, "{}", said.all());
    assert!(!said.err.contains(SECRET), "{}", said.err);
    Some(said)
}

fn members(manifest: &Value) -> Vec<&str> {
    manifest["members"].as_array().unwrap().iter().map(|member| member["path"].as_str().unwrap()).collect()
}

#[test]
fn static_files_are_collected_at_build_and_not_by_a_deploy() {
    let (place, other) = (django::place(), django::place());
    write_version(&place, "1", "");
    write_version(&other, "1", "");
    let Some(first) = build(&place, "1") else { return };
    let again = build(&other, "1").unwrap();
    assert!(fs::read(&first).unwrap() == fs::read(again).unwrap(), "the same bytes");

    let said = place.run(&["inspect", "--json", "mysite-1.zip"]);
    assert!(said.code == 0 && !said.out.contains(SECRET), "{}", said.all());
    let manifest = serde_json::from_str::<Value>(&said.out).unwrap()["manifest"].take();
    assert_eq!(manifest["project"]["static_root"], "mysite/static");
    let members = members(&manifest);
    let collected: Vec<_> = members.iter().filter_map(|path| path.strip_prefix("mysite/static/")).collect();
    let is_there =
        |begin: &str, end: &str| collected.iter().any(|path| path.starts_with(begin) && path.ends_with(end));
    for (begin, end) in [("staticfiles", ".json"), ("site.", ".css"), ("a/a.", ".js.gz"), ("code.", ".py")] {
        assert!(is_there(begin, end), "{begin}*{end}: {collected:?}");
    }
    assert!(
        !is_there("stale", "")
            && !is_there("__pycache__", "")
            && !members.iter().any(|path| path.ends_with("environment.json")),
        "{members:?}"
    );
    let said = place.run(&["inspect", "mysite-1.zip"]);
    assert!(said.out.contains("mysite/static: ") && said.out.contains("collected"), "{}", said.out);

    // A server on which Django looks elsewhere for them.
    let environment = |more: &str| format!("{{\"SECRET_KEY\": \"a-secret-of-the-test\"{more}}}");
    place.write("root/shared/environment.json", &environment(", \"STATIC_ROOT\": \"/nowhere/static\""));
    let said = run(&place, &["deploy", "mysite-1.zip", "--without-pip"]);
    let reason = "STATIC_ROOT is /nowhere/static, and the artifact has its static files, collected when it was built, in \
                  mysite/static of the release";
    assert!(said.code == 8 && said.err.contains(reason), "{}", said.all());
    place.write("root/shared/environment.json", &environment(""));

    deploy(&place, &first);
    let url = style(&place, "2");
    assert!(is_served(&place, "2", &url));
    let current = place.path().join("root/current");
    assert!(!current.join("mysite/static/__pycache__").exists());
    let log = fs::read_to_string(current.join(".wheelbarrow/logs/prepare-1.log")).unwrap();
    assert!(log.contains("No migrations to apply") && !log.contains("static file"), "{log}");
    assert!(!run(&place, &["history", "2"]).out.contains("collectstatic"));

    // Those of the version before stay reachable, and nothing of it counts as data.
    write_version(&place, "2", "");
    place.write("project/mysite/static/site.css", "body { margin: 2px; }");
    deploy(&place, &build(&place, "2").unwrap());
    assert!(is_served(&place, "3", &url) && is_served(&place, "3", &style(&place, "3")));
    let said = place.run(&["diff", "mysite-1.zip", "mysite-2.zip"]);
    assert!(said.out.contains("mysite/static/site.css"), "{}", said.out);
    let said = place.run(&["verify", "root/current"]);
    assert_eq!(said.code, 0, "{}", said.all());
    let said = run(&place, &["remove", "2"]);
    assert_eq!(said.code, 0, "{}", said.all());
}

#[test]
fn a_site_that_cannot_be_collected_fails_at_build() {
    let place = django::place();
    write_version(&place, "1", "");
    // A variable that is missing, and a secret in an error.
    let text = place.read("project/wheelbarrow.toml");
    place.write("project/wheelbarrow.toml", &text.replace("SECRET_KEY = ", "OTHER = "));
    let Some(said) = fails(&place) else { return };
    let wanted = "error: `django-admin collectstatic --noinput` failed at build, exit status: 1:\n";
    assert!(said.err.contains(wanted) && said.err.contains("KeyError: 'SECRET_KEY'"), "{}", said.err);
    assert!(
        said.err.contains("hint: set the variables that it needs in `environment` of [build]"),
        "{}",
        said.err
    );
    place.write("environment.json", &format!("{{\"SECRET_KEY\": \"{SECRET}\"}}"));
    let inline = format!("{{ SECRET_KEY = '{SECRET}' }}");
    place.write("project/wheelbarrow.toml", &text.replace(&inline, "'../environment.json'"));
    let code = place.read("project/mysite/settings.py");
    place.write(
        "project/mysite/settings.py",
        &format!("{code}raise ValueError('no database for ' + SECRET_KEY)\n"),
    );
    assert!(fails(&place).unwrap().err.contains("ValueError: no database for ***"));

    place.write("project/mysite/settings.py", &format!("{code}STATIC_ROOT = BASE_DIR.parent / 'static'\n"));
    let said = fails(&place).unwrap();
    assert!(
        said.err.contains("STATIC_ROOT is DEST/static, which is not in the code, DEST/mysite"),
        "{}",
        said.err
    );
    place.write("project/mysite/settings.py", &code);

    // A system that is neither here nor in a container.
    place.write("project/wheelbarrow.toml", &format!("{text}\n[[target]]\ntarget = 'alpine-3.20'\n"));
    let said = fails(&place).unwrap();
    assert!(
        said.err.contains("neither this machine nor a container can run the site for alpine-3.20"),
        "{}",
        said.err
    );

    place.write("environment.json", "{\"SECRET_KEY\": 5}");
    place.write("project/wheelbarrow.toml", &text.replace(&inline, "'../environment.json'"));
    assert!(fails(&place).unwrap().err.contains("the value of SECRET_KEY is not a string"));
}

/// The site says where its static files are, and could name all of its code.
#[test]
fn code_is_compared_wherever_the_static_files_are() {
    let place = django::place();
    for (version, root) in [("1", "BASE_DIR"), ("2", "BASE_DIR / 'mysite'")] {
        write(&place, version, "", &[]);
        let text = place.read("project/mysite/settings.py").replace("BASE_DIR / \"static\"", root);
        place.write("project/mysite/settings.py", &text);
        let Some(artifact) = build(&place, version) else { return };
        deploy(&place, &artifact);
        let record = place.path().join("root/current/.wheelbarrow/static.json");
        assert_eq!(record.exists(), version == "2", "{root}");
        let is_named = || run(&place, &["verify"]).all().contains("mysite/mysite/urls.py");
        assert!(!is_named(), "{root}");
        fs::write(place.path().join("root/current/mysite/mysite/urls.py"), "urlpatterns = []\n").unwrap();
        assert!(is_named(), "{root}");
    }
}
