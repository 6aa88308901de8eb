//! The daemon, which knows every room that it is made of: builds the house, runs it, drains it.
//!
//! A start has three steps: [`open`] reads what the device remembers, [`bind`] takes the addresses that clients know, [`run`]
//! starts the camera, the sessions, and what connects them to the world.

mod adapt;
pub mod address;
mod ailment;
mod audio_switch;
mod authenticator;
mod bind;
mod channels;
mod error;
mod gateway;
mod grants_watch;
mod groups;
mod health;
mod look_settings;
mod memory_trimmer;
mod open;
mod persist;
mod privacy;
mod reload;
mod run;
mod runtime_settings;
mod scene;
mod sound;
mod state;
mod web;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::base::tasks::TaskGroup;
use crate::broker::EmbeddedBroker;
use crate::config::Config;
use crate::http::HttpServer;
use crate::media::{CameraState, Media};
use crate::sessions::Sessions;
pub use error::AppError;
use gateway::{Gateway, Presence, Settings};
use groups::Groups;
use privacy::PrivacySwitch;
use reload::Change;
pub use reload::Reloaded;
use run::Running;

/// How long a stopping daemon waits for its sessions, its camera, its broker and its files, each.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);

/// A running daemon.
pub struct App {
    /// Where the page is, if it is served.
    pub page: Option<SocketAddr>,
    /// The broker inside this process, if there is one.
    pub broker: Option<EmbeddedBroker>,
    sessions: Sessions,
    media: Media,
    gateway: Gateway,
    config: Config,
    groups: Groups,
    http: Option<HttpServer>,
    #[cfg(test)]
    health_check: health::SharedHealthCheck,
}

impl App {
    /// Builds everything and starts it. A camera or an external broker that is not there yet is
    /// waited for; an address that cannot be bound is an error.
    pub async fn start(config: Config) -> Result<Self, AppError> {
        let groups = Groups::new();
        let opened = open::open(&config).await?;
        let bound = bind::bind(&config, &opened, &groups.all).await?;
        let running = run::run(&config, opened, bound, &groups)?;
        let Running { page, broker, sessions, media, gateway, http, .. } = running;
        Ok(Self {
            page,
            broker,
            sessions,
            media,
            gateway,
            config,
            groups,
            http,
            #[cfg(test)]
            health_check: running.health_check,
        })
    }

    /// The daemon's tasks: one of them that ends early is the end of the daemon.
    pub fn tasks(&self) -> &TaskGroup {
        &self.groups.watch
    }

    /// Resolves once cameras and encoders have been looked at, with the capture side's trouble if there
    /// is any, in words.
    pub async fn looked(&self) -> Result<(), String> {
        let mut status = self.media.status();
        let looked = status.wait_for(|status| status.ready || status.error.is_some()).await;
        match looked.map(|status| (status.ready, status.error.clone())) {
            Ok((true, _)) => Ok(()),
            Ok((false, error)) => Err(error.unwrap_or_default()),
            Err(_) => Err("the capture side has ended".to_owned()),
        }
    }

    /// Resolves once the camera itself gives pictures.
    pub async fn camera_is_live(&self) {
        let mut status = self.media.status();
        // An error means that the capture side has ended: whoever waits has a limit.
        if status.wait_for(|status| status.state == CameraState::Live).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Keeps the camera running for `span`; why it gives no picture now, in words, if it does not.
    pub fn keep_camera(&self, span: Duration) -> Option<String> {
        self.media.warm(span);
        self.media.status().borrow().error.clone()
    }

    /// Resolves once the broker passes viewers' messages on to it.
    pub async fn online(&self) {
        let mut presence = self.gateway.handle().presence();
        // An error means that the gateway has ended: whoever waits finds out from what comes next.
        let _ = presence.wait_for(|presence| *presence == Presence::Online).await;
    }

    /// Takes over what can change without ending a session; the rest waits for a restart.
    pub async fn reload(&mut self, config: Config) -> Reloaded {
        let (changes, reloaded) = reload::compare(&self.config, &config);
        for change in changes {
            match change {
                Change::Settings => self.gateway.handle().change(Settings::of(&config)).await,
                Change::MaxViewers => self.sessions.set_max_viewers(config.viewers.max),
                Change::Bitrate(kbps) => self.media.set_configured_bitrate_kbps(kbps),
            }
        }
        self.gateway.handle().look_at_privacy().await;
        self.config = config;
        reloaded
    }

    /// Ends it in order: viewers are told, the camera is closed, the broker hears how the sessions ended and then
    /// `offline`. What carries messages to viewers and broker ends last.
    /// Bounded in time, whatever hangs.
    pub async fn drain(self) {
        self.groups.all.begin_ending();
        self.groups.sound.begin_ending();
        self.groups.watch.close(DRAIN_LIMIT).await;
        // No new players; those that wait for an answer hear that the connection is closed.
        drop(self.http);
        if tokio::time::timeout(DRAIN_LIMIT, self.sessions.shutdown()).await.is_err() {
            tracing::warn!("some sessions did not end in time");
        }
        if tokio::time::timeout(DRAIN_LIMIT, self.media.shutdown()).await.is_err() {
            tracing::warn!("the camera did not close in time");
        }
        if !self.groups.sound.close(DRAIN_LIMIT).await.is_empty() {
            tracing::warn!("the sound did not end in time");
        }
        self.gateway.close(DRAIN_LIMIT).await;
        if !self.groups.persist.close(DRAIN_LIMIT).await.is_empty() {
            tracing::warn!("what was set last could not be written in time");
        }
        let late = self.groups.all.close(DRAIN_LIMIT).await;
        if !late.is_empty() {
            tracing::warn!(tasks = late.join(", "), "some tasks did not end in time");
        }
    }
}

/// Whether the privacy switch that `state_dir` remembers lets a camera run. Blocks.
pub fn is_streaming_allowed(state_dir: &Path) -> bool {
    PrivacySwitch::load(state_dir).is_on()
}
