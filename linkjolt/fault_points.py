"""Kills the process at named points, as kill -9 would, for tests.

Armed only by LINKJOLT_FAULT, `name:n`: the process ends when it passes that point the n-th time.
"""

import os
import signal

POINTS = (
    "edge_before_publish",
    "edge_after_publish",
    "spool_before_commit",
    "spool_after_commit",
    "spool_mid_drain",
    "aggregator_before_read",
    "aggregator_after_read",
    "aggregator_after_base_insert",
    "aggregator_after_rollup",
    "aggregator_before_cursor",
    "aggregator_before_trim",
    "sealing_before_value",
    "sealing_after_value",
    "rotation_before_retire",
    "rotation_after_retire",
    "rotation_after_value",
    "rotation_before_drop",
    "audit_log_before_insert",
    "audit_log_after_insert",
    "audit_log_after_heads",
    "retention_before_delete",
    "retention_after_month",
)
VARIABLE = "LINKJOLT_FAULT"
_armed, _, _passage = os.environ.get(VARIABLE, "").partition(":")
_passages_left = [int(_passage or 0)]


def fault(point: str) -> None:
    """Ends the process if this point is armed and passed often enough."""
    if point != _armed:
        return
    _passages_left[0] -= 1
    if _passages_left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
