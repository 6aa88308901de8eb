//! What the commands about invitations print, and `setup` about somebody else's broker.

mod support;

use porthole::access::link::ViewingLink;
use support::daemon::DEVICE;
use support::invited::World;
use support::mosquitto::{Mosquitto, Options};
use support::setup::{assert_done, assert_refused, setup, text};

#[tokio::test(flavor = "multi_thread")]
async fn links_and_lists_say_what_is_so() {
    let Some(world) = World::new().await else { return };
    let config = world.daemon.config_file();
    let config = config.to_str().expect("UTF-8");
    let run = |arguments: &[&str]| {
        let done = support::daemon::porthole(arguments).output().expect("run porthole");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (done.status.code(), text(&done.stdout), text(&done.stderr))
    };
    // The configuration names a broker that browsers cannot speak to: what is usual beside it is proposed, in words.
    let (_, printed, said) = run(&["grant", "anna", "--config", config]);
    let link: ViewingLink = printed.lines().next().expect("a link").parse().expect("a link");
    let broker = link.broker.as_deref().expect("a broker");
    assert!(broker.starts_with("ws://") && broker.contains(":9001"), "{broker}");
    assert!(said.contains(broker) && said.contains("--broker"), "{said}");
    let (_, printed, said) =
        run(&["grant", "bert", "--broker", "ws://192.0.2.9:80/mqtt", "--expires", "7d", "--config", config]);
    assert!(printed.contains("192.0.2.9") && !said.contains("9001"), "{printed} {said}");
    let (_, _, said) = run(&["grant", "carl", "--token", "--config", config]);
    assert!(!said.contains("9001"), "{said}");

    // Home Assistant has a broker of its own, and shows stills too; what else it may do is said as for everybody.
    let (_, printed, said) = run(&["grant", "home", "--for", "home-assistant", "--config", config]);
    let pasted: ViewingLink = printed.trim_end().parse().expect("nothing but a link");
    assert!(pasted.broker.is_none() && pasted.grant.is_some() && pasted.key.is_some(), "{printed}");
    assert!(said.contains("Paste") && said.contains("view,snapshot") && !said.contains("9001"), "{said}");
    let more = ["grant", "house", "--for", "home-assistant", "--rights", "view,control", "--config", config];
    assert!(run(&more).2.contains("allows view,control"));
    assert_ne!(run(&["grant", "x", "--for", "home-assistant", "--token", "--config", config]).0, Some(0));

    let (_, list, _) = run(&["grants", "--config", config]);
    let row_of = |name: &str| list.lines().find(|row| row.starts_with(name)).expect("a row").to_owned();
    assert!(row_of("anna").ends_with("no end") && !list.contains("revoked"), "{list}");
    assert!(row_of("bert").ends_with('Z'), "{list}");

    // --device beside --link: the same is fine, another is not.
    let (link, url) = (link.to_string(), world.broker.url());
    let watch = |device: &str| {
        run(&["watch", "--link", &link, "--device", device, "--broker", &url, "--seconds", "1"])
    };
    let (code, _, said) = watch("other");
    assert!(code == Some(1) && said.contains("`cam`") && said.contains("`other`"), "{code:?}: {said}");
    let (code, shown, said) = tokio::task::block_in_place(|| watch(DEVICE));
    assert_eq!(code, Some(0), "{shown} {said}");
}

#[test]
fn setup_tries_the_password_before_it_writes_it_down() {
    let Some(broker) = Mosquitto::start_with(&Options { users: &[("cam", "right")], ..Options::default() })
    else {
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("porthole.toml");
    let run = |url: &str, password: &str| {
        let secret = dir.path().join("password");
        std::fs::write(&secret, password).expect("write");
        let secret = secret.to_str().expect("UTF-8");
        let broker = ["--broker", url, "--username", "cam", "--password-file", secret];
        setup(&file, &[&["--yes", "--id", "cam", "--camera", "test"], &broker[..]].concat())
    };
    assert_refused(&run(&broker.url(), "wrong"), 1, &["refuses these credentials", "Nothing is written"]);
    assert!(!file.exists(), "it is written all the same");
    let done = run(&broker.url(), "right");
    assert_done(&done);
    assert!(text(&done.stderr).contains("lets this device in"), "{}", text(&done.stderr));
    assert!(file.exists());
    // One that is switched off just now says nothing about the password.
    let done = run("mqtt://127.0.0.1:1", "right");
    assert_done(&done);
    assert!(text(&done.stderr).contains("could not be tried"), "{}", text(&done.stderr));
}
