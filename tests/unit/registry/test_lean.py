"""What requests and oras do without, each in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.side_effects
NOT_NEEDED = {"chardet", "charset_normalizer", "jsonschema", "referencing", "attr", "rpds"}


def run(script):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_way_to_a_registry_loads_nothing_needless():
    loaded = run("import sys, runengine.registry.transport; print(*sys.modules)")
    assert {"oras.provider", "requests"} <= set(loaded)
    assert not NOT_NEEDED & {name.split(".")[0] for name in loaded}


def test_what_oras_validates_it_validates_with_the_real_one():
    script = """
from runengine.registry.lean import oras
import jsonschema
import oras.oci, oras.schemas
try:
    oras.oci.jsonschema.validate({}, schema=oras.schemas.layer)
except jsonschema.ValidationError as error:
    print(type(error).__name__)
"""
    assert run(script) == ["ValidationError"]


def test_who_asks_afterwards_gets_the_real_ones():
    script = """
from runengine.registry.lean import requests
import charset_normalizer, jsonschema, jsonschema.validators
print(charset_normalizer.detect(b"a")["encoding"], bool(jsonschema.__file__))
print(requests.compat.chardet)
"""
    assert run(script)[1:] == ["True", "None"]


def test_a_requests_that_insists_on_a_detector_gets_one():
    """As before version 2.32: its import fails without."""
    script = """
import builtins, sys
original = builtins.__import__
def strict(name, *more):
    if name == "requests" and sys.modules.get("charset_normalizer", 0) is None:
        raise ImportError(name)
    return original(name, *more)
builtins.__import__ = strict
from runengine.registry.lean import requests
print(requests.compat.chardet.__name__)
"""
    assert run(script) == ["charset_normalizer"]
