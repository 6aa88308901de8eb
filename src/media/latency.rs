//! A time that many pictures take, as two figures.

use serde::Serialize;

/// How long pictures take over a part of their way, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Half of the pictures were faster.
    #[serde(rename = "p50")]
    pub p50_ms: f64,
    /// 95 of 100 pictures were faster.
    #[serde(rename = "p95")]
    pub p95_ms: f64,
}

impl Latency {
    /// Of these times in microseconds; `None` if there are none.
    pub fn of(mut times_us: Vec<u32>) -> Option<Self> {
        times_us.sort_unstable();
        let last = times_us.len().checked_sub(1)?;
        let at_ms = |percent: usize| f64::from(times_us[(times_us.len() * percent / 100).min(last)]) / 1e3;
        Some(Self { p50_ms: at_ms(50), p95_ms: at_ms(95) })
    }
}
