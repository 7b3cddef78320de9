"""``--disk-quota`` and ``--storage-opt`` (rows X-01 to X-08): grammar, matching, budgets."""

from __future__ import annotations

import pytest

from runengine.errors import InvalidParameter, Unsupported
from runengine.oci_spec import disk_quota
from runengine.oci_spec.disk_quota import Budget
from tests.support import specs

GIB = 1 << 30


@pytest.mark.parametrize(
    ("text", "size"),
    [("100", 100), ("1b", 1), ("2K", 2048), ("2kb", 2048), ("1.5m", 3 << 19), ("10G", 10 * GIB),
     ("10 gb", 10 * GIB), (".5t", 1 << 39), ("2TB", 2 << 40)],
)  # fmt: skip
def test_sizes(text, size):
    assert disk_quota.parse_size(text, "x") == size


@pytest.mark.parametrize("text", ["", "0", "0g", "-1g", "g", "1x", "1gg", "1e3", "²", "0.0001b"])
def test_what_is_no_size(text):
    with pytest.raises(InvalidParameter, match="invalid size"):
        disk_quota.parse_size(text, "x")


@pytest.mark.parametrize(
    ("texts", "quota", "quota_id"),
    [
        (["10g"], {".*": "10g"}, "-1"),
        ([".*=10g"], {".*": "10g"}, ""),
        (["/=10g", "/data=5g"], {"/": "10g", "/data": "5g"}, ""),
        (["/&/data=5g"], {"/&/data": "5g"}, ""),
    ],
)
def test_the_flag(texts, quota, quota_id):
    assert disk_quota.parse_flags(texts) == (quota, quota_id)


@pytest.mark.parametrize("text", ["", "=", "=1g", "/=", "/=1g=2g"])
def test_what_the_flag_does_not_take(text):
    with pytest.raises(InvalidParameter, match="invalid --disk-quota"):
        disk_quota.parse_flags([text])


def host(texts=(), quota_id="", **fields):
    quota, implied = disk_quota.parse_flags(texts)
    return specs.host(DiskQuota=quota, QuotaId=quota_id or implied, **fields)


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"texts": ["/[=1g"]}, InvalidParameter, "is no pattern"),
        ({"texts": ["/&data=1g"]}, InvalidParameter, "'data' is not absolute"),
        ({"texts": ["/=x"]}, InvalidParameter, "invalid size"),
        ({"quota_id": "5"}, InvalidParameter, "--quota-id 5 needs one"),
        ({"texts": ["/=1g", "/a=1g"], "quota_id": "5"}, InvalidParameter, "needs one"),
        ({"texts": ["1g"], "quota_id": "x"}, InvalidParameter, "invalid --quota-id"),
        ({"texts": ["1g"], "quota_id": str(1 << 32)}, InvalidParameter, "invalid --quota-id"),
        ({"texts": ["1g"], "StorageOpt": {"size": "1g"}}, InvalidParameter, "exclude each other"),
        ({"StorageOpt": {"size": "none"}}, InvalidParameter, "invalid size"),
        ({"StorageOpt": {"inodes": "0"}}, InvalidParameter, "inodes=0"),
        ({"StorageOpt": {"dm.basesize": "1g"}}, Unsupported, "dm.basesize"),
    ],
)
def test_quotas_that_nobody_can_keep(changes, kind, words):
    with pytest.raises(kind, match=words):
        disk_quota.check(host(**changes))


PLACES = ["/data", "/data/deep", "/log"]


@pytest.mark.parametrize(
    ("texts", "quota_id", "expected"),
    [
        (["1g"], "", [("/", "/data", "/data/deep", "/log")]),
        ([".*=1g"], "", [("/",), ("/data",), ("/data/deep",), ("/log",)]),
        (["/=1g"], "", [("/",)]),
        (["/data=1g"], "", [("/data",)]),
        (["/data.*=1g"], "", [("/data",), ("/data/deep",)]),
        (["/data.*=1g"], "-1", [("/data", "/data/deep")]),
        (["/&/log=1g"], "", [("/", "/log")]),
        (["/data=1g", ".*=1g"], "", [("/data",), ("/",), ("/data/deep",), ("/log",)]),
        ([".*=1g", "/data=1g"], "", [("/",), ("/data/deep",), ("/log",), ("/data",)]),
        (["/x.*=1g"], "", []),
    ],
)
def test_which_places_share_what(texts, quota_id, expected):
    found = disk_quota.budgets(host(texts, quota_id), PLACES)
    assert found == [Budget(paths, GIB) for paths in expected]


def test_a_name_that_is_no_volumes():
    with pytest.raises(InvalidParameter, match="no volume of the container is at /srv"):
        disk_quota.budgets(host(["/srv=1g"]), PLACES)


def test_dockers_storage_options():
    wanted = host(StorageOpt={"size": "1G", "inodes": "500"})
    disk_quota.check(wanted)
    assert disk_quota.budgets(wanted, PLACES) == [Budget(("/",), GIB, 500)]
    assert disk_quota.budgets(specs.host(), PLACES) == []


@pytest.mark.parametrize(("text", "number"), [("", 0), ("0", 0), ("-1", -1), ("-7", -1), ("9", 9)])
def test_ids(text, number):
    assert disk_quota.quota_id(specs.host(QuotaId=text)) == number
