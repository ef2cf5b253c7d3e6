//! Artifacts by what their manifests say of releases.

use serde_json::json;

use super::artifacts::changed;
use super::{Case, site_of};

/// What `release` may be: `docs/reference/settings.md` has the keys.
pub(super) fn cases() -> Vec<Case> {
    let values = [
        (json!({}), true),
        (
            json!({"settings": "site.settings", "prepare": [["manage.py", "migrate"], "manage.py check"], "keep": 3}),
            true,
        ),
        (json!({"server": {"kind": "none"}, "check": false, "timeouts": {"check": 60}}), true),
        (
            json!({"server": {"kind": "systemd", "unit": "site.service", "action": "reload"}, "check": {"path": "/"}}),
            true,
        ),
        (
            json!({"server": {"kind": "touch", "path": "/srv/reload"}, "probe": {"url": "http://x/", "expected": [200]}}),
            true,
        ),
        (
            json!({"server": {"kind": "command", "command": ["true"]}, "static-root": "static", "keep_static": 2}),
            true,
        ),
        (
            json!({"hooks": {"before-migrate": "dump", "after_switch": [["a"], {"run": "b", "required": true}]}, "timeouts": {"hook": 5}}),
            true,
        ),
        (
            json!({"service": [
                {"name": "web", "run": "gunicorn x", "socket": true, "probe": {"path": "/", "expected": [200]}, "loosen": ["home"]},
                {"name": "worker", "run": ["a"], "instances": 999, "handover": "drain", "stop": {"signal": "SIGRTMIN+3", "timeout": 0}, "watchdog": 1},
                {"name": "beat-2", "run": "a", "hosts": "one", "stays_up": 0, "probe": {"command": "b", "socket": "/x"}},
                {"name": "night", "run": "a", "schedule": "Mon..Fri *-*-* 02:00"},
                {"name": "mail", "unit": "mail.service", "action": "reload"},
                {"name": "t", "touch": "/x"}, {"name": "c", "command": "x", "probe": {"url": "http://x/", "socket": "/y"}},
            ], "unit-name": "site", "fork": false, "singletons": false, "systemd": "user"}),
            true,
        ),
        (json!({"systemd": "session"}), false),
        (json!({"service": [{"name": "a"}]}), false),
        (json!({"service": {"name": "a", "run": "x"}}), false),
        (json!({"service": [{"name": 1, "run": "x"}]}), false),
        (json!({"service": [{"name": "A", "run": "x"}]}), false),
        (json!({"service": [{"name": "a-", "run": "x"}]}), false),
        (json!({"service": [{"name": "a".repeat(65), "run": "x"}]}), false),
        (json!({"service": [{"name": "a", "run": "x", "unit": "y"}]}), false),
        (json!({"service": [{"name": "a", "run": "x", "action": "reload"}]}), false),
        (json!({"service": [{"name": "a", "unit": "x", "instances": 2}]}), false),
        (json!({"service": [{"name": "a", "run": "x", "instances": 1000}]}), false),
        (json!({"service": [{"name": "a", "run": "x", "socket": true, "handover": "restart"}]}), false),
        (json!({"service": [{"name": "a", "run": "x", "socket": true, "schedule": "daily"}]}), false),
        (json!({"service": [{"name": "a", "run": "x", "schedule": " "}]}), false),
        (json!({"service": [{"name": "a", "run": "x", "schedule": "a%b"}]}), false),
        (json!({"service": [{"name": "a", "run": "x", "schedule": "daily", "stays-up": 1}]}), false),
        (json!({"service": [{"name": "a", "run": "x", "schedule": "daily", "watchdog": 1}]}), false),
        (json!({"service": [{"name": "a", "run": "x", "watchdog": 0}]}), false),
        (json!({"service": [{"name": "a", "unit": "x", "watchdog": 1}]}), false),
        (json!({"service": [{"name": "a", "run": "x", "stays-up": 1, "stays_up": 1}]}), false),
        (json!({"service": [{"name": "a", "run": "x", "hosts": "one", "handover": "drain"}]}), false),
        (json!({"service": [{"name": "a", "run": "x", "probe": {"path": "/"}}]}), false),
        (
            json!({"service": [{"name": "a", "run": "x", "socket": true, "probe": {"path": "/", "socket": "/y"}}]}),
            false,
        ),
        (json!({"service": [{"name": "a", "run": "x", "probe": {"url": "u", "command": "c"}}]}), false),
        (json!({"service": [{"name": "a", "run": "x", "probe": {}}]}), false),
        (json!({"service": [{"name": "a", "run": "x", "stop": {"signal": "term"}}]}), false),
        (json!({"service": [{"name": "a", "run": "x", "loosen": ["x"]}]}), false),
        (json!({"service": [{"name": "a", "run": "x", "more": 1}]}), false),
        (json!({"hooks": {"on_failure": {"run": ["a"], "timeout": 5}, "after_rollback": []}}), true),
        (json!({"hooks": {"after_switch": [{"required": true}]}}), false),
        (json!({"hooks": {"after_switch": {"run": "a", "user": "root"}}}), false),
        (json!({"hooks": {"after_switch": ["a 'b"]}}), false),
        (json!({"hooks": {"after_switch": null}}), false),
        (json!({"hooks": {"before_switch": "a"}}), false),
        (json!([]), false),
        (json!(null), false),
        (json!({"more": 1}), false),
        (json!({"settings": 1}), false),
        (json!({"prepare": [[]]}), false),
        (json!({"prepare": [""]}), false),
        (json!({"prepare": ["a 'b"]}), false),
        (json!({"prepare": ["a\0b"]}), false),
        (json!({"prepare": [1]}), false),
        (json!({"keep": -1}), false),
        (json!({"keep_static": 4_294_967_296_u64}), false),
        (json!({"server": {"kind": "other"}}), false),
        (json!({"server": {"kind": "touch"}}), false),
        (json!({"server": {"kind": "systemd", "unit": "x", "more": 1}}), false),
        (json!({"server": "none"}), false),
        (json!({"check": 1}), false),
        (json!({"check": {"allow": ["x y"]}}), false),
        (json!({"check": {"allow": ["data-in-release=thumbnails"]}}), true),
        (json!({"check": {"allow": ["data-in-release:MEDIA_ROOT"]}}), false),
        (json!({"check": {"expected": [65_536]}}), false),
        (json!({"probe": {}}), false),
        (json!({"timeouts": {"check": "60"}}), false),
        (json!({"timeouts": []}), false),
    ];
    values
        .iter()
        .map(|(value, taken)| {
            let artifact = changed(|manifest| manifest["release"] = value.clone());
            Case::new(&format!("release {value}"), artifact, *taken)
        })
        .chain([Case::new("a site", site_of(&[]), true)])
        .collect()
}
