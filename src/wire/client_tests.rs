use super::super::entry::tests::{any_key, any_number, any_session, any_text, any_write, mutate};
use super::*;
use crate::raft::types::{MAX_CLUSTER_SIZE, Role};
use crate::text::random::Random;

fn request(request: &Request) -> String {
    let mut out = String::new();
    request.encode(&mut out);
    out
}

fn answer(answer: &Answer) -> String {
    let mut out = String::new();
    answer.encode(&mut out);
    out
}

fn any_request(random: &mut Random) -> Request {
    match random.below(8) {
        0 => Request::Session,
        1 => Request::Status,
        2 => Request::Watch,
        3 => {
            let write = any_write(random);
            Request::Write { session: any_session(random), write }
        }
        4 => Request::Get { key: any_key(random), from: any_number(random, 1), local: random.one_in(2) },
        5 => Request::Keys { from: random.one_in(2).then(|| any_key(random)), local: random.one_in(2) },
        6 => Request::Readmit { node: any_node(random) },
        7 => Request::Log { from: any_number(random, 1), local: random.one_in(2) },
        _ => Request::Append { session: any_session(random), text: any_text(random) },
    }
}

fn any_node(random: &mut Random) -> NodeId {
    NodeId(1 + random.below(MAX_CLUSTER_SIZE))
}

fn any_status(random: &mut Random) -> NodeStatus {
    let last = EntryId::new(any_number(random, 1), any_number(random, 1));
    NodeStatus {
        node: any_node(random),
        role: Role::ALL[random.below(4) as usize],
        term: any_number(random, 0),
        leader: random.one_in(2).then(|| any_node(random)),
        last: if random.one_in(4) { EntryId::ZERO } else { last },
        commit: any_number(random, 0),
        applied: any_number(random, 0),
        leader_commit: any_number(random, 0),
        snapshot: if random.one_in(2) { EntryId::ZERO } else { last },
        log_len: any_number(random, 0),
        log_bytes: any_number(random, 0),
        snapshot_bytes: any_number(random, 0),
        keys: any_number(random, 0),
        progress: (0..random.below(5))
            .map(|_| (any_node(random), any_number(random, 0), any_number(random, 0)))
            .collect(),
        heard: random.one_in(2).then(|| Duration::from_millis(random.below(1 << 40))),
        peers: (0..random.below(5)).map(|_| (any_node(random), random.one_in(2))).collect(),
        size: any_number(random, 1),
        uptime: Duration::from_millis(random.below(1 << 40) * 100),
        syncs: random.below(1 << 40),
        sent: random.below(1 << 40),
    }
}

fn any_answer(random: &mut Random) -> Answer {
    let id = EntryId::new(any_number(random, 1), any_number(random, 1));
    let words = any_text(random).to_string();
    let seen = Seen {
        applied: any_number(random, 0),
        heard: random.one_in(2).then(|| Duration::from_millis(random.below(1 << 40))),
    };
    match random.below(15) {
        9 => Answer::Value(any_text(random)),
        10 => {
            let (next, total) = (any_number(random, 1), any_number(random, 0));
            Answer::EndOfValues { next, total, changed: id, seen }
        }
        11 => Answer::NoKey { key: any_key(random), seen },
        12 => Answer::Key { key: any_key(random), values: any_number(random, 0) },
        13 => Answer::EndOfKeys { next: random.one_in(2).then(|| any_key(random)), seen },
        0 => Answer::Appended(id),
        1 => Answer::Unknown { id, why: words },
        2 => Answer::Redirect { leader: any_node(random), address: format!("a-b.c:{}", 1 + random.below(65535)) },
        3 => Answer::Error { code: CODES[random.below(CODES.len() as u64) as usize].0, text: words },
        4 => Answer::Error { code: ErrorCode::SessionGap { expected: any_number(random, 0) }, text: words },
        5 => Answer::Session(ClientId { born: any_number(random, 0), nonce: random.next_u64() }),
        6 => Answer::Entry { id, text: any_text(random) },
        7 => Answer::End { next: any_number(random, 0), commit: any_number(random, 0) },
        8 => Answer::Status(any_status(random)),
        _ => Answer::Watching(any_node(random)),
    }
}

#[test]
fn any_request_and_answer_comes_back() {
    let mut random = Random::from_seed(11);
    for _ in 0..20_000 {
        let asked = any_request(&mut random);
        let line = request(&asked);
        assert_eq!(Request::decode(&line), Ok(asked), "{line}");
        let answered = any_answer(&mut random);
        let line = answer(&answered);
        assert_eq!(Answer::decode(&line), Ok(answered), "{line}");
    }
}

#[test]
fn what_reads_is_written_so_and_nothing_panics() {
    let mut random = Random::from_seed(12);
    let mut read = 0;
    for _ in 0..50_000 {
        let line = request(&any_request(&mut random));
        if let Some(line) = mutate(&mut random, &line)
            && let Ok(asked) = Request::decode(&line)
            && !line.ends_with(" from=1")
            && !line.ends_with(" from=1 local")
        {
            assert_eq!(request(&asked), line);
            read += 1;
        }
        let line = answer(&any_answer(&mut random));
        if let Some(line) = mutate(&mut random, &line)
            && let Ok(answered) = Answer::decode(&line)
        {
            assert_eq!(answer(&answered), line);
            read += 1;
        }
    }
    assert!(read > 5_000, "{read}");
}

#[test]
fn the_lines_of_the_documentation() {
    for line in [
        "append \"x\"",
        "append 17-9f3a01c2d4e5f607 5 \"x\"",
        "session",
        "log",
        "log from=5",
        "log local",
        "log from=5 local",
        "put \"a\" \"cat\" \"dog\"",
        "put \"a\"",
        "put 17-9f3a01c2d4e5f607 5 \"a\"",
        "append-to \"a\" \"mouse\"",
        "append-to 17-9f3a01c2d4e5f607 5 \"log\" \"x\" \"y\"",
        "get \"a\"",
        "get \"a\" local",
        "get \"a b\" from=3",
        "get \"a\" from=3 local",
        "keys",
        "keys local",
        "keys from \"b\"",
        "keys from \"local\" local",
        "readmit node_3",
        "status",
        "watch",
        "fault cut 2 3",
        "fault crash --for 15s",
    ] {
        assert_eq!(Request::decode(line).map(|asked| request(&asked)).as_deref(), Ok(line));
    }
    assert_eq!(Request::decode("log from=1"), Ok(Request::Log { from: 1, local: false }));
    assert_eq!(Request::decode("log from=1 local"), Ok(Request::Log { from: 1, local: true }));
    for line in [
        "ok 3@1",
        "ok watching node_1",
        "ok fault",
        "error faults-off this node was started without leave to be broken",
        "unknown 3@1 it may still be committed",
        "unknown 3@1",
        "redirect node_2 node_2:1234",
        "redirect node_2 [::1]:1234",
        "error no-leader an election is on its way",
        "error session-gap expected 4 the request before it is missing",
        "error unknown-command \"foo\": expected append, put, append-to, get, keys, session, log, status, watch, readmit, fault or hello",
        "error busy",
        "session 17-9f3a01c2d4e5f607",
        "2@1 \"SET 5\"",
        "end next=6 commit=9",
        "value \"cat\"",
        "value \"\"",
        "end-of-values next=4 total=3 changed=5@1 applied=7 heard=0.012",
        "no-key \"a\" applied=7 heard=never",
        "key \"a b\" values=3",
        "end-of-keys applied=7 heard=never",
        "end-of-keys next \"b\" applied=7 heard=1.500",
        "error full the list of \"a\" has 1048576 bytes",
        "error not-refused node_3 is counted",
        "status node=node_1 role=leader term=3 leader=node_1 last=7@3 commit=7 applied=7 leader-commit=7 snapshot=4@2 log-len=3 \
         log-bytes=400 snapshot-bytes=2345 keys=2 peers=node_2:up,node_3:down progress=node_2:8:7,node_3:1:0 heard=0.012 \
         size=3 uptime=12.3 syncs=5 sent=77",
        "status node=node_1 role=pre-candidate term=0 leader=none last=0@0 commit=0 applied=0 \
         leader-commit=0 snapshot=0@0 log-len=0 log-bytes=0 snapshot-bytes=0 keys=0 peers=none progress=none heard=never size=1 \
         uptime=0.0 syncs=0 sent=0",
    ] {
        assert_eq!(Answer::decode(line).map(|answered| answer(&answered)).as_deref(), Ok(line));
    }
}

#[test]
fn bad_requests_are_refused_with_one_short_line() {
    for bad in [
        "",
        " ",
        "foo",
        "APPEND \"x\"",
        "append",
        "append ",
        "append x",
        "append \"x",
        "append \"x\" ",
        "append  \"x\"",
        "append \"x\" \"y\"",
        "append \"\u{202e}\"",
        "append 17-9f3a01c2d4e5f607 \"x\"",
        "append 17-9f3a01c2d4e5f607 18446744073709551616 \"x\"",
        "append 17-9f3a01c2d4e5f607 -1 \"x\"",
        "append 18446744073709551616-9f3a01c2d4e5f607 1 \"x\"",
        "session x",
        "log 5",
        "log from=",
        "log from=0",
        "log from=01",
        "log from=-1",
        "log from=+1",
        "log from=1e9",
        "log from=18446744073709551616",
        "log remote",
        "log from=5 remote",
        "log from=5 local x",
        "log from=5 from=6",
        "log  from=5",
        "put",
        "put a",
        "put \"a\" x",
        "put \"\"",
        "put \"log\" \"x\"",
        "append-to \"a\"",
        "get",
        "get a",
        "get \"a\" from=0",
        "get \"a\" local from=3",
        "get \"a\" \"b\"",
        "get \"a\" stale",
        "keys \"a\"",
        "keys from",
        "keys from a",
        "keys from \"\"",
        "keys local from \"a\"",
        "readmit",
        "readmit 3",
        "readmit node_0",
        "readmit node_10",
        "readmit node_3 disk=9f3a01c2d4e5f607",
        "status ",
        "watch node_1",
        "fault",
        "fault cut node_2 2",
    ] {
        let error = Request::decode(bad).map(|asked| format!("{asked:?}")).expect_err(bad);
        assert!(error.0.len() < 200 && !error.0.contains('\n'), "{error}");
    }
    let error = Request::decode(&"x".repeat(100_000)).map_err(|error| error.0.len());
    assert!(error.is_err_and(|len| len < 200));
    assert_eq!(
        Request::decode("foo bar").map_err(|error| error.0),
        Err("the command expected append, put, append-to, get, keys, session, log, status, watch, readmit, fault or hello, found \"foo\"".to_string())
    );
    assert_eq!(
        Request::decode("log from=x").map_err(|error| error.0),
        Err("log: from= expected a number up to 9007199254740991, found \"x\"".to_string())
    );
}

#[test]
fn a_refusal_names_the_command_or_what_is_wrong_with_it() {
    for (line, refusal) in [
        (
            "foo bar",
            "error unknown-command \"foo\": expected append, put, append-to, get, keys, session, log, status, watch, readmit, fault or hello",
        ),
        ("log from=x", "error bad-request log: from= expected a number up to 9007199254740991, found \"x\""),
        (
            "",
            "error bad-request expected append, put, append-to, get, keys, session, log, status, watch, readmit, fault or hello, found nothing",
        ),
    ] {
        let refused = Request::decode(line).map_err(|error| answer(&Answer::refusing(line, &error)));
        assert_eq!(refused, Err(refusal.to_string()));
    }
}

#[test]
fn bad_answers_are_refused() {
    let status = "status node=node_1 role=leader term=3 leader=node_1 last=7@3 commit=7 applied=7 leader-commit=7 \
                  snapshot=4@2 log-len=3 log-bytes=400 snapshot-bytes=2345 keys=2 peers=none progress=none heard=never \
                  size=3 uptime=";
    let rest = " syncs=5 sent=77";
    assert!(Answer::decode(&format!("{status}1.1{rest}")).is_ok());
    for bad in [
        "",
        "ok",
        "ok ",
        "ok 0@0",
        "ok 3@1 x",
        "ok watching",
        "ok fault cut",
        "ok watching node_0",
        "unknown",
        "unknown 3@1 ",
        "unknown 3@1 \\x",
        "redirect node_2",
        "redirect node_2 host",
        "redirect node_2 :1",
        "redirect node_2 h:0",
        "redirect node_2 h:65536",
        "redirect node_2 h:+1",
        "redirect node_2 h:1 x",
        "redirect node_2 hé:1",
        "error",
        "error ",
        "error what",
        "error session-gap",
        "error session-gap expected x",
        "error busy ",
        "session 17",
        "session -1-9f3a01c2d4e5f607",
        "2@1",
        "2@1 SET",
        "0@1 \"x\"",
        "end",
        "end next=6",
        "end commit=9 next=6",
        "end next=-1 commit=1",
        "value",
        "value cat",
        "value \"cat\" \"dog\"",
        "end-of-values next=4 total=3 changed=5@1 applied=7",
        "end-of-values next=4 total=3 changed=5@0 applied=7 heard=never",
        "end-of-values next=4 changed=5@1 applied=7 heard=never",
        "no-key a applied=7 heard=never",
        "no-key \"\" applied=7 heard=never",
        "key \"a\"",
        "key \"a\" values=x",
        "end-of-keys",
        "end-of-keys next b applied=7 heard=never",
        "end-of-keys next \"b\"",
        "error full-up",
        "nonsense",
        status,
        &format!("{status}1.1"),
        &format!("{status}1.1 syncs=1"),
        &format!("{status}1{rest}"),
        &format!("{status}1.10{rest}"),
        &format!("{status}01.1{rest}"),
        &format!("{status}1.1{rest} x"),
        &format!("{status}1.1{rest}").replace("peers=none", "peers=node_2"),
        &format!("{status}1.1{rest}").replace("peers=none", "peers=node_2:up,"),
        &format!("{status}1.1{rest}").replace("leader t", "king t"),
        &format!("{status}1.1{rest}").replace("peers=none", &format!("peers={}", ["node_2:up"; 10].join(","))),
        &format!("{status}1.1{rest}").replace("progress=none", "progress=node_2"),
        &format!("{status}1.1{rest}").replace("progress=none", "progress=node_2:1"),
        &format!("{status}1.1{rest}").replace("progress=none", "progress=node_2:1:x"),
        &format!("{status}1.1{rest}").replace("progress=none", "progress="),
        &format!("{status}1.1{rest}").replace("heard=never", "heard="),
        &format!("{status}1.1{rest}").replace("heard=never", "heard=-1"),
        &format!("{status}1.1{rest}").replace("snapshot=4@2", "snapshot=4@0"),
        &format!("{status}1.1{rest}").replace("log-len=3", "log-len=-3"),
        &format!("{status}1.1{rest}").replace(" keys=2", ""),
    ] {
        assert!(Answer::decode(bad).is_err(), "{bad}");
    }
}
