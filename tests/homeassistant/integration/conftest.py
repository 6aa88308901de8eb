"""A Home Assistant with a broker that is none, and a device on it that signs as the real one does."""

import json

import pytest
from custom_components.porthole import protocol
from custom_components.porthole.link import Link
from pathlib import Path
from pytest_homeassistant_custom_component.common import MockConfigEntry, async_fire_mqtt_message

TOP = Path(__file__).resolve().parents[3]
VECTORS = json.loads((TOP / "tests/vectors/access.json").read_text())
LINK = VECTORS["link"]
KEYS = VECTORS["keys"]
BASE = "porthole/front-door"
INFO = {
    "v": 1,
    "device": "front-door",
    "name": "Front door",
    "model": "Board",
    "key": KEYS[0]["key"],
    "access": "grants",
    "whep": "http://192.0.2.7:8080/whep",
}
STATE = {"v": 1, "streaming": "ON", "camera": {"state": "idle"}, "viewers": {"sessions": [{"viewer": "somebody"}]}}


@pytest.fixture(autouse=True)
def _custom(enable_custom_integrations):
    """The integration of this repository."""


class Device:
    """The device's end of the broker."""

    def __init__(self, hass, mqtt_mock):
        self.hass = hass
        self.published = mqtt_mock.async_publish

    def say(self, leaf, payload, retain=False):
        payload = json.dumps(payload) if isinstance(payload, dict) else payload
        async_fire_mqtt_message(self.hass, f"{BASE}/{leaf}", payload, qos=1, retain=retain)

    def heard(self, kind):
        """Signal messages of that type, each with its viewer."""
        messages = []
        for call in self.published.mock_calls:
            topic, payload, *_ = call.args
            parts = topic.split("/")
            if topic.startswith(f"{BASE}/signal/") and parts[-1] == "up":
                message = json.loads(payload)
                if message["type"] == kind:
                    messages.append((parts[-2], message))
        return messages

    def answer(self, key=0, sdp="v=0 answer"):
        viewer, offer = self.heard("offer")[-1]
        parties = protocol.Parties("front-door", viewer, offer["session"])
        nonce = offer.get("auth", {}).get("nonce", "")
        text = protocol.answer_text(parties, nonce, offer["sdp"], sdp)
        identity = {"key": KEYS[key]["key"], "sig": protocol.sign(KEYS[key]["seed"], text)}
        self.signal({"type": "answer", "session": offer["session"], "sdp": sdp, "identity": identity})

    def signal(self, message, retain=False):
        viewer, offer = self.heard("offer")[-1]
        self.say(f"signal/{viewer}/down", {"session": offer["session"], **message}, retain)


@pytest.fixture
async def device(hass, mqtt_mock):
    return Device(hass, mqtt_mock)


@pytest.fixture
def entry(hass):
    link = Link.parse(LINK)
    entry = MockConfigEntry(domain="porthole", title="Front door", unique_id="front-door", data=link.fields())
    entry.add_to_hass(hass)
    return entry


@pytest.fixture
async def camera(hass, device, entry):
    """The entity's id, of a device that is there."""
    assert await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    device.say("availability", "online", retain=True)
    device.say("info", INFO, retain=True)
    device.say("state", STATE, retain=True)
    # As the broker would have confirmed.
    entry.runtime_data._listening.set()
    await hass.async_block_till_done()
    return "camera.front_door_live"


@pytest.fixture
def expected_lingering_timers():
    """Home Assistant's own MQTT client leaves one."""
    return True
