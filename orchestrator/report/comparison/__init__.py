"""Compares several searches: samplers, spaces or settings, each with one or more seeds.

`runs` reads a run, `best_so_far` computes its best over time, `groups` groups runs that differ only in their seed,
`compare` computes the comparison, `verdict` puts it into sentences, `tables`, `figures` and `page` present it.
"""
