"""Runs a real Home Assistant for tests/homeassistant_live.rs: what a person does in its settings, by its own API.

house.py start FOLDER PORT           writes a configuration into FOLDER and becomes Home Assistant
house.py move-in URL BROKER LINK     first user, MQTT, and the camera that is found by itself; prints its tokens as JSON
house.py paste URL TOKEN LINK        gives the camera the link that it asks for
house.py ask URL TOKEN COMMAND       one WebSocket command (JSON); prints the result
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import aiohttp

CLIENT = "http://127.0.0.1/"
DASHBOARD = "porthole-test"
CONFIGURATION = """
http:
  server_host: 127.0.0.1
  server_port: {port}
frontend:
config:
history:
image:
repairs:
diagnostics:
homeassistant:
  name: Test
  country: DE
  unit_system: metric
  time_zone: Europe/Berlin
"""


def start(folder: str, port: str) -> None:
    """Become Home Assistant."""
    house = Path(folder)
    (house / "configuration.yaml").write_text(CONFIGURATION.format(port=port))
    (house / "custom_components").mkdir(exist_ok=True)
    link = house / "custom_components/porthole"
    if not link.exists():
        link.symlink_to("/porthole/custom_components/porthole")
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.execv("/root/venv/bin/hass", ["hass", "-c", folder, "--skip-pip"])


class House:
    """The API of a Home Assistant, as a user who may do all."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str | None = None) -> None:
        self.session, self.url, self.token, self.last_id = session, url.rstrip("/"), token, 0

    async def post(self, path: str, body: dict, form: bool = False) -> dict:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        sent = {"data": body} if form else {"json": body}
        async with self.session.post(self.url + path, headers=headers, **sent) as response:
            text = await response.text()
            if response.status not in (200, 201):
                raise RuntimeError(f"{path}: {response.status}: {text}")
            return json.loads(text)

    async def ask(self, command: dict) -> object:
        async with self.session.ws_connect(f"{self.url}/api/websocket") as socket:
            await socket.receive_json()
            await socket.send_json({"type": "auth", "access_token": self.token})
            if (await socket.receive_json())["type"] != "auth_ok":
                raise RuntimeError("the token is refused")
            await socket.send_json({"id": 1, **command})
            answer = await socket.receive_json()
            if not answer["success"]:
                raise RuntimeError(f"{command}: {answer}")
            return answer["result"]

    async def until(self, what: str, ask) -> object:
        for _ in range(600):
            try:
                if (found := await ask()) is not None:
                    return found
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
        raise RuntimeError(f"there never was {what}")


async def move_in(house: House, broker: int, link: str) -> None:
    """Do what a new owner does."""

    async def is_up() -> bool | None:
        async with house.session.get(f"{house.url}/api/onboarding") as response:
            return True if response.status == 200 else None

    await house.until("a Home Assistant", is_up)
    owner = {"name": "Owner", "username": "owner", "password": "owner", "client_id": CLIENT, "language": "en"}
    code = (await house.post("/api/onboarding/users", owner))["auth_code"]
    body = {"client_id": CLIENT, "grant_type": "authorization_code", "code": code}
    tokens = await house.post("/auth/token", body, form=True)
    house.token = tokens["access_token"]
    await house.post("/api/onboarding/core_config", {})
    await house.post("/api/onboarding/analytics", {})
    await house.post("/api/onboarding/integration", {"client_id": CLIENT, "redirect_uri": CLIENT})
    # It asks whether its port is to stay as it is, and goes back to its own otherwise.
    await house.ask({"type": "http/config/promote"})
    flows = "/api/config/config_entries/flow"
    flow = await house.post(flows, {"handler": "mqtt"})
    other = {"set_client_cert": False, "set_ca_cert": "off"}
    settings = {"broker": "127.0.0.1", "port": broker, "protocol": "5", "other_settings": other}
    await house.post(f"{flows}/{flow['flow_id']}", settings)

    async def found() -> dict | None:
        progress = await house.ask({"type": "config_entries/flow/progress"})
        return next((flow for flow in progress if flow["handler"] == "porthole"), None)

    flow = await house.until("a camera that is found", found)
    done = await house.post(f"{flows}/{flow['flow_id']}", {"link": link})
    if done["type"] != "create_entry":
        raise RuntimeError(f"the camera is not added: {done}")
    await make_dashboard(house)
    print(json.dumps({**tokens, "title": done["title"], "found": flow["context"]["title_placeholders"]}))


async def make_dashboard(house: House) -> None:
    """Make a dashboard with the camera on the cards that people use."""
    await house.ask({"type": "lovelace/dashboards/create", "url_path": DASHBOARD, "title": "Test", "mode": "storage"})
    live = {"camera_view": "live", "camera_image": "camera.test_camera_live"}
    picture = {"type": "picture-entity", "entity": "camera.test_camera_live", "camera_view": "live"}
    glance = {"type": "picture-glance", "title": "Glance", "entities": ["switch.test_camera_streaming"], **live}
    views = [
        {"title": "One", "path": "one", "cards": [picture]},
        {"title": "Glance", "path": "glance", "cards": [glance]},
    ]
    await house.ask({"type": "lovelace/config/save", "url_path": DASHBOARD, "config": {"views": views}})


async def paste(house: House, link: str) -> None:
    """Give the link where Home Assistant asks for another one."""

    async def asked() -> dict | None:
        progress = await house.ask({"type": "config_entries/flow/progress"})
        return next((flow for flow in progress if flow["context"]["source"] == "reauth"), None)

    flow = await house.until("a question for another link", asked)
    done = await house.post(f"/api/config/config_entries/flow/{flow['flow_id']}", {"link": link})
    if done.get("reason") != "reauth_successful":
        raise RuntimeError(f"the link is not taken: {done}")
    print("null")


async def main(command: str, url: str, *rest: str) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        if command == "move-in":
            await move_in(House(session, url), int(rest[0]), rest[1])
        elif command == "paste":
            await paste(House(session, url, rest[0]), rest[1])
        else:
            print(json.dumps(await House(session, url, rest[0]).ask(json.loads(rest[1]))))


if sys.argv[1] == "start":
    start(*sys.argv[2:])
asyncio.run(main(*sys.argv[1:]))
