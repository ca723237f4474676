//! Transcripts: small text files that script a cluster and show what every node said.
//!
//! Each file of `tests/transcripts` tells, in a comment, of a bug that a real implementation had and what must happen
//! instead; then commands (`> timeout 1`), each followed by what it shows. They are the documentation of the protocol's
//! corners: read `typical-run.txt` first. After a change, `UPDATE_TRANSCRIPTS=1 cargo test --test transcripts`
//! rewrites the expected text: then read the difference, for it is the claim that the change makes.
//!
//! What is shown: events as in a node's log, without the time; `node_1 -> node_2: …` for a message that arrives, with
//! its effects under it; `sent …` for one that is under way when the command ends; `lost …`; answers to clients.
//!
//! | command | |
//! |---|---|
//! | `cluster 3 [pre-vote=off]` | starts nodes; nothing happens by itself after this |
//! | `elect 1` | 8 s pass, the election timer of node_1 fires, all is delivered; node_1 must lead now |
//! | `advance 2s` | time passes, no timer fires |
//! | `timeout 1`, `heartbeat 1` | the election timer, the heartbeat timer of node_1 fires |
//! | `run 30s showing STATE COMMIT` | all timers fire when they are due and messages take no time; shows these topics |
//! | `deliver` | everything, and what it causes, until nothing is under way |
//! | `deliver 1->2 *->3` | what is under way there now, and not what it causes; `first 1->2`: only the first |
//! | `drop`, `duplicate`, `reverse` `1->2` | … what is under way there now |
//! | `delay 1->2` / `late 1->2` | sets it aside / it arrives after all |
//! | `slow 1->3`, `fast 1->3` | `deliver` leaves alone what is under way there; no more |
//! | `say 1->2 request-vote term=1 last=0@0` | this message arrives, though nobody sent it |
//! | `append 1 "x"` · `append 1 A 5 "x"` | a client asks node_1; as number 5 of session A |
//! | `append-many 1 100 "x"` | 100 at once: "x1" … "x100"; `append-many 1 A 100 "x"`: as numbers 1 … 100 of session A |
//! | `put 1 "a" "cat" "dog"`, `append-to 1 A 5 "a" "x"` | the same for the list of key "a" |
//! | `read 1`, `read 1 "a"`, `read-many 1 3` | a client reads the strings, the list of "a"; three clients at once |
//! | `readmit 1 3` | a client asks node_1 to count node_3 with its new disk |
//! | `snapshot 1 [now]` | node_1 puts a snapshot in the place of what it has committed; `now`: even while it sends one |
//! | `chunk-size 200` | nodes send snapshots in pieces of 200 bytes at the most |
//! | `hold-pieces 3` / `free-pieces 3` | to store a piece of a snapshot takes node_3 a while / and is done |
//! | `crowd 1 1024` | 1024 clients, each with a session of its own, append a string each |
//! | `session A 1` | node_1 makes a session |
//! | `hold-disk 2` / `sync 2` / `free-disk 2` | each write waits for its sync / it is synced / no more waiting |
//! | `crash 2 [keeping 1\|all]` / `restart 2` | what is not synced is lost, but for its first records / comes back |
//! | `wipe 2` | the data directory of the stopped node is lost |
//! | `rot 2 1` | the last entry on the disk of the stopped node is lost, though it was synced |
//! | `partition 1 \| 2 3`, `only 1-2 2-3`, `cut 1->2`, `heal [1->2]` | ways that messages cannot go |
//! | `lose 1->2`, `connect 1->2` | node_1's connection to node_2 breaks, is made |
//! | `status`, `log 2`, `disk 2`, `list 2` | roles; entries; term and vote on disk; the strings of the state machine |
//! | `keys 2`, `snapshot-text 2` | the other keys with their lists; the text of the snapshot |
//! | `count 1->2` | how many messages are under way |
//! | `quietly COMMAND`, `repeat 9 COMMAND; COMMAND` | shows nothing; does it nine times |

#[path = "transcripts/script.rs"]
mod script;
#[path = "transcripts/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::path::PathBuf;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

/// One test a file, under the file's name.
macro_rules! transcripts {
    ($($name:ident),* $(,)?) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(#[test]
        fn $name() {
            script::check(&directory().join(stringify!($name).replace('_', "-") + ".txt"));
        })*
    };
}

transcripts! {
    // The lab itself.
    typical_run, split_vote, dead_leader, dead_follower,
    // Election
    double_vote_restart, vote_split_write, same_term_keeps_vote, stale_grant, newer_shorter_wins,
    leader_ignores_prevote, fresh_tally, regrant, prevote_newer_term, rejoin_no_bump,
    // Log
    stale_short_append, ack_matched_only, commit_capped, commit_monotone, ack_reorder, prev_zero, rejected_zero, hundred_conflicts,
    deposed_silent, append_aba,
    // Commit
    figure8, old_then_new_term, unsynced_self_ack,
    // Restart
    applied_ahead,
    // Sessions
    failover_retry, stepdown_unknown, session_gap, session_old_answer, session_expired,
    // Reads
    read_before_noop, late_ack_read, paused_leader_read, reads_share_a_round, read_redirected,
    // Snapshots
    snapshot_gap, crash_mid_install, install_keeps_term, duplicate_snapshot, purged_prev, candidate_takes_snapshot, broken_snapshot,
    throttled_compaction, session_survives_snapshot,
    // Network
    probe_recovers, slow_follower_bounded, one_way_cut, ring, bridge, quorum_loss, chain, reconnect_storm,
    // Disk
    wiped_rejoin, wiped_readmit, wiped_twice, acknowledged_lost, disk_hang,
}

#[test]
fn every_file_is_a_test() {
    let files: BTreeSet<String> = std::fs::read_dir(directory())
        .expect("tests/transcripts can be read")
        .filter_map(|file| file.ok()?.file_name().to_str()?.strip_suffix(".txt").map(|name| name.replace('-', "_")))
        .collect();
    let names: BTreeSet<String> = NAMES.iter().map(|name| name.to_string()).collect();
    assert_eq!(files, names, "the files of tests/transcripts and the list in tests/transcripts.rs must be the same");
}
