//! Is there an order of what clients asked of one key that explains all that they were answered?
//!
//! Linearizability (Herlihy & Wing 1990), decided in the manner of Wing & Gong 1993 with the memory of
//! Lowe 2017: this checker knows calls and returns, what was asked and what was answered, and nothing
//! of terms, indexes or logs. It tries the orders that respect real time, one operation after the
//! other, and never twice the same set of operations with the same list. Short histories only.

use std::collections::HashSet;
use std::sync::Arc;

/// Operations of one history at the most.
pub const MAX_OPERATIONS: usize = 64;
/// Attempts before a history is given up as undecided.
const MAX_ATTEMPTS: usize = 200_000;

pub type List = Vec<Arc<str>>;

/// What an operation asked, and a read's answer. (Of a write all answers say the same.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    Put(List),
    Append(List),
    /// `None`: there is no such key.
    Read(Option<List>),
}

/// One operation: when it was called and when it was answered, on one clock. Without an answer it may
/// have been done at any time after its call, or never.
#[derive(Clone, Debug)]
pub struct Operation {
    pub called: u64,
    pub returned: Option<u64>,
    pub done: Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    Not,
    /// Too many orders to try.
    Undecided,
}

/// Tries to explain the history of a key that was missing at first. No two writes bring the same string.
pub fn check(history: &[Operation]) -> Verdict {
    if history.len() > MAX_OPERATIONS {
        return Verdict::Undecided;
    }
    let mut order: Vec<usize> = (0..history.len()).collect();
    order.sort_by_key(|at| likely(history, &history[*at]));
    let writers = history.iter().map(|one| writers_of(history, one)).collect();
    let mut search = Search { history, order, writers, tried: HashSet::new() };
    match search.explains(0, Held::Missing) {
        true => Verdict::Linearizable,
        false if search.tried.len() > MAX_ATTEMPTS => Verdict::Undecided,
        false => Verdict::Not,
    }
}

/// When the operation was likely done: as a read has it, or else before it was answered. A good guess
/// saves attempts; a wrong one costs some, and nothing else.
fn likely(history: &[Operation], one: &Operation) -> (u64, usize) {
    let (Done::Put(values) | Done::Append(values)) = &one.done else { return (one.called, 0) };
    let seen = history.iter().filter_map(|other| match &other.done {
        Done::Read(Some(list)) => {
            let at = list.iter().position(|text| values.first() == Some(text))?;
            Some((other.returned.unwrap_or(u64::MAX), at))
        }
        _ => None,
    });
    seen.min().unwrap_or((one.returned.unwrap_or(u64::MAX), 0))
}

/// Whose strings a read gave, as a set of bits.
fn writers_of(history: &[Operation], read: &Operation) -> u64 {
    let Done::Read(Some(list)) = &read.done else { return 0 };
    let wrote = |one: &Operation| match &one.done {
        Done::Put(values) | Done::Append(values) => values.iter().any(|text| list.contains(text)),
        Done::Read(_) => false,
    };
    history.iter().enumerate().filter(|(_, one)| wrote(one)).map(|(at, _)| 1 << at).sum()
}

/// What stands under the key.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Held {
    Missing,
    List(List),
    /// A list that no read will see that is yet to come, nor any that it may grow to.
    Unseen,
}

struct Search<'a> {
    history: &'a [Operation],
    /// The operations in the order in which they are tried.
    order: Vec<usize>,
    /// For each read, [`writers_of`] it.
    writers: Vec<u64>,
    /// The operations that were done, as a set of bits, and what they left.
    tried: HashSet<(u64, Held)>,
}

impl Search<'_> {
    /// Can the rest be explained, after the operations of the set `placed` have left `held`?
    fn explains(&mut self, mut placed: u64, held: Held) -> bool {
        // A read that fits here may as well stand here: it changes nothing, and makes room for others.
        while let Some(at) = self.next(placed).find(|at| self.fits(*at, &held)) {
            placed |= 1 << at;
        }
        let Some(held) = self.in_view_of_reads(placed, held) else { return false };
        let waits = |(at, one): (usize, &Operation)| one.returned.is_some() && placed & (1 << at) == 0;
        if !self.history.iter().enumerate().any(waits) {
            return true;
        }
        if self.tried.len() > MAX_ATTEMPTS || !self.tried.insert((placed, held.clone())) {
            return false;
        }
        let candidates: Vec<usize> = self.next(placed).collect();
        candidates.into_iter().any(|at| {
            let held = match (&self.history[at].done, &held) {
                (Done::Read(_), _) => return false,
                (Done::Append(_), Held::Unseen) => Held::Unseen,
                (Done::Append(values), Held::List(list)) => Held::List([&list[..], values].concat()),
                (Done::Put(values) | Done::Append(values), _) => Held::List(values.clone()),
            };
            self.explains(placed | 1 << at, held)
        })
    }

    fn fits(&self, at: usize, held: &Held) -> bool {
        match (&self.history[at].done, held) {
            (Done::Read(None), Held::Missing) => true,
            (Done::Read(Some(read)), Held::List(list)) => read == list,
            _ => false,
        }
    }

    /// What the reads that are yet to come make of the list: `None` if one of them cannot come any more.
    /// One that gave strings which are there already must have grown from this very list, for no string
    /// is written twice.
    fn in_view_of_reads(&self, placed: u64, held: Held) -> Option<Held> {
        let mut seen = false;
        for (at, one) in self.history.iter().enumerate().filter(|(at, _)| placed & (1 << at) == 0) {
            match (&one.done, &held) {
                (Done::Read(None), Held::Missing) => seen = true,
                (Done::Read(None), _) => return None,
                (Done::Read(Some(read)), Held::List(list)) if read.starts_with(list) => seen = true,
                (Done::Read(Some(_)), _) if self.writers[at] & placed != 0 => return None,
                _ => {}
            }
        }
        Some(if seen || held == Held::Missing { held } else { Held::Unseen })
    }

    /// The operations that may come next: none that waits had been answered before they were called.
    fn next(&self, placed: u64) -> impl Iterator<Item = usize> {
        let waits = move |at: &usize| placed & (1 << at) == 0;
        let all = self.order.iter().copied();
        let first_return = all.clone().filter(waits).filter_map(|at| self.history[at].returned).min();
        all.filter(waits).filter(move |at| first_return.is_none_or(|first| self.history[*at].called < first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &str) -> List {
        words.split_whitespace().map(Arc::from).collect()
    }

    /// One line an operation: `put`, `append` or `read` with its strings, from its call to its return.
    fn history(lines: &[(u64, u64, &str)]) -> Verdict {
        let operation = |(called, returned, text): &(u64, u64, &str)| {
            let (kind, words) = text.split_once(' ').unwrap_or((text, ""));
            let done = match kind {
                "put" => Done::Put(list(words)),
                "append" => Done::Append(list(words)),
                "missing" => Done::Read(None),
                _ => Done::Read(Some(list(words))),
            };
            Operation { called: *called, returned: (*returned > 0).then_some(*returned), done }
        };
        check(&lines.iter().map(operation).collect::<Vec<_>>())
    }

    #[test]
    fn right_histories_are_explained() {
        let right: &[&[(u64, u64, &str)]] = &[
            &[],
            &[(1, 2, "missing"), (3, 4, "put a"), (5, 6, "read a")],
            &[(1, 2, "append a"), (3, 4, "append b"), (5, 6, "read a b")],
            // Concurrent writes in either order, and a read that tells which.
            &[(1, 9, "append a"), (2, 8, "append b"), (10, 11, "read b a")],
            &[(1, 9, "append a"), (2, 8, "put b"), (10, 11, "read b")],
            // A read beside a write sees it or not.
            &[(1, 9, "put a"), (2, 3, "missing"), (4, 5, "read a"), (6, 7, "read a")],
            // Without an answer: done late, or never.
            &[(1, 0, "put a"), (2, 3, "missing"), (4, 5, "put b"), (6, 7, "read a")],
            &[(1, 0, "put a"), (2, 3, "put b"), (4, 5, "read b")],
            // An empty list is a list.
            &[(1, 2, "put a"), (3, 4, "put"), (5, 6, "read"), (7, 8, "append b"), (9, 10, "read b")],
        ];
        for lines in right {
            assert_eq!(history(lines), Verdict::Linearizable, "{lines:?}");
        }
    }

    #[test]
    fn wrong_histories_are_caught() {
        let wrong: &[&[(u64, u64, &str)]] = &[
            // Stale: an acknowledged write is not seen.
            &[(1, 2, "put a"), (3, 4, "missing")],
            &[(1, 2, "put a"), (3, 4, "put b"), (5, 6, "read a")],
            // Back in time: the later read sees less.
            &[(1, 9, "put a"), (2, 3, "read a"), (4, 5, "missing")],
            &[(1, 0, "append a"), (2, 3, "read a"), (4, 5, "missing")],
            // From the future: the write was called after the read had returned.
            &[(1, 2, "read a"), (3, 4, "put a")],
            // Out of thin air.
            &[(1, 2, "put a"), (3, 4, "read z")],
            // Lost, doubled, turned round.
            &[(1, 2, "append a"), (3, 4, "append b"), (5, 6, "read b")],
            &[(1, 2, "append a"), (3, 4, "read a a")],
            &[(1, 2, "append a"), (3, 4, "append b"), (5, 6, "read b a")],
            // Two readers that saw two orders.
            &[(1, 9, "put a"), (1, 9, "put b"), (10, 11, "read a"), (12, 13, "read b")],
            // An empty list is not a missing one.
            &[(1, 2, "put"), (3, 4, "missing")],
        ];
        for lines in wrong {
            assert_eq!(history(lines), Verdict::Not, "{lines:?}");
        }
    }

    #[test]
    fn many_at_once_are_decided() {
        let words: Vec<String> = (0..14).map(|n| format!("append {n}")).collect();
        let mut lines: Vec<(u64, u64, &str)> = words.iter().map(|text| (1, 50, text.as_str())).collect();
        lines.push((60, 61, "read 13 12 11 10 9 8 7 6 5 4 3 2 1 0"));
        assert_eq!(history(&lines), Verdict::Linearizable);
        lines.push((62, 63, "read 0"));
        assert_eq!(history(&lines), Verdict::Not);
        let mut hidden: Vec<(u64, u64, &str)> = words.iter().map(|text| (1, 50, text.as_str())).collect();
        hidden.push((1, 50, "put x"));
        hidden.push((60, 61, "read x"));
        assert_eq!(history(&hidden), Verdict::Linearizable);
        hidden.push((62, 63, "read x 7"));
        assert_eq!(history(&hidden), Verdict::Not);
    }
}
