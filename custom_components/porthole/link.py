"""Viewing links: what a viewer has to know, in a URL's fragment. Pure, without Home Assistant."""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

DEFAULT_ROOT = "porthole"
KEY_BYTES = 32
# A link is pasted by a person; nothing longer than this is one.
MAX_LINK_CHARACTERS = 4096

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ROOT = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_FIELDS = ("device", "root", "key", "grant", "secret")


class LinkError(ValueError):
    """The text is no link. Its `code` is one of the form's errors in strings.json."""

    def __init__(self, code: str) -> None:
        """Say what is wrong with it; never with what the link holds."""
        super().__init__(code)
        self.code = code


def is_id(text: object) -> bool:
    """Whether it is a device, viewer or session id as the protocol allows it."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def is_root(text: object) -> bool:
    """Whether it can be the first levels of all topics."""
    return isinstance(text, str) and len(text) <= 128 and _ROOT.fullmatch(text) is not None


def encode(data: bytes) -> str:
    """Give base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: object, length: int) -> bytes | None:
    """Give exactly so many bytes, or None: no padding, no other alphabet, no bits behind the last byte."""
    if not isinstance(text, str) or re.fullmatch(r"[A-Za-z0-9_-]*", text) is None:
        return None
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    return data if len(data) == length and encode(data) == text else None


@dataclass(frozen=True)
class Link:
    """What a link says. The secret is in no representation of it, so that it stands in no log."""

    device: str
    root: str = DEFAULT_ROOT
    # The device's public key; None where nobody has told it yet.
    key: str | None = None
    # The grant's name and its seed: both or neither.
    grant: str | None = None
    secret: str | None = field(default=None, repr=False)
    # The device's own page, where the link leads: http or https, with a / at its end.
    page: str | None = None

    @property
    def base(self) -> str:
        """What all of the device's topics begin with."""
        return f"{self.root}/{self.device}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a link, or raise LinkError. Line breaks of a terminal are taken out, as no link holds white space."""
        text = "".join(text.split())
        if len(text) > MAX_LINK_CHARACTERS:
            raise LinkError("no_link")
        page, hash_sign, fragment = text.partition("#")
        if not hash_sign:
            # The fragment alone, as people copy it.
            page, fragment = "", text
        fields: dict[str, str] = {}
        try:
            pairs = parse_qsl(fragment, keep_blank_values=True, max_num_fields=32)
        except ValueError as error:
            raise LinkError("no_link") from error
        for name, value in pairs:
            if name in _FIELDS:
                if name in fields:
                    raise LinkError("repeated")
                fields[name] = value
        if not fields:
            raise LinkError("no_link")
        return cls.from_fields({**fields, "page": _page(page)})

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Self:
        """Check fields that came from a link, or from where they were kept."""
        device, root = fields.get("device"), fields.get("root") or DEFAULT_ROOT
        key, grant, secret = (fields.get(name) for name in ("key", "grant", "secret"))
        if not device:
            raise LinkError("no_device")
        if not is_id(device):
            raise LinkError("bad_device")
        if not is_root(root):
            raise LinkError("bad_root")
        # Empty is not absent here: a link that lost its key on the way must not pass for one that never had any.
        if key is not None and decode(key, KEY_BYTES) is None:
            raise LinkError("bad_key")
        if (grant is None) != (secret is None):
            raise LinkError("half_grant")
        if grant is not None and not is_id(grant):
            raise LinkError("bad_grant")
        if secret is not None and decode(secret, KEY_BYTES) is None:
            raise LinkError("bad_secret")
        if grant is not None and key is None:
            raise LinkError("no_key")
        return cls(device, root, key, grant, secret, fields.get("page") or None)

    def fields(self) -> dict[str, str]:
        """What is kept of it."""
        all_of_them = {
            "device": self.device,
            "root": self.root,
            "key": self.key,
            "grant": self.grant,
            "secret": self.secret,
            "page": self.page,
        }
        return {name: value for name, value in all_of_them.items() if value is not None}


def _page(text: str) -> str | None:
    """Give the address of the device's page, if it is one that can be asked."""
    try:
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            return None
        _ = parts.port  # it raises where that is no number
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.netloc}{parts.path.rpartition('/')[0]}/"
