"""Grammars of single values, by property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.cli import flags, network_specs, port_specs, run_values
from runengine.errors import EngineError

PARSERS = (
    flags.integer,
    run_values.size,
    run_values.size_or_unlimited,
    run_values.nano_cpus,
    run_values.stream,
    run_values.hostname,
    run_values.signal_name,
    run_values.cgroupns,
    run_values.sysctl,
    run_values.device,
    run_values.ulimit,
    run_values.weight_device,
    run_values.byte_rate,
    run_values.operation_rate,
    run_values.ip_address,
    run_values.extra_host,
    port_specs.published,
    port_specs.exposed,
    network_specs.network,
    network_specs.ipv4,
    network_specs.ipv6,
    network_specs.mac_address,
    network_specs.alias,
    network_specs.link,
)


@given(st.sampled_from(PARSERS), st.text(max_size=40))
def test_parsers_answer_or_refuse(parser, text):
    """Nothing but a value, a ValueError or an error for the operator comes out."""
    try:
        parser(text)
    except (ValueError, EngineError):
        return


@given(st.integers(0, 1 << 40), st.sampled_from(["", "b", "B"]))
def test_bytes(number, suffix):
    assert run_values.size(f"{number}{suffix}") == number


@given(st.integers(0, 1 << 20), st.sampled_from("kmgKMG"), st.sampled_from(["", "b", "ib", "iB"]))
def test_units(number, unit, suffix):
    shift = {"k": 10, "m": 20, "g": 30}[unit.lower()]
    assert run_values.size(f"{number}{unit}{suffix}") == number << shift


@given(st.integers(0, 10**12))
def test_cpus_are_exact(nano):
    text = f"{nano // 10**9}.{nano % 10**9:09d}"
    assert run_values.nano_cpus(text) == nano


@pytest.mark.parametrize(
    "text", ["", " ", "k", "1e3", "0x10", "1 2", "٣", "1ib", "9e", "99999999p"]
)
def test_bad_sizes(text: str):
    with pytest.raises(EngineError, match="invalid size"):
        run_values.size(text)


def test_addresses_are_normalised():
    assert run_values.ip_address(" 2001:DB8::0001 ") == "2001:db8::1"
