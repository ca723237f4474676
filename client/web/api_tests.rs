//! Paths, keys and who may ask.

use super::*;
use crate::web::http::tests::read_all;
use raft_lab::cluster::Cluster;
use raft_lab::text::random::Random;

/// The service of node 1 of a cluster of which nobody runs.
fn api() -> Api {
    let cluster = Cluster::parse("127.0.0.1:1,127.0.0.1:2").unwrap();
    let options = Options { cluster, timeout: Duration::from_millis(1) };
    Api::new(NodeId(1), Arc::new(Shared::new(options, vec!["localhost".to_string(), "[::1]".to_string()])))
}

#[test]
fn percent_encoding_is_undone_or_refused() {
    assert_eq!(percent_decoded("a%2Fb%20c%C3%a9+").as_deref(), Some("a/b cé+"));
    for wrong in ["%", "%2", "%2x", "a%", "%ff", "%C3", "%+1"] {
        assert_eq!(percent_decoded(wrong), None, "{wrong}");
    }
}

#[test]
fn paths_are_known_or_refused() {
    let routed = |path: &str| route(path).map_err(|response| response.status);
    assert_eq!(routed("/keys/a%2Fb"), Ok(Route::Key("a/b".to_string())));
    assert_eq!(routed("/keys"), Ok(Route::Keys));
    assert_eq!(routed("/admin/status/explain"), Ok(Route::Explain));
    for unknown in ["/", "/keys/", "/keys/a/b", "/keys/a/", "/Keys", "/admin", "/admin/status/", "*", "//keys"] {
        assert_eq!(routed(unknown), Err(404), "{unknown}");
    }
    assert_eq!(routed("/keys/%zz"), Err(400));
}

/// Whatever can be read as a request is admitted or refused with words that are JSON, and a body that is no write is
/// answered before anybody is asked.
#[test]
fn no_request_makes_it_panic() {
    let seeds = [
        "GET /keys/a%2Fb?consistency=local HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
        "HEAD http://localhost:1/admin/status/explain HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:1\r\n\r\n",
        "POST /keys/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{",
    ];
    let (api, mut random) = (api(), Random::from_seed(9110));
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..20_000 {
        let mut bytes = seeds[random.below(3) as usize].as_bytes().to_vec();
        for _ in 0..random.below(3) {
            let at = random.below(bytes.len() as u64) as usize;
            let special = b"%/?:[]@\xc3\xa9a"[random.below(10) as usize];
            match random.below(3) {
                0 => bytes.insert(at, special),
                1 => bytes[at] = special,
                _ => _ = bytes.remove(at),
            }
        }
        for (head, body) in read_all(&bytes, 8 * 1024).0 {
            let response = match api.admit(&head) {
                Err(response) => response,
                Ok(()) if head.method == "POST" => api.answer(&head, &body),
                Ok(()) => Response::new(200, "{}".to_string()),
            };
            assert!(Json::read(&response.body).is_ok(), "{head:?}: {}", response.body);
            *seen.entry(response.status).or_insert(0) += 1;
        }
    }
    for status in [200, 400, 403, 404, 415, 421] {
        assert!(seen.contains_key(&status), "no request came to {status}: {seen:?}");
    }
}
