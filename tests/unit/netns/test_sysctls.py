import pytest

from runengine.errors import InvalidParameter
from runengine.netns import sysctls


@pytest.mark.parametrize(
    "key", ["net.ipv4.conf.IFNAME.log_martians", "net.ipv6.neigh.IFNAME.gc_stale_time"]
)
def test_settings_of_an_interface(key):
    sysctls.check(key)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "net.ipv4.ip_forward",
        "net.ipv4.conf.eth0.log_martians",
        "net.ipv4.conf.IFNAME.../../../kernel/core_pattern",
        "net.ipv4.conf.IFNAME.log/martians",
        "kernel.conf.IFNAME.x",
        "net.ipv4.conf.IFNAME.x\n",
    ],
)
def test_other_settings(key):
    with pytest.raises(InvalidParameter, match="invalid setting"):
        sysctls.check(key)


def test_a_setting_lands_where_it_belongs(tmp_path, monkeypatch):
    monkeypatch.setattr(sysctls, "ROOT", str(tmp_path))
    folder = tmp_path / "ipv4/conf/lan.10"
    folder.mkdir(parents=True)
    (folder / "log_martians").write_text("0")
    sysctls.set_by_key("lan.10", "net.ipv4.conf.IFNAME.log_martians", "1")
    assert (folder / "log_martians").read_text() == "1"


def test_a_kernel_without_a_setting_goes_without(tmp_path, monkeypatch):
    monkeypatch.setattr(sysctls, "ROOT", str(tmp_path))
    sysctls.set_ipv6("eth0", "accept_ra", "0")
    assert sysctls.get_ipv6("eth0", "accept_ra") is None
    assert not sysctls.has_ipv6()
