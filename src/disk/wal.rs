//! The write-ahead log as text: how a batch is written, and what is read back from any bytes.
//!
//! One record a line, `CRC BATCH.POS/COUNT RECORD`:
//!
//! ```text
//! 5f1bd0c4 1.1/1 node 1 of 3 disk=9f3a01c2d4e5f607
//! 0d2f4b11 2.1/2 vote term=1 for=node_1
//! 91ac03de 2.2/2 entry 1@1 no-op
//! ```
//!
//! CRC is the CRC-32 of what follows it, without the line's end. Batches count from 1 without a gap,
//! across restarts too; the first one is the record that names the node, alone. Batch k + 1 is
//! written only after batch k is synced, and that is what a bad record is judged by: with a valid
//! record of a later batch behind it, it had been synced, and the disk has lost it. Without one, it
//! belongs to the last write, which was never finished, so nobody was told of it.
//!
//! A batch counts whole or not at all. So the batches that are left have no gap, a missing line
//! is always seen, and a truncation comes back together with the entries that replace the old ones.
//!
//! Every file of a log is such a text, with batches that count from 1. Those after the first open with
//! two batches, written together and synced once: the record that names the node, and a base with all
//! that does not go without saying behind it ([`Raft::opening`](crate::raft::Raft::opening)).
//!
//! ```text
//! 5f1bd0c4 1.1/1 node 1 of 3 disk=9f3a01c2d4e5f607
//! 63b1c902 2.1/3 base 100@3 sum=1f3c09aa
//! 8810fc4e 2.2/3 vote term=3 for=node_2
//! e0a1c7d2 2.3/3 entry 101@3 append "SET 5"
//! ```

use std::fmt::{self, Write};

use super::record::{ENTRY, Identity, Line, push_identity, push_record, read_line};
use crate::raft::log::chain_entry;
use crate::raft::types::{EntryId, MAX_NUMBER, Persistent, Record, SnapshotMeta};
use crate::text::checksum::crc32;
use crate::text::{hex, number};

/// The first file of a log. The later ones count from there.
pub const FIRST_FILE: u64 = 1;
/// The batch of the record that names the node.
pub const FIRST_BATCH: u64 = 1;
/// The batch that says everything anew, in every file but the first.
pub const OPENING_BATCH: u64 = 2;
/// No record that names a node is longer, in bytes. A file that is longer and does not start with such
/// a record is not what a crash left of a new disk.
pub const MAX_IDENTITY_BYTES: usize = 128;

/// Where a record stands: it is number `pos` of the `count` records of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    batch: u64,
    pos: u64,
    count: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}/{}", self.batch, self.pos, self.count)
    }
}

/// What a file of a log follows.
pub(super) enum Before {
    /// Nothing: it is the first file.
    Nothing,
    /// This snapshot, which has the same number.
    Snapshot(SnapshotMeta),
    /// What the files before it say.
    Files(Persistent),
}

/// What one file of a log says, and those before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Whose log it is; none if nothing was ever synced: of the first file a new disk.
    pub identity: Option<Identity>,
    pub persistent: Persistent,
    /// The last batch that is whole, 0 if there is none. The next one to write has the number after it.
    pub last_batch: u64,
    /// Where that batch begins, in bytes; 0 if it is the opening, which is written with what is before it.
    pub last_batch_at: usize,
    /// How many bytes count; the rest is to be cut off.
    pub valid_len: usize,
    /// What is wrong with the rest, if there is one.
    pub torn: Option<Corruption>,
    /// The base with which the file opens.
    pub base: Option<(EntryId, u32)>,
    /// That base is not in what is before it: its snapshot was never put in place. Nothing of the file
    /// counts, and nothing follows its opening.
    pub unfounded: bool,
}

/// A log that must not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// The number of the file.
    pub file: u64,
    /// Counted from 1, as an editor does.
    pub line: usize,
    /// Counted from 0: where that line begins.
    pub offset: usize,
    pub what: String,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, byte {}: {}", self.line, self.offset, self.what)
    }
}

/// Adds the first batch, which names the node.
pub fn encode_header(identity: &Identity, out: &mut String) {
    let mut body = String::new();
    start_body(Place { batch: FIRST_BATCH, pos: 1, count: 1 }, &mut body);
    push_identity(&mut body, identity);
    push_summed(&body, out);
}

/// Adds one batch.
pub fn encode_batch(batch: u64, records: &[Record], out: &mut String) {
    assert!(FIRST_BATCH < batch && batch <= MAX_NUMBER, "batch {batch}");
    let count = records.len() as u64;
    let mut body = String::new();
    for (record, pos) in records.iter().zip(1..) {
        start_body(Place { batch, pos, count }, &mut body);
        push_record(&mut body, record);
        push_summed(&body, out);
    }
}

fn start_body(place: Place, body: &mut String) {
    body.clear();
    // Writing to a String cannot fail.
    let _ = write!(body, "{place} ");
}

fn push_summed(body: &str, out: &mut String) {
    let _ = write!(out, "{:08x} ", crc32(0, body.as_bytes()));
    out.push_str(body);
    out.push('\n');
}

/// Reads the first file of a log, whatever its bytes are. Takes time in proportion to their number.
pub fn scan(bytes: &[u8]) -> Result<Scanned, Corruption> {
    scan_file(FIRST_FILE, bytes, Before::Nothing)
}

/// Reads a file of a log, whatever its bytes are.
pub(super) fn scan_file(file: u64, bytes: &[u8], before: Before) -> Result<Scanned, Corruption> {
    let (snapshot, persistent) = match before {
        Before::Nothing => (None, Persistent::default()),
        Before::Snapshot(meta) => (Some(meta), Persistent::default()),
        Before::Files(persistent) => (None, persistent),
    };
    let done = Scanned { persistent, ..Scanned::default() };
    let mut scan = Scan { file, snapshot, bytes, offset: 0, line: 1, batch: None, done };
    while scan.offset < bytes.len() {
        if let Err(fault) = scan.step() {
            return scan.judge(fault);
        }
    }
    if let Some(open) = &scan.batch {
        let what = format!("the log ends after record {} of {}", open.records.len(), open.count);
        return scan.judge(Fault::Bad(what));
    }
    Ok(scan.done)
}

/// What is wrong with a line.
enum Fault {
    /// It may be what is left of an unfinished write.
    Bad(String),
    /// Its checksum is right: it was written so, though not here or not by this program.
    Impossible(String),
}

/// A batch of which not all records have been read.
struct OpenBatch {
    count: u64,
    records: Vec<Record>,
}

struct Scan<'a> {
    file: u64,
    /// What is in the place of the files before it.
    snapshot: Option<SnapshotMeta>,
    bytes: &'a [u8],
    /// Where the line that is being read begins, and its number.
    offset: usize,
    line: usize,
    batch: Option<OpenBatch>,
    done: Scanned,
}

impl Scan<'_> {
    /// Reads one line.
    fn step(&mut self) -> Result<(), Fault> {
        let rest = &self.bytes[self.offset..];
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            return Err(Fault::Bad("the line has no end".to_owned()));
        };
        let (place, text) = check_line(&rest[..length]).map_err(|what| Fault::Bad(what.to_owned()))?;
        self.check_place(place)?;
        let line = read_line(text).map_err(|why| {
            Fault::Impossible(format!("its checksum is right, but it is no record that this version knows: {why}"))
        })?;
        let end = self.offset + length + 1;
        self.take(place, line, end)?;
        self.offset = end;
        self.line += 1;
        Ok(())
    }

    /// Whether this is the place that is due.
    fn check_place(&self, place: Place) -> Result<(), Fault> {
        let batch = self.done.last_batch + 1;
        let (pos, count) = match &self.batch {
            Some(open) => (open.records.len() as u64 + 1, open.count),
            None => (1, place.count.max(1)),
        };
        if place == (Place { batch, pos, count }) {
            return Ok(());
        }
        // An unfinished write leaves a line damaged, or none. Only a hand moves whole lines.
        let what =
            format!("record {place} where record {pos} of batch {batch} is due: a line is missing, doubled or moved");
        Err(Fault::Impossible(what))
    }

    /// Takes a record that ends at `end` and is in its place; the whole batch if it is the last of it.
    fn take(&mut self, place: Place, line: Line, end: usize) -> Result<(), Fault> {
        let impossible = |why: String| Fault::Impossible(format!("it cannot follow what is before it: {why}"));
        let record = match line {
            Line::Identity(identity) => {
                if place != (Place { batch: FIRST_BATCH, pos: 1, count: 1 }) {
                    return Err(impossible("only the first record names the node".to_owned()));
                }
                self.done.identity = Some(identity);
                self.finish(place.batch, end);
                return Ok(());
            }
            Line::Record(record) => record,
        };
        if place.batch == FIRST_BATCH {
            return Err(impossible("the first record names the node".to_owned()));
        }
        let opens = self.file > FIRST_FILE && (place.batch, place.pos) == (OPENING_BATCH, 1);
        match &record {
            Record::Base { id, sum } if opens => self.done.base = Some((*id, *sum)),
            Record::Base { .. } => return Err(impossible("a base opens a file, and stands nowhere else".to_owned())),
            _ if opens => return Err(impossible("a file after the first opens with a base".to_owned())),
            _ => {}
        }
        let open = self.batch.get_or_insert_with(|| OpenBatch { count: place.count, records: Vec::new() });
        open.records.push(record);
        if place.pos < place.count {
            return Ok(());
        }
        let records = self.batch.take().map(|open| open.records).unwrap_or_default();
        if let Some((id, sum)) = self.done.base
            && place.batch == OPENING_BATCH
        {
            self.done.unfounded = !self.is_founded(id, sum).map_err(impossible)?;
        }
        if !self.done.unfounded {
            records.into_iter().try_for_each(|record| self.done.persistent.apply(record)).map_err(impossible)?;
        } else if end < self.bytes.len() {
            return Err(impossible(
                "the snapshot that its base names was lost, and more than its opening follows".to_owned(),
            ));
        }
        self.finish(place.batch, end);
        Ok(())
    }

    /// Is the base of this file in what is before it?
    fn is_founded(&self, id: EntryId, sum: u32) -> Result<bool, String> {
        let before = &self.done.persistent;
        let (name, found) = match self.snapshot {
            Some(meta) if meta.last == id => ("the snapshot", meta.sum),
            Some(meta) => return Err(format!("it begins after {id}, but the snapshot goes through {}", meta.last)),
            None if before.has(id) => ("the log before it", sum_through(before, id)),
            None => return Ok(false),
        };
        if found != sum {
            return Err(format!("{name} has the checksum {found:08x} through {id}, but this one has {sum:08x}"));
        }
        Ok(true)
    }

    /// The batch is whole.
    fn finish(&mut self, batch: u64, end: usize) {
        let opening = self.file > FIRST_FILE && batch == OPENING_BATCH;
        self.done.last_batch = batch;
        self.done.last_batch_at = if opening { 0 } else { self.done.valid_len };
        self.done.valid_len = end;
    }

    /// Something is wrong at the line that is being read: an unfinished write or corruption?
    fn judge(self, fault: Fault) -> Result<Scanned, Corruption> {
        let here = |what: String| Corruption { file: self.file, line: self.line, offset: self.offset, what };
        let what = match fault {
            Fault::Impossible(what) => return Err(here(what)),
            Fault::Bad(what) => what,
        };
        // The first two batches of a later file are one write.
        let first_write = if self.file > FIRST_FILE { OPENING_BATCH } else { FIRST_BATCH };
        let unfinished = (self.done.last_batch + 1).max(first_write);
        if let Some((at, place)) = find_later(&self.bytes[self.offset..], unfinished + 1) {
            let at = self.offset + at;
            return Err(here(format!(
                "{what}; it was synced once, for record {place} of a later batch follows at byte {at}"
            )));
        }
        if unfinished == FIRST_BATCH && self.bytes.len() > MAX_IDENTITY_BYTES {
            return Err(here(format!(
                "{what}; and more follows than a crash leaves of the record that names the node"
            )));
        }
        Ok(Scanned { torn: Some(here(what)), ..self.done })
    }
}

/// The running checksum of a log through one of its entries, or its base.
pub(super) fn sum_through(log: &Persistent, id: EntryId) -> u32 {
    let entries = log.entries.iter().take_while(|entry| entry.id.index <= id.index);
    entries.fold(log.base_sum, chain_entry)
}

/// How many bytes of a file of the log come before the first entry of its opening: what every file has.
pub(super) fn bytes_before_entries(bytes: &[u8]) -> u64 {
    let opening = bytes.split_inclusive(|byte| *byte == b'\n').take_while(|line| {
        let text = line.strip_suffix(b"\n").and_then(|line| check_line(line).ok());
        text.is_some_and(|(place, record)| place.batch <= OPENING_BATCH && !record.starts_with(ENTRY))
    });
    opening.map(|line| line.len() as u64).sum()
}

/// Splits a line, without its end, and checks its sum. The error says what is wrong with it.
fn check_line(line: &[u8]) -> Result<(Place, &str), &'static str> {
    let Some((sum, summed)) = split_sum(line) else { return Err("the line does not start with a checksum") };
    if crc32(0, summed) != sum {
        return Err("the checksum does not match");
    }
    // What follows was written so, for the sum is right; all the same nothing is taken for granted.
    let Ok(text) = str::from_utf8(summed) else { return Err("the line is not UTF-8") };
    split_place(text).ok_or("the line does not name its batch")
}

/// `CRC rest`
fn split_sum(line: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = line.split_at_checked(8)?;
    let sum = hex(str::from_utf8(digits).ok()?, 8)?;
    Some((u32::try_from(sum).ok()?, rest.strip_prefix(b" ")?))
}

/// `BATCH.POS/COUNT rest`
fn split_place(text: &str) -> Option<(Place, &str)> {
    let (batch, text) = split_number(text, '.')?;
    let (pos, text) = split_number(text, '/')?;
    let (count, text) = split_number(text, ' ')?;
    Some((Place { batch, pos, count }, text))
}

/// A number and the character after it. Looks at a few bytes only, however long the text is.
fn split_number(text: &str, end: char) -> Option<(u64, &str)> {
    let digits = text.bytes().take(17).take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(digits);
    Some((number(digits)?, rest.strip_prefix(end)?))
}

/// Looks for a valid record of batch `least` or later, and where it begins.
///
/// It may begin anywhere: a damaged line end joins two lines. It must end at the end of a line. Then
/// no text of an entry can pass for one, whatever a client put there: from inside a text to the end of
/// its line there is an odd number of quotation marks, those that are escaped apart, and a record has an
/// even number. That is also why this takes linear time: reading a record stops where its texts end,
/// and the sum is computed only if that is the end of the line.
fn find_later(region: &[u8], least: u64) -> Option<(usize, Place)> {
    let mut start = 0;
    for segment in region.split_inclusive(|byte| *byte == b'\n') {
        if let Some(line) = segment.strip_suffix(b"\n") {
            // A record lies within the valid text at the end of the line.
            let text = line.utf8_chunks().last().filter(|chunk| chunk.invalid().is_empty());
            let text = text.map_or("", |chunk| chunk.valid());
            if let Some((at, place)) = find_in_line(text, least) {
                return Some((start + line.len() - text.len() + at, place));
            }
        }
        start += segment.len();
    }
    None
}

fn find_in_line(text: &str, least: u64) -> Option<(usize, Place)> {
    for space in text.bytes().enumerate().filter(|(_, byte)| *byte == b' ').map(|(at, _)| at) {
        let Some(at) = space.checked_sub(8) else { continue };
        let Some((sum, summed)) = split_sum(&text.as_bytes()[at..]) else { continue };
        let Some((place, record)) = split_place(&text[space + 1..]) else { continue };
        if place.batch >= least && read_line(record).is_ok() && crc32(0, summed) == sum {
            return Some((at, place));
        }
    }
    None
}
