//! The listening thread: accepts, counts, and gives each caller a connection thread.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::limits::{ACCEPT_PAUSE, CONNECTION_STACK, LARGE_STACK, MAX_CLIENTS, OTHER_FILES, PEER_PLACES};
use super::{Shared, connection};

/// The places for callers who have not shown that they are peers.
struct Places {
    taken: AtomicUsize,
    clients: usize,
}

/// One place, given back once.
struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Starts the thread `listener`.
pub fn start(listener: TcpListener, node: Arc<Shared>) -> std::io::Result<()> {
    let clients = clients_for(open_files_limit());
    let places = Arc::new(Places { taken: AtomicUsize::new(0), clients });
    thread::Builder::new()
        .name("listener".to_string())
        .stack_size(LARGE_STACK)
        .spawn(move || accept_for_ever(&listener, &node, &places))?;
    Ok(())
}

fn accept_for_ever(listener: &TcpListener, node: &Arc<Shared>, places: &Arc<Places>) {
    let mut number = 0u64;
    loop {
        let (stream, from) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(_) => {
                // The caller is gone already, or there is no descriptor for it: then accept would
                // fail again at once, and spin.
                thread::sleep(ACCEPT_PAUSE);
                continue;
            }
        };
        node.gate.pass();
        number += 1;
        let before = places.taken.fetch_add(1, Ordering::AcqRel);
        let place = Place(places.clone());
        let stream = Arc::new(stream);
        if before >= places.clients + PEER_PLACES {
            refuse_quickly(&stream);
            continue;
        }
        let kept_for_peers = before >= places.clients;
        let (node, caller) = (node.clone(), stream.clone());
        let started = thread::Builder::new()
            .name(format!("conn-{}", number % 10_000_000_000))
            .stack_size(CONNECTION_STACK)
            .spawn(move || connection::serve(&node, &caller, from, kept_for_peers, || drop(place)));
        if started.is_err() {
            // The machine has no more threads for us.
            refuse_quickly(&stream);
        }
    }
}

/// The listener must not wait for a caller: what does not fit into the socket is lost.
fn refuse_quickly(stream: &TcpStream) {
    if stream.set_write_timeout(Some(Duration::from_millis(10))).is_ok() {
        connection::write_refusal(stream);
    }
}

/// How many clients may be connected, given how many files may be open (`ulimit -n`).
fn clients_for(open_files: usize) -> usize {
    const FEWEST: usize = 8;
    MAX_CLIENTS.min(open_files.saturating_sub(OTHER_FILES + PEER_PLACES)).max(FEWEST)
}

/// The soft limit on open files, where the system tells it; std has no call for it.
fn open_files_limit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|rest| rest.split_whitespace().next()).and_then(|soft| soft.parse().ok());
    // Elsewhere: 256, what macOS gives to a shell, the least that is common.
    soft.unwrap_or(256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_files_for_the_rest() {
        assert_eq!(clients_for(1024), 1024 - OTHER_FILES - PEER_PLACES);
        assert_eq!(clients_for(1_048_576), MAX_CLIENTS);
        assert_eq!(clients_for(64), 8);
        assert!(open_files_limit() >= 64);
    }
}
