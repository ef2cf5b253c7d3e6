use super::*;

fn id(number: u64) -> ReleaseId {
    format!("{number}-1a2b3c4d").parse().unwrap()
}

fn journaled() -> Vec<JournalEvent> {
    vec![
        JournalEvent::Begun {
            operation: Operation::Deploy,
            id: id(2),
            live: Some(id(1)),
            deploy: None,
            program: None,
        },
        JournalEvent::Phase { phase: Phase::Stage, milliseconds: 812, problem: None },
        JournalEvent::Switched { id: id(2), from: Some(id(1)) },
        JournalEvent::Failed {
            phase: Phase::Probe,
            error: "503 \"Service Unavailable\"".to_owned(),
            outcome: Outcome::Reverted,
            milliseconds: 1,
        },
    ]
}

/// One of each.
fn all_events() -> Vec<JournalEvent> {
    let text = |text: &str| Some(text.to_owned());
    let mut all = journaled();
    all.extend([
        JournalEvent::Command {
            command: "migrate".to_owned(),
            milliseconds: 3,
            hook: text("after_switch"),
            log: text("logs/1"),
            problem: text("it failed"),
        },
        JournalEvent::Pruned { removed: 2, milliseconds: 4 },
        JournalEvent::Done { milliseconds: 5 },
        JournalEvent::Migrating { migrations: vec!["a.1".to_owned()], irreversible: Vec::new() },
        JournalEvent::Removed { id: id(1) },
        JournalEvent::Pinned { id: id(1) },
        JournalEvent::Unpinned { id: id(1) },
    ]);
    all
}

#[test]
fn every_event_is_read_as_it_was_written() {
    let mut names = Vec::new();
    for event in all_events() {
        let entry = JournalEntry { at: 1, by: "x".to_owned(), event };
        let line = serde_json::to_vec(&entry).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(parse(&line), Some(entry));
        names.push(value["event"].as_str().unwrap().to_owned());
        // Without one of its keys it is none of this version's.
        for key in
            value.as_object().unwrap().keys().filter(|key| !["at", "by", "event"].contains(&key.as_str()))
        {
            let mut less = value.clone();
            less.as_object_mut().unwrap().remove(key);
            let read = parse(&serde_json::to_vec(&less).unwrap()).unwrap().event;
            let optional = ["live", "from", "hook", "log", "problem"].contains(&key.as_str());
            assert_eq!(matches!(read, JournalEvent::Newer { .. }), !optional, "{less}");
        }
    }
    names.sort();
    let mut known = EVENTS.map(str::to_owned);
    known.sort();
    assert_eq!(names, known);
}

fn append_event(journal: &Journal, event: JournalEvent) {
    journal.append(&JournalEntry { at: 1_700_000_000, by: "deployer".to_owned(), event }).unwrap();
}

fn events(journal: &Journal) -> Vec<JournalEvent> {
    journal.read().unwrap().into_iter().map(|entry| entry.event).collect()
}

#[test]
fn a_line_records_an_event() {
    let place = tempfile::tempdir().unwrap();
    let journal = Journal::at(place.path().join("journal.jsonl"));
    assert_eq!(journal.read().unwrap(), []);
    journaled().into_iter().for_each(|event| append_event(&journal, event));
    let text = fs::read_to_string(&journal.path).unwrap();
    let lines: Vec<&str> =
        text.lines().map(|line| line.split_once(',').map_or(line, |(_, rest)| rest)).collect();
    insta::assert_snapshot!(lines.join("\n"));
    assert_eq!(events(&journal), journaled());
}

#[test]
fn a_site_names_no_more_migrations_than_there_is_room_for() {
    let place = tempfile::tempdir().unwrap();
    let journal = Journal::at(place.path().join("journal.jsonl"));
    let names = |number: usize| (0..number).map(|each| format!("app.{each:04}_what_it_does")).collect();
    let migrating = |migrations: Vec<String>| {
        let irreversible = migrations.clone();
        JournalEvent::Migrating { migrations, irreversible }
    };
    let honest = migrating(names(2000));
    append_event(&journal, honest.clone());
    append_event(&journal, migrating(names(50_000)));
    append_event(&journal, migrating(vec!["\u{1}".repeat(1 << 20)]));
    let read = events(&journal);
    assert_eq!(read[0], honest);
    let JournalEvent::Migrating { migrations, irreversible } = &read[1] else { panic!("{read:?}") };
    let more = 50_000 - (migrations.len() - 1);
    assert_eq!((migrations.last(), irreversible), (Some(&format!("and {more} more")), migrations));
    assert_eq!(read[2], migrating(vec!["and 1 more".to_owned()]));
    let text = fs::read(&journal.path).unwrap();
    assert!(text.split(|byte| *byte == b'\n').all(|line| line.len() < 201_000));
    // What is read again is as it was.
    assert_eq!(events(&journal), read);
}

#[test]
fn a_tail_cut_off_at_any_byte_costs_the_last_entry_at_most() {
    let place = tempfile::tempdir().unwrap();
    let whole = Journal::at(place.path().join("whole.jsonl"));
    journaled().into_iter().for_each(|event| append_event(&whole, event));
    let bytes = fs::read(&whole.path).unwrap();
    let cut = Journal::at(place.path().join("cut.jsonl"));
    let ends: Vec<usize> =
        bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(end, _)| end).collect();
    for length in 0..=bytes.len() {
        fs::write(&cut.path, &bytes[..length]).unwrap();
        let before = events(&cut);
        // An entry is whole with its last brace, even without the line end.
        let whole = ends.iter().filter(|&&end| end <= length).count();
        assert_eq!(before, journaled()[..whole], "{length}");
        append_event(&cut, JournalEvent::Done { milliseconds: 5 });
        let mut after = before;
        after.push(JournalEvent::Done { milliseconds: 5 });
        assert_eq!(events(&cut), after, "{length}");
    }
}

#[test]
fn the_deploy_of_a_fleet_is_kept_and_may_be_missing() {
    let begun = |deploy: Option<&str>| JournalEvent::Begun {
        operation: Operation::Activate,
        id: id(2),
        live: None,
        deploy: deploy.map(str::to_owned),
        program: None,
    };
    let text = |event: &JournalEvent| serde_json::to_string(event).unwrap();
    assert_eq!(
        text(&begun(None)),
        r#"{"event":"begun","operation":"activate","id":"2-1a2b3c4d","live":null}"#
    );
    let named = begun(Some("20261124-1"));
    assert!(text(&named).ends_with(r#","live":null,"deploy":"20261124-1"}"#));
    for event in [begun(None), named] {
        let entry = JournalEntry { at: 1, by: "x".to_owned(), event };
        let line = serde_json::to_vec(&entry).unwrap();
        assert_eq!(parse(&line), Some(entry));
    }
}

#[test]
fn entries_of_later_versions_are_passed_over() {
    let place = tempfile::tempdir().unwrap();
    let journal = Journal::at(place.path().join("journal.jsonl"));
    let moved = r#"{"at":1,"by":"x","event":"moved","to":"the moon"}"#;
    // Its keys may be those of known events, with other values.
    let shot = r#"{"at":1,"by":"x","event":"shot","id":7,"phase":"orbit"}"#;
    fs::write(&journal.path, format!("{moved}\n{shot}\n")).unwrap();
    assert_eq!(events(&journal), [JournalEvent::Other, JournalEvent::Other]);
}

#[test]
fn unknown_keys_of_known_events_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let journal = Journal::at(place.path().join("journal.jsonl"));
    for line in [
        r#"{"at":1,"by":"x","event":"begun","operation":"move","id":"2-1a2b3c4d","live":null,"program":"9.0.0"}"#,
        r#"{"at":1,"by":"x","event":"phase","phase":"orbit","milliseconds":1}"#,
        r#"{"at":1,"by":"x","event":"failed","phase":"probe","error":"","outcome":"lost","milliseconds":1}"#,
    ] {
        fs::write(&journal.path, format!("{line}\n")).unwrap();
        assert!(matches!(&events(&journal)[..], [JournalEvent::Newer { .. }]), "{line}");
        // A part of a line is nothing.
        fs::write(&journal.path, &line[..line.len() - 1]).unwrap();
        assert_eq!(events(&journal), []);
    }
}
