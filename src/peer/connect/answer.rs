//! The answer as players should see it: with what the library leaves out. Pure.

use crate::peer::rtp::fec::Fec;
use crate::signaling::message::Candidate;

/// `sdp` with all candidates in its first living media section, the one that everything is bundled on.
pub(in crate::peer) fn with_candidates(sdp: &str, candidates: &[Candidate]) -> String {
    let is_new = |line: &String| !sdp.lines().any(|known| known == line);
    let lines = candidates.iter().map(line).filter(is_new).chain(["a=end-of-candidates".to_owned()]);
    with_lines(sdp, lines)
}

/// `sdp` with `candidates` instead of those that the library has written into some section, and without their end.
pub(in crate::peer) fn with_known_candidates(sdp: &str, candidates: &[Candidate]) -> String {
    let is_other =
        |line: &&str| !line.starts_with("a=candidate:") && line.trim_end() != "a=end-of-candidates";
    let others: String = sdp.lines().filter(is_other).flat_map(|line| [line, "\r\n"]).collect();
    with_lines(&others, candidates.iter().map(line))
}

/// `candidate` as an attribute.
fn line(candidate: &Candidate) -> String {
    format!("a={}", candidate.candidate.trim_start_matches("a="))
}

/// `sdp` with `lines` at the end of its first living media section.
fn with_lines(sdp: &str, lines: impl Iterator<Item = String>) -> String {
    let (session, mut sections) = parts(sdp);
    let living = sections.iter().position(|section| !is_rejected(section)).unwrap_or(0);
    if let Some(section) = sections.get_mut(living) {
        section.extend(lines.map(|line| line + "\r\n"));
    }
    session + &sections.concat()
}

/// `answer` with its first section alive, if that is bundled with others: rejecting it takes the connection of the others
/// away from browsers that bundle at most. It is inactive then, and nothing is sent in it.
pub(in crate::peer) fn with_first_section(offer: &str, answer: &str) -> String {
    try_first_section(offer, answer).unwrap_or_else(|| answer.to_owned())
}

fn try_first_section(offer: &str, answer: &str) -> Option<String> {
    let (offered_session, offered) = parts(offer);
    let (session, mut sections) = parts(answer);
    let (first, offered) = (sections.first().filter(|first| is_rejected(first))?, offered.first()?);
    let mid = attribute(first, "mid:")?;
    let bundle = |text: &str| attribute(text, "group:BUNDLE ").map(str::to_owned);
    let (group, accepted) = (bundle(&offered_session)?, bundle(&session)?);
    if group.split(' ').next() != Some(mid) {
        return None;
    }
    let living = sections.iter().find(|section| !is_rejected(section))?;
    let words: Vec<&str> = offered.lines().next()?.split(' ').collect();
    let [kind, _, protocol, format, ..] = words[..] else { return None };
    let mut lines = vec![format!("{kind} 9 {protocol} {format}"), "c=IN IP4 0.0.0.0".to_owned()];
    lines.push(format!("a=mid:{mid}"));
    for name in ["ice-ufrag:", "ice-pwd:", "setup:"] {
        lines.push(format!("a={name}{}", attribute(living, name)?));
    }
    lines.extend(["a=rtcp-mux".to_owned(), "a=inactive".to_owned()]);
    for name in [format!("rtpmap:{format} "), format!("fmtp:{format} ")] {
        lines.extend(attribute(offered, &name).map(|value| format!("a={name}{value}")));
    }
    let first = lines.join("\r\n") + "\r\n";
    let session =
        session.replace(&format!("a=group:BUNDLE {accepted}"), &format!("a=group:BUNDLE {mid} {accepted}"));
    *sections.first_mut()? = first;
    Some(session + &sections.concat())
}

/// `answer` with `fec` as the repairs of the stream `ssrc` (RFC 5956 section 4.3).
pub(in crate::peer) fn with_repairs(answer: &str, ssrc: u32, fec: Fec) -> String {
    /// Microseconds, as browsers offer it.
    const WINDOW: &str = "repair-window=10000000";
    let Fec { ssrc: fec_ssrc, payload_type } = fec;
    let (session, mut sections) = parts(answer);
    let own = sections.iter_mut().find_map(|section| {
        let name = attribute(section, &format!("ssrc:{ssrc} cname:"))?.to_owned();
        Some((section, name))
    });
    let Some((section, name)) = own else { return answer.to_owned() };
    let Some((media, rest)) = section.split_once("\r\n") else { return answer.to_owned() };
    *section = format!(
        "{media} {payload_type}\r\n{rest}a=rtpmap:{payload_type} flexfec-03/90000\r\n\
         a=rtcp-fb:{payload_type} transport-cc\r\na=fmtp:{payload_type} {WINDOW}\r\n\
         a=ssrc-group:FEC-FR {ssrc} {fec_ssrc}\r\na=ssrc:{fec_ssrc} cname:{name}\r\n"
    );
    session + &sections.concat()
}

/// What stands before the media sections, and each of them.
fn parts(sdp: &str) -> (String, Vec<String>) {
    let (mut session, mut sections) = (String::new(), Vec::<String>::new());
    for line in sdp.lines() {
        if line.starts_with("m=") {
            sections.push(String::new());
        }
        let part = sections.last_mut().unwrap_or(&mut session);
        part.push_str(line.trim_end_matches('\r'));
        part.push_str("\r\n");
    }
    (session, sections)
}

fn is_rejected(section: &str) -> bool {
    section.lines().next().is_some_and(|line| line.split(' ').nth(1) == Some("0"))
}

/// The value of the first attribute that begins like this.
fn attribute<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix("a=")?.strip_prefix(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_the_candidates_that_are_known_in_its_first_living_section() {
        let sdp = "v=0\r\nm=audio 0 x 0\r\na=candidate:1 1 udp 1 192.0.2.1 4 typ host\r\na=mid:0\r\n\
            m=video 9 x 1\r\na=mid:1\r\na=end-of-candidates\r\n";
        let known = [candidate("candidate:7 a"), candidate("candidate:8 b")];
        let told = with_known_candidates(sdp, &known);
        assert_eq!(
            told,
            "v=0\r\nm=audio 0 x 0\r\na=mid:0\r\nm=video 9 x 1\r\na=mid:1\r\na=candidate:7 a\r\na=candidate:8 b\r\n"
        );
        let full = with_candidates(&told, &[candidate("candidate:8 b"), candidate("candidate:9 c")]);
        assert_eq!(full, told + "a=candidate:9 c\r\na=end-of-candidates\r\n", "each of them once");
        assert_eq!(with_known_candidates(OFFER, &[]), OFFER);
    }

    const OFFER: &str = "v=0\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\na=mid:0\r\n\
        a=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n";
    const ANSWER: &str = "v=0\r\na=group:BUNDLE 1\r\nm=audio 0 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=setup:active\r\na=mid:1\r\na=ice-ufrag:abcd\r\na=ice-pwd:secret\r\n";

    fn candidate(text: &str) -> Candidate {
        let candidate = text.to_owned();
        Candidate { candidate, sdp_mid: None, sdp_mline_index: None, username_fragment: None }
    }

    #[test]
    fn a_full_answer_holds_the_candidates_in_its_first_section() {
        let sdp = "v=0\r\nm=video 9 X 99\r\na=mid:0\r\nm=audio 0 X 0\r\n";
        let full = with_candidates(sdp, &[candidate("candidate:1 a"), candidate("candidate:2 b")]);
        assert_eq!(
            full,
            "v=0\r\nm=video 9 X 99\r\na=mid:0\r\na=candidate:1 a\r\na=candidate:2 b\r\n\
             a=end-of-candidates\r\nm=audio 0 X 0\r\n"
        );
        let full = with_candidates("v=0\r\nm=video 9 X 99\r\n", &[]);
        assert_eq!(full, "v=0\r\nm=video 9 X 99\r\na=end-of-candidates\r\n");
        let full = with_candidates(ANSWER, &[]);
        assert!(
            full.ends_with("a=ice-pwd:secret\r\na=end-of-candidates\r\n"),
            "not in a rejected one: {full}"
        );
    }

    #[test]
    fn a_bundle_keeps_its_first_section() {
        let answer = with_first_section(OFFER, ANSWER);
        let audio = "v=0\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n\
            a=ice-ufrag:abcd\r\na=ice-pwd:secret\r\na=setup:active\r\na=rtcp-mux\r\na=inactive\r\n\
            a=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1\r\nm=video 9 ";
        assert!(answer.starts_with(audio), "{answer}");
        assert!(answer.ends_with("a=ice-pwd:secret\r\n"), "{answer}");
    }

    #[test]
    fn repairs_are_told_where_their_stream_is() {
        let answer =
            "v=0\r\nm=audio 0 X 0\r\nm=video 9 X 96 97\r\na=ssrc:7 cname:me\r\na=ssrc:7 label:video\r\n";
        let fec = Fec { ssrc: 8, payload_type: 49 };
        assert_eq!(
            with_repairs(answer, 7, fec),
            "v=0\r\nm=audio 0 X 0\r\nm=video 9 X 96 97 49\r\na=ssrc:7 cname:me\r\na=ssrc:7 label:video\r\n\
             a=rtpmap:49 flexfec-03/90000\r\na=rtcp-fb:49 transport-cc\r\na=fmtp:49 repair-window=10000000\r\n\
             a=ssrc-group:FEC-FR 7 8\r\na=ssrc:8 cname:me\r\n"
        );
        assert_eq!(with_repairs(answer, 9, fec), answer);
    }

    #[test]
    fn other_answers_stay_as_they_are() {
        let alone = "v=0\r\na=group:BUNDLE 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n";
        assert_eq!(with_first_section(OFFER, alone), alone);
        let unbundled = OFFER.replace("a=group:BUNDLE 0 1\r\n", "");
        assert_eq!(with_first_section(&unbundled, ANSWER), ANSWER);
        for text in ["", "v=0", "m=", "m=audio 0", "m=audio 0\r\na=mid:0\r\n"] {
            assert_eq!(with_first_section(OFFER, text), text);
            assert_eq!(with_first_section(text, ANSWER), ANSWER);
        }
    }
}
