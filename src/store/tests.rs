use super::*;
use crate::raft::types::DiskId;

/// A store and the next entry's place.
#[derive(Default)]
struct Fixture {
    store: Store,
}

impl Fixture {
    fn next(&self) -> EntryId {
        EntryId::new(self.store.last_applied() + 1, 1)
    }

    fn apply(&mut self, command: Command) -> Applied {
        let entry = Entry { id: self.next(), command };
        let applied = self.store.apply(&entry);
        self.check();
        applied
    }

    fn append(&mut self, client: ClientId, seq: u64) -> Applied {
        self.apply(Command::Append { session: Some(Session { client, seq }), text: format!("{client} {seq}").into() })
    }

    fn plain(&mut self, text: &str) -> Applied {
        self.apply(Command::Append { session: None, text: text.into() })
    }

    fn write(&mut self, kind: WriteKind, key: &str, values: &[&str]) -> Applied {
        self.write_as(None, kind, key, values)
    }

    fn write_as(&mut self, session: Option<Session>, kind: WriteKind, key: &str, values: &[&str]) -> Applied {
        let values = values.iter().map(|value| (*value).into()).collect();
        self.apply(Command::Write { session, write: Arc::new(KeyWrite { kind, key: key.into(), values }) })
    }

    /// The whole list of a key, and what changed it last.
    fn list(&self, key: &str) -> Option<(Vec<String>, Index)> {
        let page = self.store.get(key, 1, usize::MAX, usize::MAX)?;
        assert_eq!((page.total, page.next), (page.values.len() as u64, page.total + 1));
        Some((page.values.iter().map(|value| value.to_string()).collect(), page.changed.index))
    }

    /// A session as a node makes it: born at what is applied now.
    fn born(&self, nonce: u64) -> ClientId {
        ClientId { born: self.store.last_applied(), nonce }
    }

    fn texts(&self) -> Vec<String> {
        self.store.strings.iter().map(|(_, text)| text.to_string()).collect()
    }

    fn check(&self) {
        let store = &self.store;
        assert!(store.sessions() <= MAX_SESSIONS);
        assert_eq!(store.sessions(), store.sessions.by_use.len());
        for (last_used, client) in &store.sessions.by_use {
            let state = &store.sessions.states[client];
            assert_eq!(state.last_used, *last_used);
            assert!(*last_used > store.evicted_through());
            assert!(state.answers.len() <= SESSION_ANSWERS);
        }
    }
}

fn ok(index: Index) -> Applied {
    Applied::Ok(EntryId::new(index, 1))
}

#[test]
fn entries_without_a_session_are_appended_each_time() {
    let mut fixture = Fixture::default();
    assert_eq!(fixture.apply(Command::Noop), Applied::Noop);
    assert_eq!(fixture.plain("x"), ok(2));
    assert_eq!(fixture.plain("x"), ok(3));
    assert_eq!(fixture.plain(""), ok(4));
    assert_eq!(fixture.texts(), ["x", "x", ""]);
    assert_eq!(fixture.store.sessions(), 0);
    assert_eq!((fixture.store.last_applied(), fixture.store.len(), fixture.store.is_empty()), (4, 3, false));
}

#[test]
fn a_repeated_request_is_answered_with_its_first_place() {
    let mut fixture = Fixture::default();
    let client = fixture.born(7);
    assert_eq!(fixture.append(client, 1), ok(1));
    assert_eq!(fixture.append(client, 1), Applied::Repeated(EntryId::new(1, 1)));
    assert_eq!(fixture.append(client, 2), ok(3));
    assert_eq!(fixture.append(client, 1), Applied::Repeated(EntryId::new(1, 1)));
    assert_eq!(fixture.append(client, 2), Applied::Repeated(EntryId::new(3, 1)));
    assert_eq!(fixture.store.len(), 2);
}

#[test]
fn session_gap_only_the_next_number_is_applied() {
    let mut fixture = Fixture::default();
    let client = fixture.born(7);
    assert_eq!(fixture.append(client, 2), Applied::Gap { expected: 1 });
    assert_eq!(fixture.store.sessions(), 0, "a refused request opens no session");
    for seq in 1..=4 {
        fixture.append(client, seq);
    }
    // 5 is lost, 6 arrives; then both come again.
    assert_eq!(fixture.append(client, 6), Applied::Gap { expected: 5 });
    assert_eq!(fixture.append(client, u64::MAX), Applied::Gap { expected: 5 });
    assert_eq!(fixture.append(client, 0), Applied::Gap { expected: 5 });
    assert_eq!(fixture.append(client, 5), ok(9));
    assert_eq!(fixture.append(client, 6), ok(10));
    assert_eq!(fixture.store.len(), 6);
}

#[test]
fn session_old_answer_all_answers_under_way_are_kept_and_no_more() {
    let mut fixture = Fixture::default();
    let client = fixture.born(7);
    let window = SESSION_ANSWERS as u64;
    for seq in 1..=window {
        assert_eq!(fixture.append(client, seq), ok(seq));
    }
    for seq in 1..=window {
        assert_eq!(fixture.append(client, seq), Applied::Repeated(EntryId::new(seq, 1)));
    }
    assert_eq!(fixture.append(client, window + 1), ok(2 * window + 1));
    assert_eq!(fixture.append(client, 1), Applied::Forgotten);
    assert_eq!(fixture.append(client, 2), Applied::Repeated(EntryId::new(2, 1)));
    assert_eq!(fixture.store.len() as u64, window + 1);
}

#[test]
fn session_expired_a_retry_after_eviction_is_refused_not_run_twice() {
    let mut fixture = Fixture::default();
    let old = fixture.born(0);
    assert_eq!(fixture.append(old, 1), ok(1));
    let unused = ClientId { born: 0, nonce: u64::MAX };
    for nonce in 1..=MAX_SESSIONS as u64 {
        let client = fixture.born(nonce);
        assert!(matches!(fixture.append(client, 1), Applied::Ok(_)));
    }
    let before = fixture.store.len();
    assert_eq!(fixture.append(old, 1), Applied::Expired);
    assert_eq!(fixture.append(old, 2), Applied::Expired);
    assert_eq!(fixture.append(unused, 1), Applied::Expired, "it might have been evicted");
    assert_eq!(fixture.store.len(), before);
    assert_eq!(fixture.store.sessions(), MAX_SESSIONS);
    let fresh = fixture.born(u64::MAX);
    assert!(matches!(fixture.append(fresh, 1), Applied::Ok(_)));
}

#[test]
fn the_least_recently_used_session_is_evicted_and_a_retry_counts_as_use() {
    let mut fixture = Fixture::default();
    let clients: Vec<ClientId> = (0..MAX_SESSIONS as u64).map(|nonce| ClientId { born: 0, nonce }).collect();
    for client in &clients {
        fixture.append(*client, 1);
    }
    // A retry and a gap keep the first two; the third is the oldest then.
    fixture.append(clients[0], 1);
    fixture.append(clients[1], 9);
    let third_used = 3;
    let newcomer = fixture.born(u64::MAX);
    assert!(matches!(fixture.append(newcomer, 1), Applied::Ok(_)));
    assert_eq!(fixture.store.evicted_through(), third_used);
    assert!(matches!(fixture.append(clients[0], 1), Applied::Repeated(_)));
    assert!(matches!(fixture.append(clients[1], 2), Applied::Ok(_)));
    assert_eq!(fixture.append(clients[2], 2), Applied::Expired);
    assert!(matches!(fixture.append(clients[3], 2), Applied::Ok(_)));
    // Born exactly where the evicted one was used last: it can only be new.
    assert!(matches!(fixture.append(ClientId { born: third_used, nonce: 5 }, 1), Applied::Ok(_)));
}

#[test]
fn a_session_of_another_log_is_refused() {
    let mut fixture = Fixture::default();
    assert_eq!(fixture.append(ClientId { born: 1, nonce: 1 }, 1), Applied::Expired);
    assert_eq!(fixture.append(ClientId { born: u64::MAX, nonce: 1 }, 1), Applied::Expired);
    assert_eq!(fixture.append(ClientId { born: 2, nonce: 1 }, 1), ok(3));
}

#[test]
fn the_same_entries_make_the_same_state() {
    let (mut one, mut two) = (Fixture::default(), Fixture::default());
    let mut draw = 1u64;
    for _ in 0..6_000 {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let client = ClientId { born: (draw >> 20) % (one.store.last_applied() + 1), nonce: (draw >> 40) % 1500 };
        let command = Command::Append { session: Some(Session { client, seq: (draw >> 60) % 3 }), text: "x".into() };
        assert_eq!(one.apply(command.clone()), two.apply(command));
    }
    assert_eq!(one.store, two.store);
    assert_eq!(one.store.sessions(), MAX_SESSIONS);
}

#[test]
fn pages_are_bounded_and_lead_to_the_end() {
    let mut fixture = Fixture::default();
    assert_eq!(fixture.store.strings_from(0, 10, 100), Page { strings: vec![], next: 1 });
    fixture.apply(Command::Noop);
    for text in ["a", "bb", "", "dddddddddd", "e"] {
        fixture.plain(text);
    }
    fixture.apply(Command::Noop);
    let page = |from, count, bytes| {
        let page = fixture.store.strings_from(from, count, bytes);
        (page.strings.iter().map(|(id, _)| id.index).collect::<Vec<_>>(), page.next)
    };
    assert_eq!(page(1, 100, 100), (vec![2, 3, 4, 5, 6], 8));
    assert_eq!(page(1, 2, 100), (vec![2, 3], 4));
    assert_eq!(page(4, 2, 100), (vec![4, 5], 6));
    assert_eq!(page(3, 100, 6), (vec![3, 4], 5), "the quotes count");
    assert_eq!(page(3, 100, 5), (vec![3], 4));
    assert_eq!(page(5, 100, 4), (vec![5], 6), "one always fits");
    assert_eq!(page(5, 0, 0), (vec![5], 6));
    assert_eq!(page(7, 100, 100), (vec![], 8));
    assert_eq!(page(20, 100, 100), (vec![], 20), "who waits for 20 is not sent back");
}

#[test]
fn refusals_are_explained() {
    assert!(Applied::Gap { expected: 4 }.to_string().starts_with("expected 4"));
    assert!(Applied::Expired.to_string().contains("not applied now"));
    assert!(Applied::Forgotten.to_string().contains("not applied again"));
    let full = Applied::Full { id: EntryId::new(3, 1) }.to_string();
    assert!(full.starts_with("refused by 3@1") && full.contains("nothing was appended"), "{full}");
    assert_eq!(Applied::Repeated(EntryId::new(3, 1)).to_string(), "applied already, as 3@1");
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| text.to_string()).collect()
}

#[test]
fn put_replaces_and_append_adds_or_puts() {
    use WriteKind::{Append, Put};
    let mut fixture = Fixture::default();
    assert_eq!(fixture.list("a"), None);
    assert_eq!(fixture.write(Append, "a", &["cat", "dog"]), ok(1));
    assert_eq!(fixture.list("a"), Some((owned(&["cat", "dog"]), 1)), "append to a missing key is put");
    assert_eq!(fixture.write(Append, "a", &["cat"]), ok(2));
    assert_eq!(fixture.list("a"), Some((owned(&["cat", "dog", "cat"]), 2)));
    assert_eq!(fixture.write(Put, "a", &["x"]), ok(3));
    assert_eq!(fixture.list("a"), Some((owned(&["x"]), 3)));
    assert_eq!(fixture.write(Put, "a", &[]), ok(4));
    assert_eq!(fixture.list("a"), Some((vec![], 4)), "an empty list is a value");
    assert_eq!(fixture.write(Append, "a", &["mouse"]), ok(5));
    assert_eq!(fixture.list("a"), Some((owned(&["mouse"]), 5)));
    fixture.write(Put, "b", &["other"]);
    assert_eq!(fixture.list("a"), Some((owned(&["mouse"]), 5)));
    assert_eq!((fixture.store.keys_len(), fixture.store.len()), (2, 0));
}

/// `append-to "log"` and the lab's `append` are one list, which nothing replaces.
#[test]
fn the_labs_log_is_the_list_of_one_key() {
    let mut fixture = Fixture::default();
    assert_eq!((fixture.list("log"), fixture.store.keys_len()), (None, 0));
    fixture.plain("one");
    assert_eq!(fixture.write(WriteKind::Append, "log", &["two", "three"]), ok(2));
    assert_eq!(fixture.write(WriteKind::Put, "log", &["four"]), ok(3), "it only grows");
    fixture.write(WriteKind::Put, "b", &["x"]);
    assert_eq!(fixture.list("log"), Some((owned(&["one", "two", "three", "four"]), 3)));
    assert_eq!(fixture.texts(), ["one", "two", "three", "four"]);
    let places: Vec<Index> = fixture.store.strings().iter().map(|(id, _)| id.index).collect();
    assert_eq!(places, [1, 2, 2, 3]);
    assert_eq!(fixture.store.keys_len(), 2);
}

#[test]
fn a_page_of_the_log_never_splits_an_entry() {
    let mut fixture = Fixture::default();
    fixture.plain("a");
    fixture.write(WriteKind::Append, "log", &["b", "c", "d"]);
    fixture.plain("e");
    let page = |from, count, bytes| {
        let page = fixture.store.strings_from(from, count, bytes);
        (page.strings.iter().map(|(_, text)| text.to_string()).collect::<String>(), page.next)
    };
    let (all, two) = (usize::MAX, 2);
    assert_eq!(page(1, 1, all), ("a".into(), 2));
    assert_eq!(page(1, two, all), ("a".into(), 2), "half of entry 2 would fit");
    assert_eq!(page(1, 3, all), ("a".into(), 2));
    assert_eq!(page(1, 4, all), ("abcd".into(), 3));
    assert_eq!(page(2, 1, all), ("bcd".into(), 3), "one entry always fits");
    assert_eq!(page(2, all, 3), ("bcd".into(), 3));
    assert_eq!(page(1, all, 11), ("a".into(), 2));
    assert_eq!(page(1, all, 12), ("abcd".into(), 3));
    assert_eq!(page(1, all, all), ("abcde".into(), 4));
}

#[test]
fn pages_of_a_list_lead_to_its_end() {
    let mut fixture = Fixture::default();
    fixture.write(WriteKind::Put, "a", &["1", "22", "", "4444444444", "5"]);
    for text in ["1", "22", "", "4444444444", "5"] {
        fixture.plain(text);
    }
    for key in ["a", "log"] {
        let page = |from, count, bytes| {
            let page = fixture.store.get(key, from, count, bytes).expect("it is there");
            assert_eq!((page.total, page.changed.index), (5, if key == "a" { 1 } else { 6 }));
            (page.values.join("+"), page.next)
        };
        assert_eq!(page(1, 100, 100), ("1+22++4444444444+5".into(), 6));
        assert_eq!(page(1, 2, 100), ("1+22".into(), 3));
        assert_eq!(page(3, 2, 100), ("+4444444444".into(), 5));
        assert_eq!(page(2, 100, 6), ("22+".into(), 4), "the quotes count");
        assert_eq!(page(4, 100, 3), ("4444444444".into(), 5), "one always fits");
        assert_eq!(page(5, 0, 0), ("5".into(), 6));
        assert_eq!(page(0, 1, 100), ("1".into(), 2));
        assert_eq!(page(6, 100, 100), (String::new(), 6));
        assert_eq!(page(20, 100, 100), (String::new(), 20), "the list was longer when its first page was asked for");
    }
}

#[test]
fn keys_come_in_the_order_of_their_bytes_with_the_log_among_them() {
    let mut fixture = Fixture::default();
    assert_eq!(fixture.store.keys(None, 10), KeysPage { keys: vec![], next: None });
    for (key, count) in [("z", 1), ("a", 2), ("m", 0), ("lof", 1), ("log2", 3)] {
        fixture.write(WriteKind::Put, key, &["x"; 3][..count]);
    }
    let page = |fixture: &Fixture, from, count| {
        let page = fixture.store.keys(from, count);
        let keys: Vec<String> = page.keys.iter().map(|(key, values)| format!("{key}={values}")).collect();
        (keys.join(" "), page.next.map(|key| key.to_string()))
    };
    assert_eq!(page(&fixture, None, 10), ("a=2 lof=1 log2=3 m=0 z=1".into(), None), "the log has no string yet");
    fixture.plain("x");
    assert_eq!(page(&fixture, None, 10), ("a=2 lof=1 log=1 log2=3 m=0 z=1".into(), None));
    assert_eq!(page(&fixture, None, 6).1, None);
    assert_eq!(page(&fixture, None, 2), ("a=2 lof=1".into(), Some("log".into())));
    assert_eq!(page(&fixture, Some("log"), 1), ("log=1".into(), Some("log2".into())));
    assert_eq!(page(&fixture, Some("log2"), 2), ("log2=3 m=0".into(), Some("z".into())));
    assert_eq!(page(&fixture, Some("b"), 0), ("lof=1".into(), Some("log".into())), "one always");
    assert_eq!(page(&fixture, Some("zz"), 10), (String::new(), None));
}

#[test]
fn a_full_list_takes_no_more_and_a_put_makes_room() {
    let mut fixture = Fixture::default();
    let long = "x".repeat(MAX_TEXT_BYTES - 1);
    for _ in 0..16 {
        assert!(matches!(fixture.write(WriteKind::Append, "a", &[&long]), Applied::Ok(_)));
    }
    let full = |index| Applied::Full { id: EntryId::new(index, 1) };
    assert_eq!(fixture.write(WriteKind::Append, "a", &["12345678901234567"]), full(17), "one byte too much");
    assert_eq!(fixture.write(WriteKind::Append, "a", &["123456789012", "34", "56"]), ok(18), "exactly full");
    assert_eq!(fixture.write(WriteKind::Append, "a", &["x"]), full(19));
    assert_eq!(fixture.write(WriteKind::Append, "a", &[""]), ok(20), "no byte more");
    assert_eq!(fixture.list("a").map(|(values, changed)| (values.len(), changed)), Some((20, 20)));
    fixture.write(WriteKind::Put, "a", &["y"]);
    assert_eq!(fixture.write(WriteKind::Append, "a", &["x"]), ok(22));

    for _ in 0..64 {
        fixture.write(WriteKind::Append, "b", &[""; MAX_VALUES]);
    }
    let next = fixture.next().index;
    assert_eq!(fixture.write(WriteKind::Append, "b", &[""]), full(next));
    assert_eq!(fixture.list("b").map(|(values, changed)| (values.len(), changed)), Some((MAX_LIST_VALUES, next - 1)));
    for _ in 0..17 {
        assert!(matches!(fixture.plain(&long), Applied::Ok(_)), "the lab's log has no such limit");
    }
}

/// Who heard that nothing was appended must not be proved wrong by a late copy of the request.
#[test]
fn a_refusal_of_a_full_list_uses_its_number_up() {
    let mut fixture = Fixture::default();
    for _ in 0..64 {
        fixture.write(WriteKind::Append, "a", &[""; MAX_VALUES]);
    }
    let client = fixture.born(7);
    let session = |seq| Some(Session { client, seq });
    let full = Applied::Full { id: fixture.next() };
    assert_eq!(fixture.write_as(session(1), WriteKind::Append, "a", &["x"]), full);
    assert!(
        matches!(fixture.write_as(session(2), WriteKind::Put, "a", &["y"]), Applied::Ok(_)),
        "what follows goes on"
    );
    assert_eq!(fixture.write_as(session(1), WriteKind::Append, "a", &["x"]), full, "though there is room now");
    assert!(matches!(fixture.write_as(session(2), WriteKind::Put, "a", &["y"]), Applied::Repeated(_)));
    assert_eq!(fixture.list("a").map(|(values, _)| values), Some(owned(&["y"])));
    for seq in 3..3 + SESSION_ANSWERS as u64 {
        fixture.append(client, seq);
    }
    let forgotten = fixture.write_as(session(1), WriteKind::Append, "a", &["x"]);
    assert_eq!(forgotten, Applied::Forgotten, "with the session's other old answers");
    assert!(fixture.store.session_states()[&client].full.is_empty());
}

#[test]
fn readmitted_disks_are_kept_the_last_of_each_node() {
    let mut fixture = Fixture::default();
    assert!(fixture.store.readmitted().is_empty());
    for (index, node, disk) in [(1, 3, 7), (2, 1, 8), (3, 3, 9)] {
        let (node, disk) = (NodeId(node), DiskId(disk));
        assert_eq!(fixture.apply(Command::Readmit { node, disk }), Applied::Readmitted(EntryId::new(index, 1)));
    }
    let disk = |disk, index| Disk { id: DiskId(disk), since: EntryId::new(index, 1) };
    let expected = BTreeMap::from([(NodeId(1), disk(8, 2)), (NodeId(3), disk(9, 3))]);
    assert_eq!(fixture.store.readmitted(), &expected);
}
