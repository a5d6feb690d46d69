# SPDX-License-Identifier: Apache-2.0
"""The process under systemd: signals, notifications and the journal."""
