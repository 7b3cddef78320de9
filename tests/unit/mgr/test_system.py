"""What the engine tells of itself, in the shape that Docker's scripts look for."""

from __future__ import annotations

from runengine.mgr.system import SystemMgr


def test_info_has_what_scripts_ask_for(context):
    info = SystemMgr(context).info()
    assert info["Swarm"]["LocalNodeState"] == "inactive"
    assert {"bridge", "host", "ipvlan", "macvlan", "null"} == {*info["Plugins"]["Network"]}
    assert info["Plugins"]["Volume"][:2] == ["local", "tmpfs"]
    assert "json-file" in info["Plugins"]["Log"]
    assert info["OSVersion"]
    for key in ("MemoryLimit", "SwapLimit", "PidsLimit", "OomKillDisable", "Debug"):
        assert isinstance(info[key], bool)
    assert (info["Containers"], info["ContainersRunning"]) == (0, 0)
