//! The heartbeat thread: while this node leads it says so every interval, and sleeps otherwise.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::faults::Gate;
use super::inbox::{Inbox, Item};
use super::limits::SMALL_STACK;
use super::queue::Queue;
use crate::raft::ready::HeartbeatTimer;

/// The loop's side.
pub struct Metronome {
    orders: Arc<Queue<HeartbeatTimer>>,
}

impl Metronome {
    /// Starts the thread `heartbeat`.
    pub fn start(interval: Duration, inbox: Inbox, gate: Gate) -> std::io::Result<Metronome> {
        // Two orders a change of role, and the thread waits for nothing but a full inbox. Full: never.
        let orders = Arc::new(Queue::new(1024, usize::MAX));
        let heard = orders.clone();
        thread::Builder::new()
            .name("heartbeat".to_string())
            .stack_size(SMALL_STACK)
            .spawn(move || tick(interval, &heard, &inbox, &gate))?;
        Ok(Metronome { orders })
    }

    pub fn set(&self, timer: HeartbeatTimer) {
        self.orders.force_push(timer);
    }
}

fn tick(interval: Duration, orders: &Queue<HeartbeatTimer>, inbox: &Inbox, gate: &Gate) {
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
        gate.pass();
        if !inbox.push(Item::HeartbeatTick, 0) {
            return;
        }
        next = Some(next_tick(due, interval, Instant::now()));
    }
}

/// Every interval, counted from the start; after a pause of the machine, from now on: ticks that were
/// missed are not made up for.
fn next_tick(due: Instant, interval: Duration, now: Instant) -> Instant {
    let next = due + interval;
    if next > now { next } else { now + interval }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_ticks_are_not_made_up_for() {
        let (due, interval) = (Instant::now(), Duration::from_secs(2));
        let after = |late| next_tick(due, interval, due + Duration::from_millis(late)) - due;
        assert_eq!(after(0), Duration::from_secs(2));
        assert_eq!(after(1_999), Duration::from_secs(2), "a late tick does not shift the others");
        assert_eq!(after(5_000), Duration::from_secs(7));
    }
}
