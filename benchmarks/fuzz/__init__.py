"""Files spoilt by the ten thousand and read: each must be read, set aside with a reason or refused with one.

    python -m benchmarks.fuzz [--kind all] [--count 10000] [--seed 0] [--workers 2] [--out build/fuzz]

`healthy` makes small sound files of every kind, `mutate` spoils them, `readers` reads them as the commands do, `cage`
is the process that does so under limits, and `__main__` drives the cages and counts. Case N of a seed is the same file
everywhere, so a fault is shown again by `--first N --count 1`.
"""
