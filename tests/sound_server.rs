//! A real PulseAudio whose speaker is its microphone: what a viewer says is heard again, and the server may end and come back.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSrc};
use porthole::base::tasks::TaskGroup;
use porthole::media::audio::{
    Audio, AudioChoice, AudioConfig, AudioState, AudioStatus, SpeakerChoice, probe,
};
use porthole::stream::{AudioFanout, AudioPacket, AudioSubscription, SpokenPacket, Talk};

/// Set in the copy of this program that has the server's address in its environment.
const FOLDER: &str = "SOUND_SERVER_TEST_FOLDER";
/// Bound on waits for events, never reached on a working machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A PulseAudio of this test's own.
struct Server(Child);

impl Server {
    fn start(folder: &Path) -> Self {
        let protocol =
            format!("module-native-protocol-unix auth-anonymous=1 socket={}", socket(folder).display());
        let child = Command::new("pulseaudio")
            .args(["-n", "--daemonize=no", "--exit-idle-time=-1", "-L", &protocol])
            .args(["-L", "module-null-sink sink_name=speaker rate=48000"])
            .envs([
                ("HOME", folder),
                ("XDG_RUNTIME_DIR", folder),
                ("PULSE_RUNTIME_PATH", &folder.join("run")),
            ])
            .env_remove("PULSE_SERVER")
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("it was looked for before"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("native")
}

#[test]
fn a_voice_is_played_and_captured_by_the_sound_server_over_its_restart() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return inside(Path::new(&folder));
    }
    if Command::new("pulseaudio").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("SKIPPED: there is no pulseaudio; install pulseaudio and gstreamer1.0-pulseaudio");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let program = std::env::current_exe().expect("this program");
    let test = "a_voice_is_played_and_captured_by_the_sound_server_over_its_restart";
    let done = Command::new(program)
        .args(["--exact", test, "--nocapture", "--include-ignored"])
        .env(FOLDER, folder.path())
        .env("PULSE_SERVER", format!("unix:{}", socket(folder.path()).display()))
        .env("HOME", folder.path())
        .status();
    assert!(done.expect("run it").success());
}

#[tokio::main]
async fn inside(folder: &Path) {
    gst::init().unwrap();
    if gst::ElementFactory::find("pulsesrc").is_none() {
        eprintln!("SKIPPED: there is no gstreamer1.0-pulseaudio");
        return;
    }
    let server = Server::start(folder);
    let (talk, voices) = Talk::new();
    let (fanout, tasks) = (AudioFanout::default(), TaskGroup::new());
    let config =
        AudioConfig { device: AudioChoice::Auto, speaker: SpeakerChoice::Auto, ..AudioConfig::default() };
    let audio = Audio::start(config.clone(), fanout.clone(), voices, true, &tasks).unwrap();
    let mut viewer = fanout.subscribe();
    let live = until(&audio, |status| status.state == AudioState::Live).await;
    assert_eq!(live.card.as_deref(), Some("the sound server"));

    // A viewer that says what the test tone says.
    let (tone, mut words) = tone();
    let mut heard = Vec::new();
    let mut number = 0_u16;
    while !audio.status().borrow().level.is_some_and(|level| level.peak_dbfs > -12.0) || heard.len() < 300 {
        let word = tokio::time::timeout(PATIENCE, words.next()).await.expect("the tone");
        assert_eq!(talk.speak(spoken(&word, number), Instant::now()), Ok(true));
        number = number.wrapping_add(1);
        assert!(number < 6000, "never heard: {:?}", audio.status().borrow());
        while let Some(packet) = viewer.try_next() {
            heard.push((packet, Instant::now()));
        }
    }
    figures(&heard);
    let status = audio.status().borrow().clone();
    assert_eq!((status.speaker.as_deref(), status.speaker_error), (Some("the sound server"), None));
    drop(tone);

    drop(server);
    let gone = until(&audio, |status| status.state != AudioState::Live).await;
    assert!(gone.error.is_some(), "{gone:?}");
    let _server = Server::start(folder);
    let back = until(&audio, |status| status.state == AudioState::Live).await;
    assert!(back.starts > live.starts && back.error.is_none());
    drop((audio, viewer));
    tasks.close(PATIENCE).await;

    let tried = tokio::task::spawn_blocking(move || probe(&config)).await.unwrap();
    assert_eq!((tried.error, tried.speaker_error), (None, None));
    assert!(tried.level.is_some() && tried.format.is_some_and(|(rate_hz, _)| rate_hz == 48_000));
}

async fn until(audio: &Audio, wanted: impl Fn(&AudioStatus) -> bool) -> AudioStatus {
    let mut status = audio.status();
    let reached = tokio::time::timeout(PATIENCE, status.wait_for(wanted)).await;
    reached.unwrap_or_else(|_| panic!("{:?}", audio.status().borrow())).expect("it lives").clone()
}

fn tone() -> (Audio, AudioSubscription) {
    let (_, voices) = Talk::new();
    let fanout = AudioFanout::default();
    let config = AudioConfig { device: AudioChoice::Test, ..AudioConfig::default() };
    let audio = Audio::start(config, fanout.clone(), voices, true, &TaskGroup::new()).unwrap();
    (audio, fanout.subscribe())
}

fn spoken(packet: &AudioPacket, sequence_number: u16) -> SpokenPacket {
    SpokenPacket {
        speaker: 1,
        payload: packet.payload.clone(),
        sequence_number,
        timestamp: u32::try_from(packet.samples & 0xffff_ffff).unwrap(),
        marker: packet.begins_talkspurt,
        received_at: Instant::now(),
    }
}

/// Says how late packets came, and how late beeps, which began at whole seconds.
fn figures(heard: &[(AudioPacket, Instant)]) {
    let mut ages: Vec<Duration> = heard.iter().map(|(packet, at)| *at - packet.captured_at).collect();
    ages.sort();
    eprintln!("from a packet's first sample to its viewer: median {:?}", ages[ages.len() / 2]);
    let packets: Vec<&AudioPacket> = heard.iter().map(|(packet, _)| packet).collect();
    let samples = decoded(&packets);
    let loud: Vec<usize> = (480..samples.len()).filter(|&at| samples[at].unsigned_abs() > 4000).collect();
    for pair in loud.windows(2).filter(|pair| pair[1] - pair[0] > 4800) {
        let Some(packet) = packets.get(pair[1] / 480) else { continue };
        let into = Duration::from_micros((pair[1] % 480) as u64 * 1000 / 48);
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let late = unix.checked_sub((packet.captured_at + into).elapsed()).unwrap().subsec_millis();
        eprintln!("from the tone through the speaker to the microphone: {late} ms");
    }
}

fn decoded(packets: &[&AudioPacket]) -> Vec<i16> {
    let caps = gst::Caps::builder("audio/x-opus")
        .field("rate", 48_000)
        .field("channels", 1)
        .field("channel-mapping-family", 0)
        .build();
    let source = AppSrc::builder().caps(&caps).format(gst::Format::Time).build();
    let decoder = gst::ElementFactory::make("opusdec").build().unwrap();
    let sink = AppSink::builder().sync(false).build();
    let pipeline = gst::Pipeline::new();
    let chain: [&gst::Element; 3] = [source.upcast_ref(), &decoder, sink.upcast_ref()];
    pipeline.add_many(chain).unwrap();
    gst::Element::link_many(chain).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    for packet in packets {
        source.push_buffer(gst::Buffer::from_slice(packet.payload.clone())).unwrap();
    }
    source.end_of_stream().unwrap();
    let mut samples = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let map = sample.buffer().unwrap().map_readable().unwrap();
        samples.extend(map.chunks_exact(2).map(|bytes| i16::from_le_bytes([bytes[0], bytes[1]])));
    }
    pipeline.set_state(gst::State::Null).unwrap();
    samples
}
