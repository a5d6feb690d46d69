# SPDX-License-Identifier: Apache-2.0
"""The operations on containers, without D-Bus. Dobby is reached by the protocol DobbyApi."""
