//! `porthole link`, `grant`, `grants` and `revoke`: who may watch.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::json;

use super::link_code::show_code;
use super::process::{bad_configuration, fail};
use crate::access::clock::Clock;
use crate::access::grant::{Grant, GrantStatus, Rights};
use crate::access::identity::Identity;
use crate::access::link::ViewingLink;
use crate::access::offer_authorizer::AccessMode;
use crate::access::store::Store;
use crate::access::{AccessError, proof::Seed};
use crate::app::address::{own_address, reachable};
use crate::base::text;
use crate::broker::WEBSOCKET_PATH;
use crate::config::{BrokerChoice, Config, DEFAULT_FILE, Flavour};
use crate::first_boot::service_variables;
use crate::http::TUNNEL_PATH;
use crate::signaling::broker_url::{BrokerUrl, Scheme};
use crate::signaling::topic::Id;

/// Where the link leads, when the configuration cannot know it.
#[derive(Args, Debug, Clone)]
pub(super) struct LinkArgs {
    /// Configuration file; without it /etc/porthole/porthole.toml if that exists
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The page in the link, as viewers reach it: http://HOST:PORT/
    #[arg(long, value_name = "URL")]
    page: Option<String>,
    /// The broker in the link, as viewers reach it: ws://HOST:PORT[/PATH] or wss://…
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
}

#[derive(Args, Debug, Clone)]
pub(super) struct GrantArgs {
    /// The grant's name: 1 to 64 letters, digits, - and _
    name: Id,
    /// What it allows, separated by commas: view, control, snapshot, talk. Without it, view, and what --for needs
    #[arg(long, value_name = "RIGHTS")]
    rights: Option<Rights>,
    /// How long it is good: 30min, 12h, 7d, 4weeks. Without it, until it is revoked
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires: Option<Duration>,
    /// Print the grant's bearer token instead of a link: for WHEP players, Prometheus and other programs
    #[arg(long, conflicts_with = "user")]
    token: bool,
    /// Who uses it, to print what is to be pasted there and where
    #[arg(long = "for", value_name = "WHAT")]
    user: Option<GrantUser>,
    #[command(flatten)]
    link: LinkArgs,
}

/// What a grant is made for, where that is no browser.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum GrantUser {
    /// The integration `custom_components/porthole`, which has a broker of its own.
    HomeAssistant,
}

impl GrantUser {
    /// What it needs: Home Assistant shows a still picture where there is no live one.
    const fn rights(self) -> &'static str {
        match self {
            Self::HomeAssistant => "view,snapshot",
        }
    }
}

impl GrantArgs {
    fn rights(&self) -> Rights {
        let usual = self.user.map_or("view", GrantUser::rights);
        self.rights.clone().or_else(|| usual.parse().ok()).unwrap_or_else(Rights::none)
    }
}

#[derive(Args, Debug, Clone)]
pub(super) struct GrantsArgs {
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    /// Configuration file; without it /etc/porthole/porthole.toml if that exists
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Args, Debug, Clone)]
pub(super) struct RevokeArgs {
    /// The grant's name
    name: Id,
    /// Configuration file; without it /etc/porthole/porthole.toml if that exists
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time < Duration::from_secs(1) { Err("it has to last at least a second".to_owned()) } else { Ok(time) }
}

/// Why a command did not work.
enum Failure {
    Config(crate::config::ConfigError),
    Access(AccessError),
}

impl From<crate::config::ConfigError> for Failure {
    fn from(error: crate::config::ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<AccessError> for Failure {
    fn from(error: AccessError) -> Self {
        Self::Access(error)
    }
}

fn outcome(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Config(error)) => bad_configuration(&error),
        Err(Failure::Access(error)) => fail(&error),
    }
}

pub(super) fn link(args: &LinkArgs) -> ExitCode {
    outcome(print_link(args))
}

/// The configuration as the service has it: without a file named, its variables count too.
fn load(file: Option<&Path>) -> Result<Config, Failure> {
    let folder = Path::new(DEFAULT_FILE).parent().filter(|_| file.is_none());
    let variables = folder.map(service_variables).unwrap_or_default();
    Ok(Config::load_with(file, &variables, Flavour::Run)?)
}

fn print_link(args: &LinkArgs) -> Result<(), Failure> {
    let config = load(args.config.as_deref())?;
    let identity = Identity::load_or_make(&config.device.state_dir)?;
    let link = link_of(&config, args, &identity, None);
    println!("{link}");
    say_what_is_guessed(&config, args, &link);
    eprintln!("The device's key is {}.", identity.key().encode());
    if config.access == AccessMode::Grants {
        eprintln!("This link invites nobody: `porthole grant NAME` makes one that does.");
    }
    Ok(())
}

pub(super) fn grant(args: &GrantArgs) -> ExitCode {
    outcome(make_grant(args))
}

fn make_grant(args: &GrantArgs) -> Result<(), Failure> {
    let config = load(args.link.config.as_deref())?;
    let identity = Identity::load_or_make(&config.device.state_dir)?;
    let store = Store::of(&config.device.state_dir);
    let (name, rights) = (args.name.clone(), args.rights());
    let (grant, seed) = store.add(name, rights, args.expires, SystemTime::now())?;
    let token = seed.bearer();
    let mut link = link_of(&config, &args.link, &identity, Some((grant.name.clone(), seed)));
    if args.user == Some(GrantUser::HomeAssistant) {
        // It goes over the broker that it knows itself.
        link.broker = None;
        println!("{link}");
        eprintln!(
            "Paste this link in Home Assistant: Settings, Devices & services, where it has found the camera"
        );
        eprintln!(
            "(or Add integration, Porthole). The integration is installed as docs/dashboards/home-assistant.md says."
        );
    } else if args.token {
        println!("{token}");
    } else {
        println!("{link}");
        println!();
        show_code(&link.to_string());
    }
    let until =
        grant.expires.map_or_else(|| "until it is revoked".to_owned(), |at| format!("until {}", time(at)));
    eprintln!("The grant `{}` allows {} {until}.", grant.name, grant.rights);
    eprintln!(
        "Whoever has this {} has the grant. It is shown only now; the device does not keep its secret.",
        if args.token { "token" } else { "link" }
    );
    if !args.token && args.user.is_none() {
        say_what_is_guessed(&config, &args.link, &link);
    }
    if config.access == AccessMode::Open {
        eprintln!("access.mode is \"open\": everybody else who reaches the broker may watch too.");
    }
    Ok(())
}

pub(super) fn grants(args: &GrantsArgs) -> ExitCode {
    outcome(list(args))
}

fn list(args: &GrantsArgs) -> Result<(), Failure> {
    let config = load(args.config.as_deref())?;
    let grants = Store::of(&config.device.state_dir).load()?;
    let clock = Clock::read();
    if args.json {
        let list: Vec<_> = grants.iter().map(|grant| document(grant, clock)).collect();
        println!("{}", text::json(&json!(list)));
    } else if grants.is_empty() {
        println!("There are no grants. `porthole grant NAME` makes one.");
    } else {
        println!("{:<24}{:<28}{:<22}UNTIL", "NAME", "RIGHTS", "MADE");
        for grant in &grants {
            let until = grant.expires.map_or_else(|| "no end".to_owned(), time);
            let note = match grant.status(clock) {
                GrantStatus::Good => "",
                GrantStatus::Expired => " (expired)",
                GrantStatus::ClockNotSet => " (waits: this device's clock is not set)",
            };
            println!(
                "{:<24}{:<28}{:<22}{until}{note}",
                grant.name.as_str(),
                grant.rights.to_string(),
                time(grant.created)
            );
        }
    }
    Ok(())
}

fn document(grant: &Grant, clock: Clock) -> serde_json::Value {
    json!({
        "name": grant.name,
        "rights": grant.rights,
        "created": time(grant.created),
        "expires": grant.expires.map(time),
        "expired": grant.status(clock) == GrantStatus::Expired,
    })
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

pub(super) fn revoke(args: &RevokeArgs) -> ExitCode {
    let revoke = || {
        let config = load(args.config.as_deref())?;
        Store::of(&config.device.state_dir).revoke(&args.name)?;
        println!(
            "The grant `{}` is revoked. A running daemon ends its sessions within a second or two.",
            args.name
        );
        Ok(())
    };
    outcome(revoke())
}

/// A link to this device, as far as the configuration knows where that is.
fn link_of(config: &Config, args: &LinkArgs, identity: &Identity, grant: Option<(Id, Seed)>) -> ViewingLink {
    let page = args
        .page
        .clone()
        .or_else(|| config.http.listen.map(|listen| page_of(config.http.scheme(), listen)))
        .unwrap_or_default();
    let broker = args.broker.clone().or_else(|| match &config.mqtt.broker {
        BrokerChoice::Embedded if config.http.tls.is_some() => {
            // The page is over https, and so has to be its way to the broker: through the page's own server.
            config.http.listen.map(|listen| format!("wss://{}{TUNNEL_PATH}", reachable(listen)))
        }
        BrokerChoice::Embedded => {
            Some(format!("ws://{}{WEBSOCKET_PATH}", reachable(config.broker.websocket)))
        }
        BrokerChoice::External(url) if matches!(url.scheme(), Scheme::Ws | Scheme::Wss) => {
            Some(url.address())
        }
        BrokerChoice::External(url) => usual_websocket(url),
    });
    ViewingLink {
        page,
        broker,
        device: config.device.id.clone(),
        root: Some(config.mqtt.root.clone()).filter(|root| root != "porthole"),
        key: Some(identity.key()),
        grant,
    }
}

/// Browsers speak MQTT over WebSocket alone. Beside a broker of `mqtt://` that is usually at this port.
const USUAL_WEBSOCKET_PORT: u16 = 9001;

/// Where browsers usually reach the broker at `url`, which is no WebSocket itself. This machine has a name for others that
/// `localhost` is not.
fn usual_websocket(url: &BrokerUrl) -> Option<String> {
    let scheme = if url.is_tls() { "wss" } else { "ws" };
    let is_here = url.host().eq_ignore_ascii_case("localhost")
        || url.host().parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let host = match own_address().filter(|_| is_here) {
        Some(address) => address.to_string(),
        None => url.host().to_owned(),
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let text = format!("{scheme}://{host}:{USUAL_WEBSOCKET_PORT}");
    text.parse::<BrokerUrl>().ok().map(|url| url.address())
}

/// Says where the link may be wrong, as the configuration does not know where browsers reach the broker.
fn say_what_is_guessed(config: &Config, args: &LinkArgs, link: &ViewingLink) {
    let BrokerChoice::External(url) = &config.mqtt.broker else { return };
    if args.broker.is_some() || matches!(url.scheme(), Scheme::Ws | Scheme::Wss) {
        return;
    }
    match &link.broker {
        Some(guess) => eprintln!(
            "Browsers speak MQTT over WebSocket alone, so the link leads to {guess}, the usual address beside {url}. The broker \
             needs a listener there (Mosquitto: `listener {USUAL_WEBSOCKET_PORT}` and `protocol websockets`); if it is elsewhere, \
             revoke this grant and name it: --broker ws://HOST:PORT."
        ),
        None => eprintln!(
            "The link names no broker that browsers could reach: name it with --broker ws://HOST:PORT."
        ),
    }
}

fn page_of(scheme: &str, listen: SocketAddr) -> String {
    format!("{scheme}://{}/", reachable(listen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_written_as_people_do() {
        assert_eq!(lifetime("7d"), Ok(Duration::from_hours(7 * 24)));
        assert_eq!(lifetime("30min"), Ok(Duration::from_mins(30)));
        for bad in ["", "7", "0s", "soon", "-1d"] {
            assert!(lifetime(bad).is_err(), "{bad}");
        }
    }
}
