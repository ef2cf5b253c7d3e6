//! Files that changed under their names, and indexes with other hashes than SHA-256.

use std::path::Path;

use fs_err as fs;
use wheelbarrow_artifact::manifest::{MemberKind, Sha256};
use wheelbarrow_artifact::zip::{DosTime, ZipWriter};
use wheelbarrow_build::Error;
use wheelbarrow_build::lock::{Algorithm, Digest, Lock};
use wheelbarrow_build::uv::Uv;

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
fn a_replaced_local_wheel_is_used() {
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
fn a_frozen_lock_refuses_other_files_in_the_cache() {
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

/// Requires wb-probe from this index.
fn write_input(site: &mut Site, input: &str, index: &str) {
    if input == "requirements.txt" {
        site.write(input, "wb-probe\n");
        site.index.extra_index_urls = vec![index.to_owned()];
        return;
    }
    let project =
        "[project]\nname = 'site'\nversion = '1'\nrequires-python = '>=3.8'\ndependencies = ['wb-probe']\n";
    let uv = format!("[tool.uv]\npackage = false\n[[tool.uv.index]]\nurl = '{index}'\n");
    site.write("pyproject.toml", &format!("{project}{uv}"));
    if input == "uv.lock" {
        let output = Uv::find().unwrap().command().arg("lock").current_dir(site.project()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn files_without_sha256_are_hashed_while_locking() {
    if !has_uv() {
        return;
    }
    let of = |algorithm, path: &Path| Digest::of_file(algorithm, path).unwrap().to_string().replace(':', "=");
    let inputs = ["requirements.txt", "pyproject.toml", "uv.lock"];
    let kinds = ["md5", "sha384", "sha512", "nothing"];
    for (input, kind) in inputs.into_iter().flat_map(|input| kinds.map(|kind| (input, kind))) {
        let mut site = Site::new(&[]);
        let path = site.cache().with_file_name(WHEEL);
        let sha256 = wheel(&path, "one = 1\n");
        let server = index(
            &path,
            match kind {
                "md5" => format!("md5={}", "0".repeat(32)),
                "sha384" => of(Algorithm::Sha384, &path),
                "sha512" => of(Algorithm::Sha512, &path),
                _ => String::new(),
            },
        );
        write_input(&mut site, input, server.url("simple").as_str());
        let kind = format!("{input}, {kind}");
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
fn a_sha384_or_a_sha512_alone_is_compared() {
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
    for algorithm in [Algorithm::Sha384, Algorithm::Sha512] {
        let right = Digest::of_file(algorithm, &path).unwrap().to_string();
        let (name, right) = right.split_once(':').unwrap();
        let gathered = site.gather_lock(&lock(&format!("{name} = \"{right}\"")).unwrap());
        if has_uv() {
            assert_eq!(gathered.unwrap().targets[0].wheels[0].sha256, sha256);
        }
        let wrong = lock(&format!("{name} = \"{}\"", "0".repeat(right.len()))).unwrap();
        assert!(matches!(site.gather_lock(&wrong), Err(Error::Hash { .. })), "{name}");
    }
    let weak = lock(&format!("md5 = \"{}\"", "0".repeat(32))).unwrap_err().to_string();
    assert!(weak.contains("no sha256, sha384 or sha512"), "{weak}");
}

#[test]
fn a_repository_out_of_reach_stops_the_other_builds() {
    if !has_uv() || !wheelbarrow_testing::has("git") {
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

/// Builds a wheel that says which settings it was given, and whether wb-probe was there.
const BACKEND: &str = r#"
import zipfile
def build_wheel(directory, config_settings=None, metadata_directory=None):
    try:
        import wb_probe
    except ImportError:
        wb_probe = None
    info = "pack-1.dist-info/"
    files = {
        "pack.py": "SAID = %r\n" % ((sorted((config_settings or {}).items()), wb_probe is not None),),
        info + "METADATA": "Metadata-Version: 2.1\nName: pack\nVersion: 1\n",
        info + "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[info + "RECORD"] = "".join("%s,,\n" % name for name in list(files) + [info + "RECORD"])
    with zipfile.ZipFile(directory + "/pack-1-py3-none-any.whl", "w") as file:
        for name, text in files.items():
            file.writestr(zipfile.ZipInfo(name), text)
    return "pack-1-py3-none-any.whl"
"#;

#[test]
fn settings_of_uv_decide_what_is_built() {
    if !has_uv() {
        return;
    }
    let mut site = Site::new(&[
        ("requirements.txt", "./pack\n"),
        (
            "pack/pyproject.toml",
            "[project]\nname = 'pack'\nversion = '1'\n[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n",
        ),
        ("pack/backend.py", BACKEND),
    ]);
    let vendor = site.project().join("../vendor");
    wheel(&vendor.join(WHEEL), "");
    site.index.find_links = vec![vendor.canonicalize().unwrap().to_string_lossy().into_owned()];
    let mut seen: Vec<(&str, Sha256)> = Vec::new();
    for (settings, said) in [
        ("", "([], False)"),
        ("config-settings = { mode = 'one' }\n", "([('mode', 'one')], False)"),
        ("config-settings = { mode = 'two' }\n", "([('mode', 'two')], False)"),
        ("[extra-build-dependencies]\npack = ['wb-probe']\n", "([], True)"),
        ("config-settings = { mode = 'one' }\n", "([('mode', 'one')], False)"),
        ("", "([], False)"),
    ] {
        site.write("uv.toml", settings);
        let gathered = site.gather().unwrap();
        let found = &gathered.targets[0].wheels[0];
        let module = fs::read(&found.path).unwrap();
        let line = format!("SAID = {said}\n");
        assert!(module.windows(line.len()).any(|part| part == line.as_bytes()), "{settings}{said}");
        let before = seen.iter().find(|(other, _)| *other == settings);
        let is_built = site.notes.take().iter().any(|note| note.starts_with("building pack"));
        assert_eq!(is_built, before.is_none(), "{settings}");
        assert!(before.is_none_or(|(_, sha256)| *sha256 == found.sha256), "{settings}");
        seen.push((settings, found.sha256));
    }
}
