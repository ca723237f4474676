//! The text of a snapshot (§7): a whole store in lines, the same in a file and on the wire.
//!
//! ```text
//! snapshot 1 last=12@4 sum=94216f9c evicted=0 readmitted=1 strings=3 keys=2 sessions=1
//! readmitted node_3 disk=9f3a01c2d4e5f607 since=11@4
//! string 2@1 "SET 5"
//! string 3@1 "SET 6"
//! string 8@3 "SET 7"
//! key "a" changed=7@3 values=2
//! value "cat"
//! value "dog"
//! key "b" changed=9@3 values=0
//! session 1-00c0ffee00c0ffee last=2 used=12 2@1 7@3
//! end lines=11 crc=18a6f920
//! ```
//!
//! The first line says which entries are in it (everything through `last`, whose log has the running
//! checksum `sum`), which sessions are forgotten (those not used after `evicted`), and how many items
//! of each kind follow. They follow in this order, each kind in the order of its names. `changed` is the
//! entry that changed the list last, `used` the index of the last that named the session. A session has
//! the answers to its last numbers, `last` at the end: the entry that brought what was asked for, or
//! `full=7@3`, which was refused because the list was full. The last line counts all lines, itself
//! included, and its `crc` is the CRC-32 of all before it.
//!
//! There is one way to write a store, so snapshots of the same `last` are the same bytes on all nodes.
//! [`read`] believes nothing: a byte more, less or other than [`write()`] wrote is found. Both work line
//! by line and hold the store and one line, never the text.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::io::{self, BufRead, Read, Write};
use std::sync::Arc;

use crate::raft::types::{ClientId, Disk, EntryId, MAX_KEY_BYTES, MAX_TEXT_BYTES, NodeId, SnapshotMeta};
use crate::store::{Restore, SESSION_ANSWERS, SessionState, Store};
use crate::text::checksum::crc32;
use crate::text::{TextError, Tokens, hex, push_hex, push_number, push_quoted};
use crate::wire::MAX_LINE_BYTES;
use crate::wire::entry::{
    client_id, disk_field, id_field, push_client_id, push_disk, push_id, read_key, read_node_id, real_id,
};

/// The version of the format, the second word of the first line.
const VERSION: &str = "1";
/// So many bytes are written at once, or a little more.
const WRITE_BYTES: usize = 64 * 1024;

// The longest escape makes six bytes of one; an answer is ` full=` and two numbers of 16 digits.
const _: () = assert!(6 * (MAX_TEXT_BYTES + MAX_KEY_BYTES) + 256 <= MAX_LINE_BYTES);
const _: () = assert!(SESSION_ANSWERS * 39 + 256 <= MAX_LINE_BYTES);

/// Why a text is no snapshot.
#[derive(Debug)]
pub enum SnapshotError {
    /// It could not be read at all.
    Io(io::Error),
    /// What is wrong, and in which line, counted from 1.
    Wrong { line: u64, why: String },
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::Io(error) => write!(f, "{error}"),
            SnapshotError::Wrong { line, why } => write!(f, "line {line} of the snapshot: {why}"),
        }
    }
}

impl std::error::Error for SnapshotError {}

/// Writes the store, which has applied everything through `last`; `sum` is the running checksum of the log
/// through there. Nothing is synced.
pub fn write(store: &Store, last: EntryId, sum: u32, out: &mut impl Write) -> io::Result<SnapshotMeta> {
    assert_eq!(store.last_applied(), last.index, "the store is not the one through {last}");
    let mut writer = Writer { out, line: String::new(), lines: 0, bytes: 0, crc: 0 };
    let line = &mut writer.line;
    line.push_str("snapshot ");
    line.push_str(VERSION);
    line.push_str(" last=");
    push_id(line, last);
    line.push_str(" sum=");
    push_hex(line, u64::from(sum), 8);
    push_field(line, " evicted=", store.evicted_through());
    push_field(line, " readmitted=", store.readmitted().len() as u64);
    push_field(line, " strings=", store.strings().len() as u64);
    push_field(line, " keys=", store.lists().len() as u64);
    push_field(line, " sessions=", store.session_states().len() as u64);
    writer.end_line()?;

    for (node, disk) in store.readmitted() {
        writer.line.push_str("readmitted");
        push_field(&mut writer.line, " node_", node.0);
        push_disk(&mut writer.line, disk.id);
        writer.line.push_str(" since=");
        push_id(&mut writer.line, disk.since);
        writer.end_line()?;
    }
    for (id, text) in store.strings() {
        writer.line.push_str("string ");
        push_id(&mut writer.line, *id);
        writer.line.push(' ');
        push_quoted(&mut writer.line, text);
        writer.end_line()?;
    }
    for (key, list) in store.lists() {
        writer.line.push_str("key ");
        push_quoted(&mut writer.line, key);
        writer.line.push_str(" changed=");
        push_id(&mut writer.line, list.changed());
        push_field(&mut writer.line, " values=", list.values().len() as u64);
        writer.end_line()?;
        for value in list.values() {
            writer.line.push_str("value ");
            push_quoted(&mut writer.line, value);
            writer.end_line()?;
        }
    }
    for (client, state) in store.session_states() {
        writer.line.push_str("session ");
        push_client_id(&mut writer.line, *client);
        push_field(&mut writer.line, " last=", state.last_seq);
        push_field(&mut writer.line, " used=", state.last_used);
        for id in &state.answers {
            writer.line.push_str(if state.full.contains(&id.index) { " full=" } else { " " });
            push_id(&mut writer.line, *id);
        }
        writer.end_line()?;
    }
    let (bytes, crc) = writer.end()?;
    Ok(SnapshotMeta { last, sum, bytes, crc })
}

fn push_field(out: &mut String, name: &str, number: u64) {
    out.push_str(name);
    push_number(out, number);
}

struct Writer<'a, W> {
    out: &'a mut W,
    /// What has not been written yet: whole lines, and the beginning of one.
    line: String,
    lines: u64,
    /// Length and CRC-32 of what has been written.
    bytes: u64,
    crc: u32,
}

impl<W: Write> Writer<'_, W> {
    fn end_line(&mut self) -> io::Result<()> {
        self.line.push('\n');
        self.lines += 1;
        if self.line.len() < WRITE_BYTES { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(self.line.as_bytes())?;
        self.bytes += self.line.len() as u64;
        self.crc = crc32(self.crc, self.line.as_bytes());
        self.line.clear();
        Ok(())
    }

    /// Writes the last line; length and CRC-32 of the whole text.
    fn end(mut self) -> io::Result<(u64, u32)> {
        self.flush()?;
        push_field(&mut self.line, "end lines=", self.lines + 1);
        self.line.push_str(" crc=");
        push_hex(&mut self.line, u64::from(self.crc), 8);
        self.end_line()?;
        self.flush()?;
        self.out.flush()?;
        Ok((self.bytes, self.crc))
    }
}

/// Reads what [`write()`] wrote, to the end of the input, and nothing else.
pub fn read(input: &mut impl BufRead) -> Result<(SnapshotMeta, Store), SnapshotError> {
    let mut reader = Reader { input, line: Vec::new(), lines: 0, bytes: 0, crc: 0, crc_before: 0 };
    let header = reader.item(read_header)?;
    let mut restore = reader.checked(Restore::new(header.last, header.evicted))?;
    for _ in 0..header.readmitted {
        let (node, disk) = reader.item(read_readmitted)?;
        reader.checked(restore.readmitted(node, disk))?;
    }
    for _ in 0..header.strings {
        let (id, text) = reader.item(read_string)?;
        reader.checked(restore.string(id, text))?;
    }
    for _ in 0..header.keys {
        let (key, changed, values) = reader.item(read_list)?;
        reader.checked(restore.key(key, changed))?;
        for _ in 0..values {
            let value = reader.item(|tokens| {
                tokens.literal("value")?;
                read_text(tokens)
            })?;
            reader.checked(restore.value(value))?;
        }
    }
    for _ in 0..header.sessions {
        let (client, state) = reader.item(read_session)?;
        reader.checked(restore.session(client, state))?;
    }
    let store = reader.checked(restore.finish())?;
    let (lines, crc) = reader.item(|tokens| {
        tokens.literal("end")?;
        Ok((tokens.number_field("lines=")?, crc_field(tokens, "crc=")?))
    })?;
    if (lines, crc) != (reader.lines, reader.crc_before) {
        let (counted, sum) = (reader.lines, reader.crc_before);
        return reader.checked(Err(format!("it is the line {counted}, and the CRC-32 of all before it is {sum:08x}")));
    }
    reader.nothing_left()?;
    let Header { last, sum, .. } = header;
    Ok((SnapshotMeta { last, sum, bytes: reader.bytes, crc: reader.crc }, store))
}

struct Reader<'a, R> {
    input: &'a mut R,
    line: Vec<u8>,
    lines: u64,
    /// Length and CRC-32 of what has been read.
    bytes: u64,
    crc: u32,
    /// The CRC-32 of all before the last line.
    crc_before: u32,
}

impl<R: BufRead> Reader<'_, R> {
    /// Reads one line, of one item.
    fn item<T>(&mut self, read: impl FnOnce(&mut Tokens) -> Result<T, TextError>) -> Result<T, SnapshotError> {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        self.lines += 1;
        let read_bytes = self.input.by_ref().take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut line);
        self.bytes += read_bytes.map_err(SnapshotError::Io)? as u64;
        (self.crc_before, self.crc) = (self.crc, crc32(self.crc, &line));
        let item = match line.strip_suffix(b"\n") {
            None if line.len() >= MAX_LINE_BYTES => Err(format!("it is longer than {MAX_LINE_BYTES} bytes")),
            None => Err("it is cut off".to_owned()),
            Some(text) => match str::from_utf8(text) {
                Err(error) => Err(format!("byte {} is not UTF-8", error.valid_up_to())),
                Ok(text) => {
                    let mut tokens = Tokens::new(text);
                    let item = read(&mut tokens).and_then(|item| tokens.end().map(|()| item));
                    item.map_err(|error| error.0)
                }
            },
        };
        self.line = line;
        self.checked(item)
    }

    /// Says where it is, if it is wrong.
    fn checked<T>(&self, result: Result<T, String>) -> Result<T, SnapshotError> {
        result.map_err(|why| SnapshotError::Wrong { line: self.lines, why })
    }

    fn nothing_left(&mut self) -> Result<(), SnapshotError> {
        if self.input.fill_buf().map_err(SnapshotError::Io)?.is_empty() {
            return Ok(());
        }
        Err(SnapshotError::Wrong { line: self.lines + 1, why: "something follows the last line".to_owned() })
    }
}

/// What the first line says: how many of each follow.
struct Header {
    last: EntryId,
    sum: u32,
    evicted: u64,
    readmitted: u64,
    strings: u64,
    keys: u64,
    sessions: u64,
}

fn read_header(tokens: &mut Tokens) -> Result<Header, TextError> {
    tokens.literal("snapshot")?;
    tokens.literal(VERSION)?;
    Ok(Header {
        last: id_field(tokens, "last=")?,
        sum: crc_field(tokens, "sum=")?,
        evicted: tokens.number_field("evicted=")?,
        readmitted: tokens.number_field("readmitted=")?,
        strings: tokens.number_field("strings=")?,
        keys: tokens.number_field("keys=")?,
        sessions: tokens.number_field("sessions=")?,
    })
}

fn crc_field(tokens: &mut Tokens, name: &str) -> Result<u32, TextError> {
    let word = tokens.field(name)?;
    let crc = hex(word, 8).and_then(|crc| u32::try_from(crc).ok());
    crc.ok_or_else(|| tokens.expected(name, "8 hexadecimal digits", word))
}

fn read_readmitted(tokens: &mut Tokens) -> Result<(NodeId, Disk), TextError> {
    tokens.literal("readmitted")?;
    let node = read_node_id(tokens, "the node")?;
    Ok((node, Disk { id: disk_field(tokens)?, since: id_field(tokens, "since=")? }))
}

fn read_string(tokens: &mut Tokens) -> Result<(EntryId, Arc<str>), TextError> {
    tokens.literal("string")?;
    let word = tokens.word("an entry like 2@1")?;
    let id = real_id(word).ok_or_else(|| tokens.expected("string", "INDEX@TERM, both at least 1", word))?;
    Ok((id, read_text(tokens)?))
}

fn read_text(tokens: &mut Tokens) -> Result<Arc<str>, TextError> {
    let text = tokens.string("the string")?;
    if text.len() > MAX_TEXT_BYTES {
        let bytes = text.len();
        return Err(tokens.error(format_args!("the string has {bytes} bytes, at most {MAX_TEXT_BYTES} are allowed")));
    }
    Ok(Arc::from(&*text))
}

fn read_list(tokens: &mut Tokens) -> Result<(Arc<str>, EntryId, u64), TextError> {
    tokens.literal("key")?;
    Ok((read_key(tokens)?, id_field(tokens, "changed=")?, tokens.number_field("values=")?))
}

fn read_session(tokens: &mut Tokens) -> Result<(ClientId, SessionState), TextError> {
    tokens.literal("session")?;
    let word = tokens.word("a session")?;
    let client = client_id(word).ok_or_else(|| tokens.expected("the session", "17-9f3a01c2d4e5f607", word))?;
    let (last_seq, last_used) = (tokens.number_field("last=")?, tokens.number_field("used=")?);
    let (mut answers, mut full) = (VecDeque::new(), BTreeSet::new());
    while !tokens.is_empty() {
        let word = tokens.word("an answer")?;
        let id = real_id(word.strip_prefix("full=").unwrap_or(word));
        let id = id.ok_or_else(|| tokens.expected("an answer", "INDEX@TERM or full=INDEX@TERM", word))?;
        if word.starts_with("full=") {
            full.insert(id.index);
        }
        answers.push_back(id);
    }
    Ok((client, SessionState { last_seq, answers, full, last_used }))
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
