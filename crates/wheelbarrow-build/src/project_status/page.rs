//! The status on a project's page of an index.
//! <https://packaging.python.org/en/latest/specifications/simple-repository-api/>
//!
//! ```html
//! <meta name="pypi:project-status" content="archived">
//! <meta name="pypi:project-status-reason" content="moved to a new home">
//! ```
//!
//! ```json
//! {"project-status": {"status": "archived", "reason": "moved to a new home"}}
//! ```
//!
//! Whoever wrote the page may want harm: it is read up to a limit, and the reason becomes one short line without
//! control characters.

use serde::Deserialize;
use wheelbarrow_artifact::printable;
use wheelbarrow_audit::ProjectStatus;

/// The header `Accept`. JSON has the status behind the files, of which a project may have thousands.
pub(super) const ACCEPT: &str =
    "application/vnd.pypi.simple.v1+html, text/html;q=0.5, application/vnd.pypi.simple.v1+json;q=0.1";

/// Characters of a reason that are kept.
const LONGEST_REASON: usize = 200;

/// Bytes of a page that are read.
pub(super) fn limit(content_type: &str) -> u64 {
    if is_json(content_type) { 4 << 20 } else { 64 << 10 }
}

/// Whether so much of a page has its head in it.
pub(super) fn has_head(content_type: &str, bytes: &[u8]) -> bool {
    let begins = |tag: &[u8]| bytes.windows(tag.len()).any(|window| window.eq_ignore_ascii_case(tag));
    !is_json(content_type) && (begins(b"</head") || begins(b"<body"))
}

/// Nothing if the page has no status, has a status that is not known, or cannot be read.
pub(super) fn status(content_type: &str, bytes: &[u8]) -> Option<ProjectStatus> {
    let (marker, reason) = if is_json(content_type) {
        let page: JsonPage = serde_json::from_slice(bytes).ok()?;
        let status = page.project_status?;
        (status.status?, status.reason)
    } else {
        let text = String::from_utf8_lossy(bytes);
        let metas = metas(&text);
        let first = |name: &str| {
            let (_, content) = metas.iter().find(|(key, _)| key == name)?;
            Some(content.clone())
        };
        (first("pypi:project-status")?, first("pypi:project-status-reason"))
    };
    let reason = reason.as_deref().map(one_line).unwrap_or_default();
    Some(ProjectStatus { marker: marker.trim().parse().ok()?, reason })
}

fn is_json(content_type: &str) -> bool {
    content_type.ends_with("json")
}

#[derive(Deserialize)]
struct JsonPage {
    #[serde(rename = "project-status")]
    project_status: Option<JsonStatus>,
}

#[derive(Deserialize)]
struct JsonStatus {
    status: Option<String>,
    reason: Option<String>,
}

fn one_line(text: &str) -> String {
    // A part of the text is enough: white space and control characters may make it longer, or shorter.
    let text: String = text.chars().take(4 * LONGEST_REASON).collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = printable(&words.join(" ")).into_owned();
    match line.char_indices().nth(LONGEST_REASON) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// Name and content of each `meta` of the head, in their order. Names are in lower case.
fn metas(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.split_once("-->").map_or("", |(_, rest)| rest);
            continue;
        }
        let end = rest.find(|one: char| one.is_ascii_whitespace() || one == '>').unwrap_or(rest.len());
        let tag = rest[..end].trim_end_matches('/').to_ascii_lowercase();
        rest = &rest[end..];
        match tag.as_str() {
            "/head" | "body" => break,
            "meta" => {
                let (attributes, behind) = attributes(rest);
                let value = |name: &str| {
                    let (_, value) = attributes.iter().find(|(key, _)| key == name)?;
                    Some(unescape(value))
                };
                if let (Some(name), Some(content)) = (value("name"), value("content")) {
                    found.push((name.to_ascii_lowercase(), content));
                }
                rest = behind;
            }
            _ => {}
        }
    }
    found
}

/// The attributes of a tag, up to its `>`, and what follows. Names are in lower case, values as they stand. A tag that
/// does not end has none.
/// <https://html.spec.whatwg.org/multipage/parsing.html#before-attribute-name-state>
fn attributes(text: &str) -> (Vec<(String, &str)>, &str) {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|one: char| one.is_ascii_whitespace() || one == '/');
        if rest.is_empty() {
            return (Vec::new(), "");
        }
        if let Some(behind) = rest.strip_prefix('>') {
            return (found, behind);
        }
        let ends = |one: char| one.is_ascii_whitespace() || "/>=".contains(one);
        let end = rest.find(ends).unwrap_or(rest.len()).max(rest.chars().next().map_or(1, char::len_utf8));
        let name = rest[..end].to_ascii_lowercase();
        rest = rest[end..].trim_start();
        let Some(value) = rest.strip_prefix('=') else {
            found.push((name, ""));
            continue;
        };
        let value = value.trim_start();
        let quote = value.chars().next().filter(|quote| "\"'".contains(*quote));
        let (value, behind) = match quote {
            Some(quote) => value[1..].split_once(quote).unwrap_or((value, "")),
            None => {
                value.split_at(value.find(|one: char| one.is_ascii_whitespace() || one == '>').unwrap_or(0))
            }
        };
        found.push((name, value));
        rest = behind;
    }
}

/// Character references that a page needs in an attribute; others stay as they are.
fn unescape(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, reference) = rest.split_at(at);
        clean.push_str(before);
        let known =
            reference[1..].split_once(';').and_then(|(name, behind)| Some((character(name)?, behind)));
        match known {
            Some((character, behind)) => {
                clean.push(character);
                rest = behind;
            }
            None => {
                clean.push('&');
                rest = &reference[1..];
            }
        }
    }
    clean + rest
}

fn character(name: &str) -> Option<char> {
    let code = match name {
        "amp" => return Some('&'),
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "quot" => return Some('"'),
        "apos" => return Some('\''),
        _ => name.strip_prefix('#')?,
    };
    let code = match code.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => code.parse(),
    };
    char::from_u32(code.ok()?)
}

#[cfg(test)]
mod tests {
    use wheelbarrow_audit::StatusMarker;

    use super::*;

    const HTML: &str = "application/vnd.pypi.simple.v1+html";
    const JSON: &str = "application/vnd.pypi.simple.v1+json";

    fn html(page: &str) -> Option<(StatusMarker, String)> {
        status(HTML, page.as_bytes()).map(|status| (status.marker, status.reason))
    }

    #[test]
    fn the_status_is_a_meta_of_the_head() {
        let archived = |reason: &str| Some((StatusMarker::Archived, reason.to_owned()));
        let page = "<!DOCTYPE html><html><head><meta name=\"pypi:repository-version\" content=\"1.4\">\n\
                    <meta name=\"pypi:project-status\" content=\"archived\"><meta name='pypi:project-status-reason' \
                    content='moved &amp; renamed &#39;b&#x27; &lt;&unknown;&gt;'/></head>";
        assert_eq!(html(page), archived("moved & renamed 'b' <&unknown;>"));
        assert_eq!(html("<META CONTENT = archived\nNAME=pypi:project-status >"), archived(""));
        let two = "<meta name=\"pypi:project-status\" content=\"archived\">";
        assert_eq!(html(&format!("{two}{}", two.replace("archived", "deprecated"))), archived(""));
        for nothing in [
            "",
            "<head></head>",
            "<meta name=\"pypi:project-status\" content=\"active\">",
            "<meta name=\"pypi:project-status\" content=\"novel\">",
            "<meta name=\"pypi:project-status\">",
            "<meta name=\"pypi:project-status\" content=\"archived\"",
            "<!-- <meta name=\"pypi:project-status\" content=\"archived\"> -->",
            "<!-- <meta name=\"pypi:project-status\" content=\"archived\">",
            "<head></head><meta name=\"pypi:project-status\" content=\"archived\">",
            "<title x='<meta'><body><meta name=\"pypi:project-status\" content=\"archived\">",
            "<metal name=\"pypi:project-status\" content=\"archived\">",
        ] {
            assert_eq!(html(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn the_status_of_json_is_an_object() {
        let json = |text: &str| status(JSON, text.as_bytes()).map(|status| (status.marker, status.reason));
        let page =
            r#"{"files": [{"size": 1}], "project-status": {"status": "quarantined", "reason": "malware"}}"#;
        assert_eq!(json(page), Some((StatusMarker::Quarantined, "malware".to_owned())));
        let page = r#"{"project-status": {"status": "deprecated", "reason": null}}"#;
        assert_eq!(json(page), Some((StatusMarker::Deprecated, String::new())));
        for nothing in ["", "{}", "[]", r#"{"project-status": "archived"}"#, r#"{"project-status": {}}"#] {
            assert_eq!(json(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_reason_is_one_short_line() {
        let page = |reason: &str| {
            let page = format!(
                "<meta name=\"pypi:project-status\" content=\"archived\">\
                 <meta name=\"pypi:project-status-reason\" content=\"{reason}\">"
            );
            html(&page).unwrap().1
        };
        assert_eq!(page("a\n b\r\n\tc "), "a b c");
        assert_eq!(page("&#27;]52;c;eA==\u{7}\u{202e}x"), "\\x1b]52;c;eA==\\x07\\u202ex");
        let long = page(&"ü".repeat(50_000));
        assert_eq!(long.chars().count(), LONGEST_REASON + 3);
        assert!(page(&"&#27;".repeat(50_000)).len() <= LONGEST_REASON + 3);
    }

    #[test]
    fn the_head_is_enough() {
        assert!(has_head(HTML, b"<head></HEAD>") && has_head("text/html", b"<BODY>"));
        assert!(!has_head(HTML, b"<head>") && !has_head(JSON, b"</head>"));
        assert!(limit("text/html") < limit(JSON));
    }

    proptest::proptest! {
        #[test]
        fn no_page_is_a_panic(text in "(<|>|=|\"|'|/|&|;|#|x|meta|name|content|pypi:project-status|archived|!--|ü| |\n){0,60}") {
            let _ = html(&text);
        }
    }
}
