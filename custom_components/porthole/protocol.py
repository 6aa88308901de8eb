"""The messages of Porthole's protocol, and who has signed them. Pure, without Home Assistant.

What arrives is untrusted: it becomes one of the classes here, or nothing. docs/protocol.md is the contract.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .link import KEY_BYTES, Link, decode, encode, is_id

NONCE_BYTES = 16
SIGNATURE_BYTES = 64
MAX_MESSAGE_BYTES = 64 * 1024
MAX_CANDIDATE_CHARACTERS = 2048
DEFAULT_SESSION = "default"

_CODE = re.compile(r"[a-z0-9-]{1,40}")
# Control and direction characters, and those without a width: text from outside stands in sentences.
_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")


@dataclass(frozen=True)
class Parties:
    """Between whom a session is; a signature holds for no other."""

    device: str
    viewer: str
    session: str


@dataclass(frozen=True)
class Candidate:
    """An ICE candidate as `RTCIceCandidate.toJSON()` gives it."""

    candidate: str
    sdp_mid: str | None = None
    sdp_m_line_index: int | None = None
    username_fragment: str | None = None


@dataclass(frozen=True)
class Answer:
    """The device's answer; `identity` is its key and its signature as they came."""

    session: str
    sdp: str
    identity: tuple[str, str] | None


@dataclass(frozen=True)
class CandidateMessage:
    """One of the device's candidates, or None for the end of them."""

    session: str
    candidate: Candidate | None


@dataclass(frozen=True)
class Bye:
    """The device ends a session."""

    session: str
    reason: str


@dataclass(frozen=True)
class Refusal:
    """The device refuses something; `session` is None where it could not tell for which one."""

    session: str | None
    code: str
    message: str
    retry_after_s: float | None


Down = Answer | CandidateMessage | Bye | Refusal


class Trust(StrEnum):
    """What an answer is worth."""

    VERIFIED = "verified"
    # No key is known, so nobody can tell.
    UNCHECKED = "unchecked"
    UNSIGNED = "unsigned"
    # Not what its device has signed for this very offer.
    CHANGED = "changed"
    # Signed by a device with another key.
    OTHER_DEVICE = "other-device"


def offer_text(parties: Parties, nonce: str, offer_sdp: str) -> bytes:
    """Give what a grant's key signs."""
    lines = ("porthole-offer-v1", parties.device, parties.viewer, parties.session, nonce, _hash(offer_sdp))
    return "\n".join(lines).encode()


def answer_text(parties: Parties, nonce: str, offer_sdp: str, answer_sdp: str) -> bytes:
    """Give what the device's key signs; the nonce is empty where the offer was not signed."""
    lines = ("porthole-answer-v1", parties.device, parties.viewer, parties.session)
    return "\n".join((*lines, nonce, _hash(offer_sdp), _hash(answer_sdp))).encode()


def _hash(sdp: str) -> str:
    # A lone surrogate is no text and has no UTF-8; it is hashed to something that nobody has signed.
    return encode(sha256(sdp.encode("utf-8", "surrogatepass")).digest())


def sign(secret: str, text: bytes) -> str:
    """Sign with the key of a seed."""
    return encode(Ed25519PrivateKey.from_private_bytes(_seed(secret)).sign(text))


def is_signed(key: str, text: bytes, signature: str) -> bool:
    """Whether the key has signed the text. Never raises, whatever key and signature hold."""
    key_bytes, signature_bytes = decode(key, KEY_BYTES), decode(signature, SIGNATURE_BYTES)
    if key_bytes is None or signature_bytes is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key_bytes).verify(signature_bytes, text)
    except (InvalidSignature, ValueError):
        return False
    return True


def judge(key: str | None, parties: Parties, nonce: str, offer_sdp: str, answer: Answer) -> Trust:
    """Say what an answer to this offer is worth."""
    if key is None:
        return Trust.UNCHECKED
    if answer.identity is None:
        return Trust.UNSIGNED
    named, signature = answer.identity
    # A foreign key makes another device of it only if that device has really signed.
    if not is_signed(named, answer_text(parties, nonce, offer_sdp, answer.sdp), signature):
        return Trust.CHANGED
    return Trust.VERIFIED if named == key else Trust.OTHER_DEVICE


def bearer_token(secret: str) -> str:
    """Give the token that a grant's holder shows over HTTP; nobody gets back from it to the secret."""
    derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"porthole-bearer-v1")
    return encode(derivation.derive(_seed(secret)))


def _seed(secret: str) -> bytes:
    seed = decode(secret, KEY_BYTES)
    if seed is None:
        raise ValueError("the link was not checked before its secret was used")  # never with the secret in it
    return seed


def offer_message(link: Link, parties: Parties, sdp: str, nonce: str) -> str:
    """Give the offer as it goes to the device, signed if the link has a grant."""
    message: dict[str, Any] = {"v": 1, "type": "offer", "session": parties.session, "sdp": sdp}
    if link.grant is not None and link.secret is not None:
        signature = sign(link.secret, offer_text(parties, nonce, sdp))
        message["auth"] = {"grant": link.grant, "nonce": nonce, "sig": signature}
    return json.dumps(message)


def candidate_message(session: str, candidate: Candidate | None) -> str:
    """Give one of the viewer's candidates as it goes to the device."""
    return json.dumps(
        {"v": 1, "type": "candidate", "session": session, "candidate": candidate and candidate_json(candidate)}
    )


def candidate_json(candidate: Candidate) -> dict[str, Any]:
    """Give a candidate as browsers write it."""
    fields = {
        "candidate": candidate.candidate,
        "sdpMid": candidate.sdp_mid,
        "sdpMLineIndex": candidate.sdp_m_line_index,
        "usernameFragment": candidate.username_fragment,
    }
    return {name: value for name, value in fields.items() if value is not None}


def bye_message(session: str, reason: str) -> str:
    """Give the viewer's leave."""
    return json.dumps({"v": 1, "type": "bye", "session": session, "reason": reason})


def parse_down(payload: str | bytes | bytearray) -> Down | None:
    """Read what came from the device. None for what is no message."""
    message = parse_object(payload)
    if message is None:
        return None
    kind, session = message.get("type"), message.get("session")
    if kind == "error":
        return _refusal(message)
    session = DEFAULT_SESSION if session is None else session
    if not isinstance(session, str) or not is_id(session):
        return None
    if kind == "answer":
        return _answer(session, message)
    if kind == "candidate":
        return _candidate(session, message)
    if kind == "bye":
        return Bye(session, plain(message.get("reason")))
    return None


def parse_object(payload: str | bytes | bytearray, longest: int = MAX_MESSAGE_BYTES) -> dict[str, Any] | None:
    """Read a JSON object of a bounded size."""
    if len(payload) > longest:
        return None
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _answer(session: str, message: dict[str, Any]) -> Answer | None:
    sdp, identity = message.get("sdp"), message.get("identity")
    if not isinstance(sdp, str) or not sdp:
        return None
    key, signature = (identity.get("key"), identity.get("sig")) if isinstance(identity, dict) else (None, None)
    if isinstance(key, str) and isinstance(signature, str):
        return Answer(session, sdp, (key, signature))
    return Answer(session, sdp, None)


def _candidate(session: str, message: dict[str, Any]) -> CandidateMessage | None:
    if "candidate" not in message:
        return None
    fields = message["candidate"]
    if fields is None:
        return CandidateMessage(session, None)
    if not isinstance(fields, dict):
        return None
    text, mid, line, fragment = (
        fields.get(name) for name in ("candidate", "sdpMid", "sdpMLineIndex", "usernameFragment")
    )
    if not isinstance(text, str) or len(text) > MAX_CANDIDATE_CHARACTERS:
        return None
    mid = mid if isinstance(mid, str) else None
    line = line if isinstance(line, int) and not isinstance(line, bool) and 0 <= line < 65536 else None
    if mid is None and line is None:
        # A browser refuses a candidate that names neither; the transport is the first section's.
        line = 0
    fragment = fragment if isinstance(fragment, str) and fragment else None
    return CandidateMessage(session, Candidate(text, mid, line, fragment))


def _refusal(message: dict[str, Any]) -> Refusal | None:
    code, session, retry_after = (message.get(name) for name in ("code", "session", "retryAfter"))
    if not isinstance(code, str) or _CODE.fullmatch(code) is None:
        return None
    if isinstance(retry_after, bool) or not isinstance(retry_after, int | float):
        retry_after = None
    named = session if isinstance(session, str) and is_id(session) else None
    return Refusal(named, code, plain(message.get("message")), retry_after)


def plain(text: object, longest: int = 200) -> str:
    """Make text from outside fit to stand in a sentence: one line, nothing unseen, not endless."""
    if not isinstance(text, str):
        return ""
    line = " ".join(_UNSHOWN.sub(" ", text[: longest * 2]).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"
