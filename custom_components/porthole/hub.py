"""One device over Home Assistant's own MQTT connection: what it says of itself, and the sessions of those who watch."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from homeassistant.components import mqtt
from homeassistant.components.camera import WebRTCAnswer, WebRTCCandidate, WebRTCError, WebRTCSendMessage
from homeassistant.config_entries import ConfigEntry
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import instance_id
from homeassistant.helpers.event import async_call_later
from webrtc_models import RTCIceCandidateInit

from . import protocol
from .const import LOGGER, MAX_DOCUMENT_BYTES, MAX_PICTURE_BYTES
from .grant import GrantWatch
from .link import Link, is_id
from .session import ANSWER_TIMEOUT_S, OFFLINE, Fail, GiveAnswer, GiveCandidate, Phase, Publish, Session
from .session import Action as SessionAction
from .words import words

QOS = 1
# A browser closes what it leaves; this bounds those that do not.
MAX_SESSIONS = 32

type PortholeConfigEntry = ConfigEntry[Hub]


async def async_viewer_id(hass: HomeAssistant) -> str:
    """Give the viewer id of this Home Assistant: its MQTT client id, where one is set and can be one.

    A broker can then hold Home Assistant to its own topics by `%c`. A client id that is left to chance is not known
    here and changes with each start; the id is then made of what names this installation, and always the same.
    """
    for entry in hass.config_entries.async_entries(mqtt.DOMAIN):
        client_id = entry.data.get("client_id")
        if is_id(client_id):
            return str(client_id)
    installation = await instance_id.async_get(hass)
    return "home-assistant-" + sha256(f"porthole {installation}".encode()).hexdigest()[:16]


@dataclass
class _Running:
    """A session and who waits for it."""

    session: Session
    send: WebRTCSendMessage
    cancel_timer: CALLBACK_TYPE


class Hub:
    """The device's topics, and the sessions with it."""

    def __init__(self, hass: HomeAssistant, entry: PortholeConfigEntry, link: Link, viewer: str) -> None:
        """Begin with nothing known."""
        self.hass = hass
        self.link = link
        self.viewer = viewer
        self.info: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        self.snapshot: bytes | None = None
        self.name = entry.title
        self.grant = GrantWatch(hass, entry, link)
        self.last_failure: str | None = None
        self._announced_online = False
        self._was_online: bool | None = None
        self._listening = asyncio.Event()
        self._sessions: dict[str, _Running] = {}
        self._observers: set[CALLBACK_TYPE] = set()
        self._undo: list[CALLBACK_TYPE] = []

    @property
    def online(self) -> bool:
        """Whether the device and the broker are there."""
        return self._announced_online and mqtt.is_connected(self.hass)

    @property
    def phases(self) -> list[str]:
        """How far each session is."""
        return [running.session.phase.name.lower() for running in self._sessions.values()]

    async def async_start(self) -> None:
        """Subscribe to everything that the device says."""
        down = f"{self.link.base}/signal/{self.viewer}/down"
        topics: dict[str, Callable[[mqtt.ReceiveMessage], None]] = {
            down: self._on_signal,
            f"{self.link.base}/availability": self._on_availability,
            f"{self.link.base}/info": self._on_info,
            f"{self.link.base}/state": self._on_state,
            f"{self.link.base}/snapshot": self._on_snapshot,
        }
        for topic, on_message in topics.items():
            self._undo.append(await mqtt.async_subscribe(self.hass, topic, on_message, QOS, encoding=None))
        self._undo.append(mqtt.async_on_subscribe_done(self.hass, down, QOS, self._listening.set))
        self._undo.append(mqtt.async_subscribe_connection_status(self.hass, self._on_connection))

    async def async_stop(self) -> None:
        """Leave all sessions, and listen no more."""
        for session_id in list(self._sessions):
            await self._do(session_id, self._drop(session_id))
        while self._undo:
            self._undo.pop()()

    @callback
    def async_observe(self, observer: CALLBACK_TYPE) -> CALLBACK_TYPE:
        """Call `observer` after each change; the return value ends that."""
        self._observers.add(observer)
        return lambda: self._observers.discard(observer)

    @callback
    def _changed(self) -> None:
        if self.online != self._was_online:
            if self._was_online is not None:
                LOGGER.info("%s is %s", self.name, "back" if self.online else "unavailable")
            self._was_online = self.online
        for observer in tuple(self._observers):
            observer()

    @callback
    def _on_connection(self, connected: bool) -> None:
        if not connected:
            # Subscriptions are made anew, and who offers meanwhile waits for that.
            self._listening.clear()
        self._changed()

    @callback
    def _on_availability(self, message: mqtt.ReceiveMessage) -> None:
        self._announced_online = bytes(message.payload) == b"online"
        self._changed()

    @callback
    def _on_info(self, message: mqtt.ReceiveMessage) -> None:
        self.info = protocol.parse_object(message.payload, MAX_DOCUMENT_BYTES) or {}
        self._changed()

    @callback
    def _on_state(self, message: mqtt.ReceiveMessage) -> None:
        self.state = protocol.parse_object(message.payload, MAX_DOCUMENT_BYTES) or {}
        self._changed()

    @callback
    def _on_snapshot(self, message: mqtt.ReceiveMessage) -> None:
        picture = bytes(message.payload)
        # It is cleared by an empty message; anything else that is no JPEG is none, either.
        fits = len(picture) <= MAX_PICTURE_BYTES and picture.startswith(b"\xff\xd8")
        self.snapshot = picture if fits else None

    @callback
    def _on_signal(self, message: mqtt.ReceiveMessage) -> None:
        if message.retain:
            return
        down = protocol.parse_down(message.payload)
        if down is None:
            return
        session_id = down.session
        if isinstance(down, protocol.Refusal) and session_id not in self._sessions:
            # The device could not tell which session it was for; with one that waits there is no doubt.
            waiting = [one for one, running in self._sessions.items() if running.session.phase is Phase.OFFERED]
            session_id = waiting[0] if len(waiting) == 1 else None
        running = self._sessions.get(session_id or "")
        if session_id is None or running is None:
            return
        self._later(session_id, running.session.receive(down))

    async def async_offer(self, offer_sdp: str, session_id: str, send: WebRTCSendMessage) -> None:
        """Offer to the device in a viewer's name; all that follows comes through `send`."""
        if not self.online:
            send(WebRTCError(OFFLINE, words(self.hass, OFFLINE, name=self.name)))
            return
        if len(self._sessions) >= MAX_SESSIONS:
            oldest = next(iter(self._sessions))
            await self._do(oldest, self._drop(oldest))
        session = Session(
            self.link, protocol.Parties(self.link.device, self.viewer, session_id), offer_sdp, os.urandom
        )

        @callback
        def time_is_up(_now: object) -> None:
            self._later(session_id, session.time_is_up())

        cancel = async_call_later(self.hass, ANSWER_TIMEOUT_S, time_is_up)
        self._sessions[session_id] = _Running(session, send, cancel)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S / 2):
                await self._listening.wait()
        except TimeoutError:
            self._drop(session_id)
            send(WebRTCError(OFFLINE, words(self.hass, OFFLINE, name=self.name)))
            return
        await self._do(session_id, session.start())

    async def async_candidate(self, session_id: str, candidate: RTCIceCandidateInit) -> None:
        """Pass a browser's candidate on."""
        if (running := self._sessions.get(session_id)) is None:
            return
        ours = None
        if candidate.candidate:
            ours = protocol.Candidate(
                candidate.candidate, candidate.sdp_mid, candidate.sdp_m_line_index, candidate.user_fragment
            )
        await self._do(session_id, running.session.candidate_from_viewer(ours))

    @callback
    def async_close(self, session_id: str) -> None:
        """Say goodbye for a viewer who left."""
        self._later(session_id, self._drop(session_id))

    @callback
    def _drop(self, session_id: str) -> list[SessionAction]:
        """Forget a session, and give what is to be said to the device."""
        if (running := self._sessions.pop(session_id, None)) is None:
            return []
        running.cancel_timer()
        return running.session.close()

    @callback
    def _later(self, session_id: str, actions: list[SessionAction]) -> None:
        if actions:
            self.hass.async_create_task(self._do(session_id, actions), f"porthole {session_id}", eager_start=True)

    async def _do(self, session_id: str, actions: list[SessionAction]) -> None:
        running = self._sessions.get(session_id)
        for action in actions:
            if isinstance(action, Publish):
                await self._publish(action.payload)
            elif running is not None:
                self._tell(session_id, running, action)

    @callback
    def _tell(self, session_id: str, running: _Running, action: SessionAction) -> None:
        if isinstance(action, GiveAnswer):
            running.cancel_timer()
            self.grant.works()
            running.send(WebRTCAnswer(action.sdp))
        elif isinstance(action, GiveCandidate):
            fields = action.candidate
            init = RTCIceCandidateInit(
                fields.candidate,
                sdp_mid=fields.sdp_mid,
                sdp_m_line_index=fields.sdp_m_line_index,
                user_fragment=fields.username_fragment,
            )
            running.send(WebRTCCandidate(init))
        elif isinstance(action, Fail):
            self._drop(session_id)
            self.last_failure = action.code
            self.grant.failed(action.code)
            LOGGER.debug("%s: %s: %s", self.name, action.code, action.message)
            running.send(WebRTCError(action.code, words(self.hass, action.code, name=self.name, said=action.message)))

    async def _publish(self, payload: str) -> None:
        try:
            await mqtt.async_publish(self.hass, f"{self.link.base}/signal/{self.viewer}/up", payload, QOS, retain=False)
        except HomeAssistantError as error:
            # The session's own timer tells the viewer.
            LOGGER.debug("%s: %s", self.name, error)
