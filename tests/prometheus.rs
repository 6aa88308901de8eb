//! Prometheus' own checker on the figures, the alerts, and the queries of the dashboard.

mod support;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::daemon::{Daemon, Settings};
use support::http::Site;
use support::mosquitto::Mosquitto;
use support::viewer::{Dashboard, OFFER};

fn is_there() -> bool {
    let found = Command::new("promtool").arg("--version").output().is_ok();
    if !found {
        eprintln!("SKIPPED: there is no promtool; install the package prometheus to run this test");
    }
    found
}

/// Runs promtool: whether it is content, and all it said.
fn promtool(arguments: &[&str], input: &[u8]) -> (bool, String) {
    let mut promtool = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start promtool");
    promtool.stdin.take().expect("its input").write_all(input).expect("write");
    let done = promtool.wait_with_output().expect("an end");
    let said = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn repository(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_follow_the_conventions() {
    if !is_there() {
        return;
    }
    let Some(broker) = Mosquitto::start() else { return };
    let daemon = Daemon::run(Settings::new(&broker.url()));
    let mut dashboard = Dashboard::connect(broker.port()).await;
    dashboard.camera("idle").await;
    let site = Site::of(&daemon.page().await);
    let idle = site.get("/metrics").await;
    assert_eq!(site.offer(OFFER, None).await.status, 201);
    dashboard.camera("live").await;
    let live = site.get("/metrics").await;
    for figures in [idle, live] {
        assert!(figures.header("content-type").starts_with("text/plain; version=0.0.4"), "{figures:?}");
        let (content, said) = promtool(&["check", "metrics"], &figures.body);
        assert!(content && said.is_empty(), "{said}\n{}", figures.text());
    }
}

#[test]
fn alerts_are_valid_and_fire_when_they_should() {
    if !is_there() {
        return;
    }
    let rules = repository("docs/dashboards/prometheus-rules.yml");
    let (content, said) = promtool(&["check", "rules", rules.to_str().expect("UTF-8")], b"");
    assert!(content, "{said}");
    let tests = repository("tests/prometheus/rules_test.yml");
    let (content, said) = promtool(&["test", "rules", tests.to_str().expect("UTF-8")], b"");
    assert!(content, "{said}");
}

fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| queries(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| queries(value, found)),
        _ => {}
    }
}

#[test]
fn the_dashboards_queries_can_be_read() {
    if !is_there() {
        return;
    }
    let text = std::fs::read_to_string(repository("docs/dashboards/grafana.json")).expect("the dashboard");
    let mut found = Vec::new();
    queries(&serde_json::from_str(&text).expect("JSON"), &mut found);
    assert!(found.len() > 15, "{found:?}");
    // As Grafana would fill them in, and as rules, which promtool reads.
    let rules = found.iter().enumerate().map(|(n, query)| {
        let query = query.replace("$__rate_interval", "1m").replace("$__range", "6h");
        json!({"record": format!("query:{n}"), "expr": query})
    });
    let rules = json!({"groups": [{"name": "dashboard", "rules": rules.collect::<Vec<_>>()}]});
    let file = tempfile::Builder::new().suffix(".yml").tempfile().expect("a file");
    // JSON is YAML.
    std::fs::write(file.path(), rules.to_string()).expect("write");
    let (content, said) = promtool(&["check", "rules", file.path().to_str().expect("UTF-8")], b"");
    assert!(content, "{said}");
}
