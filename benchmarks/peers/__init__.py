# SPDX-License-Identifier: Apache-2.0
"""Bare forwarders, which show the cost of a library without that of ocibridge."""
