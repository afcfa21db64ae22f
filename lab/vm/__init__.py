# SPDX-License-Identifier: GPL-2.0
"""Boots guests, runs test programs in them, judges what they and the kernel report, and counts."""
