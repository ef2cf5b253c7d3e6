//! Files that changed under their names, and indexes with other hashes than SHA-256.

use std::path::Path;

use fs_err as fs;
use wheelbarrow_artifact::manifest::{MemberKind, Sha256};
use wheelbarrow_artifact::zip::{DosTime, ZipWriter};
use wheelbarrow_build::Error;
use wheelbarrow_build::lock::{Algorithm, Digest, Lock};

use crate::server::{Server, respond, well};
use crate::support::{Site, filenames, has_uv};

const WHEEL: &str = "wb_probe-1-py3-none-any.whl";

/// Writes a wheel of wb-probe with this text in it; gives its hash.
fn wheel(path: &Path, text: &str) -> Sha256 {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut zip = ZipWriter::without_shebang(fs::File::create(path).unwrap().into_parts().0, DosTime::FIRST);
    let members = [
        ("wb_probe.py", text),
        ("wb_probe-1.dist-info/METADATA", METADATA),
        ("wb_probe-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
    ];
    let mut record = String::new();
    for (path, text) in members {
        zip.add(path, MemberKind::File, text.as_bytes()).unwrap();
        record += &format!("{path},{},{}\n", Sha256::of(text.as_bytes()).to_record(), text.len());
    }
    record += "wb_probe-1.dist-info/RECORD,,\n";
    zip.add("wb_probe-1.dist-info/RECORD", MemberKind::File, record.as_bytes()).unwrap();
    zip.finish().unwrap();
    Sha256::of(&fs::read(path).unwrap())
}

const METADATA: &str = "Metadata-Version: 2.1\nName: wb-probe\nVersion: 1\n";

#[test]
fn a_local_wheel_that_was_replaced_is_taken() {
    if !has_uv() {
        return;
    }
    for requirement in [
        "./vendor/wb_probe-1-py3-none-any.whl",
        "wb-probe @ file://DIR/vendor/wb_probe-1-py3-none-any.whl",
        "wb-probe==1",
    ] {
        let mut site = Site::new(&[]);
        let vendor = site.project().join("vendor");
        let text =
            format!("{}\nsix==1.16.0\n", requirement.replace("DIR", &site.project().to_string_lossy()));
        site.write("requirements.txt", &text);
        if !requirement.contains("vendor") {
            site.index.find_links = vec![vendor.to_string_lossy().into_owned()];
        }
        for text in ["one = 1\n", "one = 22\n"] {
            let sha256 = wheel(&vendor.join(WHEEL), text);
            let gathered = site.gather().unwrap();
            assert_eq!(filenames(&gathered), ["six-1.16.0-py2.py3-none-any.whl", WHEEL], "{requirement}");
            assert_eq!(gathered.targets[0].wheels[1].sha256, sha256, "{requirement}");
        }
        assert!(!site.lock().unwrap().resolved, "the lock is good again");
    }
}

#[test]
fn a_lock_as_it_stands_refuses_another_file_whatever_the_cache_has() {
    if !has_uv() {
        return;
    }
    let site = Site::new(&[]);
    let sha256 = wheel(&site.project().join(WHEEL), "one = 1\n");
    let package = format!(
        "[[packages]]\nname = \"wb-probe\"\nversion = \"1\"\nwheels = [{{ path = \"{WHEEL}\", hashes = {{ sha256 = \"{sha256}\" }} }}]\n"
    );
    site.write("pylock.toml", &format!("lock-version = \"1.0\"\ncreated-by = \"x\"\n{package}"));
    site.gather().unwrap();
    wheel(&site.project().join(WHEEL), "one = 2\n");
    assert!(matches!(site.gather(), Err(Error::Hash { .. })));
    fs::remove_file(site.project().join(WHEEL)).unwrap();
    assert!(site.gather().is_err(), "the cache alone does not count");
}

/// An index with the wheel of the project, and this hash of it.
fn index(path: &Path, hash: String) -> Server {
    let body = fs::read(path).unwrap();
    Server::start(move |request, stream| {
        let page = format!("<a href=\"/files/{WHEEL}#{hash}\" data-core-metadata=\"true\">{WHEEL}</a>");
        match request.target.as_str() {
            "/simple/wb-probe/" => {
                respond(
                    stream,
                    &format!("200 OK\r\nContent-Type: text/html\r\nContent-Length: {}", page.len()),
                    page.as_bytes(),
                );
            }
            target if target.ends_with(".metadata") => well(request, stream, METADATA.as_bytes()),
            target if target.ends_with(".whl") => well(request, stream, &body),
            _ => respond(stream, "404 Not Found\r\nContent-Length: 0", b""),
        }
    })
}

#[test]
fn what_an_index_has_no_sha256_for_is_hashed_while_locking() {
    if !has_uv() {
        return;
    }
    let other = |path: &Path| Digest::of_file(Algorithm::Sha512, path).unwrap().to_string().replace(':', "=");
    for kind in ["md5", "sha512", "nothing"] {
        let mut site = Site::new(&[("requirements.txt", "wb-probe\n")]);
        let path = site.cache().with_file_name(WHEEL);
        let sha256 = wheel(&path, "one = 1\n");
        let server = index(
            &path,
            match kind {
                "md5" => format!("md5={}", "0".repeat(32)),
                "sha512" => other(&path),
                _ => String::new(),
            },
        );
        site.index.extra_index_urls = vec![server.url("simple").to_string()];
        assert_eq!(site.gather().unwrap().targets[0].wheels[0].sha256, sha256, "{kind}");
        let text = fs::read_to_string(site.lock_file()).unwrap();
        assert!(text.contains(&sha256.to_string()), "{kind}: {text}");
        let fetched = server.requests().len();
        let lock = site.lock().unwrap();
        assert!(!lock.resolved && lock.pylock.packages[0].wheels[0].sha256() == Some(sha256), "{kind}");
        site.gather_lock(&lock).unwrap();
        assert_eq!(server.requests().len(), fetched, "{kind}: nothing is fetched again");
    }
}

#[test]
fn a_sha512_alone_is_compared() {
    let site = Site::new(&[]);
    let path = site.cache().with_file_name(WHEEL);
    let sha256 = wheel(&path, "one = 1\n");
    let server = index(&path, String::new());
    let url = server.url(&format!("files/{WHEEL}"));
    let lock = |hash: &str| {
        let package = format!(
            "[[packages]]\nname = \"wb-probe\"\nversion = \"1\"\nwheels = [{{ url = \"{url}\", hashes = {{ {hash} }} }}]\n"
        );
        site.write("pylock.toml", &format!("lock-version = \"1.0\"\ncreated-by = \"x\"\n{package}"));
        Lock::read(&site.project().join("pylock.toml"))
    };
    let right = Digest::of_file(Algorithm::Sha512, &path).unwrap().to_string();
    let right = right.strip_prefix("sha512:").unwrap();
    let gathered = site.gather_lock(&lock(&format!("sha512 = \"{right}\"")).unwrap());
    if has_uv() {
        assert_eq!(gathered.unwrap().targets[0].wheels[0].sha256, sha256);
    }
    let wrong = lock(&format!("sha512 = \"{}\"", "0".repeat(128))).unwrap();
    assert!(matches!(site.gather_lock(&wrong), Err(Error::Hash { .. })));
    let weak = lock(&format!("md5 = \"{}\"", "0".repeat(32))).unwrap_err().to_string();
    assert!(weak.contains("no sha256, sha384 or sha512"), "{weak}");
}

#[test]
fn a_repository_out_of_reach_stops_the_other_builds() {
    if !has_uv() {
        return;
    }
    let backend = "import pathlib, time\ndef build_wheel(*_, **__):\n    pathlib.Path('/dev/null').read_bytes()\n    time.sleep(60)\n";
    let site = Site::new(&[
        (
            "slow/pyproject.toml",
            "[project]\nname = \"slow\"\nversion = \"1\"\n[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n",
        ),
        ("slow/backend.py", backend),
        (
            "pylock.toml",
            "lock-version = \"1.0\"\ncreated-by = \"x\"\n[[packages]]\nname = \"slow\"\ndirectory = { path = \"slow\" }\n\
             [[packages]]\nname = \"gone\"\nvcs = { type = \"git\", url = \"file:///nowhere/gone\", commit-id = \"0123456789012345678901234567890123456789\" }\n",
        ),
    ]);
    let begun = std::time::Instant::now();
    assert!(matches!(site.gather(), Err(Error::Git { .. })));
    site.write("broken/pyproject.toml", "[project]\nname = \"broken\"\nversion = \"1\"\n[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n");
    site.write("broken/backend.py", "def build_wheel(*_, **__):\n    raise SystemExit('broken')\n");
    site.write(
        "pylock.toml",
        "lock-version = \"1.0\"\ncreated-by = \"x\"\n[[packages]]\nname = \"slow\"\ndirectory = { path = \"slow\" }\n\
         [[packages]]\nname = \"broken\"\ndirectory = { path = \"broken\" }\n",
    );
    let error = site.gather().unwrap_err();
    assert!(matches!(&error, Error::Build { package, .. } if package.starts_with("broken")), "{error}");
    assert!(begun.elapsed().as_secs() < 40, "the slow build was stopped");
}
