"""Several searches beside each other: samplers, spaces or settings, each over its seeds.

`searched` reads a run, `groups` puts runs together that differ in their seed only, `statistics` and `history` average
over seeds, `outcome` is all of it as values, `verdict` says it in words, `showing` and `page` show it.
"""
