//! What may be asked over HTTP, and who may ask it.
//!
//! A browser runs what any web page tells it, also against a server on this machine. So: Host must be a name of this
//! server (a page cannot lead its own name here), a POST must be application/json (no form can send that, and for a
//! script of another origin the browser would have to ask first, which nobody answers), an Origin of another page is
//! refused, and GET changes nothing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use raft_lab::raft::types::NodeId;
use raft_lab::text::shorten;

use super::http::{Head, Refusal, Response, Service};
use super::status::View;
use super::{explain, keys};
use crate::connection::ATTEMPT;
use crate::json::Json;
use crate::options::Options;
use crate::session::Writer;
use crate::status::{ask, ask_all};

/// What the ports have in common.
pub struct Shared {
    pub options: Options,
    /// The names under which it may be asked, in lower case.
    hosts: Vec<String>,
    /// Sessions that nobody uses at the moment: at most one for each connection.
    pub writers: Mutex<Vec<Writer>>,
}

/// The service of one port: it speaks for one node.
pub struct Api {
    node: NodeId,
    shared: Arc<Shared>,
}

/// What a path means.
#[derive(Debug, PartialEq, Eq)]
enum Route {
    Keys,
    Key(String),
    Status,
    Explain,
    Cluster,
}

const PATHS: &str = "/keys, /keys/KEY, /admin/status, /admin/status/explain or /admin/cluster";

impl Shared {
    pub fn new(options: Options, hosts: Vec<String>) -> Shared {
        Shared { options, hosts, writers: Mutex::default() }
    }
}

/// A response with a JSON body on one line.
pub fn json(status: u16, body: &Json) -> Response {
    json_text(status, format!("{body}\n"))
}

/// The same with a line for each of the outermost members: for people.
fn long_json(status: u16, body: &Json) -> Response {
    json_text(status, format!("{body:#}\n"))
}

fn json_text(status: u16, body: String) -> Response {
    Response::new(status, body)
        .with("Content-Type", "application/json")
        .with("Cache-Control", "no-store")
        .with("X-Content-Type-Options", "nosniff")
}

/// `{"error": why}`.
pub fn error(status: u16, why: impl Into<String>) -> Response {
    json(status, &Json::members([("error", Json::String(why.into()))]))
}

impl Service for Api {
    fn admit(&self, head: &Head) -> Result<(), Response> {
        self.check_host(head)?;
        check_origin(head)?;
        let route = route(&head.path)?;
        let allowed: &[&str] = if matches!(route, Route::Key(_)) { &["GET", "HEAD", "POST"] } else { &["GET", "HEAD"] };
        if !allowed.contains(&head.method.as_str()) {
            let allowed = allowed.join(", ");
            let why = format!("{} takes {allowed}, not {}", shorten(&head.path), head.method);
            return Err(error(405, why).with("Allow", allowed));
        }
        if head.method == "POST" {
            check_content_type(head)?;
        }
        linearizable(head, &route).map(drop)
    }

    fn answer(&self, head: &Head, body: &[u8]) -> Response {
        self.respond(head, body).unwrap_or_else(|response| response)
    }

    fn refuse(&self, refusal: &Refusal) -> Response {
        error(refusal.status, &*refusal.why)
    }
}

impl Api {
    pub fn new(node: NodeId, shared: Arc<Shared>) -> Api {
        Api { node, shared }
    }

    fn respond(&self, head: &Head, body: &[u8]) -> Result<Response, Response> {
        let route = route(&head.path)?;
        let linearizable = linearizable(head, &route)?;
        match route {
            Route::Key(key) if head.method == "POST" => keys::write(&self.shared, &key, body),
            Route::Key(key) => keys::list(&self.shared.options, self.node, linearizable, &key),
            Route::Keys => keys::all(&self.shared.options, self.node, linearizable),
            Route::Status => self.status(|view| view.json()),
            Route::Explain => self.status(explain::json),
            Route::Cluster => Ok(self.cluster()),
        }
    }

    fn check_host(&self, head: &Head) -> Result<(), Response> {
        let (name, port) = match head.host.rsplit_once(':') {
            // The colons of `[::1]` are no port's.
            Some((name, port)) if !port.ends_with(']') => (name, port),
            _ => (head.host.as_str(), ""),
        };
        let known = self.shared.hosts.iter().any(|host| host.eq_ignore_ascii_case(name));
        if known && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(());
        }
        let why = format!(
            "Host: this server is {}, not {}; so that no other page can ask in its own name. Cure: ask for localhost, or \
             start it with --host NAME",
            self.shared.hosts.join(", "),
            shorten(&head.host)
        );
        Err(error(421, why))
    }

    fn limit(&self) -> Duration {
        ATTEMPT.min(self.shared.options.timeout)
    }

    fn status(&self, shown: impl Fn(&View) -> Json) -> Result<Response, Response> {
        let cluster = &self.shared.options.cluster;
        let address = cluster.address(self.node).unwrap_or_default();
        let status = ask(address, self.limit()).map_err(|why| down(&self.shared.options, self.node, &why))?;
        Ok(long_json(200, &shown(&View { status: &status, cluster })))
    }

    /// A row for each node; one that is down says why.
    fn cluster(&self) -> Response {
        let cluster = &self.shared.options.cluster;
        let rows = ask_all(&self.shared.options, self.limit()).into_iter().map(|row| {
            let (name, value) = match &row.status {
                Ok(status) => ("status", View { status, cluster }.json()),
                Err(why) => ("error", Json::string(why)),
            };
            Json::members([("node", Json::string(row.node)), ("up", row.status.is_ok().into()), (name, value)])
        });
        long_json(200, &Json::Array(rows.collect()))
    }
}

/// The node of this port gives no answer.
pub fn down(options: &Options, node: NodeId, why: &str) -> Response {
    let address = options.cluster.address(node).unwrap_or_default();
    let error = format!("{node} at {address} gives no answer: {why}. Cure: start it, or ask the port of another node");
    json(
        503,
        &Json::members([("error", Json::String(error)), ("node", Json::string(node)), ("why", Json::string(why))]),
    )
    .with("Retry-After", 1)
}

/// `Origin` is where the page comes from whose script asks; other programs send none.
fn check_origin(head: &Head) -> Result<(), Response> {
    let own = format!("http://{}", head.host);
    match head.all("origin").find(|origin| !origin.eq_ignore_ascii_case(&own)) {
        None => Ok(()),
        Some(origin) => {
            Err(error(403, format!("Origin: a page of {} may not ask here, only one of {own}", shorten(origin))))
        }
    }
}

fn check_content_type(head: &Head) -> Result<(), Response> {
    let given = head.one("content-type").map_err(|refusal| error(refusal.status, refusal.why))?;
    let kind = given.map(|given| given.split(';').next().unwrap_or_default().trim());
    match kind {
        Some(kind) if kind.eq_ignore_ascii_case("application/json") => Ok(()),
        _ => {
            let got = given.map_or("none".to_string(), shorten);
            Err(error(
                415,
                format!(
                    "Content-Type: expected application/json, got {got} (curl -H 'Content-Type: application/json')"
                ),
            ))
        }
    }
}

fn route(path: &str) -> Result<Route, Response> {
    match path.strip_prefix("/keys/") {
        Some(key) if !key.is_empty() && !key.contains('/') => {
            let wrong =
                || error(400, format!("the key {}: expected %XX with hexadecimal digits, and UTF-8", shorten(key)));
            return percent_decoded(key).map(Route::Key).ok_or_else(wrong);
        }
        Some(key) if !key.is_empty() => {
            return Err(error(404, format!("there is no path {}: a / in a key is written %2F", shorten(path))));
        }
        _ => {}
    }
    match path {
        "/keys" => Ok(Route::Keys),
        "/admin/status" => Ok(Route::Status),
        "/admin/status/explain" => Ok(Route::Explain),
        "/admin/cluster" => Ok(Route::Cluster),
        _ => Err(error(404, format!("there is no path {}; expected {PATHS}", shorten(path)))),
    }
}

/// `?consistency=linearizable` or `?consistency=local`, which goes without saying; nothing else is known.
fn linearizable(head: &Head, route: &Route) -> Result<bool, Response> {
    const CONSISTENCY: &str = "consistency=local or consistency=linearizable";
    let reads = matches!(route, Route::Keys | Route::Key(_)) && head.method != "POST";
    match head.query.as_deref() {
        None | Some("") => Ok(false),
        Some("consistency=linearizable") if reads => Ok(true),
        Some("consistency=local") if reads => Ok(false),
        Some(query) => {
            let expected = if reads { CONSISTENCY } else { "nothing" };
            Err(error(400, format!("expected {expected} behind the ?, got {}", shorten(query))))
        }
    }
}

/// Text as it was before percent-encoding (RFC 3986 §2.1). None: a `%` without two hexadecimal digits, or no UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digit = |at: usize| behind.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        bytes.push((digit(0)? * 16 + digit(1)?) as u8);
        rest = &behind[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
#[path = "api_tests.rs"]
mod tests;
