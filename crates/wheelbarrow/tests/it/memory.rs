//! Little memory: a command does its work or ends with one error, aborts never, and leaves nothing. Hostile inputs, which would
//! take much memory or time if they were read without limits.

use std::io::{Seek, Write};
use std::path::Path;
use std::process::Command;

use fs_err as fs;
use serde_json::json;
use wheelbarrow_artifact::bytecode::{PROJECT_PACK, pack_path};
use wheelbarrow_artifact::manifest::{MemberKind, Sha256};
use wheelbarrow_artifact::zip::{DosTime, Method, ZipWriter};
use wheelbarrow_testing::site::interpreter;

use crate::site::is_built;
use crate::support::{Place, Said, wheelbarrow};
use crate::wheels::{Wheel, lock};

/// Limits of the address space, in megabytes: from less than Python takes to more than all of it. At 100 there is room for what
/// the C library reserves for a thread, and then for nothing else.
const LIMITS: [u64; 7] = [20, 45, 60, 80, 100, 150, 600];

/// The artifact is as large.
const LARGE: u64 = 90 << 20;

/// A place with `site.zip`.
fn built() -> Option<Place> {
    let place = Place::with(&[
        ("project/app.py", "import big\n"),
        ("project/wheelbarrow.toml", "name = 'site'\n[release]\ncheck = false\n"),
    ]);
    let mut wheel = Wheel::begin(&place.path(), "big");
    for module in 0..200 {
        wheel.add(&format!("big/module{module}.py"), b"x = 1\n");
    }
    wheel.add_zeros("big/data.bin", Method::Stored, LARGE);
    wheel.finish();
    lock(&place.path().join("pylock.big.toml"), &["big"]);
    let build = ["build", "project", "--lock", "pylock.big.toml", "-o", "site.zip", "--cache-dir", "cache"];
    if !is_built(&place.run(&build)) {
        return None;
    }
    fs::remove_dir_all(place.path().join("cache")).unwrap();
    Some(place)
}

fn limited(place: &Place, program: &str, words: &[&str], megabytes: u64) -> Said {
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -v $1 && shift && exec \"$@\"",
        "sh",
        &(megabytes << 10).to_string(),
        program,
    ]);
    place.finish(command.args(words).current_dir(place.path()).env("PYTHONDONTWRITEBYTECODE", "1"))
}

/// It has worked, or has said so. Whether it has.
fn check(place: &Place, said: &Said, made: &str, limit: u64) -> bool {
    let about = format!("{limit} MB: {}", said.all());
    let made = place.path().join(made);
    assert!(!about.contains("panicked") && !about.contains("Traceback"), "{about}");
    if said.code != 0 {
        // With the least, the system cannot even load Python or the program.
        assert!(said.code == 1 || limit <= 30 && said.code == 127 || said.code == 4, "{about}");
        assert!(said.err.contains("memory") || limit <= 30, "{about}");
        assert!(!made.exists(), "{about}");
    }
    let place = place.path();
    let root = place.join("root/releases");
    for directory in [&place, &root].into_iter().filter(|directory| directory.exists()) {
        let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = names.filter(|name| name.to_string_lossy().contains(".wheelbarrow-")).collect();
        assert!(left.is_empty(), "{left:?} are left, {about}");
    }
    if said.code == 0 {
        assert!(made.exists(), "{about}");
        fs::remove_dir_all(made).unwrap();
    }
    said.code == 0
}

#[test]
fn an_install_works_or_ends_with_an_error() {
    let Some(place) = built() else { return };
    for way in [&[][..], &["--bootstrap"], &["--store", "store"]] {
        let works: Vec<_> = LIMITS
            .into_iter()
            .filter(|&limit| {
                let said =
                    limited(&place, "./site.zip", &[&["-d", "dest", "--without-pip"], way].concat(), limit);
                check(&place, &said, "dest", limit)
            })
            .collect();
        // Less than the artifact is enough.
        assert!(works.iter().any(|limit| *limit < LARGE >> 20), "{way:?}: {works:?}");
        assert!(works.ends_with(&[80, 100, 150, 600]), "{way:?}: {works:?}");
    }
}

#[test]
fn commands_work_or_end_with_an_error() {
    let Some(place) = built() else { return };
    let release = ["deploy", "--root", "root"];
    let works: Vec<_> = LIMITS
        .into_iter()
        .filter(|&limit| {
            let said = limited(&place, "./site.zip", &release, limit);
            let done = check(&place, &said, "root/current", limit);
            let _ = fs::remove_dir_all(place.path().join("root"));
            done
        })
        .collect();
    assert!(works.ends_with(&[150, 600]), "{works:?}");
    // The program itself is mapped too.
    let program = wheelbarrow(&place.path());
    let program = program.get_program().to_str().unwrap();
    let size = fs::metadata(program).unwrap().len() >> 20;
    for limit in [10, 110, 400].map(|megabytes| size + megabytes) {
        for words in [
            &["install", "site.zip", "-d", "dest"][..],
            &["install", "site.zip", "-d", "dest", "--store", "store"],
        ] {
            let said = limited(&place, program, words, limit);
            assert!(check(&place, &said, "dest", limit) || limit < size + 400, "{}", said.all());
        }
    }
}

/// Runs a program and prints the most memory it had, in megabytes, and the seconds that it worked.
const MEASURED: &str = "
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], 'w') as file:
    file.write('%d %d' % (used.ru_maxrss >> 10, used.ru_utime))
sys.exit(code)
";

/// Megabytes that a hostile input may take.
const MOST: u64 = 200;

/// What it says; it must not take much.
fn modest(place: &Place, words: &[&str]) -> Said {
    let used = place.path().join("used");
    let ours = wheelbarrow(&place.path());
    let mut command = Command::new("python3");
    command.args(["-I", "-c", MEASURED]).arg(&used).arg(ours.get_program()).args(words);
    let said = place.finish(command.current_dir(place.path()));
    let text = fs::read_to_string(used).unwrap();
    let used: Vec<u64> = text.split(' ').map(|number| number.parse().unwrap()).collect();
    assert!(used[0] < MOST && used[1] < 30, "{words:?}: {} MB, {} s", used[0], used[1]);
    assert!(!said.err.contains("panicked"), "{}", said.all());
    said
}

#[test]
fn hostile_wheels_are_audited_with_little_memory() {
    let place = Place::with(&[]);
    let metadata = "Metadata-Version: 2.1\nName: big\nVersion: 1\n";
    let points: String = (0..60_000).map(|n| format!("s{n}=big:f{n}\n")).collect();
    let module: String = (0..150_000).map(|n| format!("n{n}\n")).collect();
    let missing: String = (0..1_000).map(|n| format!("missing/{n},,\n")).collect();
    let shapes = [
        ("tiny headers", format!("{metadata}{}", "a:\n".repeat(2_700_000)), String::new(), String::new()),
        (
            "folded headers",
            format!("{metadata}A: b\n{}", " c\n".repeat(2_700_000)),
            String::new(),
            String::new(),
        ),
        (
            "requirements",
            format!("{metadata}{}", "Requires-Dist: a\n".repeat(400_000)),
            String::new(),
            String::new(),
        ),
        ("rows", metadata.to_owned(), "a,,\n".repeat(5_000_000), String::new()),
        ("missing files", metadata.to_owned(), missing, String::new()),
        ("entry points", metadata.to_owned(), String::new(), format!("[console_scripts]\n{points}")),
    ];
    for (shape, metadata, record, points) in shapes {
        println!("{shape}");
        let mut wheel = Wheel::begin(&place.path(), "big");
        wheel.add("big.py", module.as_bytes());
        for number in 0..2_000 {
            wheel.add(&format!("data/{number}"), b"");
        }
        wheel.add("big-1.dist-info/WHEEL", b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n");
        wheel.add("big-1.dist-info/METADATA", metadata.as_bytes());
        wheel.add("big-1.dist-info/entry_points.txt", points.as_bytes());
        wheel.add("big-1.dist-info/RECORD", record.as_bytes());
        wheel.finish_bare();
        let said = modest(&place, &["audit", "--quiet", "big-1-py3-none-any.whl"]);
        assert!(said.code != 0, "{shape}: {}", &said.all()[..said.all().len().min(1000)]);
    }
}

#[test]
fn hostile_manifests_are_refused_with_little_memory() {
    let place = Place::with(&[]);
    let values = vec!["0"; 15_000_000].join(",");
    let pairs = vec![r#""a":{}"#; 4_000_000].join(",");
    let manifests = [
        ("another format", format!(r#"{{"format":9,"built_by":[{values}]}}"#)),
        ("direct_url", format!(r#"{{"format":1,"wheels":[{{"direct_url":{{"a":[{values}]}}}}]}}"#)),
        ("objects", format!(r#"{{"format":1,"program":{{{pairs}}}}}"#)),
        ("depth", "[".repeat(30 << 20)),
    ];
    for (shape, manifest) in manifests {
        println!("{shape}");
        let path = place.path().join("site.zip");
        let _ = fs::remove_file(&path);
        let file = fs::File::create(&path).unwrap().into_parts().0;
        let mut writer = ZipWriter::new(file, "#!/usr/bin/env python3", DosTime::FIRST).unwrap();
        writer.add(".wheelbarrow/manifest.json", MemberKind::File, manifest.as_bytes()).unwrap();
        writer.finish().unwrap();
        for words in
            [&["inspect", "site.zip"][..], &["audit", "site.zip"], &["install", "site.zip", "-d", "dest"]]
        {
            let said = modest(&place, words);
            assert!(said.code == 3 || said.code == 19, "{shape}: {words:?}: {}", said.all());
        }
        assert!(!place.path().join("dest").exists());
    }
}

/// A frame of zstd (RFC 8878) that inflates to `text` and then, by four bytes for each 128 kB, to so many megabytes of spaces.
/// Whoever inflates it keeps a window of 2 to the power of `window` bytes.
fn frame(text: &[u8], megabytes: u64, window: u8) -> Vec<u8> {
    const BLOCK: usize = 128 << 10;
    let header = |last: bool, kind: usize, size: usize| {
        let [one, two, three, _] =
            u32::try_from(size << 3 | kind << 1 | usize::from(last)).unwrap().to_le_bytes();
        [one, two, three]
    };
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (window - 10) << 3];
    for block in text.chunks(BLOCK) {
        frame.extend(header(false, 0, block.len()));
        frame.extend(block);
    }
    for _ in 0..megabytes << 3 {
        frame.extend(header(false, 1, BLOCK));
        frame.push(b' ');
    }
    frame.extend(header(true, 0, 0));
    frame
}

/// An artifact for the Python of the tests with this pack for its one module.
fn write_with_pack(path: &Path, pack: &[u8]) {
    let facts = interpreter();
    let file = fs::File::create(path).unwrap().into_parts().0;
    let mut writer = ZipWriter::new(file, "#!/usr/bin/env python3", DosTime::FIRST).unwrap();
    let pip = "bootstrap_wheels/pip-1-py3-none-any.whl";
    let mut stored = |path: &str, contents: &[u8]| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(contents).unwrap();
        file.rewind().unwrap();
        let mut file = fs::File::from_parts(file, "a member");
        writer.add_file(path, MemberKind::File, Method::Stored, &mut file).unwrap();
    };
    stored("code/a.py", b"");
    stored(pip, b"");
    stored(&pack_path(&facts.cache_tag, PROJECT_PACK), pack);
    let manifest = json!({
        "format": 1,
        "name": "site",
        "built_by": "a test",
        "project": {"directory": "code", "import_path": "code", "digest": Sha256::of(b"")},
        "targets": [{
            "python": facts.minor_version(), "abi": facts.abi, "platform": "any", "wheels": [], "pip": pip,
            "bytecode": {"cache_tag": facts.cache_tag, "magic": facts.magic}, "unpacked": {"bytes": 0, "inodes": 0},
        }],
        "environment": {},
        "wheels": [{"path": pip, "name": "pip", "version": "1"}],
        "members": writer.members(),
    });
    let manifest = serde_json::to_vec(&manifest).unwrap();
    writer.add(".wheelbarrow/manifest.json", MemberKind::File, &manifest).unwrap();
    writer.finish().unwrap();
}

#[test]
fn hostile_packs_are_refused_with_little_memory() {
    let place = Place::with(&[]);
    let path = place.path().join("site.zip");
    let index = |magic: &str, files: &str| {
        format!(r#"{{"magic":"{magic}","frames":[{{"compressed":0,"size":0,"files":[{files}]}}]}}"#)
    };
    let largest = (16 << 20) - 100;
    let shapes = [
        ("spaces", frame(b"", 6 << 10, 17)),
        ("a large window", frame(b"", 6 << 10, 31)),
        ("files", frame(index("", &vec![r#"["",0]"#; largest / 7].join(",")).as_bytes(), 0, 24)),
        ("a name", frame(index("", &format!(r#"["{}",0]"#, "a".repeat(largest))).as_bytes(), 1, 24)),
    ];
    for (shape, index) in shapes {
        println!("{shape}");
        let length = u32::try_from(index.len()).unwrap().to_le_bytes();
        write_with_pack(&path, &[b"WBCODE1\n", &length[..], &index].concat());
        let said = modest(&place, &["install", "site.zip", "-d", "dest", "--without-pip"]);
        assert_eq!(said.code, 3, "{shape}: {}", said.all());
        assert!(said.err.contains("pack is damaged"), "{shape}: {}", said.all());
        assert!(!place.path().join("dest").exists(), "{shape}");
    }
}
