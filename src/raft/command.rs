//! What a command brings, in words and in numbers.

use super::types::{Command, KeyWrite, WriteKind};
use crate::text::{push_quoted, quoted_len};

/// What an entry takes on the wire besides its strings, at the most: two numbers, a session, words.
const OVERHEAD_BYTES: usize = 112;

impl WriteKind {
    /// The word on the wire, on disk and in the log.
    pub fn name(self) -> &'static str {
        match self {
            WriteKind::Put => "put",
            WriteKind::Append => "append-to",
        }
    }
}

impl KeyWrite {
    /// Appends the key and the strings, each quoted, with spaces between.
    pub fn push_strings(&self, out: &mut String) {
        push_quoted(out, &self.key);
        for value in &self.values {
            out.push(' ');
            push_quoted(out, value);
        }
    }

    /// Bytes of key and strings.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.values.iter().map(|value| value.len()).sum::<usize>()
    }
}

impl Command {
    /// Bytes of text that the command brings.
    pub fn bytes(&self) -> usize {
        match self {
            Command::Noop | Command::Readmit { .. } => 0,
            Command::Append { text, .. } => text.len(),
            Command::Write { write, .. } => write.bytes(),
        }
    }

    /// What its entry takes on the wire, at the most.
    pub fn wire_bytes(&self) -> usize {
        let strings = match self {
            Command::Noop | Command::Readmit { .. } => 0,
            Command::Append { text, .. } => quoted_len(text),
            Command::Write { write, .. } => {
                quoted_len(&write.key) + write.values.iter().map(|value| 1 + quoted_len(value)).sum::<usize>()
            }
        };
        OVERHEAD_BYTES + strings
    }

    /// A command that is neither a no-op nor a plain string in words, without its session:
    /// `put "a" "cat" "dog"`, `append-to "a" "mouse"`, `readmit node_3 disk=9f3a01c2d4e5f607`.
    pub fn words(&self) -> String {
        match self {
            Command::Noop => "no-op".to_owned(),
            Command::Append { text, .. } => crate::text::quote(text),
            Command::Write { write, .. } => {
                let mut words = format!("{} ", write.kind.name());
                write.push_strings(&mut words);
                words
            }
            Command::Readmit { node, disk } => format!("readmit {node} disk={disk}"),
        }
    }
}
