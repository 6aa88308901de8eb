"""Signatures by the vectors of every implementation, and messages from outside."""

import json

import pytest
from porthole_pure import protocol
from porthole_pure.link import Link
from porthole_pure.protocol import Answer, Bye, Candidate, CandidateMessage, Parties, Refusal, Trust


def parties(case):
    return Parties(case["device"], case["viewer"], case["session"])


def test_offers_are_signed_as_the_vectors_say(vectors):
    secret = vectors["keys"][1]["seed"]
    assert len(vectors["offers"]) > 10
    for case in vectors["offers"]:
        text = protocol.offer_text(parties(case), case["nonce"], case["offerSdp"])
        assert text.decode() == case["text"], case["name"]
        assert protocol.is_signed(case["key"], text, case["sig"]) is case["valid"], case["name"]
        if case["valid"]:
            assert protocol.sign(secret, text) == case["sig"]


def test_answers_are_judged_as_the_vectors_say(vectors):
    key = vectors["keys"][0]["key"]
    assert len(vectors["answers"]) > 10
    for case in vectors["answers"]:
        text = protocol.answer_text(parties(case), case["nonce"] or "", case["offerSdp"], case["answerSdp"])
        assert text.decode() == case["text"], case["name"]
        answer = Answer(case["session"], case["answerSdp"], (case["key"], case["sig"]))
        trust = protocol.judge(key, parties(case), case["nonce"] or "", case["offerSdp"], answer)
        assert (trust is Trust.VERIFIED) is case["valid"], case["name"]


def test_tokens_are_those_of_the_vectors(vectors):
    for key in vectors["keys"]:
        assert protocol.bearer_token(key["seed"]) == key["bearer"]


def test_another_devices_answer_is_told_from_a_damaged_one(vectors):
    case = next(one for one in vectors["answers"] if one["valid"])
    answer = Answer(case["session"], case["answerSdp"], (case["key"], case["sig"]))

    def judged(key, answer):
        return protocol.judge(key, parties(case), case["nonce"], case["offerSdp"], answer)

    other = vectors["keys"][1]["key"]
    assert judged(other, answer) is Trust.OTHER_DEVICE
    assert judged(case["key"], Answer(case["session"], case["answerSdp"], None)) is Trust.UNSIGNED
    assert judged(case["key"], Answer(case["session"], case["answerSdp"] + " ", answer.identity)) is Trust.CHANGED
    assert judged(None, answer) is Trust.UNCHECKED


def test_an_offer_message_is_what_the_device_reads(vectors):
    link, case = Link.parse(vectors["link"]), vectors["offers"][0]
    message = json.loads(protocol.offer_message(link, parties(case), case["offerSdp"], case["nonce"]))
    assert message["auth"] == {"grant": "anna", "nonce": case["nonce"], "sig": case["sig"]}
    assert (message["type"], message["session"], message["sdp"]) == ("offer", "s1", case["offerSdp"])
    open_link = Link(device="front-door")
    assert "auth" not in json.loads(protocol.offer_message(open_link, parties(case), "v=0", ""))


NOTHING = [
    b"",
    b"null",
    b"[]",
    b"7",
    b'"x"',
    b"{",
    b"\xff\xfe\x00",
    b"{}",
    b'{"type":"offer","sdp":"v=0"}',
    b'{"type":["answer"]}',
    b'{"type":"answer"}',
    b'{"type":"answer","sdp":7}',
    b'{"type":"answer","sdp":""}',
    b'{"type":"answer","session":"a b","sdp":"v=0"}',
    b'{"type":"answer","session":7,"sdp":"v=0"}',
    b'{"type":"candidate"}',
    b'{"type":"candidate","candidate":7}',
    b'{"type":"candidate","candidate":{}}',
    b'{"type":"candidate","candidate":{"candidate":"%s"}}' % (b"x" * 3000),
    b'{"type":"error"}',
    b'{"type":"error","code":"Not A Code"}',
    b'{"type":"bye","reason":"%s"}' % (b"x" * 70_000),
    b"[" * 60_000,
    b'{"type":"bye","session":' * 5000,
]


@pytest.mark.parametrize("payload", NOTHING, ids=lambda payload: payload[:24].decode("latin-1"))
def test_what_is_no_message_is_nothing(payload):
    assert protocol.parse_down(payload) is None


def test_messages_are_read():
    def parsed(**fields):
        return protocol.parse_down(json.dumps(fields).encode())

    assert parsed(type="answer", sdp="v=0", identity={"key": "k", "sig": "s"}) == Answer("default", "v=0", ("k", "s"))
    assert parsed(type="answer", session="s1", sdp="v=0", identity=["k"]) == Answer("s1", "v=0", None)
    assert parsed(type="candidate", session="s1", candidate=None) == CandidateMessage("s1", None)
    candidate = {"candidate": "candidate:1", "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "u", "more": 1}
    assert parsed(type="candidate", candidate=candidate) == CandidateMessage(
        "default", Candidate("candidate:1", "0", 0, "u")
    )
    odd = {"candidate": "candidate:1", "sdpMid": 7, "sdpMLineIndex": True}
    assert parsed(type="candidate", candidate=odd).candidate == Candidate("candidate:1", None, 0)
    assert parsed(type="bye", reason="a\u202eb\nc") == Bye("default", "a b c")
    refusal = parsed(type="error", code="busy", message="m" * 500, retryAfter=3)
    assert (refusal.session, refusal.code, refusal.retry_after_s) == (None, "busy", 3)
    assert len(refusal.message) == 200
    assert parsed(type="error", session="s1", code="busy", retryAfter="soon") == Refusal("s1", "busy", "", None)


def test_sdp_that_is_no_text_is_refused_and_does_not_raise(vectors):
    answer = protocol.parse_down(rb'{"type":"answer","sdp":"\ud800","identity":{"key":"\ud800","sig":"\ud800"}}')
    key = vectors["keys"][0]["key"]
    assert protocol.judge(key, Parties("a", "b", "c"), "", "v=0", answer) is Trust.CHANGED
