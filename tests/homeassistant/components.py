"""Prints what the components that the tests use, and those that they depend on, need from the Python registry."""

import json
from pathlib import Path

import homeassistant.components

USED = (
    "auth backup camera config diagnostics frontend hassio history image logbook lovelace mqtt onboarding recorder repairs"
    " search sensor stream switch web_rtc websocket_api"
    # Home Assistant imports these for the list of all actions, which its page asks for first.
    " ai_task assist_satellite conversation tts"
)

# These want a compiler, and are imported only when somebody speaks.
LEFT_OUT = ("pymicro-vad", "pyspeex-noise")

folder = Path(homeassistant.components.__file__).parent
waiting, seen, requirements = USED.split(), set(), set()
while waiting:
    name = waiting.pop()
    if name in seen:
        continue
    seen.add(name)
    manifest = json.loads((folder / name / "manifest.json").read_text())
    waiting += manifest.get("dependencies", [])
    requirements |= set(manifest.get("requirements", []))
print("\n".join(sorted(one for one in requirements if not one.startswith(LEFT_OUT))))
