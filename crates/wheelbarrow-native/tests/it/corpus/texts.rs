//! The texts of `.dist-info`, and scripts.

use wheelbarrow_artifact::manifest::Sha256;

use super::Case;
use crate::site::wheel_members;
use crate::zips::Member;

pub(super) fn cases() -> Vec<Case> {
    [wheel_files(), entry_points(), records(), scripts()].into_iter().flatten().collect()
}

/// A wheel with this text for a file of its .dist-info; RECORD says what is true.
fn with_text(text_of: &str, text: &[u8]) -> Vec<Member> {
    let path = format!("pack-1.dist-info/{text_of}");
    if text_of == "entry_points.txt" {
        return wheel_members("pack", &[Member::new(&path, text)]);
    }
    let mut members = wheel_members("pack", &[]);
    let found = members.iter_mut().find(|member| member.name == path).unwrap();
    let before = Sha256::of(&found.contents).to_record();
    let row = [format!("\"{path}\",{before},{}\n", found.contents.len())];
    found.contents = text.to_vec();
    let record = members.iter_mut().find(|member| member.name.ends_with("/RECORD")).unwrap();
    if text_of != "RECORD" {
        let after = format!("\"{path}\",{},{}\n", Sha256::of(text).to_record(), text.len());
        record.contents = String::from_utf8_lossy(&record.contents).replace(&row[0], &after).into_bytes();
    }
    members
}

fn wheel_files() -> Vec<Case> {
    let texts: [(&[u8], bool); 36] = [
        (b"Wheel-Version: 1.0\n", true),
        (b"Wheel-Version: 1.9\nRoot-Is-Purelib: true\n", true),
        (b"Wheel-Version: 0.1\n", true),
        (b"Wheel-Version: 1\n", true),
        (b"Wheel-Version:1.0", true),
        (b"wheel-version:\t1.0 \r\n", true),
        (b"Generator: x\n y\nWheel-Version: 1.0\n", true),
        (b"\xef\xbb\xbfWheel-Version: 1.0\n", true),
        (b"Wheel-Version:\n 1.0\n", true),
        (b"Wheel-Version: \r\n \r\n\t1.0 \r\n  \nX: y\n", true),
        (b"Wheel-Version: 1\n .0\n", false),
        (b"Wheel-Version:\n 2.0\n", false),
        (b"Wheel-Version: 2.0\n", false),
        (b"Wheel-Version: 10.0\n", false),
        (b"Wheel-Version: 1.x\n", false),
        (b"Wheel-Version: x\n", false),
        (b"Wheel-Version: +1.0\n", false),
        (b"Wheel-Version: 1 . 0\n", false),
        (b"Wheel-Version: 1.\n", false),
        (b"Wheel-Version: \n", false),
        (b"Wheel-Version: 1.99999999999999999999\n", false),
        (b"Wheel-Version: \xd9\xa1.0\n", false),
        (b"Wheel-Version: 1.0\x0b\n", false),
        (b"Wheel-Version: 1.0\xc2\xa0\n", false),
        (b"Wheel-Version: 1.0\xe2\x80\xa8\n", false),
        (b"Wheel-Version: 1.0\n .1\n", false),
        (b"Wheel-Version: 1.0\nWheel-Version: 2.0\n", false),
        (b"Wheel-Version: 2.0\nWheel-Version: 1.0\n", false),
        (b" Wheel-Version: 1.0\n", false),
        (b"Wheel-Version : 1.0\n", false),
        (b"x\nWheel-Version: 1.0\n", false),
        (b"\nWheel-Version: 1.0\n", false),
        (b"X: y\x0cWheel-Version: 1.0\n", false),
        (b"X: y\rWheel-Version: 1.0\n", false),
        (b"Wheel-Version: 1.0\nX: \xff\n", false),
        (b"", false),
    ];
    let case = |(text, taken): &(&[u8], bool)| {
        Case::members(
            &format!("WHEEL {:?}", String::from_utf8_lossy(text)),
            &with_text("WHEEL", text),
            *taken,
        )
    };
    let mut cases: Vec<Case> = texts.iter().map(case).collect();
    let large = [b"Wheel-Version: 1.0\nX: ".to_vec(), vec![b'x'; 2 << 20]].concat();
    cases.push(Case::members("WHEEL of 2 MB", &with_text("WHEEL", &large), false));
    cases.push(Case::members("METADATA that is no text", &with_text("METADATA", b"\xff\x1c\x85"), true));
    cases
}

fn entry_points() -> Vec<Case> {
    let lines: [(&str, bool); 49] = [
        ("run = a:b", true),
        ("run=a.b:c.d [extra]", true),
        ("run = a:b # said", true),
        ("run = a:b\t; said", true),
        ("\t run\t=\ta : b\t\r", true),
        ("two words = a:b", true),
        ("ünï = a:b", true),
        ("[run = a:b", true),
        ("run = a:b\nrun = a:c", true),
        ("back\\slash = a:b", true),
        ("run = class:def", true),
        ("esc\u{1b}[31m = a:b", false),
        ("bell\u{7} = a:b", false),
        ("del\u{7f} = a:b", false),
        ("c1\u{9b} = a:b", false),
        ("nul\0 = a:b", false),
        ("tab\tinside = a:b", false),
        ("turned\u{202e} = a:b", false),
        ("isolated\u{2066} = a:b", false),
        ("run\u{2028} = a:b", false),
        ("\u{85}run = a:b", false),
        ("../run = a:b", false),
        (".. = a:b", false),
        (". = a:b", false),
        ("a/b = a:b", false),
        ("Python3._pth = a:b", false),
        ("pyvenv.cfg = a:b", false),
        ("pth = a:b", true),
        ("= a:b", false),
        ("run", false),
        ("run = a", false),
        ("run = a:", false),
        ("run = :b", false),
        ("run = a:b c", false),
        ("run = a:b()", false),
        ("run = a:b:c", false),
        ("run = a-b:c", false),
        ("run = 1a:c", false),
        ("run = a..b:c", false),
        ("run = ä:b", false),
        ("run = a:µ", false),
        ("run = a:b\u{b2}", false),
        ("run = a\u{61f}:b", false),
        ("run = a:b\u{a0}", false),
        ("run = a:b\x0b", false),
        ("run = a:b\x0crest = c:d", false),
        ("run = a:b\u{1c}rest = c:d", false),
        ("run = a:b\rrest = c:d", false),
        ("run = a:b\u{2029}rest = c:d", false),
    ];
    let case =
        |name: String, text: &[u8], taken| Case::members(&name, &with_text("entry_points.txt", text), taken);
    let mut cases: Vec<Case> = Vec::new();
    for (line, taken) in &lines {
        let text = format!("[console_scripts]\n{line}\n");
        cases.push(case(format!("entry point {line:?}"), text.as_bytes(), *taken));
    }
    let texts: [(&[u8], bool); 14] = [
        (b"", true),
        (b"run = nothing\n", true),
        (b"[gui_scripts]\nrun = gui:run\n[console_scripts]\nrun = console:run\n", true),
        (b"[console_scripts]\nrun = console:run\n[gui_scripts]\nrun = gui:run\n", true),
        (b"[console_scripts]\nx = a:b\n[other]\n\x1b = \n[console_scripts]\ny = a:b\n", true),
        (b"\xef\xbb\xbf[console_scripts]\nx = a:b\n", true),
        (b"[ console_scripts ]\nx = a:b\n", true),
        (b"[console_scripts\xc2\xa0]\nx = nothing\n", true),
        (b"[console_scripts]\x0b\nx = a:b\n", true),
        (b"[console_scripts]\x0cx = \n", true),
        (b"[Console_Scripts]\nx = nothing\n", true),
        (b"[console_scripts]\n\x0b\n", false),
        (b"[console_scripts]\n\xc2\x85# said\n", false),
        (b"[console_scripts]\nx = a:\xff\n", false),
    ];
    for (text, taken) in &texts {
        cases.push(case(format!("entry_points.txt {:?}", String::from_utf8_lossy(text)), text, *taken));
    }
    let large = [b"# ".to_vec(), vec![b'x'; 2 << 20]].concat();
    cases.push(case("entry_points.txt of 2 MB".to_owned(), &large, false));
    cases
}

fn records() -> Vec<Case> {
    let own = "pack-1.dist-info/RECORD,,\n";
    let hash = Sha256::of(b"a = 1\n").to_record();
    let other = Sha256::of(b"b = 2\n").to_record();
    let rows = [
        (format!("a.py,{hash},6\n"), true),
        (format!("a.py,{hash},\r\n"), true),
        (format!("\u{feff}a.py,{hash}=,6\n"), true),
        (format!("\"a.py\",{hash},6"), true),
        (format!("a.py,{},6\n", hash.replace("sha256", "SHA256")), true),
        ("a.py\n".to_owned(), true),
        (format!("a.py,{hash},6,more\n\n"), true),
        ("a.py,md5=abc,6\n".to_owned(), true),
        ("gone.py,,\n".to_owned(), true),
        ("../../../bin/x,,\n".to_owned(), true),
        ("/usr/bin/x,,\n".to_owned(), true),
        ("a/../b,,\n".to_owned(), true),
        ("C:\\x,,\n".to_owned(), true),
        (format!("a.py,{hash},6\na.py,{hash},6\n"), true),
        ("\"a \"\"b\"\"\",,\n".to_owned(), true),
        ("\"a\nb\",,\n".to_owned(), true),
        (String::new(), true),
        (format!("a.py,{hash},6\u{b}\n"), false),
        (format!("a.py,{other},6\n"), false),
        (format!("a.py,{hash},7\n"), false),
        (format!("a.py,{hash},6\na.py,{other},6\n"), false),
        (format!("a.py,{other},6\na.py,{hash},6\n"), false),
        ("a.py,sha256=abc,6\n".to_owned(), false),
        ("a.py,sha256=,6\n".to_owned(), false),
        ("a.py,abc,6\n".to_owned(), false),
        ("a.py,,-6\n".to_owned(), false),
        ("a.py,,+6\n".to_owned(), false),
        ("a.py,, 6\n".to_owned(), false),
        ("a.py,,\u{666}\n".to_owned(), false),
        ("a.py,,99999999999999999999\n".to_owned(), false),
        (",,\n".to_owned(), false),
        ("\u{feff}\u{feff}a.py,,\n".to_owned(), false),
        ("b.py,,\n\u{feff}a.py,,\n".to_owned(), false),
        ("a\"b,,\n".to_owned(), false),
        ("\"a\"b,,\n".to_owned(), false),
        ("\"a,,\n".to_owned(), false),
        ("a\rb,,\n".to_owned(), false),
    ];
    let with_record = |record: &[u8]| {
        let mut members = wheel_members("pack", &[Member::new("a.py", "a = 1\n")]);
        members.last_mut().unwrap().contents = record.to_vec();
        members
    };
    let mut cases: Vec<Case> = Vec::new();
    for (row, taken) in &rows {
        let record = format!("{row}{}{own}", if row.ends_with('\n') || row.is_empty() { "" } else { "\n" });
        cases.push(Case::members(&format!("RECORD {row:?}"), &with_record(record.as_bytes()), *taken));
    }
    cases.push(Case::members("RECORD that is no text", &with_record(b"\xff,,\n"), false));
    cases.push(Case::members("an empty RECORD", &with_record(b""), true));
    for (length, taken) in [(4096, true), (4097, false)] {
        for row in [format!("{},,\n", "p".repeat(length)), format!("gone,sha1={},\n", "h".repeat(length - 5))]
        {
            let record = format!("{row}{own}");
            let name = format!("RECORD with a field of {length} bytes, {:?}", &row[..5]);
            cases.push(Case::members(&name, &with_record(record.as_bytes()), taken));
        }
        let record = format!("{},,\n{own}", "é".repeat(length / 2) + &"p".repeat(length % 2));
        let name = format!("RECORD with a path of {length} bytes that is not ASCII");
        cases.push(Case::members(&name, &with_record(record.as_bytes()), taken));
    }
    cases.push(Case::members("RECORD of too many rows", &with_record(&b"gone,,\n".repeat(5000)), false));
    let script = Member::new("pack-1.data/scripts/run", "#!python\n");
    let mut members = wheel_members("pack", &[script]);
    let lie = format!("pack-1.data/scripts/run,{other},\n");
    members.last_mut().unwrap().contents = lie.into_bytes();
    cases.push(Case::members("RECORD that is not true of a script", &members, false));
    cases
}

fn scripts() -> Vec<Case> {
    let contents: [&[u8]; 16] = [
        b"#!python\nx\n",
        b"#!python",
        b"#!pythonw -u \r\nx\r\n",
        b"#!python3 -E\n",
        b"#!python\x0b\n",
        b"#!python -u\x0b\x0c\t \n",
        b"#!python -\xff\xfe\nx",
        b"#!python \xc2\x85\n",
        b"#!python ww\n",
        b"#!python\rx\n",
        b"#!python\n\xff\x00",
        b"#!/usr/bin/env python\n",
        b"#! python\n",
        b"",
        b"\xef\xbb\xbf#!python\n",
        b"#!python with a line that is longer than what any kernel reads of it, so that the shell finds the interpreter by three lines instead of one\n",
    ];
    let script = |contents: &[u8]| Member::new("pack-1.data/scripts/run", contents);
    let mut cases: Vec<Case> = contents
        .iter()
        .map(|text| {
            Case::files(&format!("script {:?}", String::from_utf8_lossy(text)), &[script(text)], true)
        })
        .collect();
    let long = [b"#!python ".to_vec(), vec![b'x'; 3 << 20], b"\nx".to_vec()].concat();
    cases.push(Case::files("script with a first line of 3 MB", &[script(&long)], true));
    let large = [b"#!python\n".to_vec(), vec![b'x'; 9 << 20]].concat();
    cases.push(Case::files("script of 9 MB", &[script(&large)], true));
    let points = Member::new("pack-1.dist-info/entry_points.txt", "[console_scripts]\nt1 = a:b\n");
    for name in ["t1", "t1.exe", "t1.EXE", "t1-Script.py", "t1.pya", "t1.bat", "t1.exe.exe", "t1.\u{212a}"] {
        let wrapper = Member::new(&format!("pack-1.data/scripts/{name}"), "#!python\n").utf8();
        cases.push(Case::files(&format!("wrapper {name:?}"), &[wrapper, points.clone()], true));
    }
    cases
}
