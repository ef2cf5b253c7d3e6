//! HTML in which everything from outside is escaped text.

use std::fmt::{self, Write};

use wheelbarrow_artifact::printable;

/// A part of a page. What others wrote gets into one by [`Html::text`] and the values of attributes only, and both are escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Html(String);

impl Html {
    /// Text, with what HTML would take for markup escaped, and control characters made visible.
    pub(super) fn text(text: impl fmt::Display) -> Self {
        Self(escaped(&text.to_string()))
    }

    /// Text of this program's own that is markup already.
    pub(super) fn constant(markup: &'static str) -> Self {
        Self(markup.to_owned())
    }

    /// `<name key="value">inner</name>`; a void element has no inner part (HTML Living Standard, 13.1.2).
    pub(super) fn element(name: &'static str, attributes: &[(&'static str, &str)], inner: Self) -> Self {
        let Self(inner) = inner;
        let mut html = format!("<{name}");
        for (key, value) in attributes {
            let _ = write!(html, " {key}=\"{}\"", escaped(value));
        }
        html.push('>');
        if !["meta", "br"].contains(&name) {
            let _ = write!(html, "{inner}</{name}>");
        }
        Self(html)
    }

    /// An element without attributes around text.
    pub(super) fn tag(name: &'static str, text: impl fmt::Display) -> Self {
        Self::element(name, &[], Self::text(text))
    }
}

impl FromIterator<Html> for Html {
    fn from_iter<I: IntoIterator<Item = Self>>(parts: I) -> Self {
        Self(parts.into_iter().map(|Self(part)| part).collect())
    }
}

impl fmt::Display for Html {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in printable(text).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Between the quotes of an attribute, and between tags, nothing ends or begins anything.
        #[test]
        fn what_is_escaped_is_text(text in any::<String>()) {
            let html = escaped(&text);
            prop_assert!(!html.contains(['<', '>', '"', '\'']));
            let whole = Html::element("td", &[("title", &text)], Html::text(&text)).to_string();
            prop_assert_eq!(whole.matches('<').count(), 2);
            prop_assert_eq!(whole.matches('"').count(), 2);
        }
    }
}
