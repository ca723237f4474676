//! Nodes that are played, for tests of the client binary: what they answer is in the test, what was asked is checked.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

pub const SESSION: &str = "session 4-00000000000000aa\n";

pub enum Reply {
    Say(String),
    Hang,
    Close,
}

pub fn say(text: &str) -> Reply {
    Reply::Say(format!("{text}\n"))
}

/// A played node: every line that comes in is noted and answered by the script.
pub struct Played {
    pub address: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Played {
    pub fn new(script: impl FnMut(&str) -> Reply + Send + 'static) -> Played {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(Mutex::new(script));
        let noted = heard.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (noted, script) = (noted.clone(), script.clone());
                thread::spawn(move || answer(&stream, &noted, &mut |line| (script.lock().unwrap())(line)));
            }
        });
        Played { address, heard }
    }

    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    pub fn appends(&self) -> Vec<String> {
        self.heard().into_iter().filter(|line| line.starts_with("append")).collect()
    }
}

fn answer(stream: &TcpStream, noted: &Mutex<Vec<String>>, script: &mut dyn FnMut(&str) -> Reply) {
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        noted.lock().unwrap().push(line.clone());
        match script(&line) {
            Reply::Say(text) => {
                let mut stream = stream;
                if stream.write_all(text.as_bytes()).is_err() {
                    return;
                }
            }
            Reply::Hang => thread::sleep(Duration::from_secs(60)),
            Reply::Close => return,
        }
    }
}

/// A leader that appends whatever comes, from index 2 on.
pub fn leader() -> Played {
    let mut last = 1;
    Played::new(move |line| match line.split(' ').next() {
        Some("session") => Reply::Say(SESSION.to_string()),
        Some("append") => {
            last += 1;
            say(&format!("ok {last}@1"))
        }
        _ => Reply::Close,
    })
}

/// An address where nobody listens.
pub fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

pub fn command(places: &[&str], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.env_clear().env("CLUSTER", places.join(",")).args(arguments).stdin(Stdio::null());
    command
}

pub fn client(places: &[&str], arguments: &[&str]) -> Output {
    command(places, arguments).output().unwrap()
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[track_caller]
pub fn done(output: &Output, printed: &str) {
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), printed), "{}", text(&output.stderr));
}

#[track_caller]
pub fn failed(output: &Output, code: i32, parts: &[&str]) {
    let why = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{why}");
    assert_eq!(why.lines().count(), 1, "one line: {why}");
    for part in parts {
        assert!(why.contains(part), "{part:?} is not in {why}");
    }
}

/// The leader of two, and the other.
pub const STATUS_1: &str = "status node=node_1 role=leader term=3 leader=node_1 last=7@3 commit=7 applied=7 \
                        leader-commit=7 snapshot=0@0 log-len=7 log-bytes=420 snapshot-bytes=0 keys=1 \
                        peers=node_2:up,node_3:down progress=node_2:8:6,node_3:8:0 heard=0.250 size=3 uptime=12.3 syncs=4 sent=9";
pub const STATUS_2: &str = "status node=node_2 role=follower term=3 leader=node_1 last=7@3 commit=6 applied=5 \
                        leader-commit=7 snapshot=3@1 log-len=4 log-bytes=240 snapshot-bytes=150 keys=1 \
                        peers=node_1:up,node_3:down progress=none heard=0.300 size=3 uptime=2.0 syncs=4 sent=9";
