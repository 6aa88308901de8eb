"""One peer connection between a viewer of Home Assistant and the device. Pure: what happens goes in, what is to be done comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from . import protocol
from .link import Link, encode
from .protocol import Answer, Bye, Candidate, CandidateMessage, Down, Parties, Refusal, Trust

# As the device keeps candidates that come before their offer.
MAX_EARLY_CANDIDATES = 32
# Of each side, in a session's whole life: a browser has some dozen.
MAX_CANDIDATES = 256
# The device answers within a second; this bounds a device that is gone.
ANSWER_TIMEOUT_S = 10.0

# Codes of this side, beside those of the protocol.
NO_ANSWER = "no-answer"
FORGED_ANSWER = "forged-answer"
OTHER_DEVICE = "other-device"
ENDED = "ended"
OFFLINE = "offline"


@dataclass(frozen=True)
class Publish:
    """Send this to the device."""

    payload: str


@dataclass(frozen=True)
class GiveAnswer:
    """Hand the answer to the browser: the device has signed it, or there is no key to tell."""

    sdp: str


@dataclass(frozen=True)
class GiveCandidate:
    """Hand one of the device's candidates to the browser."""

    candidate: Candidate


@dataclass(frozen=True)
class Fail:
    """Tell the viewer, in words, and forget the session."""

    code: str
    message: str


Action = Publish | GiveAnswer | GiveCandidate | Fail


class Phase(Enum):
    """How far a session is."""

    # Nothing has gone out: who waits for the answer does not listen yet.
    NEW = auto()
    OFFERED = auto()
    ANSWERED = auto()
    CLOSED = auto()


@dataclass
class Session:
    """A session's state. Each method gives what is to be done, in that order."""

    link: Link
    parties: Parties
    offer_sdp: str
    random: Callable[[int], bytes]
    phase: Phase = Phase.NEW
    _nonce: str = ""
    _to_device: list[Candidate] = field(default_factory=list)
    _to_viewer: list[Candidate] = field(default_factory=list)
    _sent: int = 0
    _received: int = 0

    def start(self) -> list[Action]:
        """Send the offer; whoever calls this listens for the answer already."""
        if self.phase is not Phase.NEW:
            return []
        self.phase = Phase.OFFERED
        if self.link.grant is not None:
            self._nonce = encode(self.random(protocol.NONCE_BYTES))
        offer = protocol.offer_message(self.link, self.parties, self.offer_sdp, self._nonce)
        if len(offer.encode()) > protocol.MAX_MESSAGE_BYTES:
            self.phase = Phase.CLOSED
            return [Fail("too-large", "The offer of this browser is longer than the device accepts.")]
        early, self._to_device = self._to_device, []
        return [Publish(offer), *(self._publish_candidate(candidate) for candidate in early)]

    def candidate_from_viewer(self, candidate: Candidate | None) -> list[Action]:
        """Pass the browser's candidate on, once its offer is out."""
        if self.phase is Phase.CLOSED:
            return []
        if self.phase is Phase.NEW:
            if candidate is not None and len(self._to_device) < MAX_EARLY_CANDIDATES:
                self._to_device.append(candidate)
            return []
        self._sent += 1
        return [self._publish_candidate(candidate)] if self._sent <= MAX_CANDIDATES else []

    def _publish_candidate(self, candidate: Candidate | None) -> Publish:
        return Publish(protocol.candidate_message(self.parties.session, candidate))

    def receive(self, message: Down) -> list[Action]:
        """Take what the device says on this session."""
        if self.phase in (Phase.NEW, Phase.CLOSED):
            return []
        if isinstance(message, Answer):
            return self._answered(message)
        if isinstance(message, CandidateMessage):
            return self._candidate_from_device(message.candidate)
        if isinstance(message, Refusal):
            # What is said of a candidate that came too late ends no picture that is on its way.
            if self.phase is Phase.ANSWERED and message.code in ("no-session", "bad-message"):
                return []
            self.phase = Phase.CLOSED
            return [Fail(message.code, message.message)]
        assert isinstance(message, Bye)
        self.phase = Phase.CLOSED
        return [Fail(ENDED, message.reason)]

    def _answered(self, answer: Answer) -> list[Action]:
        if self.phase is not Phase.OFFERED:
            # QoS 1 repeats; and nothing that comes later may change what was agreed on.
            return []
        trust = protocol.judge(self.link.key, self.parties, self._nonce, self.offer_sdp, answer)
        if trust not in (Trust.VERIFIED, Trust.UNCHECKED):
            self.phase = Phase.CLOSED
            code = OTHER_DEVICE if trust is Trust.OTHER_DEVICE else FORGED_ANSWER
            bye = protocol.bye_message(self.parties.session, "the answer is not the device's own")
            return [Publish(bye), Fail(code, "")]
        self.phase = Phase.ANSWERED
        early, self._to_viewer = self._to_viewer, []
        return [GiveAnswer(answer.sdp), *(GiveCandidate(candidate) for candidate in early)]

    def _candidate_from_device(self, candidate: Candidate | None) -> list[Action]:
        self._received += 1
        if candidate is None or self._received > MAX_CANDIDATES:
            # Browsers need not be told of the end.
            return []
        if self.phase is Phase.ANSWERED:
            return [GiveCandidate(candidate)]
        if len(self._to_viewer) < MAX_EARLY_CANDIDATES:
            self._to_viewer.append(candidate)
        return []

    def time_is_up(self) -> list[Action]:
        """Give up waiting for the answer."""
        if self.phase is not Phase.OFFERED:
            return []
        self.phase = Phase.CLOSED
        return [Publish(protocol.bye_message(self.parties.session, "no answer came in time")), Fail(NO_ANSWER, "")]

    def close(self, reason: str = "the viewer left") -> list[Action]:
        """Leave, if that is not done already."""
        was, self.phase = self.phase, Phase.CLOSED
        if was in (Phase.NEW, Phase.CLOSED):
            return []
        return [Publish(protocol.bye_message(self.parties.session, reason))]
