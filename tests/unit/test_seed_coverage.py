"""docs/seed-coverage.md against the seed's list of operations and against the code."""

import re
from pathlib import Path

import pytest

from runengine.mgr.container.manager import ContainerMgr
from runengine.mgr.image.manager import ImageMgr
from runengine.mgr.network.manager import NetworkMgr
from runengine.mgr.system import SystemMgr
from runengine.mgr.volume.manager import VolumeMgr

MANAGERS = {
    "ContainerMgr": ContainerMgr,
    "ImageMgr": ImageMgr,
    "NetworkMgr": NetworkMgr,
    "VolumeMgr": VolumeMgr,
    "SystemMgr": SystemMgr,
}
SEED = {
    "ContainerMgr": """Load Restore Create Get List Start Stop Restart Pause Unpause
        AttachContainerIO AttachCRILog Rename Update Upgrade Top Resize Remove Wait Kill Logs
        CreateExec StartExec InspectExec GetExecConfig CheckExecExist ResizeExec Connect Disconnect
        Stats StreamStats CreateCheckpoint ListCheckpoint DeleteCheckpoint Commit StatPath
        ArchivePath ExtractToDir NewSnapshotsSyncer""",
    "ImageMgr": """LookupImageReferences CheckReference GetImage ListImages SearchImages PullImage
        PushImage RemoveImage AddTag ListReferences LoadImage SaveImage ImageHistory
        StoreImageReference GetOCIImageConfig LogImageEvent LogImageEventWithAttributes""",
    "NetworkMgr": """Create Get GetNetworkByName GetNetworkByPartialID GetNetworksByPartialID List
        Remove EndpointCreate EndpointRemove EndpointInfo EndpointList Controller
        GetNetworkStats""",
    "VolumeMgr": "Create Get List Remove Path Attach Detach",
    "SystemMgr": "Info Version Auth UpdateDaemon SubscribeToEvents",
}
ROW = re.compile(r"\| (\w+) \| (?:`(\w+)\.(\w+)`|\u2013) \| (.+) \|")


def rows():
    """``{manager: {operation: (owner, method, state)}}`` as the page has it."""
    page = (Path(__file__).parents[2] / "docs/seed-coverage.md").read_text()
    found = {}
    for section in page.split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        matches = [ROW.fullmatch(line) for line in body.splitlines()]
        found[title] = {m[1]: (m[2], m[3], m[4]) for m in matches if m}
        found[title].pop("Operation", None)
    return found


def snake_case(name):
    name = name.replace("OCI", "Oci").replace("CRI", "Cri").replace("IO", "Io")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize("manager", SEED)
def test_every_operation_of_the_seed_has_its_row(manager):
    assert list(rows()[manager]) == SEED[manager].split()


@pytest.mark.parametrize(
    ("manager", "operation"),
    [(manager, operation) for manager, table in rows().items() for operation in table],
)
def test_a_row_tells_the_truth(manager, operation):
    owner, method, state = rows()[manager][operation]
    implemented = manager in MANAGERS and hasattr(MANAGERS[manager], snake_case(operation))
    if owner is None:
        assert state.startswith(("comes with", "by design:"))
        assert not implemented
    else:
        assert (owner, method) == (manager, snake_case(operation))
        assert state.startswith("there")
        assert implemented
        assert getattr(MANAGERS[manager], method).__doc__
