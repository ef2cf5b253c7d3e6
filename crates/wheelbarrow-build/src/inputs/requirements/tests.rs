use super::*;

const ONE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const TWO: &str = "2222222222222222222222222222222222222222222222222222222222222222";

fn sources<'a>(project: &'a Path, files: &'a [PathBuf]) -> Sources<'a> {
    Sources { project, files, constraints: &[], with: &[], offline: true }
}

fn requirements(files: &[(&str, &str)]) -> Requirements {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let files = [directory.path().join(files[0].0)];
    read(&sources(directory.path(), &files)).unwrap()
}

#[test]
fn nested_files_are_followed_from_where_they_are_named() {
    let read = requirements(&[
        ("requirements.txt", "\u{feff}-r requirements/production.txt\r\n"),
        ("requirements/production.txt", "-r base.txt\r\n--constraint=../limits.txt # why\r\nuwsgi"),
        ("requirements/base.txt", "-r production.txt\nDjango>=4"),
        ("limits.txt", "six==1.0"),
    ]);
    let names: Vec<_> =
        read.files.iter().map(|(file, _)| file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["requirements.txt", "production.txt", "base.txt", "limits.txt"]);
    assert!(!read.complete);
}

#[test]
fn hashes_are_collected_over_continued_lines() {
    let text = format!(
        "--index-url https://h/simple\nSix[x]==1.16.0 ; python_version > '3' \\\n    --hash=sha256:{ONE} \\\n    --hash \
         sha256:{TWO}\n# end\nb @ https://h/b-1.tar.gz#egg=b --hash=sha256:{ONE}\nhttps://h/c_c-2-py3-none-any.whl --hash=sha256:{TWO}"
    );
    let read = requirements(&[("r.txt", &text)]);
    assert!(read.complete);
    let subjects: Vec<_> = read.hashes.lines.iter().map(|line| (&line.subject, line.digests.len())).collect();
    let name = |name: &str| Subject::Name(name.to_owned());
    let file = Subject::File(crate::lock::Place::Remote("https://h/c_c-2-py3-none-any.whl".parse().unwrap()));
    assert_eq!(subjects, [(&name("six"), 2), (&name("b"), 1), (&file, 1)]);
    assert_eq!(read.text.lines().count(), 4, "{}", read.text);
}

#[test]
fn one_line_without_a_hash_leaves_something_to_resolve() {
    for line in ["b", "b==1.*", "b>=1", "-e ./b", "b==1"] {
        let read = requirements(&[("r.txt", &format!("a==1 --hash=sha256:{ONE}\n{line}\n"))]);
        assert!(!read.complete, "{line}");
    }
    assert!(!requirements(&[("r.txt", "# nothing\n")]).complete);
}

#[test]
fn a_repository_that_is_editable_is_one_like_any_other() {
    for url in ["git+https://h/a@0123456#egg=a", "git+ssh://git@h/a.git@v1#egg=a&subdirectory=b"] {
        let [editable, plain] =
            ["-e ", ""].map(|flag| requirements(&[("r.txt", &format!("{flag}{url}\n"))]).text);
        assert_eq!(editable, plain);
        assert!(editable.contains("git+"), "{editable}");
    }
}

#[test]
fn errors_name_the_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("r.txt");
    fs::write(&file, "a==1\n-r gone.txt\n").unwrap();
    let error = read(&sources(directory.path(), &[file])).unwrap_err().to_string();
    assert!(error.contains("r.txt:2: ") && error.contains("gone.txt does not exist"), "{error}");
}

#[test]
fn unknown_lines_stop_the_build() {
    let hash = format!("--hash=sha256:{ONE}");
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("local")).unwrap();
    let file = [directory.path().join("r.txt")];
    for line in [
        "--no-such-option".to_owned(),
        "a==1 --global-option=x".to_owned(),
        "a==1 --hash=md5:00".to_owned(),
        "a==1 --hash".to_owned(),
        "a @ https://h/a.whl#md5=00".to_owned(),
        "-e git+https://h/a#sha256=00".to_owned(),
        format!("./local {hash}"),
        format!("git+https://h/a {hash}"),
        "a=1".to_owned(),
        "a==1 \\ ".to_owned(),
        "a==1 ; python_version >".to_owned(),
        "a==1\u{1}".to_owned(),
        "-r gone.txt more.txt".to_owned(),
        format!("--require-hashes\nb {hash}"),
        "--require-hashes\na==1".to_owned(),
        "--require-hashes\n-e ./local".to_owned(),
    ] {
        fs::write(&file[0], format!("# first\n{line}\n")).unwrap();
        let error = read(&sources(directory.path(), &file)).map(|read| read.text).unwrap_err().to_string();
        let number = if line.contains('\n') { 3 } else { 2 };
        assert!(error.contains(&format!("r.txt:{number}: ")), "{line}: {error}");
    }
}

#[test]
fn options_are_applied_or_reported() {
    let read = requirements(&[(
        "r.txt",
        "--pre\n--only-binary :all: --no-binary=Foo_Bar\n-fhttps://h/l\n--trusted-host h\n-i https://h/s\n\
         foo (>=1)\n./x.whl[web] ; sys_platform == 'linux'\n-e ./local # here",
    )]);
    assert!(read.prereleases && !read.complete);
    let (foo, other) = (read.formats.of("foo-bar"), read.formats.of("other"));
    assert!(foo.sources && !foo.wheels && !other.sources && other.wheels);
    let lines: Vec<_> = read.text.lines().collect();
    assert_eq!(
        lines,
        [
            "--find-links https://h/l",
            "--index-url https://h/s",
            "foo>=1",
            "./x.whl[web] ; sys_platform == 'linux'",
            "-e ./local"
        ]
    );
    assert_eq!(read.notes.len(), 1);
}

#[test]
fn hashes_are_found_however_a_line_is_written() {
    let hash = format!("--hash=sha256:{ONE}");
    for line in [
        format!("epo==1!2.0 {hash}"),
        format!("foo (==1.0) {hash}"),
        format!("foo[x]===1.0 {hash}"),
        format!("foo==1.0;python_version>'3' {hash}"),
        format!("./bar-1.0.tar.gz {hash}"),
        format!("./bar-1.0.tar.gz#sha256={ONE}"),
        format!("foo @ file:///x/foo-1.0-py3-none-any.whl#sha256={ONE}"),
        format!("https://h/foo-1.0.zip#egg=foo&sha256={ONE}"),
    ] {
        for text in [line.clone(), format!("# x\r{line}\r"), format!("{line}\u{2028}# x")] {
            let read = requirements(&[("r.txt", &text)]);
            assert!(read.complete && read.hashes.lines.len() == 1, "{text:?}");
        }
    }
}

#[test]
fn a_file_may_be_included_by_its_url() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("inner.txt"), format!("a==1 --hash=sha256:{ONE}\n")).unwrap();
    let files = [directory.path().join("r.txt")];
    fs::write(&files[0], format!("-r file://{}/inner.txt\n", directory.path().display())).unwrap();
    let inner = read(&sources(directory.path(), &files)).unwrap();
    assert!(inner.complete && inner.hashes.lines.len() == 1 && inner.files.len() == 2);
    fs::write(&files[0], "-r https://h/inner.txt\n").unwrap();
    assert!(matches!(read(&sources(directory.path(), &files)), Err(Error::Offline { .. })));
}

#[test]
fn options_beside_requirements_are_read() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("limits.txt"), "b<2\n").unwrap();
    let (constraints, with) = (["limits.txt".to_owned()], ["Gunicorn>=23".to_owned()]);
    let sources = Sources { constraints: &constraints, with: &with, ..sources(directory.path(), &[]) };
    let found = read(&sources).unwrap();
    assert_eq!((found.text.as_str(), found.constraints.as_str()), ("gunicorn>=23\n", "b<2\n"));
    let with = ["-r x.txt".to_owned()];
    assert!(matches!(read(&Sources { with: &with, ..sources }), Err(Error::With { .. })));
}

#[test]
fn no_error_has_a_password() {
    let directory = tempfile::tempdir().unwrap();
    let file = [directory.path().join("r.txt")];
    let check = |sources: &Sources<'_>| {
        let error = read(sources).map(|read| read.text).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("****@") && !text.contains("cr3t"), "{text}");
    };
    for line in [
        "x @ http://usr:s3cr3t@[127.0.0.1/bad",
        "x @ http://usr:s3/cr3t@h",
        "http://usr:s3cr3t@h:bad/x.whl",
        "-r http://usr:s3cr3t@[bad/more.txt",
        "x http://usr:s3cr3t@h",
    ] {
        fs::write(&file[0], format!("{line}\n")).unwrap();
        check(&sources(directory.path(), &file));
    }
    let wrong = ["x @ http://usr:s3cr3t@[bad".to_owned()];
    check(&Sources { with: &wrong, ..sources(directory.path(), &[]) });
    check(&Sources { constraints: &["http://usr:s3cr3t@[bad".to_owned()], ..sources(directory.path(), &[]) });
}
