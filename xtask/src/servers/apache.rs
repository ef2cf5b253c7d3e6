//! Apache with mod_wsgi: the package of Debian, and the newest version of PyPI, which is an artifact of its own here.

use std::path::Path;

use anyhow::Result;
use fs_err as fs;

use super::host::Host;
use super::place::{APACHE, Versions};
use super::plain::{DEPLOYS, RATE, first, settings, switch_under_load};
use super::{Load, Place};
use crate::children::{clean, run as run_child};
use crate::containers::images::Images;
use crate::tools;

/// The scene that takes a compiler, and so runs only if it is named.
pub(super) const OF_PYPI: &str = "Apache's mod_wsgi 6 of PyPI, in daemon mode";
/// What compiles it: `apxs` says where Apache's headers are.
const COMPILER: &str = "python3-dev,gcc,libc6-dev,apache2-dev";
const ARTIFACT: &str = "mod-wsgi.zip";
const LOAD: &str = "/etc/apache2/mods-available/wsgi.load";

pub(super) fn mod_wsgi(host: &Host<'_>) -> Result<()> {
    let (place, site) = serve(host, "apache", 8006)?;
    // A graceful restart of all of Apache ends its daemon processes at once: the right release serves, and requests fail.
    place.settings(&settings("kind = 'command'\ncommand = 'apache2ctl graceful'", 8006))?;
    let load = Load::begin(host, "127.0.0.1:8006", RATE)?;
    for number in 1..=DEPLOYS {
        place.switch(1 + number % 2)?;
    }
    load.end()?.expect_whole(&[1, 2])?;
    place.expect_ailments("", &["graceful"])?;
    host.good(&format!("systemctl stop apache2; rm {site}")).map(drop)
}

/// A site of the guide's configuration that is switched under load, and the file of its configuration.
fn serve<'h>(host: &'h Host<'h>, name: &str, port: u16) -> Result<(Place<'h>, String)> {
    let place = first(host, name)?;
    let site = format!("/etc/apache2/sites-enabled/{name}.conf");
    host.write(&site, &place.adapt(APACHE, port))?;
    host.good("systemctl restart apache2")?;
    let script = format!("{}/current/mysite/mysite/wsgi.py", place.root());
    place.settings(&settings(&format!("kind = 'touch'\npath = '{script}'"), port))?;
    switch_under_load(&place, port)?;
    place.expect_ailments("", &[])?;
    Ok((place, site))
}

/// The artifact of the module alone, beside those of the site, compiled in a container of the system.
pub(super) fn build_module(
    versions: &Versions,
    images: &Images,
    place: &Path,
    suite: &str,
    system: &str,
) -> Result<()> {
    let image = format!("localhost/wheelbarrow-test-apxs:{suite}");
    images.make_system(place, suite, &image, COMPILER)?;
    let project = place.join("mod-wsgi");
    fs::create_dir_all(&project)?;
    fs::write(project.join("requirements.txt"), "mod_wsgi==6.1.1\n")?;
    let minor = match suite {
        "bookworm" => 11,
        "trixie" => 13,
        _ => 14,
    };
    fs::write(
        project.join("wheelbarrow.toml"),
        format!(
            "name = 'mod-wsgi'\nversion = '6.1.1'\n\n[[target]]\ntarget = '{system}'\ncontainer = '{image}'\n\
             libraries = ['libpython3.{minor}.so.1.0']\n"
        ),
    )?;
    let mut build = clean(&versions.wheelbarrow);
    images.configure(&mut build);
    build.arg("build").arg(&project).arg("--output").arg(versions.directory.join(ARTIFACT));
    run_child(build.arg("--cache-dir").arg(place.join("cache")).env("UV", tools::uv(&[])?))
}

pub(super) fn mod_wsgi_of_pypi(host: &Host<'_>) -> Result<()> {
    let load = format!("/opt/mod-wsgi/venv/bin/mod_wsgi-express module-config >{LOAD}");
    host.good(&format!("cp {LOAD} {LOAD}.debian; python3 /artifacts/{ARTIFACT} -d /opt/mod-wsgi && {load}"))?;
    let (_, site) = serve(host, "apache-pypi", 8018)?;
    let module = host.good("grep -ho '/[^ ]*mod_wsgi[^ ]*[.]so' /proc/$(pgrep -o apache2)/maps | sort -u")?;
    anyhow::ensure!(
        module.starts_with("/opt/mod-wsgi/venv/") && module.lines().count() == 1,
        "Apache has loaded {module}"
    );
    println!("   {}", module.trim());
    host.good(&format!("systemctl stop apache2; mv {LOAD}.debian {LOAD}; rm {site}")).map(drop)
}
