//! What waits to be sent on one data channel: answers, all of them, and news, the newest of each kind. Pure.

use std::collections::VecDeque;

/// What a piece of news is about: a later one takes the place of one that still waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// How the session is doing.
    Stats,
    /// The camera's state.
    Camera,
    /// Who has the word.
    Talk,
    /// The value of the camera's control of this name.
    Control(String),
}

/// The messages that wait. Bounded: by the requests that may be unanswered, and by the kinds of news.
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    answers: VecDeque<String>,
    /// In the order in which they became news.
    news: Vec<(About, String)>,
}

impl SendQueue {
    pub fn answer(&mut self, text: String) {
        self.answers.push_back(text);
    }

    /// How many answers wait.
    pub fn answers(&self) -> usize {
        self.answers.len()
    }

    pub fn tell(&mut self, about: About, text: String) {
        match self.news.iter_mut().find(|(known, _)| *known == about) {
            Some((_, waiting)) => *waiting = text,
            None => self.news.push((about, text)),
        }
    }

    /// Answers first: somebody waits for them.
    pub fn next(&mut self) -> Option<String> {
        let news = |news: &mut Vec<(About, String)>| (!news.is_empty()).then(|| news.remove(0).1);
        self.answers.pop_front().or_else(|| news(&mut self.news))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_reader_gets_every_answer_and_the_newest_news() {
        let mut queue = SendQueue::default();
        let control = |name: &str| About::Control(name.to_owned());
        queue.tell(About::Stats, "stats 1".to_owned());
        queue.tell(control("focus"), "focus 1".to_owned());
        queue.answer("answer 1".to_owned());
        queue.tell(About::Camera, "camera".to_owned());
        queue.tell(About::Stats, "stats 2".to_owned());
        queue.tell(control("zoom"), "zoom".to_owned());
        queue.tell(control("focus"), "focus 2".to_owned());
        queue.answer("answer 2".to_owned());
        assert_eq!(queue.answers(), 2);
        let sent: Vec<_> = std::iter::from_fn(|| queue.next()).collect();
        assert_eq!(sent, ["answer 1", "answer 2", "stats 2", "focus 2", "camera", "zoom"]);
    }
}
