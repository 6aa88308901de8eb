//! The settings of a Mosquitto: TLS, users, and the rules of docs/protocol.md. Pure text, in files to copy.

use super::answers::{Answers, DASHBOARD, Host, MQTTS_PORT, VIEWER, WEBSOCKET_PORT};
use super::certificates::{Authority, ServerCertificate};
use super::files::Readers;
use super::secrets::{self, NoRandomNumbers};
use crate::config::Secret;
use crate::dashboard::homeassistant;

/// Where `install.sh` puts them on the broker's machine.
const HOME: &str = "/etc/mosquitto/porthole";
/// Home Assistant's discovery prefix, unless somebody has changed it there.
const DISCOVERY: &str = "homeassistant";

/// The passwords of the three users, readable. The broker gets hashes.
pub(super) struct Passwords {
    pub device: Secret,
    pub viewer: Secret,
    pub dashboard: Secret,
}

impl Passwords {
    pub fn make() -> Result<Self, NoRandomNumbers> {
        Ok(Self {
            device: secrets::password()?,
            viewer: secrets::password()?,
            dashboard: secrets::password()?,
        })
    }
}

/// A file of the folder.
pub(super) struct BrokerFile {
    pub name: &'static str,
    pub readers: Readers,
    pub text: String,
}

/// All files of the folder. None holds a readable password; `server.key` is the only secret.
pub(super) fn all(
    answers: &Answers,
    host: &Host,
    secure_websocket: bool,
    passwords: &Passwords,
    authority: &Authority,
    server: &ServerCertificate,
) -> Result<Vec<BrokerFile>, NoRandomNumbers> {
    let file = |name, readers, text| BrokerFile { name, readers, text };
    let mut files = vec![
        file("porthole.conf", Readers::Everybody, configuration(host, secure_websocket)),
        file("acl", Readers::Everybody, rules(answers)),
        file("passwords", Readers::Owner, password_file(answers, passwords)?),
        file("ca.pem", Readers::Everybody, authority.certificate.clone()),
        file("install.sh", Readers::Everybody, install().to_owned()),
        file("README.txt", Readers::Everybody, readme(answers, host, secure_websocket)),
    ];
    files.extend(certificate(server));
    Ok(files)
}

/// The files that a renewed certificate replaces.
pub(super) fn certificate(server: &ServerCertificate) -> [BrokerFile; 2] {
    [
        BrokerFile { name: "server.pem", readers: Readers::Everybody, text: server.certificate.clone() },
        BrokerFile { name: "server.key", readers: Readers::Owner, text: server.key.clone() },
    ]
}

fn configuration(host: &Host, secure_websocket: bool) -> String {
    let tls = format!("certfile {HOME}/server.pem\nkeyfile {HOME}/server.key\n");
    let (why, websocket_tls) = if secure_websocket {
        ("MQTT over WebSocket and TLS, for browsers.", tls.as_str())
    } else {
        ("MQTT over WebSocket, for browsers. NOT ENCRYPTED: for a network that you trust.", "")
    };
    format!(
        "# Mosquitto for Porthole on {}, written by `porthole setup`.\n\
         # It goes to /etc/mosquitto/conf.d/, which Debian's mosquitto.conf includes.\n\
         \n\
         # Nobody enters without a password; who may do what is in the acl.\n\
         per_listener_settings false\n\
         allow_anonymous false\n\
         password_file {HOME}/passwords\n\
         acl_file {HOME}/acl\n\
         # Larger than anything of Porthole's.\n\
         max_packet_size 1048576\n\
         # Answers leave at once; without it some wait 40 ms for the other side's acknowledgement.\n\
         set_tcp_nodelay true\n\
         \n\
         # MQTT over TLS, for the camera and for dashboards.\n\
         listener {MQTTS_PORT}\n\
         {tls}\
         \n\
         # {why}\n\
         listener {WEBSOCKET_PORT}\n\
         protocol websockets\n\
         {websocket_tls}",
        host.as_str()
    )
}

/// docs/protocol.md, section "Topics": everybody gets what their part needs, and nothing else.
fn rules(answers: &Answers) -> String {
    let (id, root, topics) = (&answers.id, &answers.root, answers.topics());
    let publishes = ["availability", "info", "state", "event", "snapshot", "signal/+/down"];
    let lines = |rule: &str, names: &[String]| -> String {
        names.iter().flat_map(|name| [rule, " ", name, "\n"].map(str::to_owned)).collect()
    };
    let of_all = |leaves: &[&str]| leaves.iter().map(|leaf| format!("{root}/+/{leaf}")).collect::<Vec<_>>();
    [
        "# Who may do what. Read again with: systemctl reload mosquitto\n".to_owned(),
        format!("\n# The camera.\nuser {id}\n"),
        lines("topic write", &publishes.map(|leaf| topics.leaf(leaf))),
        lines("topic read", &topics.subscriptions()),
        format!("topic write {}\n", homeassistant::discovery_topic(DISCOVERY, id.as_str())),
        format!("topic read {}\n", homeassistant::birth_topic(DISCOVERY)),
        format!("\n# People who watch.\nuser {VIEWER}\n"),
        lines("topic read", &of_all(&["availability", "info", "state"])),
        format!("\n# Dashboards: see how cameras are, and give commands.\nuser {DASHBOARD}\n"),
        lines("topic read", &of_all(&["availability", "info", "state", "event", "snapshot"])),
        lines("topic write", &of_all(&["set/#", "do/#"])),
        format!("topic read {DISCOVERY}/#\ntopic write {}\n", homeassistant::birth_topic(DISCOVERY)),
        "\n# All of them: watch, each client in its own name only (%c is the client id).\n".to_owned(),
        lines("pattern read", &of_all(&["signal/%c/down"])),
        lines("pattern write", &of_all(&["signal/%c/up"])),
    ]
    .concat()
}

fn password_file(answers: &Answers, passwords: &Passwords) -> Result<String, NoRandomNumbers> {
    let users = [
        (answers.id.as_str(), &passwords.device),
        (VIEWER, &passwords.viewer),
        (DASHBOARD, &passwords.dashboard),
    ];
    users.iter().map(|(user, password)| secrets::mosquitto_line(user, password)).collect()
}

/// With an argument it installs below that folder and starts nothing.
fn install() -> &'static str {
    r#"#!/bin/sh
# Run this on the broker's machine: sudo sh install.sh
# It installs the files of this folder for Mosquitto and starts it anew.
# With a folder as its argument it installs below that, as packagers do, and starts nothing.
set -eu
cd "$(dirname "$0")"
root="${1:-}"
if ! id mosquitto >/dev/null 2>&1; then
  echo "install.sh: Mosquitto is not here. Install it first: apt-get install mosquitto" >&2
  exit 1
fi
install -d -m 0755 "$root/etc/mosquitto/conf.d"
install -d -m 0750 -o root -g mosquitto "$root/etc/mosquitto/porthole"
install -m 0600 -o mosquitto -g mosquitto acl passwords server.key "$root/etc/mosquitto/porthole/"
install -m 0644 ca.pem server.pem "$root/etc/mosquitto/porthole/"
install -m 0644 porthole.conf "$root/etc/mosquitto/conf.d/porthole.conf"
if [ -n "$root" ]; then exit 0; fi
if ! grep -qs '^include_dir /etc/mosquitto/conf.d' /etc/mosquitto/mosquitto.conf; then
  echo "install.sh: add this line to your mosquitto.conf, and start Mosquitto anew:" >&2
  echo "include_dir /etc/mosquitto/conf.d" >&2
  exit 1
fi
systemctl enable mosquitto
systemctl restart mosquitto
systemctl --no-pager --lines=5 status mosquitto
"#
}

fn readme(answers: &Answers, host: &Host, secure_websocket: bool) -> String {
    let (id, root) = (&answers.id, &answers.root);
    let websocket = if secure_websocket { "wss" } else { "ws" };
    format!(
        "Settings of a Mosquitto broker on {host}, made by `porthole setup` for the camera `{id}`.\n\
         \n\
         On the broker's machine, with this folder copied to it:\n\
         \n\
         \x20   sudo apt-get install mosquitto\n\
         \x20   sudo sh install.sh\n\
         \n\
         porthole.conf   listens at mqtts://{url_host}:{MQTTS_PORT} and {websocket}://{url_host}:{WEBSOCKET_PORT}\n\
         passwords       the users {id}, {VIEWER} and {DASHBOARD}; hashes, the passwords stay with the camera\n\
         acl             what each of them may do below {root}/\n\
         ca.pem          the certificate that clients trust: give it to dashboards and browsers\n\
         server.pem      the broker's certificate, valid for two years; `porthole setup --renew` on the camera\n\
         server.key      makes a new one. The key is the one secret of this folder: delete the copy you carried\n\
         \n\
         A second camera needs a user of its own (mosquitto_passwd {HOME}/passwords ID)\n\
         and the rules of the user `{id}` once more, with its id.\n",
        host = host.as_str(),
        url_host = host.in_url(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::setup::answers::BrokerSetup;
    use crate::media::DeviceChoice;

    fn answers() -> Answers {
        Answers {
            is_open: false,
            id: "front-door".parse().expect("an id"),
            name: None,
            root: "porthole".into(),
            broker: BrokerSetup::Embedded,
            camera: DeviceChoice::Auto,
        }
    }

    fn host() -> Host {
        Host::new("broker.local").expect("a host")
    }

    #[test]
    fn the_camera_gets_its_topics_and_no_more() {
        let rules = rules(&answers());
        let own = rules.split("user front-door\n").nth(1).and_then(|text| text.split("\n\n").next());
        let own = own.expect("the camera's rules");
        assert!(own.contains("topic write porthole/front-door/signal/+/down"));
        assert!(own.contains("topic read porthole/front-door/signal/+/up"));
        assert!(!own.contains("topic write porthole/front-door/set"), "{own}");
        assert!(own.contains("topic write homeassistant/device/front-door/config\n"));
        assert!(!own.contains("readwrite") && !own.contains("front-door/#"), "{own}");
        // Else one viewer could read what another is told, or speak for it.
        assert_eq!(rules.matches("/+/signal/").count(), rules.matches("/+/signal/%c/").count(), "{rules}");
    }

    #[test]
    fn both_listeners_are_encrypted_unless_asked_otherwise() {
        assert_eq!(configuration(&host(), true).matches("keyfile").count(), 2);
        let plain = configuration(&host(), false);
        assert_eq!(plain.matches("keyfile").count(), 1);
        assert!(plain.contains("NOT ENCRYPTED"));
        assert!(plain.contains("allow_anonymous false"));
        assert!(plain.contains("\nset_tcp_nodelay true\n"));
    }

    #[test]
    fn the_folder_holds_no_password() {
        let passwords = Passwords::make().expect("passwords");
        let authority = Authority { certificate: "CA".into(), key: "CA KEY".into() };
        let server = ServerCertificate { certificate: "CERT".into(), key: "KEY".into() };
        let files = all(&answers(), &host(), true, &passwords, &authority, &server).expect("files");
        for file in &files {
            for secret in [&passwords.device, &passwords.viewer, &passwords.dashboard] {
                assert!(!file.text.contains(secret.expose()), "{}", file.name);
            }
            assert!(!file.text.contains("CA KEY"), "{}", file.name);
        }
        let hidden: Vec<_> =
            files.iter().filter(|file| file.readers == Readers::Owner).map(|file| file.name).collect();
        assert_eq!(hidden, ["passwords", "server.key"]);
    }
}
