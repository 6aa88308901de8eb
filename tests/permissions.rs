//! What each right opens, as docs/access.md has it in a table, tried cell by cell on a running device.

mod support;

use std::collections::BTreeSet;

use porthole::access::link::ViewingLink;
use porthole::access::permissions;
use porthole::signaling::topic::Id;
use serde_json::{Value, json};
use support::attacker::{Attacker, Comes};
use support::daemon::{DEVICE, Daemon, Settings};
use support::http::{Answer, Site};
use support::invited::{auth, command};
use support::viewer::OFFER;

const ACCESS: &str = include_str!("../docs/access.md");
const PROTOCOL: &str = include_str!("../docs/protocol.md");
const RIGHTS: [&str; 4] = ["view", "control", "snapshot", "talk"];

/// One line of the table: what is tried, and for each column what it says.
struct Row {
    what: &'static str,
    cells: Vec<&'static str>,
}

/// The table, its columns first.
fn table() -> (Vec<&'static str>, Vec<Row>) {
    let (_, text) = ACCESS.split_once("## What each right opens").expect("the table's heading");
    let split = |line: &'static str| -> Vec<&'static str> {
        line.trim_matches('|').split('|').map(str::trim).collect()
    };
    let mut lines = text.lines().filter(|line| line.starts_with('|')).map(split);
    let columns = lines.next().expect("columns");
    assert!(lines.next().is_some_and(|line| line.iter().all(|cell| cell.starts_with("--"))), "a rule");
    let columns = columns.into_iter().skip(1).map(|name| name.trim_matches('`')).collect();
    (columns, lines.map(|cells| Row { what: cells[0], cells: cells[1..].to_vec() }).collect())
}

/// What stands between backticks in `text`.
fn quoted(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether the table gives `what` to who has `rights`.
fn expected(what: &str, rights: &BTreeSet<&str>) -> bool {
    let (columns, rows) = table();
    let row = rows.iter().find(|row| row.what.starts_with(what)).unwrap_or_else(|| panic!("no row {what}"));
    columns.iter().zip(&row.cells).any(|(column, cell)| {
        let has = |right: &str| rights.contains(right.trim_matches('`'));
        match *cell {
            "" => false,
            "everybody" => true,
            "yes" => *column == "any grant" || has(column),
            cell => has(column) && cell.strip_prefix("with ").is_some_and(has),
        }
    })
}

/// The topics of the table that the device publishes on, each with its row.
fn readable() -> Vec<(&'static str, &'static str)> {
    let (_, rows) = table();
    let rows = rows.into_iter().filter(|row| row.what.starts_with("built-in broker: read"));
    rows.flat_map(|row| quoted(row.what).map(move |topic| (topic, row.what))).collect()
}

/// The paths of the table, each with its row, `/whep` left out.
fn paths() -> Vec<(&'static str, &'static str)> {
    let (_, rows) = table();
    let rows =
        rows.into_iter().filter(|row| !row.what.starts_with("built-in") && !row.what.contains("there"));
    let paths = rows.flat_map(|row| quoted(row.what).map(move |path| (path, row.what)));
    paths.filter(|(path, _)| *path != "/whep").collect()
}

/// The commands of the protocol.
fn commands() -> Vec<String> {
    let rows = PROTOCOL.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let names = rows.map(|(name, _)| name.replace("<name>", "brightness"));
    let is_command = |name: &String| name.starts_with("set/") || name.starts_with("do/");
    names.filter(|name| is_command(name) && !name.contains('<')).collect()
}

#[test]
fn the_docs_and_the_code_know_the_same_topics_paths_and_rights() {
    let (columns, _) = table();
    assert_eq!(columns, ["view", "control", "snapshot", "any grant"]);
    let of_docs: BTreeSet<_> = readable().into_iter().map(|(topic, _)| topic).collect();
    assert_eq!(of_docs, permissions::topics().collect());
    // What the device publishes for more than one reader, as the protocol has it.
    let published = PROTOCOL.lines().filter(|line| line.contains("| device")).filter_map(|line| {
        let topic = line.strip_prefix("| `")?.split_once('`')?.0;
        (!topic.contains('/')).then_some(topic)
    });
    assert_eq!(of_docs, published.collect());
    let everybody: BTreeSet<_> = paths()
        .into_iter()
        .filter(|(_, row)| expected(row, &BTreeSet::new()))
        .map(|(path, _)| path)
        .collect();
    let of_docs: BTreeSet<_> =
        paths().into_iter().map(|(path, _)| path).filter(|path| !everybody.contains(path)).collect();
    assert_eq!(of_docs, permissions::paths().collect());
    assert!(commands().len() >= 9, "{:?}", commands());
}

/// A device at its own broker, and a grant for every set of rights.
struct World {
    _daemon: Daemon,
    site: Site,
    port: u16,
    guests: Vec<(BTreeSet<&'static str>, ViewingLink)>,
}

fn token(link: &ViewingLink) -> (&Id, String) {
    let (name, seed) = link.grant.as_ref().expect("a grant");
    (name, seed.bearer())
}

async fn world() -> World {
    let [tcp, websocket] = support::free_ports();
    let settings = Settings::new("embedded")
        .text("broker.listen", format!("127.0.0.1:{tcp}"))
        .text("broker.websocket", format!("127.0.0.1:{websocket}"))
        .value("viewers.max", 100)
        .text("access.mode", "grants");
    let daemon = Daemon::run(settings);
    let site = Site::of(&daemon.page().await);
    let mut guests = Vec::new();
    for bits in 1_u8..16 {
        let rights: BTreeSet<_> = RIGHTS
            .into_iter()
            .enumerate()
            .filter(|(n, _)| bits >> n & 1 == 1)
            .map(|(_, right)| right)
            .collect();
        let list = rights.iter().copied().collect::<Vec<_>>().join(",");
        let printed =
            command(&daemon, &["grant", &format!("guest-{bits}"), "--rights", &list]).expect("a grant");
        guests.push((rights, printed.lines().next().expect("a link").parse().expect("a link")));
    }
    let (_, last) = token(&guests.last().expect("a guest").1);
    while get(&site, "/api/state", &last).await.status == 401 {
        tokio::task::yield_now().await;
    }
    World { _daemon: daemon, site, port: tcp, guests }
}

async fn get(site: &Site, path: &str, token: &str) -> Answer {
    site.request("GET", path, &[("Authorization", &format!("Bearer {token}"))], "").await
}

async fn client(port: u16, id: &str, link: &ViewingLink) -> Attacker {
    let (name, token) = token(link);
    let comes = Comes { id, as_user: Some((name.as_str(), &token)), will: None };
    Attacker::enter(port, comes).await.expect("to be let in")
}

fn topic(leaf: &str) -> String {
    format!("porthole/{DEVICE}/{leaf}")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cell_of_the_table_is_true_over_the_built_in_broker() {
    let world = world().await;
    let offer_row = "an offer, over MQTT or at `/whep`";
    for (n, (rights, link)) in world.guests.iter().enumerate() {
        let id = format!("tab-{n}");
        let mut guest = client(world.port, &id, link).await;
        for (leaf, row) in readable() {
            assert_eq!(guest.may_read(&topic(leaf)).await, expected(row, rights), "{rights:?} reads {leaf}");
        }
        let all = readable().into_iter().all(|(_, row)| expected(row, rights));
        assert_eq!(guest.may_read(&topic("+")).await, all, "{rights:?} reads all");
        for leaf in ["set/streaming", "do/close", "set/+", "signal/+/up", "signal/other/down", "#"] {
            assert!(!guest.may_read(&topic(leaf)).await, "{rights:?} reads {leaf}");
        }
        for (leaf, _) in readable() {
            assert_eq!(guest.says(&topic(leaf), "x", false).await, Some(false), "{rights:?} says {leaf}");
        }
        for leaf in commands() {
            let row = if leaf == "do/snapshot" {
                "built-in broker: write `do/snapshot`"
            } else {
                "built-in broker: write `set/"
            };
            // No command takes this: what is allowed is refused in words behind the door.
            let said = guest.says(&topic(&leaf), "?", false).await;
            assert_eq!(said, Some(expected(row, rights)), "{rights:?} says {leaf}");
        }
        for leaf in ["set/", "do/", "set", "do", "other", "signal/other/up", "signal/other/down"] {
            assert_eq!(guest.says(&topic(leaf), "?", false).await, Some(false), "{rights:?} says {leaf}");
        }
        assert!(guest.may_read(&topic(&format!("signal/{id}/down"))).await);
        let auth = auth(link, DEVICE, &id, "default", OFFER);
        let offer = json!({"type": "offer", "sdp": OFFER, "auth": auth}).to_string();
        assert_eq!(guest.says(&topic(&format!("signal/{id}/up")), &offer, false).await, Some(true));
        let answer = guest.hears(&topic(&format!("signal/{id}/down"))).await;
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        let may_watch = expected(offer_row, rights);
        let (kind, code) = if may_watch { ("answer", &Value::Null) } else { ("error", &json!("forbidden")) };
        assert_eq!((&answer["type"], &answer["code"]), (&kind.into(), code), "{rights:?}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cell_of_the_table_is_true_over_http() {
    let world = world().await;
    for (rights, link) in &world.guests {
        let (_, bearer) = token(link);
        let whep = world.site.offer(OFFER, Some(&bearer)).await;
        let may_watch = expected("an offer, over MQTT or at `/whep`", rights);
        assert_eq!(whep.status, if may_watch { 201 } else { 403 }, "{rights:?}: {}", whep.text());
        for (path, row) in paths() {
            let answer = get(&world.site, path, &bearer).await;
            let may = expected(row, rights);
            assert_eq!(answer.status != 403, may, "{rights:?} {path}: {}", answer.status);
            assert!(answer.status < 400 || !may || path == "/snapshot.jpg", "{path}: {}", answer.status);
        }
    }
    for (path, row) in paths() {
        let status = world.site.get(path).await.status;
        let is_for_all = expected(row, &BTreeSet::new());
        assert_eq!(status, if is_for_all { 200 } else { 401 }, "{path} without a token");
    }
    let page = world.site.get("/").await.status;
    assert!(page != 401 && page != 403, "the page: {page}");
    assert_eq!(world.site.offer(OFFER, None).await.status, 401);
}

/// Names of other viewers that `state` holds.
fn names<'a>(state: &'a Value, own: &str) -> Vec<&'a Value> {
    let sessions = state["viewers"]["sessions"].as_array().expect("sessions");
    let others = sessions.iter().filter(|session| session["grant"] != own);
    others
        .flat_map(|session| ["viewer", "session", "grant"].map(|name| &session[name]))
        .filter(|name| !name.is_null())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_control_learns_who_else_watches() {
    let world = world().await;
    let watching: Vec<_> = world.guests.iter().filter(|(rights, _)| rights.contains("view")).collect();
    for (_, link) in &watching {
        assert_eq!(world.site.offer(OFFER, Some(&token(link).1)).await.status, 201);
    }
    for (n, (rights, link)) in world.guests.iter().enumerate() {
        let (name, bearer) = token(link);
        let answer = get(&world.site, "/api/state", &bearer).await;
        if answer.status != 200 {
            continue;
        }
        let mut state = answer.json();
        // It is as good for a second.
        while state["viewers"]["count"] != watching.len() {
            tokio::task::yield_now().await;
            state = get(&world.site, "/api/state", &bearer).await.json();
        }
        let told = !names(&state, name.as_str()).is_empty();
        assert_eq!(told, expected("who else watches", rights), "{rights:?}: {state:#}");
        let mut guest = client(world.port, &format!("tab-{n}"), link).await;
        assert!(guest.may_read(&topic("state")).await);
        let state: Value = serde_json::from_slice(&guest.hears(&topic("state")).await).expect("JSON");
        assert_eq!(names(&state, "nobody"), Vec::<&Value>::new(), "{rights:?}: {state:#}");
    }
}
