"""The files that Home Assistant reads: complete, and in agreement with each other and with the code."""

import json
import re
from string import Formatter

import pytest
import yaml
from integration.conftest import TOP

FOLDER = TOP / "custom_components/porthole"


def read(name):
    return json.loads((FOLDER / name).read_text())


def leaves(tree, at=()):
    if isinstance(tree, dict):
        return {path: text for key, value in tree.items() for path, text in leaves(value, (*at, key)).items()}
    return {at: tree}


def test_english_is_the_source():
    assert read("strings.json") == read("translations/en.json")


def test_german_says_all_of_it():
    english, german = leaves(read("strings.json")), leaves(read("translations/de.json"))
    assert english.keys() == german.keys()

    def names(text):
        return {name for _, name, *_ in Formatter().parse(text) if name}

    for path, text in english.items():
        assert names(text) == names(german[path]), path
        assert german[path] != text or path[-1] in ("title", "name") or text in ("{name}", "Link"), path


def test_every_code_and_error_has_words():
    strings = read("strings.json")
    code = "".join(path.read_text() for path in FOLDER.glob("*.py"))
    errors = set(re.findall(r'LinkError\("(\w+)"\)', code))
    assert errors == set(strings["config"]["error"])
    for reason in set(re.findall(r'reason="(\w+)"', code)):
        assert reason in strings["config"]["abort"]
    signal = (TOP / "src/signaling/message.rs").read_text()
    of_device = set(re.findall(r'=> "([a-z0-9-]+)",', signal.partition("pub fn as_str")[2].partition("\n    }\n")[0]))
    assert len(of_device) == 14
    own = set(re.findall(r'^[A-Z_]+ = "([a-z-]+)"$', (FOLDER / "session.py").read_text(), re.M))
    assert {code.replace("-", "_") for code in of_device | own} <= set(strings["exceptions"])
    issues = set(re.findall(r'"((?:grant|other|forged)_[a-z]+)"', (FOLDER / "grant.py").read_text()))
    assert issues == set(strings["issues"])


def test_the_manifest_is_what_home_assistant_and_hacs_read():
    manifest = read("manifest.json")
    assert list(manifest) == ["domain", "name", *sorted(set(manifest) - {"domain", "name"})]
    assert manifest["mqtt"] == ["porthole/+/info"]
    assert manifest["requirements"] == []
    version = re.search(r'^version = "(.+)"', (TOP / "Cargo.toml").read_text(), re.M)[1]
    assert manifest["version"] == version
    assert json.loads((TOP / "hacs.json").read_text())["name"] == manifest["name"]


@pytest.mark.parametrize("tier", ["config-flow", "reauthentication-flow", "diagnostics", "strict-typing"])
def test_the_quality_scale_says_of_each_rule_what_it_is(tier):
    rules = yaml.safe_load((FOLDER / "quality_scale.yaml").read_text())["rules"]
    assert tier in rules
    for name, rule in rules.items():
        status = rule if isinstance(rule, str) else rule["status"]
        assert status in ("done", "todo", "exempt"), name
        assert status == "done" or rule["comment"], name
