"""Dead letters: what the fleet gave up, kept outside the cluster until a person has replayed or discarded it.

The queues' dead lists in the cluster are the truth. `drain` copies each entry into a store and takes it off its list
only then; `python -m service.deadletters` shows and handles what is in the store. docs/dead-letters.md is the manual.
"""
