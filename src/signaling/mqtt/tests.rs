//! A client and a broker that is a few bytes of MQTT, or that never says a word.

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
    let (client, _events) = connect(MqttClientConfig::new(url, "device"), &tasks).unwrap();
    let (_stream, _) = listener.accept().await.unwrap();
    let began = PausedInstant::now();
    assert!(client.close(LIMIT).await, "there was nothing to be said");
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    assert_eq!(*tasks.ended_early().borrow(), None);
}

#[tokio::test]
async fn what_is_larger_than_the_broker_takes_is_left_out_to_the_byte() {
    const MAX: u32 = 300;
    let (listener, url) = listener().await;
    let (tell, mut told) = mpsc::channel(16);
    let serving = tokio::spawn(broker(listener, MAX, tell));
    let (client, mut events) = connect(MqttClientConfig::new(url, "device"), &TaskGroup::new()).unwrap();
    assert_eq!(events.recv().await, Some(MqttEvent::Connected));
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
            assert!(client.publish(Outgoing { qos0, correlation: correlation.clone(), ..message }));
        }
        let bytes = timeout(LIMIT, told.recv()).await.expect("the one that fits arrives");
        assert_eq!(bytes, Some(MAX as usize), "{qos0}");
    }
    assert!(client.close(LIMIT).await);
    assert_eq!(events.recv().await, None, "it was the same connection all the time");
    serving.await.unwrap();
    assert_eq!(told.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn an_idle_link_wakes_for_its_pings_alone() {
    // Each ping goes out and is answered.
    for (ping_every, expected) in [(PING_EVERY, 6..=24), (OWN_PING_EVERY, 2..=8)] {
        let (listener, url) = listener().await;
        let serving = tokio::spawn(broker(listener, 1000, mpsc::channel(1).0));
        let tasks = TaskGroup::new();
        let config = MqttClientConfig { ping_every, ..MqttClientConfig::new(url, "device") };
        let (client, mut events) = connect(config, &tasks).unwrap();
        assert_eq!(events.recv().await, Some(MqttEvent::Connected));
        let polls = || tasks.polls().get("mqtt").copied().unwrap_or_default();
        let before = polls();
        sleep(Duration::from_mins(1)).await;
        let woken = polls() - before;
        assert!(expected.contains(&woken), "{woken} times in a minute, with a ping each {ping_every:?}");
        drop(client);
        serving.await.unwrap();
        assert_eq!(*tasks.ended_early().borrow(), None);
    }
}

#[tokio::test]
async fn a_group_that_ends_takes_its_link_along() {
    let (listener, url) = listener().await;
    let serving = tokio::spawn(broker(listener, 1000, mpsc::channel(1).0));
    let tasks = TaskGroup::new();
    let (_client, mut events) = connect(MqttClientConfig::new(url, "device"), &tasks).unwrap();
    assert_eq!(events.recv().await, Some(MqttEvent::Connected));
    tasks.cancel();
    serving.await.unwrap();
    assert_eq!(events.recv().await, None);
    assert_eq!(*tasks.ended_early().borrow(), None);
}

/// The properties of a CONNACK, without their length.
const KEEP_ALIVE: u8 = 0x13;
const RECEIVE_MAXIMUM: u8 = 0x21;
const MAXIMUM_QOS: u8 = 0x24;
const RETAIN_AVAILABLE: u8 = 0x25;
const MAXIMUM_PACKET_SIZE: u8 = 0x27;

/// Serves connections one after another: greets with these properties, and tells the first byte of each packet.
async fn greets(listener: TcpListener, properties: Vec<u8>, packets: mpsc::Sender<u8>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        while let Ok((first, _, rest)) = packet(&mut stream).await {
            let _ = packets.try_send(first);
            let length = u8::try_from(properties.len()).unwrap();
            let answer = match first >> 4 {
                1 => [&[0x20, 3 + length, 0, 0, length][..], &properties].concat(),
                3 if first & 0b110 != 0 => {
                    let id = 2 + usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                    vec![0x40, 2, rest[id], rest[id + 1]]
                }
                // UNSUBACK: there was no such subscription.
                10 => vec![0xb0, 4, rest[0], rest[1], 0, 0x11],
                12 => vec![0xd0, 0],
                14 => break,
                _ => continue,
            };
            if stream.write_all(&answer).await.is_err() {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pings_keep_their_pause_whatever_the_broker_asks() {
    for seconds in [0_u16, 1, 65_535] {
        let (listener, url) = listener().await;
        let (tell, mut told) = mpsc::channel(10_000);
        let properties = [&[KEEP_ALIVE][..], &seconds.to_be_bytes()].concat();
        let serving = tokio::spawn(greets(listener, properties, tell));
        let (client, mut events) = connect(MqttClientConfig::new(url, "device"), &TaskGroup::new()).unwrap();
        assert_eq!(events.recv().await, Some(MqttEvent::Connected));
        sleep(Duration::from_mins(5)).await;
        let mut pings = 0;
        while let Ok(first) = told.try_recv() {
            // Where the library pings too seldom, another question is asked.
            pings += usize::from(matches!(first >> 4, 10 | 12));
        }
        let expected = if seconds == 1 { 250..=310 } else { 25..=35 };
        assert!(expected.contains(&pings), "{pings} pings in five minutes of a keep alive of {seconds}");
        assert!(events.try_recv().is_err(), "the connection was lost");
        drop(client);
        serving.abort();
    }
}

#[tokio::test]
async fn a_greeting_that_forbids_everything_is_said_in_words() {
    for (what, properties) in [
        ("receive maximum", vec![RECEIVE_MAXIMUM, 0, 0]),
        ("maximum packet size", vec![MAXIMUM_PACKET_SIZE, 0, 0, 0, 0]),
    ] {
        let (listener, url) = listener().await;
        let serving = tokio::spawn(greets(listener, properties, mpsc::channel(1).0));
        let (_client, mut events) = connect(MqttClientConfig::new(url, "device"), &TaskGroup::new()).unwrap();
        let event = timeout(LIMIT, events.recv()).await.expect("words, and no waiting");
        let Some(MqttEvent::Disconnected { reason }) = event else { panic!("{event:?}") };
        assert!(reason.contains(what) && reason.contains("of 0"), "{reason}");
        serving.abort();
    }
}

#[tokio::test]
async fn what_the_broker_does_not_do_is_not_asked_of_it() {
    let (listener, url) = listener().await;
    let (tell, mut told) = mpsc::channel(16);
    let properties = vec![MAXIMUM_QOS, 0, RETAIN_AVAILABLE, 0, RECEIVE_MAXIMUM, 0, 1];
    let serving = tokio::spawn(greets(listener, properties, tell));
    let (client, mut events) = connect(MqttClientConfig::new(url, "device"), &TaskGroup::new()).unwrap();
    assert_eq!(events.recv().await, Some(MqttEvent::Connected));
    assert_eq!(told.recv().await, Some(0x10));
    for _ in 0..3 {
        assert!(client.publish(Outgoing::retained("t", "x")));
        // Neither QoS 1 nor retained.
        assert_eq!(timeout(LIMIT, told.recv()).await.expect("a message"), Some(0x30));
    }
    serving.abort();
}

/// What a broker that knows MQTT 3.1.1 alone does with a CONNECT of version 5.
#[derive(Clone, Copy, Debug)]
enum Puzzled {
    Refuses,
    Talks(&'static [u8]),
    HangsUp,
}

/// Takes 3.1.1 and tells the versions that it was asked in.
async fn old_broker(listener: TcpListener, puzzled: Puzzled, levels: mpsc::Sender<u8>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        while let Ok((first, _, rest)) = packet(&mut stream).await {
            let answer = match first >> 4 {
                1 => {
                    let _ = levels.try_send(rest[6]);
                    match (rest[6], puzzled) {
                        (4, _) => vec![0x20, 2, 0, 0],
                        (_, Puzzled::Refuses) => vec![0x20, 2, 0, 1],
                        (_, Puzzled::Talks(text)) => text.to_vec(),
                        (_, Puzzled::HangsUp) => break,
                    }
                }
                // What is published comes back, as to a subscriber, without an identifier (QoS 0).
                3 => {
                    let id = 2 + usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                    let plain = [&rest[..id], &rest[id + 2..]].concat();
                    let length = u8::try_from(plain.len()).unwrap();
                    [&[0x40, 2, rest[id], rest[id + 1], 0x30, length][..], &plain].concat()
                }
                8 => vec![0x90, 3, rest[0], rest[1], 1],
                12 => vec![0xd0, 0],
                _ => break,
            };
            if stream.write_all(&answer).await.is_err() || matches!(answer.as_slice(), [0x20, 2, 0, 1]) {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_broker_without_mqtt_5_is_spoken_to_in_the_older_version_and_remembered() {
    for puzzled in [Puzzled::Refuses, Puzzled::Talks(&[0xd0, 0]), Puzzled::HangsUp] {
        let (listener, url) = listener().await;
        let address: std::net::SocketAddr = listener.local_addr().unwrap();
        let (tell, mut told) = mpsc::channel(64);
        let serving = tokio::spawn(old_broker(listener, puzzled, tell.clone()));
        let config =
            MqttClientConfig { subscriptions: vec!["t".into()], ..MqttClientConfig::new(url, "device") };
        let (client, mut events) = connect(config, &TaskGroup::new()).unwrap();
        let connected = async |events: &mut mpsc::Receiver<MqttEvent>| {
            while timeout(LIMIT, events.recv()).await.expect("an event") != Some(MqttEvent::Connected) {}
        };
        connected(&mut events).await;
        assert!(client.publish(Outgoing {
            correlation: Some(Bytes::from_static(b"x")),
            ..Outgoing::signal("t", "hello")
        }));
        let heard = timeout(LIMIT, events.recv()).await.expect("an echo");
        let hello = Incoming { topic: "t".into(), payload: "hello".into(), retain: false, answer_to: None };
        assert_eq!(heard, Some(MqttEvent::Message(hello)), "{puzzled:?}");
        let mut levels = Vec::new();
        while let Ok(level) = told.try_recv() {
            levels.push(level);
        }
        // The refusal of MQTT 3.1.1 is half a greeting of MQTT 5: like a broker that hangs up.
        let expected: &[u8] = if matches!(puzzled, Puzzled::Talks(_)) { &[5, 4] } else { &[5, 5, 4] };
        assert_eq!(levels, expected, "{puzzled:?}");
        // The broker restarts: it is not asked in MQTT 5 again.
        serving.abort();
        let _ = serving.await;
        let listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let serving = tokio::spawn(old_broker(listener, puzzled, tell));
        connected(&mut events).await;
        assert_eq!(told.recv().await, Some(4), "{puzzled:?}");
        assert!(client.close(LIMIT).await);
        serving.abort();
    }
}
