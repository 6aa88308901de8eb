//! Connections of viewers, and of others.

use tokio::task::LocalSet;

use super::super::demux::request;
use super::super::recorded_inbox::{Recorded, RecordedInbox};
use super::*;

/// A port that nobody has at the moment.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The first frame of a viewer of the session `ours`.
fn first_frame() -> Vec<u8> {
    let message = request(b"ours:theirs");
    let mut frame = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(&message);
    frame
}

async fn connect_from(host: [u8; 4], port: u16) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((host, 0).into()).unwrap();
    socket.connect(([127, 0, 0, 1], port).into()).await.unwrap()
}

async fn accepted(recorded: &RecordedInbox) -> Accepted {
    match recorded.next().await {
        Recorded::Accepted(accepted) => accepted,
        _ => panic!("something else came"),
    }
}

#[tokio::test]
async fn silent_connections_of_one_host_do_not_keep_others_out() {
    let all = async {
        let number = free_port();
        let (recorded, inbox) = RecordedInbox::new();
        accept(number, bind(number).unwrap(), &inbox, &TaskGroup::new()).unwrap();
        let mut silent = Vec::new();
        for _ in 0..2 * MAX_UNKNOWN {
            silent.push(connect_from([127, 0, 0, 2], number).await);
        }
        let mut viewer = connect_from([127, 0, 0, 3], number).await;
        viewer.write_all(&first_frame()).await.unwrap();
        assert_eq!(accepted(&recorded).await.peer, viewer.local_addr().unwrap());
        // Nor those of its own host: behind a proxy all are one.
        let mut other = connect_from([127, 0, 0, 2], number).await;
        other.write_all(&first_frame()).await.unwrap();
        assert_eq!(accepted(&recorded).await.peer, other.local_addr().unwrap());
        let (gone, newest) = silent.split_at_mut(2 * MAX_UNKNOWN - MAX_UNKNOWN_OF_HOST + 1);
        for stream in gone {
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0, "hung up on");
        }
        for stream in newest {
            let read = stream.try_read(&mut [0; 1]);
            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::WouldBlock, "still within its time");
        }
    };
    LocalSet::new().run_until(all).await;
}

#[tokio::test]
async fn a_connection_reaches_the_session_of_its_name() {
    let all = async {
        let number = free_port();
        let (recorded, inbox) = RecordedInbox::new();
        accept(number, bind(number).unwrap(), &inbox, &TaskGroup::new()).unwrap();
        let mut connections = TcpConnections::new(Some(number), inbox, TaskGroup::new());
        connections.add_ufrag(7, "ours");

        let mut stranger = TcpStream::connect(("127.0.0.1", number)).await.unwrap();
        stranger.write_all(b"\x00\x04oops").await.unwrap();
        assert_eq!(stranger.read(&mut [0; 8]).await.unwrap_or(0), 0, "a stranger is hung up on");

        let mut viewer = TcpStream::connect(("127.0.0.1", number)).await.unwrap();
        viewer.write_all(&[first_frame(), b"\x00\x03abc".to_vec()].concat()).await.unwrap();
        let first = accepted(&recorded).await;
        assert_eq!(first.first, request(b"ours:theirs"), "the first request is not lost");
        assert_eq!(
            (first.local, first.peer),
            (([127, 0, 0, 1], number).into(), viewer.local_addr().unwrap())
        );
        let (connection, peer_id) = connections.accepted(first).unwrap();
        assert_eq!((peer_id, connections.connection(7, viewer.local_addr().unwrap())), (7, Some(connection)));
        assert!(
            matches!(recorded.next().await, Recorded::Tcp(of, frame) if of == connection && frame == b"abc")
        );
        connections.send(connection, b"picture");
        let mut frame = [0; 9];
        viewer.read_exact(&mut frame).await.unwrap();
        assert_eq!(&frame, b"\x00\x07picture");

        connections.leave(7);
        assert_eq!(viewer.read(&mut frame).await.unwrap_or(0), 0, "the connection ends with its session");
        assert!(connections.connections.is_empty() && connections.ufrags.is_empty());
    };
    LocalSet::new().run_until(all).await;
}

/// A viewer that has come, and whose connection belongs to 7.
async fn joined() -> (Rc<RecordedInbox>, TcpConnections, TcpStream, TcpConnectionId) {
    let number = free_port();
    let (recorded, inbox) = RecordedInbox::new();
    accept(number, bind(number).unwrap(), &inbox, &TaskGroup::new()).unwrap();
    let mut connections = TcpConnections::new(Some(number), inbox, TaskGroup::new());
    connections.add_ufrag(7, "ours");
    let mut viewer = TcpStream::connect(("127.0.0.1", number)).await.unwrap();
    viewer.write_all(&first_frame()).await.unwrap();
    let (connection, _) = connections.accepted(accepted(&recorded).await).unwrap();
    (recorded, connections, viewer, connection)
}

#[tokio::test]
async fn what_a_viewer_does_not_read_is_bounded() {
    let all = async {
        let (recorded, connections, viewer, connection) = joined().await;
        for _ in 0..2 * MAX_OUTBOX_BYTES / 1000 {
            connections.send(connection, &[7; 1000]);
        }
        assert!(connections.is_waiting(connection));
        assert!(connections.connections[&connection].outbox.frames.borrow().len() <= MAX_OUTBOX_BYTES + 2);
        drop(viewer);
        assert!(matches!(recorded.next().await, Recorded::Closed(of) if of == connection));
    };
    LocalSet::new().run_until(all).await;
}

#[tokio::test]
async fn what_a_session_said_last_is_written_and_then_the_connection_ends() {
    let all = async {
        let (_recorded, mut connections, mut viewer, connection) = joined().await;
        // More than the system takes at once.
        let frames = MAX_OUTBOX_BYTES / 1002;
        for _ in 0..frames {
            connections.send(connection, &[7; 1000]);
        }
        connections.leave(7);
        assert!(connections.connections.is_empty());
        let mut read = Vec::new();
        viewer.read_to_end(&mut read).await.unwrap();
        assert_eq!(read.len(), frames * 1002);
    };
    LocalSet::new().run_until(all).await;
}

#[tokio::test(start_paused = true)]
async fn a_viewer_that_reads_nothing_keeps_no_ended_connection() {
    let all = async {
        let (_recorded, inbox) = RecordedInbox::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _viewer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let outbox = Rc::<Outbox>::default();
        let served = tokio::task::spawn_local(serve(1, stream, Rc::clone(&outbox), inbox));
        while !outbox.is_writing.get() {
            outbox.push(&vec![7; 60_000]);
            tokio::task::yield_now().await;
        }
        outbox.closing.notify_one();
        served.await.unwrap();
    };
    LocalSet::new().run_until(all).await;
}
