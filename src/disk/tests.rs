//! Real directories, and logs cut and damaged at every byte.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::wal::{Scanned, encode_batch, encode_header, scan};
use super::{DiskError, Identity, Opened, open};
use crate::raft::types::{ClientId, Command, Disk, DiskId, Entry, EntryId, NodeId, Persistent, Record, Session};

pub(super) const ME: NodeId = NodeId(1);
pub(super) const SIZE: u64 = 3;
pub(super) const IDENTITY: Identity = Identity { node: ME, size: SIZE, disk: DiskId(0x9f3a_01c2_d4e5_f607) };

/// A directory that is gone when the test is over.
pub(super) struct TempDir(pub(super) PathBuf);

impl TempDir {
    pub(super) fn new() -> TempDir {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("raft-lab-disk-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        TempDir(path)
    }

    fn wal(&self) -> PathBuf {
        self.0.join("wal.1")
    }

    pub(super) fn open(&self) -> Result<Opened, DiskError> {
        open(&self.0, ME, SIZE)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn vote(term: u64, node: u64) -> Record {
    Record::Vote { term, voted_for: Some(NodeId(node)) }
}

pub(super) fn entry(index: u64, term: u64, text: &str) -> Record {
    Record::Entry(Entry {
        id: EntryId::new(index, term),
        command: Command::Append { session: None, text: text.into() },
    })
}

/// Five batches with every kind of record.
fn batches() -> Vec<Vec<Record>> {
    let session = Some(Session { client: ClientId { born: 1, nonce: 0xfeed }, seq: 1 });
    let numbered = Command::Append { session, text: "x \"y\" \\ ü\n".into() };
    vec![
        vec![vote(1, 1), Record::Entry(Entry { id: EntryId::new(1, 1), command: Command::Noop })],
        vec![entry(2, 1, "SET 5"), entry(3, 1, ""), Record::Entry(Entry { id: EntryId::new(4, 1), command: numbered })],
        vec![Record::Peer { node: NodeId(2), disk: Disk { id: DiskId(7), since: EntryId::ZERO } }],
        vec![Record::Vote { term: 3, voted_for: None }, Record::Truncate { from: 3 }, entry(3, 3, "again")],
        vec![entry(4, 3, "00000000 9.1/1 vote term=9 for=none"), entry(5, 3, "last")],
    ]
}

fn after(batches: &[Vec<Record>]) -> Persistent {
    let mut persistent = Persistent::default();
    for record in batches.iter().flatten() {
        persistent.apply(record.clone()).unwrap();
    }
    persistent
}

/// A log, and where each of its batches ends, the header being the first.
fn log_of(batches: &[Vec<Record>]) -> (Vec<u8>, Vec<usize>) {
    let mut text = String::new();
    encode_header(&IDENTITY, &mut text);
    let mut ends = vec![text.len()];
    for (batch, number) in batches.iter().zip(2..) {
        encode_batch(number, batch, &mut text);
        ends.push(text.len());
    }
    (text.into_bytes(), ends)
}

/// What must come back of a log of which `len` bytes are left.
fn expect_prefix(scanned: &Scanned, ends: &[usize], len: usize) {
    let whole = ends.iter().filter(|end| **end <= len).count();
    assert_eq!(scanned.last_batch, whole as u64, "{len} bytes");
    assert_eq!(scanned.identity, (whole > 0).then_some(IDENTITY));
    assert_eq!(scanned.persistent, after(&batches()[..whole.saturating_sub(1)]), "{len} bytes");
    assert_eq!(scanned.valid_len, whole.checked_sub(1).map_or(0, |last| ends[last]));
}

#[test]
fn the_text_is_what_a_person_can_read() {
    let (log, _) = log_of(&batches());
    let text = String::from_utf8(log).unwrap();
    let records: Vec<&str> = text.lines().map(|line| &line[9..]).collect();
    assert_eq!(
        records,
        [
            "1.1/1 node 1 of 3 disk=9f3a01c2d4e5f607",
            "2.1/2 vote term=1 for=node_1",
            "2.2/2 entry 1@1 no-op",
            "3.1/3 entry 2@1 append \"SET 5\"",
            "3.2/3 entry 3@1 append \"\"",
            "3.3/3 entry 4@1 append 1-000000000000feed 1 \"x \\\"y\\\" \\\\ ü\\n\"",
            "4.1/1 peer node_2 disk=0000000000000007",
            "5.1/3 vote term=3 for=none",
            "5.2/3 truncate from=3",
            "5.3/3 entry 3@3 append \"again\"",
            "6.1/2 entry 4@3 append \"00000000 9.1/1 vote term=9 for=none\"",
            "6.2/2 entry 5@3 append \"last\"",
        ]
    );
}

#[test]
fn torn_tail_cut_at_every_byte_gives_back_whole_batches() {
    let (log, ends) = log_of(&batches());
    for len in 0..=log.len() {
        let scanned = scan(&log[..len]).unwrap_or_else(|corruption| panic!("{len} bytes: {corruption}"));
        expect_prefix(&scanned, &ends, len);
        assert_eq!(scanned.torn.is_some(), scanned.valid_len < len);
    }
}

#[test]
fn torn_tail_filled_with_nul_or_garbage_is_cut() {
    let (log, ends) = log_of(&batches());
    // From the end of the header on: before it the file was never longer than the header.
    for len in ends[0]..log.len() {
        for fill in [&b"\0"[..], b"\n", b"x", b"\xff", b"00000000 9.1/1 vote term=9 for=none\n"] {
            let mut torn = log[..len].to_vec();
            // Any length behind the cut, shorter or longer than the batch.
            let filled = (len * 7) % 300 + 1;
            torn.extend(fill.iter().cycle().take(filled));
            // The one byte that was missing may be just that.
            let len = if log.starts_with(&torn[..len + 1]) { len + 1 } else { len };
            let scanned = scan(&torn).unwrap_or_else(|corruption| panic!("{len} bytes and {fill:?}: {corruption}"));
            expect_prefix(&scanned, &ends, len);
        }
    }
}

#[test]
fn torn_tail_with_a_hole_is_cut_although_records_of_its_batch_follow() {
    let (log, ends) = log_of(&batches());
    let (start, end) = (ends[4], ends[5]);
    for from in start..end {
        for to in from + 1..end {
            let mut torn = log.clone();
            torn[from..to].fill(0);
            expect_prefix(&scan(&torn).unwrap(), &ends, start);
        }
    }
}

#[test]
fn midlog_corrupt_every_bit_flipped_is_refused_or_cut_but_never_believed() {
    let (log, ends) = log_of(&batches());
    let last_synced = ends[ends.len() - 2];
    for at in 0..log.len() {
        for bit in 0..8 {
            let mut damaged = log.clone();
            damaged[at] ^= 1 << bit;
            match scan(&damaged) {
                Ok(scanned) => {
                    assert!(at >= last_synced, "bit {bit} of byte {at}: accepted");
                    expect_prefix(&scanned, &ends, last_synced);
                }
                Err(corruption) => {
                    assert!(at < last_synced, "bit {bit} of byte {at}: {corruption}");
                    let line = log[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
                    assert_eq!(corruption.line, line, "bit {bit} of byte {at}: {corruption}");
                    assert!(corruption.offset <= at);
                }
            }
        }
    }
}

#[test]
fn midlog_corrupt_every_byte_replaced_by_every_other() {
    let (log, ends) = log_of(&[vec![vote(1, 1)], vec![vote(2, 2)]]);
    for at in 0..log.len() {
        for byte in (0..=255).filter(|byte| *byte != log[at]) {
            let mut damaged = log.clone();
            damaged[at] = byte;
            match scan(&damaged) {
                Ok(scanned) => assert!(at >= ends[1] && scanned.last_batch == 2, "byte {at} as {byte}"),
                Err(corruption) => assert!(at < ends[1], "byte {at} as {byte}: {corruption}"),
            }
        }
    }
}

#[test]
fn midlog_corrupt_a_missing_or_doubled_or_moved_line_is_refused() {
    let (log, _) = log_of(&batches());
    let lines: Vec<&[u8]> = log.split_inclusive(|byte| *byte == b'\n').collect();
    for line in 0..lines.len() {
        let mut without = lines.clone();
        without.remove(line);
        let last = line + 1 == lines.len();
        assert_eq!(scan(&without.concat()).is_ok(), last, "without line {line}; the last may be torn off");

        let mut doubled = lines.clone();
        doubled.insert(line, lines[line]);
        let corruption = scan(&doubled.concat()).unwrap_err();
        assert!(corruption.line == line + 2 && corruption.what.contains("doubled or moved"), "{corruption}");

        if !last {
            let mut swapped = lines.clone();
            swapped.swap(line, line + 1);
            let corruption = scan(&swapped.concat()).unwrap_err();
            assert!(corruption.line == line + 1 && corruption.what.contains("doubled or moved"), "{corruption}");
        }
    }
}

#[test]
fn a_record_that_cannot_follow_is_refused_even_at_the_end() {
    for (record, why) in [
        (vote(1, 1), "term 1 after term 3"),
        (entry(9, 3, "x"), "entry 9@3 where 6@3"),
        (Record::Truncate { from: 9 }, "cut from 9"),
    ] {
        let (mut log, _) = log_of(&batches());
        let at = log.len();
        let mut text = String::new();
        encode_batch(7, &[record], &mut text);
        log.extend(text.bytes());
        let corruption = scan(&log).unwrap_err();
        assert_eq!((corruption.line, corruption.offset), (13, at));
        assert!(corruption.what.contains(why), "{corruption}");
    }
}

#[test]
fn the_first_record_and_no_other_names_the_node() {
    let mut header = String::new();
    encode_header(&IDENTITY, &mut header);
    let mut text = header.clone();
    // A second header in its own batch, with a right sum.
    let body = "2.1/1 node 1 of 3 disk=9f3a01c2d4e5f607";
    text.push_str(&format!("{:08x} {body}\n", crate::text::checksum::crc32(0, body.as_bytes())));
    assert!(scan(text.as_bytes()).unwrap_err().what.contains("only the first record"));

    let body = "1.1/1 vote term=3 for=none";
    let text = format!("{:08x} {body}\n", crate::text::checksum::crc32(0, body.as_bytes()));
    assert!(scan(text.as_bytes()).unwrap_err().what.contains("the first record names the node"));

    let body = "2.1/1 colour blue";
    let text = format!("{header}{:08x} {body}\n", crate::text::checksum::crc32(0, body.as_bytes()));
    assert!(scan(text.as_bytes()).unwrap_err().what.contains("no record that this version knows"));
}

#[test]
fn a_file_that_was_never_a_log_is_not_overwritten() {
    let dir = TempDir::new();
    let diary = "Dear diary, today I learned about consensus.\n".repeat(10);
    fs::write(dir.wal(), &diary).unwrap();
    let error = dir.open().unwrap_err().to_string();
    assert!(error.contains("line 1, byte 0"), "{error}");
    assert_eq!(fs::read_to_string(dir.wal()).unwrap(), diary);
}

#[test]
fn a_new_directory_is_made_and_comes_back_as_it_was_left() {
    let dir = TempDir::new();
    let nested = dir.0.join("a").join("b");
    let mut opened = open(&nested, ME, SIZE).unwrap();
    assert_eq!((opened.persistent, opened.notes), (Persistent::default(), vec![]));
    for batch in batches() {
        opened.wal.append(&batch).unwrap();
    }
    opened.wal.append(&[]).unwrap();
    assert_eq!((opened.wal.syncs(), opened.wal.last_batch()), (6, 6), "one sync a batch, and one at boot");
    assert_eq!(opened.wal.log_bytes(), fs::metadata(opened.wal.path()).unwrap().len());
    drop(opened.wal);

    let again = open(&nested, ME, SIZE).unwrap();
    assert_eq!((again.persistent, again.disk), (after(&batches()), opened.disk));
    assert_eq!((again.notes, again.wal.last_batch()), (vec![], 6));
    drop(again.wal);
    let elsewhere = dir.open().unwrap();
    assert_ne!(elsewhere.disk, opened.disk, "each directory has an id of its own");
}

#[test]
fn torn_tail_of_a_real_file_is_cut_told_and_written_over() {
    let (log, ends) = log_of(&batches());
    // Each takes several real syncs, so not every length: `scan` is tested with all of them.
    for len in (0..log.len()).filter(|len| len % 13 == 0 || ends.iter().any(|end| end.abs_diff(*len) <= 1)) {
        let dir = TempDir::new();
        fs::write(dir.wal(), &log[..len]).unwrap();
        let mut opened = dir.open().unwrap();
        let whole = ends.iter().filter(|end| **end <= len).count();
        let cut = len > whole.checked_sub(1).map_or(0, |last| ends[last]);
        assert_eq!(opened.notes.len(), usize::from(cut), "{len} bytes");
        for note in &opened.notes {
            assert!(note.contains("wal.1: batch") && note.contains("cut off the last"), "{note}");
        }
        assert_eq!(opened.disk == IDENTITY.disk, whole > 0, "a disk that was never synced is new");
        // The numbers go on, and the tail is gone for good.
        let rest = &batches()[whole.saturating_sub(1)..];
        for batch in rest {
            opened.wal.append(batch).unwrap();
        }
        drop(opened.wal);
        let bytes = fs::read(dir.wal()).unwrap();
        assert_eq!(bytes == log, whole > 0, "{len} bytes");
        let again = dir.open().unwrap();
        assert_eq!((again.persistent, again.notes, again.disk), (after(&batches()), vec![], opened.disk));
    }
}

#[test]
fn midlog_corrupt_refuses_to_start_and_says_where() {
    let dir = TempDir::new();
    let (mut log, ends) = log_of(&batches());
    log[ends[0] + 12] ^= 1;
    fs::write(dir.wal(), &log).unwrap();
    let error = dir.open().unwrap_err().to_string();
    let place = format!("wal.1: line 2, byte {}: the checksum does not match", ends[0]);
    assert!(error.contains(&place) && error.contains("move the directory away"), "{error}");
    assert_eq!(fs::read(dir.wal()).unwrap(), log, "left as it was");
}

#[test]
fn disk_full_ends_node_the_write_fails_with_the_cure() {
    let dir = TempDir::new();
    symlink("/dev/full", dir.wal()).unwrap();
    let error = dir.open().unwrap_err().to_string();
    assert!(error.contains("wal.1: cannot write the log at byte 0"), "{error}");
    assert!(error.contains("No space left on device") && error.contains("make room"), "{error}");
}

#[test]
fn fsync_error_ends_node_the_sync_fails() {
    let dir = TempDir::new();
    symlink("/dev/null", dir.wal()).unwrap();
    let error = dir.open().unwrap_err().to_string();
    assert!(error.contains("wal.1: cannot sync the log") && error.contains("Invalid argument"), "{error}");
}

#[test]
fn a_failed_write_or_sync_closes_the_log_for_ever() {
    for (device, what) in [("/dev/full", "cannot write batch 2 at byte"), ("/dev/null", "cannot sync batch 2 at byte")]
    {
        let dir = TempDir::new();
        let mut wal = dir.open().unwrap().wal;
        let good = wal.replace_file(OpenOptions::new().write(true).open(device).unwrap());
        let error = wal.append(&[vote(1, 1)]).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
        let syncs = wal.syncs();
        wal.replace_file(good);
        let error = wal.append(&[vote(1, 1)]).unwrap_err().to_string();
        assert!(error.contains("the log is closed"), "{error}");
        assert!(wal.append(&[]).is_err());
        assert_eq!(wal.syncs(), syncs, "never tried again");
    }
}

#[test]
fn a_directory_in_place_of_the_log_is_refused() {
    let dir = TempDir::new();
    fs::create_dir(dir.wal()).unwrap();
    let error = dir.open().unwrap_err().to_string();
    assert!(error.contains("wal.1: cannot open the log") && error.contains("move away"), "{error}");

    let file = dir.0.join("file");
    fs::write(&file, "x").unwrap();
    let error = open(&file, ME, SIZE).unwrap_err().to_string();
    assert!(error.contains("file: cannot make the directory") && error.contains("--data-dir"), "{error}");
}

#[test]
fn a_locked_directory_is_refused_until_its_node_ends() {
    let dir = TempDir::new();
    let first = dir.open().unwrap();
    let error = dir.open().unwrap_err().to_string();
    let name = dir.0.display().to_string();
    assert!(error.starts_with(&name) && error.contains("in use by another running node"), "{error}");
    assert!(error.contains("--data-dir"), "{error}");
    drop(first);
    dir.open().unwrap();
}

#[test]
fn a_foreign_directory_is_refused_and_left_alone() {
    let dir = TempDir::new();
    drop(dir.open().unwrap());
    OpenOptions::new().append(true).open(dir.wal()).unwrap().write_all(b"torn").unwrap();
    let before = fs::read(dir.wal()).unwrap();
    let error = open(&dir.0, NodeId(2), 3).unwrap_err().to_string();
    assert!(error.contains("belongs to node_1 of 3, but this is node_2 of 3"), "{error}");
    assert!(error.contains("--id 1") && error.contains("--data-dir"), "{error}");
    let error = open(&dir.0, ME, 5).unwrap_err().to_string();
    assert!(error.contains("made for node_1 of 3, but this is node_1 of 5"), "{error}");
    assert!(error.contains("--cluster-size 3"), "{error}");
    assert_eq!(fs::read(dir.wal()).unwrap(), before);
}

/// Far more than it takes, for the machine may be busy; quadratic work would take minutes.
const LONG: Duration = Duration::from_secs(5);

#[test]
fn a_long_log_loads_in_linear_time() {
    let mut text = String::new();
    encode_header(&IDENTITY, &mut text);
    encode_batch(2, &[vote(1, 1)], &mut text);
    let records: Vec<Record> = (1..=100_000).map(|index| entry(index, 1, "a string of usual length")).collect();
    for (batch, number) in records.chunks(10).zip(3..) {
        encode_batch(number, batch, &mut text);
    }
    let start = Instant::now();
    assert_eq!(scan(text.as_bytes()).unwrap().persistent.entries.len(), 100_000);
    println!("100,000 entries: {:?}", start.elapsed());
    assert!(start.elapsed() < LONG);
}

#[test]
fn the_search_behind_a_bad_record_takes_linear_time() {
    // A batch that is all bait: each line is full of what looks like the start of a later record.
    let bait = "00000000 9.1/1 entry 1@1 append \"".repeat(1900);
    let records: Vec<Record> = (1..=200).map(|index| entry(index, 1, &bait)).collect();
    let mut text = String::new();
    encode_header(&IDENTITY, &mut text);
    encode_batch(2, &[vote(1, 1)], &mut text);
    let start_of_bait = text.len();
    encode_batch(3, &records, &mut text);
    for joined in [false, true] {
        let mut log = text.clone().into_bytes();
        log[start_of_bait] = b'x';
        let end = log.len() - 1;
        for byte in &mut log[start_of_bait..end] {
            // The second time all in one line.
            *byte = if joined && *byte == b'\n' { b'-' } else { *byte };
        }
        let start = Instant::now();
        assert_eq!(scan(&log).unwrap().last_batch, 2);
        println!("{} bytes of bait: {:?}", log.len(), start.elapsed());
        assert!(start.elapsed() < LONG);
    }
}

#[test]
fn what_could_not_be_read_back_is_not_written() {
    let zero = Session { client: ClientId { born: 0, nonce: 0 }, seq: 0 };
    let numbered = Command::Append { session: Some(zero), text: "x".into() };
    for record in [
        vote(1 << 53, 1),
        vote(1, 10),
        entry(0, 1, "x"),
        entry(1, 1, &"x".repeat(64 * 1024 + 1)),
        Record::Entry(Entry { id: EntryId::new(1, 1), command: numbered }),
    ] {
        let written = std::panic::catch_unwind(|| encode_batch(2, std::slice::from_ref(&record), &mut String::new()));
        assert!(written.is_err(), "{record:?}");
    }
}
