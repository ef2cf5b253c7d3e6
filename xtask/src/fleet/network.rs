//! A network of the hosts' own, with this machine in it as the controller: a bridge, and a cable to each container. It leads
//! nowhere else.

use std::process::Command;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::containers::images::output;

const BRIDGE: &str = "wheelbarrow0";
/// The first three bytes of each address.
const PREFIX: &str = "10.213.7";
/// The last byte of that of this machine.
const CONTROLLER: u8 = 1;

pub(super) struct Network;

impl Network {
    /// An error is the reason why there is none.
    pub(super) fn make() -> Result<Self> {
        let network = Self;
        network.remove();
        ip(&["link", "add", BRIDGE, "type", "bridge"]).context("no network between containers")?;
        ip(&["addr", "add", &format!("{PREFIX}.{CONTROLLER}/24"), "dev", BRIDGE])?;
        ip(&["link", "set", BRIDGE, "up"])?;
        Ok(network)
    }

    /// Gives the process's network an address in this one.
    pub(super) fn connect(&self, process: &str, number: u8) -> Result<()> {
        let cable = cable(number);
        // Of a container that has ended since.
        let _ = ip(&["link", "del", &cable]);
        ip(&["link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", process])?;
        ip(&["link", "set", &cable, "master", BRIDGE, "up"])?;
        let address = format!("{}/24", address(number));
        within(process, &["addr", "add", &address, "dev", "eth0"])?;
        within(process, &["link", "set", "eth0", "up"])
    }

    /// How many bytes this machine has sent so far, to all hosts. What they send each other passes the bridge and is not counted.
    pub(super) fn sent_by_controller(&self) -> Result<u64> {
        let path = format!("/sys/class/net/{BRIDGE}/statistics/tx_bytes");
        Ok(fs::read_to_string(path)?.trim().parse()?)
    }

    fn remove(&self) {
        let _ = ip(&["link", "del", BRIDGE]);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.remove();
    }
}

pub(super) fn address(number: u8) -> String {
    format!("{PREFIX}.{number}")
}

fn cable(number: u8) -> String {
    format!("wheelbarrow.{number}")
}

fn ip(words: &[&str]) -> Result<()> {
    output(Command::new("ip").args(words)).map(drop)
}

fn within(process: &str, words: &[&str]) -> Result<()> {
    output(Command::new("nsenter").args(["--target", process, "--net", "ip"]).args(words)).map(drop)
}
