//! TCP connections from outside: nothing waits for company, and who reads nothing is let go of.

#![cfg_attr(room_lint, allow(clippy::disallowed_methods, reason = "here they are prepared"))]

use std::io;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpStream;

/// How long what was sent may lie unacknowledged or unread. Longer than Wi-Fi is away, and shorter than anybody waits.
const UNREAD_LIMIT: Duration = Duration::from_secs(20);
/// What the system keeps of answers that were not read yet; by itself it would let that grow to 4 MiB.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// The same of media: 8 Mbit/s over a path of 200 ms. More would only be shown later.
const MEDIA_BUFFER_BYTES: usize = 200 * 1024;

/// For questions and answers, which wait in the program.
///
/// # Errors
/// The connection is gone.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    prepare_with(stream, SEND_BUFFER_BYTES, UNREAD_LIMIT)
}

/// For media.
///
/// # Errors
/// The connection is gone.
pub fn prepare_for_media(stream: &TcpStream) -> io::Result<()> {
    prepare_with(stream, MEDIA_BUFFER_BYTES, UNREAD_LIMIT)
}

/// `unread_limit`: with a peer that stops reading, too (`TCP_USER_TIMEOUT` in tcp(7), RFC 5482), whatever keep-alive its
/// protocol agreed on.
fn prepare_with(stream: &TcpStream, send_buffer_bytes: usize, unread_limit: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_send_buffer_size(stream, send_buffer_bytes)?;
    sockopt::set_tcp_user_timeout(stream, u32::try_from(unread_limit.as_millis()).unwrap_or(u32::MAX))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    const PATIENCE: Duration = Duration::from_mins(1);

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.unwrap().0, client)
    }

    #[tokio::test]
    async fn who_stops_reading_is_let_go_of() {
        let (mut server, _client) = pair().await;
        prepare_with(&server, SEND_BUFFER_BYTES, Duration::from_millis(500)).unwrap();
        let much = vec![0; 65536];
        let write = async {
            loop {
                if let Err(error) = server.write_all(&much).await {
                    return error;
                }
            }
        };
        let error = timeout(PATIENCE, write).await.expect("it ends");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn little_waits_in_the_system_for_who_reads_nothing() {
        type Prepare = fn(&TcpStream) -> io::Result<()>;
        for (prepare, bytes) in
            [(prepare as Prepare, SEND_BUFFER_BYTES), (prepare_for_media, MEDIA_BUFFER_BYTES)]
        {
            let (server, _client) = pair().await;
            prepare(&server).unwrap();
            // The system counts its own book-keeping in.
            assert_eq!(sockopt::socket_send_buffer_size(&server).unwrap(), 2 * bytes);
            assert_eq!(u128::from(sockopt::tcp_user_timeout(&server).unwrap()), UNREAD_LIMIT.as_millis());
            assert!(server.nodelay().unwrap());
        }
    }
}
