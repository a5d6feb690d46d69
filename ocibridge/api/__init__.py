# SPDX-License-Identifier: Apache-2.0
"""The callers' side: methods and signals on the bus, and the dispatcher that every call passes."""
