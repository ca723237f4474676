//! The election thread: sleeps to a deadline, then says so.
//!
//! The loop owns the deadline: it draws it and moves it with every message of a leader. The thread is
//! told only when the new deadline is earlier than the one it sleeps to, so that a busy follower does
//! not wake it a thousand times a second. When it wakes too early, because the deadline has moved,
//! the loop sends it to sleep again.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::clock::Clock;
use super::inbox::{Inbox, Item};
use super::limits::SMALL_STACK;
use super::queue::Queue;
use crate::raft::ready::ElectionTimer;
use crate::text::random::Random;

/// The loop's side.
pub struct Alarm {
    orders: Arc<Queue<Duration>>,
    random: Random,
    deadline: Option<Duration>,
    sleeps_to: Option<Duration>,
}

impl Alarm {
    /// Starts the thread `election-timer`.
    pub fn start(clock: Clock, inbox: Inbox) -> std::io::Result<Alarm> {
        // Each order names an earlier time than the one before it until the thread has fired, and
        // the thread does not wait for anything else: a handful at the most. Full: never.
        let orders = Arc::new(Queue::new(1024, usize::MAX));
        let sleeper = orders.clone();
        thread::Builder::new()
            .name("election-timer".to_string())
            .stack_size(SMALL_STACK)
            .spawn(move || sleep(clock, &sleeper, &inbox))?;
        Ok(Alarm { orders, random: Random::from_os(), deadline: None, sleeps_to: None })
    }

    /// Draws a new deadline, uniformly from the timer's range (§5.2); it replaces the one before.
    pub fn set(&mut self, timer: ElectionTimer, now: Duration) {
        self.deadline = Some(now + self.random.duration(timer.min, timer.max));
    }

    /// The thread has woken up.
    pub fn fired(&mut self) {
        self.sleeps_to = None;
    }

    /// Has the deadline passed? It is said once.
    pub fn passed(&mut self, now: Duration) -> bool {
        let passed = self.deadline.is_some_and(|deadline| deadline <= now);
        if passed {
            self.deadline = None;
        }
        passed
    }

    /// Sends the thread to sleep if it would wake too late; the loop says so at the end of a turn.
    pub fn arm(&mut self) {
        if let Some(deadline) = self.deadline
            && self.sleeps_to.is_none_or(|sleeps_to| deadline < sleeps_to)
        {
            self.sleeps_to = Some(deadline);
            self.orders.force_push(deadline);
        }
    }
}

fn sleep(clock: Clock, orders: &Queue<Duration>, inbox: &Inbox) {
    let mut heard = Vec::new();
    let mut deadline: Option<Duration> = None;
    loop {
        if orders.take_all(&mut heard, deadline.map(|deadline| clock.instant(deadline))) {
            deadline = heard.pop().or(deadline);
            heard.clear();
        } else if deadline.take().is_none_or(|_| !inbox.push(Item::ElectionAlarm, 0)) {
            return;
        }
    }
}
