//! `client append`: strings at the end of the lab's log, or of the list of a key, each exactly once.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::Instant;

use raft_lab::raft::types::{KeyWrite, MAX_TEXT_BYTES, WriteKind};

use crate::options::{Arguments, Command, Options};
use crate::output::{Failure, ProgressLine, print};
use crate::session::{Change, WINDOW, Writer, told};

pub const COMMAND: Command = Command {
    name: "append",
    usage: "append [--key KEY] TEXT…",
    summary: "append strings to the log, or to KEY; - reads them from standard input",
    help: "Appends each TEXT as one string, in order, and prints a line for each once a majority has it on disk:
  ok 2@1 \"SET 5\"          entry index 2, of term 1
A lone - instead: each line of standard input is one string, up to 64 of them under way at a time.
A TEXT is at most 65536 bytes of UTF-8. One that starts with -- goes behind a lone --.

  --key KEY   append to the list of this key, not to the log. All TEXTs of one call come together, as one
              entry: ok 5@1 append-to \"a\" \"mouse\". A key that has no list yet gets one, as with put.

However often it has to retry, no string is appended twice. Where it gives up (--timeout without any
success), it says which strings may still be committed, and ends with exit code 1.

  client append \"SET 5\" \"ADD 1\"
  client append --key a mouse
  seq 1000 | client append -
",
    flags: &[("--key", Some("KEY"))],
    run,
};

fn run(options: &Options, arguments: &Arguments) -> Result<(), Failure> {
    let key = arguments.value("--key");
    if arguments.words.is_empty() {
        return Err(Failure::Usage("append expects TEXT…, or - for the lines of standard input".to_string()));
    }
    if arguments.words == ["-"] {
        // Before anything is read: a wrong key is wrong for every line.
        change(key, &[""]).check().map_err(Failure::Usage)?;
        return append_lines(options, key);
    }
    if let Some(long) = arguments.words.iter().find(|text| text.len() > MAX_TEXT_BYTES) {
        let bytes = long.len();
        return Err(Failure::Usage(format!(
            "append: expected a TEXT of up to {MAX_TEXT_BYTES} bytes, got {bytes} bytes"
        )));
    }
    // What goes to a key goes as one entry.
    let at_once = if key.is_some() { arguments.words.len() } else { 1 };
    let mut changes = arguments.words.chunks(at_once).map(|texts| change(key, texts));
    let mut writer = Writer::new(options);
    loop {
        let room = WINDOW - writer.waiting();
        for change in changes.by_ref().take(room) {
            change.check().map_err(Failure::Usage)?;
            writer.push(change);
        }
        if writer.waiting() == 0 {
            return Ok(());
        }
        let printed = print(&told(&writer.advance()?));
        answered(printed, changes.len() + writer.waiting())?;
    }
}

/// These strings at the end of the log, which takes one at a time, or of the list of a key.
fn change<T: AsRef<str>>(key: Option<&str>, texts: &[T]) -> Change {
    let mut values = texts.iter().map(|text| Arc::from(text.as_ref()));
    match key {
        Some(key) => {
            Change::Write(Arc::new(KeyWrite { kind: WriteKind::Append, key: key.into(), values: values.collect() }))
        }
        None => Change::Append(values.next().unwrap_or_default()),
    }
}

/// A closed output is a normal end only if nothing was left to do.
fn answered(printed: Result<(), Failure>, left: usize) -> Result<(), Failure> {
    match printed {
        Err(Failure::OutputClosed) if left > 0 => Err(Failure::NotDone(format!(
            "nobody reads the answers any more, so it ends here; of at least {left} more, {WINDOW} at the most may be committed"
        ))),
        other => other,
    }
}

/// `append -`.
fn append_lines(options: &Options, key: Option<&str>) -> Result<(), Failure> {
    let lines = read_lines(io::stdin(), MAX_TEXT_BYTES - key.map_or(0, str::len));
    let mut writer = Writer::new(options);
    let mut progress = ProgressLine::new();
    let (started, mut done) = (Instant::now(), 0);
    let result = loop {
        match fill(&mut writer, key, &lines) {
            Ok(()) if writer.waiting() == 0 => break Ok(()),
            Ok(()) => {}
            Err(why) => break Err(why),
        }
        match writer.advance() {
            Ok(appended) => {
                done += appended.len();
                progress.give_way();
                let printed = print(&told(&appended));
                // After a closed output one look tells whether more was to come, and whether it can be read.
                let next = if printed.is_err() { lines.try_recv() } else { Err(TryRecvError::Disconnected) };
                if let Ok(Err(why)) = next {
                    break Err(Failure::NotDone(why));
                }
                let more = !matches!(next, Err(TryRecvError::Disconnected));
                if let Err(failure) = answered(printed, writer.waiting() + usize::from(more)) {
                    break Err(failure);
                }
                progress.show(format_args!("{done} appended"));
            }
            Err(failure) => break Err(failure),
        }
    };
    progress.end(format_args!("{done} appended in {:.1} s", started.elapsed().as_secs_f64()));
    result
}

/// Takes lines until the window is full; waits for one only while nothing is under way.
fn fill(writer: &mut Writer, key: Option<&str>, lines: &Receiver<Result<String, String>>) -> Result<(), Failure> {
    while writer.waiting() < WINDOW {
        let line =
            if writer.waiting() == 0 { lines.recv().map_err(|_| TryRecvError::Disconnected) } else { lines.try_recv() };
        match line {
            Ok(Ok(line)) => writer.push(change(key, &[line])),
            // What is under way is still waited for.
            Ok(Err(why)) => {
                while writer.waiting() > 0 {
                    // A closed output does not make the bad line a normal end.
                    let _ = print(&told(&writer.advance()?));
                }
                return Err(Failure::NotDone(why));
            }
            Err(_) => return Ok(()),
        }
        if writer.waiting() == 1 {
            // However long the writer took for it, this one has its whole time.
            writer.restart_timeout();
        }
    }
    Ok(())
}

/// The lines of `input` from a thread of their own, so that a slow writer does not hold up the answers.
fn read_lines(input: impl Read + Send + 'static, most: usize) -> Receiver<Result<String, String>> {
    let (sender, receiver) = sync_channel(4 * WINDOW);
    thread::spawn(move || {
        let mut input = io::BufReader::new(input);
        for number in 1_u64.. {
            let line = read_line(&mut input, number, most);
            let end = !matches!(line, Ok(Some(_)));
            if let Some(line) = line.transpose()
                && sender.send(line).is_err()
            {
                return;
            }
            if end {
                return;
            }
        }
    });
    receiver
}

/// One line of up to `most` bytes without its end; none at the end of the input.
fn read_line(input: &mut impl BufRead, number: u64, most: usize) -> Result<Option<String>, String> {
    let wrong = |what: String| format!("standard input, line {number}: {what}; it and what follows is not appended");
    let mut line = Vec::new();
    input.take(most as u64 + 2).read_until(b'\n', &mut line).map_err(|error| wrong(error.to_string()))?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        line.pop_if(|last| *last == b'\r');
    }
    if line.len() > most {
        return Err(wrong(format!("expected at most {most} bytes, got more")));
    }
    String::from_utf8(line).map(Some).map_err(|_| wrong("expected UTF-8".to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &'static [u8]) -> Vec<Result<String, String>> {
        read_lines(input, MAX_TEXT_BYTES).into_iter().collect()
    }

    #[test]
    fn each_line_of_standard_input_is_a_string() {
        let all: Vec<_> = lines(b"a\n\n b \r\nlast").into_iter().flatten().collect();
        assert_eq!(all, ["a", "", " b ", "last"]);
        assert!(lines(b"").is_empty());
    }

    #[test]
    fn a_line_that_cannot_be_a_string_ends_the_reading_and_is_named() {
        let wrong = lines(b"a\n\xff\nb\n");
        assert_eq!(wrong.len(), 2);
        let why = "standard input, line 2: expected UTF-8; it and what follows is not appended";
        assert_eq!(wrong[1], Err(why.to_string()));
        let long: &'static [u8] = Box::leak(vec![b'x'; MAX_TEXT_BYTES + 1].into_boxed_slice());
        assert!(matches!(&lines(long)[..], [Err(why)] if why.contains("expected at most 65536 bytes")));
        assert_eq!(lines(&long[1..])[0].as_ref().map(String::len), Ok(MAX_TEXT_BYTES));
    }
}
