//! Brokers that speak MQTT 3.1.1 alone: aedes, which is in Node-RED, and amqtt, which many programs in Python bring along.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::free_ports;

/// A running one. Killed on drop.
pub struct OldBroker {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl OldBroker {
    /// aedes, or nothing after saying that the test is skipped and why.
    pub fn aedes() -> Option<Self> {
        let viewer = Path::new(env!("CARGO_MANIFEST_DIR")).join("viewer");
        if !viewer.join("node_modules/aedes").exists() {
            eprintln!("SKIPPED: there is no aedes in viewer/node_modules; `make page` installs it");
            return None;
        }
        let script = "const server = require('net').createServer(require('aedes')().handle);
            server.listen(0, '127.0.0.1', () => console.log(server.address().port));";
        let mut child = Command::new("node")
            .args(["--input-type=commonjs", "-e", script])
            .current_dir(viewer)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start node");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
        let port = line.trim().parse().expect("a port");
        Some(Self { child, port, _dir: tempfile::tempdir().expect("a directory") })
    }

    /// amqtt, or nothing after saying that the test is skipped and why.
    pub fn amqtt() -> Option<Self> {
        // Where `make` builds: two folders above this test's program.
        let target = std::env::current_exe().ok()?.ancestors().nth(3).map(PathBuf::from)?;
        let program = target.join("amqtt/bin/amqtt");
        if !program.exists() {
            eprintln!("SKIPPED: there is no {}; `make peers` installs it", program.display());
            return None;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let [port] = free_ports();
        let config = format!(
            "listeners:\n  default:\n    type: tcp\n    bind: 127.0.0.1:{port}\nplugins:\n  \
             amqtt.plugins.authentication.AnonymousAuthPlugin:\n    allow_anonymous: true\n"
        );
        let path = dir.path().join("amqtt.yaml");
        std::fs::write(&path, config).expect("write");
        let child = Command::new(program)
            .arg("-c")
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start amqtt");
        let broker = Self { child, port, _dir: dir };
        let deadline = Instant::now() + Duration::from_secs(40);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "amqtt does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(broker)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }
}

impl Drop for OldBroker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
