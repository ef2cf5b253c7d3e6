//! Text from outside, truncated for output.

/// One line of at most so many characters, with `...` for what is left out. Control characters become spaces.
pub(crate) fn cut_line(text: &str, most: usize) -> String {
    let mut characters = text.trim().chars().map(|one| if one.is_control() { ' ' } else { one });
    let mut line: String = characters.by_ref().take(most).collect();
    if characters.next().is_some() {
        line.truncate(line.char_indices().nth(most.saturating_sub(3)).map_or(0, |(end, _)| end));
        line.push_str("...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_short_and_has_no_control_characters() {
        assert_eq!(cut_line("deploy\x1b]52;c;x\x07\nnext", 100), "deploy ]52;c;x  next");
        assert_eq!(cut_line(&"ä".repeat(9), 8), "äääää...");
        assert_eq!(cut_line("12345678", 8), "12345678");
    }
}
