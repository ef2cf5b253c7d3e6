//! The output of a program, in a file of bounded size: its first and its last lines.
//!
//! A program writes into the file itself, so that a migration continues if wheelbarrow is killed. While it
//! runs, the blocks in the middle are freed whenever the file takes more than [`MOST`]; at the end the middle
//! is left out.
//!
//! A user who may write to a file may also truncate it, now and later. So a program of the site has a file of
//! its own, `NAME.log.part`, which is not read any more after it was appended to the log: the output of other
//! programs is out of its reach.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::fs::{FallocateFlags, MemfdFlags, OFlags};
use wheelbarrow_base::open_no_link;

use crate::ReleaseError;
use crate::command::secrets::Secrets;

/// Bytes that a program may write before the middle is left out.
const MOST: u64 = 8 << 20;
/// Bytes of its begin that are kept then.
const HEAD: u64 = 1 << 20;
/// Bytes of its end that are kept then.
const TAIL: u64 = 1 << 20;

/// What the name of the file of a program of the site ends with.
const PART: &str = "part";

/// How many lines and bytes of it stand in an error.
const SHOWN: (usize, usize) = (20, 4 << 10);
/// Bytes of its end in which these are looked for.
const LOOKED_AT: u64 = 16 << 10;

/// Where a program writes to.
#[derive(Debug)]
pub(crate) struct Output {
    /// Opened for appending.
    file: File,
    /// The log; none in memory.
    path: Option<PathBuf>,
    /// Whether the file is only the log's [`part`].
    is_part: bool,
    /// Where the program's own part of the file begins.
    begin: u64,
}

impl Output {
    /// Appends to a log that only the owner and the group may read. For programs of who deploys: they may start a server, which
    /// goes on writing there.
    pub(crate) fn log(path: &Path) -> Result<Self, ReleaseError> {
        make_directory_of(path)?;
        let file = open_log(path).map_err(ReleaseError::io("open", path))?;
        let begin = file.metadata().map_err(ReleaseError::io("look at", path))?.len();
        Ok(Self { file, path: Some(path.to_path_buf()), is_part: false, begin })
    }

    /// The same for a program of the site: what it writes is appended by [`Output::end`].
    pub(crate) fn log_of_site(path: &Path, secrets: &Secrets) -> Result<Self, ReleaseError> {
        make_directory_of(path)?;
        let (log, part) = (Some(path.to_path_buf()), part(path));
        let open = || ReleaseError::io("open", &part);
        end_part(path, secrets).map_err(open())?;
        let mut options = std::fs::OpenOptions::new();
        let file = options.read(true).append(true).create_new(true).mode(0o640).open(&part);
        Ok(Self { file: file.map_err(open())?, path: log, is_part: true, begin: 0 })
    }

    /// Keeps it in memory.
    pub(crate) fn memory() -> Result<Self, ReleaseError> {
        let made = rustix::fs::memfd_create("wheelbarrow-output", MemfdFlags::CLOEXEC).and_then(|file| {
            rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
            Ok(file)
        });
        let file = made.map_err(ReleaseError::errno("make a file in", Path::new("memory")))?;
        Ok(Self { file: file.into(), path: None, is_part: false, begin: 0 })
    }

    /// None in memory.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// For a program, which may write and no more: what earlier programs wrote is not for it.
    pub(crate) fn writer(&self) -> Result<File, ReleaseError> {
        let Some(path) = &self.path else {
            return self.file.try_clone().map_err(ReleaseError::io("share", Path::new("memory")));
        };
        let path = if self.is_part { part(path) } else { path.clone() };
        std::fs::OpenOptions::new().append(true).open(&path).map_err(ReleaseError::io("open", &path))
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
            let _ = self.shortened(secrets, MOST, HEAD, TAIL).and_then(|short| self.write(short.as_deref()));
        }
    }

    /// Without the middle if there is too much, and never with a part of a secret only, which would not be found. None if there
    /// is not too much.
    fn shortened(&self, secrets: &Secrets, most: u64, head: u64, tail: u64) -> io::Result<Option<Vec<u8>>> {
        let length = self.file.metadata()?.len();
        if length.saturating_sub(self.begin) <= most {
            return Ok(None);
        }
        let margin = secrets.margin() as u64;
        let before = margin.min(length - tail - self.begin);
        let end = self.read(length - tail - before, tail + before)?;
        let mut begin = self.read(self.begin, head + margin)?;
        // Whole lines, where there are any.
        let at = end.len().min(before as usize);
        let line = end[at..].iter().position(|&byte| byte == b'\n').map_or(at, |line| at + line + 1);
        let line = secrets.over(&end, line).end;
        let at = begin.len().min(head as usize);
        let kept = begin[..at].iter().rposition(|&byte| byte == b'\n').map_or(at, |line| line + 1);
        let kept = secrets.over(&begin, kept).start;
        begin.truncate(kept);
        let left_out = length - self.begin - kept as u64 - (end.len() - line) as u64;
        begin.extend_from_slice(format!("\n[wheelbarrow: {left_out} bytes left out]\n").as_bytes());
        begin.extend_from_slice(&end[line..]);
        Ok(Some(begin))
    }

    /// Puts this in place of what the program wrote.
    fn write(&self, text: Option<&[u8]>) -> io::Result<()> {
        let Some(text) = text else { return Ok(()) };
        self.file.set_len(self.begin)?;
        (&self.file).write_all(text)
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

    /// Once the program has ended: puts `***` in place of secrets, and what a program of the site wrote into its log.
    pub(crate) fn end(&mut self, secrets: &Secrets) -> io::Result<()> {
        let short = self.shortened(secrets, MOST, HEAD, TAIL)?;
        let is_short = short.is_some();
        let bytes = short.unwrap_or_else(|| self.head(usize::try_from(2 * MOST).unwrap_or_default()));
        let text = String::from_utf8_lossy(&bytes);
        let hidden = secrets.hide(&text);
        let is_hidden = hidden != text;
        let bytes = if is_hidden { hidden.as_bytes() } else { &bytes };
        match self.path.as_deref().filter(|_| self.is_part) {
            Some(log) => {
                let (file, begin) = append(log, bytes).or_else(|_| {
                    // It needs the room on a full disk.
                    self.file.set_len(0)?;
                    append(log, bytes)
                })?;
                fs_err::remove_file(part(log))?;
                (self.file, self.begin, self.is_part) = (file, begin, false);
                Ok(())
            }
            None => self.write((is_short || is_hidden).then_some(bytes)),
        }
    }
}

impl Drop for Output {
    /// Of a program that could not be started nothing is left.
    fn drop(&mut self) {
        let is_empty = || self.file.metadata().is_ok_and(|metadata| metadata.len() == 0);
        if let Some(log) = self.path.as_deref().filter(|_| self.is_part && is_empty()) {
            let _ = fs_err::remove_file(part(log));
        }
    }
}

/// Appends what commands that were killed have left in a directory of logs, without secrets.
pub(crate) fn end_left(logs: &Path, secrets: impl Fn() -> Secrets) -> io::Result<()> {
    let entries = match std::fs::read_dir(logs) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == PART) {
            end_part(&path.with_extension(""), &secrets())?;
        }
    }
    Ok(())
}

/// Of one log; nothing left is no error.
fn end_part(log: &Path, secrets: &Secrets) -> io::Result<()> {
    let part = part(log);
    match open_no_link(&part) {
        Ok(_) => {
            let file = open_log(&part)?;
            Output { file, path: Some(log.to_path_buf()), is_part: true, begin: 0 }.end(secrets)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Where a program of the site writes.
fn part(log: &Path) -> PathBuf {
    let mut part = log.as_os_str().to_owned();
    part.push(".");
    part.push(PART);
    part.into()
}

fn make_directory_of(log: &Path) -> Result<(), ReleaseError> {
    let directory = log.parent().unwrap_or(log);
    fs::create_dir_all(directory).map_err(ReleaseError::io("make the directory", directory))
}

fn open_log(path: &Path) -> io::Result<File> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    let mut options = std::fs::OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o640).custom_flags(flags).open(path)
}

/// All of it or nothing; the log, and where the bytes begin in it.
fn append(log: &Path, bytes: &[u8]) -> io::Result<(File, u64)> {
    let mut file = open_log(log)?;
    let begin = file.metadata()?.len();
    if let Err(error) = file.write_all(bytes) {
        file.set_len(begin)?;
        return Err(error);
    }
    Ok((file, begin))
}

/// The last lines of a text, without frames of importlib, cut to what can stand in an error.
pub(crate) fn last_lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut is_import = false;
    // A traceback has many frames of importlib, which nobody looks for.
    let lines = text.trim_end().lines().filter(|line| {
        let is_frame = line.starts_with("  File \"");
        let is_library =
            || ["<frozen importlib", "/importlib/__init__.py"].iter().any(|part| line.contains(part));
        is_import = if is_frame { is_library() } else { is_import && line.starts_with("    ") };
        !is_import
    });
    let lines: Vec<&str> = lines.collect();
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
                let short = output.shortened(&Secrets::default(), 4_000, 500, 500).unwrap();
                output.write(short.as_deref()).unwrap();
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
    fn a_program_of_the_site_reaches_nothing_but_its_own_output() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("environment.json"), r#"{"TOKEN": "kA7f3PqX9zkB8g"}"#).unwrap();
        let secrets = Secrets::of(place.path());
        let path = place.path().join("logs/check.log");
        let read = || fs::read_to_string(&path).unwrap_or_default();
        let mut first = Output::log_of_site(&path, &secrets).unwrap();
        let mut stolen = first.writer().unwrap();
        writeln!(stolen, "one kA7f3PqX9zkB8g").unwrap();
        first.end(&secrets).unwrap();
        assert_eq!((read().as_str(), first.last_lines(&secrets).as_str()), ("one ***\n", "one ***"));

        let mut second = Output::log_of_site(&path, &secrets).unwrap();
        let mut own = second.writer().unwrap();
        writeln!(own, "hidden").unwrap();
        own.set_len(0).unwrap();
        writeln!(own, "two kA7f3PqX9zkB8g").unwrap();
        stolen.set_len(0).unwrap();
        writeln!(stolen, "forged").unwrap();
        second.end(&secrets).unwrap();
        for descriptor in [&mut stolen, &mut own] {
            descriptor.set_len(0).unwrap();
            writeln!(descriptor, "forged").unwrap();
        }
        assert_eq!(read(), "one ***\ntwo ***\n");
        assert_eq!(second.last_line(), b"two ***");

        // Of a command that was killed, the next one keeps the output.
        let killed = Output::log_of_site(&path, &secrets).unwrap();
        writeln!(killed.writer().unwrap(), "three").unwrap();
        drop(killed);
        drop(Output::log_of_site(&path, &secrets).unwrap());
        assert_eq!(read(), "one ***\ntwo ***\nthree\n");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn no_half_of_a_secret_is_left_at_a_cut() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("environment.json"), r#"{"TOKEN": "kA7f3PqX9zkB8g"}"#).unwrap();
        let secrets = Secrets::of(place.path());
        // One line, in which each cut is within the secret once.
        for shift in 0..15 {
            let mut output = Output::memory().unwrap();
            let line = "-".repeat(shift) + &"kA7f3PqX9zkB8g.".repeat(400);
            output.writer().unwrap().write_all(line.as_bytes()).unwrap();
            assert_no_half(&output.last_lines(&secrets));
            let short = output.shortened(&secrets, 4_000, 500, 500).unwrap();
            output.write(short.as_deref()).unwrap();
            output.end(&secrets).unwrap();
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
    fn error_excerpts_are_short() {
        let shown = last_lines("ä".repeat(70_000).as_bytes());
        assert!(shown.len() <= SHOWN.1 + 3 && shown.starts_with("...ä"), "{}", shown.len());
        assert_eq!(last_lines("a\n\nb\n".as_bytes()), "a\n\nb");
        let frame = |file: &str| format!("  File \"{file}\", line 1, in f\n    f()\n    ^^^\n");
        let frozen = "  File \"<frozen importlib._bootstrap>\", line 2, in g\n";
        let (library, own) = (frame("/usr/lib/python3.11/importlib/__init__.py"), frame("/srv/a.py"));
        let text = format!("Traceback:\n{library}{frozen}{own}{frozen}E: x\n    more\n");
        assert_eq!(last_lines(text.as_bytes()), format!("Traceback:\n{own}E: x\n    more"));
    }
}
