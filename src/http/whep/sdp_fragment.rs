//! `application/trickle-ice-sdpfrag` (RFC 8840): what a player adds to its offer, and what it hears of a restart. Pure.

use crate::signaling::message::Candidate;

/// Candidates of one fragment; a session holds no more that wait.
pub const MAX_CANDIDATES: usize = 60;
/// Lengths that RFC 8839 section 5.4 allows a user name and a password.
const UFRAG_CHARS: std::ops::RangeInclusive<usize> = 4..=256;
const PWD_CHARS: std::ops::RangeInclusive<usize> = 22..=256;

/// What a fragment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SdpFragment {
    /// The ICE generation: its user name, and its password where that was given.
    pub ufrag: Option<String>,
    /// See `ufrag`.
    pub pwd: Option<String>,
    /// Candidates in their order; `None` for their end.
    pub candidates: Vec<Option<Candidate>>,
}

impl SdpFragment {
    /// Reads a fragment.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut fragment = Self::default();
        let (mut mid, mut ended) = (None, false);
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            if line.starts_with("m=") {
                mid = None;
            } else if let Some(attribute) = line.strip_prefix("a=") {
                match attribute.split_once(':').unwrap_or((attribute, "")) {
                    ("mid", value) => mid = Some(value.to_owned()),
                    ("ice-ufrag", value) => fragment.ufrag = Some(token(value, &UFRAG_CHARS, "ice-ufrag")?),
                    ("ice-pwd", value) => fragment.pwd = Some(token(value, &PWD_CHARS, "ice-pwd")?),
                    ("candidate", _) => fragment.add(attribute, mid.clone())?,
                    ("end-of-candidates", _) => ended = true,
                    // ice-options, group and whatever else belongs to the offer.
                    _ => {}
                }
            } else if line.as_bytes().get(1) != Some(&b'=') {
                return Err("this is no SDP fragment: its lines are `a=...` and `m=...`".to_owned());
            }
        }
        if ended {
            fragment.candidates.push(None);
        }
        if fragment.candidates.is_empty() && fragment.ufrag.is_none() {
            return Err("the fragment holds neither candidates nor `a=ice-ufrag`".to_owned());
        }
        for candidate in fragment.candidates.iter_mut().flatten() {
            candidate.username_fragment.clone_from(&fragment.ufrag);
        }
        Ok(fragment)
    }

    fn add(&mut self, attribute: &str, mid: Option<String>) -> Result<(), String> {
        if self.candidates.len() >= MAX_CANDIDATES {
            return Err(format!("the fragment holds more than {MAX_CANDIDATES} candidates"));
        }
        self.candidates.push(Some(Candidate {
            candidate: attribute.to_owned(),
            // Everything is bundled on the first section.
            sdp_mline_index: mid.is_none().then_some(0),
            sdp_mid: mid,
            username_fragment: None,
        }));
        Ok(())
    }

    /// The generation that this fragment begins, if it is another one than that of `offer`.
    ///
    /// # Errors
    /// Another user name came without a password.
    pub fn restarts(&self, offer: &str) -> Result<Option<(&str, &str)>, String> {
        let Some(ufrag) = self.ufrag.as_deref() else { return Ok(None) };
        if attribute(offer, "ice-ufrag") == Some(ufrag) {
            return Ok(None);
        }
        match self.pwd.as_deref() {
            Some(pwd) => Ok(Some((ufrag, pwd))),
            None => Err("`a=ice-ufrag` is not that of the offer, and `a=ice-pwd` is missing".to_owned()),
        }
    }
}

/// An ice-char string of RFC 8839 section 5.4.
fn token(value: &str, length: &std::ops::RangeInclusive<usize>, name: &str) -> Result<String, String> {
    let good = length.contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    if good { Ok(value.to_owned()) } else { Err(format!("`a={name}` is not what RFC 8839 allows")) }
}

/// The value of the first `a=name:` line.
fn attribute<'a>(sdp: &'a str, name: &str) -> Option<&'a str> {
    sdp.lines()
        .find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim_end)
}

/// `offer` as its player would make it for a new ICE generation: without the old one's candidates, its version one more.
pub fn restarted(offer: &str, ufrag: &str, pwd: &str) -> String {
    let mut lines = Vec::new();
    for line in offer.lines() {
        if line.starts_with("a=candidate:") || line.starts_with("a=end-of-candidates") {
            continue;
        }
        lines.push(if line.starts_with("a=ice-ufrag:") {
            format!("a=ice-ufrag:{ufrag}")
        } else if line.starts_with("a=ice-pwd:") {
            format!("a=ice-pwd:{pwd}")
        } else if line.starts_with("o=") {
            next_version(line)
        } else {
            line.to_owned()
        });
    }
    lines.join("\r\n") + "\r\n"
}

/// `o=<username> <sess-id> <sess-version> …` (RFC 8866 section 5.2) of the next version.
fn next_version(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    if let Some(version) = words.get_mut(2)
        && let Ok(number) = version.parse::<u64>()
    {
        *version = number.wrapping_add(1).to_string();
    }
    words.join(" ")
}

/// The part of `answer` that a player has to know of a new generation. Of our candidates the first: the player `whip-whep` of npm
/// puts a comma between several, which browsers refuse, and the others are found by our checks from them.
pub fn of_answer(answer: &str) -> String {
    const KEPT: [&str; 8] = [
        "m=",
        "a=mid:",
        "a=group:",
        "a=ice-options:",
        "a=ice-ufrag:",
        "a=ice-pwd:",
        "a=candidate:",
        "a=end-of-candidates",
    ];
    let (mut candidates, mut is_taken) = (0, true);
    let lines = answer.lines().filter(|line| KEPT.iter().any(|kept| line.starts_with(kept))).filter(|line| {
        // A section with port 0 has no generation.
        if line.starts_with("m=") {
            is_taken = line.split(' ').nth(1) != Some("0");
        }
        if !is_taken {
            return false;
        }
        candidates += usize::from(line.starts_with("a=candidate:"));
        candidates <= 1 || !line.starts_with("a=candidate:")
    });
    lines.flat_map(|line| [line, "\r\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 17 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 99\r\na=mid:0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
        a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\na=recvonly\r\n";
    const PWD: &str = "abcdefghijabcdefghij+/";

    #[test]
    fn candidates_know_section_and_generation() {
        let text = "a=ice-options:trickle ice2\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
            a=mid:0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:abcdefghijabcdefghij+/\r\n\
            a=candidate:1 1 udp 2122194687 192.0.2.1 61764 typ host\r\na=end-of-candidates\r\n";
        let fragment = SdpFragment::parse(text).unwrap();
        assert_eq!((fragment.ufrag.as_deref(), fragment.pwd.as_deref()), (Some("EsAw"), Some(PWD)));
        let [Some(candidate), None] = &fragment.candidates[..] else { panic!("{fragment:?}") };
        assert_eq!(candidate.candidate, "candidate:1 1 udp 2122194687 192.0.2.1 61764 typ host");
        assert_eq!(candidate.sdp_mid.as_deref(), Some("0"));
        assert_eq!(candidate.username_fragment.as_deref(), Some("EsAw"));
        let bare = SdpFragment::parse("a=candidate:1 1 udp 1 192.0.2.1 9 typ host").unwrap();
        assert_eq!(bare.candidates[0].as_ref().unwrap().sdp_mline_index, Some(0));
    }

    #[test]
    fn a_new_generation_is_told_from_the_old_one() {
        let fragment = |text: &str| SdpFragment::parse(text).unwrap();
        assert_eq!(fragment("a=ice-ufrag:abcd").restarts(OFFER), Ok(None));
        assert_eq!(fragment("a=end-of-candidates").restarts(OFFER), Ok(None));
        assert!(fragment("a=ice-ufrag:efgh").restarts(OFFER).is_err());
        let new = fragment(&format!("a=ice-ufrag:efgh\na=ice-pwd:{PWD}"));
        assert_eq!(new.restarts(OFFER), Ok(Some(("efgh", PWD))));
        let offer = restarted(OFFER, "efgh", PWD);
        assert!(offer.contains("o=- 17 3 IN") && offer.contains(&format!("a=ice-pwd:{PWD}\r\n")), "{offer}");
        assert!(
            !offer.contains("ufrag:abcd")
                && !offer.contains("candidate")
                && offer.ends_with("a=recvonly\r\n")
        );
        assert_eq!(new.restarts(&offer), Ok(None));
    }

    #[test]
    fn nonsense_is_refused() {
        let many = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n".repeat(MAX_CANDIDATES + 1);
        let long = format!("a=ice-ufrag:{}", "a".repeat(257));
        for text in
            ["", "hello", "{}", "a=x", "v=0\r\n", "a=ice-ufrag:abc", "a=ice-ufrag:ab cd", &many, &long]
        {
            assert!(SdpFragment::parse(text).is_err(), "{}", &text[..text.len().min(40)]);
        }
        assert!(SdpFragment::parse("a=ice-ufrag:abcd\r\na=ice-pwd:a\"b\r\n").is_err());
    }

    #[test]
    fn an_answer_is_cut_down_to_its_generation() {
        let several = OFFER.replace("a=end", "a=candidate:2 1 udp 1 192.0.2.2 9 typ host\r\na=end");
        assert_eq!(
            of_answer(&several),
            of_answer(OFFER),
            "one is enough, and all that some players can read"
        );
        let refused = "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:1\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n";
        assert_eq!(
            of_answer(&format!("{OFFER}{refused}")),
            of_answer(OFFER),
            "what is not taken is no part of it"
        );
        let fragment = of_answer(OFFER);
        assert_eq!(
            fragment,
            "a=group:BUNDLE 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 99\r\na=mid:0\r\na=ice-ufrag:abcd\r\n\
             a=ice-pwd:0123456789012345678901\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\n"
        );
    }
}
