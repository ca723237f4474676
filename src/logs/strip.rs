//! What others have put around a node's line.

use std::borrow::Cow;

use crate::raft::event::{Event, Fact};
use crate::raft::types::{MAX_CLUSTER_SIZE, NodeId};

/// The line as the node printed it: without its end, colours, and the prefix of Compose or `client cluster`. What a
/// prefix shows to be another's (a client that watches repeats the nodes' lines) is left as it is.
pub fn strip(line: &str) -> Cow<'_, str> {
    let line = line.trim_end_matches(['\n', '\r']);
    let line = match line.contains('\x1b') {
        true => Cow::Owned(without_colors(line)),
        false => Cow::Borrowed(line),
    };
    let at = prefix(&line);
    match line {
        Cow::Borrowed(line) => Cow::Borrowed(&line[at..]),
        Cow::Owned(line) => Cow::Owned(line[at..].to_owned()),
    }
}

/// Takes out `ESC [ … letter`.
fn without_colors(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, code)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        let end = code.find(|c: char| !c.is_ascii_digit() && c != ';');
        rest = end.map_or("", |end| &code[end + code[end..].chars().next().map_or(0, char::len_utf8)..]);
    }
    plain.push_str(rest);
    plain
}

/// Where the node's own line begins: behind `node_1    | ` and behind `2026-01-31T12:00:00.123456789Z `.
fn prefix(line: &str) -> usize {
    let mut at = 0;
    if let Some((name, rest)) = line.split_once('|')
        && let Some(rest) = rest.strip_prefix(' ')
        && is_service(name.trim_end())
    {
        if !speaks_for_itself(name.trim_end(), rest) {
            return 0;
        }
        at = line.len() - rest.len();
    }
    let timestamp = line[at..].split_once(' ').filter(|(word, _)| is_timestamp(word));
    timestamp.map_or(at, |(_, rest)| line.len() - rest.len())
}

/// A name that Compose may give: `node_1`, `raft-lab_node_1_1`, `raft-lab-node_1-1`.
fn is_service(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// A node's own output: the line names the node that the prefix names.
fn speaks_for_itself(name: &str, line: &str) -> bool {
    line.split(' ').take(3).any(|word| node(word).is_some() && name.contains(word))
}

/// `2026-01-31T12:00:00.123456789Z` or with an offset.
fn is_timestamp(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() >= 20 && bytes[4] == b'-' && bytes[7] == b'-' && bytes[10] == b'T' && bytes[13] == b':'
}

/// Where a START line begins within the text, glued to what is before it.
pub fn glued_start(text: &str) -> Option<usize> {
    let topic = text.rfind(" START ")?;
    // The time stands four columns before the topic; the nearest place that reads is it.
    let at = (1..topic).rev().take(60).find(|at| {
        text.is_char_boundary(*at)
            && is_torn(&text[*at..]).is_some()
            && text[*at..].parse::<Event>().is_ok_and(|event| matches!(event.fact, Fact::Start { .. }))
    })?;
    // A line that is whole may quote another one, and so may a client's.
    let whole = text.parse::<Event>().ok().map(|event| event.fact);
    let quoted = text[..at].ends_with('"') && (whole.is_some() || is_torn(text).is_none());
    (!quoted && !matches!(whole, Some(Fact::Append { .. } | Fact::Commit { .. }))).then_some(at)
}

/// The node whose line this begins like: `12:00:00.001 node_1 t…`.
pub fn is_torn(text: &str) -> Option<NodeId> {
    let (time, rest) = text.split_once(' ')?;
    let pattern = "00:00:00.000";
    let alike = |(byte, shape): (u8, u8)| if shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
    if time.len() != pattern.len() || !time.bytes().zip(pattern.bytes()).all(alike) {
        return None;
    }
    node(rest.split(' ').next()?)
}

fn node(word: &str) -> Option<NodeId> {
    let number = word.strip_prefix("node_")?.parse().ok()?;
    (1..=MAX_CLUSTER_SIZE).contains(&number).then_some(NodeId(number))
}
