//! Makes peer connections: codec, certificate and timing as configured, on the one driver.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::Registry;
use rtc::peer_connection::certificate::RTCCertificate;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::setting_engine::{SctpMaxMessageSize, SettingEngineBuilder};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use tokio::sync::mpsc;

use super::channel::{ChannelEvent, MAX_MESSAGE_BYTES};
use super::connect::audio::AudioAbility;
use super::connect::certificate;
use super::connect::offer::VideoCodec;
use super::connect::track::{self, Track};
use super::driver::{Connection, Driver, LookUp, PeerParts};
use super::error::PeerError;
use super::net::server_url::look_up;
use super::net::tcp_port;
use super::rtp::keys::{KeyProvider, Keys};
use super::sound::AudioParts;
use super::stats::SessionStats;
use crate::base::tasks::TaskGroup;
use crate::config::Ice;
use crate::signaling::topic::Id;
use crate::stream::Fanout;

/// A peer that has been silent this long is `disconnected`; [`ICE_FAILED`] later it is gone.
/// Together the 15 s of protocol.md section 2.
const ICE_DISCONNECTED: Duration = Duration::from_secs(5);
const ICE_FAILED: Duration = Duration::from_secs(10);
const ICE_KEEPALIVE: Duration = Duration::from_secs(2);
/// Pacing of connectivity checks (RFC 8445 section 14.2: Ta is 50 ms unless the path is known; ours
/// are few and small). The library's 200 ms would be most of the wait for a first picture.
const ICE_CHECK_EVERY: Duration = Duration::from_millis(20);
/// The library's 1 s for addresses that only packets tell, and 2 s for relays, would be most of the time to a first picture.
const NO_WAIT: Option<Duration> = Some(Duration::ZERO);
/// What a viewer may send on its data channel before it has been read: a few of the longest messages.
const SCTP_RECEIVE_BUFFER_BYTES: u32 = 4 * MAX_MESSAGE_BYTES;
/// Checks of one pair before it is given up: as long as a session may take to connect.
const ICE_CHECKS: u16 = 500;

/// Makes [`Connection`]s.
pub struct Factory {
    ice: Ice,
    fanout: Fanout,
    driver: Driver,
    /// `None`: each connection makes its own.
    certificate: Option<RTCCertificate>,
    playout_delay_ms: u32,
    channels: Option<mpsc::Sender<ChannelEvent>>,
    audio: Option<AudioParts>,
}

impl Factory {
    /// A factory for viewers of `fanout`. Binds the TCP port if one is configured, and starts the thread that all
    /// connections live on; its tasks run below `tasks`.
    ///
    /// # Errors
    /// The TCP port is taken, or there can be no more threads.
    pub fn new(ice: Ice, fanout: Fanout, tasks: &TaskGroup) -> Result<Self, PeerError> {
        Self::with_look_up(ice, Box::new(|host| Box::pin(look_up(host))), fanout, tasks)
    }

    /// The same with `look_up` as what finds the servers of `ice`.
    pub(in crate::peer) fn with_look_up(
        ice: Ice,
        look_up: LookUp,
        fanout: Fanout,
        tasks: &TaskGroup,
    ) -> Result<Self, PeerError> {
        let listeners = ice.tcp_port.map(tcp_port::bind).transpose()?.unwrap_or_default();
        let driver =
            Driver::start(ice.clone(), listeners, look_up, &tasks.child()).map_err(PeerError::Thread)?;
        Ok(Self { ice, fanout, driver, certificate: None, playout_delay_ms: 0, channels: None, audio: None })
    }

    /// The same with viewers asked to hold each picture for `playout_delay_ms` before they show it.
    #[must_use]
    pub fn with_playout_delay_ms(mut self, playout_delay_ms: u32) -> Self {
        self.playout_delay_ms = playout_delay_ms;
        self
    }

    /// The same with data channels for viewers that offer one; what they say goes to `channels`.
    #[must_use]
    pub fn with_channels(mut self, channels: mpsc::Sender<ChannelEvent>) -> Self {
        self.channels = Some(channels);
        self
    }

    /// The same with sound, where viewers offer any.
    #[must_use]
    pub fn with_audio(mut self, audio: AudioParts) -> Self {
        self.audio = Some(audio).filter(|audio| audio.has_microphone || audio.has_speaker);
        self
    }

    /// What a session of `grant` can have of sound now.
    pub(in crate::peer) fn audio_ability(&self, grant: Option<&Id>) -> AudioAbility {
        self.audio.as_ref().map_or_else(AudioAbility::default, |audio| AudioAbility {
            sends: audio.has_microphone,
            is_stereo: audio.is_stereo,
            receives: audio.has_speaker && (audio.may_talk)(grant),
        })
    }

    /// The same with the certificate that `state_dir` keeps, made there at the first start.
    pub fn with_certificate_of(mut self, state_dir: &Path) -> Result<Self, PeerError> {
        self.certificate = Some(certificate::load_or_make(state_dir)?);
        Ok(self)
    }

    /// The configured servers, as answers tell them to viewers.
    pub fn ice_servers(&self) -> &[crate::signaling::message::IceServer] {
        &self.ice.servers
    }

    /// Whether the thread that all connections live on answers: resolves when it has, and with false when it is gone.
    pub async fn ping(&self) -> bool {
        self.driver.ping().await
    }

    /// How many connections there are.
    #[cfg(test)]
    pub(crate) async fn connections(&self) -> usize {
        self.driver.connections().await
    }

    /// A connection that sends `codec` to the viewer of `live`; without one, it only gathers.
    pub(in crate::peer) async fn connect(
        &self,
        codec: &VideoCodec,
        live: Option<Arc<SessionStats>>,
    ) -> Result<Connection, PeerError> {
        self.driver.bind().await?;
        let keys = Keys::default();
        let (pc, track) = self.peer_connection(codec, &keys)?;
        let fanout = match &live {
            Some(live) => self.fanout.at(Arc::clone(&live.control.rendition)),
            None => self.fanout.clone(),
        };
        let (public_ip, playout_delay_ms) = (self.ice.public_ip, self.playout_delay_ms);
        let (channels, audio) = (self.channels.clone(), self.audio.clone());
        let parts = PeerParts { pc, track, keys, fanout, live, channels, audio, public_ip, playout_delay_ms };
        self.driver.open(parts).await
    }

    fn peer_connection(
        &self,
        codec: &VideoCodec,
        keys: &Keys,
    ) -> Result<(Box<RTCPeerConnection>, Track), PeerError> {
        let (engine, video) = track::media_engine(codec)?;
        let configuration = RTCConfigurationBuilder::default();
        let configuration = match &self.certificate {
            Some(certificate) => configuration.with_certificates(vec![certificate.clone()]),
            None => configuration,
        };
        let settings = SettingEngineBuilder::new()
            // The driver asks for names itself.
            .with_multicast_dns_mode(MulticastDnsMode::Disabled)
            .with_ice_connection_attempts(Some(ICE_CHECK_EVERY), Some(ICE_CHECKS))
            // The side that nominates, as this one does for a viewer that is ICE-lite, waits for nothing better.
            .with_host_acceptance_min_wait(NO_WAIT)
            .with_srflx_acceptance_min_wait(NO_WAIT)
            .with_prflx_acceptance_min_wait(NO_WAIT)
            .with_relay_acceptance_min_wait(NO_WAIT)
            .with_ice_timeouts(Some(ICE_DISCONNECTED), Some(ICE_FAILED), Some(ICE_KEEPALIVE))
            // It knows one hash, and one fingerprint of an offer: the driver compares.
            .with_disable_certificate_fingerprint_verification(true)
            .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(MAX_MESSAGE_BYTES))
            .with_sctp_max_receive_buffer_size(SCTP_RECEIVE_BUFFER_BYTES)
            .with_crypto_provider(Arc::new(KeyProvider::new(keys.clone())?))
            .build();
        let mut pc = RTCPeerConnectionBuilder::new()
            .with_configuration(configuration.build())
            .with_media_engine(engine)
            .with_setting_engine(settings)
            .with_interceptor_registry(Registry::new())
            .build(Instant::now())?;
        let track = Track::add(&mut pc, video, codec)?;
        Ok((Box::new(pc), track))
    }
}
