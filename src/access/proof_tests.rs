use serde_json::Value;

use super::*;

/// Made by another implementation; see tests/vectors/README.md.
fn vectors() -> Value {
    serde_json::from_str(include_str!("../../tests/vectors/access.json")).expect("JSON")
}

fn field<'a>(case: &'a Value, name: &str) -> &'a str {
    case[name].as_str().unwrap_or_else(|| panic!("{name} in {case}"))
}

fn list<'a>(vectors: &'a Value, name: &str) -> &'a Vec<Value> {
    vectors[name].as_array().unwrap_or_else(|| panic!("a list {name}"))
}

fn text_of(case: &Value) -> String {
    let id = |name| Id::new(field(case, name)).expect(name);
    let (device, viewer, session) = (id("device"), id("viewer"), id("session"));
    let parties = Parties { device: &device, viewer: &viewer, session: &session };
    let nonce = case["nonce"].as_str().map(|text| Nonce::parse(text).expect("a nonce"));
    match case["answerSdp"].as_str() {
        Some(answer) => answer_text(parties, nonce.as_ref(), field(case, "offerSdp"), answer),
        None => offer_text(parties, &nonce.expect("a nonce"), field(case, "offerSdp")),
    }
}

#[test]
fn seeds_give_keys_and_tokens() {
    let vectors = vectors();
    for case in list(&vectors, "keys") {
        let seed = Seed::parse(field(case, "seed")).expect("a seed");
        assert_eq!(KeyPair::of(&seed).unwrap().public().encode(), field(case, "key"));
        assert_eq!(seed.bearer(), field(case, "bearer"));
        assert_eq!(TokenHash::of(&seed.bearer()).encode(), field(case, "bearerSha256"));
    }
}

#[test]
fn the_vectors_are_judged_as_they_say() {
    let vectors = vectors();
    let (mut good, mut bad) = (0, 0);
    for case in list(&vectors, "offers").iter().chain(list(&vectors, "answers")) {
        let text = text_of(case);
        assert_eq!(text, field(case, "text"), "{}", case["name"]);
        let key = PublicKey::parse(field(case, "key")).expect("a key");
        let found =
            Signature::parse(field(case, "sig")).is_some_and(|signature| key.verify(&text, &signature));
        assert_eq!(Some(found), case["valid"].as_bool(), "{}", case["name"]);
        *if found { &mut good } else { &mut bad } += 1;
    }
    assert!(good >= 3 && bad >= 30, "{good} good, {bad} bad");
}

#[test]
fn signatures_are_those_of_the_vectors() {
    let vectors = vectors();
    let seeds: Vec<Seed> =
        list(&vectors, "keys").iter().map(|key| Seed::parse(field(key, "seed")).unwrap()).collect();
    let valid = list(&vectors, "offers").iter().chain(list(&vectors, "answers"));
    for case in valid.filter(|case| case["valid"] == true) {
        let keys = seeds.iter().filter_map(KeyPair::of);
        let mut keys = keys.filter(|key| key.public().encode() == field(case, "key"));
        let signature = keys.next().expect("its key").sign(field(case, "text"));
        assert_eq!(signature.encode(), field(case, "sig"), "{}", case["name"]);
    }
}

#[test]
fn decoding_is_strict() {
    let seed = Seed::parse("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert!(seed.is_some());
    for wrong in [
        "",
        "AAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB",
        "+AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        " AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        assert!(Seed::parse(wrong).is_none(), "{wrong:?}");
    }
}

#[test]
fn secrets_do_not_show() {
    let seed = Seed::random().unwrap();
    let key = KeyPair::of(&seed).unwrap();
    let shown = format!("{seed:?} {key:?}");
    assert!(!shown.contains(&seed.encode()), "{shown}");
    assert_ne!(Nonce::random().unwrap(), Nonce::random().unwrap());
}
