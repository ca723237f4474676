use super::*;
use crate::raft::types::Session;

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
    assert_eq!(Applied::Repeated(EntryId::new(3, 1)).to_string(), "applied already, as 3@1");
}
