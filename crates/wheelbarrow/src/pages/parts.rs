//! Parts of pages: the frame, sections, tables.

use super::html::Html;

/// No script, no picture, no font, no form: whatever is in the page can only be read (Content Security Policy Level 3).
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const STYLE: &str = include_str!("page.css");

/// A whole page.
pub(super) fn page(title: &str, parts: impl IntoIterator<Item = Html>) -> String {
    let head = [
        Html::element("meta", &[("charset", "utf-8")], Html::default()),
        Html::element(
            "meta",
            &[("http-equiv", "Content-Security-Policy"), ("content", POLICY)],
            Html::default(),
        ),
        Html::element(
            "meta",
            &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")],
            Html::default(),
        ),
        Html::tag("title", title),
        Html::element("style", &[], Html::constant(STYLE)),
    ];
    let foot = Html::tag("footer", format!("wheelbarrow {}", env!("CARGO_PKG_VERSION")));
    let body = [Html::tag("h1", title)].into_iter().chain(parts).chain([foot]).collect();
    let head = Html::element("head", &[], head.into_iter().collect());
    let body = Html::element("body", &[], Html::element("main", &[], body));
    let html = Html::element("html", &[("lang", "en")], [head, body].into_iter().collect());
    format!("<!DOCTYPE html>\n{html}\n")
}

/// A part of a page under a heading.
pub(super) fn section(heading: &'static str, inner: Html) -> Html {
    Html::element("section", &[], [Html::tag("h2", heading), inner].into_iter().collect())
}

/// A column of numbers is set to the right.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Text(&'static str),
    Number(&'static str),
}

pub(super) fn table(columns: &[Column], rows: impl IntoIterator<Item = Vec<Html>>) -> Html {
    let class = |column: &Column| match column {
        Column::Text(_) => "text",
        Column::Number(_) => "number",
    };
    let cells = columns.iter().map(|column| {
        let (Column::Text(name) | Column::Number(name)) = column;
        Html::element("th", &[("scope", "col"), ("class", class(column))], Html::text(name))
    });
    let head = Html::element("thead", &[], Html::element("tr", &[], cells.collect()));
    let rows = rows.into_iter().map(|row| {
        let cells = row.into_iter().zip(columns);
        let cells = cells.map(|(cell, column)| Html::element("td", &[("class", class(column))], cell));
        Html::element("tr", &[], cells.collect())
    });
    let body = Html::element("tbody", &[], rows.collect());
    let table = Html::element("table", &[], [head, body].into_iter().collect());
    // A wide table scrolls, by the keyboard too.
    Html::element("div", &[("class", "scroll"), ("tabindex", "0")], table)
}

/// Names and values.
pub(super) fn facts(rows: impl IntoIterator<Item = (&'static str, String)>) -> Html {
    let rows = rows.into_iter().flat_map(|(name, value)| [Html::tag("dt", name), Html::tag("dd", value)]);
    Html::element("dl", &[], rows.collect())
}
