# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of a host that a remedy changes: files of the kernel, priorities of threads, CPU quotas. One file a kind.

rules.py says what a value is to become, change.py reads, compares, writes and remembers.
"""
