//! What a node has, from all the files of its directory: pure, bytes in and data out.

use super::record::Identity;
use super::wal::{self, Before, Corruption, FIRST_FILE, OPENING_BATCH, Scanned};
use crate::raft::types::{EntryId, Persistent, SnapshotMeta};

/// What the files of a node say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Whose directory it is; none if nothing was ever synced: a new disk.
    pub identity: Option<Identity>,
    pub persistent: Persistent,
    /// The number of the snapshot with which it begins.
    pub snapshot: Option<u64>,
    /// The number of the log file to which the next batch goes.
    pub active: u64,
    /// The last batch of that file that is whole, 0 on a new disk.
    pub last_batch: u64,
    /// Where the write of that batch began, in bytes.
    pub last_batch_at: usize,
    /// How many bytes of that file count; the rest is to be cut off.
    pub valid_len: usize,
    /// What a crash has left unfinished, in words that begin with the file's name.
    pub torn: Option<String>,
    /// The numbers of the log files that go: those that the snapshot covers, and one that was never
    /// finished. They must be gone for good before anything is written.
    pub discard: Vec<u64>,
}

/// Reads a node's directory: its snapshots by number, and its log files with their bytes, in any order.
///
/// The log is the snapshot with the highest number, if there is one, and all log files from that number
/// on. Only the last of them may end in an unfinished write. If that is its opening, or if its opening
/// stands on a snapshot that was never put in place, the whole file was never finished: it goes, and
/// the one before it is the last.
pub fn recover(snapshots: &[(u64, SnapshotMeta)], logs: &[(u64, &[u8])]) -> Result<Recovered, Corruption> {
    let snapshot = snapshots.iter().copied().max_by_key(|(number, _)| *number);
    let numbers = logs.iter().map(|(number, _)| *number).collect();
    let mut recovery = Recovery::new(snapshot, numbers)?;
    for number in recovery.files() {
        let bytes = logs.iter().find(|(found, _)| *found == number).map_or(&[][..], |(_, bytes)| bytes);
        recovery.read(number, bytes)?;
    }
    Ok(recovery.finish())
}

/// [`recover`] file by file, so that no more than one needs to be in memory.
pub(super) struct Recovery {
    snapshot: Option<(u64, SnapshotMeta)>,
    first: u64,
    last: u64,
    found: Recovered,
}

impl Recovery {
    /// With the snapshot of the highest number, and the numbers of all log files.
    pub(super) fn new(snapshot: Option<(u64, SnapshotMeta)>, mut numbers: Vec<u64>) -> Result<Recovery, Corruption> {
        numbers.sort_unstable();
        let first = snapshot.map_or(FIRST_FILE, |(number, _)| number);
        let (discard, numbers): (Vec<u64>, Vec<u64>) = numbers.into_iter().partition(|number| *number < first);
        for (number, due) in numbers.iter().zip(first..) {
            if *number != due {
                return Err(wrong(due, format!("the file is missing, though wal.{number} is there")));
            }
        }
        let last = match (numbers.last(), snapshot) {
            (Some(last), _) => *last,
            (None, None) => FIRST_FILE,
            (None, Some(_)) => {
                return Err(wrong(first, format!("the file is missing, though snapshot.{first} is there")));
            }
        };
        let found = Recovered { snapshot: snapshot.map(|(number, _)| number), discard, ..Recovered::default() };
        Ok(Recovery { snapshot, first, last, found })
    }

    /// The files to be read, in this order.
    pub(super) fn files(&self) -> std::ops::RangeInclusive<u64> {
        self.first..=self.last
    }

    /// Reads the next file. Returns the base with which it opens, if it counts.
    pub(super) fn read(&mut self, number: u64, bytes: &[u8]) -> Result<Option<(EntryId, u32)>, Corruption> {
        let before = match self.snapshot {
            Some((snapshot, meta)) if snapshot == number => Before::Snapshot(meta),
            None if number == FIRST_FILE => Before::Nothing,
            _ => Before::Files(std::mem::take(&mut self.found.persistent)),
        };
        let Scanned { identity, persistent, last_batch, last_batch_at, valid_len, torn, base, unfounded } =
            wal::scan_file(number, bytes, before)?;
        self.found.persistent = persistent;
        let unfinished = unfounded || (number > FIRST_FILE && last_batch < OPENING_BATCH);
        if number < self.last && (unfinished || torn.is_some() || last_batch == 0) {
            let why = torn.unwrap_or_else(|| wrong(number, "its beginning is missing".to_owned()));
            let what = format!("{}; it was synced once, for wal.{} was begun after it", why.what, number + 1);
            return Err(Corruption { what, ..why });
        }
        if unfinished && number == self.first {
            let why = torn.unwrap_or_else(|| wrong(number, "its beginning is missing".to_owned()));
            let what = format!("{}; it was synced once, before snapshot.{number} was put in place", why.what);
            return Err(Corruption { what, ..why });
        }
        if let (Some(ours), Some(found)) = (self.found.identity, identity)
            && ours != found
        {
            let what = format!("it is of {found}, but the file before it is of {ours}");
            return Err(wrong(number, what));
        }
        if unfinished {
            let why = match torn {
                Some(torn) => torn.to_string(),
                None if unfounded => "its snapshot was not put in place".to_owned(),
                None => "its opening is missing".to_owned(),
            };
            self.found.torn = Some(format!("wal.{number}: it was never finished ({why}): thrown away"));
            self.found.discard.push(number);
            return Ok(None);
        }
        self.found.identity = identity;
        self.found.active = number;
        self.found.last_batch = last_batch;
        self.found.last_batch_at = last_batch_at;
        self.found.valid_len = valid_len;
        self.found.torn = torn.map(|torn| {
            let (batch, cut) = (last_batch + 1, bytes.len() - valid_len);
            format!("wal.{number}: batch {batch} was never finished ({torn}): cut off the last {cut} bytes")
        });
        Ok(base)
    }

    /// What the files that were read say so far.
    pub(super) fn persistent(&mut self) -> &mut Persistent {
        &mut self.found.persistent
    }

    pub(super) fn finish(self) -> Recovered {
        self.found
    }
}

/// Something is wrong with a file as a whole.
fn wrong(file: u64, what: String) -> Corruption {
    Corruption { file, line: 1, offset: 0, what }
}
