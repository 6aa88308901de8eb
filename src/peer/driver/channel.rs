//! One viewer's data channel, between the library and [`ViewerChannel`].
//!
//! What is read is bounded three times: by the length of a message, by the rate, and by the answers that are owed. Beyond the last two
//! the library is not asked for more, and its window closes (RFC 9260 section 6.2).

use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::data_channel::RTCDataChannelId;
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::event::RTCDataChannelEvent;
use rtc::peer_connection::message::RTCMessage;
use rtc::sansio::Protocol;
use tokio::sync::mpsc;

use crate::base::limits::{TokenBucket, TokenRate};
use crate::peer::channel::{ChannelEvent, LABEL, Said, ViewerChannel};
use crate::peer::stats::SessionStats;

/// Bytes that were handed to the library and are not acknowledged; the rest waits where old news are left out.
const MAX_OUTSTANDING_BYTES: usize = 16 * 1024;
/// Channels that a viewer may open one after the other, those of other names counted.
const MAX_OPENED: usize = 64;
/// Messages that are read of one viewer.
const READ: TokenRate = TokenRate { burst: 100.0, per_second: 200.0 };
/// When to try again to hand on what nobody had room for.
const RETRY: Duration = Duration::from_millis(20);

/// What a connection's channel begins with.
pub(in crate::peer) struct ChannelStart {
    pub live: Arc<SessionStats>,
    /// Takes what viewers say.
    pub events: mpsc::Sender<ChannelEvent>,
    /// Has the thread look at this connection; does not wait.
    pub wake: Arc<dyn Fn() + Send + Sync>,
}

/// One connection's.
pub(super) struct PeerChannel {
    start: Option<ChannelStart>,
    open: Option<(RTCDataChannelId, Arc<ViewerChannel>)>,
    /// What nobody has had room for.
    held: Option<ChannelEvent>,
    opened: usize,
    /// What may be read now.
    tokens: TokenBucket,
    /// When there is something to try again.
    retry: Option<Instant>,
}

impl Drop for PeerChannel {
    fn drop(&mut self) {
        self.closed();
    }
}

impl PeerChannel {
    /// Without a start every channel is refused.
    pub fn new(start: Option<ChannelStart>) -> Self {
        let tokens = TokenBucket::full(READ, Instant::now());
        Self { start, open: None, held: None, opened: 0, tokens, retry: None }
    }

    fn closed(&mut self) {
        if let Some((_, channel)) = self.open.take() {
            channel.close();
        }
    }

    /// Takes what the library says of channels. False: the viewer opens one after the other, and is to go.
    pub fn event(&mut self, pc: &mut RTCPeerConnection, event: &RTCDataChannelEvent) -> bool {
        match *event {
            RTCDataChannelEvent::OnOpen(id) => {
                self.opened += 1;
                if !self.open(pc, id)
                    && let Some(mut channel) = pc.data_channel(id)
                    && let Err(error) = channel.close()
                {
                    tracing::debug!(%error, "closing a data channel that has another name");
                }
            }
            RTCDataChannelEvent::OnClosing(id) | RTCDataChannelEvent::OnClose(id)
                if self.open.as_ref().is_some_and(|(open, _)| *open == id) =>
            {
                tracing::debug!("the data channel is closed");
                self.closed();
            }
            _ => {}
        }
        self.opened <= MAX_OPENED
    }

    /// Whether it is the one that is spoken on.
    fn open(&mut self, pc: &mut RTCPeerConnection, id: RTCDataChannelId) -> bool {
        let Some(channel) = pc.data_channel(id) else { return true };
        let is_reliable = channel.ordered()
            && channel.max_retransmits().is_none()
            && channel.max_packet_life_time().is_none();
        let Some(start) = &self.start else { return false };
        if self.open.is_some() || channel.label() != LABEL || !is_reliable {
            return false;
        }
        let viewer_channel = ViewerChannel::new(Arc::clone(&start.live), Arc::clone(&start.wake));
        tracing::debug!("the data channel is open");
        self.open = Some((id, Arc::clone(&viewer_channel)));
        self.held = Some(ChannelEvent::Opened(viewer_channel));
        true
    }

    /// Reads what there is, as far as it may, and sends what waits. Whether `pc` has something to do now.
    pub fn pump(&mut self, pc: &mut RTCPeerConnection, now: Instant) -> bool {
        self.retry = None;
        let mut has_read = false;
        while self.hand_on(now) && self.may_read(now) {
            let Some(message) = pc.poll_read() else { break };
            has_read = true;
            let RTCMessage::DataChannelMessage(id, message) = message.message else { continue };
            let Some((_, channel)) = self.open.as_ref().filter(|(open, _)| *open == id) else { continue };
            let said = match String::from_utf8(message.data.to_vec()) {
                Ok(text) if message.is_string => Said::Text(text),
                _ => Said::Binary,
            };
            let _ = self.tokens.take(now);
            channel.is_asked();
            self.held = Some(ChannelEvent::Said(Arc::clone(channel), said));
        }
        self.write(pc, now) || has_read
    }

    fn may_read(&mut self, now: Instant) -> bool {
        let Some((_, channel)) = &self.open else { return true };
        if !channel.has_room() {
            // An answer wakes this.
            return false;
        }
        let wait = self.tokens.wait(now);
        self.retry = wait.map(|wait| now + wait);
        wait.is_none()
    }

    /// Hands on what is held; whether nothing is any more.
    fn hand_on(&mut self, now: Instant) -> bool {
        let Some((event, start)) = self.held.take().zip(self.start.as_ref()) else { return true };
        match start.events.try_send(event) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => true,
            Err(mpsc::error::TrySendError::Full(event)) => {
                (self.held, self.retry) = (Some(event), Some(now + RETRY));
                false
            }
        }
    }

    fn write(&mut self, pc: &mut RTCPeerConnection, now: Instant) -> bool {
        let Some((id, channel)) = &self.open else { return false };
        let Some(mut library) = pc.data_channel(*id) else { return false };
        let mut has_written = false;
        while library.outstanding_bytes() < MAX_OUTSTANDING_BYTES {
            let Some(text) = channel.next() else { break };
            match library.send_text(now, text) {
                Ok(()) => has_written = true,
                // It is closing, or the viewer takes shorter messages only.
                Err(error) => tracing::debug!(%error, "a message on the data channel"),
            }
        }
        has_written
    }

    /// When [`Self::pump`] has something to do although nothing came.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.retry
    }
}
