//! Bytes to lines. What a stranger may send is bounded here: a line of at most [`MAX_LINE_BYTES`], of
//! UTF-8, without control characters. (How slowly he may send is up to the time-outs of the stream.)

use std::fmt;
use std::io::{self, Read};

use super::MAX_LINE_BYTES;

/// The buffer of a quiet connection, in bytes: ten thousand idle ones take 40 MiB together.
const FIRST_BUFFER_BYTES: usize = 4 * 1024;
/// A busy connection reads as much at once, in bytes; a buffer that grew past this for a long line
/// shrinks again.
const BUSY_BUFFER_BYTES: usize = 256 * 1024;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line, without its `\n`, and without a `\r` before that.
    Complete(&'a str),
    /// The stream has ended in the middle of this line. A person's `echo -n … | nc` does that; from a
    /// node it is what was cut off, and may read as something that it never said.
    Incomplete(&'a str),
    /// The stream has ended after a complete line.
    End,
}

/// Why there is no line. All but `Io` are the sender's fault.
#[derive(Debug)]
pub enum LineError {
    /// A time-out among them: what has come so far is kept, and reading can go on.
    Io(io::Error),
    TooLong,
    /// The first byte that is not UTF-8, counted from 0 in its line.
    NotUtf8 {
        at: usize,
    },
    /// A control character, counted likewise. Within strings they are written as escapes.
    Control {
        byte: u8,
        at: usize,
    },
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineError::Io(error) => write!(f, "{error}"),
            LineError::TooLong => write!(f, "the line is longer than {MAX_LINE_BYTES} bytes"),
            LineError::NotUtf8 { at } => write!(f, "byte {at} of the line is not UTF-8"),
            LineError::Control { byte, at } => {
                write!(f, "byte {at} of the line is the control character {byte:#04x}: write it as an escape")
            }
        }
    }
}

impl std::error::Error for LineError {}

/// Reads lines from a stream.
#[derive(Debug)]
pub struct LineReader<R> {
    stream: R,
    buffer: Vec<u8>,
    /// `buffer[start..end]` has come and not been handed out; up to `searched` it holds no `\n`.
    start: usize,
    searched: usize,
    end: usize,
}

impl<R: Read> LineReader<R> {
    pub fn new(stream: R) -> LineReader<R> {
        LineReader { stream, buffer: Vec::new(), start: 0, searched: 0, end: 0 }
    }

    /// The stream below.
    pub fn get_ref(&self) -> &R {
        &self.stream
    }

    /// True if the next line has already come in full, so that [`LineReader::read`] will not wait.
    pub fn has_line(&mut self) -> bool {
        self.find_newline().is_some()
    }

    /// The next line; waits for it. After an error other than `Io` the stream makes no sense any more.
    pub fn read(&mut self) -> Result<Line<'_>, LineError> {
        loop {
            if let Some(newline) = self.find_newline() {
                let line = self.start..newline;
                (self.start, self.searched) = (newline + 1, newline + 1);
                if line.len() >= MAX_LINE_BYTES {
                    return Err(LineError::TooLong);
                }
                let line = &self.buffer[line];
                return checked(line.strip_suffix(b"\r").unwrap_or(line)).map(Line::Complete);
            }
            if self.end - self.start >= MAX_LINE_BYTES {
                return Err(LineError::TooLong);
            }
            if self.fill().map_err(LineError::Io)? == 0 {
                let line = self.start..self.end;
                (self.start, self.searched) = (self.end, self.end);
                if line.is_empty() {
                    return Ok(Line::End);
                }
                return checked(&self.buffer[line]).map(Line::Incomplete);
            }
        }
    }

    fn find_newline(&mut self) -> Option<usize> {
        let found = self.buffer[self.searched..self.end].iter().position(|byte| *byte == b'\n');
        self.searched = found.map_or(self.end, |at| self.searched + at);
        found.map(|_| self.searched)
    }

    /// Reads once from the stream: how many bytes came, 0 at its end.
    fn fill(&mut self) -> io::Result<usize> {
        self.make_room();
        loop {
            match self.stream.read(&mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn make_room(&mut self) {
        // A buffer that was filled to the end belongs to somebody busy, or to a long line.
        let full = self.end == self.buffer.len();
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.searched -= self.start;
            self.end -= self.start;
            self.start = 0;
        }
        let size = self.buffer.len();
        if full && (self.end == size || size < BUSY_BUFFER_BYTES) {
            self.buffer.resize((size * 2).max(FIRST_BUFFER_BYTES), 0);
        } else if self.end == 0 && size > BUSY_BUFFER_BYTES {
            self.buffer.truncate(BUSY_BUFFER_BYTES);
            self.buffer.shrink_to_fit();
        }
    }
}

fn checked(line: &[u8]) -> Result<&str, LineError> {
    // Without an early end this is done for many bytes at a time.
    if line.iter().fold(false, |found, byte| found | (*byte < 0x20) | (*byte == 0x7f))
        && let Some(at) = line.iter().position(u8::is_ascii_control)
    {
        return Err(LineError::Control { byte: line[at], at });
    }
    str::from_utf8(line).map_err(|error| LineError::NotUtf8 { at: error.valid_up_to() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::random::Random;

    /// Gives a text in pieces of random length, with interruptions and time-outs between them.
    struct Pieces<'a> {
        bytes: &'a [u8],
        random: Random,
        most: u64,
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.random.below(8) {
                0 => return Err(io::ErrorKind::Interrupted.into()),
                1 => return Err(io::ErrorKind::WouldBlock.into()),
                _ => {}
            }
            let len = (1 + self.random.below(self.most) as usize).min(buffer.len()).min(self.bytes.len());
            buffer[..len].copy_from_slice(&self.bytes[..len]);
            self.bytes = &self.bytes[len..];
            Ok(len)
        }
    }

    fn next<R: Read>(reader: &mut LineReader<R>) -> Result<Line<'_>, String> {
        reader.read().map_err(|error| error.to_string())
    }

    #[test]
    fn lines_come_whatever_the_pieces() {
        for seed in 0..50 {
            let mut random = Random::from_seed(seed);
            let most = 1 << random.below(20);
            let lengths = [0, 1, 5, 100, 4095, 4096, 10_000, 300_000, MAX_LINE_BYTES - 1];
            let lines: Vec<String> =
                (0..10).map(|n| char::from(b'a' + n).to_string().repeat(lengths[random.below(9) as usize])).collect();
            let text = lines.join("\n") + "\nlast";
            let mut reader = LineReader::new(Pieces { bytes: text.as_bytes(), random, most });
            let mut read = Vec::new();
            loop {
                match reader.read() {
                    Ok(Line::Complete(line)) => read.push(line.to_string()),
                    Ok(Line::Incomplete(line)) => read.push(format!("{line}, incomplete")),
                    Ok(Line::End) => break,
                    Err(LineError::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!(read.pop().as_deref(), Some("last, incomplete"));
            assert!(read == lines, "seed {seed}");
        }
    }

    #[test]
    fn says_whether_another_line_has_come() {
        let mut reader = LineReader::new(&b"a\r\nb\n\nc"[..]);
        assert!(!reader.has_line());
        assert_eq!(next(&mut reader), Ok(Line::Complete("a")));
        assert!(reader.has_line());
        assert_eq!(next(&mut reader), Ok(Line::Complete("b")));
        assert_eq!(next(&mut reader), Ok(Line::Complete("")));
        assert!(!reader.has_line());
        assert_eq!(next(&mut reader), Ok(Line::Incomplete("c")));
        assert_eq!(next(&mut reader), Ok(Line::End));
    }

    #[test]
    fn bad_lines_are_errors() {
        for (bytes, error) in [
            (&b"a\0b\n"[..], "byte 1 of the line is the control character 0x00: write it as an escape"),
            (b"a\tb\n", "byte 1 of the line is the control character 0x09: write it as an escape"),
            (b"\r\r\n", "byte 0 of the line is the control character 0x0d: write it as an escape"),
            (b"ab\x7f", "byte 2 of the line is the control character 0x7f: write it as an escape"),
            (b"\xc3(\n", "byte 0 of the line is not UTF-8"),
            (b"caf\xc3", "byte 3 of the line is not UTF-8"),
        ] {
            assert_eq!(next(&mut LineReader::new(bytes)), Err(error.to_string()));
        }
    }

    #[test]
    fn a_line_that_never_ends_is_given_up_at_the_limit() {
        let too_long = || Err("the line is longer than 1048576 bytes".to_string());
        let mut reader = LineReader::new(io::repeat(b'x'));
        assert_eq!(next(&mut reader), too_long());
        assert!(reader.buffer.len() <= 2 * MAX_LINE_BYTES);
        let text = "x".repeat(MAX_LINE_BYTES) + "\n";
        assert_eq!(next(&mut LineReader::new(text.as_bytes())), too_long());
        assert!(matches!(LineReader::new(&text.as_bytes()[1..]).read(), Ok(Line::Complete(_))));
    }

    #[test]
    fn a_long_line_does_not_keep_its_memory() {
        let text = "x".repeat(MAX_LINE_BYTES - 1) + "\ny\n";
        let mut reader = LineReader::new(text.as_bytes());
        while !matches!(reader.read(), Ok(Line::End)) {}
        assert!(reader.buffer.capacity() <= BUSY_BUFFER_BYTES);
    }
}
