"""Weights, verdicts and comparisons for any labelled rows, without training a network.

`labelled` reads rows, classes and features; `weigh` gives every row a weight; `judge` ranks what looks wrong;
`compare` says which way of training suits the data; `page` writes what `judge` found as HTML.
"""
