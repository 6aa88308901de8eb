//! A link and a broker that is a few bytes of MQTT 5, or that never says a word.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant as PausedInstant, sleep, timeout};

use super::*;
use crate::signaling::broker_url::BrokerUrl;

const LIMIT: Duration = Duration::from_secs(5);

async fn listener() -> (TcpListener, BrokerUrl) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap()).parse().unwrap();
    (listener, url)
}

/// One packet: its first byte, its length on the wire, what follows the fixed header.
async fn packet(stream: &mut TcpStream) -> io::Result<(u8, usize, Vec<u8>)> {
    let first = stream.read_u8().await?;
    let (mut remaining, mut header) = (0, 1);
    for shift in [0, 7, 14, 21] {
        let byte = stream.read_u8().await?;
        header += 1;
        remaining |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut rest = vec![0; remaining];
    stream.read_exact(&mut rest).await?;
    Ok((first, header + remaining, rest))
}

/// Serves one connection of a client without subscriptions, and tells the length of each message.
async fn broker(listener: TcpListener, max_packet: u32, messages: mpsc::Sender<usize>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    while let Ok((first, bytes, rest)) = packet(&mut stream).await {
        let answer = match first >> 4 {
            // CONNACK with nothing but a maximum packet size.
            1 => [&[0x20, 8, 0, 0, 5, 0x27][..], &max_packet.to_be_bytes()].concat(),
            3 => {
                messages.send(bytes).await.unwrap();
                let id = 2 + usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                if first & 0b110 == 0 { Vec::new() } else { vec![0x40, 2, rest[id], rest[id + 1]] }
            }
            12 => vec![0xd0, 0],
            _ => return,
        };
        stream.write_all(&answer).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn closing_does_not_wait_for_a_connect_that_is_under_way() {
    // Connects, and then there is silence.
    let (listener, url) = listener().await;
    let tasks = TaskGroup::new();
    let (link, _events) = connect(LinkConfig::new(url, "device"), &tasks).unwrap();
    let (_stream, _) = listener.accept().await.unwrap();
    let began = PausedInstant::now();
    assert!(link.close(LIMIT).await, "there was nothing to be said");
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    assert_eq!(*tasks.ended_early().borrow(), None);
}

#[tokio::test]
async fn what_is_larger_than_the_broker_takes_is_left_out_to_the_byte() {
    const MAX: u32 = 300;
    let (listener, url) = listener().await;
    let (tell, mut told) = mpsc::channel(16);
    let serving = tokio::spawn(broker(listener, MAX, tell));
    let (link, mut events) = connect(LinkConfig::new(url, "device"), &TaskGroup::new()).unwrap();
    assert_eq!(events.recv().await, Some(LinkEvent::Connected));
    let correlation = Some(Bytes::from(vec![7; 200]));
    for (qos0, correlation) in
        [(false, correlation.clone()), (true, correlation), (false, None), (true, None)]
    {
        // The fixed header, the topic, the identifier, the properties.
        let properties = correlation.as_ref().map_or(1, |data| 2 + 3 + data.len());
        let around = 3 + 2 + 1 + if qos0 { 0 } else { 2 } + properties;
        let fits = MAX as usize - around;
        for payload in [fits + 1, fits] {
            let message = Outgoing::signal("t", vec![b'x'; payload]);
            assert!(link.publish(Outgoing { qos0, correlation: correlation.clone(), ..message }));
        }
        let bytes = timeout(LIMIT, told.recv()).await.expect("the one that fits arrives");
        assert_eq!(bytes, Some(MAX as usize), "{qos0}");
    }
    assert!(link.close(LIMIT).await);
    assert_eq!(events.recv().await, None, "it was the same connection all the time");
    serving.await.unwrap();
    assert_eq!(told.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn an_idle_link_wakes_for_its_pings_alone() {
    let (listener, url) = listener().await;
    let serving = tokio::spawn(broker(listener, 1000, mpsc::channel(1).0));
    let tasks = TaskGroup::new();
    let (link, mut events) = connect(LinkConfig::new(url, "device"), &tasks).unwrap();
    assert_eq!(events.recv().await, Some(LinkEvent::Connected));
    let polls = || tasks.polls().get("link").copied().unwrap_or_default();
    let before = polls();
    sleep(Duration::from_mins(1)).await;
    let woken = polls() - before;
    // Six pings: each goes out and is answered.
    assert!((6..=24).contains(&woken), "{woken} times in a minute");
    drop(link);
    serving.await.unwrap();
    assert_eq!(*tasks.ended_early().borrow(), None);
}

#[tokio::test]
async fn a_group_that_ends_takes_its_link_along() {
    let (listener, url) = listener().await;
    let serving = tokio::spawn(broker(listener, 1000, mpsc::channel(1).0));
    let tasks = TaskGroup::new();
    let (_link, mut events) = connect(LinkConfig::new(url, "device"), &tasks).unwrap();
    assert_eq!(events.recv().await, Some(LinkEvent::Connected));
    tasks.cancel();
    serving.await.unwrap();
    assert_eq!(events.recv().await, None);
    assert_eq!(*tasks.ended_early().borrow(), None);
}
