//! The one thread that all viewers' packets go through.
//!
//! Each picture wakes every viewer's sender and driver. Spread over several threads, more time goes into waking these than
//! into the packets themselves; on one they run in a row. Offers, answers and everything else stay on the others.

use std::future::Future;
use std::io;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(in crate::peer) struct MediaThread {
    handle: Handle,
    /// Dropped with this, which ends the thread.
    _running: oneshot::Sender<()>,
}

impl MediaThread {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (running, dropped) = oneshot::channel::<()>();
        std::thread::Builder::new().name("porthole-peers".to_owned()).spawn(move || {
            // Only the drop is waited for; nothing is ever sent.
            let _ = runtime.block_on(dropped);
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, _running: running })
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// Spawns on `media` if there is such a thread, else where the caller runs.
pub(in crate::peer) fn spawn_on<F>(media: Option<&Handle>, future: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    match media {
        Some(media) => media.spawn(future),
        None => tokio::spawn(future),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_run_on_the_thread_and_end_with_it() {
        let media = MediaThread::start().unwrap();
        let (tell, told) = oneshot::channel();
        let name = || std::thread::current().name().map(str::to_owned);
        let task = spawn_on(Some(media.handle()), async move {
            tell.send(name()).unwrap();
            std::future::pending::<()>().await;
        });
        assert_eq!(told.await.unwrap().as_deref(), Some("porthole-peers"));
        drop(media);
        assert!(task.await.unwrap_err().is_cancelled());
    }
}
