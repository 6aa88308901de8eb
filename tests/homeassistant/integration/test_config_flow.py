"""How a camera is added, and how it gets another link."""

import json

import pytest
from homeassistant.config_entries import SOURCE_MQTT, SOURCE_USER
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers.service_info.mqtt import MqttServiceInfo
from integration.conftest import BASE, INFO, KEYS, LINK


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr("custom_components.porthole.config_flow.INFO_TIMEOUT_S", 0.2)


@pytest.fixture
async def there(hass, device, monkeypatch):
    """The broker has kept what the device said: it comes with the subscription."""
    from custom_components.porthole import config_flow

    subscribe = config_flow.mqtt.async_subscribe
    info = dict(INFO)

    async def with_retained(hass, topic, on_message, *args, **kwargs):
        undo = await subscribe(hass, topic, on_message, *args, **kwargs)
        if topic == f"{BASE}/info":
            hass.loop.call_soon(device.say, "info", info, True)
        return undo

    monkeypatch.setattr(config_flow.mqtt, "async_subscribe", with_retained)
    return info


def found(info=INFO, topic=f"{BASE}/info", payload=None):
    payload = json.dumps(info) if payload is None else payload
    return MqttServiceInfo(topic, payload, 1, True, "porthole/+/info", 0.0)


async def discover(hass, **changes):
    return await hass.config_entries.flow.async_init("porthole", context={"source": SOURCE_MQTT}, data=found(**changes))


async def paste(hass, flow, link):
    return await hass.config_entries.flow.async_configure(flow["flow_id"], {"link": link})


async def test_a_found_camera_asks_for_its_link(hass, there):
    flow = await discover(hass)
    assert (flow["type"], flow["step_id"]) == (FlowResultType.FORM, "link")
    assert flow["description_placeholders"] == {"name": "Front door"}
    result = await paste(hass, flow, LINK)
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert result["title"] == "Front door"
    assert result["data"]["grant"] == "anna"
    assert result["result"].unique_id == "front-door"
    again = await discover(hass)
    assert (again["type"], again["reason"]) == (FlowResultType.ABORT, "already_configured")


async def test_an_open_camera_asks_for_nothing_and_keeps_its_key(hass, device):
    flow = await discover(hass, info={**INFO, "access": "open"})
    assert flow["step_id"] == "confirm"
    result = await hass.config_entries.flow.async_configure(flow["flow_id"], {})
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert result["data"] == {"device": "front-door", "root": "porthole", "key": KEYS[0]["key"]}


@pytest.mark.parametrize(
    "changes",
    [
        {"payload": ""},
        {"payload": "[]"},
        {"payload": b"\xff"},
        {"payload": "{}"},
        {"info": {**INFO, "device": "another"}},
        {"topic": f"{BASE}/state"},
        {"topic": "porthole/a b/info"},
        {"topic": "info"},
        {"info": {**INFO, "access": "open", "key": "short"}},
    ],
)
async def test_what_is_no_camera_is_left_alone(hass, device, changes):
    result = await discover(hass, **changes)
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "invalid_discovery_info")


async def start(hass):
    return await hass.config_entries.flow.async_init("porthole", context={"source": SOURCE_USER})


async def test_a_link_is_pasted(hass, there):
    flow = await start(hass)
    assert flow["step_id"] == "user"
    assert (await paste(hass, flow, LINK))["type"] is FlowResultType.CREATE_ENTRY
    flow = await start(hass)
    result = await paste(hass, flow, LINK)
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "already_configured")


@pytest.mark.parametrize(
    ("link", "info", "error"),
    [
        ("no link at all", {}, "no_link"),
        (LINK[:-3], {}, "bad_secret"),
        (LINK.replace("front-door", "back-door"), {}, "not_there"),
        (LINK, {"key": KEYS[1]["key"]}, "other_key"),
        (LINK.partition("&grant")[0], {}, "needs_grant"),
    ],
)
async def test_a_link_that_is_wrong_is_told_and_mended(hass, there, link, info, error):
    there.update(info)
    flow = await start(hass)
    result = await paste(hass, flow, link)
    assert result["type"] is FlowResultType.FORM
    assert result["errors"] == {"link": error}
    there.update(INFO)
    assert (await paste(hass, result, LINK))["type"] is FlowResultType.CREATE_ENTRY


async def test_another_cameras_link_is_told(hass, there):
    flow = await discover(hass)
    result = await paste(hass, flow, LINK.replace("front-door", "back-door"))
    assert result["errors"] == {"link": "other_device"}


async def test_without_mqtt_nothing_can_be_added(hass):
    hass.config.components.add("mqtt")
    result = await start(hass)
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "no_mqtt")


@pytest.mark.parametrize("how", ["reauth", "reconfigure"])
async def test_a_camera_gets_another_link(hass, there, entry, how):
    flow = await (entry.start_reauth_flow(hass) if how == "reauth" else entry.start_reconfigure_flow(hass))
    assert flow["description_placeholders"]["name"] == "Front door"
    result = await paste(hass, flow, LINK.replace("front-door", "back-door"))
    assert result["errors"] == {"link": "other_device"}
    result = await paste(hass, flow, LINK.replace("grant=anna", "grant=berta"))
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, f"{how}_successful")
    assert entry.data["grant"] == "berta"
    await hass.async_block_till_done()
