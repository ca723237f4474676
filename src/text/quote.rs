//! Strings inside a line: `quote` puts any string between double quotes so that a line stays one
//! line and shows everything that is in it; `plain` does the same for words at the end of a line.
//!
//! Escaped are `\\`, `\"`, `\n`, `\r`, `\t`, and as `\u{hex}` the other control characters, the two
//! line separators of Unicode and the characters that turn the direction of writing (a terminal
//! would show a line with one of these in another order than it has).

use std::borrow::Cow;
use std::fmt::Write;

use super::TextError;

/// How much of a wrong text an error message repeats, in characters.
const SHOWN_CHARS: usize = 40;

/// Bytes that stand for themselves whatever follows. The others are escapes, or begin a character
/// of which [`is_hidden`] has to be asked.
const PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        plain[byte] = false;
        byte += 1;
    }
    plain[b'"' as usize] = false;
    plain[b'\\' as usize] = false;
    plain[0x7f] = false;
    // The first bytes of U+0080…U+00BF, U+0600…U+063F and U+2000…U+2FFF in UTF-8.
    plain[0xc2] = false;
    plain[0xd8] = false;
    plain[0xe2] = false;
    plain
};

/// A character that a line must not hold as it is.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `"…"`, with escapes. [`unquote`] is the inverse.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_quoted(&mut out, text);
    out
}

/// Appends [`quote`] of the text to a line.
pub fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    push_escaped(out, text, true);
    out.push('"');
}

/// The length of [`quote`] of the text, in bytes, without making it.
pub fn quoted_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut len = bytes.len() + 2;
    let mut at = 0;
    while let Some(skip) = bytes[at..].iter().position(|byte| !PLAIN[*byte as usize]) {
        at += skip;
        let Some(c) = text[at..].chars().next() else { break };
        len += match c {
            '"' | '\\' | '\n' | '\r' | '\t' => 1,
            c if is_hidden(c) => "\\u{}".len() + hex_digits(c) - c.len_utf8(),
            _ => 0,
        };
        at += c.len_utf8();
    }
    len
}

/// How many hexadecimal digits `\u{…}` takes for this character.
fn hex_digits(c: char) -> usize {
    (u32::from(c).max(1).ilog2() / 4 + 1) as usize
}

/// Appends words to the end of a line: as they are, but with the escapes of [`quote`] for what would
/// break the line. Quotes stay as they are.
pub fn push_plain(out: &mut String, text: &str) {
    push_escaped(out, text, false);
}

/// [`push_plain`] into a new string.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_plain(&mut out, text);
    out
}

fn push_escaped(out: &mut String, text: &str, quotes: bool) {
    let bytes = text.as_bytes();
    // `done` is what has been copied, `at` where the search goes on.
    let (mut done, mut at) = (0, 0);
    while let Some(skip) = bytes[at..].iter().position(|byte| !PLAIN[*byte as usize]) {
        at += skip;
        let Some(c) = text[at..].chars().next() else { break };
        let next = at + c.len_utf8();
        if c == '\\' || (c == '"' && quotes) || is_hidden(c) {
            out.push_str(&text[done..at]);
            push_escape(out, c);
            done = next;
        }
        at = next;
    }
    out.push_str(&text[done..]);
}

fn push_escape(out: &mut String, c: char) {
    match c {
        '\\' => out.push_str("\\\\"),
        '"' => out.push_str("\\\""),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        // Writing into a String cannot fail.
        _ => _ = write!(out, "\\u{{{:x}}}", u32::from(c)),
    }
}

/// The text between the quotes, which must begin and end the input: the strict inverse of [`quote`].
pub fn unquote(quoted: &str) -> Result<Cow<'_, str>, TextError> {
    let (text, rest) = split_quoted(quoted)?;
    if rest.is_empty() { Ok(text) } else { Err(TextError(format!("{} after the closing quote", shorten(rest)))) }
}

/// Reads a quoted string from the beginning of the input: its text and what follows it.
pub(super) fn split_quoted(input: &str) -> Result<(Cow<'_, str>, &str), TextError> {
    let Some(body) = input.strip_prefix('"') else {
        return Err(TextError(format!("expected a quoted string, found {}", shorten(input))));
    };
    let (text, end) = read_escaped(body, true)?;
    match body[end..].strip_prefix('"') {
        Some(rest) => Ok((text, rest)),
        None => Err(TextError(format!("no closing quote after {}", shorten(input)))),
    }
}

/// The strict inverse of [`plain`].
pub fn unplain(text: &str) -> Result<Cow<'_, str>, TextError> {
    Ok(read_escaped(text, false)?.0)
}

/// Reads to the end, or with `quotes` to the first bare quote: the text, and where it ended.
fn read_escaped(input: &str, quotes: bool) -> Result<(Cow<'_, str>, usize), TextError> {
    let bytes = input.as_bytes();
    let mut text = String::new();
    let (mut done, mut at) = (0, 0);
    while let Some(skip) = bytes[at..].iter().position(|byte| !PLAIN[*byte as usize]) {
        at += skip;
        let Some(c) = input[at..].chars().next() else { break };
        if c == '"' && quotes {
            break;
        }
        if c == '\\' {
            let (meant, len) = read_escape(&input[at..], quotes)?;
            text.push_str(&input[done..at]);
            text.push(meant);
            at += len;
            done = at;
        } else if is_hidden(c) {
            return Err(TextError(format!("the character U+{:04X} must be written as an escape", u32::from(c))));
        } else {
            at += c.len_utf8();
        }
    }
    let end = if at < bytes.len() && bytes[at] == b'"' && quotes { at } else { bytes.len() };
    if done == 0 {
        return Ok((Cow::Borrowed(&input[..end]), end));
    }
    text.push_str(&input[done..end]);
    Ok((Cow::Owned(text), end))
}

/// One escape at the beginning of the input: what it means and how long it is.
fn read_escape(input: &str, quotes: bool) -> Result<(char, usize), TextError> {
    let short = match input.as_bytes().get(1) {
        Some(b'\\') => Some('\\'),
        Some(b'"') if quotes => Some('"'),
        Some(b'n') => Some('\n'),
        Some(b'r') => Some('\r'),
        Some(b't') => Some('\t'),
        _ => None,
    };
    if let Some(c) = short {
        return Ok((c, 2));
    }
    let unknown = || {
        let escape: String = input.chars().take(10).collect();
        TextError(format!(
            "unknown escape at {}; known are \\\\ \\\" \\n \\r \\t, and \\u{{hex}} for hidden characters",
            shorten(&escape)
        ))
    };
    let digits = input.strip_prefix("\\u{").and_then(|rest| rest.split_once('}')).ok_or_else(unknown)?.0;
    let strict = (1..=6).contains(&digits.len())
        && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && (digits == "0" || !digits.starts_with('0'));
    let meant = Some(digits).filter(|_| strict).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    match meant.and_then(char::from_u32) {
        // One way to write each character: those with an escape of their own have no other.
        Some(c) if is_hidden(c) && !matches!(c, '\n' | '\r' | '\t') => Ok((c, "\\u{}".len() + digits.len())),
        _ => Err(unknown()),
    }
}

/// A text as an error message shows it: quoted, and cut after 40 characters.
pub fn shorten(text: &str) -> String {
    if text.is_empty() {
        return "nothing".to_string();
    }
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => quote(&text[..end]) + "…",
        None => quote(text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    fn any_text(random: &mut Random) -> String {
        let special = ['"', '\\', '\n', '\r', '\t', '\0', '\u{1f}', '\u{7f}', '\u{80}', '\u{9f}', '\u{a0}', 'é'];
        let more = ['\u{61c}', 'ا', '\u{200e}', '\u{2028}', '\u{202e}', '\u{2069}', '…', '→', '😀', 'u', '{', '}'];
        (0..random.below(12))
            .map(|_| match random.below(4) {
                0 => special[random.below(12) as usize],
                1 => more[random.below(12) as usize],
                2 => char::from_u32(random.below(0x11_0000) as u32).unwrap_or('x'),
                _ => char::from(b' ' + random.below(95) as u8),
            })
            .collect()
    }

    #[test]
    fn known_texts() {
        assert_eq!(quote("SET 5"), "\"SET 5\"");
        assert_eq!(quote("a\"b\\c\nd\re\tf\0"), r#""a\"b\\c\nd\re\tf\u{0}""#);
        assert_eq!(quote("é…😀\u{202e}\u{2028}\u{7f}"), "\"é…😀\\u{202e}\\u{2028}\\u{7f}\"");
        assert_eq!(plain("say \"x\"\n"), "say \"x\"\\n");
        assert_eq!(shorten(""), "nothing");
        assert_eq!(shorten(&"x".repeat(41)), format!("\"{}\"…", "x".repeat(40)));
    }

    #[test]
    fn any_string_comes_back() {
        let mut random = Random::from_seed(1);
        for _ in 0..20_000 {
            let text = any_text(&mut random);
            let quoted = quote(&text);
            assert_eq!(unquote(&quoted).as_deref(), Ok(&*text), "{quoted}");
            assert_eq!(quoted_len(&text), quoted.len(), "{quoted}");
            assert!(!quoted.chars().any(is_hidden));
            let words = plain(&text);
            assert_eq!(unplain(&words).as_deref(), Ok(&*text), "{words}");
        }
    }

    #[test]
    fn what_unquotes_is_written_in_the_one_way() {
        let mut random = Random::from_seed(2);
        let mut read = 0;
        for _ in 0..50_000 {
            let mut line = quote(&any_text(&mut random)).into_bytes();
            let at = random.below(line.len() as u64) as usize;
            line[at] = *b"\"\\nu{}0a8\n\x7f ".get(random.below(12) as usize).unwrap_or(&b'x');
            let Ok(line) = String::from_utf8(line) else { continue };
            if let Ok(text) = unquote(&line) {
                assert_eq!(quote(&text), line);
                read += 1;
            }
            if let Ok(text) = unplain(&line) {
                assert_eq!(plain(&text), line);
            }
        }
        assert!(read > 5_000, "{read}");
    }

    #[test]
    fn bad_strings_are_refused() {
        for bad in [
            "",
            "x",
            "\"",
            "\"x",
            "\"x\"y",
            "x\"",
            "\"\n\"",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u{a}\"",
            "\"\\u{41}\"",
            "\"\\u{}\"",
            "\"\\u{07f}\"",
            "\"\\u{7F}\"",
            "\"\\u{7f\"",
            "\"\\u{110000}\"",
            "\"\\u{+7f}\"",
            "\"\u{202e}\"",
            "\"\\",
            "\"\\é\"",
            "\"\u{85}\"",
        ] {
            assert!(unquote(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            unquote("\"\u{202e}\"").map_err(|error| error.0),
            Err("the character U+202E must be written as an escape".to_string())
        );
        assert!(unplain("a\\\"").is_err() && unplain("a\\").is_err() && unplain("a\nb").is_err());
    }
}
