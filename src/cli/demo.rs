//! `porthole demo`: everything in one process, and a link that opens the live picture.

use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::process::ExitCode;

use qrcode::QrCode;
use qrcode::render::unicode;

use super::{bad_configuration, fail, in_runtime, stop_signal};
use crate::app::App;
use crate::broker::WEBSOCKET_PATH;
use crate::config::{Config, Flavour};

pub(super) fn run() -> ExitCode {
    let config = match Config::load(None, Flavour::Demo) {
        Ok(config) => config,
        Err(error) => return bad_configuration(&error),
    };
    crate::log::start();
    in_runtime(serve(config))
}

async fn serve(config: Config) -> ExitCode {
    let device = config.device.id.clone();
    let app = match App::start(config).await {
        Ok(app) => app,
        Err(error) => return fail(&error),
    };
    match (app.page, app.broker.as_ref()) {
        (Some(page), Some(broker)) => announce(&link(page, broker.websocket, device.as_str())),
        (None, _) => println!("The page is switched off (http.listen is empty); `porthole watch` can watch."),
        (Some(page), None) => println!("The page is at http://{}/", reachable(page)),
    }
    stop_signal().await;
    println!("\nStopping.");
    app.drain().await;
    ExitCode::SUCCESS
}

fn announce(link: &str) {
    println!();
    println!("  Porthole shows a live picture. Open this link in a browser on this network:");
    println!();
    println!("{link}");
    println!();
    show_code(link);
    println!("  Anyone on this network can watch while the demo runs. Ctrl-C ends it.");
    println!();
}

/// The link as a QR code, where somebody looks.
pub(super) fn show_code(link: &str) {
    if std::io::stdout().is_terminal()
        && let Ok(code) = QrCode::new(link.as_bytes())
    {
        println!("{}", code.render::<unicode::Dense1x2>().quiet_zone(true).build());
        println!();
    }
}

/// The viewing link of protocol.md section 2.2, without a grant: access is open.
fn link(page: SocketAddr, websocket: SocketAddr, device: &str) -> String {
    let broker = format!("ws://{}{WEBSOCKET_PATH}", reachable(websocket));
    format!("http://{}/#broker={broker}&device={device}", reachable(page))
}

/// An address that another machine can open: a wildcard becomes this machine's own address.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    SocketAddr::new(own_address().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), address.port())
}

/// The address that this machine would use towards the network; nothing is sent.
pub(super) fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_carries_broker_and_device() {
        let page = "127.0.0.1:8080".parse().unwrap();
        let websocket = "127.0.0.1:9001".parse().unwrap();
        assert_eq!(
            link(page, websocket, "cam"),
            "http://127.0.0.1:8080/#broker=ws://127.0.0.1:9001/mqtt&device=cam"
        );
    }
}
