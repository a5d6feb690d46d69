# SPDX-License-Identifier: Apache-2.0
"""The copy of Dobby's state: observations in, events out."""
