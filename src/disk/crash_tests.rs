//! A crash at every point of sealing, publishing and installing, and damage that no crash leaves.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::files_tests::{History, begin, pieces, receive, until_names};
use super::tests::{IDENTITY, ME, SIZE, TempDir, entry, vote};
use super::wal::{Corruption, encode_batch, encode_header};
use super::{Identity, Receiver, Wal, open, recover};
use crate::raft::types::{DiskId, Persistent, Record, SnapshotMeta};

/// The content of a directory, without the lock.
type Files = BTreeMap<String, Vec<u8>>;

fn files(dir: &Path) -> Files {
    let mut files = Files::new();
    for entry in fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name != "lock" {
            let bytes = fs::read(dir.join(&name)).unwrap();
            files.insert(name, bytes);
        }
    }
    files
}

fn with(files: &Files, name: &str, bytes: &[u8]) -> Files {
    let mut files = files.clone();
    files.insert(name.to_owned(), bytes.to_vec());
    files
}

/// All that may be left of these files while they are being deleted, in whatever order.
fn being_deleted(files: &Files, garbage: &[&str]) -> Vec<Files> {
    let subsets = 0..1_u32 << garbage.len();
    let left = |subset: u32| {
        let mut files = files.clone();
        for (at, name) in garbage.iter().enumerate().filter(|(at, _)| subset & (1 << at) != 0) {
            assert!(files.remove(*name).is_some(), "{at}: {name}");
        }
        files
    };
    subsets.map(left).collect()
}

/// What one write of `bytes` may leave of a new file: nothing, any beginning, all of it; and with some of
/// its pages never written.
fn torn(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut left: Vec<Vec<u8>> = (0..=bytes.len()).map(|len| bytes[..len].to_vec()).collect();
    for from in (0..bytes.len()).step_by(7) {
        for to in [from + 1, from + 20, bytes.len()] {
            let mut hole = bytes.to_vec();
            hole[from..to.min(bytes.len())].fill(0);
            left.push(hole);
        }
    }
    left
}

/// A node starts from what is left: it is all there, it goes on, and starts again.
fn boots(files: &Files, history: &History, base: u64, point: &str) -> Vec<String> {
    let dir = TempDir::new();
    for (name, bytes) in files {
        fs::write(dir.0.join(name), bytes).unwrap();
    }
    let opened = open(&dir.0, ME, SIZE).unwrap_or_else(|error| panic!("{point}: {error}"));
    history.expect(&opened, base);
    assert!(!opened.new_disk, "{point}");
    let (mut wal, mut history, notes) = (opened.wal, history.clone(), opened.notes);
    let next = history.0.last().index + 1;
    history.append(&mut wal, &[vote(9, 1), entry(next, 9, "after the crash")]);
    let bytes = wal.log_bytes();
    drop(wal);
    for name in self::files(&dir.0).keys() {
        assert!(!name.ends_with(".tmp"), "{point}: {name} is left");
    }
    let again = open(&dir.0, ME, SIZE).unwrap_or_else(|error| panic!("{point}, again: {error}"));
    history.expect(&again, base);
    assert_eq!((again.notes, again.wal.log_bytes()), (vec![], bytes), "{point}");
    // And it seals, publishes and starts once more.
    let mut wal = again.wal;
    let made = wal.seal(&history.opening(next)).unwrap().make().unwrap();
    wal.publish(made).unwrap().unwrap();
    drop(wal);
    history.expect(&open(&dir.0, ME, SIZE).unwrap(), next);
    notes
}

/// The pure part for the same files: fast enough for every byte.
fn recovers(files: &Files, history: &History, base: u64, point: &str) -> Vec<u64> {
    let mut snapshots = Vec::new();
    let mut logs = Vec::new();
    for (name, bytes) in files {
        if let Some(number) = name.strip_prefix("wal.") {
            logs.push((number.parse().unwrap(), &bytes[..]));
        } else if let Some(Ok(number)) = name.strip_prefix("snapshot.").map(str::parse) {
            let (meta, _) = crate::snapshot::read(&mut &bytes[..]).unwrap();
            snapshots.push((number, meta));
        }
    }
    let found = recover(&snapshots, &logs).unwrap_or_else(|corruption| panic!("{point}: {corruption}"));
    history.expect_parts(&found.persistent, &history.store(base), base);
    found.discard
}

/// Seals twice and publishes once, so that there is a snapshot, an old file and a new one.
fn sealed_twice(dir: &TempDir, published: bool) -> (Wal, History, u64) {
    let (mut wal, mut history) = begin(dir);
    let made = wal.seal(&history.opening(3)).unwrap().make().unwrap();
    if published {
        wal.publish(made).unwrap().unwrap();
        until_names(&dir.0, &["snapshot.2", "wal.2"]);
    } else {
        drop(made);
    }
    history.append(&mut wal, &[entry(8, 3, "eight"), entry(9, 3, "nine")]);
    (wal, history, if published { 3 } else { 0 })
}

#[test]
fn a_crash_at_any_point_of_sealing_and_publishing_leaves_a_node_that_starts() {
    for published in [false, true] {
        let dir = TempDir::new();
        let (mut wal, history, base) = sealed_twice(&dir, published);
        let before = files(&dir.0);
        let made = wal.seal(&history.opening(8)).unwrap().make().unwrap();
        let after = files(&dir.0);
        let (opening, snapshot) = (&after["wal.3"], &after["snapshot.3.tmp"]);

        // The new file is being written.
        for (at, left) in torn(opening).iter().enumerate() {
            let point = format!("seal, {at}: {} of {} bytes", left.len(), opening.len());
            let left_files = with(&before, "wal.3", left);
            let discard = recovers(&left_files, &history, base, &point);
            assert_eq!(discard == [3], left != opening, "{point}");
            if at % 97 == 0 || left == opening {
                let notes = boots(&left_files, &history, base, &point);
                let told = notes.iter().any(|note| note.contains("wal.3: it was never finished"));
                assert_eq!((told, notes.len()), (left != opening, discard.len()), "{point}: {notes:?}");
            }
        }
        // The snapshot is being written.
        let sealed = with(&before, "wal.3", opening);
        for len in [0, 1, snapshot.len() / 2, snapshot.len()] {
            boots(&with(&sealed, "snapshot.3.tmp", &snapshot[..len]), &history, base, "make");
        }
        // It has its name, and the old files go.
        wal.publish(made).unwrap().unwrap();
        let garbage: &[&str] = if published { &["wal.2", "snapshot.2"] } else { &["wal.1", "wal.2"] };
        for left in being_deleted(&with(&sealed, "snapshot.3", snapshot), garbage) {
            let point = format!("publish: {:?}", left.keys());
            recovers(&left, &history, 8, &point);
            boots(&left, &history, 8, &point);
        }
    }
}

#[test]
fn a_crash_at_any_point_of_installing_leaves_a_node_that_starts() {
    for published in [false, true] {
        let dir = TempDir::new();
        let (mut wal, old, base) = sealed_twice(&dir, published);
        let before = files(&dir.0);
        // The leader has more, and something else from 9 on.
        let mut new = old.clone();
        new.note(&[vote(5, 2), Record::Truncate { from: 9 }, entry(9, 5, "IX"), entry(10, 5, "X")]);
        let (meta, text) = new.snapshot(10);
        let stored = receive(&mut Receiver::new(&dir.0), (meta, text.clone()));
        let (_, _) = wal.install(&new.opening(10), stored).unwrap();
        let opening = fs::read(wal.path()).unwrap();

        // The snapshot is being received.
        for piece in pieces(meta, &text, 100) {
            boots(&with(&before, "received.1.tmp", &text.as_bytes()[..piece.offset as usize]), &old, base, "receive");
        }
        // The new file is being written, and then the snapshot has not got its name yet.
        let received = with(&before, "received.1.tmp", text.as_bytes());
        for (at, left) in torn(&opening).iter().enumerate() {
            let point = format!("install, {at}: {} of {} bytes", left.len(), opening.len());
            let left_files = with(&received, "wal.3", left);
            assert_eq!(recovers(&left_files, &old, base, &point), [3], "{point}");
            if at % 97 == 0 || *left == opening {
                boots(&left_files, &old, base, &point);
            }
        }
        // It has its name, and the old files go.
        let installed = with(&with(&before, "wal.3", &opening), "snapshot.3", text.as_bytes());
        let garbage: &[&str] = if published { &["wal.2", "snapshot.2"] } else { &["wal.1", "wal.2"] };
        for left in being_deleted(&installed, garbage) {
            let point = format!("installed: {:?}", left.keys());
            recovers(&left, &new, 10, &point);
            boots(&left, &new, 10, &point);
        }
    }
}

/// Then the log before the new file has its base, and it does not matter whether the snapshot came.
#[test]
fn a_crash_while_a_snapshot_is_installed_of_what_the_log_holds_already_loses_nothing() {
    let dir = TempDir::new();
    let (mut wal, history) = begin(&dir);
    let before = files(&dir.0);
    let (meta, text) = history.snapshot(6);
    let stored = receive(&mut Receiver::new(&dir.0), (meta, text.clone()));
    wal.install(&history.opening(6), stored).unwrap();
    let opening = fs::read(wal.path()).unwrap();
    for left in torn(&opening) {
        let kept = left == opening;
        let left = with(&before, "wal.2", &left);
        assert_eq!(recovers(&left, &history, 0, "install").is_empty(), kept);
    }
    boots(&with(&with(&before, "wal.2", &opening), "received.1.tmp", text.as_bytes()), &history, 0, "install");
    boots(&with(&with(&before, "wal.2", &opening), "snapshot.2", text.as_bytes()), &history, 6, "installed");
}

/// The next batch may be torn, in the last file and with a snapshot before it.
#[test]
fn a_torn_batch_in_a_later_file_is_cut() {
    let dir = TempDir::new();
    let (wal, history, base) = sealed_twice(&dir, true);
    let (path, whole) = (wal.path().to_owned(), files(&dir.0)["wal.2"].clone());
    drop(wal);
    let before = {
        let mut before = history.clone();
        before.note(&[Record::Truncate { from: 8 }]);
        before
    };
    let mut opening = String::new();
    encode_header(&identity(&whole), &mut opening);
    encode_batch(2, &before.opening(3), &mut opening);
    assert!(whole.starts_with(opening.as_bytes()));
    for len in opening.len()..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let left = with(&files(&dir.0), "wal.2", &whole[..len]);
        recovers(&left, &before, base, "torn");
        if len % 29 == 0 {
            boots(&left, &before, base, "torn");
        }
    }
}

fn identity(log: &[u8]) -> Identity {
    super::wal::scan(&log[..log.iter().position(|byte| *byte == b'\n').unwrap() + 1]).unwrap().identity.unwrap()
}

fn file(identity: &Identity, batches: &[Vec<Record>]) -> Vec<u8> {
    let mut text = String::new();
    encode_header(identity, &mut text);
    for (batch, number) in batches.iter().zip(2..) {
        encode_batch(number, batch, &mut text);
    }
    text.into_bytes()
}

#[test]
fn what_no_crash_leaves_is_refused() {
    let mut history = History::default();
    let batch = vec![vote(1, 1), entry(1, 1, "one"), entry(2, 1, "two")];
    history.note(&batch);
    let first = file(&IDENTITY, std::slice::from_ref(&batch));
    let opening = history.opening(2);
    let second = file(&IDENTITY, std::slice::from_ref(&opening));
    let (meta, _) = history.snapshot(2);
    let refused = |snapshots: &[(u64, SnapshotMeta)], logs: &[(u64, &[u8])], at: u64, why: &str| {
        let Corruption { file, what, .. } = recover(snapshots, logs).map(|_| why).unwrap_err();
        assert!(file == at && what.contains(why), "wal.{file}: {what}, not wal.{at}: {why}");
    };
    // Good are:
    recover(&[], &[(1, &first)]).unwrap();
    recover(&[], &[(1, &first), (2, &second)]).unwrap();
    recover(&[(2, meta)], &[(2, &second)]).unwrap();
    assert_eq!(recover(&[(2, meta)], &[(2, &second), (1, b"rubbish")]).unwrap().discard, [1]);
    assert_eq!(recover(&[], &[]).unwrap().active, 1);

    // Files that are missing.
    refused(&[], &[(2, &second)], 1, "the file is missing, though wal.2 is there");
    refused(&[(2, meta)], &[(1, &first)], 2, "the file is missing, though snapshot.2 is there");
    refused(&[(2, meta)], &[], 2, "the file is missing, though snapshot.2 is there");
    refused(&[], &[(1, &first), (3, &second)], 2, "the file is missing, though wal.3 is there");
    // A bad end that is not the end.
    refused(&[], &[(1, &first[..first.len() - 1]), (2, &second)], 1, "wal.2 was begun after it");
    refused(&[], &[(1, b""), (2, &second)], 1, "its beginning is missing");
    let torn = &second[..second.len() - 1];
    refused(&[], &[(1, &first), (2, torn), (3, &second)], 2, "wal.3 was begun after it");
    refused(&[(2, meta)], &[(2, torn)], 2, "before snapshot.2 was put in place");
    refused(&[(2, meta)], &[(2, b"")], 2, "its beginning is missing");
    // Another node's file, or another disk's.
    let other = file(&Identity { disk: DiskId(1), ..IDENTITY }, std::slice::from_ref(&opening));
    refused(&[], &[(1, &first), (2, &other)], 2, "it is of node_1 of 3 with disk 0000000000000001");
    // Bases that are not what is before them.
    let wrong = |change: &dyn Fn(&mut Vec<Record>)| {
        let mut opening = opening.clone();
        change(&mut opening);
        file(&IDENTITY, &[opening])
    };
    let id = meta.last;
    let summed = wrong(&|records| records[0] = Record::Base { id, sum: meta.sum ^ 1 });
    refused(&[], &[(1, &first), (2, &summed)], 2, "has the checksum");
    refused(&[(2, meta)], &[(2, &summed)], 2, "the snapshot has the checksum");
    let earlier = SnapshotMeta { last: history.0.entry(1).unwrap().id, ..meta };
    refused(&[(2, earlier)], &[(2, &second)], 2, "but the snapshot goes through 1@1");
    refused(&[], &[(1, &first), (2, &wrong(&|records| drop(records.remove(0))))], 2, "opens with a base");
    let twice = wrong(&|records| records.push(records[0].clone()));
    refused(&[], &[(1, &first), (2, &twice)], 2, "stands nowhere else");
    refused(&[], &[(1, &second)], 1, "stands nowhere else");
    // An install that was not finished, after which something was written all the same.
    let far = Record::Base { id: crate::raft::types::EntryId::new(9, 1), sum: 1 };
    let unfounded = file(&IDENTITY, &[vec![far.clone(), vote(1, 1)]]);
    assert_eq!(recover(&[], &[(1, &first), (2, &unfounded)]).unwrap().discard, [2]);
    let more = file(&IDENTITY, &[vec![far, vote(1, 1)], vec![entry(10, 1, "ten")]]);
    refused(&[], &[(1, &first), (2, &more)], 2, "its base names was lost");
    refused(&[], &[(1, &first), (2, &unfounded), (3, &second)], 2, "wal.3 was begun after it");
}

#[test]
fn a_flipped_bit_in_a_later_file_is_refused_or_undone_but_never_believed() {
    let mut history = History::default();
    let batch = vec![vote(1, 1), entry(1, 1, "one"), entry(2, 1, "two")];
    history.note(&batch);
    let first = file(&IDENTITY, &[batch]);
    let opening = file(&IDENTITY, &[history.opening(1)]);
    let before = history.0.clone();
    history.note(&[entry(3, 1, "three")]);
    let second = file(&IDENTITY, &[History(before.clone()).opening(1), vec![entry(3, 1, "three")]]);
    let (meta, _) = history.snapshot(1);
    let compacted = |mut log: Persistent| {
        log.compact(meta.last, meta.sum);
        log
    };
    for at in 0..second.len() {
        let mut damaged = second.clone();
        damaged[at] ^= 1 << (at % 8);
        // The batch behind the opening is the last: torn or damaged, nobody can tell.
        match recover(&[], &[(1, &first), (2, &damaged)]) {
            Ok(found) => assert!(at >= opening.len() && found.persistent == before, "byte {at}"),
            Err(corruption) => assert!(at < opening.len() && corruption.file == 2, "byte {at}: {corruption}"),
        }
        match recover(&[(2, meta)], &[(2, &damaged)]) {
            Ok(found) => assert!(at >= opening.len() && found.persistent == compacted(before.clone()), "byte {at}"),
            Err(corruption) => assert!(at < opening.len() && corruption.file == 2, "byte {at}: {corruption}"),
        }
    }
    // With nothing behind it a damaged opening is one that was never finished, unless its snapshot is there.
    for at in 0..opening.len() {
        let mut damaged = opening.clone();
        damaged[at] ^= 1 << (at % 8);
        let found = recover(&[], &[(1, &first), (2, &damaged)]).unwrap();
        assert_eq!((found.discard, found.persistent), (vec![2], before.clone()), "byte {at}");
        assert_eq!(recover(&[(2, meta)], &[(2, &damaged)]).unwrap_err().file, 2, "byte {at}");
    }
}

#[test]
fn a_damaged_snapshot_is_refused_and_everything_left_as_it_is() {
    let dir = TempDir::new();
    let (wal, _, _) = sealed_twice(&dir, true);
    drop(wal);
    let path = dir.0.join("snapshot.2");
    let good = fs::read(&path).unwrap();
    for at in 0..=good.len() {
        let mut damaged = good.clone();
        match damaged.get_mut(at) {
            Some(byte) => *byte ^= 1 << (at % 7),
            None => drop(damaged.pop()),
        }
        fs::write(&path, &damaged).unwrap();
        let error = dir.open().unwrap_err().to_string();
        assert!(error.contains("snapshot.2: ") && error.contains("line "), "byte {at}: {error}");
        assert!(error.contains("move the directory away"), "byte {at}: {error}");
        assert_eq!(fs::read(&path).unwrap(), damaged);
    }
    fs::write(&path, &good).unwrap();
    fs::write(dir.0.join("snapshot.1.tmp"), "x").unwrap();
    fs::write(dir.0.join("mine.tmp"), "x").unwrap();
    dir.open().unwrap();
    let names: Vec<String> = files(&dir.0).into_keys().collect();
    assert_eq!(names, ["mine.tmp", "snapshot.2", "wal.2"]);
}
