//! `porthole cameras`: the cameras of this machine and what they can deliver.

use std::process::ExitCode;

use super::process::fail;
use crate::base::text;
use crate::media::{CameraInfo, cameras};

#[derive(Debug, clap::Args)]
pub(super) struct CamerasArgs {
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CamerasArgs) -> ExitCode {
    let cameras = match cameras() {
        Ok(cameras) => cameras,
        Err(error) => return fail(&error),
    };
    if args.json {
        match serde_json::to_string_pretty(&cameras) {
            Ok(written) => println!("{}", text::json_text(&written)),
            Err(error) => return fail(&error),
        }
    } else if cameras.is_empty() {
        println!("No camera was found. Is it plugged in, and may this user open /dev/video*?");
        println!("(`ls -l /dev/video*` shows the group, usually video: `sudo usermod -aG video $USER`.)");
        println!("Without one, `camera.device = \"test\"` shows a test picture.");
    } else {
        for camera in &cameras {
            print(camera);
        }
    }
    ExitCode::SUCCESS
}

fn print(camera: &CameraInfo) {
    // A camera chooses its own name.
    let (card, driver) = (text::shown(&camera.card), text::shown(&camera.driver));
    println!("{card}  ({driver}, {})", text::shown(&camera.bus_info));
    println!("  device      {}", camera.path.display());
    if let Some(by_id) = &camera.by_id {
        println!("  stable      {}", by_id.display());
    } else if let Some(by_path) = &camera.by_path {
        println!("  stable      {}", by_path.display());
    }
    let mut last = String::new();
    for mode in &camera.modes {
        let heading = if mode.format == last { String::new() } else { mode.format.clone() };
        let rates: Vec<String> =
            mode.rates.iter().map(|rate| format!("{}", (rate.fps() * 100.0).round() / 100.0)).collect();
        let rates = if rates.is_empty() { String::new() } else { format!("{} fps", rates.join(", ")) };
        println!("  {heading:<12}{:>4}x{:<5}{rates}", mode.width, mode.height);
        last.clone_from(&mode.format);
    }
    println!();
}
