//! `porthole demo`: everything in one process, and a link that opens the live picture.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::SystemTime;

use super::link_code::show_code;
use super::process::{bad_configuration, fail, in_runtime, stop_signal};
use super::run::ended_early;
use crate::access::AccessError;
use crate::access::grant::Rights;
use crate::access::identity::Identity;
use crate::access::link::ViewingLink;
use crate::access::offer_authorizer::AccessMode;
use crate::access::proof::{PublicKey, Seed};
use crate::access::store::Store;
use crate::app::App;
use crate::app::address::reachable;
use crate::base::tasks::blocking;
use crate::broker::WEBSOCKET_PATH;
use crate::config::{Config, Flavour};
use crate::http::TUNNEL_PATH;
use crate::signaling::topic::Id;

/// The name of the demo's own grant.
const GRANT: &str = "demo";

pub(super) fn run() -> ExitCode {
    let config = match Config::load(None, Flavour::Demo) {
        Ok(config) => config,
        Err(error) => return bad_configuration(&error),
    };
    crate::base::log::start();
    in_runtime(serve(config))
}

async fn serve(config: Config) -> ExitCode {
    let (link, config) = match blocking(move || DemoLink::prepare(&config).map(|link| (link, config))).await {
        Ok(prepared) => prepared,
        Err(error) => return fail(&error),
    };
    let app = match App::start(config).await {
        Ok(app) => app,
        Err(error) => return fail(&error),
    };
    match (app.page, app.broker.as_ref()) {
        (Some(page), Some(broker)) => announce(&link.to(page, broker.websocket), link.grant.is_some()),
        (None, _) => println!("The page is switched off (http.listen is empty); `porthole watch` can watch."),
        (Some(page), None) => println!("The page is at {}://{}/", link.scheme, reachable(page)),
    }
    let code = tokio::select! {
        _ = stop_signal() => ExitCode::SUCCESS,
        ended = ended_early(app.tasks()) => fail(&ended),
    };
    println!("\nStopping.");
    app.drain().await;
    code
}

fn announce(link: &str, is_invitation: bool) {
    println!();
    println!("  Porthole shows a live picture. Open this link in a browser on this network:");
    println!();
    println!("{link}");
    println!();
    show_code(link);
    let who = if is_invitation { "Whoever has this link" } else { "Anyone on this network" };
    println!("  {who} can watch while the demo runs. Ctrl-C ends it.");
    println!();
}

/// What the viewing link is made of, but for the addresses.
struct DemoLink {
    device: Id,
    key: PublicKey,
    /// The page's: `http`, or `https` where it has a certificate.
    scheme: &'static str,
    /// Where access is not open: one for each start, which takes the place of the last one.
    grant: Option<(Id, Seed)>,
}

impl DemoLink {
    fn prepare(config: &Config) -> Result<Self, AccessError> {
        let key = Identity::load_or_make(&config.device.state_dir)?.key();
        let store = Store::of(&config.device.state_dir);
        let grant = match (config.access, Id::new(GRANT)) {
            (AccessMode::Grants, Ok(name)) => {
                match store.revoke(&name) {
                    Ok(()) | Err(AccessError::Unknown(_)) => {}
                    Err(error) => return Err(error),
                }
                let (grant, seed) = store.add(name, Rights::all(), None, SystemTime::now())?;
                Some((grant.name, seed))
            }
            _ => None,
        };
        Ok(Self { device: config.device.id.clone(), key, scheme: config.http.scheme(), grant })
    }

    /// The viewing link of protocol.md section 2.2.
    fn to(&self, page: SocketAddr, websocket: SocketAddr) -> String {
        let broker = match self.scheme {
            // Browsers do not mix: a page over https may only open wss, which its own server has.
            "https" => format!("wss://{}{TUNNEL_PATH}", reachable(page)),
            _ => format!("ws://{}{WEBSOCKET_PATH}", reachable(websocket)),
        };
        let link = ViewingLink {
            page: format!("{}://{}/", self.scheme, reachable(page)),
            broker: Some(broker),
            device: self.device.clone(),
            root: None,
            key: Some(self.key),
            grant: self.grant.clone(),
        };
        link.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_carries_broker_and_device() {
        let page = "127.0.0.1:8080".parse().unwrap();
        let websocket = "127.0.0.1:9001".parse().unwrap();
        let key = PublicKey::parse(&"A".repeat(43)).unwrap();
        for (scheme, broker) in [("http", "ws://127.0.0.1:9001/mqtt"), ("https", "wss://127.0.0.1:8080/mqtt")]
        {
            let link = DemoLink { device: Id::new("cam").unwrap(), key, scheme, grant: None };
            let key = "A".repeat(43);
            let expected = format!("{scheme}://127.0.0.1:8080/#broker={broker}&device=cam&key={key}");
            assert_eq!(link.to(page, websocket), expected);
        }
    }
}
