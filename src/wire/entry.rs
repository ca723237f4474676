//! The text of an entry, the same on the wire and on disk:
//!
//! ```text
//! 3@1 no-op
//! 2@1 append "SET 5"
//! 2@1 append 17-9f3a01c2d4e5f607 5 "SET 5"     (request 5 of a session)
//! 4@1 put "a" "cat" "dog"                      (with a session as above)
//! 5@1 append-to "a" "mouse"                    (with a session as above)
//! 6@2 readmit node_3 disk=9f3a01c2d4e5f607
//! ```

use std::sync::Arc;

use crate::raft::types::{
    ClientId, Command, DiskId, Entry, EntryId, KeyWrite, LOG_KEY, MAX_CLUSTER_SIZE, MAX_KEY_BYTES, MAX_TEXT_BYTES,
    MAX_VALUES, NodeId, Session, WriteKind,
};
use crate::text::{MAX_NUMBER, TextError, Tokens, hex, number, push_hex, push_number, push_quoted};

const COMMANDS: &str = "no-op, append, put, append-to or readmit";

/// Appends the text of an entry to a line.
pub fn push_entry(out: &mut String, entry: &Entry) {
    push_id(out, entry.id);
    out.push(' ');
    push_command(out, &entry.command);
}

/// Reads an entry: [`push_entry`]'s inverse.
pub fn read_entry(tokens: &mut Tokens) -> Result<Entry, TextError> {
    let word = tokens.word("an entry like 2@1")?;
    let id = real_id(word).ok_or_else(|| tokens.expected("entry", "INDEX@TERM, both at least 1", word))?;
    Ok(Entry { id, command: read_command(tokens)? })
}

/// Appends what an entry asks for; a client's `append` request is the same text.
pub fn push_command(out: &mut String, command: &Command) {
    match command {
        Command::Noop => out.push_str("no-op"),
        Command::Append { session, text } => push_append(out, *session, text),
        Command::Write { session, write } => push_write(out, *session, write),
        Command::Readmit { node, disk } => {
            out.push_str("readmit node_");
            push_number(out, node.0);
            push_disk(out, *disk);
        }
    }
}

/// Appends `append "SET 5"` or `append 17-9f3a01c2d4e5f607 5 "SET 5"`.
pub fn push_append(out: &mut String, session: Option<Session>, text: &str) {
    out.push_str("append ");
    push_session(out, session);
    push_quoted(out, text);
}

/// Appends `put "a" "cat" "dog"` or `append-to 17-9f3a01c2d4e5f607 5 "a" "mouse"`.
pub fn push_write(out: &mut String, session: Option<Session>, write: &KeyWrite) {
    out.push_str(write.kind.name());
    out.push(' ');
    push_session(out, session);
    write.push_strings(out);
}

fn push_session(out: &mut String, session: Option<Session>) {
    if let Some(Session { client, seq }) = session {
        push_client_id(out, client);
        out.push(' ');
        push_number(out, seq);
        out.push(' ');
    }
}

/// Reads what an entry asks for: [`push_command`]'s inverse.
pub fn read_command(tokens: &mut Tokens) -> Result<Command, TextError> {
    match tokens.word(COMMANDS)? {
        "no-op" => Ok(Command::Noop),
        "append" => {
            let (session, text) = read_append(tokens)?;
            Ok(Command::Append { session, text })
        }
        "put" => read_write(tokens, WriteKind::Put).map(|(session, write)| Command::Write { session, write }),
        "append-to" => read_write(tokens, WriteKind::Append).map(|(session, write)| Command::Write { session, write }),
        "readmit" => {
            let node = read_node_id(tokens, "the node")?;
            Ok(Command::Readmit { node, disk: disk_field(tokens)? })
        }
        found => Err(tokens.expected("entry", COMMANDS, found)),
    }
}

/// Reads what follows the word `append`: the session, if one is named, and the string.
pub fn read_append(tokens: &mut Tokens) -> Result<(Option<Session>, Arc<str>), TextError> {
    let session = read_session(tokens, "append")?;
    let text = tokens.string("the text")?;
    if text.len() > MAX_TEXT_BYTES {
        return Err(
            tokens.error(format_args!("the text has {} bytes, at most {MAX_TEXT_BYTES} are allowed", text.len()))
        );
    }
    Ok((session, Arc::from(&*text)))
}

/// Reads what follows the word `put` or `append-to`: the session, if one is named, the key and the
/// strings, of which there are as many as stand before the end of the line or the next word.
pub fn read_write(tokens: &mut Tokens, kind: WriteKind) -> Result<(Option<Session>, Arc<KeyWrite>), TextError> {
    let session = read_session(tokens, kind.name())?;
    let key = read_key(tokens)?;
    if kind == WriteKind::Put && &*key == LOG_KEY {
        return Err(tokens.error(format_args!(
            "the list of {LOG_KEY:?} is the lab's log, which only grows: append to it, or take another key"
        )));
    }
    let mut values: Vec<Arc<str>> = Vec::new();
    while tokens.peek().starts_with('"') {
        values.push(Arc::from(&*tokens.string("a string")?));
        if values.len() > MAX_VALUES {
            return Err(tokens.error(format_args!("more than {MAX_VALUES} strings at once")));
        }
    }
    if kind == WriteKind::Append && values.is_empty() {
        return Err(tokens.expected("the strings", "at least one, quoted", tokens.peek()));
    }
    let write = KeyWrite { kind, key, values };
    if write.bytes() > MAX_TEXT_BYTES {
        let bytes = write.bytes();
        return Err(tokens
            .error(format_args!("key and strings have {bytes} bytes together, at most {MAX_TEXT_BYTES} are allowed")));
    }
    Ok((session, Arc::new(write)))
}

/// Takes a quoted key.
pub fn read_key(tokens: &mut Tokens) -> Result<Arc<str>, TextError> {
    let key = tokens.string("the key")?;
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(tokens.error(format_args!("a key has 1 to {MAX_KEY_BYTES} bytes, this one {}", key.len())));
    }
    Ok(Arc::from(&*key))
}

fn read_session(tokens: &mut Tokens, command: &str) -> Result<Option<Session>, TextError> {
    let word = tokens.peek();
    if word.starts_with('"') || word.is_empty() {
        return Ok(None);
    }
    let word = tokens.word("a session")?;
    let client = client_id(word)
        .ok_or_else(|| tokens.expected(command, "a quoted string, or a session like 17-9f3a01c2d4e5f607", word))?;
    let seq = tokens.number("the number of the request")?;
    if seq == 0 {
        return Err(tokens.expected("the number of the request", "at least 1", "0"));
    }
    Ok(Some(Session { client, seq }))
}

/// Appends `index@term`.
pub fn push_id(out: &mut String, id: EntryId) {
    push_number(out, id.index);
    out.push('@');
    push_number(out, id.term);
}

/// `index@term`, any two numbers.
pub fn any_id(text: &str) -> Option<EntryId> {
    let (index, term) = text.split_once('@')?;
    Some(EntryId { term: number(term)?, index: number(index)? })
}

/// The id of an entry: index and term are at least 1.
pub fn real_id(text: &str) -> Option<EntryId> {
    any_id(text).filter(|id| id.index > 0 && id.term > 0)
}

/// The id of an entry, or `0@0`, the place before the first.
pub fn id_or_zero(text: &str) -> Option<EntryId> {
    any_id(text).filter(|id| (id.index == 0) == (id.term == 0))
}

/// Takes `name=index@term`, an entry or `0@0`.
pub fn id_field(tokens: &mut Tokens, name: &str) -> Result<EntryId, TextError> {
    let value = tokens.field(name)?;
    id_or_zero(value)
        .ok_or_else(|| tokens.expected(name, format_args!("INDEX@TERM or 0@0, numbers up to {MAX_NUMBER}"), value))
}

/// Appends `born-nonce`.
pub fn push_client_id(out: &mut String, client: ClientId) {
    push_number(out, client.born);
    out.push('-');
    push_hex(out, client.nonce, 16);
}

/// `born-nonce`.
pub fn client_id(text: &str) -> Option<ClientId> {
    let (born, nonce) = text.split_once('-')?;
    Some(ClientId { born: number(born)?, nonce: hex(nonce, 16)? })
}

/// `node_1`, up to the largest cluster.
pub fn node_id(text: &str) -> Option<NodeId> {
    let id = number(text.strip_prefix("node_")?)?;
    (1..=MAX_CLUSTER_SIZE).contains(&id).then_some(NodeId(id))
}

/// Takes a word like `node_1`.
pub fn read_node_id(tokens: &mut Tokens, name: &str) -> Result<NodeId, TextError> {
    let word = tokens.word(name)?;
    node_id(word).ok_or_else(|| tokens.expected(name, format_args!("node_1 … node_{MAX_CLUSTER_SIZE}"), word))
}

/// Appends ` disk=` and the disk's 16 digits.
pub fn push_disk(out: &mut String, disk: DiskId) {
    out.push_str(" disk=");
    push_hex(out, disk.0, 16);
}

/// Takes `disk=` and 16 hexadecimal digits.
pub fn disk_field(tokens: &mut Tokens) -> Result<DiskId, TextError> {
    let value = tokens.field("disk=")?;
    hex(value, 16).map(DiskId).ok_or_else(|| tokens.expected("disk=", "16 hexadecimal digits", value))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::text::random::Random;

    /// A number of any size up to the limit, at least `least`.
    pub fn any_number(random: &mut Random, least: u64) -> u64 {
        (random.next_u64() >> (11 + random.below(53))).max(least)
    }

    pub fn any_text(random: &mut Random) -> Arc<str> {
        let chars = ['a', ' ', '"', '\\', '\n', '\0', 'é', '…', '\u{202e}', '😀', '=', '@'];
        (0..random.below(10)).map(|_| chars[random.below(12) as usize]).collect::<String>().into()
    }

    pub fn any_session(random: &mut Random) -> Option<Session> {
        let client = ClientId { born: any_number(random, 0), nonce: random.next_u64() };
        random.one_in(2).then(|| Session { client, seq: any_number(random, 1) })
    }

    pub fn any_key(random: &mut Random) -> Arc<str> {
        format!("k{}", any_text(random)).into()
    }

    pub fn any_write(random: &mut Random) -> Arc<KeyWrite> {
        let kind = if random.one_in(2) { WriteKind::Put } else { WriteKind::Append };
        let least = u64::from(kind == WriteKind::Append);
        let values = (0..least + random.below(4)).map(|_| any_text(random)).collect();
        Arc::new(KeyWrite { kind, key: any_key(random), values })
    }

    pub fn any_command(random: &mut Random) -> Command {
        match random.below(8) {
            0 => Command::Noop,
            1 => Command::Readmit { node: NodeId(1 + random.below(9)), disk: DiskId(random.next_u64()) },
            2..4 => Command::Write { session: any_session(random), write: any_write(random) },
            _ => Command::Append { session: any_session(random), text: any_text(random) },
        }
    }

    /// Changes some bytes; `None` if it is not UTF-8 any more.
    pub fn mutate(random: &mut Random, line: &str) -> Option<String> {
        let mut bytes = line.as_bytes().to_vec();
        for _ in 0..=random.below(2) {
            let at = random.below(bytes.len() as u64 + 1) as usize;
            let byte = match random.below(3) {
                0 => random.next_u64() as u8,
                1 => b" =@\"\\0159-+_ou.:,"[random.below(16) as usize],
                _ => bytes.get(random.below(bytes.len() as u64) as usize).copied().unwrap_or(b' '),
            };
            match random.below(4) {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => _ = bytes.remove(at),
                2 => bytes.truncate(at),
                _ if at < bytes.len() => bytes[at] = byte,
                _ => {}
            }
        }
        String::from_utf8(bytes).ok()
    }

    fn read(line: &str) -> Result<Entry, TextError> {
        let mut tokens = Tokens::new(line);
        let entry = read_entry(&mut tokens)?;
        tokens.end().map(|()| entry)
    }

    fn written(entry: &Entry) -> String {
        let mut out = String::new();
        push_entry(&mut out, entry);
        out
    }

    fn change(session: Option<Session>, kind: WriteKind, key: &str, values: &[&str]) -> Command {
        let values = values.iter().map(|value| Arc::from(*value)).collect();
        Command::Write { session, write: Arc::new(KeyWrite { kind, key: key.into(), values }) }
    }

    #[test]
    fn known_entries() {
        let session = Some(Session { client: ClientId { born: 17, nonce: 0x9f3a_01c2_d4e5_f607 }, seq: 5 });
        let text: Arc<str> = "SET 5".into();
        for (line, index, command) in [
            ("3@1 no-op", 3, Command::Noop),
            ("2@1 append \"SET 5\"", 2, Command::Append { session: None, text: text.clone() }),
            ("2@1 append 17-9f3a01c2d4e5f607 5 \"SET 5\"", 2, Command::Append { session, text }),
            ("4@1 put \"a\"", 4, change(None, WriteKind::Put, "a", &[])),
            ("4@1 put \"a\" \"cat\" \"\"", 4, change(None, WriteKind::Put, "a", &["cat", ""])),
            ("4@1 put 17-9f3a01c2d4e5f607 5 \"a b\"", 4, change(session, WriteKind::Put, "a b", &[])),
            ("5@1 append-to \"log\" \"put\"", 5, change(None, WriteKind::Append, "log", &["put"])),
            (
                "5@1 append-to 17-9f3a01c2d4e5f607 5 \"a\" \"x\" \"y\"",
                5,
                change(session, WriteKind::Append, "a", &["x", "y"]),
            ),
            ("6@1 readmit node_3 disk=000000000000000a", 6, Command::Readmit { node: NodeId(3), disk: DiskId(10) }),
        ] {
            let entry = Entry { id: EntryId::new(index, 1), command };
            assert_eq!(written(&entry), line);
            assert_eq!(read(line), Ok(entry));
        }
    }

    #[test]
    fn any_entry_comes_back_and_what_reads_is_written_so() {
        let mut random = Random::from_seed(3);
        for _ in 0..20_000 {
            let id = EntryId::new(any_number(&mut random, 1), any_number(&mut random, 1));
            let entry = Entry { id, command: any_command(&mut random) };
            let line = written(&entry);
            assert_eq!(read(&line), Ok(entry));
            if let Some(line) = mutate(&mut random, &line)
                && let Ok(entry) = read(&line)
            {
                assert_eq!(written(&entry), line);
            }
        }
    }

    #[test]
    fn bad_entries_are_refused() {
        for bad in [
            "",
            "3",
            "3@",
            "@1",
            "3@1",
            "3@1 ",
            "0@1 no-op",
            "1@0 no-op",
            "0@0 no-op",
            "01@1 no-op",
            "+1@1 no-op",
            "-1@1 no-op",
            "1e9@1 no-op",
            "18446744073709551616@1 no-op",
            "1@18446744073709551615 no-op",
            "9007199254740992@1 no-op",
            "3@1 no-op x",
            "3@1  no-op",
            "3@1 nope",
            "3@1 append",
            "3@1 append x",
            "3@1 append \"x",
            "3@1 append \"x\"y",
            "3@1 append \"x\" y",
            "3@1 append \"\u{1}\"",
            "3@1 append 17-9f3a01c2d4e5f607 \"x\"",
            "3@1 append 17-9f3a01c2d4e5f607 0 \"x\"",
            "3@1 append 17-9f3a01c2d4e5f607 05 \"x\"",
            "3@1 append 17-9F3A01C2D4E5F607 5 \"x\"",
            "3@1 append 17-9f3a 5 \"x\"",
            "3@1 append 17-9f3a01c2d4e5f607 5",
            "3@1 append 5 \"x\"",
            "3@1 append \"x\" 5",
            "3@1 put",
            "3@1 put ",
            "3@1 put a",
            "3@1 put \"\" \"x\"",
            "3@1 put \"log\" \"x\"",
            "3@1 put \"log\"",
            "3@1 put \"a\" x",
            "3@1 put \"a\"  \"x\"",
            "3@1 put \"a\"\"x\"",
            "3@1 put \"a\" \"x",
            "3@1 put \"a\" \"x\" ",
            "3@1 put 17-9f3a01c2d4e5f607 0 \"a\"",
            "3@1 put 17-9f3a01c2d4e5f607 \"a\"",
            "3@1 append-to \"a\"",
            "3@1 append-to \"\" \"x\"",
            "3@1 append-to 17-9f3a01c2d4e5f607 5",
            "3@1 appendto \"a\" \"x\"",
            "3@1 readmit",
            "3@1 readmit node_3",
            "3@1 readmit node_0 disk=000000000000000a",
            "3@1 readmit node_10 disk=000000000000000a",
            "3@1 readmit node_3 disk=a",
            "3@1 readmit node_3 disk=000000000000000A",
            "3@1 readmit node_3 disk=000000000000000a x",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_change_of_a_key_has_limits() {
        let entry = |kind, key: &str, values: &[&str]| Entry {
            id: EntryId::new(1, 1),
            command: change(None, kind, key, values),
        };
        let key = "k".repeat(MAX_KEY_BYTES);
        let rest = "v".repeat(MAX_TEXT_BYTES - MAX_KEY_BYTES);
        for kind in [WriteKind::Put, WriteKind::Append] {
            for good in [entry(kind, &key, &[&rest]), entry(kind, "k", &[""; MAX_VALUES])] {
                assert_eq!(read(&written(&good)), Ok(good));
            }
            for bad in [
                entry(kind, &format!("{key}k"), &["x"]),
                entry(kind, &key, &[&rest, "x"]),
                entry(kind, "k", &[""; MAX_VALUES + 1]),
            ] {
                assert!(read(&written(&bad)).is_err());
            }
        }
    }

    /// What an AppendEntries holds is measured with it: no entry may be longer on the wire than it is said to be.
    #[test]
    fn no_entry_is_longer_than_it_is_said_to_be() {
        let mut random = Random::from_seed(4);
        let client = ClientId { born: MAX_NUMBER, nonce: u64::MAX };
        let session = Some(Session { client, seq: MAX_NUMBER });
        let mut commands: Vec<Command> = (0..2000).map(|_| any_command(&mut random)).collect();
        commands.push(change(session, WriteKind::Append, "\u{7f}", &["\u{7f}"; MAX_VALUES]));
        commands.push(Command::Append { session, text: "\u{202e}".into() });
        for command in commands {
            let entry = Entry { id: EntryId::new(MAX_NUMBER, MAX_NUMBER), command };
            assert!(written(&entry).len() < entry.command.wire_bytes(), "{entry:?}");
        }
    }

    #[test]
    fn a_text_of_64_kib_is_the_longest() {
        let entry = |len| Entry {
            id: EntryId::new(1, 1),
            command: Command::Append { session: None, text: "\u{7f}".repeat(len).into() },
        };
        let longest = entry(MAX_TEXT_BYTES);
        assert!(written(&longest).len() < super::super::MAX_LINE_BYTES / 2);
        assert_eq!(read(&written(&longest)), Ok(longest));
        let error = read(&written(&entry(MAX_TEXT_BYTES + 1))).map_err(|error| error.0);
        assert_eq!(error, Err("the text has 65537 bytes, at most 65536 are allowed".to_string()));
    }
}
