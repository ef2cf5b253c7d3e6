//! Detects from the output of uv and git that the network failed: both have the same exit code for that as
//! for every other failure.

/// What uv writes if it found nothing and was not to look further.
pub(crate) const OFFLINE: &str = "the network was disabled";

/// uv, and what it is made of. An index that answers with an error is one that failed, as where Wheelbarrow fetches itself.
const OF_UV: [&str; 9] = [
    "Failed to fetch:",
    "HTTP status client error",
    "HTTP status server error",
    "Network connectivity is disabled",
    "dns error",
    "error sending request for url",
    "lack of valid authentication credentials",
    "returned a 403 Forbidden error",
    OFFLINE,
];

/// git, curl, ssh, and the package managers of images: apt, dnf and apk.
const OF_OTHERS: [&str; 16] = [
    "Authentication failed",
    "Connection refused",
    "Connection reset",
    "Connection timed out",
    "Could not resolve host",
    "Couldn't connect to server",
    "E: Failed to fetch",
    "Failed to connect to",
    "Failed to download metadata",
    "Network is unreachable",
    "Operation timed out",
    "SSL certificate problem",
    "Temporary failure resolving",
    "The requested URL returned error",
    "could not read Username",
    "temporary error (try again later)",
];

/// Whether uv failed because of the network or an index. What a build backend wrote may be in the text too, so no more
/// than uv's own words count.
pub(crate) fn failed_uv(text: &str) -> bool {
    OF_UV.iter().any(|sign| text.contains(sign))
}

/// The same for any program.
pub(crate) fn failed(text: &str) -> bool {
    failed_uv(text) || OF_OTHERS.iter().any(|sign| text.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_the_network_are_told_from_others() {
        // As uv 0.13 and git 2.39 write them.
        for text in [
            "error: Failed to fetch: https://h/simple/a/\n  cause: error sending request for url (https://h/simple/a/)",
            "cause: Network connectivity is disabled, but the requested data wasn't found in the cache: https://h/a",
            "hint: Packages were unavailable because the network was disabled.",
            "cause: HTTP status server error (503 Service Unavailable) for url (http://h/a)",
            "hint: An index URL (http://h/) could not be queried due to a lack of valid authentication credentials (401 Unauthorized)",
        ] {
            assert!(failed_uv(text) && failed(text), "{text}");
        }
        for text in [
            "fatal: unable to access 'https://h/x.git/': Could not resolve host: h",
            "fatal: unable to access 'https://h/x.git/': Failed to connect to h port 9 after 0 ms: Couldn't connect to server",
            "fatal: unable to access 'http://h/x.git/': The requested URL returned error: 500",
            "ssh: Could not resolve hostname h: Name or service not known",
            "fatal: could not read Username for 'http://h': No such device or address",
        ] {
            assert!(failed(text) && !failed_uv(text), "{text}");
        }
        for text in [
            "",
            "error: No download found for request: cpython-3.99-linux-x86_64-gnu",
            "cause: Because a was not found in the package registry and you require a, we can conclude that your requirements are unsatisfiable.",
            "fatal: repository 'http://h/x.git/' not found",
            "error: command '/usr/bin/gcc' failed with exit code 1",
        ] {
            assert!(!failed(text), "{text}");
        }
    }
}
