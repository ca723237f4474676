//! JSON both ways (RFC 8259), for `status --json` and the web command.
//!
//! Strict in reading: one value and nothing behind it, no name twice in an object, no control characters in
//! strings, no lone surrogates, at most [`MAX_DEPTH`] arrays and objects in one another.

use std::fmt::{self, Write};

/// Arrays and objects in one another, at the most.
pub const MAX_DEPTH: usize = 16;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    Null,
    Bool(bool),
    /// As it is written: a number keeps all its digits.
    Number(String),
    String(String),
    Array(Vec<Json>),
    /// Names and values in their order.
    Object(Vec<(String, Json)>),
}

impl Json {
    pub fn string(text: impl fmt::Display) -> Json {
        Json::String(text.to_string())
    }

    /// Seconds with `digits` places.
    pub fn seconds(seconds: std::time::Duration, digits: usize) -> Json {
        Json::Number(format!("{:.digits$}", seconds.as_secs_f64()))
    }

    /// An object of these names and values, in this order.
    pub fn members<N: fmt::Display>(members: impl IntoIterator<Item = (N, Json)>) -> Json {
        Json::Object(members.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
    }

    /// What kind of value it is, for an error.
    pub fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "true or false",
            Json::Number(_) => "a number",
            Json::String(_) => "a string",
            Json::Array(_) => "an array",
            Json::Object(_) => "an object",
        }
    }

    /// Reads a text that is one value. The error says what was expected, what was found and where.
    pub fn read(text: &str) -> Result<Json, String> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.skip_space();
        match reader.peek() {
            None => Ok(value),
            Some(_) => Err(reader.expected("the end of the text")),
        }
    }
}

impl From<u64> for Json {
    fn from(number: u64) -> Json {
        Json::Number(number.to_string())
    }
}

impl From<bool> for Json {
    fn from(truth: bool) -> Json {
        Json::Bool(truth)
    }
}

/// `{}` on one line; `{:#}` each member of the outermost array or object on a line of its own.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let next = if f.alternate() { ",\n " } else { "," };
        let separator = |number| if number == 0 { "" } else { next };
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(truth) => write!(f, "{truth}"),
            Json::Number(digits) => f.write_str(digits),
            Json::String(text) => write_string(f, text),
            Json::Array(items) if items.is_empty() => f.write_str("[]"),
            Json::Object(members) if members.is_empty() => f.write_str("{}"),
            Json::Array(items) => {
                f.write_char('[')?;
                for (number, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", separator(number))?;
                }
                f.write_char(']')
            }
            Json::Object(members) => {
                f.write_char('{')?;
                for (number, (name, value)) in members.iter().enumerate() {
                    f.write_str(separator(number))?;
                    write_string(f, name)?;
                    write!(f, ":{value}")?;
                }
                f.write_char('}')
            }
        }
    }
}

/// JSON's own escapes (RFC 8259 §7) are not those of the protocol.
fn write_string(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

struct Reader<'a> {
    text: &'a str,
    /// Always on the border of a character.
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn take(&mut self, c: char) -> bool {
        let there = self.peek() == Some(c);
        self.at += if there { c.len_utf8() } else { 0 };
        there
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.at += 1;
        }
    }

    fn skip_digits(&mut self) -> usize {
        let from = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - from
    }

    fn expected(&self, what: &str) -> String {
        let before = &self.text[..self.at];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let found = self.peek().map_or("the end of the text".to_string(), |c| format!("{c:?}"));
        format!("line {line}, column {column}: expected {what}, found {found}")
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        self.skip_space();
        match self.peek() {
            Some('[' | '{') if depth == MAX_DEPTH => {
                Err(self.expected(&format!("at most {MAX_DEPTH} arrays and objects in one another")))
            }
            Some('[') => self.array(depth),
            Some('{') => self.object(depth),
            Some('"') => self.string().map(Json::String),
            Some('-' | '0'..='9') => self.number(),
            _ => {
                let words = [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))];
                let rest = &self.text[self.at..];
                let Some((word, value)) = words.into_iter().find(|(word, _)| rest.starts_with(word)) else {
                    return Err(self.expected("a JSON value"));
                };
                self.at += word.len();
                Ok(value)
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, String> {
        let mut items = Vec::new();
        self.take('[');
        self.skip_space();
        if self.take(']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip_space();
            if self.take(']') {
                return Ok(Json::Array(items));
            }
            if !self.take(',') {
                return Err(self.expected("\",\" or \"]\""));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, String> {
        let mut members: Vec<(String, Json)> = Vec::new();
        self.take('{');
        self.skip_space();
        if self.take('}') {
            return Ok(Json::Object(members));
        }
        // Looked up by name: a list would make a body of a hundred thousand names slow to read.
        let mut names = std::collections::BTreeSet::new();
        loop {
            self.skip_space();
            if self.peek() != Some('"') {
                return Err(self.expected("a name in double quotes"));
            }
            let name = self.string()?;
            if !names.insert(name.clone()) {
                return Err(self.expected(&format!("each name once, but {name:?} is there twice before this")));
            }
            self.skip_space();
            if !self.take(':') {
                return Err(self.expected("\":\""));
            }
            let value = self.value(depth + 1)?;
            members.push((name, value));
            self.skip_space();
            if self.take('}') {
                return Ok(Json::Object(members));
            }
            if !self.take(',') {
                return Err(self.expected("\",\" or \"}\""));
            }
        }
    }

    fn number(&mut self) -> Result<Json, String> {
        let from = self.at;
        self.take('-');
        // No leading zeros: behind a 0 the whole part ends.
        if !self.take('0') && self.skip_digits() == 0 {
            return Err(self.expected("a digit"));
        }
        if self.take('.') && self.skip_digits() == 0 {
            return Err(self.expected("a digit"));
        }
        if self.take('e') || self.take('E') {
            let _ = self.take('+') || self.take('-');
            if self.skip_digits() == 0 {
                return Err(self.expected("a digit"));
            }
        }
        Ok(Json::Number(self.text[from..self.at].to_string()))
    }

    fn string(&mut self) -> Result<String, String> {
        let mut text = String::new();
        self.take('"');
        loop {
            match self.peek() {
                Some('"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some('\\') => {
                    self.at += 1;
                    text.push(self.escape()?);
                }
                Some(c) if c >= ' ' => {
                    self.at += c.len_utf8();
                    text.push(c);
                }
                _ => return Err(self.expected("\"\\\"\" at the end of the string (a control character is escaped)")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        const WHAT: &str = "one of \" \\ / b f n r t u behind \"\\\"";
        let c = match self.peek() {
            Some(c @ ('"' | '\\' | '/')) => c,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.expected(WHAT)),
        };
        self.at += 1;
        Ok(c)
    }

    /// Behind `\u`: four digits, or two times four for what lies beyond the first plane.
    fn unicode(&mut self) -> Result<char, String> {
        const PAIR: &str = "a pair of surrogates, \\ud800 to \\udbff and then \\udc00 to \\udfff";
        let start = self.at;
        let first = self.hex4()?;
        if !(0xd800..0xe000).contains(&first) {
            return char::from_u32(first).ok_or_else(|| self.expected("a character"));
        }
        let second = if first < 0xdc00 && self.take('\\') && self.take('u') { self.hex4()? } else { 0 };
        if !(0xdc00..0xe000).contains(&second) {
            self.at = start;
            return Err(self.expected(PAIR));
        }
        let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        char::from_u32(code).ok_or_else(|| self.expected(PAIR))
    }

    fn hex4(&mut self) -> Result<u32, String> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|c| c.to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.expected("four hexadecimal digits behind \"\\u\""))?;
            self.at += 1;
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_lab::text::random::Random;

    #[test]
    fn values_of_every_kind_are_read_and_written() {
        for text in [
            "null",
            "true",
            "[false,-0,0.50,12e+3,1E-9]",
            r#"{"type":"PUT","value":["cat","dog"]}"#,
            r#"["\"\\","\n\t\u0000\u007f","é€😀"]"#,
            "[]",
            "{}",
            r#"{"":[{}]}"#,
        ] {
            assert_eq!(Json::read(text).map(|value| value.to_string()).as_deref(), Ok(text));
        }
        let spaced = Json::read(" { \"a\" :\t[ 1 ,\r\n2 ] } \n");
        assert_eq!(spaced.map(|value| value.to_string()).as_deref(), Ok(r#"{"a":[1,2]}"#));
        let escaped = Json::read(r#""\/\b\f\r\u00e9\uD83D\ude00""#);
        assert_eq!(escaped, Ok(Json::string("/\u{8}\u{c}\ré😀")));
    }

    #[test]
    fn the_long_form_has_a_line_for_each_outermost_member() {
        let value = Json::read(r#"{"a":[1,2],"b":{"c":null}}"#).unwrap();
        assert_eq!(format!("{value:#}"), "{\"a\":[1,2],\n \"b\":{\"c\":null}}");
        assert_eq!(format!("{:#}", Json::Array(vec![])), "[]");
        assert_eq!(Json::read(&format!("{value:#}")), Ok(value));
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        for (text, why) in [
            ("", "line 1, column 1: expected a JSON value, found the end of the text"),
            ("{“type”: 1}", "line 1, column 2: expected a name in double quotes, found '“'"),
            ("[1,\n 2,]", "line 2, column 4: expected a JSON value, found ']'"),
            ("[1 2]", "line 1, column 4: expected \",\" or \"]\", found '2'"),
            ("{\"a\" 1}", "line 1, column 6: expected \":\", found '1'"),
            ("nul", "line 1, column 1: expected a JSON value, found 'n'"),
            ("nullx", "line 1, column 5: expected the end of the text, found 'x'"),
            ("01", "line 1, column 2: expected the end of the text, found '1'"),
            ("-", "line 1, column 2: expected a digit, found the end of the text"),
            ("1.", "line 1, column 3: expected a digit, found the end of the text"),
            ("1e+", "line 1, column 4: expected a digit, found the end of the text"),
            ("\"\\x\"", "line 1, column 3: expected one of \" \\ / b f n r t u behind \"\\\", found 'x'"),
            ("\"\\u12g4\"", "line 1, column 6: expected four hexadecimal digits behind \"\\u\", found 'g'"),
        ] {
            assert_eq!(Json::read(text), Err(why.to_string()), "{text}");
        }
        for text in [
            "\u{feff}1",
            "'a'",
            "+1",
            ".5",
            "NaN",
            "Infinity",
            "\"a",
            "\"\n\"",
            "{\"a\":1,\"a\":2}",
            "{\"a\":1,}",
            "\"\\ud800\"",
            "\"\\udc00\\ud800\"",
            "\"\\ud800\\u0041\"",
            "[1]]",
            "//\n1",
            "1e5.5",
            "\"\\u+123\"",
        ] {
            assert!(Json::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Json::read(&nested(MAX_DEPTH)).is_ok());
        assert!(Json::read(&nested(MAX_DEPTH + 1)).is_err_and(|why| why.contains("at most 16")));
        assert!(Json::read(&"[".repeat(1_000_000)).is_err());
    }

    #[test]
    fn no_text_makes_it_panic_and_what_it_reads_it_writes() {
        const PIECES: [&str; 24] = [
            "{", "}", "[", "]", ",", ":", "\"", "\\", "u", "d83d", "\\ude00", "1", "-", ".", "e", "null", "true", " ",
            "\n", "é", "😀", "\0", "\"a\"", "0",
        ];
        let mut random = Random::from_seed(8259);
        let mut read = 0;
        for _ in 0..20_000 {
            let text: String =
                (0..random.below(12)).map(|_| PIECES[random.below(PIECES.len() as u64) as usize]).collect();
            if let Ok(value) = Json::read(&text) {
                assert_eq!(Json::read(&value.to_string()), Ok(value), "{text}");
                read += 1;
            }
        }
        assert!(read > 100, "the pieces must make some JSON, or this says nothing: {read}");
    }
}
