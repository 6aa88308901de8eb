"""The camera: live, still, and when it is not."""

import asyncio
from datetime import timedelta

import pytest
from custom_components.porthole import hub as hub_module
from custom_components.porthole.grant import issue_id
from custom_components.porthole.session import ANSWER_TIMEOUT_S
from homeassistant.components.camera import async_get_image
from homeassistant.components.camera.helper import get_camera_from_entity_id
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import issue_registry as ir
from homeassistant.util import dt as dt_util
from integration.conftest import BASE, INFO, KEYS, STATE
from pytest_homeassistant_custom_component.common import MockConfigEntry, async_fire_time_changed

OFFER = "v=0 offer"


class Viewer:
    """The frontend's end."""

    def __init__(self, socket):
        self.socket = socket

    async def offer(self, entity_id):
        await self.socket.send_json_auto_id({"type": "camera/webrtc/offer", "entity_id": entity_id, "offer": OFFER})
        assert (await self.socket.receive_json())["success"]
        self.subscription = (session := await self.socket.receive_json())["id"]
        self.session = session["event"]["session_id"]

    async def next(self):
        async with asyncio.timeout(5):
            return (await self.socket.receive_json())["event"]

    async def candidate(self, entity_id, text):
        message = {"type": "camera/webrtc/candidate", "entity_id": entity_id, "session_id": self.session}
        await self.socket.send_json_auto_id({**message, "candidate": {"candidate": text, "sdpMid": "0"}})
        assert (await self.socket.receive_json())["success"]

    async def leave(self):
        await self.socket.send_json_auto_id({"type": "unsubscribe_events", "subscription": self.subscription})
        assert (await self.socket.receive_json())["success"]


@pytest.fixture
async def viewer(hass, camera, hass_ws_client):
    viewer = Viewer(await hass_ws_client(hass))
    await viewer.offer(camera)
    await hass.async_block_till_done()
    return viewer


async def test_the_frontend_is_told_to_speak_webrtc(hass, camera, hass_ws_client):
    socket = await hass_ws_client(hass)
    await socket.send_json_auto_id({"type": "camera/capabilities", "entity_id": camera})
    assert (await socket.receive_json())["result"]["frontend_stream_types"] == ["web_rtc"]


async def test_a_viewer_gets_the_devices_answer_and_candidates(hass, camera, device, viewer):
    ((name, offer),) = device.heard("offer")
    assert name.startswith("home-assistant-") and len(name) == 31
    assert offer["sdp"] == OFFER
    assert offer["auth"]["grant"] == "anna"
    await viewer.candidate(camera, "candidate:here")
    assert device.heard("candidate")[0][1]["candidate"] == {"candidate": "candidate:here", "sdpMid": "0"}
    device.signal({"type": "candidate", "candidate": {"candidate": "candidate:early", "sdpMid": "0"}})
    device.answer()
    device.signal({"type": "candidate", "candidate": {"candidate": "candidate:late", "sdpMid": "0"}})
    assert await viewer.next() == {"type": "answer", "answer": "v=0 answer"}
    assert (await viewer.next())["candidate"]["candidate"] == "candidate:early"
    assert (await viewer.next())["candidate"]["candidate"] == "candidate:late"
    await viewer.leave()
    await hass.async_block_till_done()
    assert [message["reason"] for _, message in device.heard("bye")] == ["the viewer left"]


async def test_the_viewer_id_is_the_mqtt_client_id_where_that_is_set(hass, device, entry):
    (mqtt_entry,) = hass.config_entries.async_entries("mqtt")
    hass.config_entries.async_update_entry(mqtt_entry, data={**mqtt_entry.data, "client_id": "the-house"})
    assert await hub_module.async_viewer_id(hass) == "the-house"
    hass.config_entries.async_update_entry(mqtt_entry, data={**mqtt_entry.data, "client_id": "no id/"})
    assert (await hub_module.async_viewer_id(hass)).startswith("home-assistant-")


@pytest.mark.parametrize(("key", "code", "issue"), [(1, "other-device", "other_device"), (None, "forged-answer", "forged_answer")])
async def test_a_forged_answer_is_not_handed_on(hass, device, viewer, entry, key, code, issue):
    if key is None:
        device.signal({"type": "answer", "sdp": "v=0 forged", "identity": {"key": KEYS[0]["key"], "sig": "x"}})
    else:
        device.answer(key=key)
    event = await viewer.next()
    assert (event["type"], event["code"]) == ("error", code)
    assert "Front door" in event["message"]
    assert ir.async_get(hass).async_get_issue("porthole", issue_id(entry)).translation_key == issue


@pytest.mark.parametrize(
    ("code", "issue"), [("unauthorized", "grant_revoked"), ("expired", "grant_expired"), ("forbidden", "grant_forbidden")]
)
async def test_a_grant_that_is_not_good_is_an_issue_until_it_works_again(
    hass, camera, device, viewer, entry, hass_ws_client, code, issue
):
    device.signal({"type": "error", "code": code, "message": "in the device's words"})
    event = await viewer.next()
    assert event["code"] == code
    assert event["message"].endswith("(in the device's words)")
    await hass.async_block_till_done()
    registry = ir.async_get(hass)
    raised = registry.async_get_issue("porthole", issue_id(entry))
    assert raised.translation_key == issue
    assert raised.translation_placeholders == {"name": "Front door", "grant": "anna"}
    assert len(list(entry.async_get_active_flows(hass, {"reauth"}))) == 1
    # Another call that fails changes nothing.
    again = Viewer(await hass_ws_client(hass))
    await again.offer(camera)
    device.signal({"type": "error", "code": code})
    assert (await again.next())["code"] == code
    # It is made good on the device, and this camera was loaded anew meanwhile, as it is for another link.
    assert await hass.config_entries.async_reload(entry.entry_id)
    device.say("availability", "online", retain=True)
    entry.runtime_data._listening.set()
    await hass.async_block_till_done()
    last = Viewer(await hass_ws_client(hass))
    await last.offer(camera)
    device.answer()
    assert (await last.next())["type"] == "answer"
    await hass.async_block_till_done()
    assert registry.async_get_issue("porthole", issue_id(entry)) is None
    assert not list(entry.async_get_active_flows(hass, {"reauth"}))


@pytest.mark.parametrize("code", ["busy", "privacy", "no-h264", "camera-unavailable", "a-later-code"])
async def test_other_refusals_are_told_and_are_no_issue(hass, device, viewer, entry, code):
    device.signal({"type": "error", "code": code, "message": "why"})
    event = await viewer.next()
    assert event["code"] == code
    assert "why" in event["message"]
    assert ir.async_get(hass).async_get_issue("porthole", issue_id(entry)) is None


async def test_words_are_in_the_language_of_the_house(hass, camera, device, hass_ws_client):
    from homeassistant.helpers.translation import async_get_translations

    hass.config.language = "de"
    await async_get_translations(hass, "de", "exceptions", ["porthole"])
    viewer = Viewer(await hass_ws_client(hass))
    await viewer.offer(camera)
    device.signal({"type": "error", "code": "privacy"})
    assert (await viewer.next())["message"].startswith("Front door ist zum Schutz")


async def test_no_answer_is_told_in_time(hass, device, viewer):
    async_fire_time_changed(hass, dt_util.utcnow() + timedelta(seconds=ANSWER_TIMEOUT_S + 1))
    assert (await viewer.next())["code"] == "no-answer"
    assert len(device.heard("bye")) == 1


async def test_an_end_by_the_device_is_told(hass, device, viewer):
    device.answer()
    assert (await viewer.next())["type"] == "answer"
    device.signal({"type": "bye", "reason": "the privacy switch"})
    event = await viewer.next()
    assert (event["code"], event["message"]) == ("ended", "Front door has ended the picture. (the privacy switch)")


async def test_nonsense_on_the_signal_topic_changes_nothing(hass, device, viewer):
    name, offer = device.heard("offer")[0]
    for payload in ["", "{", "[]", '{"type":"answer"}', '{"type":"bye","session":"another"}', "\x00"]:
        device.say(f"signal/{name}/down", payload)
    device.signal({"type": "bye"}, retain=True)
    device.answer()
    assert (await viewer.next())["type"] == "answer"
    assert offer["session"] == viewer.session


async def test_a_refusal_without_a_session_is_for_the_one_that_waits(hass, device, viewer):
    name, _ = device.heard("offer")[0]
    device.say(f"signal/{name}/down", {"type": "error", "session": "default", "code": "too-large"})
    assert (await viewer.next())["code"] == "too-large"


async def test_sessions_are_bounded(hass, camera, device, hass_ws_client, monkeypatch):
    monkeypatch.setattr(hub_module, "MAX_SESSIONS", 2)
    socket = await hass_ws_client(hass)
    for _ in range(3):
        await Viewer(socket).offer(camera)
    await hass.async_block_till_done()
    assert len(device.heard("bye")) == 1


async def test_leaving_home_assistant_says_goodbye(hass, camera, device, viewer, entry):
    device.answer()
    await hass.async_block_till_done()
    assert await hass.config_entries.async_unload(entry.entry_id)
    await hass.async_block_till_done()
    assert len(device.heard("bye")) == 1
    assert hass.states.get(camera).state == "unavailable"


async def test_the_state_follows_the_device(hass, camera, device, hass_ws_client):
    assert hass.states.get(camera).state == "idle"
    device.say("state", {**STATE, "camera": {"state": "live"}})
    await hass.async_block_till_done()
    assert hass.states.get(camera).state == "streaming"
    device.say("state", {**STATE, "streaming": "OFF", "camera": {"state": "off"}})
    await hass.async_block_till_done()
    assert not get_camera_from_entity_id_on(hass, camera)
    for nonsense in ["", "[]", '{"camera":7,"streaming":[]}']:
        device.say("state", nonsense)
    device.say("availability", "offline")
    await hass.async_block_till_done()
    assert hass.states.get(camera).state == "unavailable"
    viewer = Viewer(await hass_ws_client(hass))
    await viewer.offer(camera)
    assert (await viewer.next())["code"] == "offline"
    assert not device.heard("offer")


def get_camera_from_entity_id_on(hass, entity_id):
    try:
        return get_camera_from_entity_id(hass, entity_id).is_on
    except HomeAssistantError:
        return False


async def test_stills_come_from_the_broker_or_from_where_the_link_leads(hass, camera, device, aioclient_mock):
    url = "http://192.0.2.7:8080/snapshot.jpg"
    aioclient_mock.get(url, content=b"\xff\xd8http")
    assert (await async_get_image(hass, camera)).content == b"\xff\xd8http"
    assert (await async_get_image(hass, camera)).content == b"\xff\xd8http"
    assert aioclient_mock.call_count == 1, "a fresh one is kept for a moment"
    assert aioclient_mock.mock_calls[0][3] == {"Authorization": f"Bearer {KEYS[1]['bearer']}"}
    device.say("snapshot", b"\xff\xd8mqtt", retain=True)
    assert (await async_get_image(hass, camera)).content == b"\xff\xd8mqtt"
    device.say("snapshot", b"", retain=True)
    device.say("snapshot", b"GIF89a")
    assert (await async_get_image(hass, camera)).content == b"\xff\xd8http"


@pytest.mark.parametrize("answer", [{"status": 403}, {"exc": TimeoutError()}, {"content": b"<html>"}])
async def test_a_device_that_gives_no_still_is_not_asked_again_and_again(hass, camera, aioclient_mock, answer):
    aioclient_mock.get("http://192.0.2.7:8080/snapshot.jpg", **answer)
    for _ in range(3):
        with pytest.raises(HomeAssistantError):
            await async_get_image(hass, camera)
    assert aioclient_mock.call_count == 1


async def test_the_camera_is_on_the_device_of_the_discovery(hass, camera, device, entry):
    devices, entities = dr.async_get(hass), er.async_get(hass)
    own = devices.async_get(entities.async_get(camera).device_id)
    assert own.identifiers == {("porthole", "front-door")}
    (mqtt_entry,) = hass.config_entries.async_entries("mqtt")
    found = devices.async_get_or_create(
        config_entry_id=mqtt_entry.entry_id, identifiers={("mqtt", "porthole_front-door")}, name="Front door"
    )
    await hass.async_block_till_done()
    assert entities.async_get(camera).device_id == found.id
    assert devices.async_get(own.id) is None
    devices.async_remove_device(found.id)
    await hass.async_block_till_done()
    again = devices.async_get(entities.async_get(camera).device_id)
    assert again.identifiers == {("porthole", "front-door")}


async def test_diagnostics_hold_no_secret(hass, camera, entry):
    from custom_components.porthole.diagnostics import async_get_config_entry_diagnostics

    diagnostics = await async_get_config_entry_diagnostics(hass, entry)
    text = repr(diagnostics)
    for secret in (entry.data["secret"], "anna", "192.0.2.7", "somebody", KEYS[1]["bearer"]):
        assert secret not in text
    assert diagnostics["device_online"] is True
    assert diagnostics["info"]["model"] == INFO["model"]


async def test_a_damaged_entry_asks_for_its_link(hass, device):
    entry = MockConfigEntry(domain="porthole", unique_id="front-door", data={"device": "front-door", "key": "x"})
    entry.add_to_hass(hass)
    assert not await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    assert len(list(entry.async_get_active_flows(hass, {"reauth"}))) == 1


async def test_what_is_removed_leaves_no_issue(hass, device, viewer, entry):
    device.signal({"type": "error", "code": "expired"})
    assert (await viewer.next())["code"] == "expired"
    await hass.config_entries.async_remove(entry.entry_id)
    assert ir.async_get(hass).async_get_issue("porthole", issue_id(entry)) is None
    assert BASE not in repr(hass.states.async_all())
