"""Options of the local driver and the commands that they lead to."""

import pytest

from runengine.errors import InvalidParameter, Unavailable
from runengine.mgr.volume import local_mount
from runengine.mgr.volume.local_options import Settings, parse


@pytest.mark.parametrize(
    ("driver", "options", "settings"),
    [
        ("local", {}, Settings()),
        ("local", {"size": "10m"}, Settings(size_bytes=10 << 20)),
        ("local", {"opt.size": "1g"}, Settings(size_bytes=1 << 30)),
        ("local", {"mount": "/srv"}, Settings(host_directory="/srv")),
        (
            "local",
            {"type": "none", "o": "bind, ro", "device": "/srv"},
            Settings("", "/srv", ("bind", "ro")),
        ),
        (
            "local",
            {"type": "tmpfs", "o": "mode=700", "size": "1m"},
            Settings("tmpfs", "tmpfs", ("mode=700", "size=1048576")),
        ),
        (
            "local",
            {"type": "ext4", "device": "/d.img", "o": "loop"},
            Settings("ext4", "/d.img", ("loop",)),
        ),
        (
            "tmpfs",
            {},
            Settings("tmpfs", "tmpfs", ("noexec", "nosuid", "nodev", "mode=1777", "size=64m")),
        ),
        (
            "tmpfs",
            {"size": "1m"},
            Settings("tmpfs", "tmpfs", ("noexec", "nosuid", "nodev", "mode=1777", "size=1048576")),
        ),
    ],
)
def test_options(driver, options, settings):
    assert parse("data", driver, options) == settings


@pytest.mark.parametrize(
    ("driver", "options", "words"),
    [
        ("local", {"colour": "red"}, "invalid option: 'colour'"),
        ("tmpfs", {"type": "ext4"}, "invalid option: 'type'"),
        ("local", {"type": "ext4"}, "missing required option: 'device'"),
        ("local", {"device": "/dev/sdz"}, "missing required option: 'type'"),
        ("local", {"o": "bind", "device": "x"}, "no absolute path to bind"),
        ("local", {"type": "ext4,device=/x"}, "a -o of its own"),
        ("local", {"size": "0"}, "must be greater than 0"),
        ("local", {"size": "many"}, "invalid size 'many'"),
        ("local", {"size": "1m", "type": "ext4", "device": "/x"}, "cannot limit"),
        ("local", {"mount": "x"}, "no absolute path"),
        ("local", {"mount": "/x", "type": "tmpfs"}, "no other option"),
    ],
)
def test_bad_options(driver, options, words):
    with pytest.raises(InvalidParameter, match=words):
        parse("data", driver, options)


@pytest.mark.parametrize(
    ("settings", "command"),
    [
        (Settings("", "/srv", ("bind",)), "mount -o bind --source /srv --target /t"),
        (Settings("tmpfs", "tmpfs"), "mount -t tmpfs --source tmpfs --target /t"),
        (Settings("nfs", "h:/x", ("ro",)), "mount -t nfs -o ro --source h:/x --target /t"),
        (
            Settings("nfs", ":/x", ("addr=127.0.0.1", "ro")),
            "mount -t nfs -i -o addr=127.0.0.1,ro --source :/x --target /t",
        ),
        (
            Settings("nfs4", ":/x", ("addr=localhost",)),
            "mount -t nfs4 -i -o addr=127.0.0.1 --source :/x --target /t",
        ),
    ],
)
def test_commands(settings, command, monkeypatch):
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", 0))])
    assert local_mount.command(settings, "/t") == command.split()


def test_a_server_without_an_address_is_named(monkeypatch):
    def fail(*_, **__):
        raise OSError("nobody knows")

    monkeypatch.setattr("socket.getaddrinfo", fail)
    with pytest.raises(Unavailable, match=r"NFS server far\.example: nobody knows"):
        local_mount.command(Settings("nfs", ":/x", ("addr=far.example",)), "/t")


def test_a_device_that_is_not_there_is_named(tmp_path):
    target = str(tmp_path)
    file = tmp_path / "file"
    file.write_text("")
    for settings, words in [
        (Settings("ext4", f"{tmp_path}/no", ("loop",)), "does not exist"),
        (Settings("", str(file), ("bind",)), "is not a directory"),
    ]:
        with pytest.raises(InvalidParameter, match=f"volume data: device .* {words}"):
            local_mount.mount("data", settings, target)
