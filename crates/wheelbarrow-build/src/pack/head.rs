//! The script in front of an artifact with a bundled Python: it starts the artifact on hosts without Python.
//!
//! It copies the standalone binary, which is stored, into a private file and runs it. `dash`, `bash` and the
//! `sh` of busybox can read it; besides them it needs `uname`, `mktemp`, `tail`, `head`, `chmod` and `rm`.

use wheelbarrow_artifact::head::cases;

/// Bytes of a local header without the name (APPNOTE 4.3.7).
const LOCAL_HEADER: usize = 30;

/// A program, as it will be stored: its path in the artifact and its bytes.
pub(super) type Program<'a> = (&'a str, &'a str, usize);

const BEFORE: &str = r#"#!/bin/sh
# A site with its own Python. This file is a zip: unzip -l lists it. The program that installs it is in it.
machine=$(uname -m)"#;

const BEHIND: &str = r#"echo "error: this file has no program for $machine" >&2; exit 4 ;;
esac
tried=
for place in ${TMPDIR:+"$TMPDIR"} /tmp /var/tmp /dev/shm /run; do
    work=$(mktemp -d "$place/wheelbarrow.XXXXXX" 2>/dev/null) || continue
    tail -c "+$at" <"$0" | head -c "$size" >"$work/run" && chmod 700 "$work/run"
    if "$work/run" --starts 2>/dev/null; then
        if exec 9<"$work/run" && [ -x /proc/self/fd/9 ]; then
            rm -rf "$work"
            exec /proc/self/fd/9 "$0" "" "$@"
        fi
        "$work/run" "$0" "" "$@"
        code=$?
        rm -rf "$work"
        exit $code
    fi
    rm -rf "$work"
    tried="$tried $place"
done
echo "error: the program in this file cannot be run from a temporary directory:${tried:- none can be written}" >&2
echo "Caused by: file systems mounted noexec, or fapolicyd or SELinux, which deny programs from there" >&2
echo "hint: TMPDIR=DIRECTORY $0 ... names a directory whose programs may run; else use the wheelbarrow of the host" >&2
exit 4
"#;

/// The script for these programs, which are the first members in this order; without its last line end.
pub(super) fn script(programs: &[Program<'_>]) -> String {
    let with = |offsets: &[usize]| {
        let programs = programs.iter().zip(offsets);
        let cases = cases(programs.map(|((machine, _, size), offset)| (*machine, *offset, *size as u64)));
        format!("{BEFORE}{cases}{BEHIND}")
    };
    let mut position = with(&vec![0; programs.len()]).len();
    let mut offsets = Vec::new();
    for (_, path, size) in programs {
        offsets.push(position + LOCAL_HEADER + path.len());
        position += LOCAL_HEADER + path.len() + size;
    }
    let mut script = with(&offsets);
    script.pop();
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_finds_the_programs_behind_itself() {
        let programs = [
            ("aarch64", ".wheelbarrow/native/linux-aarch64", 7),
            ("x86_64", ".wheelbarrow/native/linux-x86_64", 5),
        ];
        let script = script(&programs);
        let first = script.len() + 1 + LOCAL_HEADER + programs[0].1.len();
        assert!(script.contains(&format!("aarch64) at={:<9} size=7 ;;", first + 1)), "{script}");
        let second = first + 7 + LOCAL_HEADER + programs[1].1.len();
        assert!(script.contains(&format!("x86_64) at={:<9} size=5 ;;", second + 1)), "{script}");
        assert!(script.len() < 4096 && script.is_ascii());
    }
}
