//! Floor 0: how things are written as text and read back; checksums; chance.
//!
//! Everything the lab writes (wire, disk, log lines) is text in lines, and every text is strict and
//! symmetric: `decode(encode(x)) == x`, and a line that decodes is exactly the line that encoding its
//! meaning gives. So there is one way to write each thing, and a checksum over the text is a
//! checksum over the meaning.

pub mod checksum;
mod quote;
pub mod random;
mod token;

pub use quote::{plain, push_plain, push_quoted, quote, quoted_len, shorten, unplain, unquote};
pub use token::{MAX_NUMBER, Tokens, hex, number, push_hex, push_number};

use std::fmt;

/// Why a text could not be read: which part, what was expected there, and what was found. One line,
/// fit to be sent back to whoever wrote the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError(pub String);

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TextError {}
