"""A whole node tells of a study that it received, also when it is killed between telling and recording that."""

from collections.abc import Callable
from pathlib import Path

from tests import material
from tests.node import NodeProcess
from tests.notification_support import WebhookServer
from tests.support import wait_for

MakeNode = Callable[..., NodeProcess]
ROUTES = '[[routes]]\nname = "CT"\nmodality = ["CT"]\nmodel = "lung-ct"\n'
TARGET = """
[[notifications]]
name = "hook"
kind = "webhook"
on = ["fake", "indeterminate", "real", "not assessed"]
url = "{url}"
timeout_s = 1
[notifications.retry]
first_delay_s = 0.5
max_delay_s = 1
"""


def test_a_node_that_is_killed_tells_as_the_same_event(make_node: MakeNode, tmp_path: Path) -> None:
    point = "notification.before-record"
    marker = tmp_path / "crashed"
    with WebhookServer() as server:
        node = make_node(extra=TARGET.format(url=server.url), routes=ROUTES)
        node.start({"MEDFAKE_CRASH_POINT": point, "MEDFAKE_CRASH_MARKER": str(marker), "MEDFAKE_CRASH_SCOPE": "group"})
        [image] = material.ct_series(1)
        material.send(node.port, [image])
        wait_for(marker.exists, 60, f"a crash at {point}")
        wait_for(node.is_dead, 20, "every process to be gone")
        node.kill()
        node.start()
        wait_for(lambda: node.rows("notifications", state="sent"), 60, "the notification to be sent")
        assert node.stop() == 0
        [row] = node.rows("notifications")
        listed = node.command("notifications", "list")
    assert len(server.received) == 2
    assert len({call.json["event_id"] for call in server.received}) == 1
    assert server.received[-1].json["study_instance_uid"] == image.StudyInstanceUID
    assert row.attempts == 2
    assert listed.returncode == 0
    assert "sent" in listed.stdout


def test_a_node_with_a_bad_template_doesnt_start(tmp_path: Path) -> None:
    (tmp_path / "template.json").write_text("{{ patient_name }}")
    extra = TARGET.format(url="https://hook.example").replace('name = "hook"', 'name = "hook"\ntemplate_file = "{}"')
    node = NodeProcess(tmp_path / "node", extra=extra.format(tmp_path / "template.json"))
    checked = node.command("serve")
    assert checked.returncode == 1
    assert "notifications[1].template_file" in checked.stderr
    assert "'patient_name' is undefined" in checked.stderr
