//! Reading one line, token by token. Tokens are separated by exactly one space; there is one way to
//! write each number; nothing is skipped.

use std::borrow::Cow;

use super::TextError;
use super::quote::{shorten, split_quoted};

/// The largest number in any text: 2^53 - 1, which every reader of JSON still takes exactly.
pub const MAX_NUMBER: u64 = (1 << 53) - 1;

/// A decimal number up to [`MAX_NUMBER`]: digits alone, no sign, no leading zero.
pub fn number(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    if bytes.is_empty() || bytes.len() > 16 || (bytes[0] == b'0' && bytes.len() > 1) {
        return None;
    }
    let mut number = 0;
    for byte in bytes {
        if !byte.is_ascii_digit() {
            return None;
        }
        // 16 digits cannot overflow.
        number = number * 10 + u64::from(byte - b'0');
    }
    (number <= MAX_NUMBER).then_some(number)
}

/// Appends a number in decimal. Any `u64` is written, but [`number`] reads those up to [`MAX_NUMBER`].
pub fn push_number(out: &mut String, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend(digits[start..].iter().map(|digit| char::from(*digit)));
}

/// Exactly `digits` hexadecimal digits, in lower case; at most 16.
pub fn hex(text: &str, digits: usize) -> Option<u64> {
    let strict = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if strict { u64::from_str_radix(text, 16).ok() } else { None }
}

/// Appends a number as `digits` hexadecimal digits with leading zeros.
pub fn push_hex(out: &mut String, number: u64, digits: u32) {
    for place in (0..digits).rev() {
        out.extend(char::from_digit((number >> (4 * place)) as u32 & 0xf, 16));
    }
}

/// A reader over one line. Errors begin with the name of what is being read, see [`Tokens::about`].
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    about: &'a str,
    rest: &'a str,
    /// Nothing has been read yet, so no space is due before the next token.
    fresh: bool,
}

impl<'a> Tokens<'a> {
    pub fn new(line: &'a str) -> Tokens<'a> {
        Tokens { about: "", rest: line, fresh: true }
    }

    /// Names what is being read (`append-entries`), for errors.
    pub fn about(&mut self, name: &'a str) {
        self.about = name;
    }

    /// An error about what is being read.
    pub fn error(&self, what: impl std::fmt::Display) -> TextError {
        let about = self.about;
        TextError(if about.is_empty() { what.to_string() } else { format!("{about}: {what}") })
    }

    /// An error that says what was expected in the place `name`, and what was found.
    pub fn expected(&self, name: &str, expected: impl std::fmt::Display, found: &str) -> TextError {
        self.error(format_args!("{name} expected {expected}, found {}", shorten(found)))
    }

    /// True at the end of the line.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The line from the next token on, without the space before it; `None` if the line has ended
    /// or something other than one space comes.
    fn next_token(&self) -> Option<&'a str> {
        if self.fresh { Some(self.rest) } else { self.rest.strip_prefix(' ') }
    }

    /// The next word without taking it; empty at the end.
    pub fn peek(&self) -> &'a str {
        let rest = self.next_token().unwrap_or("");
        &rest[..word_len(rest)]
    }

    /// Takes the next word: everything up to a space or the end, at least one character. `name` says
    /// for an error what should have come.
    pub fn word(&mut self, name: &str) -> Result<&'a str, TextError> {
        let rest = self.next_token().unwrap_or("");
        let len = word_len(rest);
        if len == 0 {
            return Err(self.error(format_args!("expected {name}, found {}", shorten(self.rest))));
        }
        self.fresh = false;
        self.rest = &rest[len..];
        Ok(&rest[..len])
    }

    /// Takes this very word.
    pub fn literal(&mut self, word: &str) -> Result<(), TextError> {
        let found = self.word(word)?;
        if found == word { Ok(()) } else { Err(self.expected("the line", format_args!("\"{word}\""), found)) }
    }

    /// Takes `name=value`, where `name` includes its `=`, and returns the value, which may be empty.
    pub fn field(&mut self, name: &str) -> Result<&'a str, TextError> {
        match self.peek().strip_prefix(name) {
            Some(value) => {
                let rest = self.next_token().unwrap_or("");
                self.fresh = false;
                self.rest = &rest[name.len() + value.len()..];
                Ok(value)
            }
            None => Err(self.error(format_args!("expected {name}, found {}", shorten(self.peek_or_rest())))),
        }
    }

    fn peek_or_rest(&self) -> &'a str {
        if self.peek().is_empty() { self.rest } else { self.peek() }
    }

    /// Takes `name=number`.
    pub fn number_field(&mut self, name: &str) -> Result<u64, TextError> {
        let value = self.field(name)?;
        number(value).ok_or_else(|| self.expected(name, format_args!("a number up to {MAX_NUMBER}"), value))
    }

    /// Takes a number.
    pub fn number(&mut self, name: &str) -> Result<u64, TextError> {
        let value = self.word(name)?;
        number(value).ok_or_else(|| self.expected(name, format_args!("a number up to {MAX_NUMBER}"), value))
    }

    /// Takes a quoted string, which may be empty.
    pub fn string(&mut self, name: &str) -> Result<Cow<'a, str>, TextError> {
        let rest = match self.next_token() {
            Some(rest) if rest.starts_with('"') => rest,
            _ => return Err(self.expected(name, "a quoted string", self.peek_or_rest())),
        };
        let (text, rest) = split_quoted(rest).map_err(|error| self.error(format_args!("{name}: {error}")))?;
        self.fresh = false;
        self.rest = rest;
        Ok(text)
    }

    /// Takes a mark that follows without a space.
    pub fn mark(&mut self, mark: &str) -> bool {
        match self.rest.strip_prefix(mark) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Everything that is left, the space before it included; the line has ended then.
    pub fn rest(&mut self) -> &'a str {
        std::mem::take(&mut self.rest)
    }

    /// Nothing may be left.
    pub fn end(&self) -> Result<(), TextError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(self.error(format_args!("expected the end of the line, found {}", shorten(self.rest))))
    }
}

fn word_len(text: &str) -> usize {
    text.bytes().position(|byte| byte == b' ').unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    #[test]
    fn numbers_are_strict() {
        for bad in ["", "-1", "+1", "1e9", "01", "00", " 1", "1 ", "0x1", "1.0", "1_000", "٣", "9007199254740992"] {
            assert_eq!(number(bad), None, "{bad}");
        }
        for bad in ["18446744073709551615", "18446744073709551616", "99999999999999999999999999"] {
            assert_eq!(number(bad), None, "{bad}");
        }
        assert_eq!((number("0"), number("9007199254740991")), (Some(0), Some(MAX_NUMBER)));
        let mut random = Random::from_seed(1);
        for _ in 0..10_000 {
            let any = random.next_u64() >> random.below(64);
            let mut text = String::new();
            push_number(&mut text, any);
            assert_eq!(text, any.to_string());
            assert_eq!(number(&text), (any <= MAX_NUMBER).then_some(any));
        }
    }

    #[test]
    fn hexadecimal_numbers_are_strict() {
        let mut text = String::new();
        push_hex(&mut text, 0x9f3a_01c2_d4e5_f607, 16);
        push_hex(&mut text, 0xf, 8);
        assert_eq!(text, "9f3a01c2d4e5f6070000000f");
        assert_eq!(hex(&text[..16], 16), Some(0x9f3a_01c2_d4e5_f607));
        for bad in ["", "f", "0000000F", "+000000f", "00000000f", "0000000g"] {
            assert_eq!(hex(bad, 8), None, "{bad}");
        }
    }

    #[test]
    fn a_line_is_read_in_its_order() {
        let mut tokens = Tokens::new("vote term=3 \"a b\"… 5 x y");
        assert_eq!(tokens.peek(), "vote");
        assert_eq!(tokens.word("a word"), Ok("vote"));
        assert_eq!(tokens.number_field("term="), Ok(3));
        assert_eq!(tokens.string("text").as_deref(), Ok("a b"));
        assert!(tokens.mark("…") && !tokens.mark("…"));
        assert_eq!(tokens.number("bytes"), Ok(5));
        assert!(tokens.end().is_err());
        assert_eq!(tokens.rest(), " x y");
        assert_eq!((tokens.end(), tokens.is_empty(), tokens.peek()), (Ok(()), true, ""));
    }

    fn message<T>(result: Result<T, TextError>) -> String {
        result.err().map_or("no error".to_string(), |error| error.0)
    }

    #[test]
    fn errors_name_the_place_what_was_expected_and_what_was_found() {
        let mut tokens = Tokens::new("append-entries term=x");
        tokens.about("append-entries");
        assert!(tokens.literal("append-entries").is_ok());
        assert_eq!(message(tokens.clone().field("prev=")), "append-entries: expected prev=, found \"term=x\"");
        assert_eq!(
            message(tokens.number_field("term=")),
            "append-entries: term= expected a number up to 9007199254740991, found \"x\""
        );
        assert_eq!(message(tokens.field("prev=")), "append-entries: expected prev=, found nothing");
        assert_eq!(message(Tokens::new("").word("a command")), "expected a command, found nothing");
        assert_eq!(message(Tokens::new("x").string("text")), "text expected a quoted string, found \"x\"");
        assert_eq!(message(Tokens::new("x y").literal("y")), "the line expected \"y\", found \"x\"");
    }

    #[test]
    fn exactly_one_space_between_tokens() {
        for bad in [" a b", "a  b", "a\tb", "a b ", "a", "ab"] {
            let mut tokens = Tokens::new(bad);
            let result = tokens.literal("a").and_then(|()| tokens.literal("b")).and_then(|()| tokens.end());
            assert!(result.is_err(), "{bad:?}");
        }
        let mut tokens = Tokens::new("\"a\"b");
        assert!(tokens.string("text").is_ok() && tokens.word("a word").is_err() && tokens.end().is_err());
    }
}
