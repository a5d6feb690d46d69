# SPDX-License-Identifier: Apache-2.0
"""MESSAGE_IDs of log entries that an operator acts on; systemd/ocibridge.catalog explains them.

(docs/design.md, systemd and the journal)
"""

from enum import StrEnum


class MessageId(StrEnum):
    """128-bit ids made by systemd-id128(1). An id never changes."""

    DOBBY_LOST = "4426ae53ca6240c6a51d209bd9e5ee76"
    DOBBY_READY = "ac37bdf4d4c34478bda3d84e705d4aca"
    DOBBY_DEAF = "e2dabf22501b4cbe9b6ea22d8aa1a080"
    DOBBY_STALLED = "c96c9d01137f4004b054196d1ced30bd"
    DOBBY_UNREADABLE = "ab1cec241004429ba326d693dece54f3"
    CONTAINER_FAILED = "282970ef3aae40699c3528d0222faa50"
    CONTAINER_RESTARTED = "a12e6bf9698b4cfe80ba1ceb1f771958"
    CONFIGURATION_REFUSED = "49f703754d9b4a05b26990b96103e9a6"
    RESTART_NEEDED = "446273cfcfce4bd5bd95b8ad722f34f3"
    NAME_TAKEN = "0a0408af48934209bc6d435b40bff6f8"
    BUS_STUCK = "1f44658b262d4fd88697cc79b2705866"
    BUS_LOST = "0ef7ac3f098a447a9f44567492360022"
    ACCESS_DENIED = "a9317e647b294117b0fa925efec723c3"
    BUG = "42f42850f26f4a399c62d54affdf767e"
