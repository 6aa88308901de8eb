//! What is to be written into which file, and when. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::base::durable_file::DurableFile;

/// Least time between two writes of one file: cards wear out.
pub(super) const GAP: Duration = Duration::from_secs(1);
/// A card that takes nothing is not asked every second, unless somebody wants something of it.
pub(super) const AFTER_FAILURE: Duration = Duration::from_mins(1);
/// Of one file, who may wait to hear that it is kept.
const MAX_WAITERS: usize = 256;

/// Why something may be gone after a restart. In words for whoever asked for it: it is in force all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaveError {
    /// The system refused.
    #[error("done, but a restart will forget it: the state directory cannot be written: {0}")]
    Refused(String),
    /// The card stalls.
    #[error("done, but a restart may forget it: the state directory is very slow")]
    Slow,
    /// More waits than there is room for.
    #[error("done, but a restart may forget it: too much waits to be written")]
    Full,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Not more often than cards like it; tried again until it succeeds.
    Usual,
    /// The same without delay: the privacy switch turned off. Where there is no room for it, an empty file has to do.
    AtOnce,
    /// Not more often than cards like it; tried once. For what may not come later over what somebody wrote meanwhile.
    Once,
}

/// What a file holds; `None`: it is not there.
pub(super) type Content = Option<String>;

/// All files that were written or read. They are a handful, named by the program.
pub(super) struct Slots<W>(BTreeMap<DurableFile, Slot<W>>);

/// One file.
struct Slot<W> {
    /// What is known to be in it.
    on_disk: Option<Content>,
    /// What is to be in it, where that is not being written yet.
    wanted: Option<Wanted<W>>,
    /// What is being written, how, and who waits for that.
    writing: Option<(Content, Manner, Vec<W>)>,
    /// When the last write ended.
    ended_at: Option<Instant>,
}

struct Wanted<W> {
    content: Content,
    manner: Manner,
    due: Instant,
    waiters: Vec<W>,
}

impl<W> Default for Slots<W> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<W> Default for Slot<W> {
    fn default() -> Self {
        Self { on_disk: None, wanted: None, writing: None, ended_at: None }
    }
}

impl<W> Slot<W> {
    fn want(
        &mut self,
        now: Instant,
        content: Content,
        manner: Manner,
        waiter: W,
    ) -> Vec<(W, Result<(), SaveError>)> {
        let before = self.wanted.take();
        let (mut waiters, earlier) =
            before.map_or((Vec::new(), None), |before| (before.waiters, Some(before.due)));
        if waiters.len() >= MAX_WAITERS {
            // The value counts all the same.
            self.wanted = Some(Wanted { content, manner, due: earlier.unwrap_or(now), waiters });
            return vec![(waiter, Err(SaveError::Full))];
        }
        waiters.push(waiter);
        match &mut self.writing {
            // What is on its way to the card is what is wanted.
            Some((on_its_way, _, told_with_it)) if *on_its_way == content => {
                told_with_it.append(&mut waiters);
                return Vec::new();
            }
            None if self.on_disk.as_ref() == Some(&content) => {
                return waiters.into_iter().map(|waiter| (waiter, Ok(()))).collect();
            }
            _ => {}
        }
        let soon = match manner {
            Manner::AtOnce => now,
            Manner::Usual | Manner::Once => self.ended_at.map_or(now, |ended| now.max(ended + GAP)),
        };
        let due = earlier.map_or(soon, |earlier| earlier.min(soon));
        self.wanted = Some(Wanted { content, manner, due, waiters });
        Vec::new()
    }

    fn written(&mut self, now: Instant, is_kept: bool) -> Vec<W> {
        let Some((content, manner, waiters)) = self.writing.take() else { return Vec::new() };
        self.ended_at = Some(now);
        if is_kept {
            self.on_disk = Some(content);
            return waiters;
        }
        // The new name may be there, but not for good.
        self.on_disk = None;
        if self.wanted.is_none() && manner != Manner::Once {
            let due = now + AFTER_FAILURE;
            self.wanted = Some(Wanted { content, manner, due, waiters: Vec::new() });
        }
        waiters
    }
}

impl<W> Slots<W> {
    /// `file` is to hold `content`. Gives those who can be answered at once.
    pub fn want(
        &mut self,
        now: Instant,
        file: DurableFile,
        content: Content,
        manner: Manner,
        waiter: W,
    ) -> Vec<(W, Result<(), SaveError>)> {
        self.0.entry(file).or_default().want(now, content, manner, waiter)
    }

    /// When [`Self::take_due`] will give something, if nothing is being written.
    pub fn due(&self) -> Option<Instant> {
        self.0.values().filter_map(|slot| slot.wanted.as_ref()).map(|wanted| wanted.due).min()
    }

    /// What to write now; [`Self::written`] follows.
    pub fn take_due(&mut self, now: Instant) -> Option<(DurableFile, Content)> {
        let due = |slot: &Slot<W>| slot.wanted.as_ref().is_some_and(|wanted| wanted.due <= now);
        let (file, slot) = self.0.iter_mut().find(|(_, slot)| due(slot))?;
        let Wanted { content, manner, waiters, .. } = slot.wanted.take()?;
        slot.writing = Some((content.clone(), manner, waiters));
        Some((file.clone(), content))
    }

    /// Whether what is being written into `file` may become an empty file.
    pub fn writes_at_once(&self, file: &DurableFile) -> bool {
        let writing = self.0.get(file).and_then(|slot| slot.writing.as_ref());
        writing.is_some_and(|(_, manner, _)| *manner == Manner::AtOnce)
    }

    /// The write has ended. Gives those who waited for it.
    pub fn written(&mut self, now: Instant, file: &DurableFile, is_kept: bool) -> Vec<W> {
        self.0.get_mut(file).map_or_else(Vec::new, |slot| slot.written(now, is_kept))
    }

    /// It was read. Tells whether something else is still to be written into it.
    pub fn found(&mut self, file: &DurableFile, content: Option<&Content>) -> bool {
        let Some(slot) = self.0.get_mut(file) else { return false };
        slot.on_disk = content.cloned();
        slot.wanted.is_some() || slot.writing.is_some()
    }

    /// What is to be written into `file` is due now.
    pub fn hurry(&mut self, now: Instant, file: &DurableFile) {
        if let Some(wanted) = self.0.get_mut(file).and_then(|slot| slot.wanted.as_mut()) {
            wanted.due = wanted.due.min(now);
        }
    }

    /// All that is to be written is due now.
    pub fn hurry_all(&mut self, now: Instant) {
        for wanted in self.0.values_mut().filter_map(|slot| slot.wanted.as_mut()) {
            wanted.due = wanted.due.min(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn file() -> DurableFile {
        DurableFile::new(Path::new("/state"), "settings.json")
    }

    fn text(value: u32) -> Content {
        Content::from(value.to_string())
    }

    /// Wants `value`; the waiter is the value itself.
    fn want(slots: &mut Slots<u32>, now: Instant, value: u32, manner: Manner) -> Vec<u32> {
        let answers = slots.want(now, file(), text(value), manner, value);
        answers.into_iter().map(|(waiter, result)| result.map(|()| waiter).unwrap()).collect()
    }

    /// Writes what is due at `now`.
    fn write(slots: &mut Slots<u32>, now: Instant, is_kept: bool) -> (Content, Vec<u32>) {
        let (file, content) = slots.take_due(now).expect("something is due");
        (content, slots.written(now, &file, is_kept))
    }

    #[test]
    fn the_first_value_goes_at_once_and_a_slider_once_a_second() {
        let (mut slots, start) = (Slots::default(), Instant::now());
        assert_eq!(slots.due(), None);
        let mut written = Vec::new();
        let mut heard = Vec::new();
        for tenth in 0..30 {
            let now = start + Duration::from_millis(100) * tenth;
            heard.extend(want(&mut slots, now, tenth, Manner::Usual));
            if let Some((file, content)) = slots.take_due(now) {
                written.push(content);
                heard.extend(slots.written(now, &file, true));
            }
        }
        assert_eq!(written, [text(0), text(10), text(20)], "of ten values a second one is written");
        assert_eq!(heard, (0..=20).collect::<Vec<_>>(), "and each is answered by the write after it");
        assert_eq!(slots.due(), Some(start + Duration::from_secs(3)));
    }

    #[test]
    fn what_is_kept_already_is_not_written_again() {
        let (mut slots, start) = (Slots::default(), Instant::now());
        want(&mut slots, start, 1, Manner::Usual);
        write(&mut slots, start, true);
        assert_eq!(want(&mut slots, start, 1, Manner::Usual), [1]);
        // There and back again before it was written.
        assert!(want(&mut slots, start, 2, Manner::Usual).is_empty());
        assert_eq!(want(&mut slots, start, 1, Manner::Usual), [2, 1]);
        assert_eq!(slots.due(), None);
        // Somebody else has written it.
        assert!(!slots.found(&file(), Some(&text(7))));
        assert!(want(&mut slots, start + GAP, 1, Manner::Usual).is_empty());
        assert_eq!(write(&mut slots, start + GAP, true), (text(1), vec![1]));
    }

    #[test]
    fn values_that_come_during_a_write_follow_it() {
        let (mut slots, start) = (Slots::default(), Instant::now());
        want(&mut slots, start, 1, Manner::Usual);
        let (file, _) = slots.take_due(start).unwrap();
        assert!(want(&mut slots, start, 2, Manner::Usual).is_empty());
        assert!(want(&mut slots, start, 1, Manner::Usual).is_empty(), "it is on its way");
        let later = start + GAP * 5;
        assert_eq!(slots.written(later, &file, true), [1, 2, 1]);
        assert_eq!(slots.due(), None);
    }

    #[test]
    fn a_failed_write_is_tried_again_whatever_it_was() {
        let (mut slots, start) = (Slots::default(), Instant::now());
        let empty: Content = Some("{}".into());
        slots.want(start, file(), empty.clone(), Manner::Usual, 1);
        assert_eq!(write(&mut slots, start, false), (empty.clone(), vec![1]), "whoever asked hears of it");
        assert_eq!(slots.due(), Some(start + AFTER_FAILURE));
        assert!(slots.found(&file(), Some(&text(3))), "the file is not what it should be");
        // Somebody wants something: it is tried sooner.
        slots.want(start + GAP, file(), empty.clone(), Manner::Usual, 2);
        assert_eq!(write(&mut slots, start + GAP, false), (empty.clone(), vec![2]));
        assert_eq!(write(&mut slots, start + GAP + AFTER_FAILURE, true), (empty, vec![]));
        assert_eq!(slots.due(), None);
    }

    #[test]
    fn privacy_does_not_wait_and_its_end_is_not_tried_twice() {
        let (mut slots, start) = (Slots::default(), Instant::now());
        want(&mut slots, start, 1, Manner::Once);
        write(&mut slots, start, true);
        want(&mut slots, start, 0, Manner::AtOnce);
        assert_eq!(write(&mut slots, start, true), (text(0), vec![0]));
        want(&mut slots, start, 1, Manner::Once);
        assert_eq!(slots.due(), Some(start + GAP));
        slots.hurry(start, &file());
        assert_eq!(write(&mut slots, start, false), (text(1), vec![1]));
        assert_eq!(slots.due(), None, "somebody may turn it off by hand meanwhile");
    }

    #[test]
    fn those_who_wait_are_bounded_and_the_value_counts_all_the_same() {
        let (mut slots, start) = (Slots::default(), Instant::now());
        want(&mut slots, start, 0, Manner::Usual);
        write(&mut slots, start, true);
        for value in 1..=u32::try_from(MAX_WAITERS).unwrap() {
            assert!(want(&mut slots, start, value, Manner::Usual).is_empty());
        }
        let answers = slots.want(start, file(), text(9999), Manner::Usual, 9999);
        assert_eq!(answers, [(9999, Err(SaveError::Full))]);
        let (content, heard) = write(&mut slots, start + GAP, true);
        assert_eq!((content, heard.len()), (text(9999), MAX_WAITERS));
    }
}
