//! One thread, `porthole-peers`, that all viewers' connections live on: their sockets, their timers, and their media.
//!
//! The library is a state machine without sockets or clock; this gives it both. Whatever happens (a datagram, a picture, a deadline,
//! a command of a session) is done to the end before the next thing, so that nothing here needs a lock.

mod agreement;
mod cached_client_hello;
mod channel;
mod command;
mod connect_times;
mod connection;
mod connectivity_checks;
mod event;
mod gather;
mod mdns_candidates;
mod new_peer;
mod nomination;
mod path;
mod peer;
mod send_task;
mod state;

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use tokio::runtime::Builder;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::LocalSet;
use tokio::time::sleep_until;

use self::channel::ChannelStart;
use self::command::DriverCommand;
pub(in crate::peer) use self::connection::Connection;
pub(in crate::peer) use self::event::PeerEvent;
use self::new_peer::NewPeer;
pub(in crate::peer) use self::new_peer::PeerParts;
use self::send_task::MediaHost;
use self::state::State;
use super::error::PeerError;
use super::net::demux::PeerId;
use super::net::inbox::RelayId;
use super::net::inbox::{Accepted, PacketInbox, TcpConnectionId};
use super::net::{Net, tcp_port};
use super::send::media_sender::MediaSender;
use super::send::voice_receiver::VoiceReceiver;
use crate::base::tasks::{EndedEarly, TaskGroup, panic_text};
use crate::config::Ice;

/// The thread's name.
const THREAD: &str = "porthole-peers";
/// Commands that wait for the thread; whoever has one more waits.
const COMMAND_QUEUE: usize = 256;
/// Events kept for a session that is busy; gathering a board with many addresses stays below.
const EVENT_QUEUE: usize = 128;
/// The system has called a new socket writable by then.
const SOCKET_READY: Duration = Duration::from_millis(1);

/// Finds the addresses of a name, or none.
pub(in crate::peer) type LookUp = Box<dyn Fn(String) -> LocalBoxFuture<'static, Vec<IpAddr>> + Send>;

/// The thread; it ends when this and all connections are dropped.
#[derive(Debug)]
pub(in crate::peer) struct Driver {
    commands: mpsc::Sender<DriverCommand>,
    next: AtomicU64,
}

impl Driver {
    /// Starts the thread, whose tasks run in `tasks`. Viewers find the TCP port behind `listeners`, if `ice` has one; `look_up`
    /// finds the servers of `ice`.
    pub fn start(
        ice: Ice,
        listeners: Vec<std::net::TcpListener>,
        look_up: LookUp,
        tasks: &TaskGroup,
    ) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (commands, queue) = mpsc::channel(COMMAND_QUEUE);
        let tasks = tasks.clone();
        std::thread::Builder::new().name(THREAD.to_owned()).spawn(move || {
            let served = AssertUnwindSafe(|| {
                LocalSet::new().block_on(&runtime, serve(ice, listeners, look_up, queue, tasks.clone()));
            });
            if let Err(panic) = catch_unwind(served) {
                tasks.report(EndedEarly { task: THREAD, reason: panic_text(panic.as_ref()) });
            }
            // What still runs there belongs to connections that are gone.
            tasks.cancel();
            runtime.shutdown_background();
        })?;
        Ok(Self { commands, next: AtomicU64::new(0) })
    }

    /// Makes sure that there are sockets for one more connection.
    pub async fn bind(&self) -> Result<(), PeerError> {
        let (reply, bound) = oneshot::channel();
        self.commands.send(DriverCommand::Bind(reply)).await.map_err(|_| PeerError::Gone)?;
        bound.await.map_err(|_| PeerError::Gone)?
    }

    /// Whether the thread answers: resolves when it has, and with false when it is gone.
    pub async fn ping(&self) -> bool {
        let (reply, answered) = oneshot::channel();
        self.commands.send(DriverCommand::Ping(reply)).await.is_ok() && answered.await.is_ok()
    }

    /// How many connections there are.
    #[cfg(test)]
    pub async fn connections(&self) -> usize {
        let (reply, count) = oneshot::channel();
        let _ = self.commands.send(DriverCommand::Count(reply)).await;
        count.await.unwrap_or_default()
    }

    /// Has the thread look at a connection: something waits for its data channel.
    fn waker(&self, peer_id: PeerId) -> Arc<dyn Fn() + Send + Sync> {
        // Weak: it is held by the thread, too.
        let commands = self.commands.downgrade();
        Arc::new(move || {
            // Without room the thread is busy. It looks again with the next datagram, or the next news.
            if let Some(commands) = commands.upgrade() {
                let _ = commands.try_send(DriverCommand::Channel(peer_id));
            }
        })
    }

    /// Takes a connection.
    pub async fn open(&self, parts: PeerParts) -> Result<Connection, PeerError> {
        let peer_id = self.next.fetch_add(1, Ordering::Relaxed);
        let (events, reported) = mpsc::channel(EVENT_QUEUE);
        let feedback = parts.live.as_ref().map(|live| Arc::clone(&live.feedback)).unwrap_or_default();
        let voice = parts.audio.as_ref().filter(|audio| audio.has_speaker).zip(parts.live.as_ref());
        let voice = voice.map(|(audio, live)| VoiceReceiver::new(audio, Arc::clone(live)));
        let media = MediaSender::new(peer_id, feedback, parts.fanout.clone()).with_voice(voice);
        let span = tracing::Span::current();
        let channel = parts.live.as_ref().zip(parts.channels.clone());
        let channel = channel.map(|(live, events)| ChannelStart {
            live: Arc::clone(live),
            events,
            wake: self.waker(peer_id),
        });
        let new = NewPeer { parts, media, channel, sends_audio: watch::Sender::new(false), events, span };
        let command = DriverCommand::Open(peer_id, Box::new(new));
        self.commands.send(command).await.map_err(|_| PeerError::Gone)?;
        Ok(Connection::new(peer_id, self.commands.clone(), reported))
    }
}

/// What all tasks of the thread share.
struct Shared {
    state: RefCell<State>,
    /// A deadline came nearer.
    earlier: Notify,
    /// What the timer sleeps for.
    sleeps_until: RefCell<Option<Instant>>,
    /// Finds the addresses of names.
    look_up: LookUp,
    me: Weak<Shared>,
    tasks: TaskGroup,
}

impl Shared {
    fn new(ice: Ice, look_up: LookUp, tasks: TaskGroup) -> Rc<Self> {
        Rc::new_cyclic(|me: &Weak<Self>| {
            let inbox: Weak<dyn PacketInbox> = me.clone();
            Self {
                state: RefCell::new(State::new(ice, &inbox, &tasks)),
                earlier: Notify::new(),
                sleeps_until: RefCell::default(),
                look_up,
                me: me.clone(),
                tasks,
            }
        })
    }

    /// Does `what`, starts the media that may begin and the searches that are due, and sees to the timer.
    fn with<T>(&self, what: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.borrow_mut();
        let done = what(&mut state);
        for peer_id in std::mem::take(&mut state.starting) {
            if let (Some(shared), Some(peer)) = (self.me.upgrade(), state.peers.get_mut(&peer_id)) {
                peer.send_task = send_task::start(shared, peer_id, &peer.new, &self.tasks);
            }
        }
        self.look_up(std::mem::take(&mut state.lookups));
        let due = state.poll_timeout();
        let sleeps_until = *self.sleeps_until.borrow();
        if due.is_some_and(|due| sleeps_until.is_none_or(|until| due < until)) {
            self.earlier.notify_one();
        }
        done
    }

    async fn timer(self: Rc<Self>) {
        loop {
            let due = self.state.borrow_mut().poll_timeout();
            *self.sleeps_until.borrow_mut() = due;
            let sleep = async {
                match due {
                    Some(due) => sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => self.with(|state| state.timeouts(Instant::now())),
                () = self.earlier.notified() => {}
            }
        }
    }

    fn look_up(&self, hosts: Vec<String>) {
        for host in hosts {
            let (shared, found) = (self.me.clone(), (self.look_up)(host.clone()));
            self.tasks.spawn_local_finite("look-up", async move {
                let found = found.await;
                if let Some(shared) = shared.upgrade() {
                    shared.with(|state| state.looked_up(&host, found, Instant::now()));
                }
            });
        }
    }

    /// The session has gone without a word.
    fn close_when_dropped(&self, peer_id: PeerId, events: mpsc::Sender<PeerEvent>) {
        let shared = self.me.clone();
        self.tasks.spawn_local_finite("connection", async move {
            events.closed().await;
            if let Some(shared) = shared.upgrade() {
                shared.with(|state| state.close(peer_id, Instant::now()));
            }
        });
    }

    async fn command(&self, command: DriverCommand) {
        let now = Instant::now();
        match command {
            DriverCommand::Bind(reply) => {
                let bound = self.with(|state| state.bind(now));
                if let Ok(true) = bound {
                    tokio::time::sleep(SOCKET_READY).await;
                }
                let _ = reply.send(bound.map(|_| ()));
            }
            DriverCommand::Ping(reply) => {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(());
            }
            DriverCommand::Open(peer_id, new) => {
                self.close_when_dropped(peer_id, new.events.clone());
                self.with(|state| state.open(peer_id, *new));
            }
            DriverCommand::Answer(peer_id, negotiation, full, reply) => {
                let answered = self.with(|state| state.answer(peer_id, *negotiation, full, now));
                let _ = reply.send(answered.unwrap_or(Err(PeerError::Gone)));
            }
            DriverCommand::Offer(peer_id, reply) => {
                let offered = self.with(|state| state.offer(peer_id, now));
                let _ = reply.send(offered.unwrap_or(Err(PeerError::Gone)));
            }
            DriverCommand::Candidate(peer_id, candidate) => {
                self.with(|state| {
                    state.with(peer_id, now, |peer, net| {
                        peer.add_remote_candidate(net, candidate.into(), now);
                    });
                });
            }
            DriverCommand::Channel(peer_id) => {
                // What waits is sent with all else that comes of an event.
                self.with(|state| state.with(peer_id, now, |_, _| ()));
            }
            DriverCommand::Path(peer_id, reply) => {
                let _ = reply.send(self.with(|state| state.path(peer_id, now)));
            }
            #[cfg(test)]
            DriverCommand::Break(peer_id) => {
                self.with(|state| {
                    if let Some(peer) = state.peers.get_mut(&peer_id) {
                        peer.is_broken = true;
                    }
                });
            }
            #[cfg(test)]
            DriverCommand::Count(reply) => {
                let _ = reply.send(self.state.borrow().peers.len());
            }
            DriverCommand::Close(peer_id, reply) => {
                self.with(|state| state.close(peer_id, now));
                let _ = reply.send(());
            }
        }
    }
}

impl MediaHost for Shared {
    fn with_media(&self, peer_id: PeerId, what: &mut dyn FnMut(&mut MediaSender, &mut Net)) -> bool {
        self.state.borrow_mut().media(peer_id, what).is_some()
    }
}

impl PacketInbox for Shared {
    fn udp(&self, at: SocketAddr, from: SocketAddr, datagrams: &[u8], stride: usize) {
        self.with(|state| state.udp(at, from, datagrams, stride));
    }

    fn tcp_accepted(&self, accepted: Accepted) {
        self.with(|state| state.tcp_accepted(accepted));
    }

    fn tcp(&self, connection: TcpConnectionId, frame: &[u8]) {
        self.with(|state| state.tcp(connection, frame));
    }

    fn tcp_closed(&self, connection: TcpConnectionId) {
        self.with(|state| state.net.tcp.closed(connection));
    }

    fn relay(&self, relay: RelayId, datagram: &[u8]) {
        self.with(|state| state.relay(relay, datagram));
    }

    fn mdns(&self, from: SocketAddr, datagram: &[u8]) {
        self.with(|state| state.mdns(from, datagram));
    }
}

async fn serve(
    ice: Ice,
    listeners: Vec<std::net::TcpListener>,
    look_up: LookUp,
    mut commands: mpsc::Receiver<DriverCommand>,
    tasks: TaskGroup,
) {
    let tcp_port = ice.tcp_port;
    let shared = Shared::new(ice, look_up, tasks.clone());
    // The names of servers, before anybody comes.
    shared.with(|_| ());
    let inbox: Weak<dyn PacketInbox> = shared.me.clone();
    if let Some(port) = tcp_port
        && let Err(error) = tcp_port::accept(port, listeners, &inbox, &tasks)
    {
        tracing::error!(%error, "the TCP port of the media connections is of no use");
    }
    let timer = tasks.spawn_local("peer-timers", Rc::clone(&shared).timer());
    while let Some(command) = commands.recv().await {
        shared.command(command).await;
    }
    tasks.cancel();
    timer.abort();
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nothing_wakes_while_there_is_no_viewer() {
        let serving = async {
            let (tasks, (commands, queue)) = (TaskGroup::new(), mpsc::channel(COMMAND_QUEUE));
            let look_up: LookUp = Box::new(|_| Box::pin(std::future::pending()));
            tasks.spawn_local_finite(
                "driver",
                serve(Ice::default(), Vec::new(), look_up, queue, tasks.child()),
            );
            sleep(Duration::from_secs(1)).await;
            let before = tasks.polls();
            assert!(before.contains_key("peer-timers"), "{before:?}");
            sleep(Duration::from_mins(1)).await;
            assert_eq!(tasks.polls(), before);
            drop(commands);
        };
        LocalSet::new().run_until(serving).await;
    }
}
