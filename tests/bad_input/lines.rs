//! The lines that no node may do anything with.

/// Numbers that are none of the protocol's: too large, signed, or written in another way.
const NUMBERS: [&str; 11] = [
    "18446744073709551616",
    "18446744073709551615",
    "9007199254740992",
    "99999999999999999999999999999999999999999",
    "-1",
    "+1",
    "1e9",
    "01",
    "0x1",
    "1.0",
    "",
];

/// Each `#` stands for one of [`NUMBERS`].
const CLIENT_NUMBERS: [&str; 4] =
    ["log from=#", "log from=# local", "append #-9f3a01c2d4e5f607 1 \"x\"", "append 0-9f3a01c2d4e5f607 # \"x\""];

const CLIENT: [&str; 41] = [
    // No command, an unknown one, another protocol's.
    "",
    " ",
    "nonsense",
    "APPEND \"x\"",
    "append\"x\"",
    "GET / HTTP/1.1",
    "append-entries term=1 prev=0@0 commit=0 heartbeat=yes entries=0",
    "request-vote term=99 last=99@99",
    "ok 1@1",
    // Spaces where none belong.
    " append \"x\"",
    "append  \"x\"",
    "append \"x\" ",
    "status ",
    // Missing.
    "append",
    "append ",
    "append x",
    "append \"x",
    "append x\"",
    "append 0-9f3a01c2d4e5f607 \"x\"",
    "append 0-9f3a01c2d4e5f607 1",
    "append 1 \"x\"",
    // Unknown, or twice.
    "append \"x\" \"y\"",
    "append \"x\"\"y\"",
    "append 0-9f3a01c2d4e5f607 1 1 \"x\"",
    "session 1",
    "status now",
    "watch all",
    "log 5",
    "log to=5",
    "log from=1 to=5",
    "log from=1 from=1",
    "log from=1 local local",
    "log local from=1",
    // Out of their limits.
    "log from=0",
    "append 0-9f3a01c2d4e5f607 0 \"x\"",
    "append 0-9f3a 1 \"x\"",
    "append 0-9F3A01C2D4E5F607 1 \"x\"",
    // Escapes that do not exist, or not for this.
    "append \"\\x\"",
    "append \"\\u{41}\"",
    "append \"\\u{110000}\"",
    "append \"\\\"",
];

const PEER_NUMBERS: [&str; 18] = [
    "pre-vote term=# last=0@0",
    "pre-vote term=1 last=#@1",
    "pre-vote term=1 last=1@#",
    "pre-vote-reply term=# granted=yes",
    "request-vote term=# last=0@0",
    "request-vote term=1 last=#@1",
    "request-vote-reply term=# granted=yes",
    "append-entries term=# prev=0@0 commit=0 heartbeat=yes entries=0",
    "append-entries term=1 prev=#@1 commit=0 heartbeat=yes entries=0",
    "append-entries term=1 prev=0@0 commit=# heartbeat=yes entries=0",
    "append-entries term=1 prev=0@0 commit=0 heartbeat=yes entries=#",
    "append-entries term=1 prev=0@0 commit=0 heartbeat=yes entries=1 #@1 no-op",
    "append-entries term=1 prev=0@0 commit=0 heartbeat=yes entries=1 1@# no-op",
    "append-entries-reply term=# matched=1",
    "append-entries-reply term=1 matched=#",
    "append-entries-reply term=1 rejected=#@1 conflict=1@0",
    "append-entries-reply term=1 rejected=1@1 conflict=#@0",
    "refused term=# disk=9f3a01c2d4e5f607",
];

const PEER: [&str; 44] = [
    // No message, an unknown one, a client's.
    "",
    "nonsense",
    "status",
    "append \"x\"",
    "vote term=9 last=0@0",
    "hello node_3 of 3 disk=0000000000000003",
    // In another order, missing, twice, unknown, too much.
    "request-vote last=0@0 term=9",
    "request-vote",
    "request-vote term=9",
    "request-vote last=0@0",
    "request-vote term=9 last=0@0 last=0@0",
    "request-vote term=9 term=9 last=0@0",
    "request-vote term=9 last=0@0 node=3",
    "request-vote  term=9 last=0@0",
    "request-vote term=9 last=0@0 ",
    "request-vote term=9 last=00@0",
    "request-vote-reply term=9 granted=maybe",
    "request-vote-reply term=9 granted=",
    "append-entries term=9 prev=0@0 commit=0 entries=0",
    "append-entries term=9 prev=0@0 commit=0 heartbeat=perhaps entries=0",
    "append-entries-reply term=9",
    "append-entries-reply term=9 matched=1 matched=1",
    "append-entries-reply term=9 rejected=1@1",
    "append-entries-reply term=9 rejected=1@1 conflict=0@0",
    "refused term=9 disk=9f3a",
    "refused term=9 disk=9F3A01C2D4E5F607",
    // Fewer and more entries than announced, and more than there may be.
    "append-entries term=9 prev=0@0 commit=0 heartbeat=yes entries=1",
    "append-entries term=9 prev=0@0 commit=0 heartbeat=yes entries=2 1@1 no-op",
    "append-entries term=9 prev=0@0 commit=0 heartbeat=yes entries=0 1@1 no-op",
    "append-entries term=9 prev=0@0 commit=0 heartbeat=yes entries=1 1@1 no-op 2@1 no-op",
    "append-entries term=9 prev=0@0 commit=0 heartbeat=yes entries=513",
    "append-entries term=9 prev=0@0 commit=0 heartbeat=yes entries=1000000000 1@1 no-op",
    // Gaps, and an order that no log has.
    "append-entries term=9 prev=0@0 commit=0 heartbeat=yes entries=1 2@1 no-op",
    "append-entries term=9 prev=0@0 commit=0 heartbeat=yes entries=2 1@1 no-op 3@1 no-op",
    "append-entries term=9 prev=0@0 commit=0 heartbeat=yes entries=2 1@2 no-op 2@1 no-op",
    "append-entries term=9 prev=0@0 commit=0 heartbeat=yes entries=1 1@10 no-op",
    "append-entries term=9 prev=2@10 commit=0 heartbeat=yes entries=0",
    "append-entries term=9 prev=0@1 commit=0 heartbeat=yes entries=0",
    "append-entries term=9 prev=1@0 commit=0 heartbeat=yes entries=0",
    "request-vote term=9 last=1@10",
    // Entries that are none.
    "append-entries term=9 prev=0@0 commit=0 heartbeat=yes entries=1 1@1 delete \"x\"",
    "append-entries term=9 prev=0@0 commit=0 heartbeat=yes entries=1 1@1 append x",
    "append-entries term=9 prev=0@0 commit=0 heartbeat=yes entries=1 1@1 append \"x",
    "append-entries term=9 prev=0@0 commit=0 heartbeat=yes entries=1 1@1",
];

const HELLO: [&str; 24] = [
    "hello",
    "hello ",
    "hello node_3",
    "hello node_3 of 3",
    "hello node_3 disk=0000000000000003",
    "hello of 3 disk=0000000000000003",
    "hello 3 of 3 disk=0000000000000003",
    "hello node_3 of 3 disk=0000000000000003 again",
    "hello node_3 of 3 of 3 disk=0000000000000003",
    "hello node_3 of 3 disk=3",
    "hello node_3 of 3 disk=000000000000000g",
    "hello node_3 of 3 disk=000000000000000A",
    "Hello node_3 of 3 disk=0000000000000003",
    // Another size, no member, nobody.
    "hello node_3 of 5 disk=0000000000000003",
    "hello node_2 of 2 disk=0000000000000003",
    "hello node_4 of 4 disk=0000000000000003",
    "hello node_4 of 3 disk=0000000000000003",
    "hello node_0 of 3 disk=0000000000000003",
    "hello node_10 of 10 disk=0000000000000003",
    "hello node_1000000000 of 1000000000 disk=0000000000000003",
    "hello node_03 of 3 disk=0000000000000003",
    "hello node_-1 of 3 disk=0000000000000003",
    "hello node_18446744073709551616 of 3 disk=0000000000000003",
    "hello node_3 of 18446744073709551616 disk=0000000000000003",
];

fn whole(lines: &[&str], numbered: &[&str]) -> Vec<Vec<u8>> {
    let numbered = numbered.iter().flat_map(|line| NUMBERS.iter().map(|number| line.replace('#', number)));
    lines.iter().map(|line| line.to_string()).chain(numbered).map(|line| (line + "\n").into_bytes()).collect()
}

/// Bytes that are no text of a line, as they would stand in this one in the place of `#`.
fn no_text(line: &str) -> Vec<Vec<u8>> {
    let parts: [&[u8]; 12] = [
        b"\0",
        b"\x1b[31m",
        b"\x07",
        b"\t",
        b"\x7f",
        b"a\rb",
        b"\xff",
        b"\xc3",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        // Turns the direction of writing: allowed as an escape only.
        "\u{202e}".as_bytes(),
    ];
    let (before, after) = line.split_once('#').unwrap_or((line, ""));
    parts.iter().map(|part| [before.as_bytes(), part, after.as_bytes(), b"\n"].concat()).collect()
}

/// A line longer than any may be, and a string longer than any may be.
fn too_long(line: &str) -> Vec<Vec<u8>> {
    let (before, after) = line.split_once('#').unwrap_or((line, ""));
    let long = |bytes: usize| format!("{before}{}{after}\n", "x".repeat(bytes)).into_bytes();
    vec![long(1024 * 1024), long(3 * 1024 * 1024), long(64 * 1024 + 1)]
}

/// What a client may send wrong.
pub fn of_clients() -> Vec<Vec<u8>> {
    [whole(&CLIENT, &CLIENT_NUMBERS), no_text("append \"#\""), too_long("append \"#\"")].concat()
}

/// What a peer may send wrong after its hello.
pub fn of_peers() -> Vec<Vec<u8>> {
    let append = "append-entries term=9 prev=0@0 commit=0 heartbeat=yes entries=1 1@1 append \"#\"";
    [whole(&PEER, &PEER_NUMBERS), no_text(append), too_long(append)].concat()
}

/// What may be wrong with a hello.
pub fn of_hellos() -> Vec<Vec<u8>> {
    let hello = "hello node_3 of 3 disk=#";
    [whole(&HELLO, &[]), no_text(hello), too_long(hello)].concat()
}
