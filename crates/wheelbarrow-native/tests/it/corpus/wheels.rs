//! Wheels whose zip and texts are in order: names and places, and several wheels in one artifact.

use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_install::Pip;

use super::{Case, WHEEL, site_of};
use crate::site::wheel_members;
use crate::zips::{Member, zip};

pub(super) fn cases() -> Vec<Case> {
    let all = [names(), file_names(), dist_infos(), several()];
    all.into_iter().flatten().collect()
}

fn file(name: &str) -> Member {
    Member::new(name, "a = 1\n").utf8()
}

/// A name in the zip, and whether a wheel may have it.
fn names() -> Vec<Case> {
    let names = [
        ("pack.py", true),
        ("ünï/cödé.py", true),
        ("a b.py", true),
        ("a,\"b\".py", true),
        ("\u{feff}mark.py", false),
        ("line\nend.py", false),
        ("return\r.py", false),
        ("escape\u{1b}.py", false),
        ("turned\u{202e}.py", false),
        ("pack-1.data/data/esc\u{1b}", false),
        ("pack-1.dist-info/licenses/a\u{7f}", false),
        ("/etc/pack.py", false),
        ("../pack.py", false),
        ("a/../b.py", false),
        ("./a.py", false),
        ("a//b.py", false),
        ("a\\b.py", false),
        ("..", false),
        ("a\0b", false),
        ("pack-1.data/scripts/run", true),
        ("pack-1.data/scripts/sub/run", true),
        ("pack-1.data/scripts/esc\u{1b}[31m", false),
        ("pack-1.data/scripts/line\nend", false),
        ("pack-1.data/scripts/c1\u{9b}31m", false),
        ("pack-1.data/scripts/turned\u{202e}", false),
        ("pack-1.data/scripts/line\u{2028}", false),
        ("pack-1.data/scripts/python", false),
        ("pack-1.data/scripts", false),
        ("pack-1.data/a", false),
        ("pack-1.data/unknown/a", false),
        ("pack-1.data/data/lib64/a.py", true),
        ("pack-1.data/data/lib64", false),
        ("pack-1.data/data/pyvenv.cfg", false),
        ("pack-1.data/data/PyVenv.CFG", false),
        ("pack-1.data/data/bin/python._pth", false),
        ("pack-1.data/data/BIN/Python3.12._PTH", false),
        ("pack-1.data/data/bin/pyvenv.cfg", false),
        ("pack-1.data/data/bin/pybuilddir.txt", false),
        ("pack-1.data/scripts/python3._pth", false),
        ("pack-1.data/scripts/pyvenv.cfg", false),
        ("pack-1.data/scripts/PYBUILDDIR.txt", false),
        ("pack-1.data/data/share/python._pth", true),
        ("pack-1.data/purelib/python._pth", true),
        ("pack-1.data/data/lib/python3.12/site-packages/z.pth", true),
        ("pack-1.data/purelib/p.py", true),
        ("pack-1.data/headers/sub/p.h", true),
        ("other.data/platlib/p.so", true),
        ("x.data", true),
        (".data/data/x", true),
        ("early.pth", true),
        ("0-loadenv-init.pth", true),
        ("!loadenv-init.pth", true),
        (" early.pth", true),
        ("\u{1}.pth", false),
        ("loadenv-init.pth", false),
        ("pack-1.dist-info/INSTALLER", true),
        ("pack-1.dist-info/direct_url.json", true),
        ("pack-1.dist-info/licenses/LICENSE", true),
        ("pack-1.data/purelib/pack-1.dist-info/RECORD", false),
    ];
    let mut cases: Vec<Case> = names
        .iter()
        .map(|(name, taken)| Case::files(&format!("member {name:?}"), &[file(name)], *taken))
        .collect();
    let directory = |name: &str| Member { mode: 0o040_755, method: 0, ..Member::new(name, "") };
    for (name, taken) in [
        ("empty/", true),
        ("../", false),
        ("a/../../b/", false),
        ("/", false),
        ("a//", false),
        ("a\\/", false),
        ("a\u{1b}/", false),
    ] {
        cases.push(Case::files(&format!("directory {name:?}"), &[directory(name)], taken));
    }
    let mut other = |name: &str, member: Member, taken| cases.push(Case::files(name, &[member], taken));
    other("a directory entry with contents", Member { mode: 0o040_755, ..Member::new("d/", "x") }, false);
    other(
        "a directory entry that is a link",
        Member { mode: 0o120_777, method: 0, ..Member::new("d/", "") },
        false,
    );
    other("a directory entry without a mode", Member { mode: 0, method: 0, ..Member::new("d/", "") }, true);
    other("a link", Member { mode: 0o120_777, ..file("l") }, false);
    other("a pipe", Member { mode: 0o010_644, ..file("p") }, false);
    other("a device", Member { mode: 0o060_644, ..file("p") }, false);
    other("a socket", Member { mode: 0o140_644, ..file("p") }, false);
    other("a file with the mode of a directory", Member { mode: 0o040_755, ..file("p") }, false);
    other("an executable file", Member { mode: 0o100_755, ..file("tool") }, true);
    other("setuid", Member { mode: 0o104_755, ..file("tool") }, true);
    other("x bits without a kind", Member { mode: 0o755, ..file("tool") }, true);
    other("made on DOS", Member { mode: 0o100_755, system: 0, ..file("tool") }, true);
    other("a link made on DOS", Member { mode: 0o120_777, system: 0, ..file("tool") }, true);
    other("made on OS X", Member { mode: 0o100_755, system: 19, ..file("tool") }, true);
    other("a file and a directory", file("loadenv-init.pth/x"), false);
    cases.push(Case::files("a file below a file", &[file("a"), file("a/b")], false));
    cases.push(Case::files("names that differ by case", &[file("a.py"), file("A.py")], true));
    let installer = Member::new("pack-1.data/purelib/pack-1.dist-info/INSTALLER", "wheelbarrow\n");
    cases.push(Case::files("INSTALLER by another way", &[installer], true));
    cases.push(Case::files(
        "one path twice, the same",
        &[file("a.py"), file("pack-1.data/purelib/a.py")],
        true,
    ));
    let second = Member::new("pack-1.data/purelib/a.py", "b = 2\n");
    cases.push(Case::files("one path twice, not the same", &[file("a.py"), second], false));
    let nested = Member::new("pack-1.data/data/lib/python3.12/site-packages/a.py", "b = 2\n");
    cases.push(Case::files("one path twice, by data", &[file("a.py"), nested], false));
    cases
}

/// The file name of a wheel, and whether PEP 427 and PEP 440 allow it.
fn file_names() -> Vec<Case> {
    let names = [
        ("pack-1-py3-none-any.whl", true),
        ("pack-1-7b-py2.py3-none-any.whl", true),
        ("PACK-1-py3-none-any.whl", true),
        ("pack-1!2.0.post1.dev2+local.7-py3-none-any.whl", true),
        ("pack-v1.0-py3-none-any.whl", true),
        ("pack-1.0.RC.1-py3-none-any.whl", true),
        ("pack-1.0alpha-py3-none-any.whl", true),
        ("pack-1_0-py3-none-any.whl", false),
        ("pack-1.0_post3-py3-none-any.whl", true),
        ("pack-1.0a_1-py3-none-any.whl", true),
        ("pack-1.0a_-py3-none-any.whl", true),
        ("pack-1.0._a-py3-none-any.whl", false),
        ("pack-1.0PREVIEW2.dev-py3-none-any.whl", true),
        ("pack-V1.0c1-py3-none-any.whl", true),
        ("pack-1.0.r4-py3-none-any.whl", true),
        ("pack-1+abc_def.1-py3-none-any.whl", true),
        ("pack-1+0020.99999999999999999999999-py3-none-any.whl", true),
        ("pack-99999999999999999999999-py3-none-any.whl", false),
        ("pack-1.0a99999999999999999999999-py3-none-any.whl", false),
        ("pack-1.*-py3-none-any.whl", false),
        ("pack-1..0-py3-none-any.whl", false),
        ("pack-1.0+-py3-none-any.whl", false),
        ("pack-1.0+a..b-py3-none-any.whl", false),
        ("pack- 1-py3-none-any.whl", false),
        ("pack-1 -py3-none-any.whl", false),
        ("pack-1\n-py3-none-any.whl", false),
        ("pack-2010i-py3-none-any.whl", false),
        ("pack-x-py3-none-any.whl", false),
        ("pack-\u{661}-py3-none-any.whl", false),
        ("pack--py3-none-any.whl", false),
        ("pack-1-x7-py3-none-any.whl", false),
        ("pack-1-99999999999999999999999-py3-none-any.whl", false),
        ("pack-1-7é-py3-none-any.whl", false),
        ("pack-1-py3-none.whl", false),
        ("pack-1-1-1-py3-none-any.whl", false),
        ("pack-1-py3-none-any.zip", false),
        ("pack-1-py3-none-any.WHL", false),
        ("pack-1-py3..py2-none-any.whl", false),
        ("pack-1-py3-none-.whl", false),
        ("pack-1-py3-no ne-any.whl", false),
        ("_pack-1-py3-none-any.whl", false),
        ("päck-1-py3-none-any.whl", false),
        ("other-1-py3-none-any.whl", false),
    ];
    let wheel = zip(&wheel_members("pack", &[file("pack.py")]));
    let mut cases: Vec<Case> = names
        .iter()
        .map(|(name, taken)| Case::wheel(&format!("file name {name:?}"), name, &wheel, *taken))
        .collect();
    let tags = vec!["x"; 20].join(".");
    let name = format!("pack-1-{tags}-{tags}-{tags}.whl");
    cases.push(Case::wheel("file name with 8000 tags", &name, &wheel, false));
    for (count, taken) in [(16, true), (17, false)] {
        let name = format!("pack-1-py3{}-none{}-any.whl", ".x".repeat(15), ".x".repeat(count - 1));
        cases.push(Case::wheel(&format!("file name with 16 times {count} tags"), &name, &wheel, taken));
    }
    cases
}

/// Members beside those that every wheel has, and what is left out of those.
fn dist_infos() -> Vec<Case> {
    let directory = |name: &str| Member { mode: 0o040_755, method: 0, ..Member::new(name, "") };
    let without = |file: &str| -> Vec<Member> {
        wheel_members("pack", &[]).into_iter().filter(|member| !member.name.ends_with(file)).collect()
    };
    let renamed = |from: &str, to: &str| -> Vec<Member> {
        let mut members = wheel_members("pack", &[]);
        for member in &mut members {
            member.name = member.name.replace(from, to);
            let contents = String::from_utf8_lossy(&member.contents).replace(from, to);
            member.contents = contents.into_bytes();
            member.flags |= 1 << 11;
        }
        members
    };
    vec![
        Case::files("a second .dist-info", &[file("other-1.dist-info/METADATA")], false),
        Case::files("a second .dist-info, an empty directory", &[directory("other-1.dist-info/")], false),
        Case::files("a second .dist-info, a file", &[file("other-1.dist-info")], false),
        Case::files("a second .dist-info, further down", &[file("sub/other-1.dist-info/METADATA")], true),
        Case::files("a second .dist-info, in other case", &[file("other-1.DIST-INFO/METADATA")], true),
        Case::files("its .dist-info as a directory entry", &[directory("pack-1.dist-info/")], true),
        Case::members("no .dist-info", &[file("pack.py")], false),
        Case::members("no members", &[], false),
        Case::members("no WHEEL", &without("/WHEEL"), false),
        Case::members("no METADATA", &without("/METADATA"), false),
        Case::members("no RECORD", &without("/RECORD"), false),
        Case::members("another version", &renamed("pack-1.dist", "pack-2.dist"), true),
        Case::members("a version with a dash", &renamed("pack-1.dist", "pack-1-2.dist"), true),
        Case::members("another name", &renamed("pack-1.dist", "pick-1.dist"), false),
        Case::members("no version", &renamed("pack-1.dist", "pack.dist"), false),
        Case::members("a name in other case", &renamed("pack-1.dist", "PaCk-1.dist"), true),
        Case::members("a Kelvin sign in the name", &renamed("pack-1.dist", "pac\u{212a}-1.dist"), false),
    ]
}

/// Several wheels, and pip.
fn several() -> Vec<Case> {
    let wheel = |name: &str, files: &[Member]| zip(&wheel_members(name, files));
    let two = |name: &str, one: &[Member], other: &[Member], taken| {
        let (one, other) = (wheel("pack", one), wheel("other", other));
        Case::new(name, site_of(&[(WHEEL, &one), ("other-1-py3-none-any.whl", &other)]), taken)
    };
    let same = [file("shared.py")];
    let different = [Member::new("shared.py", "b = 2\n")];
    let executable = [Member { mode: 0o100_755, ..file("shared.py") }];
    let points = |name: &str| {
        [Member::new(&format!("{name}-1.dist-info/entry_points.txt"), "[console_scripts]\nrun = a:b\n")]
    };
    let mut cases = vec![
        two("two wheels with one file", &same, &same, true),
        two("two wheels with one path", &same, &different, false),
        two("two wheels with one file, executable in one", &same, &executable, true),
        two("two wheels with one script", &points("pack"), &points("other"), true),
        two("a file where another wheel has a directory", &[file("a")], &[file("a/b.py")], false),
        two(
            "a .dist-info of another wheel",
            &[file("x/y.py")],
            &[file("pack-1.data/purelib/pack-1.dist-info/WHEEL")],
            false,
        ),
    ];
    // RECORD says that the second file is the first.
    let mut liar = wheel_members("other", &different);
    let record = liar.last_mut().unwrap();
    record.contents = format!("shared.py,{},\n", Sha256::of(b"a = 1\n").to_record()).into_bytes();
    let lying = [(WHEEL, &wheel("pack", &same)[..]), ("other-1-py3-none-any.whl", &zip(&liar)[..])];
    cases.push(Case::new("two wheels with one path and a RECORD that hides it", site_of(&lying), false));
    for (name, points) in [
        ("pip", "[console_scripts]\npip = pip._internal.cli.main:main\npip3 = pip._internal.cli.main:main\n"),
        ("pip whose first script is another", "[console_scripts]\nother = a:b\npip = c:d\n"),
        ("pip with a script for windows first", "[gui_scripts]\nother = a:b\n[console_scripts]\npip = c:d\n"),
        ("pip without a script of its name", "[console_scripts]\nother = a:b\n"),
        ("pip without entry points", ""),
    ] {
        let path = "pip-1.dist-info/entry_points.txt";
        let files = [Member::new(path, points), Member::new("pip-1.data/scripts/other", "#!python\n")];
        let mut case = Case::new(name, super::artifacts::with_pip(&wheel("pip", &files)), true);
        case.pip = Pip::With;
        cases.push(case);
    }
    cases
}
