//! Quoting of words in commands that people copy from messages.

/// Quotes a word for a POSIX shell, unless all of its characters are plain. Python's `shlex.quote` gives the
/// same result.
pub fn shell_word(word: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_=+./@:,%".contains(character);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\"'\"'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_same_word() {
        for word in ["--unit=site@1.service", "", "a b", "it's", "$HOME `id` \"x\"", "a\nb", "~", "*"] {
            let script = format!("printf %s {}", shell_word(word));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
        assert_eq!(shell_word("--unit=site@1.service"), "--unit=site@1.service");
    }
}
