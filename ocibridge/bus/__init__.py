# SPDX-License-Identifier: Apache-2.0
"""The D-Bus connection: python-sdbus behind our own interface. No other folder imports it."""
