//! `client cluster` with real nodes.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use common::TempDir;

const LIMIT: Duration = Duration::from_secs(60);

/// A running `client cluster`.
struct Running {
    child: Child,
    orders: Option<ChildStdin>,
    lines: Receiver<String>,
    /// All lines so far.
    printed: Vec<String>,
    places: String,
    _data: TempDir,
}

/// Ports in a row that are free now.
fn base_port(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let base = 20_000 + (std::process::id() % 10_000) as u16 + NEXT.fetch_add(count, Ordering::Relaxed);
        if (base..base + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return base;
        }
    }
}

fn client(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    command
}

impl Running {
    fn start(size: u16) -> Running {
        let base = base_port(size);
        let data = TempDir::new();
        let (ports, size_given) = (base.to_string(), size.to_string());
        let mut command = client(&["cluster", &size_given, "--base-port", &ports, "--election-timeout-ms", "300-600"]);
        command.args(["--heartbeat-interval-ms=100", "--data-dir"]).arg(data.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let places: Vec<_> = (base..base + size).map(|port| format!("127.0.0.1:{port}")).collect();
        let orders = child.stdin.take();
        Running { child, orders, lines, printed: Vec::new(), places: places.join(","), _data: data }
    }

    /// Waits for a line that holds all these parts.
    fn wait_for(&mut self, parts: &[&str]) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) else {
                panic!("no line with {parts:?} in\n{}", self.printed.join("\n"));
            };
            self.printed.push(line.clone());
            if parts.iter().all(|part| line.contains(part)) {
                return line;
            }
        }
    }

    fn order(&mut self, line: &str) {
        let orders = self.orders.as_mut().unwrap();
        orders.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        client(arguments).env("CLUSTER", &self.places).output().unwrap()
    }

    /// The processes of the nodes, as the greeting names them.
    fn processes(&self) -> Vec<String> {
        let greeting = self.printed.iter().filter(|line| line.contains(" runs at "));
        greeting.filter_map(|line| line.rsplit(' ').next()).map(str::to_string).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until none of these processes is a running `node`.
fn gone(processes: &[String]) {
    let deadline = Instant::now() + LIMIT;
    for process in processes {
        let name = Path::new("/proc").join(process).join("comm");
        while fs::read_to_string(&name).is_ok_and(|name| name.trim() == "node") {
            assert!(Instant::now() < deadline, "node process {process} was left behind");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_cluster_without_docker() {
    let mut cluster = Running::start(3);
    let leader = cluster.wait_for(&["candidate -> leader"]);
    let leader = leader["node_".len()..].split(' ').next().unwrap().to_string();
    let hello = cluster.ask(&["append", "hello"]);
    assert_eq!(hello.status.code(), Some(0), "{hello:?}");
    assert!(String::from_utf8_lossy(&hello.stdout).ends_with(" \"hello\"\n"), "{hello:?}");

    cluster.order(&format!("stop {leader}"));
    cluster.wait_for(&["client", &format!("node_{leader} has ended (signal: 9")]);
    let during = cluster.ask(&["append", "during the outage"]);
    assert_eq!(during.status.code(), Some(0), "{during:?}");
    let status = cluster.ask(&["status"]);
    assert!(String::from_utf8_lossy(&status.stdout).contains("connection refused"), "{status:?}");

    cluster.order(&format!("start {leader}"));
    cluster.wait_for(&[&format!("node_{leader}  |"), "COMMIT", "during the outage"]);
    let all: Vec<_> = (1..=3).map(|n| cluster.ask(&["log", "--node", &n.to_string()]).stdout).collect();
    assert!(String::from_utf8_lossy(&all[0]).lines().count() == 2 && all.iter().all(|one| *one == all[0]), "{all:?}");

    // In one breath, as a script says it.
    cluster.order("stop 1\nstart 1");
    cluster.wait_for(&["client", "node_1 runs again"]);
    cluster.wait_for(&["node_1  |", "START"]);
    cluster.wait_for(&["node_1  |", "COMMIT", "during the outage"]);

    cluster.order("dance 1");
    cluster.wait_for(&["\"dance 1\" is not understood"]);
    let torn = |line: &&String| !line.starts_with("node_") && !line.starts_with("client  | ");
    assert_eq!(cluster.printed.iter().find(torn), None);
    let processes = cluster.processes();
    assert_eq!(processes.len(), 3);
    cluster.order("quit");
    assert_eq!(cluster.child.wait().unwrap().code(), Some(0));
    gone(&processes);
}

#[test]
fn five_nodes_go_on_without_two_and_stand_still_without_three() {
    let mut cluster = Running::start(5);
    cluster.wait_for(&["candidate -> leader: 3 of 5 votes"]);
    cluster.order("stop 4");
    cluster.wait_for(&["client", "node_4 has ended"]);
    cluster.order("stop 5");
    cluster.wait_for(&["client", "node_5 has ended"]);
    let put = cluster.ask(&["put", "a", "three of five"]);
    assert_eq!(put.status.code(), Some(0), "{put:?}");
    cluster.wait_for(&["node_2  |", "COMMIT", "three of five"]);
    cluster.order("stop 3");
    cluster.wait_for(&["client", "node_3 has ended"]);
    let alone = cluster.ask(&["--timeout", "1.5", "get", "a"]);
    assert_eq!(alone.status.code(), Some(1), "{alone:?}");
    let copy = cluster.ask(&["get", "a", "--node", "2"]);
    assert!(copy.status.success() && copy.stdout == b"\"three of five\"\n", "{copy:?}");
    cluster.order("start 5");
    cluster.wait_for(&["node_5  |", "COMMIT", "three of five"]);
    let list = cluster.ask(&["get", "a"]);
    assert!(list.status.success() && list.stdout == b"\"three of five\"\n", "{list:?}");
    let table = cluster.ask(&["status"]).stdout;
    assert_eq!(String::from_utf8_lossy(&table).matches("connection refused").count(), 2);
}

#[test]
fn no_node_is_left_behind_when_the_client_is_killed() {
    let mut cluster = Running::start(2);
    cluster.wait_for(&["candidate -> leader"]);
    let processes = cluster.processes();
    assert_eq!(processes.len(), 2);
    cluster.child.kill().unwrap();
    cluster.child.wait().unwrap();
    gone(&processes);
}

#[test]
fn the_end_of_its_reader_is_a_normal_end() {
    let base = base_port(1).to_string();
    let data = TempDir::new();
    let mut child = client(&["cluster", "1", "--base-port", &base, "--election-timeout-ms=300-600"])
        .args(["--heartbeat-interval-ms", "100", "--data-dir"])
        .arg(data.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    gone(&[first.trim().rsplit(' ').next().unwrap().to_string()]);
}

#[test]
fn a_taken_port_is_named_before_anything_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = client(&["cluster", "1", "--base-port", &port.to_string()]).output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{why}");
    assert!(why.contains(&format!("node_1 cannot listen at 127.0.0.1:{port}")) && why.contains("--base-port"), "{why}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_missing_node_is_said_with_the_cure() {
    let folder = TempDir::new();
    let alone = folder.path().join("client");
    fs::copy(env!("CARGO_BIN_EXE_client"), &alone).unwrap();
    let output = Command::new(&alone).env_clear().arg("cluster").output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{why}");
    assert!(why.contains("the program of the nodes is missing") && why.contains("cargo build --release"), "{why}");
}
