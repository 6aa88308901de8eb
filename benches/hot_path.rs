//! What runs for every picture and every message: fan-out, packetising, message parsing.

#![allow(missing_docs)] // of what the macros make

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use porthole::peer::offer::VideoOffer;
use porthole::peer::packetize;
use porthole::signaling::message::Up;
use porthole::stream::{AccessUnit, Fanout, Rendition};

/// A picture of 2 Mbit/s at 30 fps.
const UNIT_BYTES: usize = 2_000_000 / 8 / 30;
/// A real offer of Chromium's, as the tests use it.
const OFFER: &str = include_str!("../tests/support/chromium-offer.sdp");

fn unit(key_frame: bool) -> AccessUnit {
    let mut data = vec![0, 0, 0, 1, if key_frame { 0x65 } else { 0x41 }];
    // No byte pair that could be taken for a start code.
    data.extend((0..UNIT_BYTES).map(|n| u8::try_from(n % 200 + 3).unwrap_or(3)));
    let now = Instant::now();
    AccessUnit::new(data.into(), Duration::ZERO, now, now, key_frame)
}

fn fan_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fan-out: publish one picture");
    for viewers in [1, 10, 100] {
        let fanout = Fanout::default();
        let _subscriptions: Vec<_> = (0..viewers).map(|_| fanout.subscribe()).collect();
        // Key frames, so that full rings are emptied and filled again as with a slow viewer.
        let unit = unit(true);
        group.throughput(Throughput::Elements(viewers));
        group.bench_function(format!("{viewers} viewers"), |bencher| {
            bencher.iter(|| fanout.publish_to(Rendition::Full, black_box(&unit)));
        });
    }
    group.finish();
}

fn packetising(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("packetise one picture of 2 Mbit/s at 30 fps");
    group.throughput(Throughput::Bytes(UNIT_BYTES as u64));
    group.bench_function("first viewer", |bencher| {
        bencher.iter_batched(|| unit(false), |unit| packetize(&unit).len(), BatchSize::SmallInput);
    });
    let shared = unit(false);
    packetize(&shared);
    group.bench_function("every further viewer", |bencher| {
        bencher.iter(|| packetize(black_box(&shared)).len());
    });
    group.finish();
}

fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("messages");
    let offer = serde_json::json!({ "type": "offer", "sdp": OFFER }).to_string();
    group.throughput(Throughput::Bytes(offer.len() as u64));
    group.bench_function("parse an offer", |bencher| {
        bencher.iter(|| Up::parse(black_box(offer.as_bytes())).is_ok());
    });
    let stream = porthole::media::ProfileLevelId { profile_idc: 0x42, profile_iop: 0xe0, level_idc: 0x1f };
    group.bench_function("read its SDP", |bencher| {
        bencher.iter(|| VideoOffer::read(black_box(OFFER)).and_then(|offer| offer.codec(stream)).is_ok());
    });
    group.bench_function("refuse 64 KiB of nonsense", |bencher| {
        let nonsense = vec![b'['; 64 * 1024];
        bencher.iter(|| Up::parse(black_box(&nonsense)).is_err());
    });
    group.finish();
}

criterion_group!(benches, fan_out, packetising, messages);
criterion_main!(benches);
