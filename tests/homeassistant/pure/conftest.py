"""The integration's pure modules as a package of their own, so that these tests need no Home Assistant."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOP = Path(__file__).resolve().parents[3]

package = ModuleType("porthole_pure")
package.__path__ = [str(TOP / "custom_components/porthole")]
sys.modules["porthole_pure"] = package


@pytest.fixture(scope="session")
def vectors():
    """Those that the device's own code and the page's are tested with."""
    return json.loads((TOP / "tests/vectors/access.json").read_text())
