use fs_err as fs;
use serde_json::json;
use wheelbarrow_base::progress::Silent;

use super::*;

const PIP: &str = "bootstrap_wheels/pip-1-py3-none-any.whl";

/// An artifact of nothing but a wheel that is called pip and has these contents.
fn artifact(path: &Path, pip: &[u8]) {
    let wheel = path.with_extension("whl");
    fs::write(&wheel, pip).unwrap();
    let file = fs::File::create(path).unwrap().into_parts().0;
    let mut zip = ZipWriter::new(file, SHEBANG, DosTime::FIRST).unwrap();
    let stored = crate::zip::StoredFile { path: PIP, kind: MemberKind::File, file: &wheel };
    let sha256 = zip.add_stored(&[stored]).unwrap()[0];
    let manifest = json!({
        "format": 1,
        "name": "site",
        "built_by": "a test",
        "project": {"directory": "code", "import_path": "code", "digest": Sha256::of(b"")},
        "targets": [{"python": "3.12", "abi": "cp312", "platform": "any", "wheels": [], "pip": PIP,
                     "unpacked": {"bytes": 0, "inodes": 0}}],
        "environment": {},
        "wheels": [{"path": PIP, "name": "pip", "version": "1"}],
        "members": [{"path": PIP, "size": pip.len(), "sha256": sha256, "kind": "file"}],
    });
    zip.add(MANIFEST_PATH, MemberKind::File, &serde_json::to_vec(&manifest).unwrap()).unwrap();
    zip.finish().unwrap();
}

/// Other readers of zips refuse such a member, so it is not as built, whatever its SHA-256.
#[test]
fn stored_members_have_the_crc_of_the_directory() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("site.zip");
    // Several pieces, and none.
    for size in [CHUNK * 2 + 7, 0] {
        artifact(&path, &vec![7; size]);
        let entry = Artifact::open(&path).unwrap().archive().find(PIP).unwrap().clone();
        Artifact::open(&path).unwrap().verify(&Silent).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[entry.data.start - PIP.len() - 16] ^= 1;
        let listed = bytes.windows(PIP.len()).rposition(|window| window == PIP.as_bytes()).unwrap();
        bytes[listed - 30] ^= 1;
        fs::write(&path, bytes).unwrap();
        let verify = |known| Artifact::open(&path).unwrap().verify_but(known, &Silent);
        let refused = verify(BTreeSet::new()).err().expect("it was taken");
        let ArtifactError::Zip { source, .. } = refused else { panic!("{refused}") };
        let (found, said) = (entry.crc32, entry.crc32 ^ 1);
        let expected =
            format!("member {PIP:?} has the wrong CRC-32: {found:08x}, the directory says {said:08x}");
        assert_eq!(source.to_string(), expected);
        let mut unread = verify(BTreeSet::from([PIP.to_owned()])).unwrap();
        assert!(unread.verify_member(PIP, &Silent).is_err());
    }
}
