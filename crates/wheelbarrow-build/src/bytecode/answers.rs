//! How modules are given to a program of Python.

use std::io::{self, Write};
use std::process::{Command, Output};

/// Runs a program of Python that reads modules.
pub(super) fn answers(mut command: Command, sources: &[&(String, Vec<u8>)]) -> io::Result<Output> {
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take();
    std::thread::scope(|scope| {
        // Written beside the reading, or two full pipes would wait for each other.
        scope.spawn(move || {
            let mut message = Vec::new();
            for (name, source) in sources {
                put(&mut message, name.as_bytes());
                put(&mut message, source);
            }
            // When the process dies, its exit code says more than the broken pipe.
            let _ = stdin.as_mut().map(|stdin| stdin.write_all(&message));
            drop(stdin);
        });
        child.wait_with_output()
    })
}

#[allow(clippy::cast_possible_truncation, reason = "modules are bounded by LARGEST_MODULE")]
fn put(message: &mut Vec<u8>, part: &[u8]) {
    message.extend_from_slice(&(part.len() as u32).to_le_bytes());
    message.extend_from_slice(part);
}
