use super::*;

#[test]
fn logins_and_keys_of_whoever_builds_are_left_out() {
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n";
    let files = [
        (".netrc", ""),
        ("a/.aws/credentials", ""),
        ("a/.ssh/id_rsa.pub", ""),
        ("a/.ssh/known_hosts", ""),
        (".docker/config.json", ""),
        (".docker/Dockerfile", ""),
        ("deploy/id_ed25519", key),
        ("my.netrc", ""),
        ("site/cert.pem", "-----BEGIN CERTIFICATE-----\nPRIVATE KEY\n"),
        ("site/key.pem", key),
    ];
    let place = tree(&files);
    symlink("my.netrc", place.path().join("_netrc")).unwrap();
    let packed = [".docker/Dockerfile", "my.netrc", "site/cert.pem", "site/key.pem"];
    assert_eq!(paths(place.path(), &[]), packed);
    let left_out = |path: &str| {
        format!(
            "left out {path}: it may have a login or a private key (if it belongs to the site, `!/{path}` in \
             .wheelbarrowignore keeps it)"
        )
    };
    let mut notes: Vec<_> =
        [".docker/config.json", ".netrc", "_netrc", "a/.aws/", "a/.ssh/", "deploy/id_ed25519"]
            .map(left_out)
            .to_vec();
    notes.push(
        "site/key.pem is a private key, and every user of a host can read it in a release: `/site/key.pem` in \
         .wheelbarrowignore leaves it out"
            .to_owned(),
    );
    assert_eq!(walk_project(place.path(), &[]).unwrap().1, notes);
    let rules =
        ["!/.netrc", "!/a/.ssh/", "!/a/.aws/credentials", "!/site/key.pem", "/_netrc", "/.docker", "/deploy"];
    let kept = [".netrc", "a/.aws/credentials", "a/.ssh/id_rsa.pub", "a/.ssh/known_hosts"];
    assert_eq!(paths(place.path(), &rules), [&kept[..], &packed[1..]].concat());
    assert_eq!(walk_project(place.path(), &rules).unwrap().1, [""; 0]);
    assert_eq!(paths(place.path(), &["!a/", "!site/"]), packed, "a directory that is kept has them too");
}

#[test]
fn private_keys_and_variables_of_servers_are_noted() {
    let key = "-----BEGIN RSA PRIVATE KEY-----\nx\n";
    let after = format!("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n{key}");
    let files = [
        ("nginx.pem", &*after),
        ("service.json", r#"{"private_key": "-----BEGIN PRIVATE KEY-----\nMII"}"#),
        ("k.ppk", "PuTTY-User-Key-File-3: ssh-ed25519\n"),
        ("prod.env", "SECRET_KEY=x\n"),
        ("env.production", "SECRET_KEY=x\n"),
        // Nothing secret.
        ("tests.py", &*after),
        ("public.pem", "-----BEGIN PUBLIC KEY-----\nx\n"),
        ("words.txt", "a file of a PRIVATE KEY-----\n"),
        ("example.env", "SECRET_KEY=x\n"),
        ("env.py", "SECRET_KEY=x\n"),
        ("empty.env", "# nothing\n"),
        ("large.json", &format!("{key}{}", " ".repeat(200 << 10))[1..]),
    ];
    let place = tree(&files);
    assert_eq!(paths(place.path(), &[]).len(), files.len());
    let note = |path: &str, what: &str| {
        format!(
            "{path} {what}, and every user of a host can read it in a release: `/{path}` in .wheelbarrowignore \
             leaves it out"
        )
    };
    let notes = [
        note("env.production", "sets variables of a server"),
        note("k.ppk", "is a private key"),
        note("nginx.pem", "has a private key"),
        note("prod.env", "sets variables of a server"),
        note("service.json", "has a private key"),
    ];
    assert_eq!(walk_project(place.path(), &[]).unwrap().1, notes);
    let left_out = [".pgpass", ".kube/config", "a/.config/gcloud/x", "a/.psql_history", "terraform.tfstate"];
    let place = tree(&left_out.map(|path| (path, "")));
    assert_eq!(paths(place.path(), &[]), [""; 0]);
}
