#!/usr/bin/env python3
"""Writes access.json: the vectors of protocol section 2.2, made with an implementation that is not Porthole's.

Needs the Python package `cryptography`. Ed25519 signatures are deterministic, so it writes the same file each time.
"""

import base64
import hashlib
import json
import pathlib

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

# The order of the group (RFC 8032 section 5.1).
ORDER = 2**252 + 27742317777372353535851937790883648493


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def seed(name: str) -> bytes:
    return hashlib.sha256(f"porthole test vector: {name}".encode()).digest()


def private(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed(name))


def public(name: str) -> str:
    raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    return text(private(name).public_key().public_bytes(*raw))


def digest(sdp: str) -> str:
    return text(hashlib.sha256(sdp.encode()).digest())


def sign(name: str, lines: str) -> bytes:
    return private(name).sign(lines.encode())


def offer_text(c: dict) -> str:
    return "\n".join(
        ["porthole-offer-v1", c["device"], c["viewer"], c["session"], c["nonce"], digest(c["offerSdp"])]
    )


def answer_text(c: dict) -> str:
    nonce = c["nonce"] or ""
    return "\n".join(
        ["porthole-answer-v1", c["device"], c["viewer"], c["session"], nonce]
        + [digest(c["offerSdp"]), digest(c["answerSdp"])]
    )


def malleable(signature: bytes) -> bytes:
    s = int.from_bytes(signature[32:], "little") + ORDER
    assert s < 2**256
    return signature[:32] + s.to_bytes(32, "little")


def offer_sdp(fingerprint: str) -> str:
    return (
        "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
        "m=video 9 UDP/TLS/RTP/SAVPF 102\r\na=mid:0\r\na=recvonly\r\n"
        f"a=fingerprint:sha-256 {fingerprint}\r\na=rtpmap:102 H264/90000\r\n"
    )


def cases(base: dict, text_of, signer: str, stranger: str, changes: dict) -> list:
    good = sign(signer, text_of(base))
    made = []

    def add(name: str, valid: bool, fields: dict, signature: str) -> None:
        case = {"name": name, "valid": valid, **fields, "key": public(signer)}
        made.append({**case, "text": text_of(fields), "sig": signature})

    add("as it should be", True, base, text(good))
    for name, change in changes.items():
        add(name, False, {**base, **change}, text(good))
    flipped = bytes([good[0] ^ 1]) + good[1:]
    for name, signature in {
        "signature of another key": text(sign(stranger, text_of(base))),
        "signature cut short by one byte": text(good[:-1]),
        "signature with one byte more": text(good + b"\0"),
        "no signature": "",
        "malleable signature: S plus the order of the group": text(malleable(good)),
        "first bit of the signature flipped": text(flipped),
        "signature of 64 zero bytes": text(bytes(64)),
        "signature padded with =": text(good) + "==",
        "signature in standard base64": base64.b64encode(good).decode().rstrip("="),
        "bits set behind the last byte": text(good)[:-1] + chr(ord(text(good)[-1]) + 1),
    }.items():
        # Without a character that differs, the standard alphabet would be the same text.
        assert signature != text(good), name
        add(name, False, base, signature)
    return made


def main() -> None:
    nonce, other_nonce = text(seed("nonce")[:16]), text(seed("other nonce")[:16])
    ours, swapped = offer_sdp(":".join(["AB"] * 32)), offer_sdp(":".join(["CD"] * 32))
    where = {"device": "front-door", "viewer": "tab-1", "session": "s1", "nonce": nonce, "offerSdp": ours}
    elsewhere = {
        "another device": {"device": "back-door"},
        "another viewer": {"viewer": "tab-2"},
        "another session": {"session": "s2"},
        "another nonce": {"nonce": other_nonce},
        "fingerprint of the offer swapped": {"offerSdp": swapped},
    }
    answer = {**where, "answerSdp": ours.replace("recvonly", "sendonly")}
    answer_changes = {
        **elsewhere,
        "no nonce": {"nonce": None},
        "fingerprint of the answer swapped": {"answerSdp": swapped.replace("recvonly", "sendonly")},
        "offer and answer exchanged": {"offerSdp": answer["answerSdp"], "answerSdp": ours},
    }
    open_answer = {**answer, "nonce": None}
    open_signature = text(sign("device", answer_text(open_answer)))
    open_case = {"name": "answer to an offer without auth (open access)", "valid": True, **open_answer}
    open_case |= {"key": public("device"), "text": answer_text(open_answer), "sig": open_signature}

    def bearer(name: str) -> bytes:
        return HKDF(hashes.SHA256(), 32, salt=None, info=b"porthole-bearer-v1").derive(seed(name))

    keys = []
    for name in ["device", "grant", "other grant"]:
        token = text(bearer(name))
        key = {"name": name, "seed": text(seed(name)), "key": public(name), "bearer": token}
        keys.append({**key, "bearerSha256": text(hashlib.sha256(token.encode()).digest())})
    link = f"http://192.0.2.7:8080/#broker=ws://192.0.2.7:9001/mqtt&device=front-door&key={public('device')}"
    link += f"&grant=anna&secret={text(seed('grant'))}"
    document = {
        "about": "see README.md beside this file",
        "keys": keys,
        "link": link,
        "offers": cases(where, offer_text, "grant", "other grant", elsewhere),
        "answers": cases(answer, answer_text, "device", "grant", answer_changes) + [open_case],
    }
    file = pathlib.Path(__file__).with_name("access.json")
    file.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
