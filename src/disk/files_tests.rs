//! Logs of several files, snapshots made, received and read.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::tests::{ME, SIZE, TempDir, entry, vote};
use super::wal::sum_through;
use super::{DiskError, Made, Opened, Received, Receiver, Sealed, Stored, Wal, open};
use crate::raft::ready::StoreChunk;
use crate::raft::types::{
    Command, Disk, DiskId, Entry, EntryId, KeyWrite, NodeId, Persistent, Record, SnapshotMeta, WriteKind,
};
use crate::snapshot;
use crate::store::Store;

pub(super) fn put(index: u64, term: u64, key: &str, values: &[&str]) -> Record {
    let values = values.iter().map(|value| (*value).into()).collect();
    let write = KeyWrite { kind: WriteKind::Put, key: key.into(), values };
    Record::Entry(Entry {
        id: EntryId::new(index, term),
        command: Command::Write { session: None, write: write.into() },
    })
}

pub(super) fn readmit(index: u64, term: u64) -> Record {
    let command = Command::Readmit { node: NodeId(3), disk: DiskId(0xbeef) };
    Record::Entry(Entry { id: EntryId::new(index, term), command })
}

/// A node's whole history, of which its disk may hold the end alone.
#[derive(Clone, Default)]
pub(super) struct History(pub(super) Persistent);

impl History {
    /// Writes a batch, here and on the disk.
    pub(super) fn append(&mut self, wal: &mut Wal, records: &[Record]) {
        wal.append(records).unwrap();
        self.note(records);
    }

    pub(super) fn note(&mut self, records: &[Record]) {
        for record in records {
            self.0.apply(record.clone()).unwrap();
        }
    }

    pub(super) fn sum(&self, index: u64) -> u32 {
        sum_through(&self.0, self.0.entry(index).unwrap().id)
    }

    /// As [`Raft::opening`](crate::raft::Raft::opening).
    pub(super) fn opening(&self, index: u64) -> Vec<Record> {
        let Persistent { current_term, voted_for, disks, entries, .. } = &self.0;
        let base = Record::Base { id: self.0.entry(index).unwrap().id, sum: self.sum(index) };
        let mut records = vec![base, Record::Vote { term: *current_term, voted_for: *voted_for }];
        records.extend(disks.iter().map(|(node, disk)| Record::Peer { node: *node, disk: *disk }));
        records.extend(entries[index as usize..].iter().cloned().map(Record::Entry));
        records
    }

    pub(super) fn store(&self, index: u64) -> Store {
        let mut store = Store::new();
        for entry in &self.0.entries[..index as usize] {
            store.apply(entry);
        }
        store
    }

    /// The text of a snapshot as another node would send it.
    pub(super) fn snapshot(&self, index: u64) -> (SnapshotMeta, String) {
        let mut text = Vec::new();
        let id = self.0.entry(index).unwrap().id;
        let meta = snapshot::write(&self.store(index), id, self.sum(index), &mut text).unwrap();
        (meta, String::from_utf8(text).unwrap())
    }

    /// What was opened is this node, and its log begins at `base`.
    pub(super) fn expect(&self, opened: &Opened, base: u64) {
        self.expect_parts(&opened.persistent, &opened.store, base);
        let meta = opened.snapshot.as_ref().map(|file| file.meta());
        assert_eq!(meta, (base > 0).then(|| self.snapshot(base).0));
    }

    pub(super) fn expect_parts(&self, found: &Persistent, store: &Store, base: u64) {
        let mut whole = self.0.clone();
        if base > 0 {
            whole.compact(whole.entry(base).unwrap().id, self.sum(base));
        }
        assert_eq!(*found, whole);
        assert_eq!(*store, self.store(base));
    }
}

/// A directory with 7 entries in `wal.1`.
pub(super) fn begin(dir: &TempDir) -> (Wal, History) {
    let (mut wal, mut history) = (dir.open().unwrap().wal, History::default());
    history.append(&mut wal, &[vote(1, 1), entry(1, 1, "one"), entry(2, 1, "two")]);
    let disk = Disk { id: DiskId(7), since: EntryId::ZERO };
    history.append(&mut wal, &[Record::Peer { node: NodeId(2), disk }]);
    history.append(&mut wal, &[entry(3, 1, "never"), entry(4, 1, "never")]);
    history.append(&mut wal, &[vote(3, 2), Record::Truncate { from: 3 }, put(3, 3, "a", &["cat", "dög"])]);
    history.append(&mut wal, &[entry(4, 3, "four"), readmit(5, 3), entry(6, 3, "six"), entry(7, 3, "seven")]);
    (wal, history)
}

pub(super) fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The sweeper is a thread of its own.
pub(super) fn until_names(dir: &Path, expected: &[&str]) {
    let expected = expected.iter().copied().chain(["lock"]).map(str::to_owned).collect();
    let start = Instant::now();
    while names(dir) != expected {
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}, not {expected:?}", names(dir));
        std::thread::yield_now();
    }
}

pub(super) fn pieces(meta: SnapshotMeta, text: &str, bytes: usize) -> Vec<StoreChunk> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let end = text.floor_char_boundary((at + bytes).min(text.len()));
        pieces.push(StoreChunk { meta, offset: at as u64, data: text[at..end].into() });
        at = end;
    }
    pieces
}

pub(super) fn receive(receiver: &mut Receiver, (meta, text): (SnapshotMeta, String)) -> Stored {
    for piece in pieces(meta, &text, 50) {
        match receiver.store(&piece).unwrap() {
            Received::Through(through) => assert!(through < meta.bytes && through > piece.offset),
            Received::Whole(stored) => return stored,
            Received::Broken(why) => panic!("{why}"),
        }
    }
    panic!("not whole at its end")
}

#[test]
fn the_jobs_can_be_given_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<(Sealed, Made, Receiver, Stored, DiskError)>();
    fn is_shared<T: Send + Sync>() {}
    is_shared::<super::SnapshotFile>();
}

#[test]
fn a_log_is_sealed_and_its_snapshot_published() {
    let dir = TempDir::new();
    let (mut wal, mut history) = begin(&dir);
    let (before, syncs) = (wal.log_bytes(), wal.syncs());
    let sealed = wal.seal(&history.opening(5)).unwrap();
    assert_eq!((wal.syncs(), wal.last_batch()), (syncs + 1, 2));
    let second = fs::metadata(wal.path()).unwrap().len();
    assert_eq!(wal.log_bytes(), before + second, "no snapshot covers the first file yet");
    history.append(&mut wal, &[entry(8, 3, "eight")]);

    let made = sealed.make().unwrap();
    let (meta, text) = history.snapshot(5);
    assert_eq!(made.meta(), meta);
    assert_eq!(names(&dir.0), names_of(&["wal.1", "wal.2", "snapshot.2.tmp"]));
    history.append(&mut wal, &[entry(9, 3, "nine")]);
    let file = wal.publish(made).unwrap().unwrap();
    assert_eq!(file.meta(), meta);
    assert_eq!(wal.log_bytes(), fs::metadata(wal.path()).unwrap().len());
    until_names(&dir.0, &["wal.2", "snapshot.2"]);
    assert_eq!(fs::read_to_string(dir.0.join("snapshot.2")).unwrap(), text);
    history.append(&mut wal, &[vote(4, 1), Record::Truncate { from: 9 }, entry(9, 4, "other")]);
    let bytes = wal.log_bytes();
    drop(wal);

    let opened = dir.open().unwrap();
    history.expect(&opened, 5);
    assert_eq!((opened.notes.clone(), opened.new_disk, opened.wal.log_bytes()), (vec![], false, bytes));
    assert_eq!(opened.store.readmitted().len(), 1);
    // And the next one is made of the snapshot and the file after it.
    let (mut wal, mut history) = (opened.wal, history);
    let sealed = wal.seal(&history.opening(9)).unwrap();
    history.append(&mut wal, &[entry(10, 4, "ten")]);
    let made = sealed.make().unwrap();
    assert_eq!(wal.publish(made).unwrap().unwrap().meta(), history.snapshot(9).0);
    until_names(&dir.0, &["wal.3", "snapshot.3"]);
    drop(wal);
    history.expect(&dir.open().unwrap(), 9);
}

fn names_of(names: &[&str]) -> BTreeSet<String> {
    names.iter().copied().chain(["lock"]).map(str::to_owned).collect()
}

#[test]
fn files_that_were_sealed_and_never_covered_are_replayed_by_the_next_job() {
    let dir = TempDir::new();
    let (mut wal, mut history) = begin(&dir);
    drop(wal.seal(&history.opening(3)).unwrap());
    history.append(&mut wal, &[entry(8, 3, "eight"), Record::Truncate { from: 6 }, entry(6, 3, "new six")]);
    let bytes = wal.log_bytes();
    drop(wal);
    let opened = dir.open().unwrap();
    history.expect(&opened, 0);
    let mut wal = opened.wal;
    assert_eq!(wal.log_bytes(), bytes);
    drop(wal.seal(&history.opening(4)).unwrap());
    history.append(&mut wal, &[entry(7, 3, "new seven")]);
    let sealed = wal.seal(&history.opening(7)).unwrap();
    let made = sealed.make().unwrap();
    assert_eq!(made.meta(), history.snapshot(7).0);
    wal.publish(made).unwrap().unwrap();
    until_names(&dir.0, &["wal.4", "snapshot.4"]);
    drop(wal);
    history.expect(&dir.open().unwrap(), 7);
}

#[test]
fn a_snapshot_of_a_leader_is_installed_in_the_place_of_everything() {
    let leader = TempDir::new();
    let (mut wal, mut history) = begin(&leader);
    history.append(&mut wal, &[entry(8, 3, "eight")]);

    let dir = TempDir::new();
    let mut wal = dir.open().unwrap().wal;
    wal.append(&[vote(2, 3), entry(1, 2, "of a leader who was deposed")]).unwrap();
    let mut receiver = Receiver::new(&dir.0);
    let stored = receive(&mut receiver, history.snapshot(8));
    assert_eq!(stored.readmitted(), [(NodeId(3), Disk { id: DiskId(0xbeef), since: EntryId::new(5, 3) })]);
    assert_eq!(names(&dir.0), names_of(&["wal.1", "received.1.tmp"]));
    let (file, store) = wal.install(&history.opening(8), stored).unwrap();
    assert_eq!((file.meta(), store), (history.snapshot(8).0, history.store(8)));
    until_names(&dir.0, &["wal.2", "snapshot.2"]);
    assert_eq!(wal.log_bytes(), fs::metadata(wal.path()).unwrap().len());
    history.append(&mut wal, &[entry(9, 3, "nine")]);
    drop(wal);
    history.expect(&dir.open().unwrap(), 8);
}

#[test]
fn an_older_snapshot_is_dropped_when_a_newer_one_was_installed_meanwhile() {
    let dir = TempDir::new();
    let (mut wal, mut history) = begin(&dir);
    let sealed = wal.seal(&history.opening(3)).unwrap();
    history.note(&[entry(8, 3, "eight")]);
    let stored = receive(&mut Receiver::new(&dir.0), history.snapshot(8));
    wal.install(&history.opening(8), stored).unwrap();
    until_names(&dir.0, &["wal.3", "snapshot.3"]);
    // The files of the job have no name any more, and it does not need one.
    let made = sealed.make().unwrap();
    assert_eq!(made.meta().last.index, 3);
    assert!(wal.publish(made).unwrap().is_none());
    until_names(&dir.0, &["wal.3", "snapshot.3"]);
    history.append(&mut wal, &[entry(9, 3, "nine")]);
    drop(wal);
    history.expect(&dir.open().unwrap(), 8);
}

#[test]
fn a_snapshot_that_nobody_installs_leaves_nothing_behind() {
    let dir = TempDir::new();
    let (_wal, history) = begin(&dir);
    let mut receiver = Receiver::new(&dir.0);
    let first = receive(&mut receiver, history.snapshot(4));
    // The first is whole and not installed yet when the next begins, and the first comes once more.
    let (meta, text) = history.snapshot(5);
    receiver.store(&pieces(meta, &text, 50)[0]).unwrap();
    let (meta, text) = history.snapshot(4);
    receiver.store(&pieces(meta, &text, 50)[0]).unwrap();
    assert_eq!(names(&dir.0), names_of(&["wal.1", "received.1.tmp", "received.3.tmp"]));
    assert_eq!(fs::read_to_string(dir.0.join("received.1.tmp")).unwrap(), text);
    drop(first);
    drop(receiver);
    assert_eq!(names(&dir.0), names_of(&["wal.1"]));
}

#[test]
fn a_piece_that_does_not_fit_and_a_whole_that_is_not_right_are_broken() {
    let dir = TempDir::new();
    let (_wal, history) = begin(&dir);
    let (meta, text) = history.snapshot(7);
    let (other, _) = history.snapshot(6);
    let mut receiver = Receiver::new(&dir.0);
    let mut broken = |chunks: &[(SnapshotMeta, usize, &str)], why: &str| {
        for (at, (meta, offset, data)) in chunks.iter().enumerate() {
            let chunk = StoreChunk { meta: *meta, offset: *offset as u64, data: (*data).into() };
            match receiver.store(&chunk).unwrap() {
                Received::Through(_) => assert!(at + 1 < chunks.len(), "{why}"),
                Received::Broken(found) => assert!(at + 1 == chunks.len() && found.contains(why), "{found}"),
                Received::Whole(_) => panic!("{why}: taken as whole"),
            }
        }
        assert_eq!(names(&dir.0), names_of(&["wal.1"]), "{why}");
    };
    broken(&[(meta, 10, &text[10..])], "of one of which nothing is stored");
    broken(&[(meta, 0, &text[..10]), (meta, 11, &text[11..])], "do not follow the 10 bytes");
    broken(&[(meta, 0, &text[..10]), (other, 10, &text[10..])], "bytes 10..");
    broken(&[(meta, 0, &text[..10]), (meta, 10, &text)], "do not follow");
    let damaged = text.replacen("four", "f0ur", 1);
    broken(&[(meta, 0, &damaged)], "of the snapshot");
    let announced = SnapshotMeta { crc: meta.crc ^ 1, ..meta };
    broken(&[(announced, 0, &text)], "not as it was announced");
    receive(&mut receiver, (meta, text));
}

#[test]
fn a_snapshot_is_read_in_pieces_of_any_length() {
    let dir = TempDir::new();
    let (mut wal, mut history) = begin(&dir);
    history.append(&mut wal, &[entry(8, 3, "ü€🦀 and more of it")]);
    let sealed = wal.seal(&history.opening(8)).unwrap();
    let file = wal.publish(sealed.make().unwrap()).unwrap().unwrap();
    let (meta, text) = history.snapshot(8);
    until_names(&dir.0, &["wal.2", "snapshot.2"]);
    fs::remove_file(dir.0.join("snapshot.2")).unwrap();
    for bytes in (4..40).chain([1000, 1 << 20]) {
        let mut read = String::new();
        while (read.len() as u64) < meta.bytes {
            let piece = file.chunk(read.len() as u64, bytes).unwrap();
            assert!(!piece.is_empty() && piece.len() <= bytes);
            read.push_str(&piece);
        }
        assert_eq!(read, text);
    }
    assert_eq!(file.chunk(meta.bytes, 100).unwrap(), "");
    assert!(file.chunk(meta.bytes + 1, 100).is_err());
    let crab = text.find('🦀').unwrap() as u64;
    assert!(file.chunk(crab, 3).is_err(), "not one character fits");
    assert!(file.chunk(crab + 1, 100).is_err(), "within a character");
}

#[test]
fn a_failure_anywhere_closes_the_log_for_ever() {
    // The name of the next file is taken.
    let dir = TempDir::new();
    let (mut wal, history) = begin(&dir);
    fs::create_dir(dir.0.join("wal.2")).unwrap();
    let error = wal.seal(&history.opening(5)).unwrap_err().to_string();
    assert!(error.contains("wal.2: cannot make the next file of the log") && error.contains("move away"), "{error}");
    fs::remove_dir(dir.0.join("wal.2")).unwrap();
    for error in [wal.seal(&history.opening(5)).unwrap_err(), wal.append(&[entry(8, 3, "x")]).unwrap_err()] {
        assert!(error.to_string().contains("the log is closed"), "{error}");
    }

    // The name of the snapshot is taken by what cannot be replaced.
    for installs in [false, true] {
        let dir = TempDir::new();
        let (mut wal, history) = begin(&dir);
        fs::create_dir(dir.0.join("snapshot.2")).unwrap();
        let error = if installs {
            let stored = receive(&mut Receiver::new(&dir.0), history.snapshot(7));
            wal.install(&history.opening(7), stored).unwrap_err()
        } else {
            let made = wal.seal(&history.opening(5)).unwrap().make().unwrap();
            wal.publish(made).unwrap_err()
        };
        assert!(error.to_string().contains(".tmp: cannot rename it to"), "{error}");
        assert!(wal.append(&[entry(8, 3, "x")]).unwrap_err().to_string().contains("the log is closed"));
        assert!(names(&dir.0).contains("wal.1"), "nothing goes before the snapshot is in its place");
    }

    // A snapshot gets its place after the file that follows it.
    let dir = TempDir::new();
    let (mut wal, history) = begin(&dir);
    let stored = receive(&mut Receiver::new(&dir.0), history.snapshot(7));
    fs::create_dir(dir.0.join("wal.2")).unwrap();
    wal.install(&history.opening(7), stored).unwrap_err();
    assert_eq!(names(&dir.0), names_of(&["wal.1", "wal.2"]));

    // What was sealed is not what it was.
    let dir = TempDir::new();
    let (mut wal, history) = begin(&dir);
    let sealed = wal.seal(&history.opening(5)).unwrap();
    let bytes = fs::read(dir.0.join("wal.1")).unwrap();
    fs::write(dir.0.join("wal.1"), &bytes[..bytes.len() - 1]).unwrap();
    let error = sealed.make().unwrap_err().to_string();
    assert!(error.contains("wal.1: line 14") && error.contains("wal.2 was begun after it"), "{error}");
}

#[test]
fn the_old_name_of_the_first_file_is_understood() {
    let dir = TempDir::new();
    let (wal, history) = begin(&dir);
    drop(wal);
    fs::rename(dir.0.join("wal.1"), dir.0.join("wal")).unwrap();
    assert!(open(&dir.0, NodeId(2), SIZE).is_err());
    assert_eq!(names(&dir.0), names_of(&["wal"]), "another node's is left alone");
    let opened = open(&dir.0, ME, SIZE).unwrap();
    history.expect(&opened, 0);
    assert!(opened.notes.len() == 1 && opened.notes[0].contains("wal.1: this was the file wal"), "{:?}", opened.notes);
    assert_eq!(names(&dir.0), names_of(&["wal.1"]));
}

/// Far more than it takes, for the machine may be busy; quadratic work would take minutes.
const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_long_history_of_many_files_is_replayed_in_linear_time() {
    let dir = TempDir::new();
    let (mut wal, mut history) = (dir.open().unwrap().wal, History::default());
    history.append(&mut wal, &[vote(1, 1)]);
    let mut sealed = None;
    let mut index = 0;
    for _ in 0..10 {
        let batch: Vec<Record> =
            (1..=10_000).map(|at| put(index + at, 1, &format!("key {}", at % 100), &["x"])).collect();
        index += 10_000;
        history.append(&mut wal, &batch);
        sealed = Some(wal.seal(&history.opening(index - 5_000)).unwrap());
    }
    let bytes = wal.log_bytes();
    let start = Instant::now();
    let made = sealed.unwrap().make().unwrap();
    println!("{index} entries, {bytes} bytes to {} bytes: {:?}", made.meta().bytes, start.elapsed());
    assert_eq!(made.meta(), history.snapshot(index - 5_000).0);
    drop(wal);
    let opened = dir.open().unwrap();
    println!("with the start: {:?}", start.elapsed());
    history.expect(&opened, 0);
    assert!(start.elapsed() < LONG);
}
