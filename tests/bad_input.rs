//! Bad input over real sockets: one `error` line or a closed connection, term and log unchanged, the
//! node alive. And callers that cost: too slow, too many, deaf.

mod common;
#[path = "bad_input/lines.rs"]
mod lines;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Connection, Lab, PATIENCE};
use raft_lab::wire::client::NodeStatus;

/// Node 3 is played by the tests.
const HELLO: &str = "hello node_3 of 3 disk=0000000000000003";
/// Nobody may hold an election while a test looks for one.
const PATIENT: [(&str, &str); 2] = [("ELECTION_TIMEOUT_MS", "4000-6000"), ("HEARTBEAT_INTERVAL_MS", "300")];

/// Nodes 1 and 2 of three, with a leader and a string.
fn two_of_three() -> Lab {
    let mut lab = Lab::prepare(3, &PATIENT);
    [1, 2].into_iter().for_each(|node| lab.start_node(node));
    lab.wait_for_leader();
    lab.append("good");
    lab.wait_for_equal_logs();
    lab
}

/// What must not change.
fn state(lab: &Lab, node: usize) -> (u64, String, u64) {
    let status: NodeStatus = lab.wait_until("a status", || lab.status(node));
    (status.term, status.last.to_string(), status.commit)
}

fn open(lab: &Lab, node: usize) -> Connection {
    lab.connect(node).unwrap_or_else(|error| lab.fail(&format!("connect to node {node}: {error}")))
}

/// A connection on which the hello has been exchanged.
fn greeted(lab: &Lab, node: usize) -> Connection {
    let mut connection = open(lab, node);
    let sent = connection.send(HELLO);
    let answer = connection.line().unwrap_or_default();
    assert!(sent.is_ok() && answer.starts_with(&format!("hello node_{node} of 3 disk=")), "{answer:?}");
    connection
}

/// All that comes until the node closes the connection; a reset is an end too.
fn rest(lab: &Lab, connection: &mut Connection, what: &[u8]) -> Vec<String> {
    let mut bytes = Vec::new();
    match connection.reader.read_to_end(&mut bytes) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            lab.fail(&format!("not closed after {}", shown(what)))
        }
        _ => String::from_utf8_lossy(&bytes).lines().map(str::to_string).collect(),
    }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).escape_debug().to_string()
}

/// Sends this and expects one error line, then the end; and that nothing has happened.
fn refused(lab: &Lab, node: usize, connection: &mut Connection, what: &[u8]) {
    let before = state(lab, node);
    // A long line may be refused before its end: then the rest of it cannot be written.
    let _ = connection.send_bytes(what);
    let answer = rest(lab, connection, what);
    let one_error = answer.len() == 1 && answer[0].starts_with("error ") && answer[0].len() < 400;
    // Of a line that is refused while it comes the answer may be lost in a reset.
    let lost = answer.is_empty() && what.len() > 512 * 1024;
    if !(one_error || lost) {
        lab.fail(&format!("{} was answered with {answer:?}", shown(what)));
    }
    assert_eq!(state(lab, node), before, "{}\n{}", shown(what), lab.story());
}

/// Both the leader and a follower are tried, and at the end the cluster does its work.
fn all_refused(bad: &[Vec<u8>], connect: impl Fn(&Lab, usize) -> Connection) {
    let lab = two_of_three();
    let before = [lab.pid(1), lab.pid(2)];
    for node in [1, 2] {
        for what in bad {
            refused(&lab, node, &mut connect(&lab, node), what);
        }
    }
    println!("{} lines refused by each of two nodes", bad.len());
    assert_eq!(lab.leaders().len(), 1, "{}", lab.story());
    lab.append("still here");
    assert_eq!((lab.wait_for_equal_logs().len(), [lab.pid(1), lab.pid(2)]), (2, before));
    lab.judge();
}

#[test]
fn bad_lines_of_clients() {
    all_refused(&lines::of_clients(), open);
}

#[test]
fn bad_lines_of_peers() {
    all_refused(&lines::of_peers(), greeted);
}

#[test]
fn bad_hellos() {
    all_refused(&lines::of_hellos(), open);
}

#[test]
fn a_hello_of_the_node_itself() {
    let lab = two_of_three();
    for node in [1, 2] {
        let hello = format!("hello node_{node} of 3 disk=0000000000000003\n");
        refused(&lab, node, &mut open(&lab, node), hello.as_bytes());
    }
}

#[test]
fn half_closed_sockets() {
    let lab = two_of_three();
    let half_closed = |node: usize, connection: &mut Connection, what: &str| {
        let sent = connection.send_bytes(what.as_bytes()).and_then(|()| connection.stream.shutdown(Shutdown::Write));
        assert!(sent.is_ok(), "{sent:?}");
        let before = state(&lab, node);
        let answer = rest(&lab, connection, what.as_bytes());
        assert_eq!(state(&lab, node), before, "{what}\n{}", lab.story());
        answer
    };
    for node in [1, 2] {
        // A client's last line may lack its newline; half a request is none.
        assert_eq!(half_closed(node, &mut open(&lab, node), ""), [""; 0]);
        assert!(half_closed(node, &mut open(&lab, node), "status")[0].starts_with("status node="));
        assert!(half_closed(node, &mut open(&lab, node), "append \"x")[0].starts_with("error bad-request"));
        // A peer's may be the half of another line: 99 of 991.
        for what in ["", "request-vote term=99 last=99@98", "append-entries term=99 prev=0@0 commit"] {
            assert_eq!(half_closed(node, &mut greeted(&lab, node), what), [""; 0]);
        }
        assert!(half_closed(node, &mut open(&lab, node), HELLO).iter().all(|line| line.starts_with("error ")));
    }
    lab.judge();
}

#[test]
fn lines_that_never_end() {
    let lab = two_of_three();
    let before = state(&lab, 1);
    let starts = [(open(&lab, 1), "append \""), (open(&lab, 1), "hello node_"), (greeted(&lab, 1), "append-entries ")];
    std::thread::scope(|scope| {
        for (mut connection, start) in starts {
            let lab = &lab;
            scope.spawn(move || {
                // Slowly, and never a newline: something comes all the time.
                let short = connection.stream.set_read_timeout(Some(Duration::from_millis(200)));
                assert!(short.is_ok() && connection.send_bytes(start.as_bytes()).is_ok());
                let deadline = Instant::now() + 2 * PATIENCE;
                let mut answer = Vec::new();
                while Instant::now() < deadline {
                    match connection.reader.read_to_end(&mut answer) {
                        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                        _ => {
                            let answer = String::from_utf8_lossy(&answer).into_owned();
                            assert!(answer.is_empty() || answer.starts_with("error "), "{answer}");
                            return;
                        }
                    }
                    let _ = connection.send_bytes(b"x");
                }
                lab.fail(&format!("never closed: {start}…"));
            });
        }
    });
    assert_eq!(state(&lab, 1), before);
    lab.judge();
}

/// A number from `/proc/PID/status`: `VmRSS` in KiB, `Threads`.
#[cfg(target_os = "linux")]
fn told_by_proc(lab: &Lab, node: usize, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", lab.pid(node))).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| lab.fail(&format!("no {name} of node {node}")))
}

/// How many files this process may have open, after an attempt to have it raised. std has no call for
/// it, but util-linux has a command.
#[cfg(target_os = "linux")]
fn open_files_limit() -> usize {
    let limits = || {
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap_or_default().to_string();
        let mut numbers = line.split_whitespace().map_while(|number| number.parse::<usize>().ok());
        (numbers.next().unwrap_or(256), numbers.next().unwrap_or(256))
    };
    let (soft, hard) = limits();
    if soft < hard {
        let pid = std::process::id().to_string();
        let _ = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={hard}:{hard}")]).status();
    }
    limits().0
}

/// A node that may have as many open files as this says: a number, or `hard`.
#[cfg(target_os = "linux")]
fn start_with_files(lab: &mut Lab, node: usize, files: &str) {
    let files = if files == "hard" { "$(ulimit -Hn)" } else { files };
    let command = lab.command(node);
    let mut shell = Command::new("sh");
    shell.env_clear().envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    shell.arg("-c").arg(format!("ulimit -n {files}; exec \"$0\" \"$@\"")).arg(command.get_program());
    shell.args(command.get_args()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    lab.start_as(node, shell);
}

/// As many idle connections as asked for, or as this machine allows.
#[cfg(target_os = "linux")]
fn idle_connections(wanted: usize) {
    let mut lab = Lab::prepare(1, &[("ELECTION_TIMEOUT_MS", "2000-3000"), ("HEARTBEAT_INTERVAL_MS", "200")]);
    start_with_files(&mut lab, 1, "hard");
    lab.wait_for_leader();
    lab.append("before");
    // Other tests of this process have files too.
    let possible = open_files_limit().saturating_sub(2000).max(100);
    if possible < wanted {
        println!("ATTENTION: only {possible} of {wanted} idle connections: this process may not open more files");
    }
    let (memory, threads) = (told_by_proc(&lab, 1, "VmRSS"), told_by_proc(&lab, 1, "Threads"));
    let threads_held = |count: usize| {
        lab.wait_until("a thread for each", || {
            let now = told_by_proc(&lab, 1, "Threads");
            // The threads of the test's own questions before may have been among those counted first.
            (now + 8 >= threads + count as u64).then_some(now.saturating_sub(threads))
        })
    };
    let (mut idle, mut held): (Vec<TcpStream>, u64) = (Vec::new(), 0);
    for number in 0..wanted.min(possible) {
        match TcpStream::connect_timeout(&lab.address(1), PATIENCE) {
            Ok(stream) => idle.push(stream),
            Err(error) => lab.fail(&format!("connection {number}: {error}")),
        }
        // Faster than it accepts, and they would wait for the kernel's next attempt, a second each time.
        if idle.len() % 50 == 0 {
            held = threads_held(idle.len());
        }
    }
    let cost = told_by_proc(&lab, 1, "VmRSS").saturating_sub(memory);
    println!(
        "{} idle connections: {held} more threads, {cost} KiB more resident ({:.1} KiB each), {memory} KiB before",
        idle.len(),
        cost as f64 / idle.len() as f64
    );
    assert!(cost <= 32 * idle.len() as u64, "{cost} KiB");
    // The node does its work beside them, and none of them was disturbed.
    lab.append("beside");
    for stream in &mut idle {
        assert!(stream.set_nonblocking(true).is_ok());
        let read = stream.read(&mut [0; 16]);
        assert!(read.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "{read:?}");
    }
    // They go, and what they cost goes with them.
    drop(idle);
    lab.wait_until("their threads have ended", || (told_by_proc(&lab, 1, "Threads") <= threads + 8).then_some(()));
    lab.append("after");
    assert_eq!(lab.wait_for_equal_logs().len(), 3);
    lab.judge();
}

#[cfg(target_os = "linux")]
#[test]
fn a_thousand_idle_connections_cost_little() {
    idle_connections(1_000);
}

#[cfg(target_os = "linux")]
#[test]
fn ten_thousand_idle_connections() {
    idle_connections(10_000);
}

#[cfg(target_os = "linux")]
#[test]
fn clients_cannot_shut_out_a_peer() {
    let mut lab = Lab::prepare(3, &PATIENT);
    start_with_files(&mut lab, 1, "200");
    lab.wait_until("node 1 answers", || lab.status(1));
    // Clients come until one is told that there are too many.
    let mut idle = Vec::new();
    let refusal = loop {
        let mut client = open(&lab, 1);
        let asked = client.send("status");
        let answer = client.line().unwrap_or_default();
        assert!(asked.is_ok() && !answer.is_empty() && idle.len() < 200, "{answer:?} after {}", idle.len());
        if answer.starts_with("error ") {
            break answer;
        }
        idle.push(client);
    };
    assert!(refusal.starts_with("error too-many-connections "), "{refusal}");
    println!("{} clients with 200 files; then: {refusal}", idle.len());
    // A peer still finds its place.
    drop(greeted(&lab, 1));
    // And when one client goes, another may come.
    idle.pop();
    lab.wait_until("a free place", || lab.status(1));
    lab.judge();
}

/// A client that asks and asks for the whole log and never reads.
#[cfg(target_os = "linux")]
#[test]
fn a_client_that_never_reads() {
    let lab = two_of_three();
    let leader = lab.wait_for_leader();
    for number in 0..12 {
        lab.append(&format!("{number} {}", "x".repeat(60_000)));
    }
    let memory = told_by_proc(&lab, leader, "VmRSS");
    let mut deaf = open(&lab, leader);
    let mut watcher = open(&lab, leader);
    assert!(watcher.send("watch").is_ok());
    let requests = "log\n".repeat(64);
    let deadline = Instant::now() + 2 * PATIENCE;
    let (mut asked, mut most, mut worked) = (0, 0, 0);
    assert!(deaf.stream.set_write_timeout(Some(Duration::from_millis(100))).is_ok());
    // Until the node closes the connection. What it would have to answer is far more than sockets hold.
    loop {
        match deaf.stream.write(requests.as_bytes()) {
            Ok(bytes) => asked += bytes / 4,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
        if asked > 1000 || worked == 0 {
            lab.append(&format!("beside it {worked}"));
            worked += 1;
            std::thread::sleep(Duration::from_millis(100));
        }
        most = told_by_proc(&lab, leader, "VmRSS").max(most);
        if Instant::now() > deadline {
            lab.fail("the client that never reads is still served");
        }
    }
    println!("{asked} pages of 512 KiB asked for and not read: {} KiB more resident", most.saturating_sub(memory));
    assert!(most < memory + 64 * 1024, "{most} KiB resident, {memory} before");
    assert!(worked > 0);
    assert_eq!(lab.wait_for_equal_logs().len(), 13 + worked);
    lab.judge();
}
