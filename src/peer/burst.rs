//! Many packets of one viewer through the library at once.
//!
//! The library's driver makes a whole round for each packet that it is given: locks, timers, wake-ups, and the negotiated
//! parameters copied to be looked at. A picture has ten packets and more. So all but the last of them wait here, and
//! join that last one inside the interceptor chain, before anything that counts, keeps or numbers packets.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rtc::interceptor::{AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtp;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use webrtc::media_stream::track_local::TrackLocal;

/// Packets that may wait, if the library refuses the ones they wait for; no picture has so many.
const MAX_WAITING: usize = 4096;

/// What waits for the last packet of its burst.
#[derive(Clone, Debug, Default)]
pub(super) struct Burst(Arc<Mutex<VecDeque<rtp::Packet>>>);

impl Burst {
    /// Hands `packets` on in their order. Ends when the connection has taken them; fails when it is gone.
    pub async fn send(
        &self,
        track: &dyn TrackLocal,
        mut packets: Vec<rtp::Packet>,
    ) -> Result<(), webrtc::error::Error> {
        let Some(last) = packets.pop() else { return Ok(()) };
        {
            let mut waiting = self.waiting();
            if waiting.len() + packets.len() > MAX_WAITING {
                waiting.clear();
            }
            waiting.extend(packets);
        }
        track.write_rtp(last).await
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<rtp::Packet>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the waiting packets of a [`Burst`] go out before the one that comes through. Belongs closest to the application.
pub(super) struct BurstInterceptor {
    burst: Burst,
    read_queue: VecDeque<TaggedPacket>,
    write_queue: VecDeque<TaggedPacket>,
}

impl BurstInterceptor {
    pub fn new(burst: Burst) -> Self {
        Self { burst, read_queue: VecDeque::new(), write_queue: VecDeque::new() }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for BurstInterceptor {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.read_queue.push_back(message);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read_queue.pop_front()
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        if matches!(message.message.packet, Packet::Rtp(_)) {
            let (now, transport) = (message.now, message.transport);
            let tagged =
                |packet| TaggedPacket { now, transport, message: AttributedPacket::new(Packet::Rtp(packet)) };
            self.write_queue.extend(self.burst.waiting().drain(..).map(tagged));
        }
        self.write_queue.push_back(message);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.write_queue.pop_front()
    }
}

impl Interceptor for BurstInterceptor {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

#[cfg(test)]
mod tests {
    use rtc::shared::TransportContext;

    use super::*;

    fn packet(sequence_number: u16) -> rtp::Packet {
        rtp::Packet { header: rtp::Header { sequence_number, ..Default::default() }, ..Default::default() }
    }

    fn through(interceptor: &mut BurstInterceptor, packet: Packet) -> Vec<Packet> {
        let message = AttributedPacket::new(packet);
        let tagged = TaggedPacket { now: Instant::now(), transport: TransportContext::default(), message };
        interceptor.handle_write(tagged).unwrap();
        std::iter::from_fn(|| interceptor.poll_write()).map(|tagged| tagged.message.packet).collect()
    }

    #[test]
    fn what_waits_goes_out_before_the_next_packet_of_media() {
        let burst = Burst::default();
        let mut interceptor = BurstInterceptor::new(burst.clone());
        burst.waiting().extend([packet(1), packet(2)]);
        let report = through(&mut interceptor, Packet::Rtcp(Vec::new()));
        assert_eq!(report, [Packet::Rtcp(Vec::new())], "reports do not let media out");
        let out = through(&mut interceptor, Packet::Rtp(packet(3)));
        assert_eq!(out, [1, 2, 3].map(|number| Packet::Rtp(packet(number))));
        assert_eq!(through(&mut interceptor, Packet::Rtp(packet(4))), [Packet::Rtp(packet(4))]);
    }
}
