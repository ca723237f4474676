//! Stands in for `crate::snapshot` until that is there.

use std::fmt::Write as _;
use std::io;

use crate::raft::types::{Command, Disk, Entry, EntryId, NodeId, SnapshotMeta};
use crate::store::Store;
use crate::text::checksum::crc32;
use crate::text::{Tokens, hex, quote};
use crate::wire::entry::id_or_zero;

pub fn write(store: &Store, last: EntryId, sum: u32, out: &mut impl io::Write) -> io::Result<SnapshotMeta> {
    let mut text = format!("snapshot through={last} sum={sum:08x}\n");
    let page = store.strings_from(1, usize::MAX, usize::MAX);
    for (id, string) in &page.strings {
        let _ = writeln!(text, "string {id} {}", quote(string));
    }
    let _ = writeln!(text, "end lines={} crc={:08x}", page.strings.len() + 2, crc32(0, text.as_bytes()));
    out.write_all(text.as_bytes())?;
    Ok(SnapshotMeta { last, sum, bytes: text.len() as u64, crc: crc32(0, text.as_bytes()) })
}

pub fn read(input: &mut impl io::BufRead) -> Result<(SnapshotMeta, Store), String> {
    let mut text = String::new();
    input.read_to_string(&mut text).map_err(|error| error.to_string())?;
    let at = text.find("end lines=").ok_or("no end")?;
    let end = format!("end lines={} crc={:08x}\n", text.lines().count(), crc32(0, &text.as_bytes()[..at]));
    if text[at..] != end {
        return Err("the end does not match".to_owned());
    }
    let mut store = Store::new();
    let mut tokens = Tokens::new(text.lines().next().unwrap_or(""));
    let mut first = || -> Option<(EntryId, u32)> {
        tokens.literal("snapshot").ok()?;
        let last = id_or_zero(tokens.field("through=").ok()?)?;
        Some((last, hex(tokens.field("sum=").ok()?, 8)? as u32))
    };
    let (last, sum) = first().ok_or("the first line")?;
    for line in text.lines().filter_map(|line| line.strip_prefix("string ")) {
        let mut tokens = Tokens::new(line);
        let id = id_or_zero(tokens.word("id").map_err(|error| error.0)?).ok_or("id")?;
        let string = tokens.string("text").map_err(|error| error.0)?;
        fill(&mut store, id.index - 1);
        store.apply(&Entry { id, command: Command::Append { session: None, text: string.into() } });
    }
    fill(&mut store, last.index);
    Ok((SnapshotMeta { last, sum, bytes: text.len() as u64, crc: crc32(0, text.as_bytes()) }, store))
}

fn fill(store: &mut Store, through: u64) {
    while store.last_applied() < through {
        store.apply(&Entry { id: EntryId::new(store.last_applied() + 1, 1), command: Command::Noop });
    }
}

pub fn readmitted(_: &Store) -> Vec<(NodeId, Disk)> {
    Vec::new()
}
