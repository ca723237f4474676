//! The queue between threads: bounded in items and in weight, emptied in one go.
//!
//! `std::sync::mpsc` bounds items only, and what waits here may be a byte or 64 KiB. And its receiver
//! takes one at a time, while every reader here wants all that waits: while the loop syncs, the next
//! batch gathers.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Instant;

pub struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    emptied: Condvar,
    most_items: usize,
    most_weight: usize,
}

struct State<T> {
    /// Each with its weight.
    items: VecDeque<(T, usize)>,
    weight: usize,
    /// Writers that wait for room.
    waiting: usize,
    closed: bool,
}

impl<T> Queue<T> {
    /// A queue for `most_items` items that weigh `most_weight` together. An empty one takes any
    /// item, however heavy.
    pub fn new(most_items: usize, most_weight: usize) -> Queue<T> {
        let state = State { items: VecDeque::new(), weight: 0, waiting: 0, closed: false };
        Queue { state: Mutex::new(state), filled: Condvar::new(), emptied: Condvar::new(), most_items, most_weight }
    }

    /// Adds an item; waits while the queue is full. False: the queue is closed, the item is dropped.
    pub fn push(&self, item: T, weight: usize) -> bool {
        let mut state = self.lock();
        while self.full(&state, weight) && !state.closed {
            state.waiting += 1;
            state = self.emptied.wait(state).unwrap_or_else(|e| e.into_inner());
            state.waiting -= 1;
        }
        self.add(state, item, weight)
    }

    /// Adds an item if there is room. False: there was none, or the queue is closed.
    pub fn try_push(&self, item: T, weight: usize) -> bool {
        let state = self.lock();
        !self.full(&state, weight) && self.add(state, item, weight)
    }

    /// Adds an item even if the queue is full, for what must not get lost and comes at most once.
    pub fn force_push(&self, item: T) {
        self.add(self.lock(), item, 0);
    }

    /// Moves everything into `out`; waits for the first item until the deadline, or for ever. The
    /// items wait no longer, so the writers go on. False: the deadline passed, or the queue is closed.
    pub fn take_all(&self, out: &mut Vec<T>, deadline: Option<Instant>) -> bool {
        let mut state = self.lock();
        while state.items.is_empty() && !state.closed {
            state = match deadline {
                None => self.filled.wait(state).unwrap_or_else(|e| e.into_inner()),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    self.filled.wait_timeout(state, left).unwrap_or_else(|e| e.into_inner()).0
                }
            };
        }
        if state.items.is_empty() {
            return false;
        }
        out.extend(state.items.drain(..).map(|(item, _)| item));
        state.weight = 0;
        if state.waiting > 0 {
            self.emptied.notify_all();
        }
        true
    }

    /// Drops all items that `gone` picks, and their weight with them.
    pub fn discard(&self, gone: impl Fn(&T) -> bool) {
        let mut state = self.lock();
        state.items.retain(|(item, _)| !gone(item));
        state.weight = state.items.iter().map(|(_, weight)| weight).sum();
        if state.waiting > 0 {
            self.emptied.notify_all();
        }
    }

    /// From now on nothing is taken in; what is there can still be taken out.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
        self.emptied.notify_all();
    }

    fn full(&self, state: &State<T>, weight: usize) -> bool {
        let empty = state.items.is_empty();
        !empty && (state.items.len() >= self.most_items || state.weight.saturating_add(weight) > self.most_weight)
    }

    fn add(&self, mut state: MutexGuard<State<T>>, item: T, weight: usize) -> bool {
        if state.closed {
            return false;
        }
        let was_empty = state.items.is_empty();
        state.items.push_back((item, weight));
        state.weight = state.weight.saturating_add(weight);
        drop(state);
        // One reader a queue: while something is there, it knows already.
        if was_empty {
            self.filled.notify_one();
        }
        true
    }

    /// No code of ours panics while it holds the lock, and a panic ends the process anyway.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    fn all(queue: &Queue<u32>) -> Vec<u32> {
        let mut out = Vec::new();
        queue.take_all(&mut out, Some(Instant::now()));
        out
    }

    #[test]
    fn takes_all_that_waits_in_order() {
        let queue = Queue::new(3, 100);
        assert!(queue.try_push(1, 0) && queue.try_push(2, 0) && queue.try_push(3, 0));
        assert!(!queue.try_push(4, 0), "three items are the limit");
        queue.force_push(5);
        assert_eq!(all(&queue), [1, 2, 3, 5]);
        assert_eq!(all(&queue), []);
    }

    #[test]
    fn weight_is_a_limit_but_never_for_an_empty_queue() {
        let queue = Queue::new(100, 10);
        assert!(queue.try_push(1, 1000));
        assert!(!queue.try_push(2, 1));
        assert_eq!(all(&queue), [1]);
        assert!(queue.try_push(3, 6) && queue.try_push(4, 4) && !queue.try_push(5, 1));
        queue.discard(|item| *item == 3);
        assert!(queue.try_push(6, 1));
        assert_eq!(all(&queue), [4, 6]);
    }

    #[test]
    fn a_full_queue_makes_the_writer_wait_and_a_closed_one_refuses() {
        let queue = Arc::new(Queue::new(1, 100));
        queue.push(1, 0);
        let other = queue.clone();
        let writer = thread::spawn(move || other.push(2, 0));
        let mut out = Vec::new();
        while out.len() < 2 {
            assert!(queue.take_all(&mut out, Some(Instant::now() + Duration::from_secs(10))));
        }
        assert_eq!(out, [1, 2]);
        assert!(writer.join().unwrap_or(false));
        queue.close();
        assert!(!queue.push(3, 0));
        assert!(!queue.take_all(&mut out, None), "closed and empty");
    }
}
