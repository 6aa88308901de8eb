use std::path::Path;

use super::*;

fn file(dir: &Path) -> DurableFile {
    DurableFile::new(dir, "file")
}

#[tokio::test(start_paused = true)]
async fn ok_means_kept_and_a_slider_costs_one_write_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let (tasks, file) = (TaskGroup::new(), file(dir.path()));
    let persist = Persist::start(&tasks);
    let begin = tokio::time::Instant::now();
    persist.save(&file, "0".into(), Manner::Usual).outcome().await.unwrap();
    assert!(begin.elapsed() < Duration::from_millis(100), "the first is written at once");
    let first = persist.save(&file, "1".into(), Manner::Usual);
    let last = persist.save(&file, "2".into(), Manner::Usual);
    assert_eq!(file.load().unwrap().as_deref(), Some("0"));
    first.outcome().await.unwrap();
    assert_eq!(file.load().unwrap().as_deref(), Some("2"), "it waited for a write that contains it");
    last.outcome().await.unwrap();
    assert!((Duration::from_millis(900)..Duration::from_secs(2)).contains(&begin.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn nothing_wakes_it_when_nothing_is_due() {
    let dir = tempfile::tempdir().unwrap();
    let (tasks, file) = (TaskGroup::new(), file(dir.path()));
    let persist = Persist::start(&tasks);
    persist.save(&file, "0".into(), Manner::Usual).outcome().await.unwrap();
    // One that waits for its turn, and then nothing.
    persist.save(&file, "1".into(), Manner::Usual).outcome().await.unwrap();
    let before = tasks.polls()["persist"];
    assert!(before < 30, "polled {before} times for two writes");
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(tasks.polls()["persist"], before);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_written_is_tried_again_and_whoever_asked_hears_why() {
    let dir = tempfile::tempdir().unwrap();
    let (tasks, file) = (TaskGroup::new(), file(dir.path()));
    let persist = Persist::start(&tasks);
    let blocker = dir.path().join("file.new");
    std::fs::create_dir(&blocker).unwrap();
    let refused = persist.save(&file, "1".into(), Manner::Usual).outcome().await.unwrap_err();
    assert!(refused.to_string().starts_with("done, but a restart will forget it"), "{refused}");
    std::fs::remove_dir(&blocker).unwrap();
    tokio::time::sleep(slots::AFTER_FAILURE * 2).await;
    assert_eq!(file.load().unwrap().as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn the_end_and_a_flush_write_what_still_waits() {
    let dir = tempfile::tempdir().unwrap();
    let (tasks, file) = (TaskGroup::new(), file(dir.path()));
    let persist = Persist::start(&tasks);
    for (text, ends) in [("1", false), ("2", true)] {
        persist.save(&file, "0".into(), Manner::Usual).outcome().await.unwrap();
        let saving = persist.save(&file, text.into(), Manner::Usual);
        if ends {
            assert!(tasks.close(Duration::from_secs(5)).await.is_empty());
        } else {
            persist.flush().await;
        }
        saving.outcome().await.unwrap();
        assert_eq!(file.load().unwrap().as_deref(), Some(text));
    }
    assert!(persist.save(&file, "3".into(), Manner::Usual).outcome().await.is_err());
    assert_eq!(*tasks.ended_early().borrow(), None);
}
