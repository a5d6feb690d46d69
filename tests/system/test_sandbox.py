# SPDX-License-Identifier: Apache-2.0
"""The unit as systemd sees it, and the daemon inside its sandbox."""

# ruff: noqa: S108 - paths in the box, not temporary files of ours

import re

import pytest

from tests.system.conftest import Box

UNIT = "/usr/lib/systemd/system/ocibridge.service"
USER_UNIT = "/usr/lib/systemd/user/ocibridge.service"


def test_the_units_are_right(box: Box) -> None:
    """systemd-analyze exits with 0 even for unknown keys, so it must print nothing."""
    done = box.tried(f"systemd-analyze verify --man=no {UNIT}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    box.run("loginctl enable-linger other")
    done = box.tried(
        f"XDG_RUNTIME_DIR=/run/user/$(id -u) systemd-analyze verify --man=no --user {USER_UNIT}",
        "other",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_exposure(box: Box) -> None:
    report = box.run("systemd-analyze security --no-pager --threshold=10 ocibridge.service")
    score = re.search(r"Overall exposure level for ocibridge.service: ([\d.]+)", report)
    assert score is not None
    assert float(score[1]) <= 1.0
    # The unit gives the reason for each missing line.
    reasons = box.run(f"sed -n '/^# The sandbox/,/^[A-Z]/p' {UNIT}")
    for line in report.splitlines():
        if line.startswith("✗"):
            assert re.split(r"[=/~\s]", line.removeprefix("✗ "))[0] in reasons, line


def test_the_sandbox_is_there(box: Box) -> None:
    status = box.run("cat /proc/$(systemctl show ocibridge -p MainPID --value)/status")
    values = dict(re.findall(r"^(\w+):\s*(.*)$", status, re.MULTILINE))
    assert (values["NoNewPrivs"], values["Seccomp"], values["CapEff"]) == ("1", "2", "0" * 16)
    assert values["Uid"].split()[0] == box.run("id -u ocibridge")


@pytest.mark.parametrize("folder", ["/home/other", "/tmp", "/opt", "/run", "/var/lib"])
def test_a_bundle_is_seen_wherever_it_lies(box: Box, folder: str) -> None:
    """If it were not visible, GetInfo would be let through and kill Dobby."""
    bundle = f"{folder}/b-plain"
    box.run(f"chmod 755 /home/other; cp -r /opt/bundles/no-plugins {bundle}")
    box.start("plain", bundle)
    assert "would crash Dobby" in box.refused("getContainerInfo s plain")
    box.oci("stopContainer sb plain true")
    box.run(f"rm -r {bundle}")


def test_a_spec_is_read_where_it_lies(box: Box) -> None:
    box.run("cp /src/examples/spec.json /tmp/spec.json")
    assert box.oci('startContainerFromDobbySpec sss spec /tmp/spec.json ""').startswith("i ")


def test_what_it_remembers_is_its_own(box: Box) -> None:
    box.start("app")
    box.run("systemctl stop ocibridge")
    listed = box.run(
        "stat -c '%U %a' /run/ocibridge /run/ocibridge/memory /run/ocibridge/memory/*.json"
    ).splitlines()
    assert listed[:2] == ["root 755", "ocibridge 700"]
    # one per bus name: a former test may have restarted it
    assert set(listed[2:]) == {"ocibridge 600"}
    box.run("systemctl start ocibridge")
    owned = box.run(
        "busctl get-property org.rdk.OCIContainer /org/rdk/OCIContainer/container/app "
        "org.rdk.OCIContainer1.Container BundlePath"
    )
    assert owned == 's "/opt/bundles/sleep"'
    assert box.oci("getContainerInfo s app").startswith("a{sv} 7")


def test_a_mount_that_dobby_left_behind_is_seen_inside_it(box: Box) -> None:
    """Mounts and unmounts on the host, after our start, appear in the daemon's mount namespace."""
    # systemd does that on a device, but not in a container such as the box.
    box.run("mount --make-rshared / && systemctl restart ocibridge")
    box.until("DobbyStatus", "ready")
    box.start("app")
    tunnel = "/tmp/.hostmnttunnel-x"
    for inner in ("tmpdir", "tmpdir/below"):
        point = f"{tunnel}/{inner}"
        box.run(f"mkdir -p {point} && mount -t tmpfs none {point}")
        try:
            points = box.run(
                "awk '{print $5}' /proc/$(systemctl show ocibridge -p MainPID --value)/mountinfo"
            ).splitlines()
            assert point in points
            assert point in box.refused('mount sssass app /opt /mnt/x 1 bind ""')
        finally:
            box.run(f"umount {point}; rm -d {point}")
    box.oci('mount sssass app /opt /mnt/x 1 bind ""')


def test_the_guard_of_mounts_works_inside_it(box: Box) -> None:
    """The sandbox's own mounts hide nothing.

    The root directory and /tmp are recognised inside it.
    """
    box.start("app")
    box.run("mkdir -p /srv/data/below /srv/root && ln -sfn / /srv/link")
    box.run(
        "mount --bind / /srv/root && mount --make-private /srv/root && mount --bind /opt "
        "/srv/data/below"
    )
    try:
        # so that it sees the mounts, whether or not they propagate
        box.run("systemctl restart ocibridge")
        box.until("DobbyStatus", "ready")
        for source in (
            "/",
            "/tmp",
            "/srv/link",
            "/srv/root",
            "/srv/root/tmp",
            "/proc",
            "/dev/shm",
            "/root/x",
        ):
            assert f'source "{source}"' in box.refused(
                f'mount sssass app {source} /mnt/x 1 bind ""'
            )
        assert '"/srv/data/below" is mounted below it' in box.refused(
            'mount sssass app /srv/data /mnt/x 1 rbind ""'
        )
        box.oci('mount sssass app /srv/data /mnt/x 1 bind ""')
    finally:
        box.run(
            "umount /srv/data/below && umount /srv/root && rm -d /srv/data/below /srv/data "
            "/srv/link /srv/root"
        )


def test_everything_works_inside_it(box: Box) -> None:
    """Each method once, as an operator would."""
    box.start("app")
    for call in (
        'execCommand sss app "" true',
        "pauseContainer s app",
        "resumeContainer s app",
        "annotate sss app key value",
        "removeAnnotation ss app key",
        'mount sssass app /opt /mnt/x 1 bind ""',
        "unmount ss app /mnt/x",
        "waitForState sst app Running 0",
        "stopContainer sb app false",
        "getLastExit s app",
    ):
        box.oci(call)
