//! The lab's runs on the real `docker-compose` cluster, as a student makes them.
//!
//! `.ci/run` runs these (`cargo test --test docker -- --ignored`). The containers' names are fixed, so the tests take
//! turns, each with fresh volumes, under a project name of their own; the timers are short ones. Waiting is
//! always for something to happen, with a limit that only a broken cluster reaches.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

const PROJECT: &str = "raft-lab-test";
const NODES: [&str; 3] = ["node_1", "node_2", "node_3"];
const FIVE: [&str; 5] = ["node_1", "node_2", "node_3", "node_4", "node_5"];
/// Where HTTP is published, so that a program of this machine at 8080 is in nobody's way.
const HTTP: u16 = 28_080;
const LIMIT: Duration = Duration::from_secs(90);

static TURN: Mutex<()> = Mutex::new(());

/// A fresh cluster; gone with its volumes in the end.
struct Lab {
    nodes: &'static [&'static str],
    _turn: MutexGuard<'static, ()>,
}

/// What one node says in `client status --json`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    node: String,
    role: String,
    term: String,
    applied: String,
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

/// Standard output of a command that must succeed.
fn said(command: &mut Command) -> String {
    let output = output(command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn docker(arguments: &[&str]) -> String {
    said(Command::new("docker").args(arguments))
}

/// `docker-compose` in this package's folder: version 1 where it is there, else the plugin.
fn compose(arguments: &[&str]) -> Command {
    compose_of(3, arguments)
}

/// The same for so many nodes.
fn compose_of(size: usize, arguments: &[&str]) -> Command {
    static STANDALONE: OnceLock<bool> = OnceLock::new();
    let standalone = STANDALONE.get_or_init(|| Command::new("docker-compose").arg("version").output().is_ok());
    let mut command = Command::new(if *standalone { "docker-compose" } else { "docker" });
    if !standalone {
        command.arg("compose");
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["-p", PROJECT]);
    if size > 3 {
        command.args(["--profile", "five"]);
    }
    command.args(arguments).env("CLUSTER_SIZE", size.to_string());
    command.env("ELECTION_TIMEOUT_MS", "1500-3000").env("HEARTBEAT_INTERVAL_MS", "500");
    command.env("HTTP_PORTS", format!("{HTTP}-{}", HTTP + 2));
    command.env("HTTP_PORTS_FIVE", format!("{}-{}", HTTP + 3, HTTP + 4));
    command
}

/// Waits until `look` finds something.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        if started.elapsed() > LIMIT {
            let logs = output(&mut compose(&["logs", "--no-color", "--tail=60"]));
            panic!("{what}: not within {LIMIT:?}\n{}", String::from_utf8_lossy(&logs.stdout));
        }
        thread::sleep(Duration::from_millis(250));
    }
}

impl Lab {
    fn start() -> Lab {
        Lab::start_of(&NODES)
    }

    fn start_of(nodes: &'static [&'static str]) -> Lab {
        static BUILT: OnceLock<()> = OnceLock::new();
        let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let project = "{{.Names}} {{.Label \"com.docker.compose.project\"}}";
        for line in docker(&["ps", "-a", "--format", project]).lines() {
            let (name, owner) = line.split_once(' ').unwrap_or((line, ""));
            assert!(
                owner == PROJECT || !FIVE.contains(&name) && !["client", "web", "web_five"].contains(&name),
                "a container {name} is there already: end that cluster first (docker-compose down)"
            );
        }
        said(&mut compose_of(5, &["down", "-v"]));
        BUILT.get_or_init(|| drop(said(&mut compose(&["build"]))));
        let lab = Lab { nodes, _turn: turn };
        said(&mut compose_of(nodes.len(), &["up", "-d"]));
        lab
    }

    /// A one-off client, as `docker-compose run --rm client …`.
    fn client(&self, arguments: &[&str]) -> String {
        said(compose_of(self.nodes.len(), &["run", "--rm", "-T", "client"]).args(arguments))
    }

    /// The demonstration that comes with `up` has ended; its exit code.
    fn demo_ended(&self) -> String {
        until("the demonstration ends", || {
            let state = docker(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "client"]);
            state.trim().strip_prefix("exited ").map(str::to_string)
        })
    }

    /// The rows of the nodes that answer, asked from inside `node`.
    fn status(&self, node: &str) -> Vec<Row> {
        let asked = output(Command::new("docker").args(["exec", node, "client", "--timeout", "3", "status", "--json"]));
        let text = String::from_utf8_lossy(&asked.stdout).into_owned();
        let rows = text.split('{').filter(|row| row.contains("\"up\":true"));
        let value = |row: &str, name: &str| {
            let (_, rest) = row.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("no {name} in {text}"));
            rest.split([',', '}']).next().unwrap_or_default().trim_matches('"').to_string()
        };
        rows.map(|row| Row {
            node: value(row, "node"),
            role: value(row, "role"),
            term: value(row, "term"),
            applied: value(row, "last_applied"),
        })
        .collect()
    }

    /// Waits until these nodes are one leader and its followers, in one term and with the same list; the leader.
    fn settled(&self, nodes: &[&str]) -> Row {
        until(&format!("{nodes:?} have a leader and the same list"), || {
            let rows = self.status(nodes[0]);
            let leader = rows.iter().find(|row| row.role == "leader")?;
            let agree = rows.iter().all(|row| {
                (row.node == leader.node || row.role == "follower")
                    && row.term == leader.term
                    && row.applied == leader.applied
            });
            (agree && rows.len() == nodes.len()).then(|| leader.clone())
        })
    }

    /// The list as one node has it, whatever its role.
    fn log(&self, node: &str) -> String {
        docker(&["exec", node, "client", "log", "--node", &node["node_".len()..]])
    }

    /// All these nodes have the same list, and each of these strings is in it once.
    fn all_have(&self, nodes: &[&str], texts: &[&str]) {
        self.settled(nodes);
        let list = self.log(nodes[0]);
        for node in nodes {
            assert_eq!(self.log(node), list, "{node} and {} differ", nodes[0]);
        }
        for text in texts {
            assert_eq!(list.matches(&format!("{text:?}")).count(), 1, "{text} is not once in\n{list}");
        }
    }

    /// Stops a container and sees that it obeyed the signal (143) rather than being killed after 10 s (137).
    fn stop(&self, node: &str) {
        docker(&["container", "stop", node]);
        assert_eq!(docker(&["inspect", "-f", "{{.State.ExitCode}}", node]).trim(), "143", "{node} ignored SIGTERM");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if thread::panicking() {
            let logs = output(&mut compose(&["logs", "--no-color", "--tail=40"]));
            eprintln!("{}", String::from_utf8_lossy(&logs.stdout));
        }
        let _ = compose_of(5, &["down", "-v"]).output();
    }
}

/// The others than `node`.
fn others(node: &str) -> Vec<&'static str> {
    NODES.into_iter().filter(|other| *other != node).collect()
}

#[test]
#[ignore = "needs Docker: .ci/run runs it"]
fn typical_run() {
    let lab = Lab::start();
    assert_eq!(lab.demo_ended(), "0");
    let demo = docker(&["logs", "client"]);
    assert!(demo.contains("is the leader of term") && demo.contains("\"SET 5\""), "{demo}");
    let first_answer = demo.lines().find(|line| line.starts_with("ok ")).unwrap_or_default();
    assert!(first_answer.starts_with("ok 2@"), "{demo}");
    let leader = lab.settled(&NODES);
    let logs = said(&mut compose(&["logs", "--no-color"]));
    for topic in ["START", "STATE", "VOTE", "HEARTBEAT", "APPEND", "REPLICATED", "COMMIT"] {
        assert!(logs.lines().any(|line| line.split_whitespace().any(|word| word == topic)), "no {topic} in\n{logs}");
    }
    // The nodes go on after the client's end, in the same term.
    let hello = lab.client(&["append", "hello"]);
    assert!(hello.starts_with("ok ") && hello.ends_with(" \"hello\"\n"), "{hello}");
    lab.all_have(&NODES, &["SET 5", "hello"]);
    assert_eq!(lab.settled(&NODES).term, leader.term);
    let table = docker(&["exec", "node_1", "client", "status"]);
    assert_eq!(table.lines().filter(|row| row.starts_with("node_")).count(), 3, "{table}");
}

#[test]
#[ignore = "needs Docker: .ci/run runs it"]
fn dead_leader() {
    let lab = Lab::start();
    assert_eq!(lab.demo_ended(), "0");
    let old = lab.settled(&NODES);
    lab.stop(&old.node);
    let rest = others(&old.node);
    // The name of the stopped container does not resolve any more: neither client nor nodes may stumble.
    let during = lab.client(&["append", "during the outage"]);
    assert!(during.starts_with("ok "), "{during}");
    let new = lab.settled(&rest);
    assert!(new.node != old.node && new.term != old.term, "{old:?} then {new:?}");
    docker(&["container", "start", &old.node]);
    lab.all_have(&NODES, &["SET 5", "during the outage"]);
    assert_eq!(lab.settled(&NODES).node, new.node, "the revived node follows");
}

#[test]
#[ignore = "needs Docker: .ci/run runs it"]
fn dead_follower() {
    let lab = Lab::start();
    assert_eq!(lab.demo_ended(), "0");
    let leader = lab.settled(&NODES);
    let follower = others(&leader.node)[0];
    lab.stop(follower);
    assert!(lab.client(&["append", "without it"]).starts_with("ok "));
    docker(&["container", "start", follower]);
    lab.all_have(&NODES, &["without it"]);
    let after = lab.settled(&NODES);
    assert_eq!((&after.node, &after.term), (&leader.node, &leader.term), "neither leader nor term may change");
}

#[test]
#[ignore = "needs Docker: .ci/run runs it"]
fn two_of_three_return_with_other_addresses() {
    let lab = Lab::start();
    assert_eq!(lab.demo_ended(), "0");
    lab.settled(&NODES);
    lab.stop("node_1");
    lab.stop("node_2");
    // One of three can do nothing, says so and does not claim success.
    let alone = output(compose(&["run", "--rm", "-T", "client", "--timeout", "4"]).args(["append", "alone"]));
    assert_eq!(alone.status.code(), Some(1), "{alone:?}");
    docker(&["container", "start", "node_2"]);
    docker(&["container", "start", "node_1"]);
    assert!(lab.client(&["append", "together"]).starts_with("ok "));
    lab.all_have(&NODES, &["together"]);
}

#[test]
#[ignore = "needs Docker: .ci/run runs it"]
fn down_keeps_the_log_and_down_v_does_not() {
    let lab = Lab::start();
    assert_eq!(lab.demo_ended(), "0");
    lab.client(&["append", "kept"]);
    said(&mut compose(&["down"]));
    said(&mut compose(&["up", "-d", "node_1", "node_2", "node_3"]));
    lab.all_have(&NODES, &["SET 5", "kept"]);
    said(&mut compose(&["down", "-v"]));
    said(&mut compose(&["up", "-d", "node_1", "node_2", "node_3"]));
    lab.settled(&NODES);
    assert_eq!(lab.log("node_1"), "");
}

#[test]
#[ignore = "needs Docker: .ci/run runs it"]
fn five_nodes() {
    let lab = Lab::start_of(&FIVE);
    assert_eq!(lab.demo_ended(), "0");
    let old = lab.settled(&FIVE);
    let follower = FIVE.into_iter().find(|node| *node != old.node).unwrap_or_default();
    lab.stop(&old.node);
    lab.stop(follower);
    let rest: Vec<&str> = FIVE.into_iter().filter(|node| ![old.node.as_str(), follower].contains(node)).collect();
    // Three of five are a majority.
    let put = lab.client(&["put", "a", "cat", "dog"]);
    assert!(put.starts_with("ok ") && put.ends_with(" put \"a\" \"cat\" \"dog\"\n"), "{put}");
    assert_eq!(docker(&["exec", rest[0], "client", "get", "a"]), "\"cat\"\n\"dog\"\n");
    docker(&["container", "start", &old.node, follower]);
    lab.all_have(&FIVE, &["SET 5"]);
    assert_eq!(docker(&["exec", follower, "client", "get", "a", "--node", &follower[5..]]), "\"cat\"\n\"dog\"\n");
    until("all are connected", || {
        let table = docker(&["exec", "node_5", "client", "status"]);
        (table.matches(" 4 of 4").count() == 5).then_some(())
    });
}

#[test]
#[ignore = "needs Docker: .ci/run runs it"]
fn http_is_there_with_the_rest_and_for_this_machine_alone() {
    let lab = Lab::start();
    lab.settled(&NODES);
    let put = "{\"type\": \"PUT\", \"value\": [\"cat\", \"dog\"]}";
    let head = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", put.len());
    let (code, _) = http(HTTP + 2, "POST /keys/a", &head, put);
    assert_eq!(code, "204");
    for port in HTTP..HTTP + 3 {
        // Each port answers from its own node, which may be a moment behind.
        until("the list is on every node", || {
            (http(port, "GET /keys/a", "", "") == ("200".to_string(), "[\"cat\",\"dog\"]".to_string())).then_some(())
        });
    }
    lab.stop("node_2");
    let (code, why) = http(HTTP + 1, "GET /keys/a", "", "");
    assert!(code == "503" && why.contains("node_2"), "{code} {why}");
    let (code, _) = http(HTTP + 1, "POST /keys/a", &head, put);
    assert_eq!(code, "204", "a write finds the leader whichever port it comes to");
    let published = docker(&["port", "web"]);
    assert!(
        published.lines().count() == 3 && published.lines().all(|line| line.contains("-> 127.0.0.1:")),
        "{published}"
    );
}

/// Status code and body of one request to a port of this machine.
fn http(port: u16, what: &str, head: &str, body: &str) -> (String, String) {
    let request = format!("{what} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n{head}\r\n{body}");
    let answer = until("an answer of the web service", || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(LIMIT)).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok().filter(|len| *len > 0)?;
        Some(answer)
    });
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {answer:?}"));
    (head.split(' ').nth(1).unwrap_or_default().to_string(), body.trim_end().to_string())
}

#[test]
#[ignore = "needs Docker: .ci/run runs it"]
fn a_wiped_volume_is_readmitted() {
    let lab = Lab::start();
    assert_eq!(lab.demo_ended(), "0");
    let leader = lab.settled(&NODES);
    let lost = others(&leader.node)[0];
    lab.stop(lost);
    docker(&["rm", lost]);
    docker(&["volume", "rm", &format!("{PROJECT}_{lost}")]);
    said(&mut compose(&["up", "-d", lost]));
    let readmitted = lab.client(&["readmit", lost]);
    assert!(readmitted.ends_with(&format!(" {lost} is counted again, with its new disk\n")), "{readmitted}");
    lab.all_have(&NODES, &["SET 5"]);
}

#[test]
#[ignore = "needs Docker: .ci/run runs it"]
fn the_image() {
    let lab = Lab::start();
    until("all nodes are healthy", || {
        let health = |node| docker(&["inspect", "-f", "{{.State.Health.Status}}", node]);
        NODES.iter().all(|node| health(node).trim() == "healthy").then_some(())
    });
    assert_eq!(lab.demo_ended(), "0");
    lab.settled(&NODES);
    assert_eq!(docker(&["exec", "node_1", "id", "-un"]).trim(), "raft");
    assert_eq!(docker(&["exec", "node_1", "stat", "-c", "%U", "/data", "/data/wal.1"]), "raft\nraft\n");
    // Neither the health check nor `status` is an event of the node.
    let logs = docker(&["logs", "node_2"]);
    assert!(!logs.contains(" CLIENT ") && !logs.contains(" ERROR "), "{logs}");
}
