"""Does it learn better? Every method a user would try, under the same budget, on the same data."""
