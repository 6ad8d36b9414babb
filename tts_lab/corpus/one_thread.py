"""Imported first in the process that workers are forked from, before numpy is: one thread of linear algebra each.

A worker a core is all the cores; with numpy's own threads on top, two workers measured no more than one.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
