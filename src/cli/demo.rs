//! `porthole demo`: everything in one process, and a link that opens the live picture.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use rustix::process::geteuid;

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
use crate::base::durable_file::FileLock;
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
    let _last_lines = crate::base::log::start();
    in_runtime(serve(config))
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("the demo cannot keep its key in {}: {reason}; name another folder with PORTHOLE_DEVICE_STATE_DIR", folder.display())]
    Folder { folder: PathBuf, reason: io::Error },
    #[error(
        "{} can be written by others, who could put their own key there; name another folder with PORTHOLE_DEVICE_STATE_DIR",
        _0.display()
    )]
    NotOurs(PathBuf),
    #[error(
        "another demo is running with {}; end that one first, or give this one a folder and ports of its own \
         (PORTHOLE_DEVICE_STATE_DIR, PORTHOLE_HTTP_LISTEN, PORTHOLE_BROKER_LISTEN, PORTHOLE_BROKER_WEBSOCKET)",
        _0.display()
    )]
    Running(PathBuf),
}

/// The demo's folder, this demo's alone while it runs.
#[derive(Debug)]
struct DemoFolder {
    path: PathBuf,
    /// It was made for this demo, and goes with it.
    is_temporary: bool,
    _lock: Option<FileLock>,
}

impl DemoFolder {
    /// `wanted`, or a new one where that is empty or cannot be made.
    fn take(wanted: &Path) -> Result<Self, DemoError> {
        let is_there = !wanted.as_os_str().is_empty() && fs::create_dir_all(wanted).is_ok();
        let (path, is_temporary) =
            if is_there { (wanted.to_owned(), false) } else { (new_folder(wanted)?, true) };
        let failed = |reason| DemoError::Folder { folder: path.clone(), reason };
        let found = fs::metadata(&path).map_err(failed)?;
        if found.uid() != geteuid().as_raw() || found.mode() & 0o022 != 0 {
            return Err(DemoError::NotOurs(path));
        }
        let lock = match FileLock::take(&path.join("demo.lock"), Duration::ZERO) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(DemoError::Running(path)),
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { path, is_temporary, _lock: Some(lock) })
    }
}

impl Drop for DemoFolder {
    fn drop(&mut self) {
        if self.is_temporary {
            // What cannot be removed goes with the next start of the machine.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// A folder that nobody has seen before, for this user alone.
fn new_folder(instead_of: &Path) -> Result<PathBuf, DemoError> {
    let path = std::env::temp_dir().join(format!("porthole-demo-{:016x}", rand::random::<u64>()));
    let made = fs::DirBuilder::new().mode(0o700).create(&path);
    let folder = if instead_of.as_os_str().is_empty() { path.clone() } else { instead_of.to_owned() };
    made.map_err(|reason| DemoError::Folder { folder, reason })?;
    Ok(path)
}

async fn serve(config: Config) -> ExitCode {
    let prepare = move || -> Result<_, DemoError> {
        // Before a grant of another demo could be taken away.
        let folder = DemoFolder::take(&config.device.state_dir)?;
        let mut config = config;
        config.device.state_dir.clone_from(&folder.path);
        Ok((DemoLink::prepare(&config)?, config, folder))
    };
    let (link, config, _folder) = match blocking(prepare).await {
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
    fn a_second_demo_touches_nothing_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = DemoFolder::take(&dir.path().join("made/on/demand")).unwrap();
        let second = DemoFolder::take(&first.path).unwrap_err();
        assert!(second.to_string().contains("another demo is running"), "{second}");
        let path = first.path.clone();
        drop(first);
        assert!(DemoFolder::take(&path).is_ok() && path.exists());
    }

    #[test]
    fn a_folder_that_others_could_have_filled_is_refused_and_without_one_a_new_one_is_made() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(DemoFolder::take(dir.path()), Err(DemoError::NotOurs(_))));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        if std::os::unix::fs::chown(dir.path(), Some(12_345), None).is_ok() {
            assert!(matches!(DemoFolder::take(dir.path()), Err(DemoError::NotOurs(_))));
        }
        for wanted in ["", "/dev/null/state"] {
            let folders =
                [DemoFolder::take(Path::new(wanted)).unwrap(), DemoFolder::take(Path::new(wanted)).unwrap()];
            let paths = folders.each_ref().map(|folder| folder.path.clone());
            assert_ne!(paths[0], paths[1], "it can be guessed");
            for path in &paths {
                assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
            }
            drop(folders);
            assert!(paths.iter().all(|path| !path.exists()));
        }
    }

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
