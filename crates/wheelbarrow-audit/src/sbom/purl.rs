//! Package URLs of distributions: <https://github.com/package-url/purl-spec>.

use serde_json::Value;

/// `pkg:pypi/NAME@VERSION`, with what says where it is from where that is no index.
pub(super) fn of(name: &str, version: &str, direct_url: Option<&Value>) -> String {
    let plain = format!("pkg:pypi/{}@{}", encode(name), encode(version));
    match direct_url.and_then(reference) {
        Some(("vcs", url)) => format!("{plain}?vcs_url={}", encode(&url)),
        Some((_, url)) => format!("{plain}?download_url={}", encode(&url)),
        None => plain,
    }
}

/// What PEP 610 says, as a type of CycloneDX's external references and a URL. A directory of the builder's is nobody
/// else's to know.
pub(super) fn reference(direct_url: &Value) -> Option<(&'static str, String)> {
    let url = direct_url.get("url")?.as_str().filter(|url| !url.starts_with("file:"))?;
    match direct_url.get("vcs_info") {
        Some(vcs) => {
            let text = |key| vcs.get(key).and_then(Value::as_str).unwrap_or_default();
            Some(("vcs", format!("{}+{url}@{}", text("vcs"), text("commit_id"))))
        }
        None => Some(("distribution", url.to_owned())),
    }
}

/// Percent-encoding of all but what a purl takes as it is.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn distributions_have_urls_of_their_own() {
        assert_eq!(of("zope-interface", "1.0+local.1", None), "pkg:pypi/zope-interface@1.0%2Blocal.1");
        let git = json!({ "url": "https://git.example/x", "vcs_info": { "vcs": "git", "commit_id": "abc" } });
        assert_eq!(
            of("x", "1", Some(&git)),
            "pkg:pypi/x@1?vcs_url=git%2Bhttps%3A%2F%2Fgit.example%2Fx%40abc"
        );
        let archive = json!({ "url": "https://example.org/x.zip", "archive_info": {} });
        assert_eq!(
            of("x", "1", Some(&archive)),
            "pkg:pypi/x@1?download_url=https%3A%2F%2Fexample.org%2Fx.zip"
        );
        let directory = json!({ "url": "file:///home/me/x", "dir_info": {} });
        assert_eq!(of("x", "1", Some(&directory)), "pkg:pypi/x@1");
    }
}
