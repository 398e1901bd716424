"""The paper as data: its numbers, its claims as code, and what its tables support, contradict and cannot be.

`evidence` holds the values that a claim is judged on, `claims` the one list of claims, `tables` the printed numbers,
`audit` the checks of those numbers against each other, `show` and `page` what a person sees. Imports no torch and no numpy.
"""
