//! The hosts: a balancer, three that serve and have systems of three generations, and a database. Each has what packages
//! bring, and a key to log in with.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use fs_err as fs;

use super::network::{Network, address};
use crate::children::{clean, workspace};
use crate::containers::images::{Images, output};
use crate::containers::join;
use crate::servers::host::{Host, Machine};

/// A host as the guide's inventory has it.
struct Kind {
    name: &'static str,
    suite: &'static str,
    /// The last byte of its address.
    number: u8,
    /// Services of packages that it has no use for.
    without: &'static str,
}

const KINDS: [Kind; 5] = [
    Kind { name: "lb", suite: "bookworm", number: 10, without: "nginx postgresql" },
    Kind { name: "web1", suite: "bullseye", number: 11, without: "" },
    Kind { name: "web2", suite: "bookworm", number: 12, without: "haproxy postgresql" },
    Kind { name: "web3", suite: "trixie", number: 13, without: "" },
    Kind { name: "db", suite: "bookworm", number: 20, without: "nginx haproxy" },
];
pub(super) const WEB: [&str; 3] = ["web1", "web2", "web3"];

const SUITES: [(&str, &str); 3] = [("bullseye", ""), ("bookworm", ",haproxy,postgresql"), ("trixie", "")];
const PACKAGES: &str = "systemd-sysv,dbus,python3,procps,iproute2,openssh-server,nginx-light";
/// The one whose disk can be full, and how large that is.
pub(super) const SMALL: &str = "web2";
const DISK: &str = "600m";
/// A host that was switched on again has another hardware address: the old one must be forgotten first.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) struct Hosts<'i> {
    network: Network,
    members: Vec<(&'static Kind, Host<'i>)>,
}

fn image(suite: &str) -> String {
    format!("localhost/wheelbarrow-test-fleet:{suite}")
}

/// Those that are not there yet.
pub(super) fn make_images(images: &Images, place: &Path) -> Result<()> {
    std::thread::scope(|scope| {
        let make = |(suite, more): (&'static str, &str)| {
            let packages = format!("{PACKAGES}{more}");
            scope.spawn(move || images.make_system(place, suite, &image(suite), &packages))
        };
        let made: Vec<_> = SUITES.into_iter().map(make).collect();
        made.into_iter().try_for_each(join)
    })
}

impl<'i> Hosts<'i> {
    /// An error is the reason why there are none. `key` is the public one of who logs in.
    pub(super) fn start(images: &'i Images, key: &Path) -> Result<Self> {
        let network = Network::make()?;
        let scripts = [(workspace().join("xtask/src/servers"), "/scripts")];
        let started = std::thread::scope(|scope| {
            let start = |kind: &'static Kind| {
                let (scripts, name) = (&scripts, format!("fleet-{}", kind.name));
                scope.spawn(move || {
                    let machine =
                        Machine { name: &name, image: &image(kind.suite), mounts: scripts, disks: &[] };
                    Host::start(images, &machine).map(|host| (kind, host))
                })
            };
            let started: Vec<_> = KINDS.iter().map(start).collect();
            started.into_iter().map(join).collect::<Result<Vec<_>>>()
        })?;
        let hosts = Self { network, members: started };
        for (kind, host) in &hosts.members {
            host.good("mkdir -p -m 700 /root/.ssh /srv")?;
            host.copy(key, "/root/.ssh/authorized_keys")?;
            host.good(&format!("chown root:root /root/.ssh/authorized_keys; hostname {}", kind.name))?;
            if !kind.without.is_empty() {
                host.good(&format!("systemctl disable --quiet --now {} 2>&1", kind.without))?;
            }
            if kind.name == SMALL {
                host.good(&format!("mount -t tmpfs -o size={DISK},mode=755 none /srv"))?;
            }
            hosts.connect(kind)?;
        }
        KINDS.iter().try_for_each(wait_for_ssh)?;
        Ok(hosts)
    }

    pub(super) fn host(&self, name: &str) -> Result<&Host<'i>> {
        Ok(&self.member(name)?.1)
    }

    fn member(&self, name: &str) -> Result<&(&'static Kind, Host<'i>)> {
        self.members.iter().find(|(kind, _)| kind.name == name).with_context(|| format!("no host {name}"))
    }

    /// How many bytes the controller has sent so far, with all that ssh and Ansible need.
    pub(super) fn sent_by_controller(&self) -> Result<u64> {
        self.network.sent_by_controller()
    }

    pub(super) fn power_off(&self, name: &str) -> Result<()> {
        self.host(name)?.power_off()
    }

    /// The script runs there before it has a network.
    pub(super) fn power_on(&self, name: &str, script: &str) -> Result<()> {
        let (kind, host) = self.member(name)?;
        host.power_on()?;
        host.good(script)?;
        self.connect(kind)?;
        wait_for_ssh(kind)
    }

    fn connect(&self, kind: &Kind) -> Result<()> {
        self.network.connect(&self.host(kind.name)?.process()?, kind.number)
    }
}

fn wait_for_ssh(kind: &Kind) -> Result<()> {
    let begun = Instant::now();
    let place = format!("{}:22", address(kind.number)).parse()?;
    while std::net::TcpStream::connect_timeout(&place, Duration::from_secs(1)).is_err() {
        if begun.elapsed() > PATIENCE {
            bail!("{} has no ssh", kind.name);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// A pair of keys for this run; the public one.
pub(super) fn make_key(directory: &Path) -> Result<std::path::PathBuf> {
    let key = directory.join("key");
    for old in [key.clone(), key.with_extension("pub")] {
        if old.exists() {
            fs::remove_file(old)?;
        }
    }
    let mut keygen = clean("ssh-keygen");
    output(keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "fleet", "-f"]).arg(&key))?;
    Ok(key.with_extension("pub"))
}
