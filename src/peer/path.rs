//! Which path a session's packets take, and how long they are under way, as the library tells it.

use std::time::Instant;

use rtc::statistics::StatsSelector;
use webrtc::peer_connection::RTCStatsReportEntry;

use super::connect::connection::Connection;
use super::stats::{PathStats, SessionStats};

/// Reads it into `live`.
pub(super) async fn read(connection: &Connection, live: &SessionStats) {
    let report = connection.library().get_stats(Instant::now(), StatsSelector::None).await;
    // By its id: after an ICE restart the pair of the former generation stays nominated.
    let Some(selected) = report.transport().map(|transport| &transport.selected_candidate_pair_id) else {
        return;
    };
    let Some(pair) = report.candidate_pairs().find(|pair| pair.stats.id == *selected) else { return };
    // The library prefixes the id in the report, but not in the pair.
    let local = report.get(&format!("RTCLocalIceCandidate_{}", pair.local_candidate_id));
    let (path, protocol) = match local {
        Some(RTCStatsReportEntry::LocalCandidate(local)) => {
            (local.candidate_type.to_string(), local.protocol.clone())
        }
        // It does not report candidates that only the peer's view of us revealed.
        _ => ("prflx".to_owned(), "udp".to_owned()),
    };
    let remote = match report.get(&format!("RTCRemoteIceCandidate_{}", pair.remote_candidate_id)) {
        Some(RTCStatsReportEntry::RemoteCandidate(remote)) => {
            remote.address.clone().map(|address| format!("{address} port {}", remote.port))
        }
        // Known from its packets alone.
        _ => connection.heard().address().map(|at| format!("{} port {}", at.ip().to_canonical(), at.port())),
    };
    let is_new = remote.is_some() && live.path().and_then(|path| path.remote) != remote;
    if is_new {
        tracing::info!(from = remote, path, "the viewer's address");
    }
    live.set_path(PathStats {
        remote,
        path,
        protocol,
        rtt: (pair.current_round_trip_time * 10_000.0).round() / 10.0,
    });
}
