//! Debian's Janus as a server of the same picture: a process of our own with one RTP mountpoint, and viewers of it.

use std::error::Error;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::load::FPS;
use super::receiver::Receiver;
use super::support::free_ports;
use super::support::http::Answer;

/// Whatever Janus is asked for comes long before.
const PATIENCE: Duration = Duration::from_secs(20);
/// What one RTP packet takes at most: as much payload as in those of the daemon.
const RTP_BYTES: u32 = 1112;
const PLUGIN: &str = "janus.plugin.streaming";

/// What went wrong, for people.
pub type Trouble = Box<dyn Error + Send + Sync>;

/// A Janus of our own, and the picture that it gets. Both end on drop.
pub struct Janus {
    child: Child,
    source: gst::Element,
    port: u16,
    dir: tempfile::TempDir,
}

/// One viewer of it.
pub struct Watcher {
    pub receiver: Receiver,
    session: u64,
}

/// Where `janus` is, if it is installed.
pub fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("janus")).find(|file| file.exists())
}

impl Janus {
    /// Starts it, and sends it a picture of 1280x720 at this bit rate.
    pub async fn start(program: &Path, bitrate_kbps: u32) -> Result<Self, Trouble> {
        let dir = tempfile::tempdir()?;
        let [port] = free_ports();
        // The media port is UDP; one that is free over TCP will do, and Janus complains if not.
        let [media] = free_ports();
        configure(dir.path(), port, media)?;
        let log = fs::File::create(dir.path().join("log"))?;
        let child = Command::new(program)
            .arg("--configs-folder")
            .arg(dir.path())
            .arg("--config")
            .arg(dir.path().join("janus.jcfg"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let source = picture(media, bitrate_kbps)?;
        let mut janus = Self { child, source, port, dir };
        janus.source.set_state(gst::State::Playing)?;
        janus.answers().await?;
        Ok(janus)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A viewer with a session of its own, connected or about to be.
    pub async fn watch(&self) -> Result<Watcher, Trouble> {
        let session = id(&self.ask("", json!({"janus": "create"})).await?)?;
        let attach = json!({"janus": "attach", "plugin": PLUGIN});
        let handle = id(&self.ask(&format!("/{session}"), attach).await?)?;
        let handle = format!("/{session}/{handle}");
        let watch = json!({"janus": "message", "body": {"request": "watch", "id": 1}});
        self.ask(&handle, watch).await?;
        let offer = loop {
            let event = self.http("GET", &format!("/{session}?maxev=1"), "").await?;
            if let Some(sdp) = event["jsep"]["sdp"].as_str() {
                break sdp.to_owned();
            }
            if event["plugindata"]["data"]["error"].is_string() {
                return Err(event.to_string().into());
            }
        };
        let (receiver, sdp) = timeout(PATIENCE, Receiver::answer(offer)).await??;
        let answer = json!({"type": "answer", "sdp": sdp, "trickle": false});
        let start = json!({"janus": "message", "body": {"request": "start"}, "jsep": answer});
        match self.ask(&handle, start).await {
            Ok(_) => Ok(Watcher { receiver, session }),
            Err(trouble) => {
                receiver.close().await;
                Err(trouble)
            }
        }
    }

    /// Ends a viewer's session.
    pub async fn leave(&self, watcher: Watcher) {
        watcher.receiver.close().await;
        let _ = self.ask(&format!("/{}", watcher.session), json!({"janus": "destroy"})).await;
    }

    /// Waits until it does.
    async fn answers(&mut self) -> Result<(), Trouble> {
        let asked = timeout(PATIENCE, async {
            while self.http("GET", "/info", "").await.is_err() {
                if let Some(status) = self.child.try_wait()? {
                    return Err(format!("it has ended: {status}").into());
                }
                // When it listens is no event that could be awaited.
                sleep(Duration::from_millis(50)).await;
            }
            Ok::<(), Trouble>(())
        });
        let answers = asked.await.map_err(|_| "it does not answer".into()).and_then(|answers| answers);
        answers.map_err(|trouble| {
            let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            format!("{trouble}\n{}", lines[lines.len().saturating_sub(10)..].join("\n")).into()
        })
    }

    async fn ask(&self, path: &str, mut message: Value) -> Result<Value, Trouble> {
        message["transaction"] = "bench".into();
        let said = self.http("POST", path, &message.to_string()).await?;
        if said["janus"] == "error" { Err(said.to_string().into()) } else { Ok(said) }
    }

    /// One request on a connection of its own.
    async fn http(&self, method: &str, path: &str, body: &str) -> Result<Value, Trouble> {
        let request = format!(
            "{method} /janus{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut bytes = Vec::new();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.write_all(request.as_bytes()).await?;
        timeout(PATIENCE, stream.read_to_end(&mut bytes)).await??;
        let answer = Answer::parse(&bytes).ok_or("no answer")?;
        Ok(serde_json::from_slice(&answer.body)?)
    }
}

impl Drop for Janus {
    fn drop(&mut self) {
        let _ = self.source.set_state(gst::State::Null);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn id(said: &Value) -> Result<u64, Trouble> {
    said["data"]["id"].as_u64().ok_or_else(|| said.to_string().into())
}

/// Loopback only, the one plugin and the one transport that are needed, and otherwise what Debian has set.
fn configure(folder: &Path, port: u16, media: u16) -> Result<(), Trouble> {
    for (kind, file) in [("plugins", "libjanus_streaming.so"), ("transports", "libjanus_http.so")] {
        fs::create_dir(folder.join(kind))?;
        let triples = fs::read_dir("/usr/lib")?.flatten().map(|entry| entry.path());
        let library = triples.map(|path| path.join("janus").join(kind).join(file)).find(|path| path.exists());
        symlink(library.ok_or_else(|| format!("there is no {file}"))?, folder.join(kind).join(file))?;
    }
    let folder_of = |kind: &str| folder.join(kind).display().to_string();
    let general = format!(
        "general: {{ configs_folder = \"{}\"\nplugins_folder = \"{}\"\ntransports_folder = \"{}\"\n\
         events_folder = \"{}\"\nloggers_folder = \"{}\"\ndebug_level = 3\nsession_timeout = 0 }}\n",
        folder.display(),
        folder_of("plugins"),
        folder_of("transports"),
        folder_of("events"),
        folder_of("loggers"),
    );
    fs::write(folder.join("janus.jcfg"), general)?;
    let http = format!(
        "general: {{ base_path = \"/janus\"\nhttp = true\nip = \"127.0.0.1\"\nport = {port}\nhttps = false }}\n\
         admin: {{ admin_http = false\nadmin_https = false }}\n"
    );
    fs::write(folder.join("janus.transport.http.jcfg"), http)?;
    let mountpoint = format!(
        "picture: {{ type = \"rtp\"\nid = 1\ndescription = \"picture\"\nmedia = ( {{ type = \"video\"\nmid = \"v\"\n\
         label = \"picture\"\nport = {media}\niface = \"127.0.0.1\"\npt = 96\ncodec = \"h264\"\n\
         fmtp = \"profile-level-id=42e01f;packetization-mode=1\" }} ) }}\n"
    );
    fs::write(folder.join("janus.plugin.streaming.jcfg"), mountpoint)?;
    Ok(())
}

/// Bars and a field of snow, encoded as the daemon encodes, sent to a UDP port.
fn picture(port: u16, bitrate_kbps: u32) -> Result<gst::Element, Trouble> {
    gst::init()?;
    let key_frames = FPS * 2;
    Ok(gst::parse::launch(&format!(
        "videotestsrc is-live=true pattern=smpte ! video/x-raw,format=I420,width=1280,height=720,framerate={FPS}/1 ! \
         x264enc tune=zerolatency speed-preset=ultrafast bitrate={bitrate_kbps} key-int-max={key_frames} ! \
         video/x-h264,profile=constrained-baseline ! \
         rtph264pay pt=96 mtu={RTP_BYTES} config-interval=-1 aggregate-mode=zero-latency ! \
         udpsink host=127.0.0.1 port={port}"
    ))?)
}
