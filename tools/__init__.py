"""Commands that maintain the repository: fetch data, run all recipes, write results into pages. Not installed."""
