# SPDX-License-Identifier: Apache-2.0
"""The RDK OCIContainer interface on D-Bus, for the Dobby container daemon."""

__version__ = "0.1.0"
