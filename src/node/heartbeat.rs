//! The heartbeat thread: while this node leads it says so every interval, and sleeps otherwise.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::limits::SMALL_STACK;
use super::queue::Queue;
use super::raft_loop::{Inbox, Item};
use crate::raft::ready::HeartbeatTimer;

/// The loop's side.
pub struct Metronome {
    orders: Arc<Queue<HeartbeatTimer>>,
}

impl Metronome {
    /// Starts the thread `heartbeat`.
    pub fn start(interval: Duration, inbox: Inbox) -> std::io::Result<Metronome> {
        // Two orders a change of role, and the thread waits for nothing but a full inbox. Full: never.
        let orders = Arc::new(Queue::new(1024, usize::MAX));
        let heard = orders.clone();
        thread::Builder::new()
            .name("heartbeat".to_string())
            .stack_size(SMALL_STACK)
            .spawn(move || tick(interval, &heard, &inbox))?;
        Ok(Metronome { orders })
    }

    pub fn set(&self, timer: HeartbeatTimer) {
        self.orders.force_push(timer);
    }
}

fn tick(interval: Duration, orders: &Queue<HeartbeatTimer>, inbox: &Inbox) {
    let mut heard = Vec::new();
    let mut next: Option<Instant> = None;
    loop {
        if orders.take_all(&mut heard, next) {
            // Only the last order counts.
            next = match heard.pop() {
                Some(HeartbeatTimer::Start) => Some(Instant::now() + interval),
                _ => None,
            };
            heard.clear();
            continue;
        }
        let Some(due) = next else { return };
        if !inbox.push(Item::HeartbeatTick, 0) {
            return;
        }
        // Every interval, counted from the start; after a pause of the machine, from now on: ticks
        // that were missed are not made up for.
        next = Some((due + interval).max(Instant::now()));
    }
}
