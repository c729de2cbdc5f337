"""A weight gradient at equal accuracy: hf_otw's solvers and those of other libraries."""
