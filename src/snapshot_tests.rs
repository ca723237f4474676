use std::io::BufReader;

use super::*;
use crate::raft::log::chain_entry;
use crate::raft::types::{Command, DiskId, Entry, KeyWrite, Session, WriteKind};
use crate::store::{Applied, MAX_SESSIONS};
use crate::text::random::Random;

/// A store and the entries that it has applied.
#[derive(Default)]
struct History {
    store: Store,
    entries: Vec<Entry>,
    answers: Vec<Applied>,
    last: EntryId,
    sum: u32,
}

impl History {
    fn add(&mut self, term: u64, command: Command) -> Applied {
        self.last = EntryId::new(self.last.index + 1, term);
        let entry = Entry { id: self.last, command };
        self.sum = chain_entry(self.sum, &entry);
        let answer = self.store.apply(&entry);
        self.entries.push(entry);
        self.answers.push(answer);
        answer
    }

    fn snapshot(&self) -> (SnapshotMeta, String) {
        written(&self.store, self.last, self.sum)
    }
}

fn written(store: &Store, last: EntryId, sum: u32) -> (SnapshotMeta, String) {
    let mut text = Vec::new();
    let meta = write(store, last, sum, &mut text).expect("a vector takes all");
    (meta, String::from_utf8(text).expect("UTF-8"))
}

fn append(session: Option<Session>, text: &str) -> Command {
    Command::Append { session, text: text.into() }
}

fn change(session: Option<Session>, kind: WriteKind, key: &str, values: &[&str]) -> Command {
    let values = values.iter().map(|value| (*value).into()).collect();
    Command::Write { session, write: Arc::new(KeyWrite { kind, key: key.into(), values }) }
}

/// The history of the example in the module's head.
fn example() -> History {
    let client = ClientId { born: 1, nonce: 0x00c0_ffee_00c0_ffee };
    let numbered = |seq| Some(Session { client, seq });
    let dog = change(numbered(2), WriteKind::Append, "a", &["dog"]);
    let mut history = History::default();
    for (term, command) in [
        (1, Command::Noop),
        (1, append(numbered(1), "SET 5")),
        (1, append(None, "SET 6")),
        (2, Command::Noop),
        (3, Command::Noop),
        (3, change(None, WriteKind::Put, "a", &["cat"])),
        (3, dog.clone()),
        (3, append(None, "SET 7")),
        (3, change(None, WriteKind::Put, "b", &[])),
        (4, Command::Noop),
        (4, Command::Readmit { node: NodeId(3), disk: DiskId(0x9f3a_01c2_d4e5_f607) }),
        (4, dog),
    ] {
        history.add(term, command);
    }
    history
}

/// An entry's command as clients may send it; the sessions are few, so that retries and gaps are many.
fn any_command(random: &mut Random, store: &Store, long: &Arc<str>) -> Command {
    let client = ClientId { born: random.below(store.last_applied() + 1), nonce: random.below(3) };
    let client = if random.one_in(3) { client } else { ClientId { born: 0, nonce: random.below(5) } };
    let next = 1 + store.session_states().get(&client).map_or(0, |state| state.last_seq);
    let seq = if random.one_in(4) { 1 + random.below(next + 1) } else { next };
    let session = random.one_in(2).then_some(Session { client, seq });
    let text = |random: &mut Random| -> Arc<str> {
        let chars = ['a', ' ', '"', '\\', '\n', '\0', 'é', '…', '\u{202e}', '😀', '=', '@'];
        (0..random.below(6)).map(|_| chars[random.below(12) as usize]).collect::<String>().into()
    };
    match random.below(12) {
        0 => Command::Noop,
        1 => Command::Readmit { node: NodeId(1 + random.below(3)), disk: DiskId(random.next_u64()) },
        2..=4 => Command::Append { session, text: text(random) },
        5 | 6 => {
            let (key, values) = ("long".into(), vec![long.clone()]);
            let kind = if random.one_in(20) { WriteKind::Put } else { WriteKind::Append };
            Command::Write { session, write: Arc::new(KeyWrite { kind, key, values }) }
        }
        draw => {
            let key = ["a", "b", "log", "\"\n", "é", "zz"][random.below(6) as usize];
            let kind = if draw < 10 && key != "log" { WriteKind::Put } else { WriteKind::Append };
            let values: Vec<_> = (0..1 + random.below(3)).map(|_| text(random)).collect();
            Command::Write { session, write: Arc::new(KeyWrite { kind, key: key.into(), values }) }
        }
    }
}

fn any_history(random: &mut Random, entries: u64) -> History {
    let long: Arc<str> = "x".repeat(MAX_TEXT_BYTES - 4).into();
    let mut history = History::default();
    for _ in 0..entries {
        let term = history.last.term.max(1) + u64::from(random.one_in(20));
        let command = any_command(random, &history.store, &long);
        history.add(term, command);
    }
    history
}

fn read_all(text: &[u8]) -> Result<(SnapshotMeta, Store), String> {
    read(&mut &*text).map_err(|error| error.to_string())
}

/// The text with a last line that fits: what is wrong in it has to be found by other means.
fn sealed(text: &str) -> String {
    let (body, _) = text.trim_end_matches('\n').rsplit_once('\n').expect("two lines");
    let lines = body.lines().count() + 1;
    format!("{body}\nend lines={lines} crc={:08x}\n", crc32(0, format!("{body}\n").as_bytes()))
}

#[test]
fn the_example_in_the_modules_head_is_one() {
    let head = include_str!("snapshot.rs").split("```").nth(1).expect("an example");
    let lines = head.lines().filter_map(|line| line.strip_prefix("//! ")).filter(|line| !["", "text"].contains(line));
    let shown: String = lines.map(|line| format!("{line}\n")).collect();
    let history = example();
    let (meta, text) = history.snapshot();
    assert_eq!(shown, text, "the head must show:\n{text}");
    assert_eq!((meta.last, meta.sum), (EntryId::new(12, 4), history.sum));
    assert_eq!((meta.bytes, meta.crc), (text.len() as u64, crc32(0, text.as_bytes())));
    assert_eq!(read_all(text.as_bytes()), Ok((meta, history.store)));
}

#[test]
fn an_empty_store_is_one_too() {
    let history = History::default();
    let (meta, text) = history.snapshot();
    assert_eq!(read_all(text.as_bytes()), Ok((meta, Store::new())));
}

#[test]
fn any_store_comes_back_and_is_written_the_same() {
    let mut random = Random::from_seed(11);
    for round in 0..40 {
        let entries = random.below(600);
        let history = any_history(&mut random, entries);
        let (meta, text) = history.snapshot();
        assert_eq!((meta.bytes, meta.crc), (text.len() as u64, crc32(0, text.as_bytes())));
        // However it comes: in small pieces, too.
        let mut input = BufReader::with_capacity(1 + random.below(100) as usize, text.as_bytes());
        let (read_meta, read_store) = read(&mut input).unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!(read_meta, meta);
        assert!(read_store == history.store, "round {round}");
        assert!(written(&read_store, meta.last, meta.sum) == (meta, text), "round {round}");
    }
}

/// What is applied after a snapshot does the same as without, sessions across it included.
#[test]
fn a_store_goes_on_from_a_snapshot_as_if_there_were_none() {
    let mut random = Random::from_seed(12);
    let mut seen = [0; 6];
    for _ in 0..25 {
        let entries = 1 + random.below(800);
        let history = any_history(&mut random, entries);
        let cut = random.below(entries + 1) as usize;
        let mut before = Store::new();
        for entry in &history.entries[..cut] {
            before.apply(entry);
        }
        let last = history.entries[..cut].last().map_or(EntryId::ZERO, |entry| entry.id);
        let (_, text) = written(&before, last, 5);
        let (_, mut store) = read_all(text.as_bytes()).expect("it was written so");
        for (entry, answer) in history.entries.iter().zip(&history.answers).skip(cut) {
            assert_eq!(store.apply(entry), *answer, "{entry:?}");
            let before_cut = |id: &EntryId| id.index <= cut as u64 && cut > 0;
            seen[match answer {
                Applied::Repeated(id) if before_cut(id) => 0,
                Applied::Full { id } if before_cut(id) => 1,
                Applied::Gap { expected } if *expected > 1 => 2,
                Applied::Full { .. } => 3,
                Applied::Readmitted(_) => 4,
                _ => 5,
            }] += 1;
        }
        assert!(store == history.store);
        assert_eq!(store.readmitted(), history.store.readmitted());
    }
    assert!(seen.iter().all(|count| *count > 10), "the histories are too tame: {seen:?}");
}

/// More sessions than are kept, and more answers.
#[test]
fn evicted_sessions_stay_evicted() {
    let mut history = History::default();
    let first = ClientId { born: 0, nonce: 0 };
    history.add(1, append(Some(Session { client: first, seq: 1 }), "x"));
    for seq in 1..=SESSION_ANSWERS as u64 + 10 {
        history.add(1, append(Some(Session { client: ClientId { born: 0, nonce: 1 }, seq }), "x"));
    }
    for nonce in 2..2 + MAX_SESSIONS as u64 {
        let client = ClientId { born: history.last.index, nonce };
        history.add(2, append(Some(Session { client, seq: 1 }), "x"));
    }
    let (meta, text) = history.snapshot();
    let (read_meta, mut store) = read_all(text.as_bytes()).expect("it was written so");
    assert_eq!((read_meta, &store), (meta, &history.store));
    assert!(store.evicted_through() > 0 && store.sessions() == MAX_SESSIONS);
    let id = EntryId::new(meta.last.index + 1, 3);
    let late = Entry { id, command: append(Some(Session { client: first, seq: 1 }), "x") };
    assert_eq!(store.apply(&late), Applied::Expired);
    let fewer = text.replacen(" sessions=1024", " sessions=1023", 1);
    let last_session = fewer.rfind("session ").expect("a session");
    let fewer = sealed(&format!("{}end\n", &fewer[..last_session]));
    assert!(read_all(fewer.as_bytes()).is_err_and(|why| why.contains("evicted beyond")));
}

#[test]
fn any_changed_byte_is_found() {
    let (_, text) = example().snapshot();
    let mut bytes = text.into_bytes();
    for at in 0..bytes.len() {
        let right = bytes[at];
        for wrong in (0..=255).filter(|wrong| *wrong != right) {
            bytes[at] = wrong;
            assert!(read_all(&bytes).is_err(), "byte {at} is {wrong} instead of {right}");
        }
        bytes[at] = right;
        assert!(read_all(&bytes[..at]).is_err(), "cut off at {at}");
        let mut without = bytes.clone();
        without.remove(at);
        assert!(read_all(&without).is_err(), "without byte {at}");
        for more in [right, b'\n', b' ', b'0', 0] {
            let mut with = bytes.clone();
            with.insert(at, more);
            assert!(read_all(&with).is_err(), "one more at {at}");
        }
    }
    for behind in ["\n", " ", "end", "snapshot 1\n"] {
        assert!(read_all(&[&bytes, behind.as_bytes()].concat()).is_err(), "{behind:?} behind the end");
    }
}

/// Whatever reads, its checksum made right, is written so again: there is one text for each store.
#[test]
fn what_reads_is_written_so() {
    let mut random = Random::from_seed(13);
    let (_, text) = example().snapshot();
    let mut taken = 0;
    for _ in 0..100_000 {
        let mut bytes = text.clone().into_bytes();
        let at = random.below(bytes.len() as u64 - 1) as usize;
        match random.below(3) {
            0 => bytes[at] = b"0123456789 @\"\\=-ag\n"[random.below(19) as usize],
            1 => _ = bytes.remove(at),
            _ => bytes.insert(at, b"0123456789 @\"\\=-ag\n"[random.below(19) as usize]),
        }
        let Ok(changed) = String::from_utf8(bytes) else { continue };
        let changed = sealed(&changed);
        if let Ok((meta, store)) = read_all(changed.as_bytes()) {
            taken += usize::from(changed != text);
            assert_eq!(written(&store, meta.last, meta.sum), (meta, changed));
        }
    }
    assert!(taken > 1000, "only {taken} were other snapshots");
}

#[test]
fn what_no_entries_can_have_brought_is_refused() {
    let (_, text) = example().snapshot();
    let cases = [
        ("snapshot 1", "snapshot 2", "line 1 of the snapshot: the line expected \"1\""),
        ("last=12@4", "last=0@4", "line 1 of the snapshot: last= expected"),
        ("evicted=0", "evicted=13", "line 1 of the snapshot: sessions used at 13"),
        ("evicted=0", "evicted=12", "used last at 12, after 7@3, and is not evicted"),
        ("evicted=0", "evicted=1", "evicted beyond 1024, but there are 1"),
        ("readmitted=1", "readmitted=0", "line 2 of the snapshot: the line expected \"string\""),
        ("strings=3", "strings=4", "line 6 of the snapshot: the line expected \"string\""),
        ("strings=3", "strings=9007199254740991", "line 6"),
        ("keys=2", "keys=1", "line 9 of the snapshot: the line expected \"session\""),
        ("sessions=1", "sessions=2", "line 11 of the snapshot: the line expected \"session\""),
        ("node_3", "node_10", "line 2 of the snapshot: the node expected node_1"),
        ("since=11@4", "since=0@0", "0@0 in a snapshot through 12@4"),
        ("since=11@4", "since=13@4", "13@4 in a snapshot through 12@4"),
        ("since=11@4", "since=11@5", "11@5 in a snapshot through 12@4"),
        ("since=11@4", "since=12@3", "12@3 in a snapshot through 12@4"),
        ("string 3@1", "string 1@1", "line 4 of the snapshot: a string of 1@1 after one of 2@1"),
        ("string 3@1", "string 2@2", "a string of 2@2 after one of 2@1"),
        ("string 8@3", "string 13@4", "13@4 in a snapshot"),
        ("string 2@1", "string 2@3", "a string of 3@1 after one of 2@3"),
        ("key \"b\"", "key \"a\"", "line 9 of the snapshot: the key \"a\" is out of order"),
        ("key \"b\"", "key \"A\"", "the key \"A\" is out of order"),
        ("key \"b\"", "key \"\"", "a key has 1 to 256 bytes, this one 0"),
        ("key \"b\"", "key \"log\"", "lab's log"),
        ("changed=7@3", "changed=0@0", "0@0 in a snapshot"),
        ("changed=7@3", "changed=13@4", "13@4 in a snapshot"),
        ("values=2", "values=3", "line 9 of the snapshot: the line expected \"value\""),
        ("values=2", "values=1", "line 8 of the snapshot: the line expected \"key\""),
        (" last=2 used=12 2@1 7@3", " last=0 used=12", "has 0 answers"),
        (" last=2 used=12 2@1 7@3", " last=2 used=12 2@1", "has 1 answers, through number 2 there are 2"),
        (" last=2 used=12 2@1 7@3", " last=2 used=12 7@3 7@3", "has the answer 7@3 after 7@3"),
        (" last=2 used=12 2@1 7@3", " last=2 used=12 1@1 7@3", "has the answer 1@1 after 1@0"),
        (" last=2 used=12 2@1 7@3", " last=2 used=12 2@1 12@3", "has the answer 12@3 after 2@1"),
        (" last=2 used=12 2@1 7@3", " last=2 used=13 2@1 7@3", "used last at 13"),
        (" last=2 used=12 2@1 7@3", " last=2 used=6 2@1 7@3", "used last at 6, after 7@3"),
        (" last=2 used=12 2@1 7@3", " last=2 used=12 2@1 empty=7@3", "an answer expected"),
    ];
    for (from, to, expected) in cases {
        assert_eq!(text.matches(from).count(), 1, "{from:?} in\n{text}");
        let changed = sealed(&text.replacen(from, to, 1));
        match read_all(changed.as_bytes()) {
            Ok(_) => panic!("{to:?} was taken instead of {from:?}"),
            Err(why) => assert!(why.contains(expected), "{to:?}: {why}"),
        }
    }
    let twice = |line: &str, count: &str, more: &str| {
        let twice = text.replacen(line, &format!("{line}{line}"), 1).replacen(count, more, 1);
        assert!(twice.len() == text.len() + line.len());
        read_all(sealed(&twice).as_bytes()).err().unwrap_or_default()
    };
    let node = twice("readmitted node_3 disk=9f3a01c2d4e5f607 since=11@4\n", "readmitted=1", "readmitted=2");
    assert!(node.contains("node_3 is out of order"), "{node}");
    let session = twice("session 1-00c0ffee00c0ffee last=2 used=12 2@1 7@3\n", "sessions=1", "sessions=2");
    assert!(session.contains("session 1-00c0ffee00c0ffee is out of order"), "{session}");
    let line = "session 1-00c0ffee00c0ffee last=2 used=12 2@1 7@3\n";
    let both = text.replacen(line, &format!("{line}session 4-0000000000000000 last=1 used=12 9@3\n"), 1);
    let both = read_all(sealed(&both.replacen("sessions=1", "sessions=2", 1)).as_bytes()).err().unwrap_or_default();
    assert!(both.contains("were both used last at 12"), "{both}");
}

/// Everything at its limit fits into a line, and one more is refused.
#[test]
fn the_longest_lines_and_lists() {
    let mut history = History::default();
    history.add(1, append(None, &"\u{7f}".repeat(MAX_TEXT_BYTES)));
    let half = "\u{1}".repeat(MAX_TEXT_BYTES / 2 - 3);
    history.add(1, change(None, WriteKind::Append, "log", &[&half, &half]));
    let key = "\u{7f}".repeat(MAX_KEY_BYTES);
    history.add(1, change(None, WriteKind::Put, &key, &[&"\u{85}".repeat((MAX_TEXT_BYTES - MAX_KEY_BYTES) / 2)]));
    let (meta, text) = history.snapshot();
    assert_eq!(read_all(text.as_bytes()), Ok((meta, history.store)));

    let longer = text.replacen("string 1@1 \"", "string 1@1 \"x", 1);
    let why = read_all(sealed(&longer).as_bytes()).err().unwrap_or_default();
    assert_eq!(why, "line 2 of the snapshot: the string has 65537 bytes, at most 65536 are allowed");
    let endless = text.replacen("string 1@1 \"", &format!("string 1@1 \"{}", "x".repeat(MAX_LINE_BYTES)), 1);
    let why = read_all(endless.as_bytes()).err().unwrap_or_default();
    assert_eq!(why, "line 2 of the snapshot: it is longer than 1048576 bytes");
    let group = text.replacen("string 1@1 ", "string 2@1 ", 1);
    let why = read_all(sealed(&group).as_bytes()).err().unwrap_or_default();
    assert!(why.contains("entry 2@1 brings more than 1024 strings or 65536 bytes"), "{why}");

    let list = |values: usize, value: &str| {
        let mut text = format!(
            "snapshot 1 last=9@1 sum=00000000 evicted=0 readmitted=0 strings=0 keys=1 sessions=0\nkey \"a\" changed=9@1 \
             values={values}\n"
        );
        text.extend((0..values).map(|_| format!("value \"{value}\"\n")));
        read_all(sealed(&(text + "end\n")).as_bytes()).map(|_| ())
    };
    assert_eq!(list(64 * 1024, ""), Ok(()));
    assert!(list(64 * 1024 + 1, "").is_err_and(|why| why.starts_with("line 65539 of the snapshot: the list of \"a\"")));
    assert_eq!(list(16, &"x".repeat(64 * 1024)), Ok(()));
    assert!(list(17, &"x".repeat(64 * 1024)).is_err_and(|why| why.contains("1048576 bytes")));
}

/// A disk that fails is told as such.
#[test]
fn a_failed_write_is_an_error() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let left = bytes.len().min(self.0);
            self.0 -= left;
            if left == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(left) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let history = example();
    let len = history.snapshot().1.len();
    for room in 0..len {
        assert!(write(&history.store, history.last, history.sum, &mut Full(room)).is_err());
    }
    assert!(write(&history.store, history.last, history.sum, &mut Full(len)).is_ok());
}
