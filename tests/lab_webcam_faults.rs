//! What a USB webcam does wrong, in the lab machine with its own `uvcvideo` (tests/lab/webcam): damaged pictures, nothing but noise,
//! pictures of another size, none at all, and clocks that lie. Whoever watches stays connected.

mod support;

use std::time::Duration;

use support::lab::{HOST, Lab, in_namespace};
use support::viewer::Dashboard;
use support::watcher::Watcher;
use support::webcam::{self, tell};

/// An hour is what the clocks lie by. The rest is the emulated machine's own pauses.
const MOST_CLOCK_ERROR: Duration = Duration::from_mins(1);

#[test]
#[ignore = "minutes of an emulated machine: `make test-long` runs it"]
fn whoever_watches_a_faulty_webcam_stays_connected() {
    if !in_namespace("whoever_watches_a_faulty_webcam_stays_connected") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut lab = Lab::installed();
        lab.must(&["webcam", "plug"]);
        // Times of the camera's own clock, which are what can lie; the driver's default is the time of arrival.
        lab.run("echo 1 >/sys/module/uvcvideo/parameters/hwtimestamps");
        lab.start_broker();
        let mut dashboard = Dashboard::open(HOST, 1883).await;
        let settings = webcam::settings("mjpeg").value("camera.fps", 15);
        webcam::start_with(&lab, &mut dashboard, &settings).await;
        damaged_pictures_restart_nothing(&lab, &mut dashboard).await;
        clocks_that_lie_do_not_stop_time(&lab, &mut dashboard).await;
        pictures_of_another_size_are_shown(&lab, &mut dashboard).await;
        words_are_shown_instead_of_nothing(&lab, &mut dashboard).await;
        webcam::log(&lab);
    });
}

/// A viewer who sees the camera.
async fn joined(dashboard: &mut Dashboard) -> Watcher {
    let viewer = Watcher::join("viewer").await;
    viewer.shows(2, "of the webcam").await;
    dashboard.new_state("the live webcam", |state| state["camera"]["state"] == "live").await;
    viewer
}

/// The same session to the end, and RTP time went forward as fast as time.
async fn over(dashboard: &mut Dashboard, viewer: Watcher, what: &str) {
    let figures = viewer.figures();
    assert_eq!(figures.backward, 0, "{what}: {figures:#?}");
    assert!(figures.clock_error < MOST_CLOCK_ERROR, "{what}: {figures:#?}");
    viewer.assert_well(what);
    eprintln!("{what}: the longest gap was {:.1?}, {} pictures", figures.longest_gap, figures.shown);
    viewer.leave().await;
    webcam::over(dashboard).await;
}

async fn damaged_pictures_restart_nothing(lab: &Lab, dashboard: &mut Dashboard) {
    let before = webcam::streams(lab);
    for fault in ["first-garbage on", "cut 10", "garbage 7"] {
        tell(lab, fault);
    }
    let viewer = joined(dashboard).await;
    viewer.shows(15, "between damaged ones").await;
    let log = webcam::log(lab);
    assert_eq!(webcam::streams(lab), before + 1, "a damaged picture started the camera again: {log}");
    assert!(!log.contains("→ error") && !log.contains("the pipeline failed"), "{log}");
    tell(lab, "well");
    over(dashboard, viewer, "damaged pictures").await;
}

/// Each lie comes to a viewer who is watching: the camera's own clock jumps and stands, and the clock that the driver stamps by is
/// turned back with the date.
async fn clocks_that_lie_do_not_stop_time(lab: &Lab, dashboard: &mut Dashboard) {
    const WELL: &str = "webcam well; printf monotonic >/sys/module/uvcvideo/parameters/clock";
    const BY_DATE: &str = "printf realtime >/sys/module/uvcvideo/parameters/clock";
    let before = webcam::streams(lab);
    let lies = [
        ("true", &["webcam clock -3600", "webcam clock -3605", "webcam clock run"][..], WELL),
        ("true", &["webcam clock still"][..], WELL),
        (BY_DATE, &["date -s '-1 hour'"][..], "date -s '+1 hour'"),
    ];
    for (first, lies, after) in lies {
        lab.run(first);
        let viewer = joined(dashboard).await;
        for lie in lies {
            lab.run(lie);
            viewer.shows(8, lie).await;
        }
        lab.run(after);
        lab.run(WELL);
        over(dashboard, viewer, &lies.join(", ")).await;
    }
    let log = webcam::log(lab);
    assert_eq!(webcam::streams(lab), before + 3, "a clock that lies started the camera again: {log}");
}

/// The driver says 640x480, and the pictures are 1280x720.
async fn pictures_of_another_size_are_shown(lab: &Lab, dashboard: &mut Dashboard) {
    tell(lab, "wrong-size on");
    let viewer = joined(dashboard).await;
    viewer.shows(5, "of another size").await;
    let log = webcam::log(lab);
    assert!(!log.contains("→ error"), "{log}");
    tell(lab, "well");
    over(dashboard, viewer, "another size").await;
}

/// None comes for as long as words need, and noise is no picture either. The camera is live again once it delivers.
async fn words_are_shown_instead_of_nothing(lab: &Lab, dashboard: &mut Dashboard) {
    for fault in ["stall 600", "garbage 1"] {
        let viewer = joined(dashboard).await;
        let words = words_shown(lab);
        tell(lab, fault);
        let failed = dashboard.camera("error").await;
        assert!(failed["camera"]["error"].as_str().is_some_and(|error| error.len() > 10), "{failed:#}");
        viewer.shows(2, "of words").await;
        assert!(words_shown(lab) > words, "{fault}: no words: {}", webcam::log(lab));
        tell(lab, "well");
        dashboard.camera("live").await;
        viewer.shows(3, "of the webcam again").await;
        over(dashboard, viewer, fault).await;
    }
}

/// How often words were shown, and not only that it starts.
fn words_shown(lab: &Lab) -> usize {
    let log = webcam::log(lab);
    log.lines()
        .filter(|line| line.contains("a placeholder is shown") && !line.contains("is starting"))
        .count()
}
