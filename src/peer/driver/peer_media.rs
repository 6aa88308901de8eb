//! When one viewer's media begins, what of sound goes either way, and the path that all of it takes.

use std::time::Instant;

use super::connect_times::ConnectStep;
use super::path;
use super::peer::Peer;
use crate::peer::net::Net;
use crate::peer::net::selected_path::SelectedPath;
use crate::peer::stats::PathStats;

impl Peer {
    /// Media begins with the keys of the handshake.
    pub(super) fn start_media(&mut self) -> bool {
        let negotiation = self.agreement.last();
        let negotiated = negotiation.map(|negotiation| self.new.parts.track.negotiated(negotiation));
        let Some((negotiated, keys)) = negotiated.zip(self.new.parts.keys.agreed()) else {
            tracing::warn!("the connection has no keys for media");
            return false;
        };
        if let Err(error) = self.new.media.start(&negotiated, &keys) {
            tracing::warn!(%error, "media cannot be sent");
            return false;
        }
        self.follow_audio();
        self.handshake.media_sent();
        (self.is_started, self.is_starting) = (true, true);
        true
    }

    /// Sound begins and ends as the last offer has it, once media has begun.
    pub(super) fn follow_audio(&mut self) {
        let Some(negotiation) = self.agreement.last() else { return };
        let sent = self.new.parts.track.negotiated_audio(negotiation);
        let received = negotiation.audio.filter(|audio| audio.receives).map(|audio| audio.payload_type);
        self.new.media.set_audio(sent.as_ref(), received);
        self.new
            .sends_audio
            .send_if_modified(|sends| std::mem::replace(sends, sent.is_some()) != sent.is_some());
    }

    /// Media takes the path that ICE has chosen. During a restart it stays on the former one.
    pub(super) fn follow_path(&mut self, net: &Net, now: Instant) {
        if let Some(path) = self.selected_path(net)
            && self.new.media.path != Some(path)
        {
            tracing::debug!(?path, "media's path");
            self.connect_times.mark(ConnectStep::Nominated, now);
            self.new.media.path = Some(path);
        }
    }

    fn selected_path(&mut self, net: &Net) -> Option<SelectedPath> {
        let pair = self.new.parts.track.selected_pair(&mut self.new.parts.pc)?;
        path::of(&pair, |peer| net.tcp.connection(self.id, peer))
    }

    /// The path and what is known of it, once connected.
    pub fn path_stats(&mut self) -> Option<PathStats> {
        #[cfg(test)]
        assert!(!self.is_broken, "on purpose");
        let pair = self.new.parts.track.selected_pair(&mut self.new.parts.pc)?;
        Some(path::stats(&pair, self.checks.round_trip))
    }
}
