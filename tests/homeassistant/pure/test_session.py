"""A session from its offer to its end."""

import json

import pytest
from porthole_pure import protocol
from porthole_pure.link import Link
from porthole_pure.protocol import Answer, Bye, Candidate, CandidateMessage, Parties, Refusal
from porthole_pure.session import (
    ENDED,
    FORGED_ANSWER,
    MAX_CANDIDATES,
    MAX_EARLY_CANDIDATES,
    NO_ANSWER,
    OTHER_DEVICE,
    Fail,
    GiveAnswer,
    GiveCandidate,
    Phase,
    Publish,
    Session,
)

PARTIES = Parties("front-door", "ha", "s1")
HERE, THERE = Candidate("candidate:here"), Candidate("candidate:there", "0", 0)


@pytest.fixture
def link(vectors):
    return Link.parse(vectors["link"])


@pytest.fixture
def device(vectors):
    """Answers as the device does, by default with its own key."""

    def answer(offer_sdp, nonce, key=0, sdp="v=0 answer"):
        text = protocol.answer_text(PARTIES, nonce, offer_sdp, sdp)
        keys = vectors["keys"][key]
        return Answer("s1", sdp, (keys["key"], protocol.sign(keys["seed"], text)))

    return answer


def new(link, sdp="v=0 offer"):
    return Session(link, PARTIES, sdp, lambda count: b"\x07" * count)


def published(action):
    assert isinstance(action, Publish)
    return json.loads(action.payload)


def offered(link):
    session = new(link)
    (offer,) = session.start()
    return session, published(offer)["auth"]["nonce"]


def test_an_offer_is_answered_and_candidates_go_both_ways(link, device):
    session, nonce = offered(link)
    assert session.receive(device("v=0 offer", nonce)) == [GiveAnswer("v=0 answer")]
    assert session.receive(CandidateMessage("s1", THERE)) == [GiveCandidate(THERE)]
    assert session.receive(CandidateMessage("s1", None)) == []
    assert published(session.candidate_from_viewer(HERE)[0])["candidate"] == {"candidate": "candidate:here"}
    assert published(session.candidate_from_viewer(None)[0])["candidate"] is None
    assert published(session.close()[0]) == {"v": 1, "type": "bye", "session": "s1", "reason": "the viewer left"}
    assert session.close() == []


def test_the_offer_is_signed_for_this_session(link, vectors):
    session = new(link)
    offer = published(session.start()[0])
    text = protocol.offer_text(PARTIES, offer["auth"]["nonce"], "v=0 offer")
    assert protocol.is_signed(vectors["keys"][1]["key"], text, offer["auth"]["sig"])
    assert session.start() == [], "once"


def test_early_candidates_of_both_sides_wait(link, device):
    session = new(link)
    for _ in range(MAX_EARLY_CANDIDATES + 5):
        assert session.candidate_from_viewer(HERE) == []
    actions = session.start()
    kinds = [published(action)["type"] for action in actions]
    assert kinds == ["offer"] + ["candidate"] * MAX_EARLY_CANDIDATES
    nonce = published(actions[0])["auth"]["nonce"]
    for _ in range(MAX_EARLY_CANDIDATES + 5):
        assert session.receive(CandidateMessage("s1", THERE)) == []
    given = session.receive(device("v=0 offer", nonce))
    assert given == [GiveAnswer("v=0 answer")] + [GiveCandidate(THERE)] * MAX_EARLY_CANDIDATES


def test_candidates_are_bounded(link, device):
    session, nonce = offered(link)
    session.receive(device("v=0 offer", nonce))
    sent = sum(len(session.candidate_from_viewer(HERE)) for _ in range(2 * MAX_CANDIDATES))
    received = sum(len(session.receive(CandidateMessage("s1", THERE))) for _ in range(2 * MAX_CANDIDATES))
    assert (sent, received) == (MAX_CANDIDATES, MAX_CANDIDATES)


@pytest.mark.parametrize("forged", ["another offer", "another nonce", "changed", "unsigned"])
def test_a_forged_answer_shows_nothing(link, device, forged):
    session, nonce = offered(link)
    good = device("v=0 offer", nonce)
    answer = {
        "another offer": device("v=0 another", nonce),
        "another nonce": device("v=0 offer", "AAAAAAAAAAAAAAAAAAAAAA"),
        "changed": Answer("s1", "v=0 changed", good.identity),
        "unsigned": Answer("s1", good.sdp, None),
    }[forged]
    bye, fail = session.receive(answer)
    assert published(bye)["type"] == "bye"
    assert fail == Fail(FORGED_ANSWER, "")
    assert session.receive(good) == []
    assert session.phase is Phase.CLOSED


def test_another_devices_answer_is_named(link, device):
    session, nonce = offered(link)
    assert session.receive(device("v=0 offer", nonce, key=1))[1] == Fail(OTHER_DEVICE, "")


def test_what_was_agreed_on_is_not_changed_by_a_second_answer(link, device):
    session, nonce = offered(link)
    session.receive(device("v=0 offer", nonce))
    assert session.receive(device("v=0 offer", nonce, sdp="v=0 another")) == []


def test_in_open_access_the_key_is_checked_without_a_grant(vectors, device):
    session = new(Link(device="front-door", key=vectors["keys"][0]["key"]))
    assert "auth" not in published(session.start()[0])
    assert session.receive(device("v=0 offer", "")) == [GiveAnswer("v=0 answer")]


def test_refusals_and_ends_are_told_with_their_codes(link, device):
    session, _ = offered(link)
    assert session.receive(Refusal("s1", "busy", "full", 3)) == [Fail("busy", "full")]
    assert session.close() == [], "a device that refused has no session to end"
    session, nonce = offered(link)
    session.receive(device("v=0 offer", nonce))
    assert session.receive(Refusal("s1", "no-session", "", None)) == [], "of a candidate that came late"
    assert session.receive(Bye("s1", "privacy")) == [Fail(ENDED, "privacy")]


def test_no_answer_ends_it_once(link, device):
    session, nonce = offered(link)
    bye, fail = session.time_is_up()
    assert published(bye)["type"] == "bye"
    assert fail == Fail(NO_ANSWER, "")
    assert session.time_is_up() == []
    assert session.receive(device("v=0 offer", nonce)) == []
    answered, nonce = offered(link)
    answered.receive(device("v=0 offer", nonce))
    assert answered.time_is_up() == []


def test_what_has_not_begun_is_left_without_a_word(link):
    session = new(link)
    assert session.close() == []
    assert session.start() == []
    assert session.candidate_from_viewer(HERE) == []


def test_an_offer_that_no_device_takes_is_not_sent(link):
    assert [type(action) for action in new(link, "x" * 70_000).start()] == [Fail]
