# SPDX-License-Identifier: Apache-2.0
"""The configuration: its keys, its files, and how it is reloaded."""
