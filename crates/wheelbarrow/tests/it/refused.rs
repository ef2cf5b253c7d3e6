//! Settings that every server refuses are refused by the build.

use crate::support::Place;

#[test]
fn a_build_refuses_what_every_deploy_refuses() {
    let service = |text: &str| format!("[[release.service]]\nname = 'web'\nrun = 'gunicorn'\n{text}");
    for (settings, reason) in [
        ("[release]\nshared = ['media', 'media/x']\n".to_owned(), "`shared`: `media/x` is inside `media`"),
        ("[release]\nstatic_root = 'static//x'\n".to_owned(), "`static_root`: "),
        (format!("{0}{0}", service("")), "`service`: two services have the name `web`"),
        (
            format!("[release.server]\nkind = 'command'\ncommand = ['true']\n{}", service("")),
            "is a service `web` already",
        ),
        ("[release]\ntimeouts = { check = 86401 }\n".to_owned(), "`timeouts.check`: 86401 s are over a day"),
        ("[release]\ntimeouts = { check = 0 }\n".to_owned(), "`timeouts.check`: the limit is 0 s"),
        ("[release.check]\nscheme = 'ftp'\n".to_owned(), "one of \"http\", \"https\""),
        (
            "[release.hooks]\nbefore_migrate = { run = 'x', required = true }\n".to_owned(),
            "`required` is for `after_switch` only",
        ),
        (service("schedule = 'dayly'\n"), "the times `dayly` of the service `web` are not"),
    ] {
        let place = Place::with(&[("app.py", ""), ("requirements.txt", ""), ("wheelbarrow.toml", &settings)]);
        let said = place.run(&["build", "--cache-dir", "cache"]);
        assert!(said.code == 8 && said.err.contains(reason), "{settings}: {}", said.all());
    }
    // Which users there are depends on the server.
    let place = Place::with(&[("wheelbarrow.toml", "[release]\nowner = 'nobody-here'\n")]);
    let said = place.run(&["build"]);
    assert!(said.err.contains("no file in [PLACE] names the dependencies"), "{}", said.all());
}
