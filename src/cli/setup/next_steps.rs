//! What setup prints at its end: what is left to do, and the viewing link. Pure.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::answers::{Answers, BrokerSetup, DASHBOARD, Host, VIEWER, WEBSOCKET_PORT};
use super::invitation::Invitation;
use crate::access::link::ViewingLink;
use crate::broker::WEBSOCKET_PATH;
use crate::config::Secret;

/// What was done.
pub(super) struct SetupOutcome<'a> {
    pub answers: &'a Answers,
    pub config: &'a Path,
    /// Whether the service reads that file.
    pub is_service: bool,
    /// The broker's folder, and whether its machine is this one.
    pub broker_files: Option<(&'a Path, bool)>,
    pub backups: &'a [PathBuf],
    /// Whether the files belong to root, so that commands on them need `sudo`.
    pub as_root: bool,
    /// A password was written that the service's user has no right to read yet.
    pub has_secret_for_daemon: bool,
}

pub(super) fn text(outcome: &SetupOutcome<'_>) -> String {
    let SetupOutcome { answers, config, .. } = outcome;
    let mut text = format!("\n{} is written and checked.\n", config.display());
    for backup in outcome.backups {
        let _ = writeln!(text, "What was there before is in {}.", backup.display());
    }
    let folder = config.parent().unwrap_or(Path::new("."));
    let mut steps = Vec::new();
    if let Some((files, is_here)) = outcome.broker_files
        && let BrokerSetup::Mosquitto { host, secure_websocket } = &answers.broker
    {
        let _ = writeln!(
            text,
            "Passwords are beside it, in mqtt-password (this camera's), {VIEWER}-password and {DASHBOARD}-password; \
             ca.key\nsigns the broker's certificate. Keep these four to yourself."
        );
        steps.push(copy(host, files, is_here, outcome.as_root));
        if *secure_websocket {
            steps.push(format!(
                "On each device that watches, let the browser trust {}\n     as an authority, or open \
                 https://{}:{WEBSOCKET_PORT}/ once and accept its certificate.",
                folder.join("ca.pem").display(),
                host.in_url()
            ));
        }
    }
    if outcome.has_secret_for_daemon && outcome.is_service {
        steps.push(format!(
            "There is no group `porthole` on this system, so make the password readable for the user of the service:\n\
             \x20      sudo chown porthole {}",
            folder.join("mqtt-password").display()
        ));
    }
    steps.push(if outcome.is_service {
        "Start the daemon with it: sudo systemctl restart porthole".to_owned()
    } else {
        format!("Start the daemon with it: porthole run --config {}", quoted(config))
    });
    text.push_str("\nNext:\n");
    for (n, step) in steps.iter().enumerate() {
        let _ = writeln!(text, "  {}. {step}", n + 1);
    }
    text
}

/// How the folder gets to where it belongs.
pub(super) fn copy(host: &Host, files: &Path, is_here: bool, as_root: bool) -> String {
    let shown = quoted(files);
    if is_here {
        return format!("Install the broker's settings: sudo sh {}", quoted(&files.join("install.sh")));
    }
    let sudo = if as_root { "sudo " } else { "" };
    // scp wants an IPv6 address in brackets, ssh does not.
    let (scp_host, ssh_host) = (host.in_url(), host.as_str());
    format!(
        "Install the broker's settings on {ssh_host} (USER is yours there):\n\
         \x20      {sudo}scp -r {shown} USER@{scp_host}:porthole-broker\n\
         \x20      ssh -t USER@{ssh_host} 'sudo sh porthole-broker/install.sh && rm -r porthole-broker'"
    )
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// The viewing link of protocol.md section 2.2. `page` and `websocket` (of the built-in broker) are addresses that
/// others can open. Where setup made the viewers' password, the link carries it.
pub(super) fn link(
    answers: &Answers,
    page: SocketAddr,
    websocket: SocketAddr,
    viewer_password: Option<&Secret>,
    invitation: Invitation,
) -> ViewingLink {
    let broker = match &answers.broker {
        BrokerSetup::Embedded => format!("ws://{websocket}{WEBSOCKET_PATH}"),
        BrokerSetup::Existing { websocket, .. } => websocket.address(),
        BrokerSetup::Mosquitto { host, secure_websocket } => {
            let scheme = if *secure_websocket { "wss" } else { "ws" };
            let login = viewer_password
                .map(|password| format!("{VIEWER}:{}@", password.expose()))
                .unwrap_or_default();
            format!("{scheme}://{login}{}:{WEBSOCKET_PORT}", host.in_url())
        }
    };
    ViewingLink {
        page: format!("http://{page}/"),
        broker: Some(broker),
        device: answers.id.clone(),
        root: Some(answers.root.clone()).filter(|root| root != "porthole"),
        key: Some(invitation.key),
        grant: invitation.grant,
    }
}

/// What a reader should know about the link.
pub(super) fn remark(answers: &Answers) -> String {
    let mut words = vec![match (&answers.broker, answers.is_open) {
        (BrokerSetup::Embedded, true) => "Everybody on this network may watch.",
        (BrokerSetup::Mosquitto { .. }, true) => {
            "The link holds the viewers' password: give it to those who may watch."
        }
        (BrokerSetup::Existing { .. }, true) => "Whoever reaches the broker may watch.",
        (_, false) => {
            "It is yours, and shown only now. Whoever has it may watch; `porthole grant NAME` invites others."
        }
    }];
    if let BrokerSetup::Existing { login, websocket_is_guessed, .. } = &answers.broker {
        if *websocket_is_guessed {
            words.push(
                "The broker's WebSocket address in it is a guess: change it there, or name it with --websocket.",
            );
        }
        if login.is_some() {
            words.push("Viewers need a user of the broker too: write USER:PASSWORD@ behind the :// in it.");
        }
    }
    words.join("\n  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::proof::{PublicKey, Seed};
    use crate::cli::setup::answers::{existing_url, usual_websocket};
    use crate::media::DeviceChoice;

    fn answers(broker: BrokerSetup) -> Answers {
        Answers {
            id: "cam".parse().expect("an id"),
            name: None,
            root: "porthole".into(),
            broker,
            camera: DeviceChoice::Auto,
            is_open: false,
        }
    }

    fn invitation() -> Invitation {
        let key = PublicKey::parse(&"A".repeat(43)).expect("a key");
        Invitation { key, grant: Some(("owner".parse().expect("a name"), Seed::random().expect("a secret"))) }
    }

    fn mosquitto(host: &str, secure_websocket: bool) -> Answers {
        answers(BrokerSetup::Mosquitto { host: Host::new(host).expect("a host"), secure_websocket })
    }

    fn existing(url: &str) -> Answers {
        let (url, _) = existing_url(url).expect("a url");
        let websocket = usual_websocket(&url).expect("a url");
        let websocket_is_guessed = websocket != url;
        answers(BrokerSetup::Existing { url, login: None, ca_file: None, websocket, websocket_is_guessed })
    }

    fn shown(answers: &Answers) -> String {
        let page = "192.0.2.5:8080".parse().expect("an address");
        let websocket = "192.0.2.5:9001".parse().expect("an address");
        link(answers, page, websocket, Some(&Secret::new("s3cret")), invitation()).to_string()
    }

    #[test]
    fn the_link_leads_browsers_to_the_broker() {
        for (answers, broker) in [
            (answers(BrokerSetup::Embedded), "ws://192.0.2.5:9001/mqtt"),
            (existing("mqtt://broker"), "ws://broker:9001/"),
            (existing("wss://broker/a+b?c=d&e"), "wss://broker:443/a%2Bb?c=d%26e"),
            (mosquitto("broker", true), "wss://viewer:s3cret@broker:9001"),
            (mosquitto("::1", false), "ws://viewer:s3cret@[::1]:9001"),
        ] {
            let beginning = format!("http://192.0.2.5:8080/#broker={broker}&device=cam&key=");
            assert!(shown(&answers).starts_with(&beginning), "{}", shown(&answers));
            assert!(shown(&answers).contains("&grant=owner&secret="));
        }
        let rooted = Answers { root: "home/cams".into(), ..answers(BrokerSetup::Embedded) };
        assert!(shown(&rooted).contains("&device=cam&root=home/cams&key="));
    }

    #[test]
    fn a_guess_is_called_one() {
        assert!(remark(&existing("mqtt://broker")).contains("guess"));
        assert!(!remark(&existing("ws://broker")).contains("guess"));
        let open = Answers { is_open: true, ..answers(BrokerSetup::Embedded) };
        assert!(remark(&open).contains("Everybody on this network"));
    }

    #[test]
    fn the_steps_fit_the_machine() {
        let answers = mosquitto("broker.local", true);
        let (config, files) =
            (Path::new("/etc/porthole/porthole.toml"), Path::new("/etc/porthole/my broker"));
        let mut outcome = SetupOutcome {
            answers: &answers,
            config,
            is_service: true,
            broker_files: Some((files, false)),
            backups: &["/etc/porthole/porthole.toml.bak".into()],
            as_root: true,
            has_secret_for_daemon: false,
        };
        let elsewhere = text(&outcome);
        for part in [
            "sudo scp -r '/etc/porthole/my broker' USER@broker.local:porthole-broker",
            "porthole.toml.bak",
            "https://broker.local:9001/",
            "sudo systemctl restart porthole",
        ] {
            assert!(elsewhere.contains(part), "{part} is not in:\n{elsewhere}");
        }
        assert!(!elsewhere.contains("chown"));
        outcome.broker_files = Some((files, true));
        outcome.has_secret_for_daemon = true;
        assert!(text(&outcome).contains("sudo chown porthole /etc/porthole/mqtt-password"));
        outcome.is_service = false;
        let here = text(&outcome);
        assert!(here.contains("sudo sh '/etc/porthole/my broker/install.sh'"), "{here}");
        assert!(here.contains("porthole run --config /etc/porthole/porthole.toml"), "{here}");
    }
}
