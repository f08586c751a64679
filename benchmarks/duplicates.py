"""All pairs of 64-bit hashes within a distance, measured: time, memory, and that none is missed.

    python benchmarks/duplicates.py --count 1000000 --distance 3

Uniform hashes with 8 % planted neighbours and 2 % equal ones, as in the facts this was designed from.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np

from engine.qa.hamming import blocks_for, expected_chance_pairs, near_pairs


def hashes_with_neighbours(count: int, distance: int, seed: int = 1) -> tuple[np.ndarray, set[tuple[int, int]]]:
    """The hashes, and the pairs that were planted."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    near = count * 8 // 100
    origin = rng.integers(count // 5, count, near)  # not among those that are overwritten
    turned = hashes[origin].copy()
    for _ in range(distance):
        turned ^= np.uint64(1) << rng.integers(0, 64, near).astype(np.uint64)
    hashes[:near] = turned
    hashes[near : near + count // 50] = hashes[rng.integers(count // 5, count, count // 50)]
    planted = {(min(a, b), max(a, b)) for a, b in zip(turned.tolist(), hashes[origin].tolist(), strict=True) if a != b}
    return hashes, planted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--distance", type=int, default=3)
    parser.add_argument("--check", action="store_true", help="look for every planted pair in the result")
    args = parser.parse_args()
    hashes, planted = hashes_with_neighbours(args.count, args.distance)
    if not args.check:
        planted.clear()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    distinct = np.unique(hashes)
    found = near_pairs(distinct, args.distance)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    told = set(zip(np.minimum(found.a, found.b).tolist(), np.maximum(found.a, found.b).tolist(), strict=True))
    print(json.dumps({
        "hashes": args.count, "distinct": len(distinct), "distance": args.distance,
        "blocks": blocks_for(len(distinct), args.distance), "pairs": found.count,
        "planted_missed": len(planted - told) if args.check else None, "told_twice": found.count - len(told),
        "expected_chance_pairs": round(expected_chance_pairs(len(distinct), args.distance), 4),
        "wall_s": round(wall, 2), "cpu_s": round(cpu, 2),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 if not args.check else None,
        "before_mb": before // 1024,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
