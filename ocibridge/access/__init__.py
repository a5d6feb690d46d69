# SPDX-License-Identifier: Apache-2.0
"""Who may do what: the rules of the key `access` (docs/design.md, Access)."""
