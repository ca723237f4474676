//! `client web`: the key/value service and the state of the nodes over HTTP, a port for each node.
//!
//! `http` is the server, `api` says what may be asked and who may ask it, `keys` and `status` answer; `explain`
//! puts the status into words.

mod api;
mod date;
mod explain;
mod http;
mod keys;
mod status;

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::Duration;

use raft_lab::cluster::check_address;
use raft_lab::raft::types::NodeId;

use crate::options::{Arguments, Command, Options};
use crate::output::{Failure, print};

pub const COMMAND: Command = Command {
    name: "web",
    usage: "web [--http-base PORT] [--bind ADDRESS]",
    summary: "HTTP: lists under keys, and the state of each node",
    help: "Listens on a port for each node, 8080 for node 1, 8081 for node 2, …, until Ctrl-C.

  --http-base PORT  the port of node 1, 8080 where nothing is said; node i has PORT + i - 1
  --bind ADDRESS    the address to listen on, 127.0.0.1 where nothing is said. On any other than this machine's
                    own, everybody in its network can read and write
  --host NAME,…     further names by which browsers may ask for it; localhost, 127.0.0.1, [::1] and ADDRESS always
                    are. Any other is refused, so that no web page can lead a browser here under its own name
  --stop-with-stdin end when standard input is closed: for programs that start it
  --timeout SECONDS how long a write or a linearizable read may look for a leader, 10 where nothing is said

  POST /keys/a  {\"type\": \"PUT\", \"value\": [\"cat\", \"dog\"]}      the list of a is these strings
  POST /keys/a  {\"type\": \"APPEND\", \"value\": [\"mouse\"]}        these strings follow; \"mouse\" alone will do
                204 once a majority has it on disk, whichever port it came to; each POST is done at most once.
                503 says whether it may still happen. Content-Type must be application/json
  GET  /keys/a  the list as a JSON array: this port's node's own copy, without asking anybody else, so it may be
                old: Raft-Applied-Index and Raft-Heard-Leader-Seconds say how fresh it is. 404 without such a key
  GET  /keys/a?consistency=linearizable   all that was committed before it was asked: the leader's word
  GET  /keys    the keys, with ?consistency=linearizable too
  GET  /admin/status          how this port's node is, under the names of the course's report
  GET  /admin/status/explain  the same, each value with a sentence that says why it is what it is
  GET  /admin/cluster         all nodes

A key stands percent-encoded in the path: a/b is a%2Fb. The key log is the lab's log: it can be read and appended
to. All that goes wrong has a JSON body that says what: {\"error\": …}.

  curl -i -H 'Content-Type: application/json' -d '{\"type\":\"PUT\",\"value\":[\"cat\",\"dog\"]}' localhost:8080/keys/a
  curl -i localhost:8081/keys/a
",
    flags: &[
        ("--http-base", Some("PORT")),
        ("--bind", Some("ADDRESS")),
        ("--host", Some("NAME,…")),
        ("--stop-with-stdin", None),
    ],
    run,
};

/// The port of node 1 where nothing else is said.
const HTTP_BASE: u16 = 8080;
/// How long a request may look for a leader where `--timeout` is not given: a browser waits less than a person
/// at a terminal.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Names of `--host`, at the most.
const MAX_HOSTS: usize = 16;

fn run(options: &Options, arguments: &Arguments) -> Result<(), Failure> {
    arguments.no_words("web")?;
    let timeout = if arguments.has("--timeout") { options.timeout } else { TIMEOUT };
    let options = Options { cluster: options.cluster.clone(), timeout };
    let address = bind_address(arguments)?;
    let hosts = hosts(arguments, address)?;
    let listeners = listen(&options, arguments, address)?;
    let mut told = String::new();
    for (node, listener) in &listeners {
        let at = listener.local_addr().map_err(|error| Failure::NotDone(format!("--bind {address}: {error}")))?;
        told.push_str(&format!("{node} at http://{at}\n"));
    }
    print(&told)?;
    let shared = Arc::new(api::Shared::new(options, hosts));
    let open = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = listeners
        .into_iter()
        .map(|(node, listener)| {
            let (service, open) = (Arc::new(api::Api::new(node, shared.clone())), open.clone());
            thread::spawn(move || http::serve(&listener, &service, &open))
        })
        .collect();
    if arguments.has("--stop-with-stdin") {
        // Whatever comes in is of no interest, only its end.
        let mut input = io::stdin().lock();
        while matches!(input.read(&mut [0; 1024]), Ok(count) if count > 0) {}
        return Ok(());
    }
    for thread in threads {
        // They go on for ever.
        let _ = thread.join();
    }
    Ok(())
}

fn bind_address(arguments: &Arguments) -> Result<IpAddr, Failure> {
    let Some(given) = arguments.value("--bind") else { return Ok(Ipv4Addr::LOCALHOST.into()) };
    let wrong = || Failure::Usage(format!("--bind: expected an address like 127.0.0.1 or 0.0.0.0, got {given:?}"));
    given.parse().map_err(|_| wrong())
}

/// A listener for each node, or a failure that names the port and the flag.
fn listen(options: &Options, arguments: &Arguments, address: IpAddr) -> Result<Vec<(NodeId, TcpListener)>, Failure> {
    let highest = u64::from(u16::MAX) + 1 - options.cluster.size();
    let base = arguments.number("--http-base", 1, highest)?.unwrap_or(u64::from(HTTP_BASE));
    let bound = options.cluster.members().zip(base..).map(|((node, _), port)| {
        // `number` has seen to it that all of them are ports.
        let place = SocketAddr::new(address, port as u16);
        let listener = TcpListener::bind(place).map_err(|error| {
            let why = match error.kind() {
                io::ErrorKind::AddrInUse => "another program listens there".to_string(),
                _ => error.to_string(),
            };
            Failure::NotDone(format!(
                "cannot listen on {place} for {node}: {why}. Cure: take other ports with --http-base, which is {base}, \
                 or another address with --bind"
            ))
        });
        Ok((node, listener?))
    });
    bound.collect()
}

/// The names under which a browser may ask, in lower case.
fn hosts(arguments: &Arguments, address: IpAddr) -> Result<Vec<String>, Failure> {
    let mut hosts = ["localhost", "127.0.0.1", "[::1]"].map(str::to_string).to_vec();
    let own = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
    if !address.is_unspecified() && !hosts.contains(&own) {
        hosts.push(own);
    }
    let given = arguments.value("--host").map(|names| names.split(',').collect::<Vec<_>>()).unwrap_or_default();
    if given.len() > MAX_HOSTS {
        return Err(Failure::Usage(format!("--host: expected at most {MAX_HOSTS} names, got {}", given.len())));
    }
    for name in given {
        if check_address(&format!("{name}:80")).is_err() {
            return Err(Failure::Usage(format!(
                "--host: expected names without a port, like lab.example, got {name:?}"
            )));
        }
        hosts.push(name.to_ascii_lowercase());
    }
    Ok(hosts)
}
