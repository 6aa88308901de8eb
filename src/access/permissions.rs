//! What each right opens: topics of the built-in broker, commands, HTTP. The one table; whoever decides asks it. Pure.
//!
//! With a broker of one's own that broker's rules decide over topics, and `[dashboard] commands` over commands; offers and HTTP
//! are decided here in any case, and what viewers ask by their data channels.

use super::grant::{Right, Rights};

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege<'a> {
    /// To read the device's topic of this name at the built-in broker.
    Read(&'a str),
    /// To say something on `signal/<viewer>/up`, and to hear the answer; what it may be is decided anew.
    Signal,
    /// To write `set/<this>`.
    Set(&'a str),
    /// To write `do/<this>`.
    Do(&'a str),
    /// Live video, whichever way the offer came.
    Watch,
    /// To be heard at the device's speaker, by the session of such a grant.
    Talk,
    /// An answer at this path over HTTP.
    Http(&'a str),
    /// To learn who else watches, by name and address, wherever that is told.
    OtherViewers,
}

/// Of each list one right is needed. None: whoever has a grant.
type Needs = &'static [&'static [Right]];

const ANY: Needs = &[];
const VIEW: Needs = &[&[Right::View]];
const CONTROL: Needs = &[&[Right::Control]];
const TALK: Needs = &[&[Right::Talk]];
const SNAPSHOT: Needs = &[&[Right::Snapshot]];
/// How the device is, for who watches it and for who steers it.
const CONDITION: Needs = &[&[Right::View, Right::Control]];
/// A command whose outcome is a picture.
const COMMAND_PICTURE: Needs = &[&[Right::Control], &[Right::Snapshot]];

/// Topics that the device publishes and everybody may know of: who may read them.
const TOPICS: [(&str, Needs); 5] = [
    ("availability", ANY),
    ("info", ANY),
    ("state", CONDITION),
    // It tells of other viewers, as `Privilege::OtherViewers` has it.
    ("event", CONTROL),
    ("snapshot", SNAPSHOT),
];

/// Paths that are not for everybody. `/whep` is [`Privilege::Watch`].
const PATHS: [(&str, Needs); 3] =
    [("/api/state", CONDITION), ("/metrics", CONDITION), ("/snapshot.jpg", SNAPSHOT)];

/// Why a wish is refused: one of these rights is missing, or there is no such thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing(&'static [Right]);

impl Missing {
    /// The rights that would do, in words.
    pub fn words(self) -> String {
        let names: Vec<_> = self.0.iter().map(|right| right.as_str()).collect();
        if names.is_empty() { "what does not exist".to_owned() } else { names.join(" or ") }
    }
}

fn needs(wish: Privilege<'_>) -> Option<Needs> {
    let find = |table: &[(&str, Needs)], name: &str| {
        table.iter().find(|(known, _)| *known == name).map(|(_, needs)| *needs)
    };
    match wish {
        Privilege::Read(topic) => find(&TOPICS, topic),
        Privilege::Signal => Some(ANY),
        Privilege::Set("") | Privilege::Do("") => None,
        Privilege::Do("snapshot") => Some(COMMAND_PICTURE),
        Privilege::Set(_) | Privilege::Do(_) | Privilege::OtherViewers => Some(CONTROL),
        Privilege::Watch => Some(VIEW),
        Privilege::Talk => Some(TALK),
        Privilege::Http(path) => find(&PATHS, path),
    }
}

/// Whether who has `rights` may have his wish.
///
/// # Errors
/// The rights of which one is missing.
pub fn permit(rights: &Rights, wish: Privilege<'_>) -> Result<(), Missing> {
    let needs = needs(wish).ok_or(Missing(&[]))?;
    let missing = needs.iter().find(|one_of| !one_of.iter().any(|right| rights.allow(*right)));
    missing.map_or(Ok(()), |one_of| Err(Missing(one_of)))
}

/// The device's topics that this table knows.
pub fn topics() -> impl Iterator<Item = &'static str> {
    TOPICS.iter().map(|(topic, _)| *topic)
}

/// The paths over HTTP that this table knows, beside `/whep`.
pub fn paths() -> impl Iterator<Item = &'static str> {
    PATHS.iter().map(|(path, _)| *path)
}

/// Whether all topics that the device publishes for more than one reader may be read: a `+` stands for each of them.
pub fn may_read_all(rights: &Rights) -> bool {
    TOPICS.iter().all(|(topic, _)| permit(rights, Privilege::Read(topic)).is_ok())
}

/// Whether `rights` open every topic that `before` opened.
pub fn reads_as_much(rights: &Rights, before: &Rights) -> bool {
    let may = |rights: &Rights, topic| permit(rights, Privilege::Read(topic)).is_ok();
    TOPICS.iter().all(|(topic, _)| may(rights, topic) || !may(before, topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the rights `view`, `control`, `snapshot`, `talk`.
    type Judge = fn(bool, bool, bool, bool) -> bool;

    /// As docs/access.md has it: a line for each wish, and who may, of `v` view, `c` control, `s` snapshot, `t` talk.
    const EXPECTED: [(Privilege<'static>, Judge); 20] = [
        (Privilege::Read("availability"), |_, _, _, _| true),
        (Privilege::Read("info"), |_, _, _, _| true),
        (Privilege::Read("state"), |v, c, _, _| v || c),
        (Privilege::Read("event"), |_, c, _, _| c),
        (Privilege::Read("snapshot"), |_, _, s, _| s),
        (Privilege::Read("set"), |_, _, _, _| false),
        (Privilege::Read("signal"), |_, _, _, _| false),
        (Privilege::Signal, |_, _, _, _| true),
        (Privilege::Set("streaming"), |_, c, _, _| c),
        (Privilege::Set(""), |_, _, _, _| false),
        (Privilege::Do("keyframe"), |_, c, _, _| c),
        (Privilege::Do("snapshot"), |_, c, s, _| c && s),
        (Privilege::Watch, |v, _, _, _| v),
        (Privilege::Do("talk"), |_, c, _, _| c),
        (Privilege::Talk, |_, _, _, t| t),
        (Privilege::Http("/api/state"), |v, c, _, _| v || c),
        (Privilege::Http("/metrics"), |v, c, _, _| v || c),
        (Privilege::Http("/snapshot.jpg"), |_, _, s, _| s),
        (Privilege::Http("/other"), |_, _, _, _| false),
        (Privilege::OtherViewers, |_, c, _, _| c),
    ];

    #[test]
    fn every_right_opens_what_the_table_says_and_nothing_else() {
        for bits in 0_u8..16 {
            let (view, control, snapshot, talk) = (bits & 1 > 0, bits & 2 > 0, bits & 4 > 0, bits & 8 > 0);
            let named = [(view, "view"), (control, "control"), (snapshot, "snapshot"), (talk, "talk")];
            let words: Vec<_> = named.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect();
            let rights: Rights =
                if words.is_empty() { Rights::none() } else { words.join(",").parse().unwrap() };
            for (wish, may) in EXPECTED {
                assert_eq!(
                    permit(&rights, wish).is_ok(),
                    may(view, control, snapshot, talk),
                    "{rights}: {wish:?}"
                );
            }
            assert_eq!(may_read_all(&rights), control && snapshot);
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let words = |wish| permit(&"talk".parse().unwrap(), wish).unwrap_err().words();
        assert_eq!(words(Privilege::Http("/api/state")), "view or control");
        assert_eq!(words(Privilege::Do("snapshot")), "control");
    }
}
