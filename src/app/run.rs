//! The third step of a start: the camera, the sessions, and what connects them to the world.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::ailment::Ailment;
use super::authenticator::GrantAuthenticator;
use super::bind::{Bound, page_info};
use super::channels::ChannelServer;
use super::error::AppError;
use super::gateway::{self, Gateway, GatewayParts, Settings};
use super::grants_watch::GrantsWatch;
use super::groups::Groups;
use super::health::{self, Condition, HealthCheck, SharedHealthCheck};
use super::open::Opened;
use super::persist::{Manner, Persist};
use super::runtime_settings::RuntimeSettings;
use super::sound::SoundSide;
use super::state::StateSource;
use super::web::DaemonFacts;
use super::{adapt, address, memory_trimmer};
use crate::access::offer_authorizer::OfferAuthorizer;
use crate::access::permissions::Privilege;
use crate::base::durable_file::DurableFile;
use crate::base::tasks::TaskGroup;
use crate::broker::EmbeddedBroker;
use crate::config::Config;
use crate::http::{HttpServer, Listener, Services};
use crate::media::Media;
use crate::peer::{Factory, Signer};
use crate::sessions::{SessionEvent, SessionParts, Sessions};
use crate::stream::Fanout;

/// Events about sessions that may wait to be published: as many sessions as there can be may begin and end at once.
const EVENT_QUEUE: usize = 2048;

/// What viewers say on their data channels, and wait to be read.
const CHANNEL_QUEUE: usize = 256;

/// What a start has brought about.
pub(super) struct Running {
    /// Where the page is, if it is served.
    pub page: Option<SocketAddr>,
    /// The broker inside this process, if there is one.
    pub broker: Option<EmbeddedBroker>,
    pub sessions: Sessions,
    pub media: Media,
    pub gateway: Gateway,
    pub http: Option<HttpServer>,
    /// What looks after the daemon's health.
    pub health_check: SharedHealthCheck,
}

/// Starts everything, in the order of the pictures: camera, sessions, gateway, HTTP.
pub(super) fn run(
    config: &Config,
    opened: Opened,
    bound: Bound,
    groups: &Groups,
) -> Result<Running, AppError> {
    let Opened { identity, store, stamp, grants, privacy, audio_switch, runtime_settings, .. } = opened;
    let persist = Persist::start(&groups.persist);
    let Bound { authenticator, broker, listener, url } = bound;
    let fanout = Fanout::default();
    let media = media(config, &fanout, privacy.is_on(), &runtime_settings, groups)?;
    let sound = SoundSide::start(&config.audio, privacy.is_on(), audio_switch.is_on(), &groups.sound);
    let own = broker.as_ref().map(|broker| &broker.own);
    let connection = gateway::connect(config, url, own, identity.key(), &groups.all)?;
    let (event_tx, events) = mpsc::channel::<SessionEvent>(EVENT_QUEUE);
    let (channel_tx, channel_events) = mpsc::channel(CHANNEL_QUEUE);
    let factory = factory(config, &fanout, &groups.all)?.with_channels(channel_tx);
    let factory = Arc::new(with_sound(factory, &sound, &authenticator));
    let parts = SessionParts {
        max_viewers: config.viewers.max,
        streaming: privacy.is_on(),
        signer: Signer { identity: Arc::clone(&identity), device: config.device.id.clone() },
        factory: Arc::clone(&factory),
        fanout: fanout.clone(),
        media: media.status(),
        replies: connection.replies(),
        events: event_tx,
        keep_used: keep_used(persist.clone(), opened.used_file),
        tasks: groups.all.clone(),
    };
    let authorizer = OfferAuthorizer::new(config.access, config.device.id.clone(), grants.clone())
        .with_used(opened.used_offers);
    let sessions = Sessions::spawn(parts, authorizer);
    let page = listener.as_ref().map(Listener::address);
    let (told, ailment) = watch::channel(None);
    let parts = (sessions.clone(), media.status(), sound.clone());
    let state = Arc::new(StateSource::new(parts, groups.all.ended_early(), ailment.clone(), privacy.is_on()));
    let parts = GatewayParts {
        sessions: sessions.clone(),
        media: media.clone(),
        fanout: fanout.clone(),
        events,
        state: Arc::clone(&state),
        privacy,
        audio_switch,
        sound: sound.clone(),
        runtime_settings,
        persist,
        fps: config.media.fps,
        page: page.map(|page| (config.http.scheme(), page)),
        settings: Settings::of(config),
        ailment,
    };
    let gateway = connection.serve(parts, &groups.gateway);
    let channels =
        ChannelServer::new(channel_events, &state, (&media, &sound), &gateway.handle(), &authenticator);
    groups.watch.spawn_loop("channels", channels.run());
    let watch = GrantsWatch {
        store,
        stamp,
        grants,
        sessions: sessions.clone(),
        authenticator: authenticator.clone(),
        identity,
        gateway: gateway.handle(),
        is_lost: false,
    };
    groups.watch.spawn_loop("grants", watch.run());
    follow_demand(config, &sessions, &media, &fanout, groups);
    let health_check = watch_over(&sessions, &media, &gateway, (factory, fanout.clone()), told, groups);
    let mut running = Running { page, broker, sessions, media, gateway, http: None, health_check };
    let facts = (sound, fanout, state);
    running.http = listener.map(|listener| serve(&running, config, groups, listener, authenticator, facts));
    Ok(running)
}

/// The capture side, as dashboards left it.
fn media(
    config: &Config,
    fanout: &Fanout,
    streaming: bool,
    settings: &RuntimeSettings,
    groups: &Groups,
) -> Result<Media, AppError> {
    let media = Media::start(settings.over(config.media.clone()), fanout.clone(), streaming, &groups.all)?;
    settings.apply(&media, config.media.fps);
    Ok(media)
}

/// Without delay: who has recorded an offer may also be who cuts the power.
fn keep_used(persist: Persist, file: DurableFile) -> Box<dyn Fn(String) + Send> {
    // Trouble with the disk is said in the log.
    Box::new(move |text| drop(persist.save(&file, text, Manner::AtOnce)))
}

/// Follows what viewers want, and what their paths carry.
fn follow_demand(config: &Config, sessions: &Sessions, media: &Media, fanout: &Fanout, groups: &Groups) {
    let floor = config.video.min_bitrate;
    groups.watch.spawn_loop("adapt", adapt::run(sessions.clone(), media.clone(), fanout.clone(), floor));
    groups.watch.spawn_loop("memory", memory_trimmer::run(fanout.clone()));
}

fn factory(config: &Config, fanout: &Fanout, tasks: &TaskGroup) -> Result<Factory, AppError> {
    Ok(Factory::new(config.ice.clone(), fanout.clone(), tasks)?
        .with_playout_delay_ms(config.video.playout_delay_ms)
        .with_certificate_of(&config.device.state_dir)?)
}

/// The factory with sound, where there is any. Rights are looked up at each offer and packet of a voice.
fn with_sound(factory: Factory, sound: &SoundSide, authenticator: &Arc<GrantAuthenticator>) -> Factory {
    if !sound.is_configured() {
        return factory;
    }
    let authenticator = Arc::clone(authenticator);
    factory
        .with_audio(sound.parts(Arc::new(move |grant| authenticator.permit(grant, Privilege::Talk).is_ok())))
}

/// Looks after the daemon's health from now on.
fn watch_over(
    sessions: &Sessions,
    media: &Media,
    gateway: &Gateway,
    (peers, fanout): (Arc<Factory>, Fanout),
    told: watch::Sender<Option<Ailment>>,
    groups: &Groups,
) -> SharedHealthCheck {
    let (gateway, tasks) = (gateway.handle(), groups.all.clone());
    let condition = Condition::new(sessions.clone(), media, &gateway);
    let ended_early = tasks.ended_early();
    let parts = health::CheckedParts {
        sessions: sessions.clone(),
        media: media.clone(),
        gateway,
        peers,
        fanout,
        tasks,
    };
    let health_check = Arc::new(tokio::sync::Mutex::new(HealthCheck::new(parts, told)));
    groups.watch.spawn_loop("health", health::watch_over(Arc::clone(&health_check), condition, ended_early));
    health_check
}

/// Serves the page and what programs ask.
fn serve(
    running: &Running,
    config: &Config,
    groups: &Groups,
    listener: Listener,
    authenticator: Arc<GrantAuthenticator>,
    (sound, fanout, state): (SoundSide, Fanout, Arc<StateSource>),
) -> HttpServer {
    let Running { sessions, media, broker, gateway, health_check, .. } = running;
    let seen = (media.clone(), sound);
    let facts =
        DaemonFacts::new(sessions.clone(), seen, fanout, gateway.handle(), state, Arc::clone(health_check));
    let services = Services {
        facts: Arc::new(facts),
        authorizer: authenticator,
        metrics: config.http.metrics,
        media: media.clone(),
        access: config.access,
        sessions: sessions.clone(),
        broker: broker.as_ref().map(|broker| address::from_here(broker.websocket)),
        ice_servers: config.ice.servers.clone(),
    };
    listener.serve(page_info(config, broker.as_ref()), services, &groups.all)
}
