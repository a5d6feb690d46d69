# SPDX-License-Identifier: Apache-2.0
"""Dobby on the bus: its methods, limits and quirks. Nothing outside this folder knows them."""
