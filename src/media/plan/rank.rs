//! Which of a camera's modes to use: the one that needs least work at the wanted size and rate.
//!
//! A pure function over what the camera enumerated; nothing that is not listed is ever asked for,
//! because a fixed rate that the driver does not list fails to negotiate.

use crate::media::board::BoardClass;
use crate::media::capture::choice::FormatChoice;
use crate::media::capture::mode::{CameraMode, Handling, ModeChoice, Rate, handling, is_usable};
use crate::media::encode::choice::EncoderKind;

/// What the configuration and the board want of a camera.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Whether a person asked for this size: then the size counts before the rate.
    pub size_is_explicit: bool,
    /// Pictures per second.
    pub fps: u32,
    /// Which formats may be used.
    pub format: FormatChoice,
}

/// Size and rate when the configuration is silent: 1280x720 at 30 where a hardware encoder or a
/// strong processor carries it, 640x480 at 30 on a medium board, 640x480 at 15 on a weak one
/// (a single old ARM core spends about half of itself on that).
pub fn default_wish(board: BoardClass, encoder: EncoderKind) -> (u32, u32, u32) {
    match (board, encoder) {
        (_, EncoderKind::Hardware) | (BoardClass::Strong, _) => (1280, 720, 30),
        (BoardClass::Medium, _) => (640, 480, 30),
        (BoardClass::Weak, _) => (640, 480, 15),
    }
}

/// All usable modes, the best first. Empty when the camera has nothing that fits `wish.format`.
pub fn rank(modes: &[CameraMode], wish: &Wish) -> Vec<ModeChoice> {
    let mut choices: Vec<(Cost, ModeChoice)> = modes.iter().filter_map(|mode| assess(mode, wish)).collect();
    choices.sort_by_key(|choice| choice.0);
    choices.into_iter().map(|choice| choice.1).collect()
}

/// What a mode misses and costs; compared field by field, smaller is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    /// Distance from what is wanted: size first when a person chose it, else size and rate
    /// weighed against each other.
    miss: (u32, u32),
    work: u32,
    size_miss: u32,
    rate_excess: u32,
}

fn assess(mode: &CameraMode, wish: &Wish) -> Option<(Cost, ModeChoice)> {
    let handling = handling(&mode.format)?;
    let wanted = match &wish.format {
        FormatChoice::Auto => true,
        FormatChoice::Raw => matches!(handling, Handling::Raw(_)),
        // Drivers list motion JPEG as MJPG or as JPEG; both mean the same here.
        FormatChoice::Fourcc(fourcc) if fourcc == "MJPG" => handling == Handling::Jpeg,
        FormatChoice::Fourcc(fourcc) => *fourcc == mode.format,
    };
    if !wanted || !is_usable(mode) {
        return None;
    }
    let rate = best_rate(&mode.rates, wish.fps);
    let size_miss = off_by(mode.width, wish.width) + off_by(mode.height, wish.height);
    let shortfall = rate.map_or(0, |rate| shortfall(rate, wish.fps));
    let miss = if wish.size_is_explicit {
        (size_miss, shortfall)
    } else {
        (forgiven(handling, mode, size_miss) + 3 * shortfall, 0)
    };
    let rate_excess = rate.map_or(0, |rate| excess(rate, wish.fps));
    let cost = Cost { miss, work: work(handling), size_miss, rate_excess };
    let (width, height) = (mode.width, mode.height);
    Some((cost, ModeChoice { format: mode.format.clone(), handling, width, height, rate }))
}

/// When nobody chose a size, the camera's own H.264 is worth having at any common size: it costs
/// nothing but network.
fn forgiven(handling: Handling, mode: &CameraMode, size_miss: u32) -> u32 {
    let common = (640 * 360..=1920 * 1088).contains(&(mode.width.saturating_mul(mode.height)));
    if handling == Handling::PassThrough && common { 0 } else { size_miss }
}

/// Work on the processor for each picture, in rough order.
fn work(handling: Handling) -> u32 {
    match handling {
        Handling::PassThrough => 0,
        Handling::Raw("I420" | "NV12" | "YV12" | "NV21") => 1,
        Handling::Raw("YUY2" | "UYVY" | "YVYU") => 2,
        Handling::Raw(_) => 3,
        Handling::Jpeg => 4,
    }
}

/// Difference in thousandths of what is wanted.
fn off_by(is: u32, wanted: u32) -> u32 {
    let miss = u64::from(is.abs_diff(wanted)) * 1000 / u64::from(wanted.max(1));
    u32::try_from(miss).unwrap_or(u32::MAX).min(1_000_000)
}

/// How far a rate stays below the wanted one, in thousandths. A tenth less (29.97, 27.5) is as
/// good as reached.
fn shortfall(rate: Rate, wanted_fps: u32) -> u32 {
    let wanted = f64::from(wanted_fps);
    let missing = ((wanted - rate.fps()) / wanted.max(1.0)).max(0.0);
    if missing <= 0.1 { 0 } else { to_thousandths(missing) }
}

fn excess(rate: Rate, wanted_fps: u32) -> u32 {
    to_thousandths((rate.fps() / f64::from(wanted_fps.max(1)) - 1.0).abs())
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounded just before
fn to_thousandths(value: f64) -> u32 {
    (value * 1000.0).clamp(0.0, 1_000_000.0).round() as u32
}

fn best_rate(rates: &[Rate], wanted_fps: u32) -> Option<Rate> {
    let valid = rates.iter().copied().filter(|rate| rate.num > 0 && rate.den > 0);
    valid.min_by_key(|&rate| (shortfall(rate, wanted_fps), excess(rate, wanted_fps)))
}

#[cfg(test)]
#[path = "rank_tests.rs"]
mod tests;
