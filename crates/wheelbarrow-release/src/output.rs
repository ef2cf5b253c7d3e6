//! What a program writes, kept in a file of bounded size: its first and its last lines.
//!
//! A program writes into the file itself, so that a migration goes on when the wheelbarrow that started it is killed. While
//! it runs, the room of the middle is given back as often as the file takes more than [`MOST`]; the middle is left out at the end.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::fs::{FallocateFlags, MemfdFlags, OFlags};

use crate::ReleaseError;
use crate::secrets::Secrets;

/// Bytes that a program may write before the middle is left out.
const MOST: u64 = 8 << 20;
/// Bytes of its begin that are kept then.
const HEAD: u64 = 1 << 20;
/// Bytes of its end that are kept then.
const TAIL: u64 = 1 << 20;

/// How many lines and bytes of it stand in an error.
const SHOWN: (usize, usize) = (20, 4 << 10);
/// Bytes of its end in which these are looked for.
const LOOKED_AT: u64 = 16 << 10;

/// Where a program writes to.
#[derive(Debug)]
pub(crate) struct Output {
    /// Opened for appending.
    file: File,
    /// None in memory.
    path: Option<PathBuf>,
    /// Where the program's own part of the file begins.
    begin: u64,
}

impl Output {
    /// Appends to a log that only the owner and the group may read.
    pub(crate) fn log(path: &Path) -> Result<Self, ReleaseError> {
        let directory = path.parent().unwrap_or(path);
        fs::create_dir_all(directory).map_err(ReleaseError::io("make the directory", directory))?;
        let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
        let mut options = std::fs::OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o640).custom_flags(flags).open(path);
        let file = file.map_err(ReleaseError::io("open", path))?;
        let begin = file.metadata().map_err(ReleaseError::io("look at", path))?.len();
        Ok(Self { file, path: Some(path.to_path_buf()), begin })
    }

    /// Keeps it in memory.
    pub(crate) fn memory() -> Result<Self, ReleaseError> {
        let made = rustix::fs::memfd_create("wheelbarrow-output", MemfdFlags::CLOEXEC).and_then(|file| {
            rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
            Ok(file)
        });
        let file = made.map_err(ReleaseError::errno("make a file in", Path::new("memory")))?;
        Ok(Self { file: file.into(), path: None, begin: 0 })
    }

    /// None in memory.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// For a program, which may write and no more: what earlier programs wrote is not for it.
    pub(crate) fn writer(&self) -> Result<File, ReleaseError> {
        match &self.path {
            None => self.file.try_clone().map_err(ReleaseError::io("share", Path::new("memory"))),
            Some(path) => {
                std::fs::OpenOptions::new().append(true).open(path).map_err(ReleaseError::io("open", path))
            }
        }
    }

    /// Gives the room of the middle back if there is too much. Called again and again while the program runs, of which nothing
    /// gets lost: it goes on writing at the same place.
    pub(crate) fn cut(&self, secrets: &Secrets) {
        let Ok(metadata) = self.file.metadata() else { return };
        let (margin, length) = (secrets.margin() as u64, metadata.len());
        let (from, to) = (self.begin + HEAD + margin, length.saturating_sub(TAIL + margin));
        if metadata.blocks() * 512 <= MOST || length.saturating_sub(self.begin) <= MOST || to <= from {
            return;
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if rustix::fs::fallocate(&self.file, flags, from, to - from).is_err() {
            // A file system that cannot: what is written at this very moment may get lost.
            let _ = self.leave_out(secrets, MOST, HEAD, TAIL);
        }
    }

    /// Leaves the middle out if there is too much, and never a part of a secret only, which would not be found.
    fn leave_out(&self, secrets: &Secrets, most: u64, head: u64, tail: u64) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        if length.saturating_sub(self.begin) <= most {
            return Ok(());
        }
        let margin = secrets.margin() as u64;
        let before = margin.min(length - tail - self.begin);
        let end = self.read(length - tail - before, tail + before)?;
        let begin = self.read(self.begin, head + margin)?;
        // Whole lines, where there are any.
        let at = end.len().min(before as usize);
        let line = end[at..].iter().position(|&byte| byte == b'\n').map_or(at, |line| at + line + 1);
        let line = secrets.over(&end, line).end;
        let at = begin.len().min(head as usize);
        let kept = begin[..at].iter().rposition(|&byte| byte == b'\n').map_or(at, |line| line + 1);
        let kept = self.begin + secrets.over(&begin, kept).start as u64;
        self.file.set_len(kept)?;
        let left_out = length - kept - (end.len() - line) as u64;
        let mut rest = format!("\n[wheelbarrow: {left_out} bytes left out]\n").into_bytes();
        rest.extend_from_slice(&end[line..]);
        (&self.file).write_all(&rest)
    }

    fn read(&self, at: u64, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; most as usize];
        let read = self.file.read_at(&mut bytes, at)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// At most `most` bytes of its begin.
    pub(crate) fn head(&self, most: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut file = &self.file;
        let _ = file
            .seek(SeekFrom::Start(self.begin))
            .and_then(|_| file.take(most as u64).read_to_end(&mut bytes));
        bytes
    }

    /// Its last lines, to be shown in an error, with `***` in place of secrets.
    pub(crate) fn last_lines(&self, secrets: &Secrets) -> String {
        let bytes = self.tail(LOOKED_AT + secrets.margin() as u64);
        let begin = secrets.over(&bytes, bytes.len().saturating_sub(LOOKED_AT as usize)).end;
        last_lines(secrets.hide(&String::from_utf8_lossy(&bytes[begin..])).as_bytes())
    }

    /// Its last line, of at most 1 MB.
    pub(crate) fn last_line(&self) -> Vec<u8> {
        let bytes = self.tail(1 << 20);
        bytes.trim_ascii_end().rsplit(|&byte| byte == b'\n').next().unwrap_or_default().to_vec()
    }

    /// At most `most` bytes of its end.
    pub(crate) fn tail(&self, most: u64) -> Vec<u8> {
        let length = self.file.metadata().map_or(0, |metadata| metadata.len());
        let mut bytes = Vec::new();
        let mut file = &self.file;
        let begin = self.begin.max(length.saturating_sub(most));
        let _ = file.seek(SeekFrom::Start(begin)).and_then(|_| file.take(most).read_to_end(&mut bytes));
        bytes
    }

    /// Puts `***` in place of secrets, once the program has ended.
    pub(crate) fn hide(&self, secrets: &Secrets) -> io::Result<()> {
        self.leave_out(secrets, MOST, HEAD, TAIL)?;
        if secrets.is_empty() {
            return Ok(());
        }
        let bytes = self.head(usize::try_from(2 * MOST).unwrap_or_default());
        let text = String::from_utf8_lossy(&bytes);
        let hidden = secrets.hide(&text);
        if hidden == text {
            return Ok(());
        }
        self.file.set_len(self.begin)?;
        (&self.file).write_all(hidden.as_bytes())
    }
}

/// The last lines of a text, cut to what can stand in an error.
pub(crate) fn last_lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let shown = lines[lines.len().saturating_sub(SHOWN.0)..].join("\n");
    let begin = shown.len().saturating_sub(SHOWN.1);
    match shown.char_indices().find(|(index, _)| *index >= begin) {
        Some((index, _)) if index > 0 => format!("...{}", &shown[index..]),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_left_out_while_a_program_writes() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("logs/prepare-1.log");
        for output in [Output::log(&path).unwrap(), Output::memory().unwrap()] {
            let mut writer = output.writer().unwrap();
            for number in 0..2_000 {
                writeln!(writer, "line {number}").unwrap();
                output.leave_out(&Secrets::default(), 4_000, 500, 500).unwrap();
            }
            let text = String::from_utf8(output.head(1 << 20)).unwrap();
            assert!(text.len() < 5_000, "{}", text.len());
            assert!(text.starts_with("line 0\n") && text.ends_with("\nline 1999\n"), "{text}");
            assert!(text.contains(" bytes left out]\n"));
            assert_eq!(output.last_line(), b"line 1999");
        }
        // What an earlier program wrote stays, and is not this program's.
        let again = Output::log(&path).unwrap();
        writeln!(again.writer().unwrap(), "again").unwrap();
        assert_eq!(again.head(100), b"again\n");
        assert!(fs::read_to_string(&path).unwrap().ends_with("line 1999\nagain\n"));
    }

    #[test]
    fn no_half_of_a_secret_is_left_at_a_cut() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("environment.json"), r#"{"TOKEN": "kA7f3PqX9zkB8g"}"#).unwrap();
        let secrets = Secrets::of(place.path());
        // One line, in which each cut is within the secret once.
        for shift in 0..15 {
            let output = Output::memory().unwrap();
            let line = "-".repeat(shift) + &"kA7f3PqX9zkB8g.".repeat(400);
            output.writer().unwrap().write_all(line.as_bytes()).unwrap();
            assert_no_half(&output.last_lines(&secrets));
            output.leave_out(&secrets, 4_000, 500, 500).unwrap();
            output.hide(&secrets).unwrap();
            let text = String::from_utf8(output.head(1 << 20)).unwrap();
            assert!(text.contains(" bytes left out]\n") && text.contains("***.***"), "{text}");
            assert_no_half(&text.replace(" bytes left out", "").replace("wheelbarrow", ""));

            let output = Output::memory().unwrap();
            let line = "-".repeat(shift) + &"kA7f3PqX9zkB8g.".repeat(4_000);
            output.writer().unwrap().write_all(line.as_bytes()).unwrap();
            assert_no_half(&output.last_lines(&secrets));
        }
    }

    fn assert_no_half(text: &str) {
        assert!(!text.chars().any(char::is_alphabetic), "{text}");
    }

    #[test]
    fn what_stands_in_an_error_is_short() {
        let shown = last_lines("ä".repeat(70_000).as_bytes());
        assert!(shown.len() <= SHOWN.1 + 3 && shown.starts_with("...ä"), "{}", shown.len());
        assert_eq!(last_lines("a\n\nb\n".as_bytes()), "a\n\nb");
    }
}
