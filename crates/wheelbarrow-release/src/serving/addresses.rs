//! Looks up host names as other programs of this machine do: `getent` follows nsswitch.conf, and a statically linked C
//! library does not.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use crate::command::as_deployer;

/// The addresses of `host:port`, in the order in which a client tries them. A numeric address is not looked up.
pub(crate) fn addresses(authority: &str, limit: Duration) -> std::io::Result<Vec<SocketAddr>> {
    if let Ok(address) = authority.parse() {
        return Ok(vec![address]);
    }
    let invalid = || Error::new(ErrorKind::InvalidInput, format!("`{authority}` is not like `host:port`"));
    let (host, port) = authority.rsplit_once(':').ok_or_else(invalid)?;
    let port: u16 = port.parse().map_err(|_| invalid())?;
    let unknown = |reason: &str| Error::other(format!("no address for the host `{host}`{reason}"));
    if host.starts_with('-') {
        return Err(unknown(""));
    }
    let mut getent = as_deployer("timeout");
    getent.arg(limit.as_secs().max(1).to_string()).args(["getent", "ahosts", host]);
    let said =
        getent.stdin(Stdio::null()).output().map_err(|error| unknown(&format!(": timeout: {error}")))?;
    let mut found = Vec::new();
    for line in String::from_utf8_lossy(&said.stdout).lines() {
        let address = line.split_whitespace().next().and_then(|address| address.parse().ok());
        let address = address.map(|address| SocketAddr::new(address, port));
        // One line for each kind of socket.
        found.extend(address.filter(|address| !found.contains(address)));
    }
    match (found.is_empty(), said.status.code()) {
        (false, _) => Ok(found),
        (true, Some(124)) => Err(ErrorKind::TimedOut.into()),
        (true, Some(127)) => Err(unknown(": getent is not here; use a numeric address")),
        (true, _) => Err(unknown("")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(authority: &str) -> Vec<String> {
        let found = addresses(authority, Duration::from_secs(10)).unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_name_has_the_addresses_that_the_machine_gives_it() {
        assert_eq!(texts("127.0.0.1:80"), ["127.0.0.1:80"]);
        assert_eq!(texts("[::1]:8000"), ["[::1]:8000"]);
        let local = texts("localhost:8000");
        assert!(local.contains(&"127.0.0.1:8000".to_owned()), "{local:?}");
        let different: std::collections::BTreeSet<_> = local.iter().collect();
        assert_eq!(different.len(), local.len(), "{local:?}");
    }

    #[test]
    fn what_is_no_host_is_an_error_that_names_it() {
        for wrong in ["localhost", "localhost:", "localhost:65536", "-h:80", "no-such-host.invalid:80"] {
            let error = addresses(wrong, Duration::from_secs(10)).unwrap_err().to_string();
            let host = wrong.split(':').next().unwrap_or_default();
            assert!(error.contains(host), "{wrong}: {error}");
        }
    }
}
