//! `cargo xtask servers`: releases of a small site are switched while real servers serve it under load, in a container
//! with systemd: gunicorn and uvicorn by socket unit, gunicorn reloaded in place, uWSGI, Apache's mod_wsgi.
//!
//! A page says of which version its code and its dependency are, so what was served is known without any proof of ours,
//! and the proof is compared with it. What the guide `docs/guides/servers.md` shows are the files that are used here.
//! Load goes to the container's own loopback; it has no other network.

mod apache;
mod bad;
pub(crate) mod host;
pub(crate) mod load;
mod place;
mod plain;
mod queues;
mod services;
mod twenty;
mod units;
mod user;
mod watched;

use anyhow::{Context, Result, bail};
use fs_err as fs;

use crate::children::{target_directory, unavailable, workspace};
use crate::containers::images::Images;

use host::{Host, Machine};
use load::Load;
use place::{Place, Versions};

/// Debian's releases, with their names among the targets. The first is taken if none is named.
const SUITES: [(&str, &str); 3] =
    [("bookworm", "debian-12"), ("trixie", "debian-13"), ("forky", "debian-14")];
const PACKAGES: &str = "systemd-sysv,dbus,python3,procps,nginx-light,uwsgi-core,uwsgi-plugin-python3,apache2,libapache2-mod-wsgi-py3,redis-server,libpam-systemd";

type Scene = (&'static str, fn(&Host) -> Result<()>);

/// In this order, each with a root of its own.
const SCENES: [Scene; 19] = [
    ("gunicorn by socket unit, nginx in front", units::gunicorn),
    ("releases that fail behind a socket unit", units::failing),
    ("gunicorn with workers of uvicorn's, by socket unit", units::gunicorn_uvicorn),
    ("gunicorn with its own workers for ASGI, by socket unit", units::gunicorn_asgi),
    ("gunicorn 26, with both kinds of workers", units::gunicorn_26),
    ("uvicorn by socket unit", units::uvicorn),
    ("factories by socket unit", units::factories),
    ("services: web, workers that drain, beat, a timer", services::services),
    ("services: workers of huey, RQ and Django's tasks", queues::queues),
    ("services: a watchdog", watched::watched),
    ("services by the systemd of a user", user::user),
    ("gunicorn, reloaded in place", plain::gunicorn_in_place),
    ("granian, restarted", plain::granian),
    ("uWSGI, by itself and with an emperor", plain::uwsgi),
    ("uWSGI of the site's own virtualenv", plain::uwsgi_of_the_site),
    ("Apache's mod_wsgi in daemon mode, touched and graceful", apache::mod_wsgi),
    (apache::OF_PYPI, apache::mod_wsgi_of_pypi),
    ("set-ups of gunicorn that do not run a new release", bad::gunicorn),
    ("set-ups of uWSGI, Apache and systemd that do not run a new release", bad::others),
];

/// All of them, or those that are named by a part of their title. `--deploys N` has the services deployed so often, and nothing
/// else. `--suite SUITE`, before all else, takes another release of Debian.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (suite, arguments) = match arguments {
        [flag, suite, rest @ ..] if flag == "--suite" => (suite.as_str(), rest),
        rest => (SUITES[0].0, rest),
    };
    let (suite, system) = SUITES.into_iter().find(|(known, _)| *known == suite).with_context(|| {
        format!("unknown suite {suite}; known are {}", SUITES.map(|(known, _)| known).join(", "))
    })?;
    let (wanted, deploys) = match arguments.iter().position(|argument| argument == "--deploys") {
        Some(place) => {
            let number = arguments.get(place + 1).and_then(|number| number.parse::<u32>().ok());
            (&arguments[..place], Some(number.context("`--deploys` needs a number")?))
        }
        None => (arguments, None),
    };
    let place = target_directory().join("servers").join(suite);
    fs::create_dir_all(&place)?;
    let images = match Images::find(&place) {
        Ok(images) => images,
        Err(reason) => return unavailable("servers", &reason),
    };
    // Another name for other packages: an image that is there is not made again.
    let image = format!("localhost/wheelbarrow-test-servers:{suite}-2");
    images.make_system(&place, suite, &image, PACKAGES)?;
    let versions = Versions::build(&place, system, deploys.is_some())?;
    let is_wanted = |title: &str| match wanted {
        [] => title != apache::OF_PYPI,
        parts => parts.iter().any(|part| title.contains(part.as_str())),
    };
    if is_wanted(apache::OF_PYPI) {
        apache::build_module(&versions, &images, &place, suite, system)?;
    }
    let mounts = [
        (versions.directory.clone(), "/artifacts"),
        (versions.wheelbarrow.clone(), "/usr/bin/wheelbarrow"),
        (workspace().join("xtask/src/servers"), "/scripts"),
    ];
    let host = match Host::start(
        &images,
        &Machine { name: "servers", image: &image, mounts: &mounts, disks: &[] },
    ) {
        Ok(host) => host,
        Err(reason) => return unavailable("servers", &reason),
    };
    host.clear()?;
    if let Some(deploys) = deploys {
        return twenty::many(&host, deploys);
    }
    let mut failed = Vec::new();
    for (title, scene) in SCENES.into_iter().filter(|(title, _)| is_wanted(title)) {
        println!("\n-- {title}");
        if let Err(error) = scene(&host) {
            println!("FAILED: {error:#}");
            failed.push(title);
        }
    }
    if !failed.is_empty() {
        bail!("{} of the servers failed: {}", failed.len(), failed.join("; "));
    }
    if wanted.is_empty() {
        println!("skipped: {}, which takes a compiler; name it to run it", apache::OF_PYPI);
    }
    println!("\nservers: all did what docs/guides/servers.md says");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What people copy is what was tested.
    #[test]
    fn the_guide_shows_the_files_that_are_tested() {
        let shows = |guide: &str, name: &str, text: &str| {
            let page = fs::read_to_string(workspace().join("docs/guides").join(guide)).unwrap();
            assert!(
                page.contains(text.trim_end()),
                "docs/guides/{guide} does not show {name} as it is tested"
            );
        };
        for (name, text) in place::CONFIGURATION {
            shows("servers.md", name, text);
        }
        for guide in ["services.md", "celery-cron.md"] {
            shows(guide, "worker.sh", include_str!("servers/configuration/worker.sh"));
        }
    }
}
